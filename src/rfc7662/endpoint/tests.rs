// Answers are written where they are judged.
#![allow(clippy::needless_pass_by_value)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::wire::{Reading, read};
use super::*;
use crate::clock::Timestamp;
use crate::error::IntrospectErrorKind;
use crate::introspect::{InactiveReason, Unclear};
use crate::token::AccessToken;

const NOW: Timestamp = Timestamp::from_unix_millis(1_419_350_000_000);

fn judge(answer: &Value) -> Result<Verdict, IntrospectError> {
    let token = BearerToken::parse("2YotnFZFEjr1zCsicMWpAA").unwrap();
    read(answer.to_string().as_bytes(), &token, NOW, Reading::default(), &Unclear::at(""))
}

fn active(answer: Value) -> AccessToken {
    match judge(&answer) {
        Ok(Verdict::Active(token)) => token,
        other => panic!("{answer}: {other:?}"),
    }
}

fn reason(answer: Value) -> InactiveReason {
    match judge(&answer) {
        Ok(Verdict::Inactive(reason)) => reason,
        other => panic!("{answer}: {other:?}"),
    }
}

/// An active answer with this member.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut answer = json!({"active": true});
    answer[name] = value.into();
    answer
}

#[test]
fn the_answers_of_rfc_7662_section_2_2_are_read_as_they_are_meant() {
    let token = active(json!({
        "active": true, "client_id": "l238j323ds-23ij4", "username": "jdoe", "scope": "read write dolphin",
        "sub": "Z5O3upPC88QrAjx00dis", "aud": "https://protected.example.net/resource",
        "iss": "https://server.example.com/", "exp": 1_419_356_238, "iat": 1_419_350_238, "extension_field": "twenty-seven"
    }));
    assert_eq!(token.client_id(), Some("l238j323ds-23ij4"));
    assert_eq!(token.username(), Some("jdoe"));
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["read", "write", "dolphin"]);
    assert_eq!(token.subject(), Some("Z5O3upPC88QrAjx00dis"));
    assert_eq!(token.audience().collect::<Vec<_>>(), ["https://protected.example.net/resource"]);
    assert_eq!(token.issuer(), Some("https://server.example.com/"));
    assert_eq!(token.expires_at(), Some(Timestamp::from_unix_millis(1_419_356_238_000)));
    assert_eq!(token.issued_at(), Some(Timestamp::from_unix_millis(1_419_350_238_000)));
    assert_eq!(token.claim::<String>("extension_field").as_deref(), Some("twenty-seven"));
    assert_eq!(reason(json!({"active": false})), InactiveReason::Unknown);
}

#[test]
fn active_is_a_boolean_or_the_answer_is_a_failure() {
    for bad in [json!("true"), json!(1), json!(null), json!([true]), json!({"active": true}), json!("false"), json!(0)]
    {
        let error = judge(&json!({"active": bad})).unwrap_err();
        assert_eq!(error.kind(), IntrospectErrorKind::Answer, "{bad}");
    }
    for body in [
        "",
        "{}",
        "[]",
        "true",
        "[{\"active\":true}]",
        "<html>",
        "{\"active\":true",
        "{\"Active\":true}",
        "{\"active\":false,\"active\":true}",
    ] {
        let token = BearerToken::parse("abc").unwrap();
        assert_eq!(
            read(body.as_bytes(), &token, NOW, Reading::default(), &Unclear::at("")).unwrap_err().kind(),
            IntrospectErrorKind::Answer,
            "{body}"
        );
    }
}

fn judged(body: &[u8]) -> Result<Verdict, IntrospectError> {
    read(body, &BearerToken::parse("2YotnFZFEjr1zCsicMWpAA").unwrap(), NOW, Reading::default(), &Unclear::at(""))
}

