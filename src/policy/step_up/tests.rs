use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::request::RequestView;
use crate::token::Scopes;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

fn judge_as(method: Method, mut policy: Policy, claims: &Value, scopes: &str) -> Result<(), Refusal> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    policy.judge_logins_by(&clock);
    let facts = AccessToken::builder().scopes(Scopes::parse(scopes));
    let claims = claims.as_object().unwrap().iter();
    let token = claims.fold(facts, |facts, (name, value)| facts.claim_value(name, value.clone())).build();
    let request = http::Request::builder().method(method).body(()).unwrap();
    policy.judge(&token, &RequestView::new(&request.into_parts().0))
}

fn judge(policy: Policy, claims: &Value) -> Result<(), Refusal> {
    judge_as(Method::GET, policy, claims, "")
}

fn within(seconds: u64) -> Policy {
    Policy::new().require_recent_login(Duration::from_secs(seconds))
}

fn wanted(policy: &Policy, method: &Method) -> (Option<String>, Option<u64>) {
    let wanted = policy.wanted_login(method);
    (wanted.acr_values, wanted.max_age.map(|max_age| max_age.as_secs()))
}

#[test]
fn the_acr_must_be_stated_as_a_text_and_be_one_of_those_required_to_the_letter() {
    let policy = || Policy::new().require_acr(["urn:example:gold", "2"]);
    for acr in ["urn:example:gold", "2"] {
        assert_eq!(judge(policy(), &json!({"acr": acr, "other": [1]})), Ok(()));
    }
    for claims in [
        json!({}),
        json!({"acr": null}),
        json!({"acr": ""}),
        json!({"acr": 2}),
        json!({"acr": true}),
        json!({"acr": ["2"]}),
        json!({"acr": {"2": "2"}}),
        json!({"acr": "urn:example:Gold"}),
        json!({"acr": "2 3"}),
        json!({"acr": " 2"}),
        json!({"acr": "\"2\""}),
        json!({"ACR": "2", "acr_values": "2"}),
        json!({"other": {"acr": "2"}}),
    ] {
        assert_eq!(judge(policy(), &claims), Err(Refusal::Acr), "{claims}");
    }
    assert_eq!(judge(Policy::new(), &json!({})), Ok(()));
}

#[test]
fn a_login_is_recent_up_to_the_millisecond_at_which_its_time_is_over() {
    for (auth_time, recent) in [
        (json!(1_000_000), true),
        (json!(999_700), true),
        (json!(999_700.0), true),
        (json!(999_699.999), false),
        (json!(999_699), false),
        (json!(0), false),
        (json!(-1), false),
        (json!(i64::MIN), false),
        (json!(-1e300), false),
        // Ahead of the clock here: as far as clocks differ, and no further.
        (json!(1_000_005), true),
        (json!(1_000_005.001), false),
        (json!(1_000_006), false),
        // In milliseconds, and beyond all time.
        (json!(1_000_000_000), false),
        (json!(u64::MAX), false),
        (json!(1e300), false),
    ] {
        let judged = judge(within(300), &json!({"auth_time": auth_time}));
        assert_eq!(judged, if recent { Ok(()) } else { Err(Refusal::RecentLogin) }, "{auth_time}");
    }
}

#[test]
fn a_login_at_no_time_that_can_be_read_is_not_recent_however_long_ago_it_may_be() {
    let endless = Policy::new().require_recent_login(Duration::from_secs(u64::MAX));
    assert_eq!(judge(endless.clone(), &json!({"auth_time": -1_000_000})), Ok(()));
    for claims in [
        json!({}),
        json!({"auth_time": null}),
        json!({"auth_time": "1000000"}),
        json!({"auth_time": true}),
        json!({"auth_time": [1_000_000]}),
        json!({"authTime": 1_000_000, "iat": 1_000_000}),
        json!({"other": {"auth_time": 1_000_000}}),
    ] {
        assert_eq!(judge(endless.clone(), &claims), Err(Refusal::RecentLogin), "{claims}");
    }
}

#[test]
fn other_facts_are_told_before_a_login_a_login_before_a_scope_and_a_rule_last() {
    let unasked = |policy: Policy| policy.authorize(|_, _| panic!("asked"));
    let both = || unasked(within(300).require_scope("a").require_acr(["2"]));
    let judge = |policy, claims: Value, scopes| judge_as(Method::GET, policy, &claims, scopes);
    let (kind, old, good) =
        (json!({"auth_time": 1_000_000}), json!({"acr": "2"}), json!({"acr": "2", "auth_time": 1_000_000}));
    assert_eq!(judge(both().require_audience("here"), good.clone(), "a"), Err(Refusal::Audience));
    assert_eq!(judge(both().require_client("me"), json!({}), "a"), Err(Refusal::Client));
    assert_eq!(judge(both(), json!({}), ""), Err(Refusal::Acr));
    assert_eq!(judge(both(), kind, ""), Err(Refusal::Acr));
    assert_eq!(judge(both(), old, ""), Err(Refusal::RecentLogin));
    assert_eq!(judge(both(), good.clone(), ""), Err(Refusal::InsufficientScope("a".into())));
    let rule = within(300).require_scope("a").authorize(|_, _| false);
    assert_eq!(judge(rule, good, "a"), Err(Refusal::Rule));
    let bound = json!({"cnf": {"jkt": "x"}});
    assert_eq!(judge(both(), bound, ""), Err(Refusal::SenderConstrained));
}

