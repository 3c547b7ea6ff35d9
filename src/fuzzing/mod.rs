//! What must hold for any bytes from outside. `fuzz/` makes the bytes up; `cargo test` replays the ones it kept.

// For tests and fuzzing only, in no build of a user: a property that does not hold is reported by a panic.
#![allow(clippy::expect_used, clippy::panic)]

#[cfg(feature = "jwt")]
mod jose;
#[cfg(all(feature = "certificate-bound", feature = "dpop"))]
mod possession;
#[cfg(feature = "signals")]
mod signals;

use std::sync::LazyLock;

use http::header::{AUTHORIZATION, HeaderValue};
use http::request::Parts;
use reqwest::Url;
use serde_json::{Map, Value};

#[cfg(feature = "jwt")]
pub use self::jose::jose;
#[cfg(all(feature = "certificate-bound", feature = "dpop"))]
pub use self::possession::possession;
#[cfg(feature = "signals")]
pub use self::signals::signals;
use crate::apigee::endpoint::{Apigee, is_path_elsewhere};
use crate::apigee::wire as apigee_wire;
use crate::clock::Timestamp;
use crate::error::IntrospectError;
#[cfg(feature = "redis")]
use crate::fleet::{
    FleetSecret,
    engine::{Header, Name},
    keys::Keyring,
    record::Record,
    value,
};
use crate::introspect::{InactiveReason, Unclear, Verdict};
use crate::json;
use crate::rfc7662::wire as rfc7662_wire;
use crate::source::TokenSources;
use crate::token::{AccessToken, BearerToken, MalformedToken, is_scope_token};

type Judged = Result<Verdict, IntrospectError>;

/// Stands where an answer holds a secret, and nowhere else.
const SECRET: &str = "s3cr3t-0f-th3-answ3r";

/// Reads an `Authorization` header, and makes Apigee's URL of the token in it.
pub fn header_to_token(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    for max_length in [BearerToken::DEFAULT_MAX_LENGTH, 16] {
        #[cfg(feature = "dpop")]
        check_found_with_a_proof(&value, max_length);
        let sources = TokenSources { max_length, ..TokenSources::default() };
        let mut request = request_with(value.clone());
        let found = sources.find(&mut request).map(|found| found.map(|found| found.token.into_owned()));
        check_found(&found, bytes, max_length);
        sources.mark_sensitive(&mut request);
        assert!(request.headers[AUTHORIZATION].is_sensitive());
        sources.remove(&mut request);
        let is_left = request.headers.contains_key(AUTHORIZATION);
        if let Ok(Some(token)) = found {
            assert!(!is_left, "the token was found and stays");
            check_url(&token);
        } else if let Ok(None) = found {
            assert!(is_left, "another scheme's credentials were removed");
        }
    }
}

/// Where DPoP is taken a token under that scheme is found apart, and never as a bearer's.
#[cfg(feature = "dpop")]
fn check_found_with_a_proof(value: &HeaderValue, max_length: usize) {
    let sources = TokenSources { max_length, dpop: true, ..TokenSources::default() };
    let mut request = request_with(value.clone());
    let header = value.as_bytes();
    let scheme = header.iter().position(|byte| !is_tchar(*byte)).map_or(header, |ends| &header[..ends]);
    let is_bearer = matches!(sources.find(&mut request), Ok(Some(_)));
    let is_of_dpop = sources.finds_dpop(&request.headers);
    assert_eq!(is_of_dpop, scheme.eq_ignore_ascii_case(b"dpop"));
    assert!(!(is_of_dpop && is_bearer));
    if is_of_dpop && let Ok(token) = sources.find_of_dpop(&request) {
        assert!(header.ends_with(token.expose().as_bytes()) && token.expose().len() <= max_length);
    }
}

fn request_with(authorization: HeaderValue) -> Parts {
    let mut request = http::Request::new(()).into_parts().0;
    request.headers.insert(AUTHORIZATION, authorization);
    request
}

