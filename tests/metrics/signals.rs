//! All that can become of security events, and that it is published.

use http::Request;
use tower::ServiceExt;
use tower_introspection::sandbox::{Sandbox, SandboxEvent};
use tower_introspection::signals::{Poll, Signals, Transmitter};
use tower_introspection::{Cached, InactiveReason};

use super::Fetched;
use crate::support::*;

const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";

async fn push(signals: &Signals, set: &str) {
    let request = Request::post("/").header("content-type", "application/secevent+jwt").body(set.to_owned()).unwrap();
    signals.push().oneshot(request).await.unwrap();
}

/// The key set of the sandbox is good and its polls are answered, first, and then not.
pub(crate) async fn use_everything(sandbox: &Sandbox) -> Signals {
    let cached = Cached::new(Authority::new(inactive(InactiveReason::Unknown)));
    let listens = Transmitter::discover(sandbox.issuer()).audience("https://api.example.com").cache(cached.handle());
    let poll = Poll::new(sandbox.poll_url()).bearer_token(sandbox.client_secret()).interval(millis(5));
    let signals = Signals::builder().transmitter(listens.poll(poll)).build().unwrap();
    let stats = || signals.handle().stats().transmitters[0].clone();
    let of = |name: &str| SandboxEvent::new(format!("{RISC}{name}"));
    for event in [
        of("account-disabled").about_user(sandbox.issuer(), "ann"),
        of("account-disabled"),
        of("account-enabled"),
        of("unheard-of"),
        of("account-disabled").claim("aud", "somebody else").unwrap(),
    ] {
        let set = sandbox.sign_event(event).unwrap();
        push(&signals, &set).await;
        push(&signals, &set).await;
    }
    // An event from ahead.
    let ahead = tower_introspection::clock::Timestamp::now() + secs(600);
    let ahead = of("account-enabled").claim("iat", ahead.as_unix_millis() / 1_000).unwrap();
    push(&signals, &sandbox.sign_event(ahead).unwrap()).await;
    push(&signals, "junk").await;
    until(|| stats().polls > 0).await;
    sandbox.set_events_fault(tower_introspection::sandbox::Fault::Status(500));
    until(|| stats().failed_polls > 0).await;
    sandbox.clear_events_fault();
    let all = stats().outcomes;
    assert_eq!(all.len(), 7, "{all:?}");
    signals
}

/// What is published agrees with what `stats()` tells, but that it may have been polled once more.
pub(crate) fn assert_agrees(fetched: &Fetched, signals: &Signals) {
    let stats = signals.handle().stats();
    let transmitter = &stats.transmitters[0];
    let sum = |name: &str, label: &str, value: &str| {
        fetched.sum(&format!("signals_{name}"), &[("transmitter", &transmitter.issuer), (label, value)])
    };
    let agrees = |published: f64, count: u64| (1.0..=f64::from(u32::try_from(count).unwrap())).contains(&published);
    for (outcome, count) in &transmitter.outcomes {
        assert!(agrees(sum("events_total", "outcome", outcome.as_str()), *count), "{outcome}");
    }
    for (kind, count) in &transmitter.events {
        assert!(agrees(sum("accepted_events_total", "event", kind.as_str()), *count), "{kind}");
    }
    assert_eq!(sum("accepted_events_total", "event", "session_revoked").to_bits(), 0, "zero is published");
    assert!(agrees(sum("polls_total", "outcome", "failed"), transmitter.failed_polls));
    let nobody = fetched.sum("signals_events_total", &[("transmitter", "unknown")]);
    assert!(agrees(nobody, stats.refused_of_nobody));
}

pub(crate) fn is_known(metric: &str, label: &str, value: &str, transmitter: &str) -> bool {
    let outcomes = ["applied", "no_action", "repeated", "not_understood", "unmatched", "refused", "turned_away"];
    match (metric, label) {
        ("signals_events_total", "transmitter") if value == "unknown" => true,
        (_, "transmitter") => value == transmitter,
        ("signals_events_total", "outcome") => outcomes.contains(&value),
        // As many as there are kinds, each of which is a word of the crate.
        ("signals_accepted_events_total", "event") => {
            !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        }
        ("signals_polls_total", "outcome") => ["answered", "failed"].contains(&value),
        _ => false,
    }
}
