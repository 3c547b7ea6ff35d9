use std::time::Duration;

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::wire::{Reading, read, says_no_such_token};
use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::error::IntrospectErrorKind;
use crate::introspect::Unclear;

const TOKEN: &str = "25poPXCPOw43s0hJBn6tQYnUb5KF";
const NOW: i64 = 1_343_036_540_877;
const EXPIRES_AT: i64 = 1_343_038_340_877;

/// The vendor's documented answer.
fn documented() -> Value {
    json!({
        "app": "app1", "attributes": [], "clientId": "fGytmxA5UDajPMdOA5E3bebiBOBPikOT", "createdAt": NOW,
        "createdBy": "defaultUser", "expiresAt": EXPIRES_AT, "grantType": "password", "issuedAt": NOW,
        "lastModifiedAt": NOW, "lastModifiedBy": "defaultUser", "refreshCount": 0, "refreshToken": "Nn5Pt2eO",
        "scope": "", "status": "approved", "token": TOKEN, "tokenType": "BearerToken",
    })
}

fn with(member: &str, value: Value) -> Value {
    let mut answer = documented();
    answer[member] = value;
    answer
}

fn without(member: &str) -> Value {
    let mut answer = documented();
    answer.as_object_mut().unwrap().remove(member);
    answer
}

fn read_at(answer: &Value, now: i64, reading: Reading) -> Result<Verdict, IntrospectError> {
    let token = BearerToken::parse(TOKEN).unwrap();
    read(answer.to_string().as_bytes(), &token, Timestamp::from_unix_millis(now), reading, &Unclear::at(""))
}

fn verdict(answer: &Value) -> Result<Verdict, IntrospectError> {
    read_at(answer, NOW, Reading::default())
}

#[track_caller]
fn active(answer: &Value) -> crate::AccessToken {
    match verdict(answer) {
        Ok(Verdict::Active(token)) => token,
        other => panic!("not active: {other:?}"),
    }
}

#[track_caller]
fn assert_inactive(answer: &Value, reason: InactiveReason) {
    match verdict(answer) {
        Ok(Verdict::Inactive(stated)) => assert_eq!(stated, reason, "{answer}"),
        other => panic!("{other:?} of {answer}"),
    }
}

#[test]
fn the_documented_answer_is_active_with_its_facts_and_without_its_secrets() {
    let token = active(&documented());
    assert_eq!(token.client_id(), Some("fGytmxA5UDajPMdOA5E3bebiBOBPikOT"));
    assert_eq!(token.app(), Some("app1"));
    assert_eq!(token.app_id(), None);
    assert!(token.api_products().is_none());
    assert!(token.scopes().is_empty());
    assert_eq!(token.grant_type(), Some("password"));
    assert_eq!(token.issued_at(), Some(Timestamp::from_unix_millis(NOW)));
    assert_eq!(token.expires_at(), Some(Timestamp::from_unix_millis(EXPIRES_AT)));
    assert_eq!(token.claim::<String>("createdBy").as_deref(), Some("defaultUser"));
    assert_eq!(token.claim::<String>("lastModifiedBy").as_deref(), Some("defaultUser"));
    assert_eq!(token.claim::<i64>("createdAt"), Some(NOW));
    assert_eq!(token.claim::<i64>("lastModifiedAt"), Some(NOW));
    assert_eq!(token.claim::<u32>("refreshCount"), Some(0));
    let kept = format!("{token:?} {}", serde_json::to_string(&token).unwrap());
    assert!(!kept.contains(TOKEN) && !kept.contains("Nn5Pt2eO"), "{kept}");
}

#[test]
fn the_recorded_answer_of_2021_is_read_too() {
    let mut answer = json!({
        "app": "1a7f3c1e-9a4e-4c4b-8d3e-2f6c0f7b9f11", "appId": "1a7f3c1e-9a4e-4c4b-8d3e-2f6c0f7b9f11",
        "apiProducts": ["weather", "maps"], "attributes": [{"name": "tier", "value": "gold"}], "clientId": "c",
        "expiresAt": EXPIRES_AT, "issuedAt": NOW, "scope": "READ ADMIN WRITE", "status": "approved",
        "token": TOKEN, "tokenType": "BearerToken",
    });
    let token = active(&answer);
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["READ", "ADMIN", "WRITE"]);
    assert_eq!(token.api_products().unwrap().collect::<Vec<_>>(), ["weather", "maps"]);
    assert_eq!(token.app_id(), token.app());
    assert_eq!(token.attribute("tier"), Some("gold"));
    answer["status"] = json!("revoked");
    assert_inactive(&answer, InactiveReason::Revoked);
}