fn check_found(found: &Result<Option<BearerToken>, MalformedToken>, header: &[u8], max_length: usize) {
    let scheme_ends = header.iter().position(|byte| !is_tchar(*byte)).unwrap_or(header.len());
    let (scheme, rest) = header.split_at(scheme_ends);
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer");
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let credentials = &rest[spaces..];
    match found {
        Ok(None) => assert!(!is_bearer),
        Ok(Some(token)) => {
            assert!(is_bearer && spaces > 0);
            assert_eq!(token.expose().as_bytes(), credentials);
            assert!(is_token(credentials) && credentials.len() <= max_length);
            assert!(!format!("{token:?}").contains(token.expose()) || token.expose().len() < 12);
        }
        Err(MalformedToken::Syntax) => assert!(is_bearer && !(spaces > 0 && is_token(credentials))),
        Err(MalformedToken::TooLong) => assert!(is_bearer && spaces > 0 && credentials.len() > max_length),
        Err(MalformedToken::Repeated) => panic!("there is one header"),
    }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 6750 `token68`, without the two that a URL would swallow.
fn is_token(text: &[u8]) -> bool {
    let body = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte)).count();
    body > 0 && text[body..].iter().all(|byte| *byte == b'=') && text != b"." && text != b".."
}

fn check_url(token: &BearerToken) {
    const FOLDER: &str = "http://localhost/v1/o/demo/oauth2/accesstokens";
    static APIGEE: LazyLock<Apigee> = LazyLock::new(|| {
        // Loopback, since `https` would need a feature.
        let builder = Apigee::builder("demo").base_url("http://localhost/v1").basic_auth("a", "b");
        builder.build().expect("the settings are good")
    });
    let sent = APIGEE.url_of(token);
    let url = Url::parse(&sent).expect("a URL");
    assert_eq!(url.as_str(), sent, "parsing changes nothing");
    assert!(url.query().is_none() && url.fragment().is_none());
    let (folder, segment) = sent.rsplit_once('/').expect("a path");
    assert_eq!(folder, FOLDER, "exactly one segment is added");
    assert_eq!(url.path_segments().expect("a path").next_back(), Some(segment));
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8().expect("a token");
    assert_eq!(decoded, token.expose());
    // As a proxy sees it that decodes before it resolves dots.
    if !is_path_elsewhere(token.expose()) {
        let decoded = Url::parse(&format!("{FOLDER}/{decoded}")).expect("a URL");
        assert!(decoded.as_str().starts_with(&format!("{FOLDER}/")), "{decoded} has left the folder");
    }
}

/// Reads the body of Apigee's answer, both as a 200 and as an error.
pub fn apigee_answer(body: &[u8]) {
    const TOKEN: &str = "25poPXCPOw43s0hJBn6tQYnUb5KF";
    const NOW: Timestamp = Timestamp::from_unix_millis(1_343_036_540_877);
    let readings = [(false, true), (true, true), (false, false), (true, false)]
        .map(|(allow_unexpiring, verify_token_echo)| apigee_wire::Reading { allow_unexpiring, verify_token_echo });
    let (answer, unclear) = (object(body), Unclear::at(""));
    let judged = readings.map(|reading| {
        let read = |body: &[u8], token: &str, now| apigee_wire::read(body, &parsed(token), now, reading, &unclear);
        let judged = read(body, TOKEN, NOW);
        if let Ok(Verdict::Active(token)) = &judged {
            let answer = answer.as_ref().expect("only an object can be active");
            check_apigee_active(token, answer, reading, TOKEN);
            check_read_back(token);
            check_times(token, NOW, |now| read(body, TOKEN, now));
            assert!(read(&with_twice(answer, "status"), TOKEN, NOW).is_err());
        }
        if let Some(body) = answer.as_ref().and_then(|answer| with_secret(answer, &["token", "refreshToken"])) {
            assert_hides(&read(&body, SECRET, NOW), SECRET);
        }
        judged.is_ok_and(|verdict| verdict.is_active())
    });
    assert!(!judged[0] || judged[1..].iter().all(|active| *active), "the strictest reading is not the strictest");
    if apigee_wire::says_no_such_token(body) {
        let said = json::parse(body, &[]).map(Value::Object).map_or_else(
            |_| std::str::from_utf8(body).expect("the code was read as text").to_owned(),
            |error| error.to_string(),
        );
        assert!(said.contains("keymanagement.service."), "no code of the vendor's stands in it");
    }
}

