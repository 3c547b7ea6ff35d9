//! Requirements of the login behind a token, RFC 9470, over the layer: on hits and misses, and what a client is told.

use http::{Method, Request, Response, StatusCode};
use tower::{Layer, ServiceExt};
use tower_introspection::clock::Timestamp;
use tower_introspection::rejection::{Rejection, RejectionReason};
use tower_introspection::{AccessToken, IntrospectionLayer, Policy, RequestView, Scopes, Verdict};

use crate::support::*;

/// A token of a login in this way, at this time.
fn login(acr: &str, at: Timestamp) -> Answer {
    let token = AccessToken::builder().scopes(Scopes::parse("read")).claim("acr", acr).unwrap();
    Ok(Verdict::Active(token.claim("auth_time", at).unwrap().build()))
}

fn recent() -> Policy {
    Policy::new().require_recent_login(secs(300))
}

fn gold() -> Policy {
    Policy::new().require_acr(["gold", "silver"])
}

fn reason<B>(response: &Response<B>) -> Option<RejectionReason> {
    response.extensions().get().copied()
}

fn told<B>(response: &Response<B>) -> &str {
    response.headers()["www-authenticate"].to_str().unwrap()
}

async fn send<S>(service: &S, request: Request<String>) -> Response<String>
where
    S: tower::Service<Request<String>, Response = Response<String>, Error = std::convert::Infallible> + Clone,
{
    service.clone().oneshot(request).await.unwrap()
}

const ACR: &str = "the request requires another authentication level than the access token has";
const RECENT: &str = "the request requires a more recent login than the access token has";

fn begins(description: &str) -> String {
    format!("Bearer realm=\"api\", error=\"insufficient_user_authentication\", error_description=\"{description}\", ")
}

#[cfg(feature = "test-util")]
mod as_time_passes {
    use tower_introspection::Cached;
    use tower_introspection::clock::ManualClock;
    use tower_introspection::rejection::RejectionKind;

    use super::*;

    /// A cache over an authority that knows of this login, and the layer's clock. The answer serves for hours.
    fn over(answer: Answer) -> (Authority, Cached<Authority>, ManualClock) {
        let authority = Authority::new(answer);
        let (cached, clock) = cached(&authority, |builder| builder.max_ttl(secs(36_000)));
        (authority, cached, clock)
    }

    #[tokio::test]
    async fn a_token_that_was_fresh_becomes_stale_in_the_cache_without_a_question() {
        let (authority, cached, clock) = over(login("gold", START));
        let layer = IntrospectionLayer::builder(cached).policy(recent()).clock(clock.clone()).build().unwrap();
        let service = layer.layer(Idle);
        assert_eq!(send(&service, request("Bearer abc")).await.status(), StatusCode::OK, "a miss");
        clock.set(START + secs(300));
        assert_eq!(send(&service, request("Bearer abc")).await.status(), StatusCode::OK, "a hit at the last moment");
        clock.advance(millis(1));
        for _ in 0..2 {
            let response = send(&service, request("Bearer abc")).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(kind(&response), Some(RejectionKind::InsufficientUserAuthentication));
            assert_eq!(told(&response), begins(RECENT) + "max_age=\"300\"");
        }
        assert_eq!(authority.questions(), 1);
        // The user has logged in again, and has another token for it.
        authority.says(login("gold", START + secs(300)));
        assert_eq!(send(&service, request("Bearer new")).await.status(), StatusCode::OK);
        assert_eq!(send(&service, request("Bearer abc")).await.status(), StatusCode::UNAUTHORIZED);
        let stats = layer.stats();
        assert_eq!(stats.rejected_by_kind, [(RejectionKind::InsufficientUserAuthentication, 3)]);
        assert_eq!(stats.rejected_by_reason, [(RejectionReason::RecentLogin, 3)]);
    }

