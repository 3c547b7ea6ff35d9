//! What is required of claims and header, each rule broken alone, and what is made of them.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tower_introspection::jwt::{AccessTokenClaim, Algorithm, KeySet};
use tower_introspection::sandbox::Sandbox;
use tower_introspection::{InactiveReason, Jwt};

use super::{AUDIENCE, Refused, UNVERIFIED, ask, claims, judge, sign, token, with};
use crate::support::secs;

#[tokio::test]
async fn a_token_of_the_issuer_is_let_in_with_its_facts() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    let access = ask(&jwt, &sign(&sandbox, "at+jwt", &claims(&sandbox))).await.unwrap();
    assert_eq!(access.subject(), Some("ann"));
    assert_eq!(access.client_id(), Some("app"));
    assert_eq!(access.issuer(), Some(&*sandbox.issuer()));
    assert_eq!(access.audience().collect::<Vec<_>>(), [AUDIENCE]);
    assert_eq!(access.scopes().to_string(), "read write");
    assert_eq!(access.token_id(), Some("1"));
    assert!(access.expires_at().is_some() && access.issued_at().is_some());
    let issued = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&jwt, &issued).await.is_ok());
    assert_eq!(sandbox.total_calls(), 0, "nobody is asked about tokens");
    assert_eq!(sandbox.jwks_calls(), 1);
}

#[tokio::test]
async fn each_rule_refuses_alone() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    let now = claims(&sandbox)["iat"].as_i64().unwrap();
    let (expired, early) = (Refused::Inactive(InactiveReason::Expired), Refused::Inactive(InactiveReason::NotYetValid));
    let slash = json!(format!("{}/", sandbox.issuer()));
    for (name, value, refused) in [
        ("iss", Value::Null, UNVERIFIED),
        ("iss", slash, UNVERIFIED),
        ("iss", json!("https://somebody.example"), UNVERIFIED),
        ("iss", json!([sandbox.issuer()]), UNVERIFIED),
        ("aud", Value::Null, UNVERIFIED),
        ("aud", json!("https://other.example"), UNVERIFIED),
        ("aud", json!([]), UNVERIFIED),
        ("aud", json!({ "a": AUDIENCE }), UNVERIFIED),
        ("aud", json!(format!("{AUDIENCE}/")), UNVERIFIED),
        ("exp", Value::Null, UNVERIFIED),
        ("exp", json!((now + 600).to_string()), UNVERIFIED),
        ("exp", json!(now - 1), expired),
        ("exp", json!(0), expired),
        ("exp", json!(-1), expired),
        ("nbf", json!(now + 60), early),
        ("nbf", json!("now"), UNVERIFIED),
        ("iat", json!(now + 60), early),
        ("iat", json!("now"), UNVERIFIED),
    ] {
        let text = sign(&sandbox, "at+jwt", &with(&sandbox, name, value.clone()));
        assert_eq!(ask(&jwt, &text).await.unwrap_err(), refused, "{name}: {value}");
    }
    for (name, value) in [
        ("aud", json!(["https://other.example", AUDIENCE])),
        ("nbf", json!(now)),
        ("nbf", json!(now + 3)),
        ("iat", json!(now + 3)),
        ("iat", Value::Null),
        ("sub", Value::Null),
        ("crit", json!(["x"])),
    ] {
        let text = sign(&sandbox, "at+jwt", &with(&sandbox, name, value.clone()));
        assert!(ask(&jwt, &text).await.is_ok(), "{name}: {value}");
    }
}

