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
fn every_member_serializes_under_the_name_of_its_accessor() {
    let token = AccessToken::builder()
        .client_id("c")
        .app("a")
        .app_id("i")
        .api_products(["p"])
        .scopes(Scopes::parse("s t"))
        .attribute("tier", "gold")
        .grant_type("password")
        .issued_at(Timestamp::from_unix_millis(1))
        .not_before(Timestamp::from_unix_millis(2))
        .expires_at(Timestamp::from_unix_millis(3))
        .subject("sub")
        .username("u")
        .audience(["aud"])
        .issuer("iss")
        .token_id("jti")
        .claim("x", [1, 2])
        .unwrap()
        .build();
    assert_eq!(
        serde_json::to_value(&token).unwrap(),
        serde_json::json!({
            "client_id": "c", "app": "a", "app_id": "i", "api_products": ["p"], "scopes": ["s", "t"],
            "attributes": {"tier": "gold"}, "grant_type": "password", "issued_at": 1, "not_before": 2,
            "expires_at": 3, "subject": "sub", "username": "u", "audience": ["aud"], "issuer": "iss",
            "token_id": "jti", "claims": {"x": [1, 2]},
        })
    );
    let nothing = serde_json::to_value(AccessToken::builder().build()).unwrap();
    assert_eq!(nothing["expires_at"], Value::Null);
    assert_eq!(nothing["api_products"], Value::Null);
    assert_eq!(nothing["scopes"], serde_json::json!([]));
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
