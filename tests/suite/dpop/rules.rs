//! Each rule broken alone: what the caller is told, that nothing runs, and that no `jti` is used up.

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Request};
use serde_json::{Value, json};
use tower::Layer;
use tower_introspection::rejection::{ProofFault, RejectionReason};
use tower_introspection::sandbox::ProofKey;
use tower_introspection::{InactiveReason, Policy};

use super::*;

/// Another one who calls in the same way.
fn clone_of(holder: &Holder) -> Holder {
    Holder { clock: holder.clock.clone(), method: holder.method.clone(), ..Holder::new() }
}

/// A way to break one rule: what it makes of a request that is good but for that.
type Break = fn(&Holder, &str) -> Request<String>;

/// With this proof, which has the given `jti`.
fn with(holder: &Holder, proof: ProofBuilder<'_>) -> Request<String> {
    holder.request(&proof.sign().unwrap())
}

fn with_claim(holder: &Holder, jti: &str, name: &str, value: Value) -> Request<String> {
    let proof = holder.proof().claim("jti", jti).unwrap().claim(name, value).unwrap();
    with(holder, proof)
}

fn with_header(holder: &Holder, jti: &str, name: &str, value: Value) -> Request<String> {
    let proof = holder.proof().claim("jti", jti).unwrap().header(name, value).unwrap();
    with(holder, proof)
}

fn jwk(holder: &Holder) -> Value {
    serde_json::from_str(&holder.key.public_jwk()).unwrap()
}

fn good(holder: &Holder, jti: &str) -> Request<String> {
    with(holder, holder.proof().claim("jti", jti).unwrap())
}

