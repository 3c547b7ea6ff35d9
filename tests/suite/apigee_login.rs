//! The vendor's OAuth login, for the account that asks.
#![allow(clippy::needless_pass_by_value)]
#![cfg(feature = "test-util")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::recorder::{Recorder, Seen};
use crate::support::*;
use tower_introspection::apigee::{ApigeeBuilder, ApigeeLogin};
use tower_introspection::clock::ManualClock;
use tower_introspection::connection::Limits;
use tower_introspection::introspect::Ask;
use tower_introspection::{Apigee, Introspect};

const ACTIVE: &str = r#"{"status":"approved","expiresAt":9999999999999,"token":"abc"}"#;

fn asking(recorder: &Recorder) -> ApigeeBuilder {
    Apigee::builder("my-org").base_url(format!("{}/v1", recorder.url()))
}

fn logins(recorder: &Recorder) -> Vec<Vec<(String, String)>> {
    recorder.requests().iter().filter(|seen| seen.uri == "/oauth/token").map(Seen::form).collect()
}

fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn the_login_is_by_password_once_and_by_refresh_token_from_then_on() {
    let recorder = Recorder::with_token_endpoint("/oauth/token", ACTIVE, |_| false).await;
    let clock = ManualClock::at(START);
    let login = ApigeeLogin::new("ann@example.com", "p&ss").token_url(format!("{}/oauth/token", recorder.url()));
    let login = login.mfa_token(|| async { Ok("123456".into()) });
    let apigee = asking(&recorder).login(login).clock(clock.clone()).build().unwrap();
    for _ in 0..3 {
        assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    }
    let password = form(&[
        ("grant_type", "password"),
        ("username", "ann@example.com"),
        ("password", "p&ss"),
        ("mfa_token", "123456"),
    ]);
    assert_eq!(logins(&recorder), std::slice::from_ref(&password), "one login serves many questions");
    let first = &recorder.requests()[0];
    assert_eq!(first.headers["authorization"], "Basic ZWRnZWNsaTplZGdlY2xpc2VjcmV0", "the vendor's public client");
    assert_eq!(recorder.requests()[1].headers["authorization"], "Bearer login-1");
    // Expired: nothing valid is at hand, so the question waits for the refresh.
    clock.advance(secs(1_800));
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    assert_eq!(logins(&recorder), [password, form(&[("grant_type", "refresh_token"), ("refresh_token", "refresh-1")])]);
    assert_eq!(recorder.requests().last().unwrap().headers["authorization"], "Bearer login-2");
}

