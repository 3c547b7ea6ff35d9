//! Layers within layers, optional ones, several authorities, and routes where a bearer token will not do.

use http::Request;
use serde_json::json;
use tower::{Layer, service_fn};
use tower_introspection::introspect::AnyIntrospector;
use tower_introspection::rejection::{ProofFault, RejectionReason};
use tower_introspection::sandbox::ProofKey;
use tower_introspection::source::TokenHeader;
use tower_introspection::token::MalformedToken;
use tower_introspection::{Authorities, Policy};

use super::*;

const NOT_BOUND: (u16, Option<RejectionReason>) = (401, Some(RejectionReason::NotSenderConstrained));
const SENDER_CONSTRAINED: (u16, Option<RejectionReason>) = (401, Some(RejectionReason::SenderConstrained));

#[tokio::test]
async fn possession_is_judged_once_a_request_by_whatever_stands_within() {
    let holder = Holder::new();
    let authority = holder.authority();
    let outer = holder.layer(&authority);
    let scope = outer.require(Policy::new().require_scope("read")).unwrap();
    let bound = outer.require(Policy::new().require_sender_constrained()).unwrap();
    // Another cache, and so another object with the same facts; another memory of proofs, and the same.
    let dpop = holder.dpop();
    let with = |dpop: Dpop| IntrospectionLayer::builder(holder.cached(&authority)).dpop(dpop).build().unwrap();
    let (one, same, other) = (with(dpop.clone()), with(dpop), with(holder.dpop()));
    for (name, service) in [
        ("a route", tower::util::BoxCloneSyncService::new(outer.layer(scope.layer(Counting::default())))),
        (
            "two routes",
            tower::util::BoxCloneSyncService::new(outer.layer(scope.layer(bound.layer(Counting::default())))),
        ),
        ("the same layer", tower::util::BoxCloneSyncService::new(outer.layer(outer.layer(Counting::default())))),
        ("another cache", tower::util::BoxCloneSyncService::new(one.layer(same.layer(Counting::default())))),
        ("another memory", tower::util::BoxCloneSyncService::new(one.layer(other.layer(Counting::default())))),
        ("three", tower::util::BoxCloneSyncService::new(one.layer(same.layer(other.layer(Counting::default()))))),
    ] {
        for way in ["a miss", "a hit"] {
            assert_eq!(outcome(&service, holder.good_request()).await, IN, "{name}, {way}");
        }
        let proof = holder.proof().sign().unwrap();
        assert_eq!(outcome(&service, holder.request(&proof)).await, IN, "{name}");
        let replayed = (401, Some(RejectionReason::Proof(ProofFault::Replayed)));
        assert_eq!(outcome(&service, holder.request(&proof)).await, replayed, "{name}");
    }
}

#[tokio::test]
async fn a_layer_within_judges_the_proof_of_this_request_and_takes_no_other_ones_word() {
    let holder = Holder::new();
    let authority = holder.authority();
    let (outer, inner) = (holder.layer(&authority), holder.layer(&authority));
    let other = holder.proof().sign().unwrap();
    // Something between the two puts another proof in, which is good by itself, and again.
    let exchanged = other.clone();
    let within = inner.layer(Counting::default());
    let between = service_fn(move |mut request: Request<String>| {
        request.headers_mut().insert("dpop", exchanged.parse().unwrap());
        tower::ServiceExt::oneshot(within.clone(), request)
    });
    let service = outer.layer(between);
    assert_eq!(outcome(&service, holder.good_request()).await, IN);
    let replayed = (401, Some(RejectionReason::Proof(ProofFault::Replayed)));
    assert_eq!(outcome(&service, holder.good_request()).await, replayed);
    // Or another token, which the proof is not for.
    let within = inner.layer(Counting::default());
    let between = service_fn(move |mut request: Request<String>| {
        request.headers_mut().insert("authorization", "DPoP another".parse().unwrap());
        tower::ServiceExt::oneshot(within.clone(), request)
    });
    let other_hash = (401, Some(RejectionReason::Proof(ProofFault::TokenHash)));
    assert_eq!(outcome(&outer.layer(between), holder.good_request()).await, other_hash);
}

