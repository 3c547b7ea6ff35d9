//! Nothing of a security event in any output, and what an operator is told of it.

use serde_json::{Value, json};
use tower::ServiceExt;
use tower_introspection::sandbox::{Sandbox, SandboxEvent};
use tower_introspection::signals::{EventKind, Poll, Reaction, Signals, Transmitter};
use tower_introspection::{AccessToken, Cached, Verdict, introspect_fn};

use super::*;

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";
const AUDIENCE: &str = "https://api.example.com";

async fn push(captured: &Captured, signals: &Signals, set: &str, authorization: &str) {
    let request = Request::post("/").header("content-type", "application/secevent+jwt");
    let request = request.header("authorization", authorization).body(set.to_owned()).unwrap();
    captured.show(&signals.push().oneshot(request).await.unwrap());
}

async fn log_out(captured: &Captured, signals: &Signals, token: &str) {
    let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(format!("logout_token={token}")).unwrap();
    captured.show(&signals.backchannel_logout().oneshot(request).await.unwrap());
}

pub(crate) async fn drive(captured: &Captured) {
    let (sandbox, other) = (Sandbox::start().await.unwrap(), Sandbox::start().await.unwrap());
    let authority = introspect_fn(async |_| Ok(Verdict::Active(AccessToken::builder().subject("hush-ann").build())));
    let cached = Cached::builder(authority).name("heard").build().unwrap();
    cached.introspect(Ask::new(&bearer("hush-token"))).await.unwrap();
    let transmitter = || {
        let transmitter = Transmitter::discover(sandbox.issuer()).audience(AUDIENCE).cache(cached.handle());
        transmitter.request_timeout(millis(500))
    };
    let decides = |event: &tower_introspection::signals::SecurityEvent| match event.kind() {
        EventKind::RiskLevelChange => panic!("as a test wants it"),
        EventKind::SessionPresented => Reaction::Nothing,
        _ => event.default_reaction(),
    };
    let builder = Signals::builder().transmitter(transmitter().push_authorization("Bearer hush").on_event(decides));
    captured.show(&builder);
    captured
        .show(&transmitter().push_authorization("Bearer hush").poll(Poll::new("https://a/hush").bearer_token("hush")));
    let signals = builder.build().unwrap();

    let about = |name: &str, subject: Value| {
        let event = SandboxEvent::new(format!("{CAEP}{name}")).subject(subject).unwrap().claim("txn", "hush").unwrap();
        event.member("reason_admin", json!({ "en": "hush" })).unwrap()
    };
    let ann = json!({ "format": "iss_sub", "iss": sandbox.issuer(), "sub": "hush-ann" });
    let status = |status: &str| SandboxEvent::new(format!("{SSF}stream-updated")).member("status", status).unwrap();
    let events = [
        about("session-revoked", ann.clone()),
        about("session-revoked", json!({ "format": "account", "uri": "acct:hush@example.com" })),
        about("session-revoked", json!({ "format": "iss_sub", "iss": "https://hush.example", "sub": "hush" })),
        about("session-presented", ann.clone()),
        about("risk-level-change", ann.clone()),
        about("hush", ann.clone()),
        about("session-revoked", ann.clone()).claim("aud", "hush").unwrap(),
        about("session-revoked", ann.clone()).claim("exp", 7).unwrap(),
        about("session-revoked", ann.clone()).claim("jti", "hush".repeat(300)).unwrap(),
        status("paused"),
        status("enabled"),
    ];
    for event in events {
        let set = sandbox.sign_event(event).unwrap();
        for _ in 0..2 {
            push(captured, &signals, &set, "Bearer hush").await;
        }
        push(captured, &signals, &set, "Bearer hush-hush").await;
        push(captured, &signals, &format!("{set}hush"), "Bearer hush").await;
    }
    let foreign = other.sign_event(about("session-revoked", ann.clone())).unwrap();
    for junk in ["hush", &foreign, &"hush".repeat(20_000)] {
        push(captured, &signals, junk, "Bearer hush").await;
    }
    for token in [sandbox.sign_logout(AUDIENCE, "hush-ann", Some("hush")).unwrap(), "hush".into()] {
        log_out(captured, &signals, &token).await;
    }
    captured.show(&signals);
    captured.show(&signals.handle());
    captured.show(&cached.handle().stats());

    // Keys that cannot be had, and polls that come to nothing.
    sandbox.set_jwks_fault(Fault::Status(500));
    let poll = Poll::new(sandbox.poll_url()).bearer_token("hush").interval(millis(10));
    let polled = Signals::builder().transmitter(transmitter().poll(poll).silent_after(millis(100))).build().unwrap();
    push(captured, &polled, &sandbox.sign_event(about("session-revoked", ann)).unwrap(), "").await;
    let said = |level: &str, words: &[&str]| captured.events(level, words) > 0;
    until(|| said("WARN", &["security events cannot be polled"])).await;
    until(|| said("WARN", &["nothing is heard of the transmitter"])).await;
    drop(polled);
    for (level, words) in [
        ("INFO", ["a security event was heard", "applied"]),
        ("WARN", ["a security event has no effect", "no claim of a token tells its subject"]),
        ("WARN", ["a security event has no effect", "is of an issuer that is no `token_issuer`"]),
        ("ERROR", ["what decides about security events", "risk_level_change"]),
        ("INFO", ["what was sent as a security event is refused", "invalid_audience"]),
        ("INFO", ["what was sent as a security event is refused", "authentication_failed"]),
        ("INFO", ["what was sent as a security event is refused, and names no transmitter", "invalid_issuer"]),
        ("WARN", ["the transmitter sends no security events", "paused"]),
        ("INFO", ["the transmitter sends security events again", "signals"]),
        ("WARN", ["security events are turned away", "keys cannot be had"]),
    ] {
        assert!(said(level, &words), "{level} {words:?}");
    }
    assert_eq!(captured.events("INFO", &["a security event was heard", "session_revoked", "repeated"]), 0);
}
