//! Nonces, offered and required.

use http::Request;
use tower::Layer;
use tower_introspection::possession::NonceSecret;
use tower_introspection::rejection::{ProofFault, RejectionReason};

use super::*;

const USE_NONCE: (u16, Option<RejectionReason>) = (401, Some(RejectionReason::Proof(ProofFault::Nonce)));

fn secret() -> NonceSecret {
    NonceSecret::from_bytes(b"a secret of thirty-two bytes, no less").unwrap()
}

fn nonce<B>(response: &Response<B>) -> Option<String> {
    response.headers().get("dpop-nonce").map(|nonce| nonce.to_str().unwrap().to_owned())
}

fn is_not_stored<B>(response: &Response<B>) -> bool {
    response.headers().get("cache-control").is_some_and(|value| value.to_str().unwrap().contains("no-store"))
}

fn with(holder: &Holder, nonce: Option<&str>) -> Request<String> {
    let proof = holder.proof();
    let proof = match nonce {
        Some(nonce) => proof.nonce(nonce),
        None => proof,
    };
    holder.request(&proof.sign().unwrap())
}

#[tokio::test]
async fn a_proof_without_a_nonce_is_told_which_one_to_take_and_comes_in_with_it() {
    let holder = Holder::new();
    let dpop = holder.builder().require_nonces(secret()).build().unwrap();
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(dpop).build().unwrap();
    let service = layer.layer(Counting::default());
    let response = send(&service, with(&holder, None)).await;
    assert_eq!((response.status().as_u16(), response.extensions().get().copied()), USE_NONCE);
    let description = RejectionReason::Proof(ProofFault::Nonce).description();
    let error = format!("error=\"use_dpop_nonce\", error_description=\"{description}\"");
    assert_eq!(told(&response), format!("DPoP realm=\"api\", {error}, {ALGS}"));
    assert!(is_not_stored(&response));
    let first = nonce(&response).unwrap();
    let response = send(&service, with(&holder, Some(&first))).await;
    assert_eq!((response.status().as_u16(), nonce(&response)), (200, None), "it has the present one");
    assert!(!is_not_stored(&response));
    // A minute later it is good once more, and another one comes along.
    holder.clock.advance(secs(60));
    let response = send(&service, with(&holder, Some(&first))).await;
    let second = nonce(&response).unwrap();
    assert!(response.status() == 200 && second != first && is_not_stored(&response));
    holder.clock.advance(secs(60));
    assert_eq!(outcome(&service, with(&holder, Some(&first))).await, USE_NONCE);
    assert_eq!(outcome(&service, with(&holder, Some(&second))).await, IN);
    assert_eq!(outcome(&service, with(&holder, Some("made-up"))).await, USE_NONCE);
    // Whoever comes without a token learns it, too.
    let response = send(&service, Request::get("/orders").body(String::new()).unwrap()).await;
    assert!(response.status() == 401 && nonce(&response).is_some());
}

#[tokio::test]
async fn a_nonce_that_is_offered_need_not_be_taken_but_has_to_be_a_good_one() {
    let holder = Holder::new();
    let dpop = holder.builder().offer_nonces(secret()).build().unwrap();
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(dpop).build().unwrap();
    let service = layer.layer(Counting::default());
    let response = send(&service, with(&holder, None)).await;
    let offered = nonce(&response).unwrap();
    assert!(response.status() == 200 && is_not_stored(&response));
    assert_eq!(outcome(&service, with(&holder, Some(&offered))).await, IN);
    assert_eq!(outcome(&service, with(&holder, Some("made-up"))).await, USE_NONCE);
}

#[tokio::test]
async fn without_nonces_none_is_handed_out_and_that_of_a_proof_is_not_looked_at() {
    let holder = Holder::new();
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let response = send(&service, with(&holder, Some("of the authorization server"))).await;
    assert_eq!((response.status().as_u16(), nonce(&response)), (200, None));
    let response = send(&service, holder.request("junk")).await;
    assert_eq!((response.status().as_u16(), nonce(&response)), (401, None));
}

#[tokio::test]
async fn a_grpc_client_finds_the_nonce_in_the_metadata() {
    let holder = Holder::new();
    let dpop = holder.builder().require_nonces(secret()).build().unwrap();
    let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).dpop(dpop).build().unwrap();
    let service = layer.layer(Counting::default());
    let call = |nonce: Option<&str>| {
        let proof = holder.proof_for(http::Method::POST, "https://api.example.com/p.S/M");
        let proof = if let Some(nonce) = nonce { proof.nonce(nonce) } else { proof };
        let mut request = to("/p.S/M", &format!("DPoP {}", holder.token), &proof.sign().unwrap());
        *request.method_mut() = http::Method::POST;
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        request
    };
    let response = send(&service, call(None)).await;
    assert_eq!(response.headers()["grpc-status"], "16");
    let first = nonce(&response).unwrap();
    let response = send(&service, call(Some(&first))).await;
    assert!(response.status() == 200 && !response.headers().contains_key("grpc-status"));
}
