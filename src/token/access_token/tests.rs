use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[test]
fn a_token_is_dead_at_the_very_instant_it_expires() {
    let expires_at = Timestamp::from_unix_millis(1_000);
    let token = AccessToken::builder().expires_at(expires_at).build();
    assert!(!token.is_expired_at(Timestamp::from_unix_millis(999)));
    assert!(token.is_expired_at(expires_at));
    assert!(token.is_expired_at(Timestamp::from_unix_millis(i64::MAX)));
    assert!(!AccessToken::builder().build().is_expired_at(Timestamp::from_unix_millis(i64::MAX)));
}

#[test]
fn a_confirmation_makes_a_token_sender_constrained_unless_it_is_null() {
    let bound = |value: Value| AccessToken::builder().claim_value("cnf", value).build().is_sender_constrained();
    assert!(bound(serde_json::json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})));
    assert!(bound(serde_json::json!({})));
    assert!(!bound(Value::Null));
    assert!(!AccessToken::builder().build().is_sender_constrained());
}

#[test]
fn debug_names_attributes_and_claims_but_shows_no_value() {
    let token = AccessToken::builder().client_id("k3y").attribute("phone", "555").claim("secret", "hush").unwrap();
    let shown = format!("{token:?} {:?}", token.clone().build());
    assert!(shown.contains("phone") && shown.contains("secret"), "{shown}");
    assert!(!shown.contains("555") && !shown.contains("hush") && !shown.contains("k3y"), "{shown}");
}

#[test]
fn a_claim_without_a_form_in_json_is_refused_by_name() {
    let keyed_by_tuple = std::collections::HashMap::from([((1, 2), 3)]);
    let error = AccessToken::builder().claim("bad", keyed_by_tuple).unwrap_err();
    assert_eq!(error.setting(), "claim");
    assert!(error.to_string().contains("bad"), "{error}");
}

#[test]
fn a_claim_that_could_not_be_read_back_is_refused_and_one_that_can_be_is_not() {
    let nested = |levels| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let token = AccessToken::builder().claim("deep", nested(120)).unwrap().build();
    assert_eq!(token.claim("deep"), Some(nested(120)));
    let error = AccessToken::builder().claim("deep", nested(200)).unwrap_err();
    assert_eq!((error.setting(), error.to_string().contains("deep")), ("claim", true), "{error}");
}

#[test]
fn every_text_is_found_in_its_own_place_and_no_other() {
    type Get = for<'t> fn(&'t AccessToken) -> Option<&'t str>;
    type Set = fn(AccessTokenBuilder, &str) -> AccessTokenBuilder;
    let members: [(Set, Get); 8] = [
        (|facts, text| facts.client_id(text), AccessToken::client_id),
        (|facts, text| facts.app(text), AccessToken::app),
        (|facts, text| facts.app_id(text), AccessToken::app_id),
        (|facts, text| facts.grant_type(text), AccessToken::grant_type),
        (|facts, text| facts.subject(text), AccessToken::subject),
        (|facts, text| facts.username(text), AccessToken::username),
        (|facts, text| facts.issuer(text), AccessToken::issuer),
        (|facts, text| facts.token_id(text), AccessToken::token_id),
    ];
    for (place, (set, _)) in members.iter().enumerate() {
        let token = set(AccessToken::builder(), "x").build();
        let found: Vec<bool> = members.iter().map(|(_, get)| get(&token) == Some("x")).collect();
        let expected: Vec<bool> = (0..members.len()).map(|other| other == place).collect();
        assert_eq!(found, expected);
        assert!(token.api_products().is_none() && token.audience().next().is_none());
        assert!(token.attributes().next().is_none() && token.claim::<Value>("x").is_none());
    }
}

#[test]
fn no_products_is_not_the_same_as_unknown_products() {
    let none = AccessToken::builder().api_products(Vec::<String>::new()).build();
    assert_eq!(none.api_products().map(Iterator::count), Some(0));
    assert!(AccessToken::builder().build().api_products().is_none());
    let two = AccessToken::builder().api_products(["a", "b"]).attribute("n", "v").attribute("m", "w").build();
    assert_eq!(two.api_products().map(Iterator::collect), Some(vec!["a", "b"]));
    assert_eq!(two.attributes().collect::<Vec<_>>(), [("m", "w"), ("n", "v")]);
    assert_eq!((two.attribute("n"), two.attribute("v")), (Some("v"), None), "a value is no name");
}

