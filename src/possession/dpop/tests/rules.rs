//! Each rule broken alone, and each before those that come after it.

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::jose::{Fault, decoded, sha256};
use crate::possession::dpop::nonce::{Age, NonceSecret};
use crate::possession::dpop::proof::Nonces;
use crate::sandbox::{ProofBuilder, ProofKey};

const TOKEN: &str = "a-token";
const URI: &str = "https://api.example.com/orders";
const NOW: i64 = 1_790_000_000;

/// A client, its key, and what is expected of its proofs.
struct Client {
    key: ProofKey,
    thumbprint: [u8; 32],
    nonces: Nonces,
}

impl Client {
    fn new() -> Self {
        let key = ProofKey::generate().unwrap();
        let thumbprint = decoded(&key.thumbprint()).unwrap().try_into().unwrap();
        let nonces = Nonces { secret: NonceSecret::random().unwrap(), second: None, are_required: true };
        Self { key, thumbprint, nonces }
    }

    fn expected(&self) -> Expected<'_> {
        Expected { nonces: Some(&self.nonces), ..expected(TOKEN, &self.thumbprint, URI, NOW) }
    }

    fn nonce_at(&self, seconds: i64) -> String {
        let nonce = self.nonces.secret.nonce_at(Timestamp::from_unix_seconds(seconds)).unwrap();
        nonce.to_str().unwrap().to_owned()
    }

    /// A proof that is good, with a nonce.
    fn proof(&self) -> ProofBuilder<'_> {
        let made_at = Timestamp::from_unix_seconds(NOW);
        self.key.proof(Method::GET, URI).token(TOKEN).issued_at(made_at).nonce(self.nonce_at(NOW))
    }

    /// What is wrong with the good one once this claim is another one; `null` leaves it out.
    fn wrong_with(&self, name: &str, value: &Value) -> Option<(ProofFault, Details)> {
        wrong(&self.proof().claim(name, value).unwrap().sign().unwrap(), &self.expected())
    }
}

fn because(fault: ProofFault, why: &'static str) -> Option<(ProofFault, Details)> {
    Some((fault, Details::Because(why)))
}

type Change = for<'k> fn(ProofBuilder<'k>) -> ProofBuilder<'k>;

/// Every rule in the order in which they are judged, something that breaks it, and what is said then.
fn rules() -> Vec<(Change, ProofFault, Details)> {
    let because = |fault: Fault| Details::Because(fault.as_str());
    vec![
        (|proof| proof.header("alg", "HS256").unwrap(), ProofFault::Malformed, because(Fault::Algorithm)),
        (|proof| proof.header("typ", "JWT").unwrap(), ProofFault::Type, Details::None),
        (|proof| proof.header("jwk", json!({"kty": "oct"})).unwrap(), ProofFault::Key, because(Fault::KeyType)),
        (
            |proof| proof.header("jwk", ProofKey::generate().unwrap().jwk()).unwrap(),
            ProofFault::OtherKey,
            Details::None,
        ),
        (
            |proof| proof.token("another-token"),
            ProofFault::TokenHash,
            Details::Because("it is the hash of something else"),
        ),
        (|proof| proof.claim("htm", "POST").unwrap(), ProofFault::Method, Details::None),
        (
            |proof| proof.claim("htu", "https://api.example.com/others").unwrap(),
            ProofFault::Uri,
            Details::Because("its path is another one"),
        ),
        (|proof| proof.claim("iat", NOW - 100).unwrap(), ProofFault::TooOld, Details::Away(Duration::from_secs(100))),
        (|proof| proof.claim("nonce", ()).unwrap(), ProofFault::Nonce, Details::Because("it is missing")),
        (
            |proof| proof.claim("jti", ()).unwrap(),
            ProofFault::Malformed,
            Details::Because("its `jti` is missing, or no text"),
        ),
    ]
}

fn with_another_signature(proof: &str) -> String {
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{first}{}", &signature[1..])
}

