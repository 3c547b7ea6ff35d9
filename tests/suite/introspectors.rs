//! One suite over every introspector: what a token's fate at its authority comes to, whoever asks and however.
#![allow(clippy::needless_pass_by_value)]
#![cfg(all(feature = "sandbox", feature = "test-util"))]

use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use tower_introspection::clock::ManualClock;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::{AnyIntrospector, IntrospectErrorKind};
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
use tower_introspection::{AccessToken, Cached, InactiveReason, Introspect, Verdict, introspect_fn};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Endpoint {
    Apigee,
    Rfc7662,
}

/// How an endpoint is asked.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Cached,
    Closure,
    Shared,
}

struct Bench {
    endpoint: Endpoint,
    sandbox: Sandbox,
    clock: ManualClock,
    introspector: AnyIntrospector,
}

impl Bench {
    async fn new(endpoint: Endpoint, way: Way, request_timeout: Duration) -> Self {
        let clock = ManualClock::at(START);
        let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
        let plain = match endpoint {
            Endpoint::Apigee => {
                let apigee =
                    sandbox.apigee().allow_unexpiring(true).request_timeout(request_timeout).clock(clock.clone());
                AnyIntrospector::new(apigee.build().unwrap())
            }
            Endpoint::Rfc7662 => AnyIntrospector::new(
                sandbox.rfc7662().request_timeout(request_timeout).clock(clock.clone()).build().unwrap(),
            ),
        };
        let introspector = match way {
            Way::Plain => plain,
            // Without a window, so that each question reaches the authority.
            Way::Cached => {
                let cached = Cached::builder(plain).max_ttl(Duration::ZERO).inactive_ttl(Duration::ZERO);
                AnyIntrospector::new(cached.clock(clock.clone()).build().unwrap())
            }
            Way::Closure => AnyIntrospector::new(introspect_fn(move |token| {
                let plain = plain.clone();
                async move { plain.introspect(Ask::new(&token)).await }
            })),
            Way::Shared => AnyIntrospector::new(Arc::new(plain)),
        };
        Self { endpoint, sandbox, clock, introspector }
    }

    async fn verdict(&self, token: &str) -> Verdict {
        self.introspector.introspect(Ask::new(&bearer(token))).await.unwrap()
    }

    async fn active(&self, token: &str) -> AccessToken {
        match self.verdict(token).await {
            Verdict::Active(facts) => facts,
            Verdict::Inactive(reason) => panic!("{:?}: {reason:?}", self.endpoint),
        }
    }

    async fn reason(&self, token: &str) -> InactiveReason {
        match self.verdict(token).await {
            Verdict::Active(_) => panic!("{:?}: active", self.endpoint),
            Verdict::Inactive(reason) => reason,
        }
    }