fn check_apigee_active(
    token: &AccessToken,
    answer: &Map<String, Value>,
    reading: apigee_wire::Reading,
    presented: &str,
) {
    let text = |member: &str| answer.get(member).and_then(Value::as_str);
    assert!(text("status").is_some_and(|status| status.trim().eq_ignore_ascii_case("approved")));
    let token_type = text("tokenType").map(str::to_ascii_lowercase);
    assert!(!answer.contains_key("tokenType") || matches!(token_type.as_deref(), Some("bearer" | "bearertoken")));
    assert!(!answer.contains_key("token") || !reading.verify_token_echo || text("token") == Some(presented));
    assert_eq!(token.is_sender_constrained(), answer.get("cnf").is_some_and(|cnf| !cnf.is_null()));
    let is_unexpiring = match &answer["expiresAt"] {
        Value::String(text) => text.trim().parse() == Ok(-1),
        number => number.as_f64() == Some(-1.0),
    };
    assert_eq!(token.expires_at().is_none(), is_unexpiring);
    assert!(!is_unexpiring || reading.allow_unexpiring);
}

/// Reads the body of a 200 of an RFC 7662 endpoint.
pub fn rfc7662_answer(body: &[u8]) {
    const TOKEN: &str = "2YotnFZFEjr1zCsicMWpAA";
    const NOW: Timestamp = Timestamp::from_unix_millis(1_419_350_238_000);
    let (answer, unclear) = (object(body), Unclear::at(""));
    let judged = [true, false].map(|require_token_type| {
        let reading = rfc7662_wire::Reading { require_token_type };
        let read = |body: &[u8], now| rfc7662_wire::read(body, &parsed(TOKEN), now, reading, &unclear);
        let judged = read(body, NOW);
        if let Ok(Verdict::Active(token)) = &judged {
            let answer = answer.as_ref().expect("only an object can be active");
            check_rfc7662_active(token, answer, NOW);
            check_read_back(token);
            assert!(!require_token_type || answer.get("token_type").is_some_and(Value::is_string));
            check_times(token, NOW, |now| read(body, now));
            assert!(read(&with_twice(answer, "active"), NOW).is_err());
            assert!(!holds(&without_confirmation(token), TOKEN), "the token itself is kept");
        }
        let secrets = ["token", "access_token", "refresh_token", "id_token"];
        if let Some(body) = answer.as_ref().and_then(|answer| with_secret(answer, &secrets)) {
            assert_hides(&read(&body, NOW), SECRET);
        }
        judged.is_ok_and(|verdict| verdict.is_active())
    });
    assert!(!judged[0] || judged[1], "the strictest reading is not the strictest");
}

fn check_rfc7662_active(token: &AccessToken, answer: &Map<String, Value>, now: Timestamp) {
    assert_eq!(answer.get("active"), Some(&Value::Bool(true)));
    let is_bound = answer.get("cnf").is_some_and(|cnf| !cnf.is_null());
    assert_eq!(token.is_sender_constrained(), is_bound);
    let says = |member: &str, kind: &str| {
        answer.get(member).is_some_and(|stated| stated.as_str().is_none_or(|stated| stated.eq_ignore_ascii_case(kind)))
            && !answer[member].is_null()
    };
    for (member, kind) in [
        ("token_type", "refresh_token"),
        ("token_type", "Refresh"),
        ("token_use", "refresh_token"),
        ("token_usage", "refresh_token"),
        ("typ", "Refresh"),
    ] {
        assert!(!says(member, kind), "{member}");
    }
    assert!(is_bound || !says("token_type", "DPoP"));
    // As floats, so that nothing of the reading is repeated here. Rounding moves a time by less than a second.
    let seconds = |member: &str| {
        let stated = answer.get(member).filter(|value| !value.is_null())?;
        Some(stated.as_f64().expect("a time that cannot be read is not active"))
    };
    let now = i32::try_from(now.as_unix_millis() / 1_000).map(f64::from).expect("it is before 2038");
    assert!(seconds("exp").is_none_or(|exp| exp >= now));
    assert!(seconds("nbf").is_none_or(|nbf| nbf <= now));
    assert_eq!(token.expires_at().is_some(), seconds("exp").is_some());
    assert_eq!(token.not_before().is_some(), seconds("nbf").is_some());
    assert!(token.scopes().iter().all(is_scope_token), "a scope would break out of a challenge");
}