#[test]
fn what_is_broken_first_in_the_order_of_the_rules_is_told_whatever_else_is_broken() {
    let client = Client::new();
    let expected = client.expected();
    assert_eq!(wrong(&client.proof().sign().unwrap(), &expected), None);
    let rules = rules();
    for (first, (break_it, fault, details)) in rules.iter().enumerate() {
        let told = Some((*fault, *details));
        assert_eq!(wrong(&break_it(client.proof()).sign().unwrap(), &expected), told, "alone");
        for (break_another, ..) in &rules[first + 1..] {
            // Two may break the same member: then the one that comes first has the last word.
            let proof = break_it(break_another(client.proof())).sign().unwrap();
            assert_eq!(wrong(&proof, &expected), told);
            assert_eq!(wrong(&with_another_signature(&proof), &expected), told);
        }
    }
    let forged = with_another_signature(&client.proof().sign().unwrap());
    assert_eq!(wrong(&forged, &expected), because(ProofFault::Signature, Fault::Signature.as_str()));
}

#[test]
fn what_is_no_jwt_with_a_public_key_is_malformed_or_has_no_key() {
    let client = Client::new();
    let expected = client.expected();
    let good = client.proof().sign().unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("{good}") };
    for (text, why) in [
        (String::new(), Fault::NotThreeParts),
        (format!("{header}.{payload}"), Fault::NotThreeParts),
        (format!("{good}."), Fault::NotThreeParts),
        (format!("{good}.a.b"), Fault::Encrypted),
        (format!("{good}="), Fault::Base64),
        (format!("{good} "), Fault::Base64),
        (format!("e30.{payload}.{signature}"), Fault::Algorithm),
        (format!("W10.{payload}.{signature}"), Fault::Header),
        (format!("{header}.W10.{signature}"), Fault::Payload),
        (format!("{good}{}", "A".repeat(8_192)), Fault::TooLong),
    ] {
        assert_eq!(wrong(&text, &expected), because(ProofFault::Malformed, why.as_str()), "{text}");
    }

    let with =
        |name: &str, value: Value| wrong(&client.proof().header(name, value).unwrap().sign().unwrap(), &expected);
    for alg in ["none", "None", "HS256", "RS512", "ES512", "es256", ""] {
        assert_eq!(with("alg", json!(alg)), because(ProofFault::Malformed, Fault::Algorithm.as_str()), "{alg}");
    }
    assert_eq!(with("crit", json!(["b64"])), because(ProofFault::Malformed, Fault::Critical.as_str()));
    for typ in [json!("JWT"), json!("at+jwt"), json!("dpop"), json!("dpop+jwt "), Value::Null] {
        assert_eq!(with("typ", typ), Some((ProofFault::Type, Details::None)));
    }
    for typ in ["DPoP+JWT", "application/dpop+jwt"] {
        assert_eq!(with("typ", json!(typ)), None);
    }

    let mut private = client.key.jwk();
    private["d"] = private["x"].clone();
    let mut without_y = client.key.jwk();
    without_y.as_object_mut().unwrap().remove("y");
    let mut for_encryption = client.key.jwk();
    for_encryption["use"] = json!("enc");
    for (jwk, why) in [
        (Value::Null, Fault::KeyNotAnObject),
        (json!("a key"), Fault::KeyNotAnObject),
        (json!({}), Fault::KeyType),
        (json!({"kty": "oct", "k": "AAAA"}), Fault::KeyType),
        (private, Fault::PrivateKey),
        (without_y, Fault::KeyValue),
        (for_encryption, Fault::KeyUse),
    ] {
        assert_eq!(with("jwk", jwk), because(ProofFault::Key, why.as_str()));
    }
}

