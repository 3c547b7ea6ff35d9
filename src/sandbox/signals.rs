//! Security events (feature `signals`): accounts that are disabled and sessions that end, told to whoever listens, by
//! push (RFC 8935), by poll (RFC 8936) and as back-channel logout.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::Client;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::state::State;
use crate::build_error::BuildError;

/// So many events wait to be polled; with one more the oldest goes.
const MOST_WAITING: usize = 1_000;

const PATIENCE: Duration = Duration::from_secs(10);

/// A security event to send. Made for [`Sandbox::sign_event`](super::Sandbox::sign_event) and its kind.
///
/// ```
/// use std::collections::HashMap;
/// use tower_introspection::sandbox::{Sandbox, SandboxEvent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sandbox = Sandbox::start().await?;
/// let event = SandboxEvent::new("https://schemas.openid.net/secevent/caep/event-type/session-revoked")
///     .subject(HashMap::from([("format", "email"), ("email", "ann@example.com")]))?;
/// let set = sandbox.sign_event(event)?;
/// assert_eq!(set.split('.').count(), 3);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct SandboxEvent {
    event_type: String,
    subject: Option<Value>,
    members: Map<String, Value>,
    claims: Map<String, Value>,
}

impl SandboxEvent {
    /// An event of this type, which is a URI, about nobody.
    pub fn new(event_type: impl Into<String>) -> Self {
        Self { event_type: event_type.into(), subject: None, members: Map::new(), claims: Map::new() }
    }

    /// Whom it is about: `sub_id`.
    ///
    /// # Errors
    /// If it has no form in JSON.
    pub fn subject(mut self, subject: impl Serialize) -> Result<Self, BuildError> {
        self.subject = Some(as_json("subject", subject)?);
        Ok(self)
    }

    /// A user of the sandbox: a subject of the format `iss_sub`.
    pub fn about_user(mut self, issuer: impl Into<String>, user: impl Into<String>) -> Self {
        self.subject = Some(json!({ "format": "iss_sub", "iss": issuer.into(), "sub": user.into() }));
        self
    }

    /// Adds a member to the event itself, such as `reason`.
    ///
    /// # Errors
    /// If the value has no form in JSON.
    pub fn member(mut self, name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        self.members.insert(name.into(), as_json("member", value)?);
        Ok(self)
    }

    /// Sets a claim around the event, such as `aud` or `iat`; `()` leaves one out.
    ///
    /// # Errors
    /// If the value has no form in JSON.
    pub fn claim(mut self, name: impl Into<String>, value: impl Serialize) -> Result<Self, BuildError> {
        self.claims.insert(name.into(), as_json("claim", value)?);
        Ok(self)
    }

    /// The claims of the token, RFC 8417 section 2.2.
    pub(super) fn into_claims(self, issuer: String, audience: &str, id: String, seconds: i64) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("iss".into(), issuer.into());
        claims.insert("aud".into(), audience.into());
        claims.insert("jti".into(), id.into());
        claims.insert("iat".into(), seconds.into());
        if let Some(subject) = self.subject {
            claims.insert("sub_id".into(), subject);
        }
        claims.insert("events".into(), json!({ self.event_type: self.members }));
        claims.extend(self.claims);
        claims.retain(|_, value| !value.is_null());
        claims
    }
}

impl fmt::Debug for SandboxEvent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("SandboxEvent").field("event_type", &self.event_type).finish_non_exhaustive()
    }
}

fn as_json(what: &'static str, value: impl Serialize) -> Result<Value, BuildError> {
    serde_json::to_value(value).map_err(|_| BuildError::new(what, "it has no form in JSON"))
}

/// Who is told of events.
#[derive(Clone)]
pub(super) enum Listener {
    Events { url: String, authorization: Option<String> },
    Logouts { url: String, client: String },
}

/// Who listens, and what waits to be polled.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) listeners: Vec<Listener>,
    /// By their `jti`, which count upwards.
    waiting: BTreeMap<String, String>,
}

impl Stream {
    pub(super) fn keep(&mut self, id: String, set: String) {
        self.waiting.insert(id, set);
        if self.waiting.len() > MOST_WAITING {
            self.waiting.pop_first();
        }
    }

    /// RFC 8936 section 2.4.
    pub(super) fn poll(&mut self, request: &Value) -> Value {
        let acknowledged = request["ack"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let failed = request["setErrs"].as_object().into_iter().flat_map(Map::keys).map(String::as_str);
        for id in acknowledged.chain(failed) {
            self.waiting.remove(id);
        }
        let most = request["maxEvents"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let sets: Map<String, Value> =
            self.waiting.iter().take(most).map(|(id, set)| (id.clone(), set.as_str().into())).collect();
        json!({ "moreAvailable": self.waiting.len() > sets.len(), "sets": sets })
    }
}

impl State {
    /// Tells whoever listens, and keeps the event for those who poll. Returns the HTTP statuses of those who were told;
    /// 0 of one that cannot be reached.
    pub(super) async fn send_event(&self, event: SandboxEvent) -> Result<Vec<u16>, BuildError> {
        let set = self.sign_event(event)?;
        let mut statuses = Vec::new();
        for listener in self.listeners() {
            if let Listener::Events { url, authorization } = listener {
                let mut headers = vec![(CONTENT_TYPE, "application/secevent+jwt".to_owned())];
                headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
                statuses.push(post(&url, headers, set.clone()).await);
            }
        }
        Ok(statuses)
    }

    /// The same of a logout.
    pub(super) async fn send_logout(&self, user: &str, session: Option<&str>) -> Result<Vec<u16>, BuildError> {
        let mut statuses = Vec::new();
        for listener in self.listeners() {
            if let Listener::Logouts { url, client } = listener {
                let token = self.sign_logout(&client, user, session)?;
                let form: String =
                    form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
                let headers = vec![(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())];
                statuses.push(post(&url, headers, form).await);
            }
        }
        Ok(statuses)
    }
}

async fn post(url: &str, headers: Vec<(http::HeaderName, String)>, body: String) -> u16 {
    let Ok(client) = Client::builder().no_proxy().timeout(PATIENCE).build() else { return 0 };
    let request = headers.into_iter().fold(client.post(url), |request, (name, value)| request.header(name, value));
    request.body(body).send().await.map_or(0, |response| response.status().as_u16())
}
