//! Nothing of a proof in any output, and what an operator can tell a client's author of one that is refused.

use http::Method;
use serde_json::json;
use tower_introspection::possession::{Dpop, NonceSecret};
use tower_introspection::sandbox::{ProofBuilder, ProofKey};

use super::*;

const ORIGIN: &str = "https://api.example.com";

fn with_proof(proof: &str) -> Request<String> {
    let request = Request::get("/orders?hush=hush").header("authorization", format!("DPoP {TOKEN}"));
    request.header("dpop", proof).body(String::new()).unwrap()
}

pub(crate) async fn drive(captured: &Captured) {
    let key = ProofKey::generate().unwrap();
    let facts = AccessToken::builder().claim("cnf", json!({ "jkt": key.thumbprint() })).unwrap().build();
    captured.show(&facts);
    let secret = NonceSecret::from_bytes(b"hush hush hush hush hush hush hush").unwrap();
    captured.show(&secret);
    captured.show(&Dpop::builder(ORIGIN).require_nonces(secret.clone()));
    let dpop = Dpop::builder(ORIGIN).offer_nonces(secret).max_remembered_proofs_of_one_key(1).build().unwrap();
    captured.show(&dpop);
    captured.show(&key);
    let authority = introspect_fn(move |_| {
        let facts = facts.clone();
        async move { Ok(Verdict::Active(facts)) }
    });
    let layer = IntrospectionLayer::builder(Cached::new(authority)).dpop(dpop).build().unwrap();
    captured.show(&layer);
    let service = layer.layer(service_fn(async |request: Request<String>| {
        assert!(!format!("{:?}", request.headers()).contains(SECRET));
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let proof = || key.proof(Method::GET, "https://api.example.com/orders").token(TOKEN);
    let claim = |name: &str, value: serde_json::Value| proof().claim(name, value).unwrap();
    let now = tower_introspection::clock::Timestamp::now();
    let good = proof().claim("jti", "hush-jti").unwrap();
    captured.show(&good);
    let signed = |proof: ProofBuilder| proof.sign().unwrap();
    let mut proofs = vec![signed(good), "hush".into()];
    proofs.extend(
        [
            claim("ath", "hush".into()),
            claim("htm", "hush".into()),
            claim("htu", "https://hush.example/hush".into()),
            claim("htu", "https://api.example.com/hush".into()),
            claim("nonce", "hush".into()),
            claim("jti", json!(["hush"])),
            proof().header("typ", "hush").unwrap(),
            proof().header("jwk", json!({ "hush": "hush" })).unwrap(),
            proof().issued_at(now - secs(300)),
            proof().issued_at(now + secs(300)),
            proof(),
        ]
        .map(signed),
    );
    let cut = proofs[0].rsplit_once('.').unwrap().0.to_owned();
    proofs.push(format!("{cut}."));
    for proof in &proofs {
        for _ in 0..2 {
            service.clone().oneshot(with_proof(proof)).await.unwrap();
        }
    }
    for words in [
        ["a DPoP proof is refused", "fault=\"proof_malformed\""],
        ["a DPoP proof is refused", "why=\"it is not the base64url of 32 bytes\""],
        ["a DPoP proof is refused", "fault=\"proof_htm\""],
        ["a DPoP proof is refused", "why=\"its host is another one\""],
        ["a DPoP proof is refused", "fault=\"use_dpop_nonce\""],
        ["a DPoP proof is refused", "seconds_away=300"],
        ["a DPoP proof is refused", "fault=\"proof_replayed\""],
    ] {
        assert!(captured.events("INFO", &words) > 0, "nobody says {words:?}");
    }
    let full = ["requests with a DPoP proof are turned away", "`max_remembered_proofs_of_one_key` is reached"];
    assert!(captured.events("WARN", &full) > 0);
    // `hush` is base64 in them, so that their parts have to be looked for.
    let output = captured.events.read() + &captured.shown.read();
    for part in proofs.iter().flat_map(|proof| proof.split('.').skip(1)).filter(|part| part.len() > 4) {
        assert!(!output.contains(part), "{part} is in the output");
    }
}
