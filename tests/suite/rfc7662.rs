//! RFC 7662 over real sockets: what is sent, by every kind of client, and how the endpoint is found.
#![allow(clippy::needless_pass_by_value)]

use std::error::Error;
#[cfg(feature = "test-util")]
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::faulty::{Faulty, answer};
use crate::support::recorder::{Recorder, Seen};
use crate::support::*;
use tower_introspection::connection::{Connection, Limits};
use tower_introspection::credentials::{ClientCredentials, Credential};
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rfc7662::{DiscoveryError, Rfc7662Builder};
use tower_introspection::stats::BreakerState;
use tower_introspection::{Apigee, BuildError, InactiveReason, Introspect, IntrospectError, Rfc7662, Verdict};

const ACTIVE: &str = r#"{"active":true}"#;

fn introspection(recorder: &Recorder) -> Rfc7662Builder {
    Rfc7662::builder(format!("{}/introspect", recorder.url()))
}

async fn asked(builder: Rfc7662Builder) {
    let endpoint = builder.build().unwrap();
    assert!(endpoint.introspect(Ask::new(&bearer("mF_9.B5f-4.1JqM"))).await.unwrap().is_active());
}

async fn always_active() -> Recorder {
    Recorder::start(|_, _| (200, ACTIVE)).await
}

#[tokio::test]
async fn the_requests_of_rfc_7662_section_2_1_are_sent_as_the_standard_has_them() {
    let recorder = always_active().await;
    asked(introspection(&recorder).bearer_token("23410913-abewfq.123483").send_token_type_hint(false)).await;
    asked(introspection(&recorder).client_secret_basic("s6BhdRkqt3", "gX1fBat3bV")).await;
    let [with_bearer, with_secret] = &recorder.requests()[..] else { panic!("two requests") };
    for seen in [with_bearer, with_secret] {
        assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "/introspect"));
        assert_eq!(seen.headers["accept"], "application/json");
        assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(seen.headers["user-agent"], concat!("tower-introspection/", env!("CARGO_PKG_VERSION")));
    }
    assert_eq!(with_bearer.headers["authorization"], "Bearer 23410913-abewfq.123483");
    assert_eq!(with_bearer.body, "token=mF_9.B5f-4.1JqM");
    assert_eq!(with_secret.headers["authorization"], "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
    assert_eq!(with_secret.body, "token=mF_9.B5f-4.1JqM&token_type_hint=access_token");
}

#[tokio::test]
async fn each_kind_of_client_shows_what_it_has_and_nothing_else() {
    let recorder = always_active().await;
    asked(introspection(&recorder).client_secret_basic("a:b+c/d%e&f g\u{e4}", "s:+/%& \u{20ac}")).await;
    asked(introspection(&recorder).client_secret_post("a&b", "s=\u{20ac}")).await;
    asked(
        introspection(&recorder)
            .without_credentials()
            .send_token_type_hint(true)
            .token_type_hint("at")
            .parameter("resource", "r&s"),
    )
    .await;
    asked(introspection(&recorder).credentials(|| async { Ok(Credential::basic("plain", "as it is")?) })).await;
    asked(introspection(&recorder).client_secret_post("earlier", "x").bearer_token("the-last-counts")).await;
    let requests = recorder.requests();
    // "a%3Ab%2Bc%2Fd%25e%26f%20g%C3%A4:s%3A%2B%2F%25%26%20%E2%82%AC"
    let basic = "Basic YSUzQWIlMkJjJTJGZCUyNWUlMjZmJTIwZyVDMyVBNDpzJTNBJTJCJTJGJTI1JTI2JTIwJUUyJTgyJUFD";
    assert_eq!(requests[0].headers["authorization"], basic);
    assert!(!requests[1].headers.contains_key("authorization"));
    assert_eq!(requests[1].parameter("client_id").as_deref(), Some("a&b"));
    assert_eq!(requests[1].parameter("client_secret").as_deref(), Some("s=\u{20ac}"));
    assert!(!requests[2].headers.contains_key("authorization"));
    assert_eq!(requests[2].body, "token=mF_9.B5f-4.1JqM&token_type_hint=at&resource=r%26s");
    assert_eq!(requests[3].headers["authorization"], "Basic cGxhaW46YXMgaXQgaXM=");
    assert_eq!(requests[4].headers["authorization"], "Bearer the-last-counts");
    assert_eq!(requests[4].parameter("client_id"), None);
}