#[test]
fn status_and_expiry_are_independent_and_both_must_hold() {
    assert!(read_at(&documented(), EXPIRES_AT - 1, Reading::default()).unwrap().is_active());
    for now in [EXPIRES_AT, EXPIRES_AT + 1, i64::MAX] {
        let verdict = read_at(&documented(), now, Reading::default()).unwrap();
        assert!(matches!(verdict, Verdict::Inactive(InactiveReason::Expired)), "at {now}");
    }
    assert_inactive(&with("status", json!("revoked")), InactiveReason::Revoked);
    assert_inactive(&with("status", json!("expired")), InactiveReason::Expired);
}

#[test]
fn status_is_read_trimmed_and_in_any_case_and_nothing_else_is_approved() {
    active(&with("status", json!(" APPROVED ")));
    assert_inactive(&with("status", json!("Revoked")), InactiveReason::Revoked);
    for unclear in [json!("pending"), json!(""), json!("approved!"), json!(true), json!(null), json!(["approved"])] {
        assert_inactive(&with("status", unclear), InactiveReason::Unclear);
    }
    assert_inactive(&without("status"), InactiveReason::Unclear);
}

#[test]
fn expiry_is_read_as_integer_digits_or_integral_float() {
    for good in
        [json!(EXPIRES_AT), json!(EXPIRES_AT.to_string()), json!(format!(" {EXPIRES_AT} ")), json!(EXPIRES_AT as f64)]
    {
        let token = active(&with("expiresAt", good));
        assert_eq!(token.expires_at(), Some(Timestamp::from_unix_millis(EXPIRES_AT)));
    }
    active(&with("expiresAt", json!(i64::MAX)));
}

#[test]
fn a_missing_malformed_or_non_positive_expiry_is_refused_and_never_extended() {
    let overflow = format!("{}0", i64::MAX);
    for bad in [
        json!(null),
        json!(0),
        json!(-1),
        json!("-1"),
        json!(-2),
        json!(i64::MIN),
        json!(""),
        json!("soon"),
        json!("+1"),
        json!("1e20"),
        json!("1343038340877.5"),
        json!(1_343_038_340_877.5),
        json!(1e300),
        json!(u64::MAX),
        json!(overflow),
        json!(true),
        json!([EXPIRES_AT]),
        json!({}),
    ] {
        assert_inactive(&with("expiresAt", bad), InactiveReason::Unclear);
    }
    assert_inactive(&without("expiresAt"), InactiveReason::Unclear);
}

#[test]
fn seconds_are_never_guessed() {
    assert_inactive(&with("expiresAt", json!(EXPIRES_AT / 1_000)), InactiveReason::Expired);
}

#[test]
fn minus_one_means_no_expiry_only_if_that_is_allowed() {
    let reading = Reading { allow_unexpiring: true, ..Reading::default() };
    for never in [json!(-1), json!("-1"), json!(-1.0)] {
        match read_at(&with("expiresAt", never), NOW, reading).unwrap() {
            Verdict::Active(token) => assert_eq!(token.expires_at(), None),
            other => panic!("{other:?}"),
        }
    }
    for bad in [json!(-2), json!(0), json!(null)] {
        assert!(!read_at(&with("expiresAt", bad), NOW, reading).unwrap().is_active());
    }
}

#[test]
fn an_answer_about_another_token_is_a_failure_unless_that_check_is_off() {
    for other in [json!("another"), json!(null), json!(1)] {
        let answer = with("token", other);
        assert_eq!(verdict(&answer).unwrap_err().kind(), IntrospectErrorKind::Answer);
        let reading = Reading { verify_token_echo: false, ..Reading::default() };
        assert!(read_at(&answer, NOW, reading).unwrap().is_active());
    }
    active(&without("token"));
}