    #[tokio::test]
    async fn a_login_ahead_of_the_clock_by_more_than_5_seconds_is_none_yet() {
        let (_, cached, clock) = over(login("gold", START + secs(6)));
        let layer = IntrospectionLayer::builder(cached).policy(recent()).clock(clock.clone()).build().unwrap();
        let service = layer.layer(Idle);
        assert_eq!(reason(&send(&service, request("Bearer abc")).await), Some(RejectionReason::RecentLogin));
        clock.advance(secs(1));
        assert_eq!(send(&service, request("Bearer abc")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_route_below_goes_by_the_clock_of_its_layer_and_asks_for_what_both_require() {
        let (authority, cached, clock) = over(login("silver", START));
        let guard = IntrospectionLayer::builder(cached).require_scope("read").policy(gold());
        let guard = guard.policy(Policy::new().require_recent_login(secs(3_600))).clock(clock.clone()).build().unwrap();
        let route = guard.require(recent().require_acr(["gold"])).unwrap();
        let (inner, below) = (guard.layer(Idle), guard.layer(route.layer(Idle)));
        let level = begins(ACR) + "scope=\"read\", acr_values=\"gold\", max_age=\"300\"";
        assert_eq!(send(&inner, request("Bearer abc")).await.status(), StatusCode::OK);
        assert_eq!(told(&send(&below, request("Bearer abc")).await), level);
        authority.says(login("gold", START));
        assert_eq!(send(&below, request("Bearer new")).await.status(), StatusCode::OK);
        clock.set(START + secs(301));
        let old = begins(RECENT) + "scope=\"read\", acr_values=\"gold\", max_age=\"300\"";
        assert_eq!(told(&send(&below, request("Bearer new")).await), old);
        assert_eq!(send(&inner, request("Bearer new")).await.status(), StatusCode::OK);
        clock.set(START + secs(3_601));
        let outer = begins(RECENT) + "scope=\"read\", acr_values=\"gold silver\", max_age=\"3600\"";
        assert_eq!(told(&send(&below, request("Bearer new")).await), outer, "it did not come to the route");
        let counted = [(RejectionReason::Acr, 1), (RejectionReason::RecentLogin, 2)];
        assert_eq!(guard.stats().rejected_by_reason, counted);
    }
}

#[tokio::test]
async fn the_challenge_names_all_that_a_new_login_has_to_be_on_a_miss_and_on_a_hit() {
    let (now, long_ago) = (Timestamp::now(), Timestamp::from_unix_seconds(0));
    let metadata = "https://api.example.com/.well-known/oauth-protected-resource";
    let scoped = |policy: Policy| policy.require_scope("write");
    for (policy, answer, reason_told, rest) in [
        (gold(), login("bronze", now), RejectionReason::Acr, "acr_values=\"gold silver\""),
        (gold(), active(), RejectionReason::Acr, "acr_values=\"gold silver\""),
        (recent(), login("gold", long_ago), RejectionReason::RecentLogin, "max_age=\"300\""),
        (recent(), active(), RejectionReason::RecentLogin, "max_age=\"300\""),
        (
            gold().policy(recent()),
            login("bronze", long_ago),
            RejectionReason::Acr,
            "acr_values=\"gold silver\", max_age=\"300\"",
        ),
        (
            gold().policy(recent()),
            login("bronze", now),
            RejectionReason::Acr,
            "acr_values=\"gold silver\", max_age=\"300\"",
        ),
        (
            gold().policy(recent()),
            login("gold", long_ago),
            RejectionReason::RecentLogin,
            "acr_values=\"gold silver\", max_age=\"300\"",
        ),
        (scoped(gold()), login("bronze", now), RejectionReason::Acr, "scope=\"write\", acr_values=\"gold silver\""),
        (scoped(recent()), login("gold", long_ago), RejectionReason::RecentLogin, "scope=\"write\", max_age=\"300\""),
    ] {
        let authority = Authority::new(answer);
        let cached = tower_introspection::Cached::new(authority.clone());
        let layer = || IntrospectionLayer::builder(cached.clone()).policy(policy.clone());
        let plain = layer().build().unwrap().layer(Idle);
        let described = layer().resource_metadata(metadata).problem_json().build().unwrap().layer(Idle);
        let begin = begins(reason_told.description());
        for _ in 0..2 {
            let response = send(&plain, request("Bearer abc")).await;
            assert_eq!((response.status(), reason(&response)), (StatusCode::UNAUTHORIZED, Some(reason_told)));
            assert_eq!(told(&response), format!("{begin}{rest}"));
            assert_eq!((response.headers().len(), response.body().as_str()), (1, ""));
            // With a parser that is not ours.
            let challenge = challenge(&response.headers()["www-authenticate"]);
            assert_eq!(parameter(&challenge, "error"), Some("insufficient_user_authentication"));

            let response = send(&described, request("Bearer abc")).await;
            assert_eq!(told(&response), format!("{begin}{rest}, resource_metadata=\"{metadata}\""));
            let document: serde_json::Value = serde_json::from_str(response.body()).unwrap();
            assert_eq!(document["kind"], "insufficient_user_authentication");
            assert_eq!((&document["status"], &document["detail"]), (&401.into(), &reason_told.description().into()));
        }
        assert_eq!(authority.questions(), 1);
    }
}

/// What an endpoint states, as it comes over the wire.
#[cfg(feature = "sandbox")]
#[tokio::test]
async fn an_introspection_endpoints_acr_and_auth_time_count() {
    use tower_introspection::sandbox::{Sandbox, SandboxToken};

    let sandbox = Sandbox::start().await.unwrap();
    let cached = tower_introspection::Cached::new(sandbox.rfc7662().build().unwrap());
    let service = IntrospectionLayer::builder(cached).policy(gold().policy(recent())).build().unwrap().layer(Idle);
    let issue = |acr: &str, at: Timestamp| {
        let token = SandboxToken::new().claim("acr", acr).unwrap().claim("auth_time", at).unwrap();
        request(&format!("Bearer {}", sandbox.issue(token)))
    };
    let now = Timestamp::now();
    let good = issue("silver", now);
    for _ in 0..2 {
        assert_eq!(send(&service, good.clone()).await.status(), StatusCode::OK);
    }
    assert_eq!(reason(&send(&service, issue("bronze", now)).await), Some(RejectionReason::Acr));
    assert_eq!(reason(&send(&service, issue("gold", now - secs(301))).await), Some(RejectionReason::RecentLogin));
    let silent = request(&format!("Bearer {}", sandbox.issue(SandboxToken::new())));
    assert_eq!(reason(&send(&service, silent).await), Some(RejectionReason::Acr));
}

#[tokio::test]
async fn a_grpc_call_is_unauthenticated_and_told_why() {
    for (policy, says) in [(gold(), ACR), (recent(), RECENT)] {
        let guard = IntrospectionLayer::new(Authority::new(active()));
        let route = guard.require(policy.clone()).unwrap();
        let layer = IntrospectionLayer::builder(Authority::new(active())).policy(policy).build().unwrap();
        for content_type in ["application/grpc", "application/grpc-web", "application/grpc-web-text+proto"] {
            let mut call = request("Bearer abc");
            *call.method_mut() = Method::POST;
            call.headers_mut().insert("content-type", content_type.parse().unwrap());
            for response in [
                layer.layer(Idle).oneshot(call.clone()).await.unwrap(),
                guard.layer(route.layer(Idle)).oneshot(call).await.unwrap(),
            ] {
                let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
                assert_eq!((response.status(), response.headers().len()), (StatusCode::OK, 3));
                let (status, message, form) = (header("grpc-status"), header("grpc-message"), header("content-type"));
                assert_eq!((&*status, &*message, &*form), ("16", says, content_type));
                assert!(response.body().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_renderer_is_told_what_a_login_has_to_be_and_only_of_a_login_that_was_not() {
    let render = |rejection: &Rejection, _: &RequestView| {
        rejection.response(format!("{:?} {:?}", rejection.wanted_acr_values(), rejection.wanted_max_age()))
    };
    let guard = |policy| {
        let layer = IntrospectionLayer::builder(Authority::new(active())).policy(policy);
        layer.rejection_response(render).build().unwrap().layer(Idle)
    };
    let both = || gold().policy(recent());
    for (policy, request, shown) in [
        (both(), request("Bearer abc"), "Some(\"gold silver\") Some(300s)"),
        (recent(), request("Bearer abc"), "None Some(300s)"),
        (both(), Request::new(String::new()), "None None"),
        (both().require_audience("here"), request("Bearer abc"), "None None"),
        (Policy::new().require_scope("admin"), request("Bearer abc"), "None None"),
    ] {
        assert_eq!(guard(policy).oneshot(request).await.unwrap().body(), shown);
    }
}

#[tokio::test]
async fn without_a_token_an_optional_layer_asks_for_no_login() {
    let layer = IntrospectionLayer::builder(Authority::new(active())).policy(gold().policy(recent())).optional(true);
    let service = layer.build().unwrap().layer(Idle);
    assert_eq!(send(&service, Request::new(String::new())).await.status(), StatusCode::OK);
    assert_eq!(reason(&send(&service, request("Bearer abc")).await), Some(RejectionReason::Acr));
}

#[test]
fn a_login_that_cannot_be_required_is_refused_where_the_layer_is_built() {
    let builder = || IntrospectionLayer::builder(Authority::new(active()));
    assert_eq!(builder().require_acr(["a b"]).build().unwrap_err().setting(), "require_acr");
    assert_eq!(builder().require_recent_login(millis(1)).build().unwrap_err().setting(), "require_recent_login");
    let guard = builder().build().unwrap();
    assert_eq!(guard.require(recent().require_acr([""; 0])).unwrap_err().setting(), "require_acr");
    assert!(guard.require(recent()).is_ok() && guard.require(gold()).is_ok());
}