#[tokio::test]
async fn what_a_layer_in_front_leaves_with_the_request_lets_no_bound_token_in() {
    let holder = Holder::new();
    let guard = holder.layer(&holder.authority());
    let route = guard.require(Policy::new().require_scope("read")).unwrap();
    // The facts of the token, made by somebody else, and those of the layer in another request.
    let token = with_cnf(json!({"jkt": holder.key.thumbprint()}));
    let service = route.layer(Counting::default());
    let mut request = Request::get("/orders").body(String::new()).unwrap();
    request.extensions_mut().insert(token.clone());
    assert_eq!(outcome(&service, request).await, SENDER_CONSTRAINED);
    // All that a good request has with it, and another token.
    let planting = service_fn({
        let service = service.clone();
        move |mut request: Request<String>| {
            request.extensions_mut().insert(token.clone());
            tower::ServiceExt::oneshot(service.clone(), request)
        }
    });
    assert_eq!(outcome(&guard.layer(planting), holder.good_request()).await, SENDER_CONSTRAINED);
}

#[tokio::test]
async fn where_a_bearer_token_will_not_do_it_is_refused_and_challenges_name_dpop_alone() {
    let holder = Holder::new();
    let bearer = || to("/orders", "Bearer plain", "");
    let builder = || IntrospectionLayer::builder(holder.cached(&Authority::new(active()))).dpop(holder.dpop());
    let required = builder().require_sender_constrained().build().unwrap();
    let service = required.layer(Counting::default());
    let invalid = RejectionReason::NotSenderConstrained.description();
    let invalid = format!("DPoP realm=\"api\", error=\"invalid_token\", error_description=\"{invalid}\", {ALGS}");
    for _ in 0..2 {
        let response = send(&service, bearer()).await;
        assert_eq!((response.status().as_u16(), response.extensions().get().copied()), NOT_BOUND);
        assert_eq!(told(&response), invalid);
    }
    let response = send(&service, Request::get("/orders").body(String::new()).unwrap()).await;
    assert_eq!(told(&response), format!("DPoP realm=\"api\", {ALGS}"));
    // Of one route, and one method.
    let guard = builder().build().unwrap();
    let route = guard.require(Policy::new().require_sender_constrained()).unwrap();
    assert_eq!(outcome(&guard.layer(Counting::default()), bearer()).await, IN);
    let response = send(&guard.layer(route.layer(Counting::default())), bearer()).await;
    assert_eq!((response.status().as_u16(), response.extensions().get().copied()), NOT_BOUND);
    assert_eq!(told(&response), invalid);
    let writes = Policy::new().for_method(http::Method::POST, Policy::new().require_sender_constrained());
    let service = builder().policy(writes).build().unwrap().layer(Counting::default());
    assert_eq!(outcome(&service, bearer()).await, IN);
    let mut write = bearer();
    *write.method_mut() = http::Method::POST;
    assert_eq!(outcome(&service, write).await, NOT_BOUND);
    // And a bound one comes in, everywhere.
    let bound = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(holder.dpop());
    let service = bound.require_sender_constrained().build().unwrap().layer(Counting::default());
    assert_eq!(outcome(&service, holder.good_request()).await, IN);
}

#[tokio::test]
async fn an_optional_layer_lets_nobody_in_with_a_bad_proof() {
    let holder = Holder::new();
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(holder.dpop()).optional(true);
    let layer = layer.build().unwrap();
    let service = layer.layer(Counting::default());
    assert_eq!(outcome(&service, Request::get("/orders").body(String::new()).unwrap()).await, IN);
    assert_eq!(outcome(&service, holder.good_request()).await, IN);
    assert_eq!(outcome(&service, holder.request("junk")).await.0, 401);
    assert_eq!((layer.stats().anonymous, layer.stats().accepted), (1, 1));
}