#[test]
fn the_token_type_is_bearer_or_absent() {
    for good in ["Bearer", "bearer", "BEARERTOKEN", "BearerToken"] {
        active(&with("tokenType", json!(good)));
    }
    active(&without("tokenType"));
    for other in [json!("MAC"), json!(""), json!(null), json!(1)] {
        assert_inactive(&with("tokenType", other), InactiveReason::Unclear);
    }
}

#[test]
fn scopes_come_with_commas_spaces_or_as_an_array() {
    let scopes = |scope: Value| active(&with("scope", scope)).scopes().to_string();
    assert_eq!(scopes(json!("a b")), "a b");
    assert_eq!(scopes(json!("a,b, c")), "a b c");
    assert_eq!(scopes(json!(["a", 1, "b"])), "a b");
    for none in [json!(null), json!(""), json!(7), json!({"a": 1})] {
        assert_eq!(scopes(none), "");
    }
    assert!(active(&without("scope")).scopes().is_empty());
}

#[test]
fn malformed_facts_are_left_out_and_never_fail_the_answer() {
    let mut answer = documented();
    for member in ["clientId", "app", "appId", "grantType", "createdBy", "lastModifiedBy"] {
        answer[member] = json!(5);
    }
    for member in ["issuedAt", "createdAt", "lastModifiedAt", "refreshCount"] {
        answer[member] = json!("garbage");
    }
    answer["apiProducts"] = json!("weather");
    answer["attributes"] = json!("none");
    let token = active(&answer);
    assert_eq!((token.client_id(), token.app(), token.app_id(), token.grant_type()), (None, None, None, None));
    assert_eq!(token.issued_at(), None);
    assert!(token.api_products().is_none());
    assert_eq!(token.attributes().count(), 0);
    assert_eq!(token.claim::<Value>("createdBy"), None);
    assert_eq!(token.claim::<Value>("refreshCount"), None);
    for none in [0, -1, -5] {
        for member in ["issuedAt", "createdAt", "lastModifiedAt"] {
            answer[member] = json!(none);
        }
        let token = active(&answer);
        assert_eq!(token.issued_at(), None);
        assert_eq!((token.claim::<Value>("createdAt"), token.claim::<Value>("lastModifiedAt")), (None, None));
    }
    assert_eq!(active(&with("createdAt", json!("7"))).claim::<i64>("createdAt"), Some(7));
    assert_eq!(active(&with("refreshCount", json!("3"))).claim::<u32>("refreshCount"), Some(3));
}

#[test]
fn no_token_is_kept_under_any_name() {
    let mut answer = documented();
    for member in ["clientId", "app", "appId", "grantType", "createdBy", "lastModifiedBy"] {
        answer[member] = json!(TOKEN);
    }
    answer["scope"] = json!(format!("read {TOKEN}"));
    answer["apiProducts"] = json!(["weather", TOKEN]);
    answer["attributes"] = json!([
        {"name": "access_token", "value": TOKEN}, {"name": "authorization", "value": format!("Bearer {TOKEN}")},
        {"name": TOKEN, "value": "x"}, {"name": "tier", "value": "gold"},
    ]);
    let token = active(&answer);
    assert_eq!(token.scopes().to_string(), "read");
    assert_eq!(token.api_products().unwrap().collect::<Vec<_>>(), ["weather"]);
    assert_eq!(token.attributes().collect::<Vec<_>>(), [("tier", "gold")]);
    let shown = serde_json::to_string(&token).unwrap();
    assert!(!shown.contains(TOKEN), "{shown}");
    assert!(active(&with("cnf", json!(TOKEN))).is_sender_constrained());
}

#[test]
fn absent_api_products_are_unknown_which_is_not_the_same_as_none() {
    assert!(active(&documented()).api_products().is_none());
    assert!(active(&with("apiProducts", json!(null))).api_products().is_none());
    assert_eq!(active(&with("apiProducts", json!([]))).api_products().unwrap().count(), 0);
    assert_eq!(active(&with("apiProducts", json!(["a", null]))).api_products().unwrap().count(), 1);
}

