//! Security events and logouts: who may tell of them, what they are about, and what becomes of the tokens.
#![cfg(all(feature = "sandbox", feature = "signals", feature = "test-util"))]

mod applied;
mod doors;
mod fleet;
mod model;
mod polls;
mod reactions;
mod repeated;
mod rules;
mod sender;
mod streams;
mod subjects;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_introspection::clock::{Clock, ManualClock, Timestamp};
use tower_introspection::introspect::Ask;
use tower_introspection::jwt::KeySet;
use tower_introspection::sandbox::{Sandbox, SandboxEvent};
use tower_introspection::signals::{EventOutcome, Signals, SignalsService, Transmitter};
use tower_introspection::{AccessToken, Cached, InactiveReason, Introspect, IntrospectError, Verdict};

use crate::support::{START, bearer};

pub(crate) const AUDIENCE: &str = "https://api.example.com";
pub(crate) const CLIENT: &str = "my-api";

pub(crate) const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
pub(crate) const ACCOUNT_DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";

/// An authority that says of each token what it was told to.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Arc<Mutex<HashMap<String, (AccessToken, usize)>>>);

impl Tokens {
    pub(crate) fn issue(&self, name: &str, facts: AccessToken) {
        self.0.lock().unwrap().insert(name.to_owned(), (facts, 0));
    }

    pub(crate) fn questions(&self, name: &str) -> usize {
        self.0.lock().unwrap()[name].1
    }

    pub(crate) fn all_questions(&self) -> usize {
        self.0.lock().unwrap().values().map(|(_, questions)| questions).sum()
    }
}

impl Introspect for Tokens {
    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        Ok(match self.0.lock().unwrap().get_mut(ask.token().expose()) {
            Some((facts, questions)) => {
                *questions += 1;
                Verdict::Active(facts.clone())
            }
            None => Verdict::Inactive(InactiveReason::Unknown),
        })
    }
}

/// A transmitter, a cache, and who listens to one for the other.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: ManualClock,
    pub(crate) tokens: Tokens,
    pub(crate) cached: Cached<Tokens>,
    pub(crate) signals: Signals,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|transmitter| transmitter).await
    }

    pub(crate) async fn with(settings: impl FnOnce(Transmitter) -> Transmitter) -> Self {
        let clock = ManualClock::at(START);
        let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
        let tokens = Tokens::default();
        let cached = Cached::builder(tokens.clone()).clock(clock.clone()).build().unwrap();
        let transmitter = transmitter(&sandbox).cache(cached.handle());
        let signals = Signals::builder().transmitter(settings(transmitter)).clock(clock.clone()).build().unwrap();
        Self { sandbox, clock, tokens, cached, signals }
    }

    /// Issues a token a minute ago, and has it remembered.
    pub(crate) async fn remembers(&self, name: &str, facts: tower_introspection::token::AccessTokenBuilder) {
        let facts = facts.issued_at(self.clock.now() - std::time::Duration::from_secs(60)).build();
        self.tokens.issue(name, facts);
        assert!(self.cached.introspect(Ask::new(&bearer(name))).await.unwrap().is_active());
    }

    /// Whether it was not forgotten.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.cached.cached(&bearer(name)).is_some()
    }

    pub(crate) fn about(&self, subject: &Value) -> SandboxEvent {
        SandboxEvent::new(SESSION_REVOKED).subject(subject).unwrap()
    }

    pub(crate) async fn push(&self, event: SandboxEvent) -> Answer {
        push(&self.signals, &self.sandbox.sign_event(event).unwrap()).await
    }

    pub(crate) fn outcomes(&self) -> Vec<(EventOutcome, u64)> {
        self.signals.handle().stats().transmitters[0].outcomes.clone()
    }
}

/// The sandbox, whose keys are at hand.
pub(crate) fn transmitter(sandbox: &Sandbox) -> Transmitter {
    let keys = KeySet::from_json(sandbox.jwks()).unwrap();
    Transmitter::new(sandbox.issuer()).keys(keys).audience(AUDIENCE).audience(CLIENT)
}

pub(crate) fn user(sandbox: &Sandbox, user: &str) -> Value {
    json!({ "format": "iss_sub", "iss": sandbox.issuer(), "sub": user })
}

pub(crate) fn facts() -> tower_introspection::token::AccessTokenBuilder {
    AccessToken::builder()
}

/// The status, and the error code if there is one.
pub(crate) type Answer = (u16, Option<String>);

pub(crate) const TAKEN: Answer = (202, None);
pub(crate) const LOGGED_OUT: Answer = (200, None);

pub(crate) fn refused(code: &str) -> Answer {
    (400, Some(code.to_owned()))
}

pub(crate) async fn push(signals: &Signals, set: &str) -> Answer {
    let request = Request::post("/").header("content-type", "application/secevent+jwt").body(set.to_owned()).unwrap();
    answer_of(&send(signals.push(), request).await)
}

pub(crate) async fn log_out(signals: &Signals, token: &str) -> Answer {
    let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    answer_of(&send(signals.backchannel_logout(), request.body(format!("logout_token={token}")).unwrap()).await)
}

pub(crate) async fn send(service: SignalsService, request: Request<String>) -> Response<String> {
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    response
}

pub(crate) fn answer_of(response: &Response<String>) -> Answer {
    let body: Value = serde_json::from_str(response.body()).unwrap_or_default();
    let code = body["err"].as_str().or(body["error"].as_str());
    assert_eq!(code.is_some(), response.headers().contains_key("content-type"));
    (response.status().as_u16(), code.map(str::to_owned))
}

/// Claims of an event that is taken, changed: `null` leaves one out.
pub(crate) fn claims_of_event(world: &World, changes: &Value) -> Value {
    let now = world.clock.now().as_unix_millis() / 1_000;
    let claims = json!({
        "iss": world.sandbox.issuer(), "aud": AUDIENCE, "iat": now, "jti": "1",
        "sub_id": user(&world.sandbox, "ann"), "events": { SESSION_REVOKED: {} },
    });
    changed(claims, changes)
}

/// The same of a logout token.
pub(crate) fn claims_of_logout(world: &World, changes: &Value) -> Value {
    let now = world.clock.now().as_unix_millis() / 1_000;
    let claims = json!({
        "iss": world.sandbox.issuer(), "aud": CLIENT, "iat": now, "exp": now + 120, "jti": "1", "sub": "ann",
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    changed(claims, changes)
}

fn changed(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub(crate) fn sign(sandbox: &Sandbox, typ: &str, claims: &Value) -> String {
    sandbox.sign(json!({ "typ": typ }), claims).unwrap()
}

pub(crate) fn seconds(moment: Timestamp) -> i64 {
    moment.as_unix_millis() / 1_000
}