#[tokio::test]
async fn a_token_is_taken_out_with_its_proof_and_the_challenge_of_a_route_still_names_dpop() {
    let holder = Holder::new();
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(holder.dpop()).remove_token(true);
    let layer = layer.build().unwrap();
    let seen = layer.layer(service_fn(async |request: Request<String>| {
        assert!(!request.headers().contains_key("authorization") && !request.headers().contains_key("dpop"));
        assert!(request.extensions().get::<AccessToken>().is_some());
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    for _ in 0..2 {
        assert_eq!(outcome(&seen, holder.good_request()).await, IN);
    }
    let route = layer.require(Policy::new().require_scope("admin")).unwrap();
    let response = send(&layer.layer(route.layer(Counting::default())), holder.good_request()).await;
    assert_eq!(response.status(), 403);
    assert!(told(&response).starts_with("DPoP realm=\"api\", error=\"insufficient_scope\""), "{}", told(&response));
}

#[tokio::test]
async fn what_holds_the_token_and_its_proof_is_marked_sensitive() {
    let holder = Holder::new();
    let layer = holder.layer(&holder.authority());
    let seen = layer.layer(service_fn(async |request: Request<String>| {
        assert!(request.headers()["authorization"].is_sensitive() && request.headers()["dpop"].is_sensitive());
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    for _ in 0..2 {
        assert_eq!(outcome(&seen, holder.good_request()).await, IN);
    }
}

#[tokio::test]
async fn a_token_in_another_place_is_a_bearer_token_and_beside_one_with_a_proof_one_too_many() {
    let holder = Holder::new();
    let header = http::HeaderName::from_static("x-access-token");
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(holder.dpop());
    let service = layer.token_source(TokenHeader::new(header.clone())).build().unwrap().layer(Counting::default());
    let mut elsewhere = holder.good_request();
    elsewhere.headers_mut().remove("authorization");
    elsewhere.headers_mut().insert(&header, holder.token.parse().unwrap());
    assert_eq!(outcome(&service, elsewhere).await, SENDER_CONSTRAINED);
    let mut both = holder.good_request();
    both.headers_mut().insert(&header, holder.token.parse().unwrap());
    let repeated = (400, Some(RejectionReason::Malformed(MalformedToken::Repeated)));
    assert_eq!(outcome(&service, both).await, repeated);
    assert_eq!(outcome(&service, holder.good_request()).await, IN);
}

#[tokio::test]
async fn a_layer_that_does_not_look_into_the_authorization_header_cannot_take_proofs() {
    let holder = Holder::new();
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(holder.dpop());
    let layer = layer.authorization_header(false).token_source(TokenHeader::new(http::HeaderName::from_static("x")));
    assert_eq!(layer.build().unwrap_err().setting(), "dpop");
}

#[tokio::test]
async fn each_of_several_authorities_says_whose_key_a_token_is_bound_to() {
    let (one, other) = (Holder::new(), Holder::new());
    let of = |holder: &Holder| AnyIntrospector::new(holder.cached(&holder.authority()));
    let authorities = Authorities::choose_by(|request| request.header("x-tenant").map(Into::into));
    let authorities = authorities.authority("one", of(&one)).authority("other", of(&other));
    let layer = IntrospectionLayer::builder(authorities.build().unwrap()).dpop(one.dpop()).build().unwrap();
    let service = layer.layer(Counting::default());
    let with = |holder: &Holder, tenant: &str| {
        let mut request = holder.good_request();
        request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        request
    };
    for _ in 0..2 {
        assert_eq!(outcome(&service, with(&one, "one")).await, IN);
        assert_eq!(outcome(&service, with(&other, "other")).await, IN);
        let other_key = (401, Some(RejectionReason::Proof(ProofFault::OtherKey)));
        assert_eq!(outcome(&service, with(&one, "other")).await, other_key);
        let nobody = (401, Some(RejectionReason::NoAuthority));
        assert_eq!(outcome(&service, with(&one, "third")).await, nobody);
    }
}

#[tokio::test]
async fn a_proof_by_another_key_of_the_same_client_is_none_for_this_token() {
    let (holder, other) = (Holder::new(), ProofKey::generate().unwrap());
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let now = tower_introspection::clock::Clock::now(&holder.clock);
    let proof = other.proof(http::Method::GET, "https://api.example.com/orders").token(&holder.token).issued_at(now);
    let other_key = (401, Some(RejectionReason::Proof(ProofFault::OtherKey)));
    assert_eq!(outcome(&service, holder.request(&proof.sign().unwrap())).await, other_key);
}
