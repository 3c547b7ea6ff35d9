//! Security events that an authority tells of (feature `signals`): somebody has logged out, a password was changed, an
//! account was disabled, and every cache forgets at once what it knows of the tokens concerned.
//!
//! A [`Transmitter`] is whoever tells of them; [`Signals`] hears of them, in one of three ways:
//!
//! ```text
//! pushed (RFC 8935)          polled (RFC 8936)          back-channel logout (OpenID Connect)
//!    │ Signals::push            │ Transmitter::poll         │ Signals::backchannel_logout
//!    └──────────────┬───────────┘                           │
//!                   ▼                                       ▼
//!  form      `typ` `secevent+jwt`                     `typ` `logout+jwt`, `JWT` or none   ── no ──▶ refused
//!  issuer    one of the transmitters, to the letter                                       ── no ──▶ refused
//!  sender    `Authorization` of a push, if one was agreed on                              ── no ──▶ refused
//!  claims    `aud`, `iat`, `jti`, `events`; no `sub`, no `exp`  │  `exp`; no `nonce`      ── no ──▶ refused
//!  key       one of this transmitter's                                                    ── none to be had ──▶ 503
//!  signature                                                                              ── no ──▶ refused
//!  repeated  it was acted on before                                                       ── yes ─▶ accepted
//!    │
//!    ▼  what is done about it: `SecurityEvent::default_reaction`, or what the application decides
//!  selections of tokens: those of the subject, issued until the event was
//!    ▼
//!  the caches of this transmitter forget, here and in their fleets                        ── engine away ──▶ 503
//!    ▼
//!  accepted: 202, or 200 of a logout, or acknowledged by the next poll
//!    ▼  5 s later, where an authority is asked, which may have told before it had done it
//!  forgotten once more
//! ```
//!
//! # What holds at all times
//!
//! 1. An event has an effect only if it is signed by a key of the transmitter that it names, is meant for one of its
//!    audiences, and came in by the door for its kind. Nothing else in it is believed before.
//! 2. Once it is accepted, no process of a fleet that has read the log up to then serves a token that it is about: what
//!    is remembered is forgotten, questions under way are asked anew, and tokens that are
//!    [judged alone](crate::Introspect::judges_alone) are refused from then on.
//! 3. An event that had no effect on all of them, or may not have had one, is not accepted: the transmitter sends it
//!    again.
//! 4. It reaches tokens that were issued until it was, and no later ones: whoever logs in again has access, and an
//!    event that is sent again does no harm. (Where an authority is asked, it reaches those of the
//!    [clock skew](Transmitter::clock_skew) after it, too, which costs a question; and where another than the
//!    transmitter has issued the tokens, whose clock may be another.)
//! 5. Junk causes no question about a token and no login. Bodies, times, events that wait, names of a subject, and what
//!    is remembered are bounded. Wrong signatures of strangers are looked at a thousand times a second at each door,
//!    and keep out nobody who shows an agreed `Authorization`, and nothing that is polled.
//! 6. Polling is one task for each transmitter, which ends with the last clone of [`Signals`] and of its services.

mod apply;
mod builder;
mod event;
mod forged;
mod heard;
#[cfg(any(test, fuzzing))]
mod meant;
mod memory;
mod poll;
mod receiver;
mod refusal;
mod service;
mod set;
mod source;
mod subject;
mod tell;
mod transmitter;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use self::builder::SignalsBuilder;
pub use self::event::{EventKind, Reaction, SecurityEvent};
pub use self::heard::{EventOutcome, StreamHealth, StreamStatus, TransmitterStats};
pub use self::poll::Poll;
pub use self::service::SignalsService;
pub use self::transmitter::Transmitter;

use self::receiver::Receiver;
use self::set::Form;
#[cfg(any(test, fuzzing))]
pub(crate) use self::{meant::meant_by, poll::read as read_answer};
use crate::background::Owner;
use crate::error::IntrospectError;