    /// RFC 7662 section 2.2 has a server tell no more of a token than that it is not active.
    fn if_told(&self, reason: InactiveReason) -> InactiveReason {
        if self.endpoint == Endpoint::Apigee { reason } else { InactiveReason::Unknown }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

async fn each(request_timeout: Duration, test: impl AsyncFn(Bench)) {
    for endpoint in [Endpoint::Apigee, Endpoint::Rfc7662] {
        for way in [Way::Plain, Way::Cached, Way::Closure, Way::Shared] {
            test(Bench::new(endpoint, way, request_timeout).await).await;
        }
    }
}

#[tokio::test]
async fn the_facts_of_an_active_token_are_told() {
    each(PATIENCE, async |bench| {
        let token = SandboxToken::new().client_id("weather-app").scope("read write").expires_in(secs(60));
        let facts = bench.active(&bench.sandbox.issue(token)).await;
        assert_eq!(facts.client_id(), Some("weather-app"));
        assert_eq!(facts.scopes().to_string(), "read write");
        assert_eq!((facts.issued_at(), facts.expires_at()), (Some(START), Some(START + secs(60))));
        assert!(!facts.is_sender_constrained());
    })
    .await;
}

#[tokio::test]
async fn an_unknown_a_revoked_an_approved_again_and_a_deleted_token_get_the_right_verdict() {
    each(PATIENCE, async |bench| {
        assert_eq!(bench.reason("nobody-issued-this").await, InactiveReason::Unknown);
        let token = bench.sandbox.issue(SandboxToken::new());
        bench.active(&token).await;
        assert!(bench.sandbox.revoke(&token));
        assert_eq!(bench.reason(&token).await, bench.if_told(InactiveReason::Revoked));
        assert!(bench.sandbox.approve(&token));
        bench.active(&token).await;
        assert!(bench.sandbox.delete(&token));
        assert_eq!(bench.reason(&token).await, InactiveReason::Unknown);
    })
    .await;
}

#[tokio::test]
async fn a_token_is_dead_at_the_very_instant_it_expires() {
    each(PATIENCE, async |bench| {
        let token = bench.sandbox.issue(SandboxToken::new().expires_in(millis(60_500)));
        bench.clock.set(START + millis(60_499));
        bench.active(&token).await;
        bench.clock.set(START + millis(60_500));
        assert_eq!(bench.reason(&token).await, bench.if_told(InactiveReason::Expired));
    })
    .await;
}

#[tokio::test]
async fn an_authority_whose_clock_is_behind_does_not_make_a_token_live_longer() {
    each(PATIENCE, async |bench| {
        let token = "its-clock-is-behind";
        let body = r#"{"status":"approved","expiresAt":1700000060000,"active":true,"exp":1700000060}"#;
        bench.sandbox.script(token, 200, body);
        bench.clock.set(START + secs(59));
        bench.active(token).await;
        bench.clock.set(START + secs(60));
        assert_eq!(bench.reason(token).await, InactiveReason::Expired);
    })
    .await;
}

#[tokio::test]
async fn a_token_without_expiry_is_active_where_that_is_allowed() {
    each(PATIENCE, async |bench| {
        let token = bench.sandbox.issue(SandboxToken::new().never_expires());
        assert_eq!(bench.active(&token).await.expires_at(), None);
    })
    .await;
}

#[tokio::test]
async fn a_token_of_every_allowed_character_reaches_the_authority_as_it_is() {
    each(PATIENCE, async |bench| {
        let token = "aZ09-._~+/x//y...==";
        let body = format!(r#"{{"status":"approved","expiresAt":9999999999999,"active":true,"token":"{token}"}}"#);
        bench.sandbox.script(token, 200, body);
        bench.active(token).await;
        assert_eq!(bench.sandbox.calls(token), 1);
    })
    .await;
}

#[tokio::test]
async fn a_sender_constrained_token_is_marked_as_such() {
    each(PATIENCE, async |bench| {
        let token = SandboxToken::new()
            .claim("cnf", serde_json::json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}))
            .unwrap();
        assert!(bench.active(&bench.sandbox.issue(token)).await.is_sender_constrained());
    })
    .await;
}

#[tokio::test]
async fn every_fault_is_a_failure_of_its_kind_and_the_next_question_finds_the_endpoint_recovered() {
    use IntrospectErrorKind::*;
    each(PATIENCE, async |bench| {
        let token = bench.sandbox.issue(SandboxToken::new());
        for (fault, expected) in [
            (Fault::Status(400), Status),
            (Fault::Status(401), Credentials),
            (Fault::Status(403), Credentials),
            (Fault::Status(404), Status),
            (Fault::Status(429), RateLimited),
            (Fault::Status(500), Status),
            (Fault::Status(502), Status),
            (Fault::Status(503), Status),
            (Fault::Status(204), Status),
            (Fault::Reset, Transport),
            (Fault::Garbage, Answer),
            (Fault::Oversized(70_000), Answer),
        ] {
            bench.sandbox.set_fault(fault);
            let error = bench.introspector.introspect(Ask::new(&bearer(&token))).await.unwrap_err();
            assert_eq!(error.kind(), expected, "{:?}: {fault:?}", bench.endpoint);
            bench.sandbox.clear_fault();
            bench.active(&token).await;
        }
        bench.sandbox.set_fault(Fault::Delay(Duration::ZERO));
        bench.active(&token).await;
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_or_is_slow_is_a_timeout() {
    // Short, since the fault is that no answer comes.
    each(millis(50), async |bench| {
        for fault in [Fault::Hang, Fault::Delay(secs(3_600))] {
            bench.sandbox.set_fault(fault);
            let error = bench.introspector.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
            assert!(error.is_timeout(), "{:?}: {error:?}", bench.endpoint);
            assert!(format!("{error:?}").contains("50ms passed (`request_timeout`)"), "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_connection_serves_many_questions() {
    each(PATIENCE, async |bench| {
        for n in 0..20 {
            bench.active(&bench.sandbox.issue(SandboxToken::new().client_id(n.to_string()))).await;
        }
        assert_eq!(bench.sandbox.connections(), 1);
    })
    .await;
}