/// What is serialized is read back as the same.
fn check_read_back(token: &AccessToken) {
    let text = serde_json::to_string(token).expect("facts have a form in JSON");
    let back: AccessToken = serde_json::from_str(&text).expect("facts are read back");
    assert_eq!(back.is_sender_constrained(), token.is_sender_constrained());
    // Beyond, a float of seconds no longer tells one millisecond from the next.
    let is_near = |time: Option<Timestamp>| time.is_none_or(|time| time.as_unix_millis().unsigned_abs() < 1 << 45);
    if [token.expires_at(), token.issued_at(), token.not_before()].into_iter().all(is_near) {
        assert_eq!(serde_json::to_string(&back).expect("facts have a form in JSON"), text);
    }
}

/// Whether a token that is active at `now` is active from its first moment to its last, and at no other.
fn check_times(token: &AccessToken, now: Timestamp, read_at: impl Fn(Timestamp) -> Judged) {
    let refused_at = |millis: i64| match read_at(Timestamp::from_unix_millis(millis)) {
        Ok(Verdict::Active(_)) => None,
        Ok(Verdict::Inactive(reason)) => Some(reason),
        Err(error) => panic!("an answer that could be read before: {error:?}"),
    };
    match token.expires_at() {
        Some(end) => {
            assert!(now < end, "it has expired");
            assert_eq!(refused_at(end.as_unix_millis() - 1), None);
            assert_eq!(refused_at(end.as_unix_millis()), Some(InactiveReason::Expired));
        }
        None => assert_eq!(refused_at(i64::MAX), None),
    }
    if let Some(begin) = token.not_before() {
        assert!(begin <= now, "it is not valid yet");
        assert_eq!(refused_at(begin.as_unix_millis()), None);
        if let Some(before) = begin.as_unix_millis().checked_sub(1) {
            assert_eq!(refused_at(before), Some(InactiveReason::NotYetValid));
        }
    }
}

fn parsed(token: &str) -> BearerToken<'_> {
    BearerToken::parse(token).expect("a token")
}

fn object(body: &[u8]) -> Option<Map<String, Value>> {
    let ours = json::parse(body, &[]).ok();
    let theirs = serde_json::from_slice(body).ok();
    if let (Some(ours), Some(theirs)) = (&ours, &theirs) {
        assert_eq!(ours.len(), Map::len(theirs), "serde reads something else");
    }
    theirs.or(ours)
}

/// The answer with [`SECRET`] in these members, unless it stands somewhere already.
fn with_secret(answer: &Map<String, Value>, members: &[&str]) -> Option<Vec<u8>> {
    let mut answer = answer.clone();
    answer.retain(|name, _| !members.contains(&name.as_str()));
    if serde_json::to_string(&answer).ok()?.contains(SECRET) {
        return None;
    }
    answer.extend(members.iter().map(|member| ((*member).to_owned(), SECRET.into())));
    serde_json::to_vec(&answer).ok()
}

/// The answer with a second `member` before the one it holds, for readers to disagree about.
fn with_twice(answer: &Map<String, Value>, member: &str) -> Vec<u8> {
    let answer = serde_json::to_string(answer).expect("JSON has a form in JSON");
    format!("{{\"{member}\":null,{}", &answer[1..]).into_bytes()
}

/// Nothing that is logged or handed on shows `secret`.
fn assert_hides(judged: &Judged, secret: &str) {
    assert!(!format!("{judged:?}").contains(secret), "Debug shows a secret");
    if let Ok(Verdict::Active(token)) = judged {
        assert!(!serde_json::to_string(token).expect("facts have a form in JSON").contains(secret), "a secret is kept");
    }
}

