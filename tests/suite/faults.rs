//! Everything that can go wrong between this crate and an authority, over real sockets: what the caller gets, when,
//! what is remembered, how much is read, and how the next request fares.
//!
//! Time passes only where a test lets it: a question that would wait is left alone with a clock that skips to its end.
#![cfg(feature = "test-util")]

mod client;
mod connections;
mod logins;
#[cfg(feature = "http-client")]
mod names;
mod pauses;
#[cfg(feature = "rustls")]
mod tls;

use std::convert::Infallible;

use crate::support::faulty::{Faulty, GOOD, Step, answer, coded, good};
use crate::support::*;
use http::{Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_introspection::clock::ManualClock;
use tower_introspection::introspect::IntrospectErrorKind::*;
use tower_introspection::introspect::{AnyIntrospector, IntrospectErrorKind};
use tower_introspection::rejection::RejectionKind;
use tower_introspection::stats::{BreakerState, CacheStats, EndpointStats};
use tower_introspection::{CacheHandle, Cached, IntrospectionLayer};

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Apigee,
    Rfc7662,
}

const BOTH: [Protocol; 2] = [Protocol::Apigee, Protocol::Rfc7662];

/// An endpoint of this protocol at this base, with these settings.
macro_rules! asking {
    ($protocol:expr, $base:expr $(, $setting:ident($value:expr))* $(,)?) => {{
        let base: &str = &$base;
        match $protocol {
            $crate::faults::Protocol::Apigee => {
                let builder = tower_introspection::Apigee::builder("o").base_url(base).basic_auth("a", "b");
                let builder = builder.request_timeout($crate::support::secs(10))$(.$setting($value))*;
                tower_introspection::introspect::AnyIntrospector::new(builder.build().unwrap())
            }
            $crate::faults::Protocol::Rfc7662 => {
                let builder = tower_introspection::Rfc7662::builder(format!("{base}/introspect"));
                let builder = builder.client_secret_basic("a", "b");
                let builder = builder.request_timeout($crate::support::secs(10))$(.$setting($value))*;
                tower_introspection::introspect::AnyIntrospector::new(builder.build().unwrap())
            }
        }
    }};
}
use asking;

/// A service behind an endpoint of this protocol at this base, with these settings.
macro_rules! guarded {
    ($protocol:expr, $base:expr $(, $setting:ident($value:expr))* $(,)?) => {{
        let clock = tower_introspection::clock::ManualClock::at($crate::support::START);
        let introspector = $crate::faults::asking!($protocol, $base $(, $setting($value))*, clock(clock.clone()));
        $crate::faults::Guarded::new(introspector, clock)
    }};
}
use guarded;

struct Guarded {
    layer: IntrospectionLayer<Cached<AnyIntrospector>>,
    cache: CacheHandle,
    clock: ManualClock,
    /// Which one it is, for whoever reads that it failed.
    case: String,
}

impl Guarded {
    fn new(introspector: AnyIntrospector, clock: ManualClock) -> Self {
        // The endpoint has to end its questions itself.
        let cached = Cached::builder(introspector).clock(clock.clone()).question_timeout(secs(3_600)).build().unwrap();
        Self { cache: cached.handle(), layer: IntrospectionLayer::new(cached), clock, case: String::new() }
    }

    fn in_case(self, case: &str) -> Self {
        Self { case: case.to_owned(), ..self }
    }

    async fn send(&self, token: &str) -> Response<String> {
        let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new("welcome".to_owned())));
        let asking = self.layer.layer(inner).oneshot(request(&format!("Bearer {token}")));
        patiently(asking).await.unwrap()
    }

    async fn lets_in(&self, token: &str) {
        assert_eq!(self.send(token).await.status(), StatusCode::OK, "{token}, {}: {:?}", self.case, self.stats());
    }

    /// Says 503, and tells when to come back.
    async fn turns_away(&self, token: &str) -> String {
        let response = self.send(token).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{token}, {}", self.case);
        assert_eq!(kind(&response), Some(RejectionKind::Unavailable));
        assert!(!response.headers().contains_key("www-authenticate"), "a challenge: {response:?}");
        response.headers()["retry-after"].to_str().unwrap().to_owned()
    }

    fn stats(&self) -> CacheStats {
        self.cache.stats()
    }

    fn endpoint(&self) -> EndpointStats {
        self.stats().endpoint.unwrap()
    }

    /// Active and inactive tokens that are remembered.
    fn remembered(&self) -> (u64, u64) {
        let stats = self.stats();
        (stats.entries, stats.inactive_entries)
    }

    fn failures(&self) -> Vec<(IntrospectErrorKind, u64)> {
        self.stats().failures_by_kind
    }
}

