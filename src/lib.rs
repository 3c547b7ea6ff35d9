//! A Tower layer that answers one question before a service runs: *is this bearer token active right now, and may it
//! come in here?*
//!
//! Opaque access tokens mean nothing to the service that receives them; only the authority that issued them can tell
//! what they are worth. This crate takes the token out of each request, asks that authority (an RFC 7662 introspection
//! endpoint, Apigee Edge's access-token endpoint, or any [`Introspect`] of your own), remembers the answer no longer
//! than the token lives, and turns every refusal into the HTTP or gRPC answer the standards ask for.
//!
//! With axum (feature `axum`):
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//! use tower_introspection::{AccessToken, Cached, IntrospectionLayer, Policy, Rfc7662};
//!
//! async fn whoami(token: AccessToken) -> String {
//!     format!("{} may {}", token.client_id().unwrap_or("somebody"), token.scopes())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // For Apigee Edge: `Apigee::builder("my-org").basic_auth("username", "password").build()?`
//!     let server = Rfc7662::discover("https://auth.example.com");
//!     let server = server.client_secret("my-api", "secret").build()?;
//!     let guard = IntrospectionLayer::builder(Cached::new(server))
//!         // Without this, tokens that were issued for other services come in, too.
//!         .require_audience("https://api.example.com")
//!         .build()?;
//!     let admin = guard.require(Policy::new().require_scope("admin"))?;
//!
//!     let app = Router::new()
//!         .route("/whoami", get(whoami))
//!         .route("/admin", get(async || "welcome").route_layer(admin))
//!         .route_layer(guard)
//!         // Added after the guard: open to everyone.
//!         .route("/healthz", get(async || "ok"));
//!     axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?;
//!     Ok(())
//! }
//! ```
//!
//! With tonic (feature `tonic`):
//!
#![cfg_attr(feature = "tonic", doc = "```no_run")]
#![cfg_attr(not(feature = "tonic"), doc = "```ignore")]
//! use tonic::{Request, Response, Status, transport::Server};
//! use tower_introspection::{AccessTokenExt, Cached, IntrospectionLayer, Rfc7662};
//!
//! /// As a method of your service has it.
//! async fn greet(request: Request<String>) -> Result<Response<String>, Status> {
//!     let token = request.access_token()?;
//!     Ok(Response::new(format!("hello {}", token.client_id().unwrap_or("you"))))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Rfc7662::discover("https://auth.example.com");
//!     let server = server.client_secret("my-api", "secret").build()?;
//!     let guard = IntrospectionLayer::builder(Cached::new(server));
//!     let guard = guard.require_audience("https://greeter.example.com").build()?;
//!     let (_, health) = tonic_health::server::health_reporter();
//!
//!     Server::builder()
//!         // Around all services that are added.
//!         .layer(guard)
//!         .add_service(health)
//!         .serve("127.0.0.1:50051".parse()?)
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! Any other Tower service takes the layer by `tower::ServiceBuilder`, and finds the [`AccessToken`] in the request's
//! extensions. The [`guide`] has all the rest: who is asked, what a route requires, tenants, outages, tests, and how it
//! is operated.
//!
//! Terms used throughout:
//!
//! * The *authority* is the server that issued a token and can tell whether it is active.
//! * A *question* is one attempt to learn from the authority whether one token is active. It is one HTTP request, and
//!   one more for each retry and for renewed credentials.
//! * A *hit* is a request that is answered from the cache, without a question. A *miss* is one that starts a question.
//!   One that waits for a question already under way is neither: it is *coalesced* ("single flight").
//! * A *fleet* is all processes that guard one service and share answers, invalidations and the rate limit through an
//!   *engine*: Redis or Valkey, or one in memory for tests (feature `redis`).
//! * A *known* token was active when it was last asked about, as far as a [`Cached`] remembers; any other is a
//!   *stranger*. Known tokens come first in every limit, so that junk tokens cannot use it up. (One whose last question
//!   failed by what its holder may have brought about, such as an answer that is too large, is a stranger again.)
//!
//! # The way of a request
//!
//! ```text
//! http::Request
//!    │  TokenSource     finds the one token the request presents       ── none, two, malformed ─▶ Rejection
//!    ▼
//! BearerToken           syntax-checked, never shown
//!    │  cached          an answer at hand, if there is one: no waiting, one allocation
//!    ▼  introspect      otherwise asks: one question per token         ── failed ──────────────▶ Rejection
//! Verdict               Active(AccessToken) or Inactive(reason)        ── inactive ────────────▶ Rejection
//!    │  possession      of a bound token: proof, or certificate        ── not shown ───────────▶ Rejection
//!    │  policy          audience, scopes, rules: on every request      ── denied ──────────────▶ Rejection
//!    ▼
//! request.extensions ◀─ AccessToken
//!    ▼
//! inner service
//! ```
//!
//! # What holds at all times
//!
//! 1. The inner service runs only with a verdict that is active at that moment: the clock is asked again on every hit.
//! 2. Expiry is exclusive: at `expires_at` the token is dead. Nothing cached outlives it.
//! 3. A revoked token is refused at the latest [`max_ttl`](cache::CachedBuilder::max_ttl) after it was revoked. The
//!    deadline is fixed when the answer arrives, counts from when the question was asked, and no hit moves it. Only if
//!    the authority fails when it is due, and [`stale_if_error`](cache::CachedBuilder::stale_if_error) was set, it is
//!    that much later. The wall clock judges this. Set back by less than an answer's age it can prolong that answer by
//!    as much, and while it stands still the answer serves on. Either way it ends by the cache's own monotonic clock.
//!    That is looked at in one of 256 reads, at random, and whenever an answer is remembered or forgotten: a token that
//!    is read once a second, and no other ever, may live on for some minutes. In a fleet it holds for each process and
//!    its own `max_ttl`, wherever the question was asked and through however many processes its answer goes: the time
//!    since then is measured by the engine's clock, and what the
//!    [guide](guide::fleet#what-holds-when-something-fails) says of that clock may be added.
//! 4. "The authority said no" and "the authority could not be asked" never mix. A failure is never remembered, never
//!    removes a good entry, and never becomes a 401.
//! 5. One question per token is under way at a time. It outlives the request that started it; a failure reaches all who
//!    wait for it once; its slot is freed on every exit, a panic included. In a fleet this is so in each process, and
//!    among processes as long as the engine answers in time: a process that it does not answer asks for itself.
//! 6. Policy is judged on every request, hit or miss, on the same path.
//! 7. A token is never stored, logged, displayed, or put into an error. The cache knows keyed fingerprints only. What
//!    leaves the process for the engine of a fleet is sealed, under names that are keyed hashes: neither a token nor a
//!    plain hash of one is in it, and facts cannot be read without the fleet's secret.
//! 8. What is not RFC 6750 `token68`, is `.` or `..`, or is longer than the limit, is answered without a question. What
//!    is sent to Apigee is exactly one percent-encoded path segment.
//! 9. Everything is bounded: entries, inactive entries (in a cache of their own), questions under way and waiting,
//!    questions in a time, retries, response bytes, time. Background work ends with the layer it is for. A request
//!    waits for the engine of a fleet for 50 ms at most; what is kept for the engine, or read from it, is bounded too.
//! 10. `poll_ready` is honoured: the layer works over a concurrency limit of one, a buffer, and a service that panics
//!     when it is called unready. A rejected request gives back what readiness had reserved.
//! 11. A sender-constrained token (`cnf`) comes in only if its caller proved, with this very request or its connection,
//!     that it holds the key. Where that cannot be looked at, since the layer was given no `dpop` or no
//!     `client_certificates` (features `dpop`, `certificate-bound`) or the kind of `cnf` is unknown, it is refused. A
//!     proof comes in once, and one that fails is not used up. Without a fleet that is once in each process; in a fleet
//!     it is once in all that note it in the engine, as long as that loses nothing and their clocks differ by no more
//!     than [`clock_skew`](guide::possession#lifetimes-and-clocks). A process notes it by itself alone while it is not
//!     reading the fleet's log (at its start until the first read, and while the engine is away), and for 100 ms to 5 s
//!     after the engine failed to note a proof, or took more than 10 ms; a failure for answers does not count.
//! 12. Zero never means forever. `max_ttl` zero means "do not cache"; a missing, malformed or non-positive expiry is
//!     refused, never extended. (RFC 7662 has tokens without an expiry; a cache asks about one again after `max_ttl`.)
//!
//! # Between questions and the authority
//!
//! ```text
//! cache     asks ahead of time for tokens in use; one question per token; serves on in an outage, if so told
//!    ▼
//! deadline  request_timeout: all of what follows ends within it
//!    ▼
//! breaker   closed: on. Open: CircuitOpen, at once. Half open: one question is the probe
//!    ▼
//! waiting   for a turn (rate_limit), then a place (max_concurrent_requests); later than max_wait: Overloaded, at once
//!    │      if that is clear at first
//!    ▼
//! retries   no connection, reset before an answer, 502, 504, 503 without Retry-After: max_retries, within a budget
//!    ▼
//! exchange  one HTTP request: credentials, connect_timeout, max_response_bytes, no redirects
//! ```
//!
//! In this order because each step is cheaper than the one below it. The breaker is above the waiting, so that an
//! outage does not fill it with questions that wait for nothing; retries keep the question's place, or they could
//! outnumber the places, and take a turn each; the breaker counts a question with all its retries once; and the
//! deadline is outermost, so that whatever happens below, the caller has an answer by then. Retries are tower's, with
//! its budget and backoff; the rest has to tell known tokens from strangers, or to keep an injected clock.
//!
//! # What it does not do
//!
//! * **Notice a revocation at once, unless the authority tells of it.** A revoked token may still come in for up to
//!   `max_ttl`. Where the authority tells of security events or logouts, [listen](guide::signals) (feature `signals`).
//!   Else call [`CacheHandle::invalidate`] when you learn of a revocation, which in a fleet reaches all processes that
//!   can reach the engine, or choose a shorter `max_ttl`, which costs more questions.
//! * **Ask about a JWT that it judges itself.** A `Jwt` (feature `jwt`) verifies and asks nobody: a revoked token comes
//!   in until it expires, unless it is invalidated here, or an event does so. A `Hybrid` asks.
//! * **Read encrypted tokens, answers or events** (JWE).
//! * **Skip paths.** There is no list of public paths in it. Put the layer on the routes it guards; leave health checks
//!   and CORS preflights to a router or a CORS layer outside of it.
//! * **Share answers between processes, unless it is told to.** Each process asks for itself, and an invalidation
//!   reaches the process that calls it, unless the cache is in a [fleet](guide::fleet).
//! * **End what it has let in.** A WebSocket, an event stream or a gRPC stream goes on after its token has expired or
//!   was revoked, unless the handler ends it.
//! * **Accept tokens that are bound to a key, unless it is told to.** DPoP and client certificates are
//!   [switched on](guide::possession) at the layer. Neither covers the body of a request, and nothing here judges the
//!   chain of a certificate: that is the TLS server's business.
//!
//! # Logs
//!
//! Events are emitted with [`tracing`](https://docs.rs/tracing), and cost next to nothing unless somebody subscribes.
//!
//! | level | event | fields |
//! | --- | --- | --- |
//! | error | "the authority refused this service's own credentials: ..." | `server.address`, `error` |
//! | error | "what the issuer publishes was not discovered, and somebody has to change something: ..." | `server.address`, `error` |
//! | error | "this service could not log in, ..." (somebody has to change something) | `login` (the token endpoint, or the hook), `error`, `untold` |
//! | error | "... found no IntrospectionLayer around it: ..." (a scope requirement or an extractor) | `untold` |
//! | warn | "the authority could not be asked" | `server.address`, `kind`, `error`, `latency_ms`, `untold` |
//! | warn | "this service could not log in for now: ..." (the token endpoint is down or busy) | `login`, `error`, `untold` |
//! | warn | "the authority is not asked for a while: ..." (the breaker opens, or its probe failed) | `server.address`, `share`, `failures`, `pause_ms`, `untold` |
//! | warn | "questions are turned away, ..." (overload; `error` names the limits) | `cache`, `share`, `error`, `untold` |
//! | warn | "the authority fails; answers it gave before serve on ..." | `cache`, `untold` |
//! | warn, once for a layer | "the authority is asked about every single request, ..." (an endpoint was handed to the layer without a [`Cached`] around it) | |
//! | warn | "request rejected: ..." (the authority could not be asked, and nobody has said so yet: an introspector of your own, or a question that the cache gave up) | `kind`, `reason`, `cause`, `error`, `untold` |
//! | error | "the fleet's engine refuses this process, ..." (a wrong password, or a permission that is missing) | `fleet`, `kind`, `error`, `untold` |
//! | warn | "the fleet's engine fails: ..." | `fleet`, `kind`, `error`, `untold` |
//! | warn | "the fleet's engine has no memory left, ..." | `fleet`, `kind`, `error`, `untold` |
//! | warn | "the fleet's log has a gap: ..." | `fleet`, `why`, `untold` |
//! | warn | "what the fleet's engine holds cannot be opened: ..." | `fleet`, `what`, `why`, `untold` |
//! | warn | "the strict fleet's lease is over: ..." | `fleet`, `untold` |
//! | warn | "too many invalidations wait for the fleet's engine: ..." | `fleet`, `untold` |
//! | warn, once for each `mismatch` | "the processes of a fleet are set up in ways that do not go together" | `fleet`, `mismatch` |
//! | error | "what decides about security events (`on_event`) panicked: what is done by default is done" | `transmitter`, `event`, `untold` |
//! | warn | "security events are turned away, and have to be sent again" | `transmitter`, `cause`, `untold` |
//! | warn | "a security event has no effect" (nobody can tell whose tokens are meant) | `transmitter`, `event`, `cause`, `untold` |
//! | warn | "security events cannot be polled" | `transmitter`, `kind`, `error`, `untold` |
//! | warn | "what was sent as a security event is refused" (of an answer to a poll) | `transmitter`, `code`, `cause`, `untold` |
//! | warn, once for each change | "nothing is heard of the transmitter: ..." (one that has `silent_after`, or is polled) | `transmitter` |
//! | warn, once for each change | "the transmitter sends no security events: ..." (its stream is paused or disabled, as it says itself) | `transmitter`, `status` |
//! | info, once for each change | "the transmitter is heard again" | `transmitter` |
//! | info, once for each change | "the transmitter sends security events again" (as it says itself, or as an event shows) | `transmitter` |
//! | info | "a security event was heard" | `transmitter`, `event`, `outcome`, `untold` |
//! | info | "what was sent as a security event is refused" (pushed, or a logout) | `transmitter`, `code`, `cause`, `untold` |
//! | info | "what was sent as a security event is refused, and names no transmitter that is known" (or cannot be read) | `code`, `cause`, `untold` |
//! | info | "the fleet's engine is back: ..." (whatever failed and was told works again) | `fleet` |
//! | info | "the authority answers again; ..." (the breaker closes, and the log told that it was open) | `server.address`, `share` |
//! | info | "the authority's answer is not a clear yes, so the token counts as inactive" | `cause`, `untold` |
//! | info | "the authority answered 401 with `{"active":false}` and no challenge: ..." | `endpoint`, `untold` |
//! | info | "the introspection endpoint was discovered" | `issuer`, `endpoint` |
//! | info | "the issuer's key set was discovered" | `issuer`, `jwks` |
//! | info | "the issuer has other keys than before" | `server.address` |
//! | warn | "the issuer publishes no key that can be used here: ..." | `server.address` |
//! | info | "a token is not what is accepted from its issuer, so it is refused" (a JWT that is judged here) | `issuer`, `cause`, `untold` |
//! | info | "a token is of nobody whose tokens are judged here, so it is refused" | `cause`, `untold` |
//! | info | "a DPoP proof is refused" | `fault`, `why` or `seconds_away` where there is more to say, `untold` |
//! | warn | "requests with a DPoP proof are turned away" (there is no room, or too many are forged) | `why`, `untold` |
//! | info | "a token is refused that is bound to a client certificate" (there is none, or another, or what the proxy says cannot be read; feature `certificate-bound`) | `fault`, `untold` |
//! | debug | "the authority answered" | `latency_ms` |
//! | debug | "the authority was not asked" (overload, or the breaker is open) | `server.address`, `kind`, `error` |
//! | debug | "request rejected: ..." (for any other reason, or for a failure that was said once already) | `kind`, `reason`, and `cause` and `error` of a failure |
//! | debug | "a sender-constrained token was presented as a plain bearer token" | `missing` |
//! | debug | "a token in use is not asked about ahead of time" (there is no runtime) | `error` |
//! | debug | "security events are polled again" | `transmitter` |
//!
//! No caller can fill the log at the levels above debug. Each of these events is written at once, and then every half
//! minute while it goes on; `untold` says how many like it were left out since the last one. Those that are about
//! single requests, questions, logins, security events or polls are debug events then, without `untold`. What is "like
//! it" is told apart by `kind`, HTTP status and `share`, by `cause`, by `cache`, or by who found no layer; of a fleet
//! by `kind`, or by `what` and `why`; of proofs and certificates by `fault` or `why`; of security events by
//! `transmitter`, and by `cause`, `kind`, or `event` and `outcome`. `share` is `known` or `stranger`.
//!
//! Spans, at debug level:
//!
//! | span | fields |
//! | --- | --- |
//! | `introspection_flight`: a question for a cache, in a task of its own | `refresh`: asked ahead of time |
//! | `introspection_login`: a login of this service, in a task of its own | `login` (the token endpoint, or the hook) |
//! | `introspection_discovery`: finding the endpoint or the keys of an issuer, in a task of its own | |
//! | `introspection_keys`: fetching an issuer's keys, in a task of its own | |
//! | `introspection_fleet`: reading the log of a fleet, and appending to it, in a task each for as long as the fleet is in use | |
//! | `introspection_signals`: polling a transmitter of security events, and looking whether any has fallen silent, in a task each for as long as somebody listens | |
//! | `introspection`: a question to an endpoint, within the first | `otel.kind`, `server.address`, `known` (whether the token is), `http.response.status_code` (of the last attempt), `error.type` (the [kind](IntrospectErrorKind) of failure) |
//!
//! The spans of a login, of a discovery and of a question asked ahead of time have no parent, because nobody has to
//! wait for them. They follow from (`follows_from`) the span of the request that caused them. That of a fleet has none
//! either, and follows from nothing. Those of security events have none, and follow from the span in which `Signals`
//! was built.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `rustls` | yes | `https` to the authority with rustls |
//! | `native-tls` | | `https` to the authority with the system's TLS |
//! | `http-client` | | a `reqwest::Client` of your own for a [`Connection`](connection::Connection) |
//! | `axum` | | [`AccessToken`] as an axum extractor. **Required wherever the layer stands in an axum `Router`:** without it rules and choices below `nest` see the shortened path |
//! | `tonic` | | `AccessTokenExt` for [`AccessToken`] of a `tonic::Request`; guarded services keep their gRPC name |
//! | `metrics` | | counters, gauges and histograms through the [`metrics`](https://docs.rs/metrics) facade, of most of what `stats()` tells. Install the recorder before anything is asked, a check at start-up and `stats()` included: it is looked for at the first event |
//! | `dpop` | | `Dpop`: tokens bound to a key, with a proof in each request (RFC 9449) |
//! | `certificate-bound` | | `ClientCertificates`: tokens bound to a client certificate (RFC 8705); with `tonic` it brings tonic's TLS, whose connections it reads |
//! | `jwt` | | `Jwt`, `Hybrid`, `ByIssuer`: JWT access tokens, judged here; `SignedAnswers` of RFC 7662 servers |
//! | `private-key-jwt` | | `PrivateKeyJwt`: client authentication with a signed assertion |
//! | `redis` | | `Fleet`: several processes share answers, invalidations and the rate limit through Redis or Valkey |
//! | `signals` | | `Signals`: security events (CAEP, RISC; pushed or polled) and OpenID back-channel logouts that an authority tells of have caches forget at once; brings `jwt` |
//! | `status-page` | | `StatusPage`: a small page with the figures of caches |
//! | `sandbox` | | an in-memory authority on loopback: Apigee's management API and an RFC 7662 server |
//! | `test-util` | | `ManualClock`, for tests that stand still in time; with `redis` outages of the `MemoryEngine` |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod background;
mod build_error;
mod discovery;
mod endpoint;
mod error;
mod excerpt;
mod facts;
mod histogram;
mod http;
#[cfg(any(
    feature = "certificate-bound",
    feature = "dpop",
    feature = "jwt",
    feature = "private-key-jwt",
    feature = "sandbox"
))]
#[cfg_attr(not(feature = "jwt"), allow(dead_code, unreachable_pub))] // whoever wants a part of it gets all
mod jose;
mod json;
#[cfg(feature = "jwt")]
mod jwks;
mod log_limit;
mod metrics;
mod policy;
mod protection;
mod random;
mod request;
mod selection;
mod settings;
#[cfg(feature = "status-page")]
mod status_page;
mod striped;
mod target;
mod url;