#[tokio::test]
async fn a_refresh_without_a_new_refresh_token_leaves_the_old_one_in_use() {
    let recorder = Recorder::start(|_, seen: &Seen| match seen.parameter("grant_type").as_deref() {
        Some("password") => (200, r#"{"access_token":"a","refresh_token":"r","expires_in":60}"#),
        Some(_) => (200, r#"{"access_token":"b","expires_in":60}"#),
        None => (200, ACTIVE),
    })
    .await;
    let clock = ManualClock::at(START);
    let login = ApigeeLogin::new("ann", "pass").token_url(format!("{}/oauth/token", recorder.url()));
    let apigee = asking(&recorder).login(login).clock(clock.clone()).build().unwrap();
    for _ in 0..3 {
        assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
        clock.advance(secs(60));
    }
    let refresh = form(&[("grant_type", "refresh_token"), ("refresh_token", "r")]);
    assert_eq!(logins(&recorder)[1..], [refresh.clone(), refresh]);
}

#[tokio::test]
async fn a_refused_refresh_falls_back_to_the_password() {
    let recorder =
        Recorder::with_token_endpoint("/oauth/token", ACTIVE, |seen| seen.body.contains("refresh_token")).await;
    let clock = ManualClock::at(START);
    let login = ApigeeLogin::new("ann", "pass").token_url(format!("{}/oauth/token", recorder.url()));
    let apigee = asking(&recorder).login(login).clock(clock.clone()).build().unwrap();
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    clock.advance(secs(1_800));
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    let grants: Vec<_> = logins(&recorder).iter().map(|form| form[0].1.clone()).collect();
    assert_eq!(grants, ["password", "refresh_token", "password"]);
}

#[tokio::test]
async fn each_login_by_password_has_a_code_of_its_own_and_a_refresh_has_none() {
    let recorder =
        Recorder::with_token_endpoint("/oauth/token", ACTIVE, |seen| seen.body.contains("refresh_token")).await;
    let (clock, codes) = (ManualClock::at(START), AtomicUsize::new(0));
    let login = ApigeeLogin::new("ann", "pass").token_url(format!("{}/oauth/token", recorder.url()));
    let login = login.mfa_token(move || {
        let code = format!("code-{}", codes.fetch_add(1, Ordering::SeqCst));
        async { Ok(code) }
    });
    let apigee = asking(&recorder).login(login).clock(clock.clone()).build().unwrap();
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    clock.advance(secs(1_800));
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    let password = |code| form(&[("grant_type", "password"), ("username", "ann"), ("password", "pass"), code]);
    let refresh = form(&[("grant_type", "refresh_token"), ("refresh_token", "refresh-1")]);
    assert_eq!(logins(&recorder), [password(("mfa_token", "code-0")), refresh, password(("mfa_token", "code-1"))]);
}

#[tokio::test]
async fn a_refresh_that_cannot_be_asked_for_is_no_reason_to_send_the_password() {
    let recorder = Recorder::start(|_, seen| match seen.uri.as_str() {
        "/oauth/token" if seen.body.contains("refresh_token=") => (503, String::new()),
        "/oauth/token" => {
            (200, r#"{"access_token":"a","refresh_token":"r","expires_in":60,"token_type":"Bearer"}"#.to_owned())
        }
        _ => (200, ACTIVE.to_owned()),
    })
    .await;
    let clock = ManualClock::at(START);
    let login = ApigeeLogin::new("ann", "pass").token_url(format!("{}/oauth/token", recorder.url()));
    let apigee = asking(&recorder).login(login).clock(clock.clone()).build().unwrap();
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    clock.advance(secs(60));
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().is_credentials());
    let grants: Vec<_> = logins(&recorder).iter().map(|form| form[0].1.clone()).collect();
    assert_eq!(grants, ["password", "refresh_token"]);
}

#[tokio::test]
async fn a_token_of_the_login_that_the_management_api_refuses_is_replaced_once() {
    let recorder =
        Recorder::with_token_endpoint("/oauth/token", ACTIVE, |seen| seen.headers["authorization"] == "Bearer login-1")
            .await;
    let login = ApigeeLogin::new("ann", "pass").token_url(format!("{}/oauth/token", recorder.url()));
    let apigee = asking(&recorder).login(login).build().unwrap();
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    assert_eq!(logins(&recorder).len(), 2);
}

#[tokio::test]
async fn a_refused_login_is_our_fault_and_a_hundred_questions_at_once_are_one_login() {
    let recorder = Recorder::with_token_endpoint("/oauth/token", ACTIVE, |seen| seen.uri == "/oauth/token").await;
    let login = || ApigeeLogin::new("ann", "wrong").token_url(format!("{}/oauth/token", recorder.url()));
    let refused = asking(&recorder).login(login()).build().unwrap();
    let error = refused.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert!(error.is_credentials());
    assert!(format!("{error:?}").contains("invalid_client"), "{error:?}");
    let recorder = Recorder::with_token_endpoint("/oauth/token", ACTIVE, |_| false).await;
    let login = ApigeeLogin::new("ann", "pass").token_url(format!("{}/oauth/token", recorder.url()));
    // So that no real second counts, however slow the machine is.
    let patient = asking(&recorder).login(login).limits(Limits::new().max_wait(secs(60))).request_timeout(secs(60));
    let shared = Arc::new(patient.build().unwrap());
    let mut questions = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let shared = Arc::clone(&shared);
        questions.spawn(async move { shared.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active() });
    }
    assert!(patiently(questions.join_all()).await.into_iter().all(|active| active));
    assert_eq!(logins(&recorder).len(), 1);
}

#[test]
fn a_zone_and_a_token_url_that_cannot_be_are_named() {
    let refused = |login| {
        let error = Apigee::builder("o").login(login).build().unwrap_err();
        assert!(error.to_string().contains("`: of the login: "), "{error}");
        error.setting()
    };
    for url in ["http://login.example/oauth/token", "nonsense"] {
        assert_eq!(refused(ApigeeLogin::new("a", "b").token_url(url)), "token_url", "{url}");
    }
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    for zone in ["my-zone", "zone7"] {
        let login = ApigeeLogin::new("a", "b").zone(zone);
        assert!(Apigee::builder("my-org").login(login).build().is_ok(), "{zone}");
    }
    for zone in ["a b", "", "evil.example/?x=", "a.b", "evil.example#"] {
        assert_eq!(refused(ApigeeLogin::new("a", "b").zone(zone)), "zone", "{zone}");
    }
    let corrected = ApigeeLogin::new("a", "b").zone("a b").token_url("http://127.0.0.1/oauth/token");
    assert!(Apigee::builder("my-org").base_url("http://127.0.0.1/v1").login(corrected).build().is_ok());
    assert!(!format!("{:?}", ApigeeLogin::new("ann", "hush")).contains("hush"));
}

#[tokio::test]
async fn without_its_one_time_code_a_login_fails_and_the_password_stays_here() {
    let recorder = Recorder::with_token_endpoint("/oauth/token", ACTIVE, |_| false).await;
    let login = ApigeeLogin::new("user", "password").token_url(format!("{}/oauth/token", recorder.url()));
    let login = login.mfa_token(|| async { Err("the vault is sealed".into()) });
    let apigee = Apigee::builder("my-org").base_url(recorder.url()).login(login).build().unwrap();
    let error = apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert!(error.is_credentials());
    assert!(format!("{error:?}").contains("the vault is sealed"), "{error:?}");
    assert!(recorder.requests().is_empty());
}
