//! A proof comes in once.

use tower::Layer;
use tower_introspection::rejection::{ProofFault, RejectionReason};

use super::*;

const REPLAYED: (u16, Option<RejectionReason>) = (401, Some(RejectionReason::Proof(ProofFault::Replayed)));
const FULL: (u16, Option<RejectionReason>) = (503, Some(RejectionReason::TooManyProofs));

#[tokio::test]
async fn a_proof_comes_in_once_and_another_one_with_its_jti_does_not_either() {
    let holder = Holder::new();
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let proof = holder.proof().claim("jti", "once").unwrap().sign().unwrap();
    assert_eq!(outcome(&service, holder.request(&proof)).await, IN);
    for _ in 0..2 {
        assert_eq!(outcome(&service, holder.request(&proof)).await, REPLAYED);
    }
    holder.clock.advance(secs(30));
    let anew = holder.proof().claim("jti", "once").unwrap().sign().unwrap();
    assert_eq!(outcome(&service, holder.request(&anew)).await, REPLAYED);
}

/// Whoever overheard a request can send it again, and again.
#[tokio::test]
async fn a_replay_is_refused_without_a_look_at_its_signature() {
    let holder = Holder::new();
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let proof = holder.proof().sign().unwrap();
    assert_eq!(outcome(&service, holder.request(&proof)).await, IN);
    let (signed, _) = proof.rsplit_once('.').unwrap();
    for _ in 0..200 {
        // If its signature were looked at, it would be told that it is wrong, and then that there are too many.
        assert_eq!(outcome(&service, holder.request(&format!("{signed}.AAAA"))).await, REPLAYED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_that_present_one_proof_at_once_exactly_one_gets_in() {
    let (holder, inner) = (Holder::new(), Counting::default());
    let layer = holder.layer(&holder.authority());
    let proof = holder.proof().sign().unwrap();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (service, request) = (layer.layer(inner.clone()), holder.request(&proof));
        all.spawn(async move { outcome(&service, request).await });
    }
    let outcomes = all.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == IN).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == REPLAYED).count(), 999);
    assert_eq!(inner.count(), 1);
}

#[tokio::test]
async fn layers_with_clones_of_one_dpop_share_what_was_used_and_others_do_not() {
    let holder = Holder::new();
    let (dpop, authority) = (holder.dpop(), holder.authority());
    let with = |dpop: Dpop| {
        let layer = IntrospectionLayer::builder(holder.cached(&authority)).dpop(dpop).build().unwrap();
        layer.layer(Counting::default())
    };
    let (one, other, alone) = (with(dpop.clone()), with(dpop.clone()), with(holder.dpop()));
    let proof = holder.proof().sign().unwrap();
    assert_eq!(outcome(&one, holder.request(&proof)).await, IN);
    assert_eq!(outcome(&other, holder.request(&proof)).await, REPLAYED);
    assert_eq!(outcome(&alone, holder.request(&proof)).await, IN);
    assert_eq!(dpop.remembered_proofs(), 1);
}

#[tokio::test]
async fn when_the_memory_is_full_requests_are_turned_away_and_no_proof_comes_in_twice() {
    let holder = Holder::new();
    let dpop = holder.builder().max_remembered_proofs(3).max_remembered_proofs_of_one_key(2).build().unwrap();
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(dpop.clone()).build().unwrap();
    let service = layer.layer(Counting::default());
    let proofs: Vec<String> = (0..2).map(|_| holder.proof().sign().unwrap()).collect();
    for proof in &proofs {
        assert_eq!(outcome(&service, holder.request(proof)).await, IN);
    }
    assert_eq!(outcome(&service, holder.good_request()).await, FULL, "its key has as many as one may");
    for proof in &proofs {
        assert_eq!(outcome(&service, holder.request(proof)).await, REPLAYED);
    }
    let other = Holder { token: "other".into(), clock: holder.clock.clone(), ..Holder::new() };
    let others = IntrospectionLayer::builder(other.cached(&other.authority())).dpop(dpop.clone()).build().unwrap();
    let others = others.layer(Counting::default());
    assert_eq!(outcome(&others, other.good_request()).await, IN);
    let response = send(&others, other.good_request()).await;
    assert_eq!((response.status().as_u16(), response.extensions().get().copied()), FULL);
    assert_eq!(response.headers()["retry-after"], "5");
    holder.clock.advance(secs(71));
    assert_eq!(outcome(&service, holder.good_request()).await, IN, "what is too old to be used has gone");
    assert_eq!(dpop.remembered_proofs(), 1);
    for proof in &proofs {
        let too_old = (401, Some(RejectionReason::Proof(ProofFault::TooOld)));
        assert_eq!(outcome(&service, holder.request(proof)).await, too_old);
    }
}

#[tokio::test]
async fn a_request_that_the_policy_refuses_has_used_its_proof() {
    let holder = Holder::new();
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(holder.dpop());
    let service = layer.require_scope("admin").build().unwrap().layer(Counting::default());
    let request = || holder.request(&holder.proof().claim("jti", "once").unwrap().sign().unwrap());
    let response = send(&service, request()).await;
    assert_eq!(response.status(), 403);
    let error =
        "error=\"insufficient_scope\", error_description=\"the request requires more scope than the access token has\"";
    assert_eq!(told(&response), format!("DPoP realm=\"api\", {error}, scope=\"admin\", {ALGS}"));
    assert_eq!(outcome(&service, request()).await, REPLAYED);
}
