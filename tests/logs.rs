//! No token, refresh token or credential in any output at TRACE, on any path, errors and Debug included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(feature = "sandbox", feature = "test-util"))]

#[cfg(feature = "dpop")]
#[path = "logs/dpop.rs"]
mod dpop;
#[cfg(feature = "redis")]
#[path = "logs/fleet.rs"]
mod fleet;
#[cfg(feature = "jwt")]
#[path = "logs/jwt.rs"]
mod jwt;
#[cfg(feature = "signals")]
#[path = "logs/signals.rs"]
mod signals;
mod support;

use std::convert::Infallible;
use std::error::Error;
use std::fmt::Debug;
use std::io::Write;
use support::requires;
use tower_introspection::RequestView;

use http::{Request, Response};
use support::faulty::{self, Faulty};
use support::recorder::{Recorder, Seen};
use support::text::Text;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt, service_fn};
use tower_introspection::apigee::{ApigeeBuilder, ApigeeLogin};
use tower_introspection::clock::ManualClock;
use tower_introspection::connection::Limits;
use tower_introspection::credentials::{ClientCredentials, Credential};
use tower_introspection::introspect::{AnyIntrospector, Ask, ChooseIntrospector, IntrospectErrorKind};
use tower_introspection::rejection::Rejection;
use tower_introspection::sandbox::{Fault, Sandbox};
use tower_introspection::source::{TokenCookie, TokenQueryParameter};
use tower_introspection::{
    AccessToken, Apigee, Authorities, BearerToken, Cached, Introspect, IntrospectError, IntrospectionLayer, Rfc7662,
    Verdict, introspect_fn,
};
use tracing::Instrument;

/// Stands in every secret of this test, so that one search finds them all.
const SECRET: &str = "hush";

/// What was logged, and what values show of themselves.
#[derive(Clone, Default)]
struct Captured {
    events: Text,
    shown: Text,
}

impl Captured {
    fn show(&self, value: &impl Debug) {
        writeln!(self.shown.clone(), "{value:?} {value:#?}").unwrap();
    }

    fn show_error(&self, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            writeln!(self.shown.clone(), "{error} {error:?} {error:#?}").unwrap();
            next = error.source();
        }
    }

    /// How many events of this level have all these words.
    fn events(&self, level: &str, words: &[&str]) -> usize {
        let has = |line: &str| line.contains(level) && words.iter().all(|word| line.contains(word));
        self.events.read().lines().filter(|line| has(line)).count()
    }
}

/// The token of every case. Its slash and plus are sent percent-encoded.
const TOKEN: &str = "hush/token+hush==";

fn answer(status: &str) -> String {
    format!(
        r#"{{"status":"{status}","expiresAt":9999999999999,"token":"{TOKEN}","refreshToken":"hush-refresh","clientId":"c"}}"#
    )
}

fn apigee(sandbox: &Sandbox) -> ApigeeBuilder {
    sandbox.apigee().request_timeout(millis(200))
}