#[tokio::test]
async fn each_rule_about_the_header_refuses_alone() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    let claims = claims(&sandbox);
    let signed = |header: Value| sandbox.sign(header, &claims).unwrap();
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        assert!(ask(&jwt, &signed(json!({ "typ": typ }))).await.is_ok(), "{typ}");
    }
    for header in [
        json!({}),
        json!({ "typ": "JWT" }),
        json!({ "typ": "jwt+at" }),
        json!({ "typ": "text/at+jwt" }),
        json!({ "typ": ["at+jwt"] }),
        json!({ "typ": "at+jwt", "crit": ["exp"] }),
        json!({ "typ": "at+jwt", "crit": [] }),
        json!({ "typ": "at+jwt", "b64": false }),
        json!({ "typ": "at+jwt", "alg": "none" }),
        json!({ "typ": "at+jwt", "alg": "HS256" }),
        json!({ "typ": "at+jwt", "alg": "ES384" }),
        json!({ "typ": "at+jwt", "kid": 1 }),
    ] {
        assert_eq!(ask(&jwt, &signed(header.clone())).await.unwrap_err(), UNVERIFIED, "{header}");
    }
    let rsa = signed(json!({ "typ": "at+jwt", "alg": "RS256" }));
    // The sandbox has that key from now on.
    let jwt = judge(&sandbox).build().unwrap();
    assert!(ask(&jwt, &rsa).await.is_ok());
    let jwt = judge(&sandbox).algorithms([Algorithm::Es256]).build().unwrap();
    assert_eq!(ask(&jwt, &rsa).await.unwrap_err(), UNVERIFIED, "not one of the `algorithms`");
}

#[tokio::test]
async fn a_server_that_sends_jwt_has_to_be_allowed_and_its_access_tokens_told_apart() {
    let sandbox = Sandbox::start().await.unwrap();
    let relaxed = |claim: AccessTokenClaim| judge(&sandbox).dangerously_allow_type_jwt(claim);
    let keycloak = relaxed(AccessTokenClaim::is("typ", "Bearer")).build().unwrap();
    let entra = relaxed(AccessTokenClaim::present("scp"))
        .dangerously_allow_type_jwt(AccessTokenClaim::present("roles"))
        .build()
        .unwrap();
    let signed = |typ: Option<&str>, name: &str, value: Value| {
        let header = typ.map_or_else(|| json!({}), |typ| json!({ "typ": typ }));
        sandbox.sign(header, with(&sandbox, name, value)).unwrap()
    };
    for typ in [Some("JWT"), Some("jwt"), Some("application/jwt"), None] {
        assert!(ask(&keycloak, &signed(typ, "typ", json!("Bearer"))).await.is_ok(), "{typ:?}");
        assert!(ask(&entra, &signed(typ, "roles", json!(["a"]))).await.is_ok(), "{typ:?}");
        for (name, value) in
            [("typ", json!("ID")), ("typ", json!("bearer")), ("typ", json!(["Bearer"])), ("x", json!(1))]
        {
            let text = signed(typ, name, value.clone());
            assert_eq!(ask(&keycloak, &text).await.unwrap_err(), UNVERIFIED, "{typ:?} {name} {value}");
        }
        assert_eq!(ask(&entra, &signed(typ, "x", json!(1))).await.unwrap_err(), UNVERIFIED);
        assert_eq!(ask(&entra, &signed(typ, "scp", Value::Null)).await.unwrap_err(), UNVERIFIED);
    }
    // Whoever says what it is needs no claim, and what says that it is something else gets nowhere with one.
    assert!(ask(&keycloak, &signed(Some("at+jwt"), "x", json!(1))).await.is_ok());
    assert_eq!(ask(&keycloak, &signed(Some("logout+jwt"), "typ", json!("Bearer"))).await.unwrap_err(), UNVERIFIED);
}

