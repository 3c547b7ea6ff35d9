use serde_json::json;

use super::*;
use crate::token::{AccessToken, StatedClaims};

const ABC: Fingerprint = Fingerprint { key_id: 7, key: [1, 2] };

fn token(text: &str) -> BearerToken<'_> {
    BearerToken::parse(text).unwrap()
}

/// Of caches that know a token `abc` by `ABC`, and any other by its length.
fn rule(selection: &Selection) -> Rule {
    selection.rule(|token| match token.as_bytes() {
        b"abc" => vec![ABC, Fingerprint { key_id: 8, key: [3, 4] }],
        other => vec![Fingerprint { key_id: 7, key: [0, other.len() as u64] }],
    })
}

fn means(selection: &Selection, facts: &AccessToken) -> bool {
    rule(selection).matches(ABC.key_id, ABC.key, &StatedClaims::of(facts))
}

fn issued_at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn facts() -> AccessToken {
    let facts = AccessToken::builder().client_id("weather").app("Weather").app_id("app-1").subject("ann");
    let facts = facts.issuer("https://a.example").issued_at(issued_at(5_000)).claim("sid", "s-1").unwrap();
    let facts = facts.claim("tenant", 7).unwrap().claim("groups", ["x", "y"]).unwrap();
    facts.claim("email", "Ann@example.com").unwrap().build()
}

fn claim(name: &str, value: impl Serialize) -> Selection {
    Selection::claim(name, value).unwrap()
}

#[test]
fn a_condition_means_the_tokens_of_which_it_holds_and_no_others() {
    for (holds, does_not) in [
        (Selection::client("weather"), Selection::client("Weather")),
        (Selection::app("Weather"), Selection::app("weather")),
        (Selection::app("app-1"), Selection::app("app-2")),
        (Selection::subject("ann"), Selection::subject("an")),
        (Selection::issuer("https://a.example"), Selection::issuer("https://a.example/")),
        (Selection::session("s-1"), Selection::session("s-2")),
        (claim("tenant", 7), claim("tenant", "7")),
        (claim("tenant", json!(7)), claim("tenant", 7.0)),
        (claim("groups", ["x", "y"]), claim("groups", ["y", "x"])),
        (claim("sub", "ann"), claim("sub", "bob")),
        (Selection::email("aNN@EXAMPLE.com"), Selection::email("ann@example.co")),
        (Selection::issued_before(issued_at(5_001)), Selection::issued_before(issued_at(5_000))),
        (Selection::token(&token("abc")), Selection::token(&token("abcd"))),
    ] {
        assert!(means(&holds, &facts()), "{holds:?}");
        assert!(!means(&does_not, &facts()), "{does_not:?}");
        assert!(!means(&holds.clone().and(does_not.clone()), &facts()), "{holds:?} and not");
        assert!(!means(&does_not.clone().and(holds.clone()), &facts()), "not and {holds:?}");
        assert!(means(&Selection::all().and(holds), &facts()));
    }
}

#[test]
fn what_only_narrows_leaves_out_the_tokens_that_say_something_else_and_none_that_say_nothing() {
    let silent = AccessToken::builder().build();
    for (holds, does_not) in [
        (Selection::client("weather"), Selection::client("x")),
        (Selection::app("app-1"), Selection::app("x")),
        (Selection::subject("ann"), Selection::subject("x")),
        (Selection::issuer("https://a.example"), Selection::issuer("x")),
        (Selection::session("s-1"), Selection::session("x")),
        (claim("tenant", 7), claim("tenant", 8)),
        (Selection::email("ann@example.com"), Selection::email("x")),
    ] {
        let (holds, does_not) = (holds.or_unstated(), does_not.or_unstated());
        assert!(means(&holds, &facts()) && !means(&does_not, &facts()), "{does_not:?}");
        assert!(means(&holds, &silent) && means(&does_not, &silent), "{does_not:?}");
        assert_eq!(format!("{:?}", does_not.clone().or_unstated()), format!("{does_not:?}"));
    }
    let null = AccessToken::builder().claim("sid", ()).unwrap().build();
    assert!(means(&Selection::session("s").or_unstated(), &null), "`null` says nothing");
    let number = AccessToken::builder().claim("sid", 1).unwrap().build();
    assert!(!means(&Selection::session("s").or_unstated(), &number));
    assert!(!means(&Selection::token(&token("other")).or_unstated(), &facts()), "it stays that token");
}

#[test]
fn a_token_that_says_nothing_is_meant_by_no_condition_but_when_it_was_issued() {
    let silent = AccessToken::builder().build();
    for selection in [
        Selection::client(""),
        Selection::app(""),
        Selection::subject(""),
        Selection::issuer(""),
        Selection::session(""),
        claim("tenant", ()),
    ] {
        assert!(!means(&selection, &silent), "{selection:?}");
    }
    assert!(means(&Selection::issued_before(issued_at(0)), &silent));
    let number = AccessToken::builder().claim("sid", 1).unwrap().build();
    assert!(!means(&Selection::session("1"), &number));
}

#[test]
fn conditions_are_added_in_any_order() {
    let (subject, issuer) = (|| Selection::subject("ann"), || Selection::issuer("https://a.example"));
    let other = AccessToken::builder().subject("ann").issuer("https://b.example").build();
    for both in [subject().and(issuer()), issuer().and(subject())] {
        assert!(means(&both, &facts()) && !means(&both, &other));
    }
    let abc = || Selection::token(&token("abc"));
    for both in [abc().and(subject()), subject().and(abc())] {
        assert!(means(&both, &facts()));
        assert!(!rule(&both).matches(ABC.key_id, [9, 9], &StatedClaims::of(&facts())));
        assert!(!rule(&both).is_one_token(), "what is known of a token that is not active has no facts");
    }
}