#[test]
fn bad_attributes_are_skipped_and_the_last_of_two_with_one_name_counts() {
    let attributes = json!([
        {"name": "tier", "value": "silver"}, {"name": "tier", "value": "gold"}, {"name": "x"}, {"value": "y"}, 7, null,
        {"name": "n", "value": 1},
    ]);
    let token = active(&with("attributes", attributes));
    assert_eq!(token.attributes().collect::<Vec<_>>(), [("tier", "gold")]);
    assert_eq!(active(&with("attributes", json!(null))).attributes().count(), 0);
}

#[test]
fn a_confirmation_in_the_answer_is_kept_for_the_policy_to_see() {
    assert!(
        active(&with("cnf", json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"})))
            .is_sender_constrained()
    );
}

#[test]
fn a_body_that_is_no_json_object_is_a_failure_and_never_a_verdict() {
    let token = BearerToken::parse(TOKEN).unwrap();
    let whole = documented().to_string();
    let now = Timestamp::from_unix_millis(NOW);
    for body in ["", "<html></html>", "[]", "null", "true", "\"approved\"", "{", &whole[..whole.len() - 1], "<Error/>"]
    {
        let error = read(body.as_bytes(), &token, now, Reading::default(), &Unclear::at("")).unwrap_err();
        assert_eq!(error.kind(), IntrospectErrorKind::Answer, "{body:?}");
    }
}

#[test]
fn only_a_known_code_says_that_there_is_no_such_token() {
    for code in [
        "keymanagement.service.AccessTokenDoesntExists",
        "keymanagement.service.oauth_access_token_doesnot_exist",
        "keymanagement.service.invalid_access_token",
        "keymanagement.service.invalid_accesstoken",
    ] {
        for body in [
            json!({"code": code, "message": "Access Token doesnt exists", "contexts": []}).to_string(),
            json!({"fault": {"faultstring": "x", "detail": {"errorcode": code}}}).to_string(),
            json!({"error": {"code": code, "details": []}}).to_string(),
            format!("<Error>\n  <Code>{code}</Code>\n  <Message>x</Message>\n</Error>"),
        ] {
            assert!(says_no_such_token(body.as_bytes()), "{body}");
        }
    }
    for body in [
        "",
        "{}",
        "[]",
        "<html>404</html>",
        "<Error><Code>x</Code></Error>",
        "<Error></Error>",
        "<Code>keymanagement.service.invalid_access_token</Code>",
        r#"{"code":"organizations.OrganizationDoesNotExist"}"#,
        r#"{"code":7}"#,
        r#"{"message":"keymanagement.service.invalid_access_token"}"#,
        r#"{"code":"KEYMANAGEMENT.SERVICE.INVALID_ACCESS_TOKEN"}"#,
    ] {
        assert!(!says_no_such_token(body.as_bytes()), "{body}");
    }
}

static LOCAL: LazyLock<Apigee> = LazyLock::new(|| apigee("http://localhost/v1").build().unwrap());

fn apigee(base_url: &str) -> ApigeeBuilder {
    Apigee::builder("my-org").base_url(base_url).basic_auth("a", "b")
}

#[test]
fn the_token_is_sent_as_one_percent_encoded_path_segment() {
    let apigee = apigee("http://localhost/v1/").build().unwrap();
    let url = |token: &'static str| apigee.url_of(&BearerToken::parse(token).unwrap());
    assert_eq!(url("abc"), "http://localhost/v1/o/my-org/oauth2/accesstokens/abc");
    assert_eq!(url("a/../b+c=="), "http://localhost/v1/o/my-org/oauth2/accesstokens/a%2F..%2Fb%2Bc%3D%3D");
}

#[tokio::test]
async fn a_token_that_is_a_path_to_elsewhere_is_unknown_without_a_question() {
    // Nothing listens there: a question would fail.
    let apigee = apigee("http://127.0.0.1:1/v1").build().unwrap();
    for token in ["../developers", "a/../../apps", "a/..", "a/./b", "./a", "/", "///"] {
        let verdict = apigee.introspect(Ask::new(&BearerToken::parse(token).unwrap())).await.unwrap();
        assert!(matches!(verdict, Verdict::Inactive(InactiveReason::Unknown)), "{token}");
    }
    let asked = apigee.introspect(Ask::new(&BearerToken::parse("a//b...").unwrap())).await;
    assert_eq!(asked.unwrap_err().kind(), IntrospectErrorKind::Connect);
}

#[tokio::test]
async fn a_token_too_long_for_a_request_line_is_unknown_without_a_question() {
    let apigee = apigee("http://127.0.0.1:1/v1").build().unwrap();
    let verdict = apigee.introspect(Ask::new(&BearerToken::parse("+".repeat(2_334)).unwrap())).await.unwrap();
    assert!(matches!(verdict, Verdict::Inactive(InactiveReason::Unknown)));
    let asked = apigee.introspect(Ask::new(&BearerToken::parse("+".repeat(2_333)).unwrap())).await;
    assert_eq!(asked.unwrap_err().kind(), IntrospectErrorKind::Connect);
}

#[test]
fn every_setting_that_cannot_work_is_refused_by_name() {
    let refused = |builder: ApigeeBuilder| builder.build().unwrap_err().setting();
    for org in ["", ".", "..", "a/b", "a b", "a?b", "\u{e4}"] {
        assert_eq!(refused(Apigee::builder(org).basic_auth("a", "b")), "org", "{org:?}");
    }
    for url in [
        "",
        "example.com",
        "ftp://example.com",
        "http://example.com/v1",
        "http://127.example.com",
        "http://localhost.example.com",
        "https://user:secret@example.com",
        "https://example.com/v1?x=y",
        "https://example.com/v1#x",
    ] {
        assert_eq!(refused(apigee(url)), "base_url", "{url:?}");
    }
    let usable = || apigee("http://localhost/v1");
    assert_eq!(refused(Apigee::builder("o").base_url("http://localhost")), "credentials");
    assert_eq!(refused(usable().basic_auth("a:b", "c")), "basic_auth");
    assert_eq!(refused(usable().bearer_token("a\n")), "bearer_token");
    assert_eq!(refused(usable().request_timeout(Duration::ZERO)), "request_timeout");
    assert_eq!(refused(usable().connection(Connection::new().connect_timeout(Duration::ZERO))), "connect_timeout");
    assert_eq!(refused(usable().connection(Connection::new().max_response_bytes(0))), "max_response_bytes");
    let own_client = usable()
        .connection(Connection::new().http_client(reqwest::Client::new()).connect_timeout(Duration::from_secs(1)));
    assert_eq!(refused(own_client), "connect_timeout");
}

#[test]
fn plain_http_is_for_loopback_or_for_those_who_say_so() {
    for loopback in ["http://127.0.0.1:8080/v1", "http://127.8.8.8", "http://[::1]:8080/v1", "http://localhost:8080/v1"]
    {
        apigee(loopback).build().unwrap();
    }
    apigee("http://example.com:8080/v1")
        .connection(Connection::new().dangerously_allow_plain_http(true))
        .build()
        .unwrap();
}

#[test]
fn https_without_a_tls_feature_is_refused_when_it_is_built_and_not_when_it_is_used() {
    let built = apigee(CLOUD).build();
    if cfg!(any(feature = "rustls", feature = "native-tls")) {
        built.unwrap();
    } else {
        assert!(built.unwrap_err().to_string().contains("feature `rustls`"));
        apigee(CLOUD).connection(Connection::new().http_client(reqwest::Client::new())).build().unwrap();
    }
}

#[test]
fn unless_it_is_told_otherwise_it_asks_and_logs_in_at_the_vendors_own_addresses() {
    // With a client of its own it can be built without a feature for TLS.
    let builder = Apigee::builder("my-org")
        .basic_auth("a", "b")
        .connection(Connection::new().http_client(reqwest::Client::new()));
    let shown = format!("{:?}", builder.build().unwrap());
    assert!(shown.contains("\"https://api.enterprise.apigee.com/v1/o/my-org/oauth2/accesstokens\""), "{shown}");
    let shown = format!("{:?}", ApigeeLogin::new("a", "b"));
    assert!(shown.contains("\"https://login.apigee.com/oauth/token\""), "{shown}");
    let shown = format!("{:?}", ApigeeLogin::new("a", "b").zone("acme"));
    assert!(shown.contains("\"https://acme.login.apigee.com/oauth/token\""), "{shown}");
}

#[test]
fn unless_it_is_told_otherwise_it_asks_6_000_questions_a_minute_at_most() {
    let limit = RateLimit::per_minute(RATE_LIMIT);
    assert_eq!((limit.requests, limit.per), (6_000, Duration::from_secs(60)));
}

#[test]
fn debug_shows_no_credential() {
    let builder = apigee("http://localhost/v1")
        .basic_auth("reader", "hush")
        .clock(ManualClock::at(Timestamp::from_unix_millis(0)));
    let shown = format!("{builder:?}");
    let shown = format!("{shown} {:?}", builder.build().unwrap());
    assert!(!shown.contains("hush") && !shown.contains("reader"), "{shown}");
}

/// Any JSON value, of the kinds that could be mistaken for something.
fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "-?[0-9]{1,25}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
    ]
}