/// Does `event`, which waits for nothing but time, without waiting for it. It begins once `waits` is over.
async fn skipping<T>(waits: impl Future<Output = ()>, event: impl Future<Output = T>) -> T {
    let (outcome, ()) = tokio::join!(event, async {
        waits.await;
        tokio::time::pause();
    });
    tokio::time::resume();
    outcome
}

struct Row {
    fault: &'static str,
    steps: Vec<Step>,
    ends: Result<(), IntrospectErrorKind>,
    /// How many exchanges the authority sees for one question.
    attempts: usize,
}

/// `elsewhere` is where redirects lead to.
fn table(elsewhere: &str) -> Vec<Row> {
    let row = |fault, steps, ends, attempts| Row { fault, steps, ends, attempts };
    let once = |fault, steps, kind| row(fault, steps, Err(kind), 1);
    let thrice = |fault, steps, kind| row(fault, steps, Err(kind), 3);
    let accepted = |fault, steps| row(fault, steps, Ok(()), 1);
    let send = |text: &str| Step::Send(text.to_owned());
    let head = |headers: &str| Step::Send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n"));
    let status = |status: &str| vec![answer(status, "", "{}")];
    let ok = |headers: &str, body: &str| vec![answer("200 OK", headers, body)];
    let redirect = |status: &str| vec![answer(status, &format!("location: {elsewhere}\r\n"), "")];
    let (half, _) = GOOD.split_at(20);
    let interim = || Step::Send("HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n".repeat(1_000));
    const PLAIN: Step = Step::Flood { chunked: false };
    vec![
        thrice("reset before the answer", vec![Step::Reset], Transport),
        thrice("closed before the answer", vec![], Transport),
        thrice("reset in the middle of the head", vec![send("HTTP/1.1 200 OK\r\ncontent-"), Step::Reset], Transport),
        thrice("another protocol", vec![send("SSH-2.0-OpenSSH_9.9\r\n")], Transport),
        once("reset in the middle", vec![head("content-length: 100\r\n"), send(half), Step::Reset], Transport),
        once("closed in the middle", vec![head("content-length: 100\r\n"), send(half)], Transport),
        once("no last chunk", vec![head("transfer-encoding: chunked\r\n"), send("4\r\nnull\r\n")], Transport),
        once("hangs before the head", vec![Step::Hang], Timeout),
        once("hangs in the head", vec![send("HTTP/1.1 200 OK\r\ncontent-"), Step::Hang], Timeout),
        once("hangs before the body", vec![head("content-length: 100\r\n"), Step::Hang], Timeout),
        once("hangs in the body", vec![head("content-length: 100\r\n"), send(half), Step::Hang], Timeout),
        once("hangs after a body without an end", vec![head(""), send(GOOD), Step::Hang], Timeout),
        once("drips a head for ever", vec![send("HTTP/1.1 200 OK\r\ndrip: "), Step::DripForever], Timeout),
        once("drips a body for ever", vec![head("content-length: 60000\r\n"), Step::DripForever], Timeout),
        thrice("256 MiB of head", vec![send("HTTP/1.1 200 OK\r\nflood: "), PLAIN], Transport),
        once("256 MiB", vec![head(&format!("content-length: {}\r\n", 256 * 1024 * 1024)), PLAIN], Answer),
        once("256 MiB without a length", vec![head(""), PLAIN], Answer),
        once("256 MiB in chunks", vec![head("transfer-encoding: chunked\r\n"), Step::Flood { chunked: true }], Answer),
        once("256 MiB with a failure", vec![send("HTTP/1.1 500 Oops\r\nconnection: close\r\n\r\n"), PLAIN], Answer),
        once("cut JSON", ok("content-type: application/json\r\n", half), Answer),
        once("cut JSON without a length", vec![head(""), send(half)], Answer),
        once("deep JSON", ok("", &"[".repeat(60_000)), Answer),
        once("an array", ok("", "[]"), Answer),
        once("nothing", ok("", ""), Answer),
        once("a page", ok("content-type: text/html\r\n", "<html>Log in to the airport's network</html>"), Answer),
        accepted("wrong content type", ok("content-type: text/html\r\n", GOOD)),
        accepted("a coding that is none", ok("content-encoding: UTF-8\r\n", GOOD)),
        accepted("no coding, and it says so", ok("content-encoding: identity\r\n", GOOD)),
        once("gzip", coded("200 OK", "gzip"), Answer),
        accepted("after many interim answers", vec![interim(), answer("200 OK", "", GOOD)]),
        once("many interim answers and no other", vec![interim(), Step::Hang], Timeout),
        accepted("one byte at a time", ok("", GOOD).into_iter().map(dripping).collect()),
        once("301", redirect("301 Moved Permanently"), Status),
        once("302", redirect("302 Found"), Status),
        once("303", redirect("303 See Other"), Status),
        once("307", redirect("307 Temporary Redirect"), Status),
        once("308", redirect("308 Permanent Redirect"), Status),
        once("400", status("400 Bad Request"), Status),
        once("401", status("401 Unauthorized"), Credentials),
        once("403", status("403 Forbidden"), Credentials),
        once("404 without a code", status("404 Not Found"), Status),
        once("429", status("429 Too Many Requests"), RateLimited),
        once("500", status("500 Internal Server Error"), Status),
        thrice("502", status("502 Bad Gateway"), Status),
        thrice("503", status("503 Service Unavailable"), Status),
        thrice("504", status("504 Gateway Timeout"), Status),
    ]
}