#[test]
fn a_test_can_have_a_token_that_is_stale() {
    let token = AccessToken::builder().stale(true).client_id("app").build();
    assert!(token.is_stale() && !AccessToken::builder().build().is_stale());
}

fn full() -> AccessTokenBuilder {
    AccessToken::builder()
        .client_id("c")
        .app("a")
        .app_id("i")
        .api_products(["p"])
        .scopes(Scopes::parse("s t"))
        .attribute("tier", "gold")
        .grant_type("password")
        .issued_at(Timestamp::from_unix_millis(1_000))
        .not_before(Timestamp::from_unix_millis(-2_500))
        .expires_at(Timestamp::from_unix_millis(1_700_000_000_001))
        .subject("sub")
        .username("u")
        .audience(["aud"])
        .issuer("iss")
        .token_id("jti")
        .claim("x", [1, 2])
        .unwrap()
}

#[test]
fn a_token_serializes_as_the_claims_that_people_who_know_oauth_expect() {
    assert_eq!(
        serde_json::to_value(full().build()).unwrap(),
        serde_json::json!({
            "scope": "s t", "client_id": "c", "username": "u", "sub": "sub", "aud": "aud", "iss": "iss", "jti": "jti",
            "exp": 1_700_000_000.001, "iat": 1, "nbf": -2.5, "app": "a", "app_id": "i", "api_products": ["p"],
            "attributes": {"tier": "gold"}, "grant_type": "password", "x": [1, 2],
        })
    );
    assert_eq!(serde_json::to_value(AccessToken::builder().build()).unwrap(), serde_json::json!({}));
    let audience = AccessToken::builder().audience(["a", "b"]).api_products(Vec::<String>::new()).build();
    assert_eq!(serde_json::to_value(audience).unwrap(), serde_json::json!({"aud": ["a", "b"], "api_products": []}));
}