/// Each with its name, and which rule it breaks.
#[rustfmt::skip]
const BREAKS: &[(&str, ProofFault, Break)] = &[
    ("no proof", ProofFault::Missing, |holder, jti| {
        let mut request = good(holder, jti);
        request.headers_mut().remove("dpop");
        request
    }),
    ("two proofs", ProofFault::Repeated, |holder, jti| {
        let mut request = good(holder, jti);
        let proof = request.headers()["dpop"].clone();
        request.headers_mut().append("dpop", proof);
        request
    }),
    ("two proofs in one header", ProofFault::Malformed, |holder, jti| {
        let mut request = good(holder, jti);
        let proof = request.headers()["dpop"].to_str().unwrap().to_owned();
        request.headers_mut().insert("dpop", format!("{proof}, {proof}").parse().unwrap());
        request
    }),
    ("no text", ProofFault::Malformed, |holder, _| {
        let mut request = holder.good_request();
        request.headers_mut().insert("dpop", HeaderValue::from_bytes(b"\xe4").unwrap());
        request
    }),
    ("an empty header", ProofFault::Malformed, |holder, _| holder.request("")),
    ("something else", ProofFault::Malformed, |holder, _| holder.request("eyJ.eyJ")),
    ("too long", ProofFault::Malformed, |holder, jti| with_claim(holder, jti, "x", "x".repeat(8_192).into())),
    ("typ missing", ProofFault::Type, |holder, jti| with_header(holder, jti, "typ", Value::Null)),
    ("typ of a JWT", ProofFault::Type, |holder, jti| with_header(holder, jti, "typ", "JWT".into())),
    ("typ of an access token", ProofFault::Type, |holder, jti| with_header(holder, jti, "typ", "at+jwt".into())),
    ("alg none", ProofFault::Malformed, |holder, jti| with_header(holder, jti, "alg", "none".into())),
    ("a symmetric alg", ProofFault::Malformed, |holder, jti| with_header(holder, jti, "alg", "HS256".into())),
    ("crit", ProofFault::Malformed, |holder, jti| with_header(holder, jti, "crit", json!(["x"]))),
    ("an alg that the key does not fit", ProofFault::Key, |holder, jti| with_header(holder, jti, "alg", "ES384".into())),
    ("no key", ProofFault::Key, |holder, jti| with_header(holder, jti, "jwk", Value::Null)),
    ("a private key", ProofFault::Key, |holder, jti| {
        let mut key = jwk(holder);
        key["d"] = "AAAA".into();
        with_header(holder, jti, "jwk", key)
    }),
    ("a symmetric key", ProofFault::Key, |holder, jti| with_header(holder, jti, "jwk", json!({"kty": "oct", "k": "AAAA"}))),
    ("a key that is no point", ProofFault::OtherKey, |holder, jti| {
        let mut key = jwk(holder);
        key["y"] = key["x"].clone();
        with_header(holder, jti, "jwk", key)
    }),
    ("another key, signed with it", ProofFault::OtherKey, |holder, jti| {
        let other = Holder { key: ProofKey::generate().unwrap(), token: holder.token.clone(), ..clone_of(holder) };
        with(holder, other.proof().claim("jti", jti).unwrap())
    }),
    ("ath missing", ProofFault::TokenHash, |holder, jti| with_claim(holder, jti, "ath", Value::Null)),
    ("ath of another token", ProofFault::TokenHash, |holder, jti| {
        with(holder, holder.proof().claim("jti", jti).unwrap().token("another"))
    }),
    ("ath with padding", ProofFault::TokenHash, |holder, jti| {
        let request = good(holder, jti);
        let claims = claims(&request);
        with_claim(holder, jti, "ath", format!("{}=", claims["ath"].as_str().unwrap()).into())
    }),
    ("ath as a number", ProofFault::TokenHash, |holder, jti| with_claim(holder, jti, "ath", 1.into())),
    ("htm missing", ProofFault::Malformed, |holder, jti| with_claim(holder, jti, "htm", Value::Null)),
    ("htm of another method", ProofFault::Method, |holder, jti| with_claim(holder, jti, "htm", "PUT".into())),
    ("htm in lower case", ProofFault::Method, |holder, jti| with_claim(holder, jti, "htm", holder.method.as_str().to_lowercase().into())),
    ("htu missing", ProofFault::Malformed, |holder, jti| with_claim(holder, jti, "htu", Value::Null)),
    ("htu of another host", ProofFault::Uri, |holder, jti| with_claim(holder, jti, "htu", "https://other.example/orders".into())),
    ("htu of another path", ProofFault::Uri, |holder, jti| with_claim(holder, jti, "htu", "https://api.example.com/Orders".into())),
    ("htu as a path", ProofFault::Uri, |holder, jti| with_claim(holder, jti, "htu", "/orders".into())),
    ("iat missing", ProofFault::Malformed, |holder, jti| with_claim(holder, jti, "iat", Value::Null)),
    ("iat as text", ProofFault::Malformed, |holder, jti| with_claim(holder, jti, "iat", "1700000000".into())),
    ("iat too long ago", ProofFault::TooOld, |holder, jti| {
        with(holder, holder.proof().claim("jti", jti).unwrap().issued_at(START - secs(71)))
    }),
    ("iat in milliseconds", ProofFault::NotYetValid, |holder, jti| with_claim(holder, jti, "iat", 1_700_000_000_000_i64.into())),
    ("iat in the future", ProofFault::NotYetValid, |holder, jti| {
        with(holder, holder.proof().claim("jti", jti).unwrap().issued_at(START + secs(11)))
    }),
    ("jti missing", ProofFault::Malformed, |holder, jti| with_claim(holder, jti, "jti", Value::Null)),
    ("jti empty", ProofFault::Malformed, |holder, jti| with_claim(holder, jti, "jti", "".into())),
    ("jti too long", ProofFault::Malformed, |holder, jti| with_claim(holder, jti, "jti", "x".repeat(1_025).into())),
    ("a signature of something else", ProofFault::Signature, |holder, jti| {
        let (one, other) = (good(holder, jti), holder.good_request());
        let part = |request: &Request<String>, place: usize| {
            request.headers()["dpop"].to_str().unwrap().split('.').nth(place).unwrap().to_owned()
        };
        holder.request(&[part(&one, 0), part(&one, 1), part(&other, 2)].join("."))
    }),
    ("no signature", ProofFault::Signature, |holder, jti| {
        let request = good(holder, jti);
        let proof = request.headers()["dpop"].to_str().unwrap();
        holder.request(&format!("{}.", proof.rsplit_once('.').unwrap().0))
    }),
];

