//! npm `jose`: the proofs that it signs come in if they are good, whichever algorithm it signs them with.

use http::Request;
use serde_json::json;
use tower::{Layer, ServiceExt};
use tower_introspection::possession::Dpop;
use tower_introspection::rejection::RejectionReason;
use tower_introspection::{AccessToken, InactiveReason, IntrospectionLayer, Verdict, introspect_fn};

use crate::server::{installed, is_installed, run, which};
use crate::support::Idle;

#[tokio::test]
async fn the_proofs_of_jose_come_in_however_they_are_signed_if_they_are_good() {
    let (node, script) = (which("node"), installed().join("oidc-provider/proofs.mjs"));
    if !is_installed("jose", &node, &script) {
        return;
    }
    // What the token is bound to stands in its text.
    let introspector = introspect_fn(|token| {
        let thumbprint = token.expose().strip_prefix("bound-to-").map(str::to_owned);
        async move {
            let Some(thumbprint) = thumbprint else { return Ok(Verdict::Inactive(InactiveReason::Unknown)) };
            Ok(Verdict::Active(AccessToken::builder().claim("cnf", json!({ "jkt": thumbprint })).unwrap().build()))
        }
    });
    let dpop = Dpop::builder("https://api.example.com").build().unwrap();
    let layer = IntrospectionLayer::builder(introspector).dpop(dpop).build().unwrap();

    let said = run(&node, &script, &json!({ "url": "https://api.example.com/orders/7", "method": "PUT" })).await;
    let (mut good, mut wrong) = (0, Vec::new());
    for theirs in said.as_array().unwrap() {
        let text = |member: &str| theirs[member].as_str().unwrap();
        let answer = async |proof: &str| {
            let request = Request::put("/orders/7?page=2")
                .header("authorization", format!("DPoP {}", text("token")))
                .header("dpop", proof)
                .body(String::new())
                .unwrap();
            let response = layer.layer(Idle).oneshot(request).await.unwrap();
            response.extensions().get::<RejectionReason>().copied()
        };
        let (what, proof) = (text("what"), text("proof"));
        if theirs["good"] == true {
            good += 1;
            // Before it is used, so that none is refused for that.
            for damaged in damaged(proof) {
                if answer(&damaged).await.is_none() {
                    wrong.push(format!("{what}, damaged: {damaged}"));
                }
            }
        }
        let refused = answer(proof).await;
        if refused.is_none() != (theirs["good"] == true) {
            wrong.push(format!("{what}: {refused:?}: {proof}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(good >= 18, "{good}");
}

/// The proof with a character changed: some of the header and the payload, and some of the signature.
fn damaged(proof: &str) -> impl Iterator<Item = String> + '_ {
    (0..proof.len()).step_by(37).map(|at| {
        let other = if &proof[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &proof[..at], &proof[at + 1..])
    })
}