#[test]
fn two_tokens_at_once_are_none_and_one_twice_is_that_one() {
    let (abc, def) = (|| Selection::token(&token("abc")), || Selection::token(&token("def")));
    for none in [abc().and(def()), abc().and(def()).and(abc()), Selection::all().and(abc().and(def()))] {
        let rule = rule(&none);
        assert!(!rule.matches(ABC.key_id, ABC.key, &StatedClaims::of(&facts())) && !rule.names(7, [0, 3]));
        assert!(!rule.is_all() && !rule.is_one_token() && !rule.is_of_any_token());
        assert!(rule.token(7).is_none());
    }
    let twice = rule(&abc().and(abc()));
    assert!(twice.is_one_token() && twice.names(ABC.key_id, ABC.key));
}

#[test]
fn a_rule_knows_a_token_by_the_fingerprint_of_each_secret() {
    let rule = rule(&Selection::from(&token("abc")));
    assert!(rule.names(7, [1, 2]) && rule.names(8, [3, 4]));
    assert!(!rule.names(7, [3, 4]) && !rule.names(9, [1, 2]));
    assert_eq!([7, 8, 9].map(|key_id| rule.token(key_id)), [Some([1, 2]), Some([3, 4]), None]);
    assert!(rule.is_one_token() && !rule.is_all() && !rule.is_of_any_token());
}

#[test]
fn a_rule_without_a_token_is_about_any() {
    let of_client = rule(&Selection::client("weather"));
    assert!(of_client.names(7, [1, 2]) && of_client.token(7).is_none());
    assert!(of_client.is_of_any_token() && !of_client.is_all() && !of_client.is_one_token());
    let all = rule(&Selection::all());
    assert!(all.is_all() && all.is_of_any_token() && !all.is_one_token());
    assert!(all.matches(7, [1, 2], &StatedClaims::of(&facts())));
}

#[test]
fn a_rule_is_the_same_when_it_is_read_again() {
    let all = Selection::token(&token("abc")).and(Selection::client("weather")).and(Selection::app("Weather"));
    let all = all.and(Selection::subject("ann")).and(Selection::issuer("https://a.example"));
    let all = all.and(Selection::session("s-1")).and(claim("tenant", 7)).and(claim("groups", ["x", "y"]));
    let all = all.and(Selection::issued_before(issued_at(i64::MAX)));
    let none = Selection::token(&token("abc")).and(Selection::token(&token("def")));
    for selection in [all, none, Selection::all()] {
        let written = serde_json::to_string(&rule(&selection)).unwrap();
        let read: Rule = serde_json::from_str(&written).unwrap();
        assert!(read == rule(&selection), "{written}");
        assert!(!written.contains("abc"), "{written}");
    }
}

#[test]
fn a_rule_that_says_more_than_its_reader_knows_is_not_read() {
    for written in [
        r#"{"fingerprints":null,"conditions":[],"or_else":[]}"#,
        r#"{"fingerprints":null,"conditions":[{"Planet":"earth"}]}"#,
        r#"{"fingerprints":[{"key_id":1,"key":[1,2],"more":3}],"conditions":[]}"#,
        r#"{"fingerprints":null}"#,
    ] {
        assert!(serde_json::from_str::<Rule>(written).is_err(), "{written}");
    }
}

#[test]
fn debug_shows_names_and_no_values() {
    let secret = "s3cr3t";
    let selection = Selection::token(&token(secret)).and(Selection::client(secret)).and(Selection::app(secret));
    let selection = selection.and(Selection::subject(secret)).and(Selection::issuer(secret));
    let selection = selection.and(Selection::session(secret)).and(claim(secret, secret));
    let selection = selection.and(Selection::issued_before(issued_at(0)));
    let shown = format!("{selection:?}");
    let names = r#"["token", "client", "app", "subject", "issuer", "session", "claim", "issued_before"]"#;
    assert_eq!(shown, format!("Selection({names})"));
    assert_eq!(format!("{:?}", Selection::all()), r#"Selection(["all"])"#);
    assert_eq!(format!("{:?}", selection.and(Selection::token(&token("abc")))), r#"Selection(["none"])"#);
}

#[test]
fn a_claim_that_could_not_be_written_and_read_again_is_refused() {
    let map = std::collections::BTreeMap::from([([1], 2)]);
    let nested = |levels| (0..levels).fold(Value::Null, |inner, _| json!({"a": [inner]}));
    let errors = [Selection::claim("tenant", map).unwrap_err(), Selection::claim("tenant", nested(51)).unwrap_err()];
    for (error, problem) in errors.iter().zip(["has no form in JSON", "is nested too deeply"]) {
        assert_eq!(error.to_string(), format!("`claim`: the value of \"tenant\" {problem}"));
    }
    let deep = rule(&claim("tenant", nested(50)));
    assert!(serde_json::from_value::<Rule>(serde_json::to_value(&deep).unwrap()).is_ok_and(|read| read == deep));
    assert!(serde_json::from_str::<Rule>(&serde_json::to_string(&deep).unwrap()).is_ok_and(|read| read == deep));
}