fn claims(request: &Request<String>) -> Value {
    use base64::Engine;
    let part = request.headers()["dpop"].to_str().unwrap().split('.').nth(1).unwrap().to_owned();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn description(fault: ProofFault) -> &'static str {
    RejectionReason::Proof(fault).description()
}

type Service = tower::util::BoxCloneSyncService<Request<String>, Response<String>, Infallible>;

/// Where the guard stands that judges the proof: each has a service within that counts, and layers that see a proof.
fn places(holder: &Holder, inner: &Counting) -> [(&'static str, Service); 4] {
    let (authority, dpop) = (holder.authority(), holder.dpop());
    let with = |dpop: &Dpop| IntrospectionLayer::builder(holder.cached(&authority)).dpop(dpop.clone()).build().unwrap();
    let (alone, outer, within) = (holder.layer(&authority), with(&dpop), with(&dpop));
    // To it a token that comes with a proof is none, so that the one within judges.
    let other = IntrospectionLayer::builder(holder.cached(&authority)).optional(true).build().unwrap();
    let route = outer.require(Policy::new().require_scope("read")).unwrap();
    [
        ("alone", Service::new(alone.layer(inner.clone()))),
        ("around a route", Service::new(outer.layer(route.layer(inner.clone())))),
        ("around another", Service::new(outer.layer(within.layer(inner.clone())))),
        ("within another", Service::new(other.layer(within.layer(inner.clone())))),
    ]
}

/// That the request was refused for this, as it is told in its form.
fn assert_refused(holder: &Holder, response: &Response<String>, fault: ProofFault, told_of: &str) {
    let reason = response.extensions().get::<RejectionReason>().copied();
    assert_eq!(reason, Some(RejectionReason::Proof(fault)), "{told_of}");
    let error = format!("error=\"invalid_dpop_proof\", error_description=\"{}\"", description(fault));
    assert_eq!(told(response), format!("DPoP realm=\"api\", {error}, {ALGS}"), "{told_of}");
    if holder.method == Method::POST {
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(response.status(), 200, "{told_of}");
        assert_eq!((header("grpc-status"), header("grpc-message")), ("16", description(fault)), "{told_of}");
    } else {
        assert_eq!(response.status(), 401, "{told_of}");
        assert!(!response.headers().contains_key("grpc-status"), "{told_of}");
    }
}

#[tokio::test]
async fn each_rule_broken_alone_keeps_the_request_out_and_uses_up_no_jti_and_a_good_proof_comes_in_afterwards() {
    for (name, fault, breaks) in BREAKS {
        for method in [Method::GET, Method::POST] {
            let (holder, inner) = (Holder { method, ..Holder::new() }, Counting::default());
            for (place, (stands, service)) in places(&holder, &inner).into_iter().enumerate() {
                let (jti, before) = (format!("jti-{place}"), inner.count());
                for way in ["a miss", "a hit"] {
                    let response = send(&service, breaks(&holder, &jti)).await;
                    assert_refused(&holder, &response, *fault, &format!("{name}, {}, {stands}, {way}", holder.method));
                }
                assert_eq!(inner.count(), before, "{name}, {stands}");
                let response = send(&service, good(&holder, &jti)).await;
                let reason = response.extensions().get::<RejectionReason>();
                assert!(reason.is_none(), "{name}, {stands}: the `jti` is used up, {reason:?}");
                assert_eq!(inner.count(), before + 1, "{name}, {stands}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_counted_for_its_reason() {
    let holder = Holder::new();
    let layer = holder.layer(&holder.authority());
    let service = layer.layer(Counting::default());
    for _ in 0..2 {
        send(&service, holder.request("junk")).await;
    }
    assert_eq!(outcome(&service, holder.good_request()).await, IN);
    assert_eq!(layer.stats().rejected_by_reason, [(RejectionReason::Proof(ProofFault::Malformed), 2)]);
    assert_eq!(layer.stats().accepted, 1);
}

#[tokio::test]
async fn a_grpc_call_comes_in_with_a_proof_for_its_path() {
    let holder = Holder { method: Method::POST, ..Holder::new() };
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let uri = "https://api.example.com/grpc.health.v1.Health/Check";
    let proof = holder.proof_for(Method::POST, uri).sign().unwrap();
    let mut call = holder.request(&proof);
    *call.uri_mut() = "/grpc.health.v1.Health/Check".parse().unwrap();
    let response = send(&service, call).await;
    assert!(response.status() == 200 && !response.headers().contains_key("grpc-status"));
}

#[tokio::test]
async fn the_scheme_has_to_fit_the_token() {
    let holder = Holder::new();
    let invalid =
        |reason: RejectionReason| format!("error=\"invalid_token\", error_description=\"{}\"", reason.description());
    // A bound one as a bearer token, with its proof and without.
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let proof = holder.proof().sign().unwrap();
    let bearer = |token: &str| to("/orders", &format!("Bearer {token}"), &proof);
    for _ in 0..2 {
        let response = send(&service, bearer(&holder.token)).await;
        let reason = RejectionReason::SenderConstrained;
        assert_eq!((response.status().as_u16(), response.extensions().get().copied()), (401, Some(reason)));
        assert_eq!(told(&response), format!("Bearer realm=\"api\", {}, DPoP realm=\"api\", {ALGS}", invalid(reason)));
    }
    assert_eq!(outcome(&service, holder.request(&proof)).await, IN, "it is not used up");
    // One that is not bound, with a proof.
    let service = holder.layer(&Authority::new(active())).layer(Counting::default());
    for _ in 0..2 {
        let response = send(&service, holder.good_request()).await;
        let reason = RejectionReason::NotSenderConstrained;
        assert_eq!((response.status().as_u16(), response.extensions().get().copied()), (401, Some(reason)));
        assert_eq!(told(&response), format!("DPoP realm=\"api\", {}, {ALGS}", invalid(reason)));
    }
    assert_eq!(outcome(&service, bearer("plain")).await, IN, "a bearer token is one as ever");
}

#[tokio::test]
async fn what_is_not_exactly_one_token_is_malformed_or_missing() {
    use tower_introspection::token::MalformedToken;
    let holder = Holder::new();
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let malformed = |malformed| (400, Some(RejectionReason::Malformed(malformed)));
    let proof = holder.proof().sign().unwrap();
    let mut both = to("/orders", &format!("DPoP {}", holder.token), &proof);
    both.headers_mut().append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
    assert_eq!(outcome(&service, both).await, malformed(MalformedToken::Repeated));
    for (authorization, expected) in [
        ("DPoP", malformed(MalformedToken::Syntax)),
        ("DPoP ", malformed(MalformedToken::Syntax)),
        ("DPoP a b", malformed(MalformedToken::Syntax)),
        ("DPoP\ta", malformed(MalformedToken::Syntax)),
        ("DPoP=a", malformed(MalformedToken::Syntax)),
        ("DPoP-x a", (401, Some(RejectionReason::MissingToken))),
        ("DPo a", (401, Some(RejectionReason::MissingToken))),
    ] {
        assert_eq!(outcome(&service, to("/orders", authorization, &proof)).await, expected, "{authorization:?}");
    }
    for authorization in ["dpop  bound-to-a-key", "DPOP bound-to-a-key"] {
        let proof = holder.proof().sign().unwrap();
        assert_eq!(outcome(&service, to("/orders", authorization, &proof)).await, IN, "{authorization:?}");
    }
    let response = send(&service, Request::get("/orders").body(String::new()).unwrap()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(told(&response), format!("Bearer realm=\"api\", DPoP realm=\"api\", {ALGS}"), "RFC 9449, figure 17");
}

#[tokio::test]
async fn a_token_that_is_not_active_is_told_before_its_proof() {
    let holder = Holder::new();
    let authority = Authority::new(inactive(InactiveReason::Revoked));
    let service = holder.layer(&authority).layer(Counting::default());
    let revoked = (401, Some(RejectionReason::Inactive(InactiveReason::Revoked)));
    for _ in 0..2 {
        assert_eq!(outcome(&service, holder.request("junk")).await, revoked);
    }
    let response = send(&service, holder.request("junk")).await;
    assert!(told(&response).starts_with("DPoP realm=\"api\", error=\"invalid_token\""), "{}", told(&response));
}

#[tokio::test]
async fn every_binding_that_a_token_states_has_to_be_known_and_met() {
    let holder = Holder::new();
    let jkt = holder.key.thumbprint();
    for (cnf, reason) in [
        (json!({"jkt": jkt, "x5t#S256": jkt}), RejectionReason::SenderConstrained),
        (json!({"jkt": jkt, "kid": "x"}), RejectionReason::SenderConstrained),
        (json!({"jkt": jkt, "jwk": {}}), RejectionReason::SenderConstrained),
        (json!({"jwk": jwk(&holder)}), RejectionReason::SenderConstrained),
        (json!({"jkt": 1}), RejectionReason::SenderConstrained),
        (json!({"jkt": format!("{jkt}=")}), RejectionReason::SenderConstrained),
        (json!({"x5t#S256": jkt}), RejectionReason::NotSenderConstrained),
        (json!({}), RejectionReason::SenderConstrained),
    ] {
        let authority = Authority::new(Ok(Verdict::Active(with_cnf(cnf.clone()))));
        let service = holder.layer(&authority).layer(Counting::default());
        for _ in 0..2 {
            assert_eq!(outcome(&service, holder.good_request()).await, (401, Some(reason)), "{cnf}");
        }
    }
}

#[tokio::test]
async fn without_dpop_the_scheme_is_another_one_and_a_bound_token_is_refused() {
    let holder = Holder::new();
    let plain = |optional| {
        let layer = IntrospectionLayer::builder(holder.cached(&holder.authority())).optional(optional);
        layer.build().unwrap().layer(Counting::default())
    };
    let missing = (401, Some(RejectionReason::MissingToken));
    assert_eq!(outcome(&plain(false), holder.good_request()).await, missing);
    assert_eq!(outcome(&plain(true), holder.good_request()).await, IN, "as one without a token");
    let bound = to("/orders", &format!("Bearer {}", holder.token), "");
    assert_eq!(outcome(&plain(false), bound).await, (401, Some(RejectionReason::SenderConstrained)));
}

#[tokio::test]
async fn a_proof_is_good_from_its_skew_before_to_its_lifetime_and_skew_after() {
    let holder = Holder::new();
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    for (issued_at, expected) in [
        (START + secs(10), IN),
        (START + secs(11), (401, Some(RejectionReason::Proof(ProofFault::NotYetValid)))),
        (START - secs(70), IN),
        (START - secs(71), (401, Some(RejectionReason::Proof(ProofFault::TooOld)))),
    ] {
        let proof = holder.proof().issued_at(issued_at).sign().unwrap();
        assert_eq!(outcome(&service, holder.request(&proof)).await, expected, "{issued_at:?}");
    }
}

#[tokio::test]
async fn forged_signatures_of_a_key_are_looked_at_so_often_in_a_second_and_those_of_other_keys_are_all() {
    let holder = Holder::new();
    let service = holder.layer(&holder.authority()).layer(Counting::default());
    let forged = || {
        let proof = holder.proof().sign().unwrap();
        let (signed, _) = proof.rsplit_once('.').unwrap();
        let other = holder.proof().sign().unwrap();
        holder.request(&format!("{signed}.{}", other.rsplit_once('.').unwrap().1))
    };
    let wrong = (401, Some(RejectionReason::Proof(ProofFault::Signature)));
    for _ in 0..100 {
        assert_eq!(outcome(&service, forged()).await, wrong);
    }
    let too_many = (503, Some(RejectionReason::TooManyProofs));
    assert_eq!(outcome(&service, forged()).await, too_many);
    let response = send(&service, holder.good_request()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(!response.headers().contains_key("www-authenticate"));
    holder.clock.advance(secs(1));
    assert_eq!(outcome(&service, holder.good_request()).await, IN);
}