#[test]
fn a_claim_cannot_take_the_place_of_a_fact() {
    for name in ["active", "scope", "client_id", "username", "sub", "aud", "iss", "jti", "exp", "iat", "nbf"] {
        let error = AccessToken::builder().claim(name, 1).unwrap_err();
        assert!(error.setting() == "claim" && error.to_string().contains(name), "{error}");
    }
    let both = AccessToken::builder().app("fact").claim("app", "claim").unwrap().build();
    assert_eq!(serde_json::to_string(&both).unwrap(), r#"{"app":"fact"}"#);
}

#[test]
fn one_claim_is_read_as_it_is_among_all_of_them() {
    let token = full().build();
    let all: std::collections::BTreeMap<String, Value> = token.claims().unwrap();
    assert_eq!(all.len(), 16, "{all:?}");
    for (name, value) in &all {
        assert_eq!(token.claim::<Value>(name).as_ref(), Some(value), "{name}");
        assert_eq!(AccessToken::builder().build().claim::<Value>(name), None, "{name}");
    }
    assert_eq!((token.claim::<String>("sub").as_deref(), token.claim::<u8>("sub")), (Some("sub"), None));
    let claim = || AccessToken::builder().claim("app", "claim").unwrap();
    assert_eq!(claim().build().claim::<String>("app").as_deref(), Some("claim"));
    assert_eq!(claim().app("fact").build().claim::<String>("app").as_deref(), Some("fact"));
}

#[test]
fn what_is_told_of_a_login_is_a_claim_as_well() {
    let token = full().claim("acr", "a \"b\" \u{e4}").unwrap().claim("auth_time", 1.5).unwrap().build();
    assert_eq!(token.acr().as_deref(), Some("a \"b\" \u{e4}"));
    assert_eq!(token.auth_time(), Some(Timestamp::from_unix_millis(1_500)));
    assert_eq!(
        (token.claim::<String>("acr").as_deref(), token.claim("auth_time")),
        (token.acr().as_deref(), Some(1.5))
    );
    let back: AccessToken = serde_json::from_value(serde_json::to_value(&token).unwrap()).unwrap();
    assert_eq!((back.acr(), back.auth_time()), (token.acr(), token.auth_time()));
    for other in [full(), full().claim("acr", 1).unwrap().claim("auth_time", "1").unwrap()] {
        let other = other.build();
        assert_eq!((other.acr(), other.auth_time()), (None, None));
    }
    assert_eq!(AccessToken::builder().build().acr(), None);
}

#[test]
fn a_claim_that_could_not_be_read_back_is_refused_in_what_is_read_too() {
    let nested = |levels| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let read = |levels| serde_json::from_value::<AccessToken>(serde_json::json!({"deep": nested(levels)}));
    assert_eq!(read(120).unwrap().claim("deep"), Some(nested(120)));
    assert_eq!(read(200).unwrap_err().to_string(), "`deep` is nested too deeply");
}

fn read(text: &str) -> Result<AccessToken, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn claims_are_read_back_as_facts() {
    let text = serde_json::to_string(&full().build()).unwrap();
    let token = read(&text).unwrap();
    assert_eq!(serde_json::to_string(&token).unwrap(), text);
    assert_eq!((token.subject(), token.client_id(), token.token_id()), (Some("sub"), Some("c"), Some("jti")));
    assert_eq!(token.expires_at(), Some(Timestamp::from_unix_millis(1_700_000_000_001)));
    assert_eq!(token.not_before(), Some(Timestamp::from_unix_millis(-2_500)));
    assert!(token.scopes().contains("t") && token.attribute("tier") == Some("gold") && !token.is_stale());
    assert_eq!(token.claim("x"), Some([1, 2]));
    let token = read(r#"{"active":true,"scope":["a","b c"],"aud":[],"exp":null,"cnf":{},"api_products":"x"}"#).unwrap();
    assert_eq!((token.scopes().to_string().as_str(), token.expires_at()), ("a b c", None));
    assert!(token.is_sender_constrained() && token.api_products().is_none());
    assert_eq!(token.claim::<String>("api_products").as_deref(), Some("x"));
}

#[test]
fn claims_that_would_decide_wrongly_are_refused_and_none_is_shown() {
    for (text, told) in [
        ("[]", "an object of claims"),
        ("\"hush\"", "an object of claims"),
        (r#"{"x":1,"x":2}"#, "a member is there twice"),
        (r#"{"active":false}"#, "`active` is not `true`"),
        (r#"{"active":"true"}"#, "`active` is not `true`"),
        (r#"{"scope":1}"#, "`scope` is a number, not a string or an array of strings"),
        (r#"{"scope":["a",1]}"#, "`scope` is an array, not a string or an array of strings"),
        (r#"{"aud":{"a":"hush"}}"#, "`aud` is an object, not a string or an array of strings"),
        (r#"{"exp":"hush"}"#, "`exp` is a string, not a number of seconds"),
        (r#"{"nbf":true}"#, "`nbf` is a boolean, not a number of seconds"),
        (r#"{"iat":[]}"#, "`iat` is an array, not a number of seconds"),
        (r#"{"sub":1}"#, "`sub` is a number, not a string"),
        (r#"{"client_id":1}"#, "`client_id` is a number, not a string"),
        (r#"{"username":1}"#, "`username` is a number, not a string"),
        (r#"{"iss":1}"#, "`iss` is a number, not a string"),
        (r#"{"jti":1}"#, "`jti` is a number, not a string"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(told), "{text}: {error}");
        assert!(text == "\"hush\"" || !error.contains("hush"), "{error}");
    }
}

#[test]
fn all_claims_are_had_as_a_type_of_ones_own_and_what_does_not_fit_is_named() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Mine {
        sub: String,
        exp: f64,
        tier: Option<Tier>,
        #[serde(flatten)]
        rest: std::collections::BTreeMap<String, Value>,
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Tier {
        Gold,
    }
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[allow(dead_code)]
        sub: u8,
    }
    let token = |tier: Value| {
        let facts = AccessToken::builder().subject("ann").expires_at(Timestamp::from_unix_millis(1_500));
        facts.claim_value("tier", tier).claim_value("roles", serde_json::json!(["hush"])).build()
    };
    let mine: Mine = token("gold".into()).claims().unwrap();
    assert_eq!((mine.sub.as_str(), mine.exp, mine.tier), ("ann", 1.5, Some(Tier::Gold)));
    assert_eq!(mine.rest["roles"][0], "hush");
    assert!(token(Value::Null).claims::<Option<Value>>().unwrap().is_some());
    let told = |error: ClaimsError| format!("{error} {error:?}");
    let error = told(token("hush".into()).claims::<Strict>().unwrap_err());
    assert!(error.contains("`exp` is not expected") || error.contains("`sub` is a string"), "{error}");
    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Roles {
        roles: Vec<u8>,
    }
    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Missing {
        tenant: u8,
    }
    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Tiered {
        tier: Tier,
    }
    let roles = told(token(Value::Null).claims::<Roles>().unwrap_err());
    assert!(roles.contains("something in `roles`, which is an array, is not what is expected there"), "{roles}");
    let missing = told(token(Value::Null).claims::<Missing>().unwrap_err());
    assert!(missing.contains("`tenant` is missing"), "{missing}");
    let tier = told(token("hush".into()).claims::<Tiered>().unwrap_err());
    assert!(tier.contains("`tier` is a string, and something else is expected there"), "{tier}");
    let flattened = told(token("hush".into()).claims::<Mine>().unwrap_err());
    for shown in [roles, missing, tier, flattened, told(token("hush".into()).claims::<u8>().unwrap_err())] {
        assert!(!shown.contains("hush"), "{shown}");
    }
}

#[test]
fn scopes_and_moments_are_had_from_the_claims_as_what_they_are() {
    #[derive(Debug, serde::Deserialize, serde::Serialize)]
    struct Claims {
        scope: Scopes,
        exp: Timestamp,
        nbf: Option<Timestamp>,
    }
    let token = full().build();
    let claims: Claims = token.claims().unwrap();
    assert_eq!((&claims.scope, Some(claims.exp), claims.nbf), (token.scopes(), token.expires_at(), token.not_before()));
    let text = serde_json::to_string(&claims).unwrap();
    assert_eq!(text, r#"{"scope":"s t","exp":1700000000.001,"nbf":-2.5}"#);
    let back = read(&text).unwrap();
    assert_eq!((back.scopes(), back.expires_at()), (token.scopes(), token.expires_at()));
    assert_eq!((token.claim("scope"), token.claim("exp")), (Some(claims.scope), Some(claims.exp)));
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(".{0,12}")
}

fn moment() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::of((-(1_i64 << 45)..(1_i64 << 45)).prop_map(Timestamp::from_unix_millis))
}

proptest! {
    #[test]
    fn what_was_serialized_is_read_back_as_the_same(
        texts in prop::collection::vec(text(), 8),
        times in prop::collection::vec(moment(), 3),
        lists in prop::collection::vec(prop::collection::vec("[!#-~]{1,40}", 0..4), 2),
        attributes in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..3),
        claims in prop::collection::btree_map("[x-z]{1,3}", any::<(Option<u64>, bool, String)>(), 0..3),
    ) {
        type Set<T> = fn(AccessTokenBuilder, T) -> AccessTokenBuilder;
        let setters: [Set<String>; 8] = [
            AccessTokenBuilder::client_id, AccessTokenBuilder::app, AccessTokenBuilder::app_id,
            AccessTokenBuilder::grant_type, AccessTokenBuilder::subject, AccessTokenBuilder::username,
            AccessTokenBuilder::issuer, AccessTokenBuilder::token_id,
        ];
        let moments: [Set<Timestamp>; 3] =
            [AccessTokenBuilder::issued_at, AccessTokenBuilder::not_before, AccessTokenBuilder::expires_at];
        let mut facts = AccessToken::builder().scopes(lists[0].iter().collect()).audience(lists[1].clone());
        for (set, text) in setters.into_iter().zip(texts) {
            facts = match text { Some(text) => set(facts, text), None => facts };
        }
        for (set, moment) in moments.into_iter().zip(times) {
            facts = match moment { Some(moment) => set(facts, moment), None => facts };
        }
        for (name, value) in attributes {
            facts = facts.attribute(name, value);
        }
        for (name, value) in claims {
            facts = facts.claim(name, value).unwrap();
        }
        let token = facts.build();
        let text = serde_json::to_string(&token).unwrap();
        let back = read(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
        prop_assert_eq!((back.expires_at(), back.not_before(), back.issued_at()), (token.expires_at(), token.not_before(), token.issued_at()));
        prop_assert_eq!((back.subject(), back.scopes()), (token.subject(), token.scopes()));
        prop_assert!(back.audience().eq(token.audience()) && back.attributes().eq(token.attributes()));
    }
}