pub mod apigee;
pub mod cache;
pub mod clock;
pub mod connection;
pub mod credentials;
#[cfg(feature = "axum")]
pub mod extract;
#[cfg(all(feature = "tonic", not(feature = "axum")))]
mod extract;
#[cfg(feature = "redis")]
pub mod fleet;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
// Text alone, so it is no part of the program. Its snippets want all features to compile.
#[cfg(all(
    doc,
    any(
        not(doctest),
        all(
            feature = "axum",
            feature = "certificate-bound",
            feature = "dpop",
            feature = "jwt",
            feature = "private-key-jwt",
            feature = "redis",
            feature = "sandbox",
            feature = "signals",
            feature = "status-page",
            feature = "test-util"
        )
    )
))]
pub mod guide;
pub mod introspect;
#[cfg(feature = "jwt")]
pub mod jwt;
pub mod layer;
#[cfg(any(feature = "certificate-bound", feature = "dpop"))]
pub mod possession;
#[cfg(not(any(feature = "certificate-bound", feature = "dpop")))]
mod possession;
pub mod rejection;
pub mod resource;
pub mod rfc7662;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "signals")]
pub mod signals;
pub mod source;
pub mod stats;
pub mod token;

pub use apigee::endpoint::Apigee;
pub use build_error::BuildError;
pub use cache::cached::Cached;
pub use cache::handle::CacheHandle;
pub use error::IntrospectError;
#[cfg(feature = "tonic")]
pub use extract::tonic::AccessTokenExt;
pub use introspect::authorities::Authorities;
pub use introspect::introspector::{Introspect, introspect_fn};
pub use introspect::verdict::{InactiveReason, Verdict};
#[cfg(feature = "jwt")]
pub use jwt::verifier::Jwt;
pub use layer::introspection_layer::IntrospectionLayer;
pub use policy::Policy;
pub use request::RequestView;
pub use resource::document::ProtectedResource;
pub use rfc7662::endpoint::Rfc7662;
#[cfg(feature = "status-page")]
pub use status_page::StatusPage;
pub use token::access_token::AccessToken;
pub use token::bearer::BearerToken;
pub use token::scope::Scopes;

use cache::Reach;
use error::IntrospectErrorKind;
use rejection::{RejectionKind, RejectionReason};
use stats::{BreakerState, Health};

macro_rules! display_as_str {
    ($($name:ty),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}

display_as_str!(BreakerState, Health, InactiveReason, IntrospectErrorKind, Reach, RejectionKind, RejectionReason);
#[cfg(feature = "jwt")]
display_as_str!(jwt::Algorithm);
#[cfg(feature = "signals")]
display_as_str!(signals::EventKind, signals::EventOutcome, signals::StreamHealth, signals::StreamStatus);
#[cfg(feature = "redis")]
display_as_str!(fleet::EngineErrorKind, fleet::Unreadable);

/// The README's snippets, compiled.
#[cfg(all(doctest, feature = "axum", feature = "private-key-jwt", feature = "tonic", feature = "sandbox"))]
#[doc = include_str!("../README.md")]
struct Readme;