#[test]
fn several_requirements_of_a_login_must_all_be_met_and_a_client_is_told_what_meets_them_all() {
    let policy = Policy::new()
        .require_acr(["3", "2", "1"])
        .policy(within(300).require_acr(["1", "2"]))
        .for_method(Method::POST, within(60).require_acr(["2"]))
        .for_other_methods(within(600));
    let both = |acr: &str, auth_time: u64| json!({"acr": acr, "auth_time": auth_time});
    let judge = |method, claims: Value| judge_as(method, policy.clone(), &claims, "");
    assert_eq!(judge(Method::GET, both("1", 999_700)), Ok(()));
    assert_eq!(judge(Method::GET, both("3", 999_700)), Err(Refusal::Acr));
    assert_eq!(judge(Method::GET, both("1", 999_699)), Err(Refusal::RecentLogin));
    assert_eq!(judge(Method::POST, both("1", 999_940)), Err(Refusal::Acr));
    assert_eq!(judge(Method::POST, both("2", 999_939)), Err(Refusal::RecentLogin));
    assert_eq!(judge(Method::POST, both("2", 999_940)), Ok(()));
    assert_eq!(wanted(&policy, &Method::GET), (Some("2 1".into()), Some(300)));
    assert_eq!(wanted(&policy, &Method::POST), (Some("2".into()), Some(60)));
    assert_eq!(wanted(&Policy::new().require_scope("a"), &Method::GET), (None, None));
    let contradictory = Policy::new().require_acr(["1"]).policy(Policy::new().require_acr(["2"]));
    assert_eq!(wanted(&contradictory, &Method::GET), (None, None), "none is good for both");
}

#[test]
fn no_clock_is_read_unless_a_login_has_to_be_recent_and_there_is_one() {
    struct Unread;
    impl Clock for Unread {
        fn now(&self) -> Timestamp {
            panic!("the clock is read");
        }
    }
    let clock: Arc<dyn Clock> = Arc::new(Unread);
    let request = http::Request::new(()).into_parts().0;
    let token = AccessToken::builder().claim_value("acr", json!("2")).build();
    let policy = || Policy::new().require_acr(["2"]).authorize(|_, _| true);
    for (mut policy, judged) in [
        (policy(), Ok(())),
        (policy().require_scope("a"), Err(Refusal::InsufficientScope("a".into()))),
        (policy().require_audience("here").policy(within(300)), Err(Refusal::Audience)),
        (policy().for_method(Method::POST, within(300)), Ok(())),
        (policy().policy(within(300)), Err(Refusal::RecentLogin)),
    ] {
        policy.judge_logins_by(&clock);
        assert_eq!(policy.judge(&token, &RequestView::new(&request)), judged, "{policy:?}");
    }
}

#[test]
fn unless_it_is_told_otherwise_logins_are_judged_by_the_systems_clock() {
    let request = http::Request::new(()).into_parts().0;
    let judge = |login: Timestamp| {
        let token = AccessToken::builder().claim("auth_time", login).unwrap().build();
        within(300).judge(&token, &RequestView::new(&request))
    };
    let now = Timestamp::now();
    assert_eq!(judge(now), Ok(()));
    assert_eq!(judge(now - Duration::from_secs(301)), Err(Refusal::RecentLogin));
    assert_eq!(judge(now + Duration::from_secs(3_600)), Err(Refusal::RecentLogin));
}

#[test]
fn what_no_login_meets_or_no_challenge_can_say_is_refused_by_the_name_of_the_setting() {
    let none: [&str; 0] = [];
    let recent = |max_age| Policy::new().require_recent_login(max_age);
    for (policy, setting, says) in [
        (Policy::new().require_acr(none), "require_acr", "names nothing"),
        (Policy::new().require_acr(["a", ""]), "require_acr", "an empty text"),
        (Policy::new().require_acr(["a", "b c"]), "require_acr", "RFC 9470"),
        (Policy::new().require_acr(["\""]), "require_acr", "without spaces, quotes"),
        (Policy::new().require_acr(["a\\"]), "require_acr", "RFC 9470"),
        (Policy::new().require_acr(["a\r\nx: y"]), "require_acr", "RFC 9470"),
        (Policy::new().require_acr(["\u{fc}"]), "require_acr", "RFC 9470"),
        (Policy::new().require_acr(["a"]).require_acr(["b"]), "require_acr", "no token could meet"),
        (recent(Duration::ZERO), "require_recent_login", "at least"),
        (recent(Duration::from_millis(1_500)), "require_recent_login", "whole number of seconds"),
        (recent(Duration::from_millis(999)), "require_recent_login", "whole number of seconds"),
    ] {
        for policy in [policy.clone(), Policy::new().policy(policy.clone()), Policy::new().for_other_methods(policy)] {
            let error = policy.check().unwrap_err();
            assert_eq!(error.setting(), setting, "{policy:?}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
    for policy in [recent(Duration::from_secs(1)), recent(Duration::from_secs(u64::MAX))] {
        assert!(policy.check().is_ok() && !policy.requires_nothing());
    }
    assert!(Policy::new().require_acr(["a", "b"]).require_acr(["c", "b"]).check().is_ok());
}

#[test]
fn debug_shows_what_is_required_of_a_login() {
    let shown = format!("{:?}", within(300).require_acr(["2"]));
    assert!(shown.contains("require_recent_login(300s)") && shown.contains(r#"require_acr(["2"])"#), "{shown}");
}