#[test]
fn a_claim_that_is_missing_of_another_type_or_there_twice_is_never_passed_over() {
    let client = Client::new();
    for (name, why) in [
        ("jti", "its `jti` is missing, or no text"),
        ("htm", "its `htm` is missing, or no text"),
        ("htu", "its `htu` is missing, or no text"),
        ("iat", "its `iat` is missing, or no time"),
    ] {
        for value in [Value::Null, json!(true), json!([URI]), json!({})] {
            assert_eq!(client.wrong_with(name, &value), because(ProofFault::Malformed, why), "{name} {value}");
        }
    }
    for iat in [json!("1790000000"), json!(-1e300)] {
        assert!(client.wrong_with("iat", &iat).is_some(), "{iat}");
    }
    let bound = "its `jti` is empty, or longer than 1,024 bytes";
    for jti in [String::new(), "a".repeat(1_025)] {
        assert_eq!(client.wrong_with("jti", &json!(jti)), because(ProofFault::Malformed, bound));
    }
    assert_eq!(client.wrong_with("jti", &json!("a".repeat(1_024))), None);

    // What one reader takes first, another takes last.
    let twice = format!(r#"{{"htm":"POST","htm":"GET","htu":"{URI}","iat":{NOW},"jti":"1"}}"#);
    let good = client.proof().sign().unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let text = format!("{}.{}.{}", parts[0], crate::jose::encoded(twice.as_bytes()), parts[2]);
    assert_eq!(wrong(&text, &client.expected()), because(ProofFault::Malformed, "its claims cannot be read"));
}

#[test]
fn the_hash_of_the_token_is_required_and_compared_whole() {
    let client = Client::new();
    let hash = sha256(TOKEN.as_bytes());
    let text = crate::jose::encoded(&hash);
    let no_hash = "it is not the base64url of 32 bytes";
    for (stated, why) in [
        (Value::Null, "it is missing"),
        (json!(crate::jose::encoded(&sha256(b"another-token"))), "it is the hash of something else"),
        (json!(format!("{text}=")), no_hash),
        (json!(crate::jose::encoded(&hash[..31])), no_hash),
        (json!(""), no_hash),
        (json!([text]), no_hash),
        (json!(TOKEN), no_hash),
    ] {
        assert_eq!(client.wrong_with("ath", &stated), because(ProofFault::TokenHash, why), "{stated}");
    }
    assert_eq!(client.wrong_with("ath", &json!(text)), None);
}

#[test]
fn a_method_is_compared_with_case_and_a_uri_by_what_it_names() {
    let client = Client::new();
    for method in ["get", "GET ", "", "POST"] {
        assert_eq!(client.wrong_with("htm", &json!(method)), Some((ProofFault::Method, Details::None)), "{method}");
    }
    for (uri, why) in [
        ("http://api.example.com/orders", "its scheme is another one"),
        ("https://example.com/orders", "its host is another one"),
        ("https://api.example.com:8443/orders", "its port is another one"),
        ("https://api.example.com/orders/", "its path is another one"),
        ("/orders", "it is no absolute URI of HTTP"),
        ("", "it is no absolute URI of HTTP"),
    ] {
        assert_eq!(client.wrong_with("htu", &json!(uri)), because(ProofFault::Uri, why), "{uri}");
    }
    for same in ["HTTPS://API.example.com:443/%6Frders", "https://api.example.com/orders?page=2#top"] {
        assert_eq!(client.wrong_with("htu", &json!(same)), None, "{same}");
    }
    let no_path = Expected { path: "*", ..client.expected() };
    let told = wrong(&client.proof().sign().unwrap(), &no_path);
    assert_eq!(told, because(ProofFault::Uri, "the target of the request is no path"));
}

#[test]
fn a_proof_lives_from_its_time_on_and_the_skew_is_for_both_sides() {
    let client = Client::new();
    let away = |fault, seconds| Some((fault, Details::Away(Duration::from_secs_f64(seconds))));
    for (iat, told) in [
        (json!(NOW), None),
        (json!(NOW + 10), None),
        // As `NumericDate` allows.
        (json!(NOW as f64 + 9.5), None),
        (json!(NOW as f64 + 10.5), away(ProofFault::NotYetValid, 10.5)),
        (json!(NOW + 11), away(ProofFault::NotYetValid, 11.0)),
        (json!(NOW + 1_000_000), away(ProofFault::NotYetValid, 1_000_000.0)),
        (json!(NOW - 70), None),
        (json!(NOW - 71), away(ProofFault::TooOld, 71.0)),
        (json!(0), away(ProofFault::TooOld, NOW as f64)),
    ] {
        assert_eq!(client.wrong_with("iat", &iat), told, "{iat}");
    }
}

#[test]
fn while_the_secret_changes_the_nonces_of_both_are_good() {
    let (client, other) = (Client::new(), NonceSecret::random().unwrap());
    let others = other.nonce_at(Timestamp::from_unix_seconds(NOW)).unwrap().to_str().unwrap().to_owned();
    let proof = client.proof().nonce(others).sign().unwrap();
    assert!(verified(&proof, &client.expected()).is_err());
    let nonces = Nonces { secret: client.nonces.secret.clone(), second: Some(other), are_required: true };
    let expected = Expected { nonces: Some(&nonces), ..client.expected() };
    assert_eq!(verified(&proof, &expected).unwrap().nonce, Some(Age::Current));
    assert!(verified(&client.proof().sign().unwrap(), &expected).is_ok());
}

#[test]
fn a_nonce_is_judged_where_there_are_some_and_required_where_that_is_said() {
    let client = Client::new();
    let others = NonceSecret::random().unwrap().nonce_at(Timestamp::from_unix_seconds(NOW)).unwrap();
    let offered = Nonces { secret: client.nonces.secret.clone(), second: None, are_required: false };
    let nonces = [None, Some(&offered), Some(&client.nonces)];
    let (missing, not_good) = ("it is missing", "it is none of this service's that is good now");
    for (nonce, [none, offered, required]) in [
        (json!(client.nonce_at(NOW)), [Ok(None), Ok(Some(Age::Current)), Ok(Some(Age::Current))]),
        (json!(client.nonce_at(NOW - 60)), [Ok(None), Ok(Some(Age::Previous)), Ok(Some(Age::Previous))]),
        (json!(client.nonce_at(NOW - 120)), [Ok(None), Err(not_good), Err(not_good)]),
        (json!(client.nonce_at(NOW + 120)), [Ok(None), Err(not_good), Err(not_good)]),
        (json!(others.to_str().unwrap()), [Ok(None), Err(not_good), Err(not_good)]),
        (json!(""), [Ok(None), Err(not_good), Err(not_good)]),
        (json!(7), [Ok(None), Err(not_good), Err(not_good)]),
        (Value::Null, [Ok(None), Ok(None), Err(missing)]),
    ] {
        let proof = client.proof().claim("nonce", &nonce).unwrap().sign().unwrap();
        for (nonces, told) in nonces.into_iter().zip([none, offered, required]) {
            let judged = verified(&proof, &Expected { nonces, ..client.expected() });
            let told = told.map_err(|why| Wrong::because(ProofFault::Nonce, why));
            assert_eq!(judged.map(|verified| verified.nonce), told, "{nonce}");
        }
    }
}

#[test]
fn after_so_many_wrong_signatures_none_of_that_key_is_looked_at_and_good_ones_do_not_count() {
    let (client, other) = (Client::new(), Client::new());
    let forgeries = Forgeries::new();
    let outcome = |client: &Client, proof: &str| {
        let expected = client.expected();
        match judge(proof, &expected).unwrap().verify(expected.thumbprint, &forgeries, expected.now) {
            Ok(_) => "good",
            Err(NotVerified::Wrong(_)) => "wrong",
            Err(NotVerified::TooMany) => "too many",
        }
    };
    let good = client.proof().sign().unwrap();
    let forged = with_another_signature(&good);
    for _ in 0..100 {
        assert_eq!(outcome(&client, &good), "good");
        assert_eq!(outcome(&client, &forged), "wrong");
    }
    assert_eq!(outcome(&client, &forged), "too many");
    assert_eq!(outcome(&client, &good), "too many");
    // It shares both places of the first one hardly ever: one in 260,000 does.
    if !forgeries.are_too_many(&other.thumbprint, other.expected().now) {
        assert_eq!(outcome(&other, &other.proof().sign().unwrap()), "good");
    }
}