#[tokio::test]
async fn what_servers_call_differently_fills_the_same_facts() {
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    let fact_of = async |changes: &[(&str, Value)]| {
        let mut all = claims(&sandbox);
        for name in ["scope", "client_id"] {
            all.as_object_mut().unwrap().remove(name);
        }
        changes.iter().for_each(|(name, value)| all[*name] = value.clone());
        let access = ask(&jwt, &sign(&sandbox, "at+jwt", &all)).await.unwrap();
        (access.client_id().map(str::to_owned), access.scopes().to_string())
    };
    let facts = |client: Option<&str>, scopes: &str| (client.map(str::to_owned), scopes.to_owned());
    // Okta; Entra ID; Keycloak and Auth0; Entra ID of old; what the standard says first.
    assert_eq!(fact_of(&[("cid", json!("a")), ("scp", json!(["x", "y"]))]).await, facts(Some("a"), "x y"));
    assert_eq!(fact_of(&[("azp", json!("a")), ("scp", json!("x y"))]).await, facts(Some("a"), "x y"));
    assert_eq!(fact_of(&[("azp", json!("a")), ("scope", json!("x"))]).await, facts(Some("a"), "x"));
    assert_eq!(fact_of(&[("appid", json!("a"))]).await, facts(Some("a"), ""));
    let both = [("client_id", json!("a")), ("azp", json!("b")), ("scope", json!("x")), ("scp", json!("y"))];
    assert_eq!(fact_of(&both).await, facts(Some("a"), "x"));
    // What is no scope by its name is none.
    let roles = [("roles", json!(["admin"])), ("permissions", json!(["write"]))];
    assert_eq!(fact_of(&roles).await, facts(None, ""));
    let mut all = claims(&sandbox);
    all["roles"] = json!(["admin"]);
    let access = ask(&jwt, &sign(&sandbox, "at+jwt", &all)).await.unwrap();
    assert_eq!(access.claim::<Vec<String>>("roles"), Some(vec!["admin".to_owned()]));
}

#[tokio::test]
async fn what_cannot_work_is_named() {
    let errors = [
        (Jwt::discover("https://a.example").build(), "audience"),
        (Jwt::discover("https://a.example").audience("").build(), "audience"),
        (Jwt::builder("https://a.example").audience("x").build(), "keys"),
        (Jwt::discover("").audience("x").build(), "issuer"),
        (Jwt::discover("http://a.example").audience("x").build(), "issuer"),
        (Jwt::discover("a.example").audience("x").build(), "issuer"),
        (Jwt::builder("https://a.example").jwks_url("nowhere").audience("x").build(), "jwks_url"),
        (Jwt::builder("https://a.example").jwks_url("http://a.example").audience("x").build(), "jwks_url"),
        (Jwt::builder("a").jwks_url("http://127.0.0.1/").audience("x").algorithms([]).build(), "algorithms"),
        (Jwt::builder("a").jwks_url("http://127.0.0.1/").audience("x").clock_skew(secs(301)).build(), "clock_skew"),
        (
            Jwt::builder("a").jwks_url("http://127.0.0.1/").audience("x").refresh_keys_every(secs(0)).build(),
            "refresh_keys_every",
        ),
    ];
    for (n, (built, setting)) in errors.into_iter().enumerate() {
        assert_eq!(built.unwrap_err().setting(), setting, "{n}");
    }
}

#[tokio::test]
async fn keys_at_hand_need_nobody() {
    let sandbox = Sandbox::start().await.unwrap();
    let text = sandbox.issue_jwt(token()).unwrap();
    let keys = KeySet::from_json(sandbox.jwks()).unwrap();
    let jwt = Jwt::builder(sandbox.issuer()).keys(keys).audience(AUDIENCE).build().unwrap();
    assert!(ask(&jwt, &text).await.is_ok());
    sandbox.rotate_key().unwrap();
    assert_eq!(ask(&jwt, &sandbox.issue_jwt(token()).unwrap()).await.unwrap_err(), UNVERIFIED);
    assert_eq!(sandbox.jwks_calls(), 0);
}

/// Of a valid token, each position with some other byte.
#[tokio::test]
async fn no_change_of_one_byte_is_let_in() {
    const BYTES: &[u8] = b"AZaz09-_.=+/ ";
    let sandbox = Sandbox::start().await.unwrap();
    let jwt = judge(&sandbox).build().unwrap();
    let text = sandbox.issue_jwt(token()).unwrap();
    assert!(ask(&jwt, &text).await.is_ok());
    let let_in = Arc::new(Mutex::new(Vec::new()));
    for position in 0..text.len() {
        for byte in BYTES {
            let mut changed = text.clone().into_bytes();
            if std::mem::replace(&mut changed[position], *byte) == *byte {
                continue;
            }
            let changed = String::from_utf8(changed).unwrap();
            if tower_introspection::BearerToken::parse(&changed).is_ok() && ask(&jwt, &changed).await.is_ok() {
                let_in.lock().unwrap().push(position);
            }
        }
    }
    assert!(let_in.lock().unwrap().is_empty());
}