fn dripping(step: Step) -> Step {
    match step {
        Step::Send(text) => Step::Drip(text),
        other => other,
    }
}

/// The most that may leave an authority of a body that is too large: what is read, and what fits into the buffers of
/// two sockets.
const TAKEN_AT_MOST: usize = 2 * 1024 * 1024;

async fn check(protocol: Protocol, row: Row) {
    let Row { fault, steps, ends, attempts } = row;
    let case = format!("{fault}, {protocol:?}");
    let authority = Faulty::start();
    let guarded = guarded!(protocol, authority.url()).in_case(&case);
    guarded.lets_in("known").await;

    authority.does(steps.clone());
    match ends {
        Ok(()) => guarded.lets_in("abc").await,
        Err(kind) => {
            let asking = guarded.turns_away("abc");
            let comes_back = if kind == Timeout { skipping(authority.asked(2), asking).await } else { asking.await };
            assert_eq!(comes_back, "5", "{case}");
            assert_eq!(guarded.failures(), [(kind, 1)], "{case}");
            assert_eq!(guarded.remembered(), (1, 0), "{case}");
        }
    }
    assert_eq!(authority.requests() - 1, attempts, "{case}");
    assert_eq!(usize::try_from(guarded.endpoint().attempts).unwrap() - 1, attempts, "{case}");
    if steps.iter().any(|step| matches!(step, Step::Flood { .. })) {
        let taken = authority.flooded().await;
        assert!(taken < TAKEN_AT_MOST, "{case}: {taken}");
    }
    if steps.iter().any(|step| matches!(step, Step::DripForever)) {
        assert!(authority.dripped() > 5, "{case}: {}", authority.dripped());
    }
    guarded.lets_in("known").await;
    assert_eq!(authority.requests() - 1, attempts, "{case}: a good entry survives");

    recovers(&guarded, &authority, ends.is_err()).await;
}

/// The authority answers again, and is asked at once: about the token it failed for, if it did, and about a new one.
async fn recovers(guarded: &Guarded, authority: &Faulty, failed: bool) {
    authority.does(good());
    let asked = authority.requests();
    guarded.lets_in("abc").await;
    guarded.lets_in("new").await;
    assert_eq!(authority.requests() - asked, if failed { 2 } else { 1 }, "nothing was remembered of a failure");
    assert_eq!(guarded.remembered(), (3, 0));
    assert_eq!(guarded.endpoint().breaker, BreakerState::Closed);
}

async fn check_all(protocol: Protocol) {
    let elsewhere = Faulty::start();
    for row in table(&format!("http://localhost:{}/", elsewhere.port())) {
        check(protocol, row).await;
    }
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
}

#[tokio::test]
async fn every_fault_of_an_apigee_endpoint_is_answered_with_503_bounded_forgotten_and_recovered_from() {
    check_all(Protocol::Apigee).await;
}

#[tokio::test]
async fn every_fault_of_an_rfc_7662_endpoint_is_answered_with_503_bounded_forgotten_and_recovered_from() {
    check_all(Protocol::Rfc7662).await;
}
