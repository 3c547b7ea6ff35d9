//! Fetching events, RFC 8936: one request at a time, for as long as somebody listens.
//!
//! ```text
//! ask for events, and tell which of the last ones were taken ◀────────────────┐
//!    │  answered                          │  not answered                     │
//!    ▼                                    ▼                                   │
//! take each event                    keep what was taken, wait longer each    │
//!    │                               time, ask for an answer at once ─────────┤
//!    ▼                                                                        │
//! taken: to be acknowledged; refused: to be told so; turned away: neither ────┘
//! ```
//!
//! An event that was not acknowledged comes again. So one is acknowledged once it has had its effect, and not before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use reqwest::Url;
use serde_json::{Value, json};

use super::heard::Told;
use super::receiver::{Receiver, Taken};
use super::refusal::NotTaken;
use super::set::Way;
use super::source::Source;
use crate::build_error::BuildError;
use crate::clock::{Clock, Stopwatch};
use crate::connection::Connection;
use crate::credentials::source::CredentialSource;
use crate::credentials::{ClientCredentials, Credential};
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::http::exchange::{Body, Call, Exchange, JSON};
use crate::http::link::Link;
use crate::json;
use crate::random::random;

/// How many events one answer may hold.
const MOST_EVENTS: usize = 20;

/// As large as these may be, and more.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// From one poll that had nothing new to the next, of a server that answers at once.
const INTERVAL: Duration = Duration::from_secs(1);

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where events are fetched from, RFC 8936. Given to [`Transmitter::poll`](super::Transmitter::poll).
///
/// ```
/// use tower_introspection::signals::Poll;
///
/// let poll = Poll::new("https://auth.example.com/ssf/poll/8f4c").bearer_token("2YotnFZFEjr1zCsicMWpAA");
/// ```
///
/// A request may stay open until there is something to tell ("long polling"), for as long as the
/// [`request_timeout`](Self::request_timeout). If it ends without an answer, the next one asks for an answer at once. A
/// server that always answers at once is asked every [`interval`](Self::interval). After a failure it is asked again
/// after 1 to 30 seconds.
#[must_use]
pub struct Poll {
    url: String,
    credentials: Result<CredentialSource, BuildError>,
    interval: Duration,
    link: Link,
}

impl Poll {
    /// Starts with the address that the transmitter gave for this stream (`endpoint_url`).
    pub fn new(url: impl Into<String>) -> Self {
        let connection = Connection::new().max_response_bytes(MOST_BYTES);
        let link = Link { connection, request_timeout: Duration::from_secs(60), ..Link::default() };
        let credentials = Ok(CredentialSource::Fixed(Credential::none()));
        Self { url: url.into(), credentials, interval: INTERVAL, link }
    }

    /// Shows a bearer token, RFC 6750. Default: nothing is shown.
    pub fn bearer_token(mut self, token: impl AsRef<str>) -> Self {
        let credential = Credential::bearer_given_as("bearer_token", token.as_ref());
        self.credentials = credential.map(CredentialSource::Fixed);
        self
    }

    /// Gets the bearer token by the client credentials grant, RFC 6749 section 4.4, and a new one in time.
    pub fn client_credentials(mut self, login: ClientCredentials) -> Self {
        self.credentials = login.into_credentials();
        self
    }