proptest! {
    #[test]
    fn any_token_comes_back_from_its_url_as_the_last_segment_and_the_folder_stays(token in "[A-Za-z0-9._~+/-]{1,64}={0,3}") {
        let Ok(bearer) = BearerToken::parse(token.as_str()) else { return Ok(()) };
        let url = Url::parse(&LOCAL.url_of(&bearer)).unwrap();
        let segments: Vec<&str> = url.path_segments().unwrap().collect();
        prop_assert_eq!(&segments[..5], ["v1", "o", "my-org", "oauth2", "accesstokens"]);
        prop_assert_eq!(segments.len(), 6);
        let decoded = percent_encoding::percent_decode_str(segments[5]).decode_utf8().unwrap();
        prop_assert_eq!(decoded.as_ref(), token.as_str());
        prop_assert!(url.query().is_none() && url.fragment().is_none());
    }

    #[test]
    fn whatever_stands_in_the_expiry_an_active_answer_expires_later_than_now(expires_at in any_json()) {
        if let Verdict::Active(token) = verdict(&with("expiresAt", expires_at)).unwrap() {
            prop_assert!(token.expires_at().unwrap() > Timestamp::from_unix_millis(NOW));
        }
    }

    #[test]
    fn whatever_stands_in_the_status_only_approved_is_active(status in any_json()) {
        let is_approved = status.as_str().is_some_and(|status| status.trim().eq_ignore_ascii_case("approved"));
        prop_assert_eq!(verdict(&with("status", status)).unwrap().is_active(), is_approved);
    }

    #[test]
    fn no_member_of_any_type_makes_reading_panic(
        member in prop::sample::select(vec!["app", "attributes", "clientId", "createdAt", "expiresAt", "issuedAt", "scope", "apiProducts", "refreshCount", "tokenType", "token"]),
        value in any_json(),
    ) {
        drop(verdict(&with(member, value)));
    }

    #[test]
    fn no_body_makes_reading_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let token = BearerToken::parse(TOKEN).unwrap();
        prop_assert!(read(&body, &token, Timestamp::from_unix_millis(NOW), Reading::default(), &Unclear::at("")).is_err());
        prop_assert!(!says_no_such_token(&body));
    }
}

