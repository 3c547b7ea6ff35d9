//! The Apigee endpoint over real sockets: the sandbox, each of its faults, and a server that records what it is sent.
#![allow(clippy::needless_pass_by_value)]
#![cfg(all(feature = "sandbox", feature = "test-util"))]

use std::sync::{Arc, Mutex};

use crate::support::recorder::{Recorder, Seen};
use crate::support::*;
use http::HeaderMap;
use tower_introspection::apigee::ApigeeBuilder;
use tower_introspection::clock::ManualClock;
use tower_introspection::connection::{Connection, Limits};
use tower_introspection::credentials::Credential;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::stats::BreakerState;
use tower_introspection::{Apigee, InactiveReason, Introspect, Verdict};

fn reason(verdict: Verdict) -> Option<InactiveReason> {
    match verdict {
        Verdict::Active(_) => None,
        Verdict::Inactive(reason) => Some(reason),
    }
}

#[tokio::test]
async fn issued_revoked_approved_again_updated_expired_and_deleted_tokens_get_the_right_verdict() {
    let clock = ManualClock::at(START);
    let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
    let apigee = sandbox.apigee().clock(clock.clone()).build().unwrap();
    let text = sandbox.issue(
        SandboxToken::new().client_id("c").app("a").scope("read").attribute("tier", "gold").expires_in(secs(60)),
    );
    let token = bearer(&text);
    let verdict = async || apigee.introspect(Ask::new(&token)).await.unwrap();

    let Verdict::Active(facts) = verdict().await else { panic!("not active") };
    assert_eq!((facts.client_id(), facts.app(), facts.attribute("tier")), (Some("c"), Some("a"), Some("gold")));
    assert_eq!((facts.issued_at(), facts.expires_at()), (Some(START), Some(START + secs(60))));
    assert!(sandbox.revoke(&text));
    assert_eq!(reason(verdict().await), Some(InactiveReason::Revoked));
    assert!(sandbox.approve(&text));
    assert_eq!(reason(verdict().await), None);
    clock.set(START + millis(59_999));
    assert_eq!(reason(verdict().await), None);
    clock.set(START + secs(60));
    assert_eq!(reason(verdict().await), Some(InactiveReason::Expired));
    assert!(sandbox.delete(&text));
    assert_eq!(reason(verdict().await), Some(InactiveReason::Unknown));
    assert!(!sandbox.revoke(&text) && !sandbox.approve(&text) && !sandbox.delete(&text));
    assert_eq!((sandbox.calls(&text), sandbox.total_calls()), (6, 6));
}

#[tokio::test]
async fn a_token_without_expiry_is_active_only_if_that_is_allowed() {
    let sandbox = Sandbox::start().await.unwrap();
    let text = sandbox.issue(SandboxToken::new().never_expires());
    let strict = sandbox.apigee().build().unwrap().introspect(Ask::new(&bearer(&text))).await.unwrap();
    assert_eq!(reason(strict), Some(InactiveReason::Unclear));
    let allowed =
        sandbox.apigee().allow_unexpiring(true).build().unwrap().introspect(Ask::new(&bearer(&text))).await.unwrap();
    assert!(allowed.is_active());
}

#[tokio::test]
async fn the_echo_is_verified_unless_that_is_switched_off() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.script("hashed", 200, r#"{"status":"approved","expiresAt":9999999999999,"token":"5d41402abc4b2a76"}"#);
    let error = sandbox.apigee().build().unwrap().introspect(Ask::new(&bearer("hashed"))).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Answer);
    let off = sandbox.apigee().verify_token_echo(false).build().unwrap();
    assert!(off.introspect(Ask::new(&bearer("hashed"))).await.unwrap().is_active());
}

async fn kind_of(apigee: &Apigee, token: &str) -> IntrospectErrorKind {
    apigee.introspect(Ask::new(&bearer(token))).await.unwrap_err().kind()
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_a_failure_to_connect() {
    let (_kept, address) = refusing();
    let apigee = Apigee::builder("o").base_url(format!("http://{address}/v1")).basic_auth("a", "b").build().unwrap();
    let error = apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Connect);
    assert!(format!("{error:?}").contains("refused"), "an operator reads the cause in the log: {error:?}");
}

#[tokio::test]
async fn the_connect_timeout_ends_a_connection_that_is_never_accepted() {
    // A listener whose backlog is full: further connections wait for ever.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = tokio::task::JoinSet::new();
    for _ in 0..4 {
        filling.spawn(tokio::net::TcpStream::connect(address));
    }
    let held: Vec<_> =
        [patiently(filling.join_next()).await, patiently(filling.join_next()).await].into_iter().collect();
    let apigee = Apigee::builder("o")
        .base_url(format!("http://{address}"))
        .basic_auth("a", "b")
        .connection(Connection::new().connect_timeout(millis(50)))
        .request_timeout(secs(10))
        .build()
        .unwrap();
    let error = apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Connect, "{error:?}");
    assert!(format!("{error:?}").contains("`connect_timeout`"), "the other timeout ended it: {error:?}");
    drop((held, listener));
}