    /// From one poll to the next, if the server answers at once and has nothing new. Default: 1 second.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long a request may stay open. Default: 60 seconds.
    #[doc(alias = "timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.link.request_timeout = timeout;
        self
    }

    /// How the transmitter is reached. Default: [`Connection::new`] with 2 MiB for
    /// [`max_response_bytes`](Connection::max_response_bytes): an answer holds up to 20 events. After one that is
    /// larger fewer are asked for, and one at last.
    pub fn connection(mut self, connection: Connection) -> Self {
        self.link.connection = connection;
        self
    }

    /// A server that has nothing to tell may hold each request open.
    pub(super) fn longest_silence(&self) -> Duration {
        self.link.request_timeout.saturating_mul(2)
    }

    /// # Errors
    /// Names the setting that cannot work.
    pub(super) fn open(self, clock: &Arc<dyn Clock>) -> Result<Opened, BuildError> {
        if self.interval.is_zero() {
            return Err(BuildError::new("interval", "zero asks the transmitter without end"));
        }
        let url = Url::parse(&self.url).map_err(|error| BuildError::new("poll", format!("not a URL: {error}")))?;
        let exchange = self.link.open("poll", &url)?;
        Ok(Opened {
            url: self.url,
            exchange,
            credentials: self.credentials?,
            interval: self.interval,
            clock: Arc::clone(clock),
        })
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // Whoever knows the address may be let in by it.
        f.debug_struct("Poll").finish_non_exhaustive()
    }
}

pub(super) struct Opened {
    url: String,
    exchange: Exchange,
    credentials: CredentialSource,
    interval: Duration,
    clock: Arc<dyn Clock>,
}

/// What the next request tells of the events of the last answer.
#[derive(Default)]
struct ToTell {
    taken: Vec<String>,
    refused: BTreeMap<String, (&'static str, &'static str)>,
}

/// Where the polling has got to.
struct State {
    to_tell: ToTell,
    /// What the server was told of before, or would not hear.
    refused_before: BTreeSet<String>,
    /// The last request was not answered.
    failures: u32,
    most_events: usize,
}

/// Events, each with the name that it is acknowledged by.
pub(crate) type Events = Vec<(String, String)>;

