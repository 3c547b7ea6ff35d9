use super::*;

#[tokio::test]
async fn a_request_that_cannot_be_made_is_not_worth_another_attempt() {
    let client = Client::builder().no_proxy().build().unwrap();
    let malformed = client.get("http://127.0.0.1/").header("a", "\n").send().await.unwrap_err();
    assert!(malformed.is_builder());
    assert!(!no_answer(malformed).is_worth_another_attempt());
    let refused = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
    let refused = no_answer(refused);
    assert_eq!(refused.kind(), IntrospectErrorKind::Connect);
    assert!(refused.is_worth_another_attempt());
}

#[test]
fn what_is_not_json_is_named_by_the_content_type_it_came_with_and_never_by_a_token() {
    let token = BearerToken::parse("2YotnFZFEjr1zCsicMWpAA").unwrap();
    let named = |content_type: Option<&[u8]>, body: &[u8]| {
        let value = content_type.map(|value| http::HeaderValue::from_bytes(value).unwrap());
        let headers = value.map(|value| (CONTENT_TYPE, value)).into_iter().collect();
        let answer = Reply { status: StatusCode::OK, body: body.to_vec(), headers };
        let error = IntrospectError::new(IntrospectErrorKind::Answer).with_source("as it was");
        let explained = answer.explain(error, &token);
        assert_eq!(explained.kind(), IntrospectErrorKind::Answer);
        let cause = std::error::Error::source(&explained).unwrap().to_string();
        (cause != "as it was").then_some(cause)
    };
    let names = |content_type: &str| named(Some(content_type.as_bytes()), b"eyJ0eXAi.eyJpc3Mi.x");
    for (content_type, kind) in [
        ("application/token-introspection+jwt", "application/token-introspection+jwt"),
        ("application/jwt;charset=utf-8", "application/jwt"),
        (" Text/HTML ; charset=\"a;b\"", "Text/HTML"),
    ] {
        assert_eq!(names(content_type), Some(format!("it is not JSON, but `{kind}`")));
    }
    let long = format!("text/{}", "x".repeat(8_000));
    assert_eq!(names(&long), Some(format!("it is not JSON, but `text/{}`", "x".repeat(95))));
    for unnamed in [
        "",
        "html",
        "text/ht ml",
        "application/json",
        "application/JSON; charset=utf-8",
        "application/problem+json",
        "text/2YotnFZFEjr1zCsicMWpAA",
        "2YotnFZFEjr1zCsicMWpAA/html",
    ] {
        assert_eq!(names(unnamed), None, "{unnamed}");
    }
    let token_at_the_end = format!("text/{}2YotnFZFEjr1zCsicMWpAA", "x".repeat(80));
    assert_eq!(names(&token_at_the_end), None, "not even the half of it that would be shown");
    assert_eq!(named(Some(b"text/\xfftml"), b"<html>"), None);
    assert_eq!(named(None, b"<html>"), None);
    for json in [&br#"{"active":"true"}"#[..], b"[]", br#"{"active":true,"active":false}"#, b"\xef\xbb\xbf{}"] {
        assert_eq!(named(Some(b"text/plain"), json), None, "what is JSON is wrong for another reason");
    }
}

#[test]
fn retry_after_is_read_as_seconds_and_as_a_date_and_with_two_statuses_only() {
    let now = Timestamp::from_unix_millis(1_445_412_470_000); // Wed, 21 Oct 2015 07:27:50 GMT
    let read = |status: u16, value: &'static str| {
        let headers = [(RETRY_AFTER, http::HeaderValue::from_static(value))].into_iter().collect();
        let answer = Reply { status: StatusCode::from_u16(status).unwrap(), body: Vec::new(), headers };
        answer.status_error(now).retry_after()
    };
    assert_eq!(read(429, "7"), Some(Duration::from_secs(7)));
    assert_eq!(read(503, " 120 "), Some(Duration::from_secs(120)));
    assert_eq!(read(503, "Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
    assert_eq!(read(503, "Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(read(429, "18446744073709551615"), Some(Duration::from_secs(u64::MAX)));
    for not_a_delay in ["", "-1", "soon", "1.5"] {
        assert_eq!(read(503, not_a_delay), None, "{not_a_delay}");
    }
    assert_eq!(read(500, "7"), None);
}