#[test]
fn what_was_damaged_locks_nobody_out_unless_it_decides() {
    let read = |member: &str| {
        let body = format!(r#"{{"status":"approved","expiresAt":{EXPIRES_AT},{member}}}"#);
        let token = BearerToken::parse(TOKEN).unwrap();
        read(body.as_bytes(), &token, Timestamp::from_unix_millis(NOW), Reading::default(), &Unclear::at(""))
    };
    let Ok(Verdict::Active(token)) = read(r#""attributes":[{"name":"n","value":"Jo \ud83d"}],"createdAt":1e400"#)
    else {
        panic!("a name that was cut")
    };
    assert_eq!(token.attribute("n"), Some("Jo \u{fffd}"));
    for member in ["token", "tokenType", "scope", "clientId", "app", "appId", "grantType", "cnf", "apiProducts"] {
        let error = read(&format!(r#""{member}":["\udc00"]"#)).unwrap_err();
        assert!(format!("{error:?}").contains(&format!("`{member}`, which decides")), "{error:?}");
    }
    let token = BearerToken::parse(TOKEN).unwrap();
    for body in [r#"{"status":"approved","expiresAt":1e400}"#, r#"{"status":"\ud83d","expiresAt":1}"#] {
        assert!(
            super::super::wire::read(
                body.as_bytes(),
                &token,
                Timestamp::from_unix_millis(NOW),
                Reading::default(),
                &Unclear::at("")
            )
            .is_err()
        );
    }
}

#[test]
fn a_code_in_a_text_of_json_that_is_refused_is_no_code() {
    let body = r#"{"a":"<Error><Code>keymanagement.service.invalid_access_token</Code>","b":1,"b":2}"#;
    assert!(!says_no_such_token(body.as_bytes()));
    assert!(says_no_such_token(b"\xef\xbb\xbf{\"code\":\"keymanagement.service.invalid_access_token\"}"));
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn an_organisation_is_known_by_its_api_and_the_account_that_asks() {
    let hook = || async { Ok(Credential::bearer("hush")?) };
    let builder = |org| Apigee::builder(org);
    for (builder, url, client) in [
        (builder("my-org").basic_auth("ann", "hush"), "https://api.enterprise.apigee.com/v1/o/my-org", "ann"),
        (builder("other").basic_auth("ann", "hush"), "https://api.enterprise.apigee.com/v1/o/other", "ann"),
        (builder("o").base_url("http://127.0.0.1:1/v1/").bearer_token("hush"), "http://127.0.0.1:1/v1/o/o", ""),
        (builder("o").login(ApigeeLogin::new("ann", "hush")), "https://api.enterprise.apigee.com/v1/o/o", "ann"),
        (builder("o").credentials(hook), "https://api.enterprise.apigee.com/v1/o/o", ""),
    ] {
        let handle = Introspect::endpoint(&builder.build().unwrap()).unwrap();
        assert_eq!((&*handle.authority().url, &*handle.authority().client), (url, client));
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn each_setting_by_which_answers_differ_tells_them_apart_and_no_other_does() {
    type Set = fn(ApigeeBuilder) -> ApigeeBuilder;
    let settings: [(Set, &str); 10] = [
        (|builder| builder, ""),
        (|builder| builder.allow_unexpiring(false).verify_token_echo(true), ""),
        (|builder| builder.allow_unexpiring(true), "allow_unexpiring 4 true\n"),
        (|builder| builder.verify_token_echo(false), "verify_token_echo 5 false\n"),
        (
            |builder| builder.verify_token_echo(false).allow_unexpiring(true),
            "allow_unexpiring 4 true\nverify_token_echo 5 false\n",
        ),
        (|builder| builder.request_timeout(Duration::from_secs(1)), ""),
        (|builder| builder.limits(Limits::new().rate_limit(1, Duration::from_secs(1))), ""),
        (|builder| builder.connection(Connection::new().max_response_bytes(1)), ""),
        (|builder| builder.clock(crate::clock::SystemClock), ""),
        // As whom it asks: that is the client.
        (|builder| builder.login(ApigeeLogin::new("ann", "hush").zone("my-zone")), ""),
    ];
    for (set, expected) in settings {
        let apigee = set(Apigee::builder("my-org").basic_auth("ann", "hush")).build().unwrap();
        let handle = Introspect::endpoint(&apigee).unwrap();
        assert_eq!(handle.authority().reading.as_str(), expected);
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn the_rate_limit_in_force_is_that_of_the_user_if_there_is_one() {
    let limit = |limits| {
        let apigee = Apigee::builder("my-org").basic_auth("ann", "hush").limits(limits).build().unwrap();
        Introspect::endpoint(&apigee).unwrap().rate_limit()
    };
    assert_eq!(limit(Limits::new()), RateLimit::per_minute(6_000));
    assert_eq!(limit(Limits::new().rate_limit(7, Duration::from_secs(60))), RateLimit::per_minute(7));
}