/// All that is kept of a token but its confirmation, which stays whatever it holds.
fn without_confirmation(token: &AccessToken) -> Value {
    let mut kept = serde_json::to_value(token).expect("facts have a form in JSON");
    if let Some(members) = kept.as_object_mut() {
        members.remove("cnf");
    }
    kept
}

fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text,
        Value::Array(values) => values.iter().any(|value| holds(value, text)),
        Value::Object(members) => members.iter().any(|(name, value)| name == text || holds(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Reads what an engine may hold: a value, a record, the settings of a node, and what is in them once they are opened.
#[cfg(feature = "redis")]
pub fn fleet(bytes: &[u8]) {
    static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
        let secret = FleetSecret::from_bytes(b"a secret that is no secret at all").expect("it is long enough");
        Keyring::new("fuzz", &secret, None).expect("there is one secret")
    });
    let name = Name("yKR5g84GckOZ0rl70py5jwItg9JLPIjh8Eo-tkkN98M".to_owned());
    let read = Header::read(bytes);
    if let Ok((header, rest)) = read {
        assert_eq!([&header.to_bytes()[..], rest].concat(), bytes, "a header is read as another");
        if let Some(sealed) = KEYRING.seal_value(&name, header, rest) {
            let (opened, plain) = KEYRING.open_value(&name, &sealed).expect("it was sealed");
            assert_eq!((opened.version, opened.as_of, &*plain), (header.version, header.as_of, rest));
        }
    }
    if let Ok((header, _)) = KEYRING.open_value(&name, bytes) {
        assert_eq!(read.map(|(header, _)| header), Ok(header), "it is opened with another header");
    }
    let _ = (KEYRING.open_record(bytes), KEYRING.open_settings(bytes));
    if let Some(verdict) = value::decode(bytes) {
        assert_eq!(value::encode(&verdict), bytes, "a verdict is read as another");
    }
    if let Some(token) = AccessToken::from_bytes(bytes) {
        let mut again = Vec::new();
        token.to_bytes(&mut again);
        assert_eq!(again, bytes, "a token is read as another");
        let facts = serde_json::to_value(&token).expect("facts have a form in JSON");
        assert_eq!(facts.get("cnf").is_some_and(|cnf| !cnf.is_null()), token.is_sender_constrained(), "{token:?}");
    }
    if let Some(record) = Record::decode(bytes).and_then(|record| record.encode()) {
        assert!(Record::decode(&record).is_some(), "a record was made that is not read");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn replay(target: &str, check: fn(&[u8])) {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if !fuzz.exists() {
            return; // This is the published package, which holds no corpus.
        }
        let folder = fuzz.join("corpus").join(target);
        let mut replayed = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().path();
            let bytes = std::fs::read(&file).unwrap();
            assert!(std::panic::catch_unwind(|| check(&bytes)).is_ok(), "{}", file.display());
            replayed += 1;
        }
        assert!(replayed > 0, "{} is empty", folder.display());
    }

    #[test]
    fn the_corpus_of_headers_is_replayed() {
        replay("header_to_token", header_to_token);
    }

    #[test]
    fn the_corpus_of_apigee_answers_is_replayed() {
        replay("apigee_answer", apigee_answer);
    }

    #[test]
    #[cfg(feature = "redis")]
    fn the_corpus_of_what_an_engine_holds_is_replayed() {
        replay("fleet", fleet);
    }

    #[test]
    #[cfg(feature = "jwt")]
    fn the_corpus_of_what_is_signed_is_replayed() {
        replay("jose", jose);
    }

    #[test]
    #[cfg(all(feature = "certificate-bound", feature = "dpop"))]
    fn the_corpus_of_proofs_of_possession_is_replayed() {
        replay("possession", possession);
    }

    #[test]
    #[cfg(feature = "signals")]
    fn the_corpus_of_security_events_is_replayed() {
        replay("signals", signals);
    }

    #[test]
    fn the_corpus_of_rfc_7662_answers_is_replayed() {
        replay("rfc7662_answer", rfc7662_answer);
    }
}