impl Opened {
    /// Fetches events of the transmitter at this place, without end.
    pub(super) async fn run(self, receiver: Arc<Receiver>, place: usize) {
        let Some(source) = receiver.sources.get(place) else { return };
        let mut state = State {
            to_tell: ToTell::default(),
            refused_before: BTreeSet::new(),
            failures: 0,
            most_events: MOST_EVENTS,
        };
        loop {
            let asked = Stopwatch::start();
            let pause = match self.ask(&state).await {
                Ok(events) => {
                    source.heard.polled(true);
                    source.heard.spoke();
                    if state.failures > 0 {
                        tracing::debug!(transmitter = source.heard.issuer, "security events are polled again");
                    }
                    // As long as answers are full, more of them may be too large.
                    let most_events = if events.len() < state.most_events { MOST_EVENTS } else { state.most_events };
                    (state.failures, state.most_events) = (0, most_events);
                    let is_new = take(&receiver, place, events, &mut state).await;
                    // One that was held open has waited already. What is not new may come again at once, for ever.
                    if is_new { Duration::ZERO } else { self.interval.saturating_sub(asked.elapsed()) }
                }
                Err(error) => {
                    state.failures = state.failures.saturating_add(1);
                    if is_about_the_request(&error) {
                        // Whatever it is about, what comes again is acknowledged then.
                        let told = std::mem::take(&mut state.to_tell);
                        state.refused_before.extend(told.refused.into_keys());
                    }
                    if error.is_too_large() {
                        state.most_events = (state.most_events / 2).max(1);
                    }
                    // A server may hold a request for longer than is waited for: then the next one tells.
                    let was_held = error.kind() == IntrospectErrorKind::Timeout && state.failures == 1;
                    if was_held {
                        Duration::ZERO
                    } else {
                        source.heard.polled(false);
                        tell_failure(source, &error);
                        pause_after(state.failures).max(error.retry_after().unwrap_or_default().min(LONGEST_PAUSE))
                    }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&self, state: &State) -> Result<Events, IntrospectError> {
        let body = state.body();
        let call = Call { url: &self.url, body: Some(Body::Json(&body)), accept: JSON };
        let lease = self.credentials.current(&self.clock).await?;
        let mut reply = self.exchange.send(call, &lease.credential).await?;
        if reply.status == StatusCode::UNAUTHORIZED
            && let Some(renewed) = self.credentials.instead_of(&lease, &self.clock).await?
        {
            reply = self.exchange.send(call, &renewed.credential).await?;
        }
        if reply.status != StatusCode::OK {
            return Err(reply.status_error(self.clock.now()));
        }
        read(&reply.body, state.most_events)
    }
}

/// Takes all events of an answer, at once. Whether one of them was there for the first time.
async fn take(receiver: &Arc<Receiver>, place: usize, events: Events, state: &mut State) -> bool {
    let mut tasks = Vec::new();
    for (id, text) in events {
        let (receiver, way) = (Arc::clone(receiver), Way::Poll { place, id: id.clone() });
        tasks.push((id, tokio::spawn(async move { receiver.take(&text, &way).await })));
    }
    let told = std::mem::take(&mut state.to_tell);
    let mut refused_before = std::mem::take(&mut state.refused_before);
    refused_before.extend(told.refused.into_keys());
    let mut is_new = false;
    for (id, taking) in tasks {
        match taking.await {
            Ok(Ok(taken)) => {
                is_new |= taken == Taken::Acted;
                state.to_tell.taken.push(id);
            }
            // The server does not mind what is wrong with it: it would come for ever.
            Ok(Err(NotTaken::Refused(..))) if refused_before.contains(&id) => state.to_tell.taken.push(id),
            Ok(Err(NotTaken::Refused(code, why))) => {
                state.to_tell.refused.insert(id, (code.as_str(), why));
            }
            Ok(Err(NotTaken::TurnedAway(..))) | Err(_) => {}
        }
    }
    is_new
}

impl State {
    /// RFC 8936 section 2.2.
    fn body(&self) -> String {
        let mut body = json!({
            "maxEvents": self.most_events,
            "returnImmediately": self.failures > 0,
        });
        if !self.to_tell.taken.is_empty() {
            body["ack"] = json!(self.to_tell.taken);
        }
        if !self.to_tell.refused.is_empty() {
            let told = self.to_tell.refused.iter();
            let told = told.map(|(id, (code, why))| (id.clone(), json!({ "err": code, "description": why })));
            body["setErrs"] = Value::Object(told.collect());
        }
        body.to_string()
    }
}

/// Whether the server does not like what it was told, and may not the next time.
fn is_about_the_request(error: &IntrospectError) -> bool {
    const OF_THE_SENDER: [StatusCode; 4] =
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    error.status().is_some_and(|status| status.is_client_error() && !OF_THE_SENDER.contains(&status))
}

/// RFC 8936 section 2.3. What is too much is left for the next answer.
pub(crate) fn read(body: &[u8], most: usize) -> Result<Events, IntrospectError> {
    let unusable = |why: &'static str| IntrospectError::new(IntrospectErrorKind::Answer).with_source(why).of_fault(why);
    let mut members = json::object(body, &["sets"])?;
    let sets = match members.remove("sets") {
        Some(Value::Object(sets)) => sets,
        None => return Err(unusable("it holds no `sets`")),
        Some(_) => return Err(unusable("`sets` is no object")),
    };
    let text = |(id, set): (String, Value)| match set {
        Value::String(text) => (id, text),
        // It is refused, as what is no token is.
        _ => (id, String::new()),
    };
    Ok(sets.into_iter().take(most).map(text).collect())
}

/// 1, 2, 4 seconds, and so on, and up to half as much more, so that not all processes come at once.
fn pause_after(failures: u32) -> Duration {
    let doubled = SHORTEST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(5));
    let pause = doubled.min(LONGEST_PAUSE);
    pause.saturating_add(pause / 2 * u32::from(random().to_le_bytes()[0]) / 255)
}

fn tell_failure(source: &Source, error: &IntrospectError) {
    const TOLD: &str = "security events cannot be polled";
    let (transmitter, kind) = (&source.heard.issuer, error.kind().as_str());
    match source.heard.told.due(Told::PollFailed(kind)) {
        Some(untold) => tracing::warn!(transmitter, kind, ?error, untold, "{TOLD}"),
        None => tracing::debug!(transmitter, kind, ?error, "{TOLD}"),
    }
}