#[cfg(feature = "private-key-jwt")]
fn key() -> tower_introspection::credentials::PrivateKeyJwt {
    tower_introspection::credentials::PrivateKeyJwt::from_pem("my-api", include_str!("../keys/ec.pem")).unwrap()
}

/// The claims of an assertion; its signature is checked where it is made.
#[cfg(feature = "private-key-jwt")]
fn claims(seen: &Seen) -> serde_json::Value {
    assert_eq!(
        seen.parameter("client_assertion_type").as_deref(),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    );
    let assertion = seen.parameter("client_assertion").unwrap();
    jsonwebtoken::dangerous::insecure_decode(&assertion).unwrap().claims
}

#[tokio::test]
#[cfg(feature = "private-key-jwt")]
async fn every_question_has_an_assertion_of_its_own_for_the_endpoint() {
    let recorder = always_active().await;
    let endpoint = introspection(&recorder).private_key_jwt(key()).build().unwrap();
    for _ in 0..2 {
        assert!(endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    }
    let [first, second] = [0, 1].map(|n| claims(&recorder.requests()[n]));
    assert_eq!(first["aud"], format!("{}/introspect", recorder.url()));
    assert_eq!((&first["iss"], &first["sub"]), (&"my-api".into(), &"my-api".into()));
    assert_ne!(first["jti"], second["jti"]);
}

#[tokio::test]
async fn a_client_that_is_refused_is_our_fault_whatever_the_status() {
    for (status, body, kind) in [
        (401, "", IntrospectErrorKind::Credentials),
        (403, "", IntrospectErrorKind::Credentials),
        (400, r#"{"error":"invalid_client"}"#, IntrospectErrorKind::Credentials),
        (400, r#"{"error":"unauthorized_client"}"#, IntrospectErrorKind::Credentials),
        (400, r#"{"error":"invalid_request"}"#, IntrospectErrorKind::Status),
        (400, r#"["invalid_client"]"#, IntrospectErrorKind::Status),
        (400, "invalid_client", IntrospectErrorKind::Status),
        (400, "", IntrospectErrorKind::Status),
        (404, ACTIVE, IntrospectErrorKind::Status),
        (201, ACTIVE, IntrospectErrorKind::Status),
        (200, r#"{"active":"true"}"#, IntrospectErrorKind::Answer),
    ] {
        let recorder = Recorder::start(move |_, _| (status, body)).await;
        let endpoint = introspection(&recorder).client_secret_basic("a", "b").build().unwrap();
        assert_eq!(endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().kind(), kind, "{status} {body}");
        assert_eq!(recorder.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_401_that_says_inactive_and_nothing_of_this_service_is_about_the_token() {
    let ask = async |status: u16, challenge: bool, body: &str| {
        let challenge = if challenge { "www-authenticate: Basic realm=\"x\"\r\n" } else { "" };
        let authority = Faulty::start();
        let status = if status == 401 { "401 Unauthorized" } else { "403 Forbidden" };
        authority.does(vec![answer(status, &format!("content-type: application/json\r\n{challenge}"), body)]);
        let endpoint = Rfc7662::builder(authority.url()).client_secret_basic("a", "b").build().unwrap();
        let verdict = endpoint.introspect(Ask::new(&bearer("abc"))).await;
        assert_eq!(authority.requests(), 1);
        match verdict {
            Ok(Verdict::Inactive(reason)) => Ok(reason),
            Ok(Verdict::Active(_)) => panic!("it is not active"),
            Err(error) => Err((error.kind(), error.status().map(|status| status.as_u16()))),
        }
    };
    let unknown = Ok(InactiveReason::Unknown);
    assert_eq!(ask(401, false, r#"{"active": false}"#).await, unknown, "django-oauth-toolkit");
    let ours = |status| Err((IntrospectErrorKind::Credentials, Some(status)));
    for (status, challenge, body) in [
        (401, true, r#"{"active":false}"#),
        (401, false, r#"{"active":false,"error":"invalid_client"}"#),
        (401, false, r#"{"error":"invalid_client"}"#),
        (401, false, r#"{"active":true}"#),
        (401, false, r#"{"active":"false"}"#),
        (401, false, r#"{"active":false,"active":false}"#),
        (401, false, "{}"),
        (401, false, ""),
        (403, false, r#"{"active":false}"#),
    ] {
        assert_eq!(ask(status, challenge, body).await, ours(status), "{status} {body}");
    }
}

#[tokio::test]
async fn a_client_that_is_refused_with_400_is_refused_as_with_401() {
    let refusing = Recorder::start(|_, _| (400, r#"{"error":"invalid_client"}"#)).await;
    let endpoint = introspection(&refusing).client_secret_basic("a", "b").build().unwrap();
    let error = endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert_eq!(error.status(), Some(http::StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn a_client_that_is_refused_with_400_logs_in_anew() {
    let recorder =
        Recorder::start(|n, _| if n == 1 { (400, r#"{"error":"invalid_client"}"#) } else { (200, ACTIVE) }).await;
    let logins = AtomicUsize::new(0);
    let log_in = move || {
        let login = logins.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(Credential::bearer(format!("login-{login}"))?) }
    };
    asked(introspection(&recorder).credentials(log_in)).await;
    assert_eq!(recorder.authorizations(), ["Bearer login-1", "Bearer login-2"]);
}

#[tokio::test]
async fn redirects_are_not_followed_since_they_would_take_the_token_along() {
    let elsewhere = always_active().await;
    let recorder = Recorder::redirecting_to(elsewhere.url().to_owned()).await;
    let endpoint = introspection(&recorder).client_secret_post("a", "b").build().unwrap();
    assert_eq!(endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().kind(), IntrospectErrorKind::Status);
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
#[cfg(feature = "http-client")]
async fn a_client_of_ones_own_that_follows_redirects_takes_the_token_along_and_is_not_trusted() {
    let elsewhere = always_active().await;
    let recorder = Recorder::redirecting_to(elsewhere.url().to_owned()).await;
    let builder = introspection(&recorder).connection(Connection::new().http_client(client()));
    let endpoint = builder.client_secret_post("a", "b").build().unwrap();
    assert_eq!(endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err().kind(), IntrospectErrorKind::Status);
    // The client of the user's own followed before it could be refused; the documentation says how to build one.
    assert_eq!(elsewhere.requests().len(), 1);
}

fn logins(recorder: &Recorder) -> Vec<Seen> {
    recorder.requests().into_iter().filter(|seen| seen.uri == "/token").collect()
}

fn login(recorder: &Recorder) -> ClientCredentials {
    ClientCredentials::new(format!("{}/token", recorder.url()), "my api", "secret")
}

#[cfg(feature = "test-util")]
fn login_by_form(recorder: &Recorder) -> ClientCredentials {
    ClientCredentials::with_client_secret_post(format!("{}/token", recorder.url()), "my api", "secret")
}

#[tokio::test]
async fn the_client_credentials_grant_is_one_login_for_many_questions() {
    let recorder = Recorder::with_token_endpoint("/token", ACTIVE, |_| false).await;
    let login = login(&recorder).scope("introspect").scope("more").parameter("resource", "https://auth.example.com");
    // So that no real second counts, however slow the machine is.
    let patient = introspection(&recorder)
        .client_credentials(login)
        .limits(Limits::new().max_wait(secs(60)))
        .request_timeout(secs(60));
    let endpoint = std::sync::Arc::new(patient.build().unwrap());
    let mut questions = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let endpoint = std::sync::Arc::clone(&endpoint);
        questions.spawn(async move { endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active() });
    }
    assert!(patiently(questions.join_all()).await.into_iter().all(|active| active));
    let [login] = &logins(&recorder)[..] else { panic!("one login") };
    assert_eq!(
        login.body,
        "grant_type=client_credentials&scope=introspect+more&resource=https%3A%2F%2Fauth.example.com"
    );
    assert_eq!(login.headers["authorization"], "Basic bXklMjBhcGk6c2VjcmV0", "my%20api:secret");
    let asked = recorder.requests().into_iter().find(|seen| seen.uri == "/introspect").unwrap();
    assert_eq!(asked.headers["authorization"], "Bearer login-1");
}

#[tokio::test]
#[cfg(feature = "test-util")]
async fn its_token_is_renewed_thirty_seconds_early_and_once_more_after_a_401() {
    let clock = tower_introspection::clock::ManualClock::at(START);
    let recorder = Recorder::with_token_endpoint("/token", ACTIVE, |_| false).await;
    let login = login_by_form(&recorder);
    let endpoint = introspection(&recorder).client_credentials(login).clock(clock.clone()).build().unwrap();
    let ask = async || assert!(endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    ask().await;
    clock.set(START + millis(1_769_999));
    ask().await;
    assert_eq!(logins(&recorder).len(), 1);
    clock.set(START + secs(1_770));
    ask().await;
    until(|| logins(&recorder).len() >= 2).await;
    assert_eq!(logins(&recorder)[0].parameter("client_id").as_deref(), Some("my api"));
    assert!(!logins(&recorder)[0].headers.contains_key("authorization"));

    let recorder = Recorder::with_token_endpoint("/token", ACTIVE, |seen| {
        seen.headers.get("authorization").is_some_and(|value| value == "Bearer login-1")
    })
    .await;
    asked(introspection(&recorder).client_credentials(login_by_form(&recorder))).await;
    assert_eq!(logins(&recorder).len(), 2);
}

#[tokio::test]
async fn a_refused_login_is_our_fault_and_names_the_standards_code_only() {
    let recorder = Recorder::with_token_endpoint("/token", ACTIVE, |seen| seen.uri == "/token").await;
    let endpoint = introspection(&recorder).client_credentials(login(&recorder)).build().unwrap();
    let error = endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert!(error.is_credentials());
    assert!(format!("{error:?}").contains("invalid_client"), "{error:?}");
}

#[tokio::test]
async fn a_login_whose_server_is_down_or_busy_is_an_outage_and_any_other_failed_login_a_mistake() {
    for (status, is_outage) in
        [(429, true), (500, true), (502, true), (503, true), (504, true), (400, false), (401, false), (404, false)]
    {
        let recorder = Recorder::start(move |_, _| (status, "{}")).await;
        let endpoint = introspection(&recorder).client_credentials(login(&recorder)).build().unwrap();
        let error = endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
        assert_eq!((error.is_credentials(), error.is_outage()), (true, is_outage), "{status}: {error:?}");
        assert!(format!("{error:?}").contains(&format!("HTTP status {status}")), "{error:?}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let recorder = Recorder::start(|_, _| (200, "{}")).await;
    let login = ClientCredentials::new(format!("http://{nobody}/token"), "my-api", "secret");
    let endpoint = introspection(&recorder).client_credentials(login).build().unwrap();
    let error = endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert!(error.is_credentials() && error.is_outage(), "{error:?}");
    for (told, is_outage) in [(IntrospectErrorKind::Connect, true), (IntrospectErrorKind::Answer, false)] {
        let hook = move || async move { Err(IntrospectError::new(told).into()) };
        let endpoint = introspection(&recorder).credentials(hook).build().unwrap();
        let error = endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
        assert_eq!((error.is_credentials(), error.is_outage()), (true, is_outage), "a hook: {error:?}");
    }
}

#[tokio::test]
async fn a_login_whose_server_is_down_is_no_outage_of_the_authority_that_was_asked_before_it() {
    let logins = AtomicUsize::new(0);
    let recorder = Recorder::start(move |_, seen: &Seen| match seen.uri.as_str() {
        "/token" if logins.fetch_add(1, Ordering::SeqCst) == 0 => (200, r#"{"access_token":"a","expires_in":600}"#),
        "/token" => (503, ""),
        _ => (401, ""),
    })
    .await;
    let builder = introspection(&recorder).client_credentials(login(&recorder));
    let endpoint = builder.limits(Limits::new().breaker_threshold(1)).build().unwrap();
    let error = endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert!(error.is_outage(), "{error:?}");
    assert_eq!(endpoint.endpoint().unwrap().stats().breaker, BreakerState::Closed);
}

#[tokio::test]
#[cfg(feature = "private-key-jwt")]
async fn a_login_may_sign_an_assertion_for_the_token_endpoint() {
    let recorder = Recorder::with_token_endpoint("/token", ACTIVE, |_| false).await;
    let url = format!("{}/token", recorder.url());
    let login = ClientCredentials::with_private_key_jwt(&url, key());
    asked(introspection(&recorder).client_credentials(login)).await;
    assert_eq!(claims(&logins(&recorder)[0])["aud"], url);
}

/// A server that publishes `document` at `path`, with `{issuer}` in it replaced by its own address.
async fn publishing(path: &'static str, document: &'static str) -> Recorder {
    Recorder::start(move |_, seen: &Seen| match seen.uri.as_str() {
        uri if uri == path => {
            (200, document.replace("{issuer}", &format!("http://{}", seen.headers["host"].to_str().unwrap())))
        }
        "/introspect" => (200, ACTIVE.to_owned()),
        _ => (404, String::new()),
    })
    .await
}

async fn discovered(issuer: String) -> Result<Rfc7662Builder, DiscoveryError> {
    Rfc7662::discover(issuer).fetch().await
}

const METADATA: &str = r#"{"issuer":"{issuer}/a","introspection_endpoint":"{issuer}/introspect"}"#;

#[tokio::test]
async fn an_endpoint_is_found_in_every_well_known_place() {
    for path in [
        "/.well-known/oauth-authorization-server/a",
        "/a/.well-known/openid-configuration",
        "/.well-known/openid-configuration/a",
    ] {
        let server = publishing(path, METADATA).await;
        let builder = discovered(format!("{}/a", server.url())).await.unwrap();
        let endpoint = builder.client_secret("id", "secret").build().unwrap();
        assert_eq!(endpoint.url(), Some(format!("{}/introspect", server.url()).as_str()));
        assert!(endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
        assert_eq!(server.requests().last().unwrap().headers["authorization"], "Basic aWQ6c2VjcmV0");
    }
}

#[tokio::test]
async fn the_way_to_authenticate_is_chosen_from_what_the_server_lists() {
    let path = "/.well-known/oauth-authorization-server";
    let post = r#"{"issuer":"{issuer}","introspection_endpoint":"{issuer}/introspect","introspection_endpoint_auth_methods_supported":["private_key_jwt","client_secret_post"]}"#;
    let server = publishing(path, post).await;
    asked(discovered(server.url().to_owned()).await.unwrap().client_secret("id", "s")).await;
    assert_eq!(server.requests().last().unwrap().parameter("client_secret").as_deref(), Some("s"));
    let at_the_token_endpoint = r#"{"issuer":"{issuer}","introspection_endpoint":"{issuer}/introspect","token_endpoint_auth_methods_supported":["client_secret_post"]}"#;
    let server = publishing(path, at_the_token_endpoint).await;
    asked(discovered(server.url().to_owned()).await.unwrap().client_secret("id", "s")).await;
    assert_eq!(server.requests().last().unwrap().parameter("client_secret").as_deref(), Some("s"));
    let neither = r#"{"issuer":"{issuer}","introspection_endpoint":"{issuer}/introspect","introspection_endpoint_auth_methods_supported":["private_key_jwt"]}"#;
    let server = publishing(path, neither).await;
    let error = discovered(server.url().to_owned()).await.unwrap().client_secret("id", "s").build().unwrap_err();
    assert_eq!(error.setting(), "client_secret");
    assert!(error.to_string().contains("private_key_jwt"), "{error}");
    #[cfg(feature = "private-key-jwt")]
    {
        asked(discovered(server.url().to_owned()).await.unwrap().private_key_jwt(key())).await;
        assert_eq!(claims(server.requests().last().unwrap())["aud"], server.url(), "the issuer");
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_refused_and_whatever_is_missing_is_named() {
    let server = publishing("/.well-known/oauth-authorization-server/a", METADATA).await;
    let message = async |issuer: String| discovered(issuer).await.unwrap_err().to_string();
    let mismatch = message(format!("{}/a/", server.url())).await;
    assert!(mismatch.contains("another issuer") && mismatch.contains("/a\""), "a slash counts: {mismatch}");
    let other = publishing(
        "/.well-known/oauth-authorization-server",
        r#"{"issuer":"https://evil.example","introspection_endpoint":"{issuer}/x"}"#,
    )
    .await;
    let mismatch = message(other.url().to_owned()).await;
    assert!(mismatch.contains("another issuer") && mismatch.contains("https://evil.example"), "{mismatch}");
    // With a slash at the end it is another issuer, RFC 8414 section 3.3.
    let own = publishing(
        "/.well-known/oauth-authorization-server",
        r#"{"issuer":"{issuer}","introspection_endpoint":"{issuer}/x"}"#,
    )
    .await;
    assert!(message(format!("{}/", own.url())).await.contains("another issuer"));
    let lacking = publishing("/.well-known/oauth-authorization-server", r#"{"issuer":"{issuer}"}"#).await;
    let lacks = message(lacking.url().to_owned()).await;
    assert!(
        lacks.contains("no `introspection_endpoint`") && lacks.contains("openid-configuration: HTTP status 404"),
        "{lacks}"
    );
    let page = publishing("/.well-known/oauth-authorization-server", "<html>").await;
    assert!(message(page.url().to_owned()).await.contains("not a metadata document"));
    for (issuer, named) in [
        ("nonsense", "not a URL"),
        ("http://auth.example.com", "use https"),
        ("https://auth.example.com/?a=b", "no query"),
    ] {
        let error = discovered(issuer.to_owned()).await.unwrap_err();
        // A query may be a secret.
        let shown = issuer.trim_end_matches("?a=b");
        assert_eq!(error.to_string(), format!("discovery of {shown}: `issuer` cannot work"));
        let refused = error.source().unwrap().downcast_ref::<BuildError>().unwrap();
        assert!(refused.setting() == "issuer" && refused.to_string().contains(named), "{refused}");
    }
    let hasty = Rfc7662::discover(own.url()).request_timeout(secs(0)).fetch().await.unwrap_err();
    assert_eq!(hasty.source().unwrap().downcast_ref::<BuildError>().unwrap().setting(), "request_timeout");
    let (_kept, address) = refusing();
    let error = discovered(format!("http://{address}")).await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("refused"), "{error}");
    assert!(!discovered(page.url().to_owned()).await.unwrap_err().is_unreachable());
    assert!(
        !Rfc7662::discover(page.url())
            .connection(Connection::new().max_response_bytes(1))
            .fetch()
            .await
            .unwrap_err()
            .is_unreachable()
    );
    for (status, may_answer_another_time) in [(429, true), (502, true), (503, true), (504, true), (500, false)] {
        let server = Recorder::start(move |_, _| (status, String::new())).await;
        let error = discovered(server.url().to_owned()).await.unwrap_err();
        assert_eq!(error.is_unreachable(), may_answer_another_time, "{error}");
    }
}

#[tokio::test]
async fn settings_of_the_discovery_go_over_to_the_endpoint() {
    let server = publishing("/.well-known/oauth-authorization-server/a", METADATA).await;
    let small = Rfc7662::discover(format!("{}/a", server.url())).connection(Connection::new().max_response_bytes(14));
    assert!(small.fetch().await.unwrap_err().to_string().contains("`max_response_bytes`"));
    let large = Recorder::start(|_, seen: &Seen| {
        let host = format!("http://{}", seen.headers["host"].to_str().unwrap());
        match seen.uri.as_str() {
            "/introspect" => (200, format!(r#"{{"active":true,"padding":"{}"}}"#, "x".repeat(200))),
            _ => (200, format!(r#"{{"issuer":"{host}","introspection_endpoint":"{host}/introspect"}}"#)),
        }
    })
    .await;
    let found =
        Rfc7662::discover(large.url()).connection(Connection::new().max_response_bytes(200)).fetch().await.unwrap();
    let error = found.client_secret("a", "b").build().unwrap().introspect(Ask::new(&bearer("abc"))).await.unwrap_err();
    assert_eq!(error.kind(), IntrospectErrorKind::Answer);
}

#[tokio::test]
async fn a_required_token_type_is_asked_of_the_answer() {
    let recorder = always_active().await;
    let builder = || introspection(&recorder).client_secret_basic("a", "b");
    assert!(builder().build().unwrap().introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
    let strict = builder().require_token_type(true).build().unwrap();
    assert!(!strict.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_named_by_its_content_type_at_both_endpoints() {
    for (content_type, body, cause) in [
        (
            "application/token-introspection+jwt",
            "eyJhbGciOiJub25lIn0.eyJhY3RpdmUiOnRydWV9.",
            "it is not JSON, but `application/token-introspection+jwt`",
        ),
        ("text/html; charset=utf-8", "<html>", "it is not JSON, but `text/html`"),
        ("text/html", "[]", "it is JSON, but not an object"),
        ("application/json", "<html>", "it is not JSON: the fault is near line 1, column 1"),
        (
            "text/plain",
            r#"{"active":true,"a":{"b":1,"b":2}}"#,
            "an object holds a member twice, the second time before byte 31",
        ),
    ] {
        let recorder = Recorder::answering_as(content_type, body).await;
        let endpoint = introspection(&recorder).client_secret_basic("a", "b").build().unwrap();
        let apigee = Apigee::builder("demo").base_url(recorder.url()).basic_auth("a", "b").build().unwrap();
        for error in
            [endpoint.introspect(Ask::new(&bearer("abc"))).await, apigee.introspect(Ask::new(&bearer("abc"))).await]
        {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), IntrospectErrorKind::Answer);
            assert_eq!(std::error::Error::source(&error).unwrap().to_string(), cause);
        }
    }
}

#[tokio::test]
async fn what_an_endpoint_says_of_a_kind_of_token_is_about_the_token() {
    let recorder = Recorder::start(|_, _| (400, r#"{"error":"unsupported_token_type"}"#)).await;
    let endpoint = introspection(&recorder).client_secret_basic("a", "b").build().unwrap();
    assert!(!endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active());
}

#[tokio::test]
async fn a_discovered_endpoint_in_clear_text_is_refused() {
    let server = publishing(
        "/.well-known/oauth-authorization-server",
        r#"{"issuer":"{issuer}","introspection_endpoint":"http://auth.example.com/x"}"#,
    )
    .await;
    let error = discovered(server.url().to_owned()).await.unwrap().client_secret("a", "b").build().unwrap_err();
    assert_eq!(error.setting(), "introspection_endpoint");
}

/// An authority that says of whoever shows another credential than the one of this login: 401, and inactive.
#[cfg(feature = "test-util")]
async fn accepting(login: Arc<AtomicUsize>) -> Recorder {
    Recorder::start(move |_, seen: &Seen| {
        let accepted = format!("Bearer login-{}", login.load(Ordering::SeqCst));
        if seen.headers["authorization"] == accepted.as_str() { (200, ACTIVE) } else { (401, r#"{"active":false}"#) }
    })
    .await
}

#[tokio::test]
#[cfg(feature = "test-util")]
async fn a_401_that_says_inactive_alone_is_believed_once_the_service_has_logged_in_anew() {
    let (accepted, logins) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
    let recorder = accepting(Arc::clone(&accepted)).await;
    let clock = tower_introspection::clock::ManualClock::at(START);
    let log_in = {
        let logins = Arc::clone(&logins);
        move || {
            let login = logins.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Ok(Credential::bearer(format!("login-{login}"))?) }
        }
    };
    let endpoint = introspection(&recorder).credentials(log_in).clock(clock.clone()).build().unwrap();
    let is_active = async || endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap().is_active();
    let logins = || logins.load(Ordering::SeqCst);
    assert!(is_active().await);
    accepted.store(2, Ordering::SeqCst);
    assert!(is_active().await, "it was about the credential");
    assert_eq!(logins(), 2);
    accepted.store(0, Ordering::SeqCst);
    clock.advance(millis(29_999));
    assert!(!is_active().await, "a moment ago it was about the credential, so this is about the token");
    assert_eq!((logins(), recorder.requests().len()), (2, 4));
    clock.advance(millis(1));
    assert!(!is_active().await && !is_active().await, "even with another credential");
    assert_eq!((logins(), recorder.requests().len()), (3, 7));
}

#[tokio::test]
#[cfg(feature = "test-util")]
async fn a_401_that_says_inactive_alone_costs_no_credential_that_was_good() {
    let (accepted, logins) = (Arc::new(AtomicUsize::new(1)), AtomicUsize::new(0));
    let recorder = accepting(Arc::clone(&accepted)).await;
    let log_in = move || {
        let is_first = logins.fetch_add(1, Ordering::SeqCst) == 0;
        async move { if is_first { Ok(Credential::bearer("login-1")?) } else { Err("the login is down".into()) } }
    };
    let endpoint = introspection(&recorder).credentials(log_in).build().unwrap();
    let is_active = async || endpoint.introspect(Ask::new(&bearer("abc"))).await.map(|verdict| verdict.is_active());
    assert!(is_active().await.unwrap());
    accepted.store(0, Ordering::SeqCst);
    assert!(!is_active().await.unwrap(), "whoever cannot log in has to believe it");
    accepted.store(1, Ordering::SeqCst);
    assert!(is_active().await.unwrap());
    assert_eq!(recorder.authorizations(), ["Bearer login-1"; 3]);
}