/// What was not even asked is told for whoever looks for it, and not at the rate of requests.
async fn turned_away(sandbox: &Sandbox) {
    sandbox.script(TOKEN, 200, r#"{"active":true}"#);
    let endpoint = sandbox.rfc7662().limits(Limits::new().rate_limit(1, secs(60)).max_wait(secs(0))).build().unwrap();
    let service = IntrospectionLayer::new(endpoint).layer(Idle);
    for status in [200, 503] {
        let response = service.clone().oneshot(request(&format!("Bearer {TOKEN}"))).await.unwrap();
        assert_eq!(response.status(), status);
    }
    // One that was asked in vain.
    sandbox.script(TOKEN, 500, "");
    let layer = IntrospectionLayer::new(sandbox.rfc7662().build().unwrap());
    let response = layer.layer(Idle).oneshot(request(&format!("Bearer {TOKEN}"))).await.unwrap();
    assert_eq!(response.status(), 503);
    // An introspector of the application's own, which says nothing itself.
    let own = introspect_fn(|_| async { Err(IntrospectError::new(IntrospectErrorKind::Answer)) });
    let response = IntrospectionLayer::new(own).layer(Idle).oneshot(request(&format!("Bearer {TOKEN}"))).await;
    assert_eq!(response.unwrap().status(), 503);
}

/// Lets time pass for the log as well, whose pauses no injected clock moves.
async fn pass(clock: &ManualClock, time: std::time::Duration) {
    clock.advance(time);
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// An endpoint whose answers nothing remembers, however it is handed to a layer, and whatever else a layer may ask.
async fn without_a_cache(captured: &Captured, sandbox: &Sandbox) {
    async fn asks_twice<I: ChooseIntrospector>(said: impl Fn() -> usize, introspector: I) -> usize {
        let (before, layer) = (said(), IntrospectionLayer::new(introspector));
        assert_eq!(said(), before, "nobody has asked yet");
        for service in [layer.layer(Idle), layer.clone().layer(Idle)] {
            assert_eq!(service.oneshot(request(&format!("Bearer {TOKEN}"))).await.unwrap().status(), 200);
        }
        said() - before
    }
    let said = || captured.events("WARN", &["asked about every single request", "`Cached::new(endpoint)`"]);
    sandbox.script(TOKEN, 200, r#"{"active":true}"#);
    let endpoint = || sandbox.rfc7662().build().unwrap();
    let authorities =
        |one: AnyIntrospector| Authorities::choose_by(|_| Some("one".into())).authority("one", one).build().unwrap();
    assert_eq!(asks_twice(said, endpoint()).await, 1);
    assert_eq!(asks_twice(said, std::sync::Arc::new(endpoint())).await, 1);
    assert_eq!(asks_twice(said, AnyIntrospector::new(endpoint())).await, 1);
    assert_eq!(asks_twice(said, authorities(AnyIntrospector::new(endpoint()))).await, 1);
    assert_eq!(asks_twice(said, Cached::new(endpoint())).await, 0);
    assert_eq!(asks_twice(said, Cached::builder(endpoint()).max_ttl(secs(0)).build().unwrap()).await, 0, "on purpose");
    assert_eq!(asks_twice(said, authorities(AnyIntrospector::new(Cached::new(endpoint())))).await, 0);
    let own = introspect_fn(|_| async { Ok(Verdict::Active(AccessToken::builder().build())) });
    assert_eq!(asks_twice(said, own).await, 0, "it may remember by itself");
    sandbox.script(TOKEN, 200, answer("approved"));
    assert_eq!(asks_twice(said, apigee(sandbox).build().unwrap()).await, 1);
}

/// What an operator is to see without looking for it.
async fn outages(sandbox: &Sandbox) {
    sandbox.script(TOKEN, 200, r#"{"active":true}"#);
    let limited = sandbox.rfc7662().limits(Limits::new().rate_limit(1, secs(60)).max_wait(secs(0))).build().unwrap();
    let cached = Cached::builder(limited).name("limited").build().unwrap();
    assert!(cached.introspect(Ask::new(&bearer(TOKEN))).await.is_ok());
    for another in ["hush-1", "hush-2"] {
        assert!(cached.introspect(Ask::new(&bearer(another))).await.unwrap_err().is_overloaded());
    }

    let clock = ManualClock::new();
    let endpoint = sandbox
        .rfc7662()
        .clock(clock.clone())
        .limits(Limits::new().breaker_threshold(1).max_retries(0))
        .build()
        .unwrap();
    let cached = Cached::builder(endpoint).name("stale").clock(clock.clone()).stale_if_error(secs(600));
    let cached = cached.build().unwrap();
    let token = bearer(TOKEN);
    assert!(cached.introspect(Ask::new(&token)).await.unwrap().is_active());
    sandbox.set_fault(Fault::Status(503));
    for _ in 0..3 {
        pass(&clock, secs(61)).await;
        assert!(cached.introspect(Ask::new(&token)).await.unwrap().is_active());
        assert!(cached.introspect(Ask::new(&token)).await.unwrap().is_active());
    }
    sandbox.clear_fault();
    pass(&clock, secs(61)).await;
    assert!(cached.introspect(Ask::new(&token)).await.unwrap().is_active());
}

/// What a caller can bring about as often as it likes. Each gets one line.
async fn floods(captured: &Captured, sandbox: &Sandbox) {
    let unwired = requires("admin").layer(Idle);
    let own = introspect_fn(|_| async { Err(IntrospectError::new(IntrospectErrorKind::Transport)) });
    let failing = IntrospectionLayer::new(own).layer(Idle);
    sandbox.script(TOKEN, 200, r#"{"active":true,"exp":-1}"#);
    let unclear = sandbox.rfc7662().build().unwrap();
    let lines = [
        ("ERROR", ["found no IntrospectionLayer around it", "RequireLayer"]),
        ("WARN", ["request rejected", "cause=\"transport\""]),
        ("INFO", ["the token counts as inactive", "`exp` is not after 1970"]),
    ];
    for _ in 0..20 {
        assert_eq!(unwired.clone().oneshot(Request::new(String::new())).await.unwrap().status(), 500);
        assert_eq!(failing.clone().oneshot(request(&format!("Bearer {TOKEN}"))).await.unwrap().status(), 503);
        assert!(!unclear.introspect(Ask::new(&bearer(TOKEN))).await.unwrap().is_active());
    }
    assert_eq!(lines.map(|(level, words)| captured.events(level, &words)), [1; 3]);
    assert_eq!(lines.map(|(_, words)| captured.events("DEBUG", &words)), [19; 3]);

    // Junk that fails, among tokens in use.
    let (clock, junk) = (ManualClock::new(), bearer("hush-junk"));
    let endpoint = sandbox.rfc7662().clock(clock.clone()).limits(Limits::new().max_retries(0)).build().unwrap();
    let cached = Cached::builder(endpoint).clock(clock.clone()).max_ttl(secs(0)).build().unwrap();
    sandbox.script(TOKEN, 200, r#"{"active":true}"#);
    assert!(cached.introspect(Ask::new(&bearer(TOKEN))).await.unwrap().is_active());
    sandbox.script("hush-junk", 502, "");
    let events = |level, words| captured.events(level, &[words, "share=\"stranger\""]);
    let before = events("INFO", "the authority answers again");
    let opened_before = events("WARN", "the authority is not asked for a while");
    for _ in 0..20 {
        for _ in 0..6 {
            assert!(cached.introspect(Ask::new(&junk)).await.is_err());
        }
        assert!(cached.introspect(Ask::new(&bearer(TOKEN))).await.unwrap().is_active());
        clock.advance(secs(1));
    }
    let opened = || events("WARN", "the authority is not asked for a while") - opened_before;
    let closed = || events("INFO", "the authority answers again") - before;
    assert_eq!((opened(), closed()), (1, 0));
    pass(&clock, secs(31)).await;
    assert!(cached.introspect(Ask::new(&junk)).await.is_err());
    assert_eq!((opened(), closed()), (2, 0), "it goes on");
    assert_eq!(captured.events("WARN", &["the authority is not asked for a while", "untold=4"]), 1, "failed probes");
    sandbox.script("hush-junk", 200, r#"{"active":false}"#);
    pass(&clock, secs(31)).await;
    assert!(cached.introspect(Ask::new(&junk)).await.is_ok());
    assert_eq!((opened(), closed()), (2, 1));
}

/// Something in front of the authority that refuses what a caller made up, among tokens in use.
async fn refused_by_a_firewall(captured: &Captured, sandbox: &Sandbox) {
    let said = |level, words: [&str; 2]| captured.events(level, &words);
    let ours = "refused this service's own credentials";
    let before = said("ERROR", [ours, "share=\"known\""]);
    let clock = ManualClock::new();
    let endpoint = sandbox.rfc7662().clock(clock.clone()).build().unwrap();
    let cached = Cached::builder(endpoint).clock(clock.clone()).max_ttl(secs(0)).build().unwrap();
    sandbox.script(TOKEN, 200, r#"{"active":true}"#);
    sandbox.script("hush/../etc/passwd", 403, "");
    for _ in 0..2 {
        assert!(cached.introspect(Ask::new(&bearer(TOKEN))).await.unwrap().is_active());
    }
    let errors = said("ERROR", [ours, ""]);
    assert!(cached.introspect(Ask::new(&bearer("hush/../etc/passwd"))).await.is_err());
    assert_eq!(said("ERROR", [ours, ""]), errors, "a caller raises no alarm");
    assert_eq!(said("WARN", ["or something in front of it refused the token", "share=\"stranger\""]), 1);
    sandbox.script(TOKEN, 403, "");
    assert!(cached.introspect(Ask::new(&bearer(TOKEN))).await.is_err());
    assert_eq!(said("ERROR", [ours, "share=\"known\""]), before + 1);
}

/// The same fault of two authorities.
async fn the_same_fault_twice(captured: &Captured, sandbox: &Sandbox) {
    sandbox.script(TOKEN, 200, r#"{"active":true,"exp":-1}"#);
    let lines = [
        ("INFO", vec!["the token counts as inactive", "`exp` is not after 1970", "server.address=\"127.0.0.1\""]),
        ("WARN", vec!["request rejected", "cause=\"transport\""]),
    ];
    let said = || lines.each_ref().map(|(level, words)| captured.events(level, words));
    let before = said();
    for _ in 0..2 {
        let endpoint = sandbox.rfc7662().build().unwrap();
        let own = introspect_fn(|_| async { Err(IntrospectError::new(IntrospectErrorKind::Transport)) });
        let failing = IntrospectionLayer::new(own);
        for _ in 0..2 {
            assert!(!endpoint.introspect(Ask::new(&bearer(TOKEN))).await.unwrap().is_active());
            let response = failing.layer(Idle).oneshot(request(&format!("Bearer {TOKEN}"))).await.unwrap();
            assert_eq!(response.status(), 503);
        }
    }
    assert_eq!(said(), before.map(|lines| lines + 2));
}

/// What somebody has to mend, after what a caller can bring about, or what passes.
async fn one_fault_after_another(captured: &Captured) {
    let ok = |headers: &str, body: &str| vec![faulty::answer("200 OK", headers, body)];
    let authority = Faulty::start();
    let json = "content-type: application/json\r\n";
    authority.does_in_turn(vec![
        ok(json, r#"{"active":true,"sub":"\ud83d"}"#),
        ok(json, r#"{"active":"true"}"#),
        ok("content-encoding: gzip\r\n", "\u{1f}"),
        ok("content-type: text/html\r\n", "<html>"),
    ]);
    let limits = || Limits::new().max_retries(0);
    let endpoint =
        Rfc7662::builder(authority.url()).client_secret_basic("id", "hush").limits(limits()).build().unwrap();
    for fault in ["half a character", "is not a boolean", "`Content-Encoding` is `gzip`", "`text/html`"] {
        assert!(endpoint.introspect(Ask::new(&bearer(TOKEN))).await.is_err());
        assert_eq!(captured.events("WARN", &["the authority could not be asked", fault]), 1, "{fault}");
    }
    let undiscovered = Faulty::start();
    let broken = || vec![faulty::Step::Reset];
    undiscovered.does_in_turn(vec![broken(), broken(), ok(json, r#"{"issuer":"https://other.example"}"#)]);
    let endpoint = Rfc7662::discover(undiscovered.url()).client_secret("id", "hush").limits(limits()).build().unwrap();
    for _ in 0..2 {
        assert!(endpoint.introspect(Ask::new(&bearer(TOKEN))).await.is_err());
    }
    let words = ["was not discovered, and somebody has to change something", "https://other.example"];
    assert_eq!(captured.events("ERROR", &words), 1);
}

/// Tokens that are bound to a key, each in another way.
async fn sender_constrained(sandbox: &Sandbox) {
    let layer = IntrospectionLayer::new(sandbox.rfc7662().build().unwrap());
    for confirmation in [r#"{"jkt":"hush"}"#, r#"{"x5t#S256":"hush"}"#, r#"{"kid":"hush"}"#] {
        sandbox.script(TOKEN, 200, format!(r#"{{"active":true,"cnf":{confirmation}}}"#));
        let response = layer.layer(Idle).oneshot(request(&format!("Bearer {TOKEN}"))).await.unwrap();
        assert_eq!(response.status(), 401);
    }
}

/// Tokens of a certificate that the connection has not, and one that comes in.
#[cfg(feature = "certificate-bound")]
async fn bound_to_a_certificate(captured: &Captured, sandbox: &Sandbox) {
    use tower_introspection::possession::{ClientCertificate, ClientCertificates, ForwardedCertificate};

    let certificates = ClientCertificates::of_connections().or_from_proxy(ForwardedCertificate::ClientCert, |_| true);
    let layer = IntrospectionLayer::builder(sandbox.rfc7662().build().unwrap()).client_certificates(certificates);
    let layer = layer.build().unwrap();
    let own = ClientCertificate::from_der(b"hush");
    sandbox.script(TOKEN, 200, format!(r#"{{"active":true,"cnf":{{"x5t#S256":"{}"}}}}"#, own.thumbprint()));
    let asked = async |change: &dyn Fn(&mut http::Request<String>)| {
        let mut request = request(&format!("Bearer {TOKEN}"));
        change(&mut request);
        layer.layer(Idle).oneshot(request).await.unwrap().status()
    };
    let refused_as_bearer = || captured.events("DEBUG", &["a sender-constrained token was presented"]);
    let before = refused_as_bearer();
    let with = |certificate: ClientCertificate| {
        move |request: &mut http::Request<String>| {
            request.extensions_mut().insert(certificate);
        }
    };
    for _ in 0..2 {
        assert_eq!(asked(&|_| ()).await, 401);
        let malformed = |request: &mut http::Request<String>| {
            request.headers_mut().insert("client-cert", "hush".parse().unwrap());
        };
        assert_eq!(asked(&malformed).await, 401);
        assert_eq!(asked(&with(ClientCertificate::from_der(b"another"))).await, 401);
        assert_eq!(asked(&with(own)).await, 200);
    }
    for fault in ["certificate_missing", "certificate_malformed", "certificate_other"] {
        let fault = format!("fault=\"{fault}\"");
        for level in ["INFO", "DEBUG"] {
            let words = ["a token is refused that is bound to a client certificate", &fault];
            assert_eq!(captured.events(level, &words), 1, "{level} {fault}");
        }
    }
    assert_eq!(refused_as_bearer(), before, "it was not the scheme that was wrong");
}

/// The same failure again and again.
async fn failing(sandbox: &Sandbox) {
    let clock = ManualClock::new();
    let endpoint = sandbox.rfc7662().clock(clock.clone()).limits(Limits::new().max_retries(0)).build().unwrap();
    sandbox.set_fault(Fault::Status(418));
    for passed in [0, 0, 29, 1] {
        pass(&clock, secs(passed)).await;
        assert!(endpoint.introspect(Ask::new(&bearer(TOKEN))).await.is_err());
    }
    sandbox.clear_fault();
}

/// A token in use that is asked about ahead of time, where that can be done and where it cannot.
async fn ahead_of_time(sandbox: &Sandbox) {
    sandbox.script(TOKEN, 200, r#"{"active":true}"#);
    let clock = ManualClock::new();
    let endpoint = sandbox.rfc7662().clock(clock.clone()).build().unwrap();
    let cached = Cached::builder(endpoint).name("ahead").clock(clock.clone()).refresh_ahead_uses(1).build().unwrap();
    let token = bearer(TOKEN);
    assert!(cached.introspect(Ask::new(&token)).await.unwrap().is_active());
    clock.advance(secs(55));
    assert!(cached.cached(&token).is_some());
    until(|| cached.handle().stats().refreshes > 0).await;
    quiet(&cached).await;
    clock.advance(secs(55));
    // A thread of its own has no runtime.
    std::thread::spawn(move || assert!(cached.cached(&bearer(TOKEN)).is_some())).join().unwrap();
}

/// An RFC 7662 endpoint, every kind of client, logins, and tokens in other places.
async fn other_clients(captured: &Captured, sandbox: &Sandbox, token: &BearerToken<'_>) {
    let endpoint = || sandbox.rfc7662();
    for body in [
        format!(
            r#"{{"active":true,"token":"{TOKEN}","refresh_token":"hush","echo":"{TOKEN}","sub":"s","cnf":{{"jkt":"k"}}}}"#
        ),
        r#"{"active":"hush"}"#.into(),
        r#"{"active":true,"exp":"hush"}"#.into(),
    ] {
        sandbox.script(TOKEN, 200, body);
        match endpoint().build().unwrap().introspect(Ask::new(token)).await {
            Ok(verdict) => captured.show(&verdict),
            Err(error) => captured.show_error(&error),
        }
    }
    // Any caller can bring it about, so it is not said at the rate of requests.
    let said = || ["ERROR", "WARN", "INFO"].map(|level| captured.events(level, &[]));
    let said_before = said();
    sandbox.script(TOKEN, 400, r#"{"error":"unsupported_token_type"}"#);
    assert!(!endpoint().build().unwrap().introspect(Ask::new(token)).await.unwrap().is_active());
    assert_eq!(said(), said_before, "how many errors, warnings and infos");
    let layer = IntrospectionLayer::builder(endpoint().build().unwrap())
        .token_source(TokenQueryParameter::new())
        .token_source(TokenCookie::new("t").unwrap())
        .remove_token(true)
        .build()
        .unwrap();
    let presented = |bound: bool| {
        sandbox.script(
            TOKEN,
            200,
            if bound { r#"{"active":true,"cnf":{"jkt":"hush"}}"# } else { r#"{"active":true}"# },
        );
        let inner = {
            let captured = captured.clone();
            service_fn(move |request: Request<String>| {
                captured.show(&request);
                async { Ok::<_, Infallible>(Response::new(String::new())) }
            })
        };
        layer.layer(inner)
    };
    for bound in [false, true] {
        let query = Request::builder().uri(format!("/?access_token={}", TOKEN.replace('+', "%2B"))).body(String::new());
        captured.show(&presented(bound).oneshot(query.unwrap()).await.unwrap());
        let cookie = Request::builder().header("cookie", format!("t={TOKEN}")).body(String::new());
        captured.show(&presented(bound).oneshot(cookie.unwrap()).await.unwrap());
    }

    // A server that hands out secrets, and takes them.
    let server = Recorder::start(|_, seen: &Seen| match seen.uri.as_str() {
        "/token" => (200, r#"{"access_token":"hush-granted","refresh_token":"hush-refresh","expires_in":60}"#),
        "/refused?key=hush" => (401, r#"{"error":"hush"}"#),
        "/busy" => (503, "hush"),
        "/garbage" => (200, "hush"),
        _ => (401, "hush"),
    })
    .await;
    let url = |path: &str| format!("{}{path}", server.url());
    for login in ["/token", "/refused?key=hush", "/busy", "/garbage"] {
        let login = url(login);
        let grant = ClientCredentials::with_client_secret_post(&login, "hush-id", "hush-secret");
        captured.show(&grant);
        let builder = Rfc7662::builder(url("/introspect")).client_credentials(grant);
        captured.show(&builder);
        captured.show_error(&builder.build().unwrap().introspect(Ask::new(token)).await.unwrap_err());
        let account = ApigeeLogin::new("hush-user", "hush-password")
            .token_url(&login)
            .mfa_token(|| async { Ok("hush-code".into()) });
        captured.show(&account);
        let apigee = Apigee::builder("o").base_url(server.url()).login(account).build().unwrap();
        captured.show_error(&apigee.introspect(Ask::new(token)).await.unwrap_err());
    }
    for builder in [
        Rfc7662::builder(url("/introspect")).client_secret_basic("hush-user", "hush-password"),
        Rfc7662::builder(url("/introspect")).client_secret_post("hush-user", "hush-password"),
        Rfc7662::builder(url("/introspect?key=hush")).bearer_token("hush"),
    ] {
        captured.show(&builder);
        let endpoint = builder.build().unwrap();
        captured.show(&endpoint);
        captured.show_error(&endpoint.introspect(Ask::new(token)).await.unwrap_err());
    }
    #[cfg(feature = "private-key-jwt")]
    {
        let key = tower_introspection::credentials::PrivateKeyJwt::from_pem("c", include_str!("keys/ec.pem")).unwrap();
        captured.show(&key);
        let signed = Rfc7662::builder(url("/introspect")).private_key_jwt(key).build().unwrap();
        captured.show_error(&signed.introspect(Ask::new(token)).await.unwrap_err());
        let assertion = server.requests().last().unwrap().parameter("client_assertion").unwrap();
        assert!(!captured.events.read().contains(&assertion) && !captured.shown.read().contains(&assertion));
    }
    captured.show_error(&Rfc7662::discover(url("/garbage")).fetch().await.unwrap_err());
}

/// Every verdict and every fault, through a cache, over sockets.
async fn verdicts_and_faults(captured: &Captured, sandbox: &Sandbox, token: &BearerToken<'_>) {
    let cached = Cached::new(apigee(sandbox).build().unwrap());
    let scripts = [
        (200, answer("approved")),
        (200, answer("revoked")),
        (200, answer("hush-status")),
        (200, answer("approved").replace("==", "")),
        (200, "<html>hush</html>".into()),
        (404, r#"{"code":"keymanagement.service.AccessTokenDoesntExists","message":"hush/token"}"#.into()),
        (404, "hush".into()),
        (401, "hush".into()),
        (429, "hush".into()),
        (500, "hush".into()),
    ];
    for (status, body) in scripts {
        sandbox.script(TOKEN, status, body);
        match cached.introspect(Ask::new(token)).await {
            Ok(verdict) => captured.show(&verdict),
            Err(error) => captured.show_error(&error),
        }
        captured.show(&cached.handle());
        cached.handle().invalidate(token);
    }
    for fault in [Fault::Hang, Fault::Reset, Fault::Garbage, Fault::Oversized(70_000), Fault::Status(500)] {
        sandbox.set_fault(fault);
        captured.show_error(&cached.introspect(Ask::new(token)).await.unwrap_err());
    }
    sandbox.clear_fault();
}

/// Endpoints that cannot be reached or refuse us, and credentials that fail.
async fn endpoints_that_fail(captured: &Captured, sandbox: &Sandbox, token: &BearerToken<'_>) {
    let unreachable = Apigee::builder("o").base_url("http://127.0.0.1:1/v1").basic_auth("hush-user", "hush-password");
    captured.show(&unreachable);
    let unreachable = unreachable.build().unwrap();
    captured.show(&unreachable);
    captured.show_error(&unreachable.introspect(Ask::new(token)).await.unwrap_err());
    for refused in [
        apigee(sandbox).basic_auth("hush-user", "hush-password"),
        apigee(sandbox).bearer_token("hush-admin-token"),
        apigee(sandbox).credentials(|| async { Ok(Credential::bearer("hush-renewed")?) }),
    ] {
        captured.show_error(&refused.build().unwrap().introspect(Ask::new(token)).await.unwrap_err());
    }
    let failing = apigee(sandbox).credentials(|| async { Err("the login answered 500".into()) }).build().unwrap();
    captured.show_error(&failing.introspect(Ask::new(token)).await.unwrap_err());
}

async fn refused_settings(captured: &Captured) {
    for wrong in [
        Apigee::builder("o").basic_auth("hush:user", "hush").build().unwrap_err(),
        Apigee::builder("o").bearer_token("hush\n").build().unwrap_err(),
        Apigee::builder("o").basic_auth("a", "b").base_url("https://user:hush@example.com").build().unwrap_err(),
        Rfc7662::builder("https://user:hush@example.com").without_credentials().build().unwrap_err(),
    ] {
        captured.show_error(&wrong);
    }
    captured.show(&Rfc7662::builder("https://user:hush@example.com/introspect?hush"));
    let discovery = Rfc7662::discover("https://user:hush@example.com");
    captured.show(&discovery);
    captured.show_error(&discovery.fetch().await.unwrap_err());
    captured.show(&Credential::basic("hush", "hush").unwrap());
    captured.show_error(&BearerToken::parse("hush hush").unwrap_err());
}

/// Admitted by a question and by a hit, and rejected.
async fn through_a_layer(captured: &Captured, sandbox: &Sandbox) {
    let cached = Cached::new(apigee(sandbox).build().unwrap());
    sandbox.script(TOKEN, 200, answer("approved"));
    let inner = || {
        let captured = captured.clone();
        service_fn(move |request: Request<String>| {
            captured.show(&request);
            async { Ok::<_, Infallible>(Response::new(String::new())) }
        })
    };
    let rendered = {
        let captured = captured.clone();
        move |rejection: &Rejection, _: &RequestView| {
            captured.show(rejection);
            rejection.response(String::new())
        }
    };
    let layer = IntrospectionLayer::builder(cached.clone())
        .authorize(|_, request| request.path() != "/denied")
        .rejection_response(rendered)
        .build()
        .unwrap();
    captured.show(&layer);
    captured.show(&cached);
    let service = layer.layer(inner());
    for uri in ["/", "/", "/denied"] {
        let mut request = request(&format!("Bearer {TOKEN}"));
        *request.uri_mut() = uri.parse().unwrap();
        let future = service.clone().oneshot(request);
        captured.show(&future.await.unwrap());
    }
    for authorization in ["Bearer hush hush", "Bearer hush,", "Basic hush", &format!("Bearer {}", "hush".repeat(2_000))]
    {
        captured.show(&service.clone().oneshot(request(authorization)).await.unwrap());
    }
    let scoped = layer.layer(requires("admin").layer(inner()));
    captured.show(&scoped.oneshot(request(&format!("Bearer {TOKEN}"))).await.unwrap());
    let unwired = requires("admin").layer(inner());
    captured.show(&unwired.oneshot(Request::new(String::new())).await.unwrap());
}

/// A real server, its client a bare socket.
async fn over_a_server(captured: &Captured, sandbox: &Sandbox) {
    sandbox.script(TOKEN, 200, answer("approved"));
    let cached = Cached::new(apigee(sandbox).build().unwrap());
    let app = axum::Router::new().route("/", axum::routing::get(async || "ok")).layer(IntrospectionLayer::new(cached));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for token in [TOKEN, "hush-unknown", "hush,malformed"] {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).await.unwrap();
        writeln!(captured.shown.clone(), "{response}").unwrap();
    }
}

/// Goes every way on which a secret could be shown.
async fn drive(captured: &Captured, sandbox: &Sandbox) {
    let token = bearer(TOKEN);
    captured.show(&token);
    floods(captured, sandbox).await;
    refused_by_a_firewall(captured, sandbox).await;
    the_same_fault_twice(captured, sandbox).await;
    one_fault_after_another(captured).await;
    verdicts_and_faults(captured, sandbox, &token).await;
    endpoints_that_fail(captured, sandbox, &token).await;
    other_clients(captured, sandbox, &token).await;
    sender_constrained(sandbox).await;
    #[cfg(feature = "certificate-bound")]
    bound_to_a_certificate(captured, sandbox).await;
    turned_away(sandbox).await;
    without_a_cache(captured, sandbox).await;
    failing(sandbox).await;
    ahead_of_time(sandbox).await;
    outages(sandbox).await;
    refused_settings(captured).await;
    through_a_layer(captured, sandbox).await;
    over_a_server(captured, sandbox).await;
    #[cfg(feature = "redis")]
    fleet::drive(captured.clone());
    #[cfg(feature = "jwt")]
    jwt::drive(captured).await;
    #[cfg(feature = "dpop")]
    dpop::drive(captured).await;
    #[cfg(feature = "signals")]
    signals::drive(captured).await;
}

fn assert_events_are_as_documented(captured: &Captured) {
    for (level, words) in [
        (
            "ERROR",
            ["check what the endpoint's builder was given", "server.address=\"127.0.0.1\" share=\"stranger\" error="],
        ),
        ("ERROR", ["this service could not log in", "login=\"the `credentials` hook\""]),
        ("ERROR", ["this service could not log in", "/refused"]),
        ("WARN", ["this service could not log in for now", "/busy"]),
        ("ERROR", ["found no IntrospectionLayer around it", "RequireLayer"]),
        ("WARN", ["the authority could not be asked", "server.address=\"127.0.0.1\" kind=\"status\" share="]),
        ("WARN", ["request rejected", "reason=\"unavailable\" cause=\"answer\" error=IntrospectError"]),
        ("INFO", ["the token counts as inactive", "`status` is none that is known"]),
        ("INFO", ["the token counts as inactive", "`exp` is no time"]),
        ("DEBUG", ["the authority answered", "latency_ms"]),
        ("DEBUG", ["the authority was not asked", "kind=\"overloaded\" error=IntrospectError"]),
        ("DEBUG", ["request rejected", "cause=\"overloaded\""]),
        ("DEBUG", ["request rejected", "reason=\"unavailable\" cause=\"status\" error=IntrospectError"]),
        ("DEBUG", ["a sender-constrained token was presented as a plain bearer token", "missing=\"a DPoP proof\""]),
        ("DEBUG", ["a sender-constrained token was presented", "missing=\"a client certificate\""]),
        ("DEBUG", ["a sender-constrained token was presented", "missing=\"a proof of possession\""]),
        ("DEBUG", ["request rejected", "kind=\"denied\" reason=\"rule\""]),
        ("DEBUG", ["a token in use is not asked about ahead of time", "error=IntrospectError { kind: Abandoned"]),
    ] {
        assert!(captured.events(level, &words) > 0, "no {level} says {words:?}");
    }
    for (level, untold) in [("WARN", "untold=0"), ("WARN", "untold=2"), ("DEBUG", "the authority could not be asked")] {
        assert!(captured.events(level, &["the authority could not be asked", untold]) > 0, "{level} {untold}");
    }
    for said_before in ["cause=\"overloaded\"", "cause=\"status\""] {
        assert_eq!(captured.events("WARN", &["request rejected", said_before]), 0, "not at the rate of requests");
    }
    for other in ["kind: Status", "the login answered 500"] {
        assert_eq!(captured.events("ERROR", &["check what the endpoint's builder was given", other]), 0, "{other}");
    }
    for (level, words) in [
        ("WARN", ["questions are turned away", "cache=\"limited\" share=\"stranger\""]),
        ("WARN", ["questions are turned away", "`rate_limit`"]),
        ("INFO", ["the authority answers again", "server.address=\"127.0.0.1\" share=\"known\""]),
    ] {
        assert_eq!(captured.events(level, &words), 1, "{level} {words:?}");
    }
    assert_eq!(
        captured.events("WARN", &["questions are turned away"]),
        captured.events("WARN", &["questions are turned away", "kind: Overloaded"]),
        "a question that failed was not turned away"
    );
    let opened = ["the authority is not asked for a while", "server.address=\"127.0.0.1\" share=\"known\""];
    assert_eq!(captured.events("WARN", &opened), 3, "each half minute of an outage");
    let stale = |untold| ["answers it gave before serve on", "cache=\"stale\"", untold];
    assert_eq!([stale("untold=0"), stale("untold=1")].map(|stale| captured.events("WARN", &stale)), [1, 2]);
}

fn assert_spans_are_as_documented(captured: &Captured) {
    let output = captured.events.read();
    for fields in [
        "introspection_flight{refresh=false}",
        "introspection{otel.kind=\"client\" server.address=127.0.0.1 known=false",
        "introspection_flight{refresh=true}:introspection{otel.kind=\"client\" server.address=127.0.0.1 known=true",
        "http.response.status_code=200",
        "http.response.status_code=401 error.type=\"credentials\"",
    ] {
        assert!(output.contains(fields), "no span has {fields:?}");
    }
    assert!(output.contains("introspection_login{") && output.contains("asked_for_a_token:"));
    for in_the_background in ["introspection_login{", "introspection_flight{refresh=true}"] {
        let inside = format!(":{in_the_background}");
        assert!(!output.contains(&inside), "a request's span would stay open until it ends");
    }
}

fn assert_no_secret(captured: &Captured, password: &str) {
    let (output, shown) = (captured.events.read(), captured.shown.read());
    for line in ["HTTP/1.1 200 OK", "HTTP/1.1 401 Unauthorized", "HTTP/1.1 400 Bad Request"] {
        assert!(shown.contains(line), "nothing says {line:?}: is the capture broken?");
    }
    assert!(output.contains(" TRACE "), "the dependencies' TRACE events are captured as well");
    let basic = "aHVzaC11c2VyOmh1c2gtcGFzc3dvcmQ"; // hush-user:hush-password
    for line in output.lines().chain(shown.lines()) {
        let lower = line.to_lowercase();
        assert!(!lower.contains(SECRET) && !line.contains(basic), "{line}");
        assert!(!line.contains("104, 117, 115, 104"), "the secret as numbers: {line}");
        assert!(!line.contains(password), "{line}");
    }
}

/// One test, since a process has one subscriber.
#[tokio::test]
async fn events_and_spans_are_as_documented_and_no_secret_is_shown_on_any_path() {
    let captured = Captured::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.events.clone())
        .with_ansi(false)
        .init();
    let sandbox = Sandbox::start().await.unwrap();
    drive(&captured, &sandbox).instrument(tracing::info_span!("asked_for_a_token")).await;
    assert_events_are_as_documented(&captured);
    assert_spans_are_as_documented(&captured);
    assert_no_secret(&captured, sandbox.password());
}