#[test]
fn what_was_damaged_locks_nobody_out_unless_it_decides() {
    for member in [r#""name":"Jo \ud83d""#, r#""username":"\ud83d""#, r#""iat":1e400"#, r#""x":{"y":["\udfff",1e400]}"#]
    {
        let body = format!(r#"{{"active":true,{member},"blocked":true}}"#);
        let Ok(Verdict::Active(token)) = judged(body.as_bytes()) else { panic!("{member}") };
        assert_eq!(token.claim("blocked"), Some(true), "{member}");
    }
    let Ok(Verdict::Active(token)) = judged(b"\xef\xbb\xbf{\"active\":true,\"name\":\"a\\ud83d\"}") else { panic!() };
    assert_eq!(token.claim::<String>("name").as_deref(), Some("a\u{fffd}"));
    for member in [
        r#""exp":1e400"#,
        r#""nbf":-1e400"#,
        r#""scope":"a \ud83d""#,
        r#""aud":["\ud83d"]"#,
        r#""iss":"\ud83d""#,
        r#""sub":"a\ud83d""#,
        r#""client_id":"\ud83d""#,
        r#""jti":"\ud83d""#,
        r#""cnf":{"jkt":"\ud83d"}"#,
        r#""token_type":"\ud83d""#,
        r#""token_use":"\ud83d""#,
        r#""token_usage":"\ud83d""#,
        r#""typ":"\ud83d""#,
    ] {
        let error = judged(format!(r#"{{"active":true,{member}}}"#).as_bytes()).unwrap_err();
        assert!(
            error.kind() == IntrospectErrorKind::Answer && format!("{error:?}").contains("which decides"),
            "{error:?}"
        );
    }
}

#[test]
fn a_member_that_is_there_twice_is_refused_at_any_depth() {
    for body in [
        r#"{"active":true,"sub":"a","sub":"a"}"#,
        r#"{"active":true,"realm_access":{"roles":["user"],"roles":["admin"]}}"#,
        r#"{"active":true,"a":[{"b":{"c":1,"\u0063":1}}]}"#,
    ] {
        let error = judged(body.as_bytes()).unwrap_err();
        assert!(format!("{error:?}").contains("holds a member twice"), "{error:?}");
    }
}

#[test]
fn times_may_have_fractions_and_saturate_and_the_bounds_are_exclusive() {
    let millis = |answer| active(answer).expires_at().map(Timestamp::as_unix_millis);
    assert_eq!(millis(with("exp", 1_419_350_000.001)), Some(1_419_350_000_001));
    assert_eq!(millis(with("exp", 1_419_350_001.999_9)), Some(1_419_350_001_999), "rounded down");
    assert_eq!(millis(with("exp", 1e300)), Some(i64::MAX));
    assert_eq!(millis(with("exp", u64::MAX)), Some(i64::MAX));
    assert_eq!(millis(with("exp", i64::MAX)), Some(i64::MAX));
    assert_eq!(millis(json!({"active": true})), None);
    assert_eq!(millis(with("exp", Value::Null)), None);
    assert_eq!(reason(with("exp", 1_419_350_000)), InactiveReason::Expired);
    assert_eq!(reason(with("exp", 1)), InactiveReason::Expired);
    for bad in [
        json!(0),
        json!(-1),
        json!(-1e300),
        json!(0.000_1),
        json!("1419356238"),
        json!("never"),
        json!([]),
        json!(true),
    ] {
        assert_eq!(reason(with("exp", bad.clone())), InactiveReason::Unclear, "{bad}");
    }
    active(with("nbf", 1_419_350_000));
    assert_eq!(reason(with("nbf", 1_419_350_000.000_1)), InactiveReason::NotYetValid, "rounded up");
    assert_eq!(reason(with("nbf", 1e300)), InactiveReason::NotYetValid);
    assert_eq!(reason(with("nbf", "soon")), InactiveReason::Unclear);
    assert_eq!(active(with("iat", "long ago")).issued_at(), None);
    assert_eq!(active(with("iat", 1.25)).issued_at(), Some(Timestamp::from_unix_millis(1_250)));
}

#[test]
fn an_audience_is_a_string_or_an_array_and_a_scope_holds_commas() {
    let audience = |aud: Value| active(with("aud", aud)).audience().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(audience(json!("a b")), ["a b"]);
    assert_eq!(audience(json!(["a", 1, null, "b"])), ["a", "b"]);
    for none in [json!(null), json!(1), json!({"a": "b"}), json!([])] {
        assert!(audience(none).is_empty());
    }
    let scopes = |scope: Value| active(with("scope", scope)).scopes().to_string();
    assert_eq!(scopes(json!(" a  b,c ")), "a b,c");
    assert_eq!(scopes(json!(["a", "b"])), "a b");
    assert_eq!(scopes(json!(1)), "");
    for sly in [json!("read,admin"), json!("read\u{a0}admin"), json!(["read\tadmin"]), json!("read\nadmin")] {
        assert!(!active(with("scope", sly)).scopes().contains("admin"));
    }
}

#[test]
fn what_is_no_access_token_for_a_bearer_is_inactive() {
    for (member, value) in [
        ("token_type", "mac"),
        ("token_type", "DPoP"),
        ("token_type", "refresh_token"),
        ("token_type", "Refresh"),
        ("token_type", "logout+jwt"),
        ("token_use", "refresh_token"),
        ("token_use", "id"),
        ("token_usage", "refresh_token"),
        ("token_usage", "id_token"),
        ("token_usage", "authorization_code"),
        ("token_usage", "device_code"),
        ("token_usage", "user_code"),
        ("token_usage", "urn:ietf:params:oauth:token-type:refresh_token"),
        ("typ", "Refresh"),
        ("typ", "Offline"),
        ("typ", "ID"),
        ("typ", "logout+jwt"),
        ("typ", "RegistrationAccessToken"),
        ("typ", "DPoP"),
    ] {
        assert_eq!(reason(with(member, value)), InactiveReason::Unclear, "{member}: {value}");
    }
    for member in ["token_type", "token_use", "token_usage", "typ"] {
        assert_eq!(reason(with(member, json!(["Bearer"]))), InactiveReason::Unclear);
    }
    for (member, value) in [
        ("token_type", "Bearer"),
        ("token_type", "bearer"),
        ("token_type", "access_token"),
        ("token_type", "JWT"),
        ("token_type", "jwt"),
        ("token_use", "access_token"),
        ("token_usage", "access_token"),
        ("token_usage", "urn:ietf:params:oauth:token-type:access_token"),
        ("typ", "Bearer"),
        ("typ", "at+jwt"),
    ] {
        assert_eq!(active(with(member, value)).claim::<String>(member).as_deref(), Some(value));
    }
}

#[test]
fn a_refresh_token_of_openiddict_is_told_from_an_access_token_by_its_usage_alone() {
    // As OpenIddict 5 has them: only access tokens have a `token_type`.
    let answer = |usage: &str| {
        json!({
            "active": true, "iss": "https://auth.example.com/", "sub": "jdoe", "jti": "3b1c", "token_usage": usage,
            "client_id": "shop", "iat": 1_419_349_000, "nbf": 1_419_349_000, "exp": 1_419_359_000
        })
    };
    assert_eq!(reason(answer("refresh_token")), InactiveReason::Unclear);
    let mut access = answer("access_token");
    access["token_type"] = "Bearer".into();
    active(access);
}

#[test]
fn an_answer_without_a_token_type_is_inactive_if_one_is_required() {
    let token = BearerToken::parse("abc").unwrap();
    let verdict =
        |body: &[u8]| read(body, &token, NOW, Reading { require_token_type: true }, &Unclear::at("")).unwrap();
    assert!(!verdict(br#"{"active":true,"sub":"u","client_id":"a"}"#).is_active(), "a refresh token of oidc-provider");
    assert!(!verdict(br#"{"active":true,"token_type":null}"#).is_active());
    assert!(verdict(br#"{"active":true,"token_type":"Bearer"}"#).is_active());
    assert!(verdict(br#"{"active":true,"token_type":"JWT"}"#).is_active(), "an access token of WSO2 Identity Server");
}

#[test]
fn a_token_bound_to_a_key_is_left_to_the_policy_which_refuses_it() {
    let bound =
        json!({"active": true, "token_type": "DPoP", "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}});
    assert!(active(bound).is_sender_constrained());
    assert!(active(json!({"active": true, "cnf": {}})).is_sender_constrained());
    assert!(active(with("cnf", "garbage")).is_sender_constrained());
    assert!(active(with("cnf", "2YotnFZFEjr1zCsicMWpAA")).is_sender_constrained(), "the token itself");
    assert!(!active(with("cnf", Value::Null)).is_sender_constrained());
}

#[test]
fn no_token_is_kept_under_any_name() {
    let presented = "2YotnFZFEjr1zCsicMWpAA";
    let token = active(json!({
        "active": true, "token": "t-secret", "access_token": "a-secret", "refresh_token": "r-secret", "id_token": "i-secret",
        "echo": presented, "jti": presented, "list": [[presented]], "nested": {"a": {"b": presented}},
        "authorization": format!("Bearer {presented}"), presented: true, "scope": format!("read {presented}"), "aud": ["api", presented], "kept": 1
    }));
    assert_eq!(token.token_id(), None);
    assert_eq!(token.scopes().to_string(), "read");
    assert_eq!(token.audience().collect::<Vec<_>>(), ["api"]);
    let shown = serde_json::to_string(&token).unwrap();
    assert!(!shown.contains("secret") && !shown.contains(presented), "{shown}");
    assert_eq!(token.claim("kept"), Some(1));
}

/// Any JSON, with the members that decide more often than chance has it.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (1_419_349_990_i64..1_419_350_010).prop_map(Value::from),
        prop::sample::select(vec!["true", "Bearer", "DPoP", "1419350238", ""]).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn answer() -> impl Strategy<Value = Map<String, Value>> {
    let names =
        ["active", "exp", "nbf", "iat", "token_type", "token_use", "token_usage", "typ", "cnf", "scope", "aud", "sub"];
    let names = prop::sample::select(names.map(str::to_owned).to_vec());
    prop::collection::btree_map(names, json_value(), 0..8).prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn no_answer_makes_an_inactive_or_malformed_token_active(answer in answer(), force in any::<bool>()) {
        let mut answer = answer;
        if force {
            answer.insert("active".into(), true.into());
        }
        if let Ok(Verdict::Active(token)) = judge(&Value::Object(answer.clone())) {
            prop_assert_eq!(answer.get("active"), Some(&Value::Bool(true)));
            let seconds = |member: &str| answer.get(member).filter(|value| !value.is_null()).map(|value| value.as_f64().unwrap());
            if let Some(exp) = seconds("exp") {
                prop_assert!(exp > 1_419_350_000.0);
                prop_assert!(token.expires_at().unwrap() > NOW);
                prop_assert!(token.expires_at().unwrap().as_unix_millis() as f64 <= exp * 1_000.0 * (1.0 + f64::EPSILON));
            }
            if let Some(nbf) = seconds("nbf") {
                prop_assert!(nbf <= 1_419_350_000.0);
            }
            let bound = answer.get("cnf").is_some_and(|cnf| !cnf.is_null());
            prop_assert_eq!(token.is_sender_constrained(), bound);
        }
    }

    #[test]
    fn no_bytes_make_reading_panic_or_a_token_active(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let verdict = read(&body, &BearerToken::parse("abc").unwrap(), NOW, Reading::default(), &Unclear::at(""));
        prop_assert!(!verdict.is_ok_and(|verdict| verdict.is_active()));
    }
}

mod building {
    use super::*;
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    use crate::connection::Connection;

    fn usable() -> Rfc7662Builder {
        Rfc7662::builder("https://auth.example.com/introspect?realm=a").client_secret_basic("id", "s")
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    fn refused(builder: Rfc7662Builder) -> &'static str {
        builder.build().map_err(|error| error.setting()).unwrap_err()
    }

    /// What a login has refused. There are settings of the same name beside it.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    fn refused_of(login: crate::credentials::ClientCredentials) -> &'static str {
        let error = usable().client_credentials(login).build().unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{}`: of the login: ", error.setting())), "{error}");
        error.setting()
    }

    #[test]
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    fn a_setting_that_cannot_work_is_named() {
        usable().build().unwrap();
        assert_eq!(refused(Rfc7662::builder("https://a.example")), "credentials");
        for bad in
            ["nonsense", "ftp://a.example", "http://a.example/x", "https://u:p@a.example", "https://a.example/#x"]
        {
            assert_eq!(refused(Rfc7662::builder(bad).without_credentials()), "url", "{bad}");
        }
        Rfc7662::builder("http://127.0.0.1:1/x").without_credentials().build().unwrap();
        Rfc7662::builder("http://a.example/x")
            .without_credentials()
            .connection(Connection::new().dangerously_allow_plain_http(true))
            .build()
            .unwrap();
        for name in ["token", "token_type_hint", "client_secret", "client_id"] {
            assert_eq!(refused(usable().client_secret_post("a", "b").parameter(name, "x")), "parameter");
        }
        usable().parameter("client_id", "for an `http_client` with a certificate").build().unwrap();
        for name in ["grant_type", "scope", "client_id"] {
            let login =
                crate::credentials::ClientCredentials::with_client_secret_post("https://a.example/token", "id", "s");
            let login = login.parameter(name, "x");
            assert_eq!(refused_of(login), "parameter");
        }
        assert_eq!(refused(usable().bearer_token("a b")), "bearer_token");
        assert_eq!(refused(usable().request_timeout(std::time::Duration::ZERO)), "request_timeout");
        assert_eq!(
            refused(usable().connection(Connection::new().root_certificate("no certificate"))),
            "root_certificate"
        );
        assert_eq!(refused(usable().tls_client_auth("id", "no certificate")), "tls_client_auth");
        let own = || Connection::new().http_client(reqwest::Client::new());
        assert_eq!(refused(usable().connection(own().root_certificate("x"))), "root_certificate");
        assert_eq!(refused(usable().connection(own()).tls_client_auth("id", "x")), "tls_client_auth");
        for bad in ["http://a.example/token", "nonsense", "https://u:p@a.example/token"] {
            assert_eq!(refused_of(crate::credentials::ClientCredentials::new(bad, "id", "s")), "token_url", "{bad}");
        }
        let login = crate::credentials::ClientCredentials::new("https://a.example/token", "id", "s");
        assert_eq!(refused_of(login.request_timeout(std::time::Duration::ZERO)), "request_timeout");
        let plain = Rfc7662::builder("http://127.0.0.1:1/x").tls_client_auth("id", "x").build().unwrap_err();
        assert!(plain.to_string().contains("over https only"), "{plain}");
        assert_eq!(refused(usable().client_secret_basic("", "s")), "client_secret_basic");
        assert_eq!(refused(usable().client_secret_post("", "s")), "client_secret_post");
        assert_eq!(refused(usable().tls_client_auth("", "x")), "tls_client_auth");
        let nobody = crate::credentials::ClientCredentials::new("https://a.example/token", "", "s");
        assert_eq!(refused_of(nobody), "client_id");
    }

    #[test]
    fn an_https_issuer_cannot_send_secrets_over_http_not_even_to_this_machine() {
        let discovered_by = |issuer: &str| {
            let builder = Rfc7662Builder::found_at("http://127.0.0.1:1/x", issuer).without_credentials();
            builder.build().map_err(|error| error.setting()).err()
        };
        assert_eq!(discovered_by("https://tenant.example"), Some("introspection_endpoint"));
        assert_eq!(discovered_by("http://127.0.0.1:1"), None);
    }

    #[test]
    fn no_secret_is_shown() {
        let shown =
            format!("{:?} {:?}", usable(), Rfc7662::builder("http://127.0.0.1:1/x").client_secret_post("id", "hush"));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