#[tokio::test]
async fn the_response_limit_is_exact() {
    let sandbox = Sandbox::start().await.unwrap();
    let body = r#"{"status":"approved","expiresAt":9999999999999,"token":"abc"}"#;
    sandbox.script("abc", 200, body);
    let with_limit = |bytes| sandbox.apigee().connection(Connection::new().max_response_bytes(bytes)).build().unwrap();
    assert!(with_limit(body.len()).introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    assert_eq!(kind_of(&with_limit(body.len() - 1), "abc").await, IntrospectErrorKind::Answer);
}

#[tokio::test]
async fn a_404_without_a_known_code_is_a_failure_and_so_is_a_wrong_organisation() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.script("proxy", 404, "<html><body>404 Not Found</body></html>");
    sandbox.script("xml", 404, "<Error><Code>keymanagement.service.AccessTokenDoesntExists</Code></Error>");
    let apigee = sandbox.apigee().build().unwrap();
    assert_eq!(kind_of(&apigee, "proxy").await, IntrospectErrorKind::Status);
    assert_eq!(reason(apigee.introspect(Ask::new(&bearer("xml"))).await.unwrap()), Some(InactiveReason::Unknown));
    assert_eq!(reason(apigee.introspect(Ask::new(&bearer("nobody"))).await.unwrap()), Some(InactiveReason::Unknown));
    let elsewhere =
        Apigee::builder("elsewhere").base_url(sandbox.base_url()).basic_auth(sandbox.username(), sandbox.password());
    assert_eq!(kind_of(&elsewhere.build().unwrap(), "abc").await, IntrospectErrorKind::Status);
}