/// Hears of security events, and has caches forget. Keep it, or one of its services, for as long as events are to be
/// heard: polling ends with the last clone.
///
/// ```
/// use axum::Router;
/// use tower_introspection::signals::{Signals, Transmitter};
/// use tower_introspection::{Cached, IntrospectionLayer, Rfc7662};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = "https://auth.example.com";
/// let server = Rfc7662::discover(issuer).client_secret("my-api", "secret").build()?;
/// let cached = Cached::new(server);
/// let transmitter = Transmitter::discover(issuer)
///     .audience("https://api.example.com")
///     .push_authorization("Bearer a-secret-that-was-given-to-the-transmitter")
///     .cache(cached.handle());
/// let signals = Signals::builder().transmitter(transmitter).build()?;
///
/// let app: Router = Router::new()
///     // ... the routes that are guarded
///     .route_layer(IntrospectionLayer::new(cached))
///     // Added after the guard: those who send events have no access token.
///     .route_service("/events", signals.push())
///     .route_service("/backchannel-logout", signals.backchannel_logout());
/// # Ok(()) }
/// ```
///
/// The [guide](crate::guide::signals) tells which servers offer what, and what `max_ttl` may be then. Clones are the
/// same.
#[derive(Clone)]
pub struct Signals {
    receiver: Arc<Receiver>,
    /// Ends the polling.
    owner: Owner,
}

impl Signals {
    /// Starts without a transmitter; one is required.
    pub fn builder() -> SignalsBuilder {
        SignalsBuilder::new()
    }

    /// A service that takes events, RFC 8935: the `endpoint_url` of a stream with
    /// `urn:ietf:rfc:8935` for its delivery method. It answers 202 once an event has had its effect; 400 with the error
    /// codes of section 2.4, and why, if it is no good; 503 with `Retry-After` if it has to be sent again.
    #[must_use]
    pub fn push(&self) -> SignalsService {
        SignalsService::new(self.clone(), Form::Event)
    }

    /// A service that takes logout tokens: the `backchannel_logout_uri` of a client (OpenID Connect Back-Channel Logout
    /// 1.0 section 2.2). It answers 200 once a logout has had its effect; 400 if the token is no good; 503 with
    /// `Retry-After` if it has to be sent again.
    ///
    /// Logout tokens name the client in `aud`: add its identifier as an [audience](Transmitter::audience). Have the
    /// client set up so that they name a session (`backchannel_logout_session_required`), or all sessions of the user
    /// are forgotten.
    #[must_use]
    pub fn backchannel_logout(&self) -> SignalsService {
        SignalsService::new(self.clone(), Form::Logout)
    }

    /// Fetches the keys of all transmitters now, unless they are at hand: for a program that is to fail when it starts,
    /// and not by its first event.
    ///
    /// # Errors
    /// If they cannot be found or fetched.
    pub async fn fetch_keys(&self) -> Result<(), IntrospectError> {
        self.receiver.fetch_keys().await
    }

    /// Tells how it fares. It does not keep the polling alive.
    #[must_use]
    pub fn handle(&self) -> SignalsHandle {
        SignalsHandle(Arc::clone(&self.receiver))
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.handle().stats()).finish()
    }
}

/// Observes [`Signals`]. Made by [`Signals::handle`]; clones look at the same.
#[derive(Clone)]
pub struct SignalsHandle(Arc<Receiver>);

impl SignalsHandle {
    /// The figures since it was built.
    #[must_use]
    pub fn stats(&self) -> SignalsStats {
        SignalsStats {
            transmitters: self.0.sources.iter().map(|source| source.heard.stats()).collect(),
            refused_of_nobody: self.0.nobody.refused.load(Ordering::Relaxed),
            forgotten: self.0.appliers.forgotten(),
        }
    }

    /// Whether events arrive: of several transmitters, of the one that fares worst. For an alert, and for no probe:
    /// while they do not, revocations are noticed as they are without them.
    #[must_use]
    pub fn health(&self) -> StreamHealth {
        let all = self.0.sources.iter().map(|source| source.heard.health());
        all.max().unwrap_or(StreamHealth::Healthy)
    }
}

impl fmt::Debug for SignalsHandle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("SignalsHandle").field(&self.stats()).finish()
    }
}

/// The figures of [`Signals`]. The counters count from when it was built, and never go down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalsStats {
    /// Each transmitter, in the order in which they were added.
    pub transmitters: Vec<TransmitterStats>,
    /// What was sent and named no transmitter that was added, or could not be read that far.
    pub refused_of_nobody: u64,
    /// How many active tokens were forgotten in this process.
    pub forgotten: u64,
}