#[tokio::test]
async fn the_code_counts_before_the_status() {
    let sandbox = Sandbox::start().await.unwrap();
    let apigee = sandbox.apigee().build().unwrap();
    for status in [400, 401, 403, 404, 429, 500] {
        sandbox.script(
            "abc",
            status,
            r#"{"fault":{"detail":{"errorcode":"keymanagement.service.invalid_access_token"}}}"#,
        );
        assert_eq!(
            reason(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap()),
            Some(InactiveReason::Unknown),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_refused_admin_account_is_our_fault_and_says_so() {
    let sandbox = Sandbox::start().await.unwrap();
    let text = sandbox.issue(SandboxToken::new());
    let wrong = sandbox.apigee().basic_auth(sandbox.username(), "wrong").build().unwrap();
    assert!(wrong.introspect(Ask::new(&bearer(&text))).await.unwrap_err().is_credentials());
    assert_eq!(sandbox.calls(&text), 0);
}

fn asking(recorder: &Recorder) -> ApigeeBuilder {
    Apigee::builder("my-org").base_url(format!("{}/v1", recorder.url()))
}

const ACTIVE: &str = r#"{"status":"approved","expiresAt":9999999999999,"token":"abc"}"#;

#[tokio::test]
async fn a_question_is_one_get_with_our_account_our_name_and_the_callers_token_in_the_path_alone() {
    let recorder = Recorder::start(|_, _| (200, ACTIVE)).await;
    let basic = asking(&recorder).basic_auth("reader@example.com", "p:ss w\u{f6}rd").build().unwrap();
    assert!(basic.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    let bearer_token = asking(&recorder).bearer_token("admin-token").build().unwrap();
    assert!(bearer_token.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    let requests = recorder.requests();
    assert_eq!(requests.len(), 2);
    for Seen { method, uri, headers, body } in &requests {
        assert_eq!((method.as_str(), uri.as_str(), body.as_str()), ("GET", "/v1/o/my-org/oauth2/accesstokens/abc", ""));
        assert_eq!(headers["accept"], "application/json");
        assert_eq!(headers["user-agent"], concat!("tower-introspection/", env!("CARGO_PKG_VERSION")));
        assert!(!headers.contains_key("referer"));
    }
    assert_eq!(requests[0].headers["authorization"], "Basic cmVhZGVyQGV4YW1wbGUuY29tOnA6c3Mgd8O2cmQ=");
    assert_eq!(requests[1].headers["authorization"], "Bearer admin-token");
}

#[tokio::test]
#[cfg(feature = "http-client")]
async fn a_client_of_ones_own_is_used_and_still_sends_our_name() {
    let recorder = Recorder::start(|_, _| (200, ACTIVE)).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-mine", "1".parse().unwrap());
    let client = reqwest::Client::builder().no_proxy().default_headers(headers).user_agent("mine").build().unwrap();
    let apigee =
        asking(&recorder).basic_auth("a", "b").connection(Connection::new().http_client(client)).build().unwrap();
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    let headers = &recorder.requests()[0].headers;
    assert_eq!(headers["x-mine"], "1");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("tower-introspection/"));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Recorder::start(|_, _| (200, ACTIVE)).await;
    let recorder = Recorder::redirecting_to(format!("{}/v1/o/my-org/oauth2/accesstokens/abc", elsewhere.url())).await;
    let apigee = asking(&recorder).basic_auth("a", "b").build().unwrap();
    assert_eq!(kind_of(&apigee, "abc").await, IntrospectErrorKind::Status);
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
#[cfg(feature = "http-client")]
async fn an_answer_from_where_a_client_of_ones_own_followed_a_redirect_to_is_not_trusted() {
    let elsewhere = Recorder::start(|_, _| (200, ACTIVE)).await;
    let recorder = Recorder::redirecting_to(format!("{}/v1/o/my-org/oauth2/accesstokens/abc", elsewhere.url())).await;
    let follower =
        asking(&recorder).basic_auth("a", "b").connection(Connection::new().http_client(client())).build().unwrap();
    assert_eq!(kind_of(&follower, "abc").await, IntrospectErrorKind::Status);
}

#[tokio::test]
async fn a_refused_credential_is_renewed_and_the_question_asked_once_more() {
    let recorder = Recorder::start(|n, _| if n == 2 { (401, "") } else { (200, ACTIVE) }).await;
    let logins = Arc::new(Mutex::new(0));
    let apigee = asking(&recorder)
        .credentials({
            let logins = Arc::clone(&logins);
            move || {
                let login = {
                    let mut logins = logins.lock().unwrap();
                    *logins += 1;
                    *logins
                };
                async move { Ok(Credential::bearer(format!("login-{login}"))?) }
            }
        })
        .build()
        .unwrap();
    for _ in 0..3 {
        assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    }
    assert_eq!(recorder.authorizations(), ["Bearer login-1", "Bearer login-1", "Bearer login-2", "Bearer login-2"]);
    assert_eq!(*logins.lock().unwrap(), 2, "the credential is kept and not fetched for each question");
}

#[tokio::test]
async fn the_question_put_again_with_renewed_credentials_keeps_the_rate_limit() {
    let recorder = Recorder::start(|n, _| if n == 1 { (401, "") } else { (200, ACTIVE) }).await;
    let apigee = asking(&recorder)
        .credentials(|| async { Ok(Credential::bearer("x")?) })
        .limits(Limits::new().rate_limit(1, secs(60)).max_wait(secs(0)))
        .build()
        .unwrap();
    assert_eq!(kind_of(&apigee, "abc").await, IntrospectErrorKind::Overloaded);
    assert_eq!(recorder.requests().len(), 1);
}

#[tokio::test]
async fn a_login_that_hangs_after_a_refusal_is_not_held_against_the_authority() {
    let recorder = Recorder::start(|_, _| (401, "")).await;
    let logins = Arc::new(Mutex::new(0));
    let hook = move || {
        let logins = Arc::clone(&logins);
        async move {
            let login = {
                let mut logins = logins.lock().unwrap();
                *logins += 1;
                *logins
            };
            if login > 1 {
                std::future::pending::<()>().await;
            }
            Ok(Credential::bearer("x")?)
        }
    };
    let apigee = asking(&recorder)
        .credentials(hook)
        .request_timeout(secs(1))
        .limits(Limits::new().breaker_threshold(1))
        .build()
        .unwrap();
    assert_eq!(kind_of(&apigee, "abc").await, IntrospectErrorKind::Timeout);
    assert_eq!(apigee.endpoint().unwrap().stats().breaker, BreakerState::Closed);
}

#[tokio::test]
async fn credentials_refused_twice_are_a_failure_after_two_requests() {
    let recorder = Recorder::start(|_, _| (401, "")).await;
    let apigee = asking(&recorder).credentials(|| async { Ok(Credential::bearer("x")?) }).build().unwrap();
    assert!(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().is_credentials());
    assert_eq!(recorder.requests().len(), 2);
    let fixed = asking(&recorder).bearer_token("x").build().unwrap();
    assert!(fixed.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().is_credentials());
    assert_eq!(recorder.requests().len(), 3, "a credential that cannot be renewed is not tried again");
}

#[tokio::test]
async fn a_403_is_about_what_the_account_may_do_and_does_not_cost_a_login() {
    let recorder = Recorder::start(|_, _| (403, "")).await;
    let logins = Arc::new(Mutex::new(0));
    let apigee = asking(&recorder).credentials({
        let logins = Arc::clone(&logins);
        move || {
            *logins.lock().unwrap() += 1;
            async { Ok(Credential::bearer("x")?) }
        }
    });
    assert!(apigee.build().unwrap().introspect(Ask::new(&bearer("abc"))).await.unwrap_err().is_credentials());
    assert_eq!((recorder.requests().len(), *logins.lock().unwrap()), (1, 1));
}

#[tokio::test]
async fn a_401_that_says_the_token_is_unknown_does_not_cost_a_login() {
    let recorder = Recorder::start(|_, _| (401, r#"{"code":"keymanagement.service.invalid_access_token"}"#)).await;
    let apigee = asking(&recorder).credentials(|| async { Ok(Credential::bearer("x")?) }).build().unwrap();
    assert_eq!(reason(apigee.introspect(Ask::new(&bearer("abc"))).await.unwrap()), Some(InactiveReason::Unknown));
    assert_eq!(recorder.requests().len(), 1);
}

#[tokio::test]
async fn a_credentials_hook_that_fails_or_hangs_is_a_failure_within_the_request_timeout() {
    let recorder = Recorder::start(|_, _| (200, ACTIVE)).await;
    let failing = asking(&recorder).credentials(|| async { Err("login is down".into()) }).build().unwrap();
    assert!(failing.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().is_credentials());
    let hanging = asking(&recorder).credentials(std::future::pending).request_timeout(millis(50)).build().unwrap();
    assert!(hanging.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().is_timeout());
    assert!(recorder.requests().is_empty());
}

#[tokio::test]
async fn the_sandbox_has_the_management_api_over_http_too() {
    let sandbox = Sandbox::start().await.unwrap();
    let text = sandbox.issue(SandboxToken::new().app("a").end_user("ann").scope("read"));
    let client = client();
    let url = sandbox.token_url(&text);
    let call = async |method: http::Method, url: String, body: &'static str| {
        let request = client.request(method, url).basic_auth(sandbox.username(), Some(sandbox.password())).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<serde_json::Value>().await.unwrap_or_default())
    };
    use http::Method;
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    let (status, body) = call(Method::GET, url.replace("/o/", "/organizations/"), "").await;
    assert_eq!((status, &body["status"], &body["token"]), (200, &"approved".into(), &text.clone().into()));
    assert_eq!(call(Method::POST, format!("{url}?action=revoke&cascade=true"), "").await.0, 204);
    assert_eq!(call(Method::GET, url.clone(), "").await.1["status"], "revoked");
    assert_eq!(call(Method::POST, format!("{url}?action=approve"), "").await.0, 204);
    assert_eq!(call(Method::GET, url.clone(), "").await.1["status"], "approved");
    assert_eq!(call(Method::POST, format!("{url}?action=explode"), "").await.0, 400);
    let update = r#"{"attributes":[{"name":"tier","value":"gold"}],"scope":"read write","status":"expired"}"#;
    let (status, body) = call(Method::POST, url.clone(), update).await;
    assert_eq!((status, &body["scope"], &body["status"]), (200, &"read write".into(), &"approved".into()));
    assert_eq!(body["attributes"][0]["value"], "gold");
    assert_eq!(call(Method::POST, url.clone(), "[").await.0, 400);
    let revoke = format!("{}/o/{}/oauth2/revoke", sandbox.base_url(), sandbox.org());
    assert_eq!(call(Method::POST, revoke.clone(), "").await.0, 400);
    assert_eq!(call(Method::POST, format!("{revoke}?enduser=bob"), "").await.0, 202);
    assert_eq!(call(Method::GET, url.clone(), "").await.1["status"], "approved");
    assert_eq!(call(Method::POST, format!("{revoke}?enduser=ann"), "").await.0, 202);
    assert_eq!(call(Method::GET, url.clone(), "").await.1["status"], "revoked");
    assert!(sandbox.approve(&text));
    assert_eq!(call(Method::POST, format!("{revoke}?app=a"), "").await.0, 202);
    assert_eq!(call(Method::GET, url.clone(), "").await.1["status"], "revoked");
    assert_eq!(call(Method::DELETE, url.clone(), "").await.1["token"], text);
    let (status, body) = call(Method::GET, url.clone(), "").await;
    assert_eq!(status, 404);
    assert_eq!(
        body,
        serde_json::json!({"code": "keymanagement.service.AccessTokenDoesntExists", "message": "Access Token doesnt exists", "contexts": []})
    );
    assert_eq!(call(Method::POST, format!("{url}?action=revoke"), "").await.0, 404);
    assert_eq!(call(Method::DELETE, url, "").await.0, 404);
    assert_eq!(call(Method::GET, sandbox.base_url(), "").await.0, 404);
}
