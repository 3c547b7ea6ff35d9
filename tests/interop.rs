//! Authorization servers that nobody here wrote, on loopback: `oidc-provider` (npm), `Authlib` and
//! `django-oauth-toolkit` (PyPI).
//!
//! They need node and python with packages that `.ci/interop` installs. Where that has not been done these tests say so
//! and test nothing, unless `INTEROP=required` is set, as it is in CI: then what is missing is a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use support::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tower::{Layer, ServiceExt};
use tower_introspection::credentials::ClientCredentials;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rejection::RejectionKind;
use tower_introspection::rfc7662::Rfc7662Builder;
use tower_introspection::{AccessToken, Cached, InactiveReason, Introspect, IntrospectionLayer, Rfc7662, Verdict};

/// Where `.ci/interop` puts what it installs.
fn installed() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).join("interop")
}

/// A server that runs for one test. It ends with its standard input, so also if the test is killed.
struct Server {
    facts: Value,
    _process: Child,
}

impl Server {
    /// `None` if it is not installed and need not be.
    async fn start(name: &str, program: &Path, script: &Path) -> Option<Self> {
        if let Some(missing) = [program, script].into_iter().find(|file| !file.exists()) {
            let required = std::env::var("INTEROP").is_ok_and(|value| value == "required");
            assert!(!required, "{name} is not installed: {} is missing; run `bash .ci/interop`", missing.display());
            // Past the capture of the test runner, which shows nothing of tests that pass.
            let skipped = format!("SKIPPED: {name} is not installed ({}); run `bash .ci/interop`\n", missing.display());
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            return None;
        }
        let mut process = Command::new(program)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = patiently(lines.next_line()).await.unwrap().expect("it says where it listens");
        Some(Self { facts: serde_json::from_str(&line).unwrap(), _process: process })
    }

    async fn oidc_provider() -> Option<Self> {
        let node = which("node");
        Self::start("oidc-provider", &node, &installed().join("oidc-provider/server.mjs")).await
    }

    async fn authlib() -> Option<Self> {
        let python = installed().join("authlib/venv/bin/python");
        Self::start("Authlib", &python, &installed().join("authlib/server.py")).await
    }

    /// It answers in a way of its own, and so has tests of its own. `version` is the end of a folder's name.
    async fn django_oauth_toolkit(version: &str) -> Option<Self> {
        let folder = installed().join("django-oauth-toolkit");
        let python = folder.join(format!("venv{version}/bin/python"));
        Self::start("django-oauth-toolkit", &python, &folder.join("server.py")).await
    }

    /// Those that answer as RFC 7662 has it, with all that tokens of this service hold.
    async fn all() -> Vec<Self> {
        [Self::oidc_provider().await, Self::authlib().await].into_iter().flatten().collect()
    }

    fn text(&self, pointer: &str) -> &str {
        self.facts.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {}", self.facts))
    }

    fn endpoint(&self) -> Rfc7662Builder {
        Rfc7662::builder(self.text("/introspection_endpoint"))
    }

    fn basic(&self) -> Rfc7662 {
        self.endpoint()
            .client_secret_basic(self.text("/basic/client_id"), self.text("/basic/client_secret"))
            .build()
            .unwrap()
    }

    async fn post(&self, url: &str, form: &[(&str, &str)]) -> Value {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let response = client()
            .post(url)
            .basic_auth(self.text("/app/client_id"), Some(self.text("/app/client_secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.json().await.unwrap_or_default()
    }

    async fn issue(&self) -> String {
        let form = [("grant_type", "client_credentials"), ("scope", "read write")];
        let answer = self.post(self.text("/token_endpoint"), &form).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn revoke(&self, token: &str) {
        self.post(self.text("/revocation_endpoint"), &[("token", token)]).await;
    }
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.exists())
        .unwrap_or_else(|| program.into())
}

async fn verdict(endpoint: &impl Introspect, token: &str) -> Verdict {
    endpoint.introspect(Ask::new(&bearer(token))).await.unwrap()
}

async fn active(endpoint: &impl Introspect, token: &str) -> AccessToken {
    match verdict(endpoint, token).await {
        Verdict::Active(facts) => facts,
        Verdict::Inactive(reason) => panic!("{reason:?}"),
    }
}

#[tokio::test]
async fn a_token_is_active_until_it_is_revoked_and_an_unknown_one_never_is() {
    for server in Server::all().await {
        let endpoint = server.basic();
        let token = server.issue().await;
        let facts = active(&endpoint, &token).await;
        assert_eq!(facts.client_id(), Some("app"));
        assert_eq!(facts.scopes().to_string(), "read write");
        assert_eq!(facts.audience().collect::<Vec<_>>(), ["https://api.example.com"]);
        assert_eq!(facts.issuer(), Some(server.text("/issuer")));
        let lifetime = facts.expires_at().unwrap().saturating_since(facts.issued_at().unwrap());
        assert!(lifetime > secs(0), "{lifetime:?}");
        assert!(!serde_json::to_string(&facts).unwrap().contains(&token));
        for dead in ["nobody-issued-this", &{
            server.revoke(&token).await;
            token
        }] {
            assert!(matches!(verdict(&endpoint, dead).await, Verdict::Inactive(InactiveReason::Unknown)));
        }
    }
}

#[tokio::test]
async fn the_endpoint_is_discovered_from_the_issuer() {
    for server in Server::all().await {
        let builder = Rfc7662::discover(server.text("/issuer")).fetch().await.unwrap();
        let endpoint = builder
            .client_secret(server.text("/basic/client_id"), server.text("/basic/client_secret"))
            .build()
            .unwrap();
        assert_eq!(endpoint.url(), Some(server.text("/introspection_endpoint")));
        active(&endpoint, &server.issue().await).await;
    }
}

#[tokio::test]
async fn every_kind_of_client_is_let_in_and_a_wrong_secret_is_our_fault() {
    for server in Server::all().await {
        let token = server.issue().await;
        let (id, secret) = (server.text("/post/client_id"), server.text("/post/client_secret"));
        active(&server.endpoint().client_secret_post(id, secret).build().unwrap(), &token).await;
        for wrong in [
            server.endpoint().client_secret_post(id, "wrong"),
            server.endpoint().client_secret_basic(server.text("/basic/client_id"), "wrong"),
            server.endpoint().client_secret_basic("nobody", "wrong"),
        ] {
            let error = wrong.build().unwrap().introspect(Ask::new(&bearer(&token))).await.unwrap_err();
            assert_eq!(error.kind(), IntrospectErrorKind::Credentials, "{error:?}");
        }
    }
}

#[tokio::test]
#[cfg(feature = "private-key-jwt")]
async fn assertions_signed_with_rs256_and_es256_are_accepted_by_oidc_provider() {
    let Some(server) = Server::oidc_provider().await else { return };
    let token = server.issue().await;
    for client in server.facts["private_key_jwt"].as_array().unwrap() {
        let text = |member: &str| client[member].as_str().unwrap();
        let key = || {
            let key =
                tower_introspection::credentials::PrivateKeyJwt::from_pem(text("client_id"), text("private_key_pem"))
                    .unwrap();
            key.key_id(text("key_id"))
        };
        let discovered = Rfc7662::discover(server.text("/issuer")).fetch().await.unwrap();
        let endpoint = discovered.private_key_jwt(key()).build().unwrap();
        for _ in 0..2 {
            active(&endpoint, &token).await;
        }
        let wrong = server.endpoint().private_key_jwt(key().audience("https://elsewhere.example")).build().unwrap();
        assert!(wrong.introspect(Ask::new(&bearer(&token))).await.unwrap_err().is_credentials());
    }
}

#[tokio::test]
async fn a_token_that_looks_like_a_jwt_is_inactive_and_no_outage() {
    for server in Server::all().await {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        assert!(!verdict(&server.basic(), token).await.is_active());
    }
}

#[tokio::test]
async fn the_client_credentials_grant_works_at_both() {
    for server in Server::all().await {
        // These servers let no bearer token introspect, so what counts is that the login itself succeeded.
        let (id, secret) = (server.text("/app/client_id"), server.text("/app/client_secret"));
        let login = ClientCredentials::new(server.text("/token_endpoint"), id, secret).scope("read");
        let endpoint = server.endpoint().client_credentials(login).build().unwrap();
        let error = format!("{:?}", endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err());
        assert!(error.contains("HTTP status") && !error.contains("the token endpoint"), "{error}");
        let wrong = ClientCredentials::new(server.text("/token_endpoint"), id, "wrong");
        let endpoint = server.endpoint().client_credentials(wrong).build().unwrap();
        let error = format!("{:?}", endpoint.introspect(Ask::new(&bearer("abc"))).await.unwrap_err());
        assert!(error.contains("the token endpoint refused") && error.contains("invalid_client"), "{error}");
    }
}

/// What a layer over `endpoint` answers a request with `token`.
async fn through(endpoint: Rfc7662, token: &str) -> Option<RejectionKind> {
    let layer = IntrospectionLayer::builder(Cached::new(endpoint)).require_scope("read").build().unwrap();
    kind(&layer.layer(Idle).oneshot(request(&format!("Bearer {token}"))).await.unwrap())
}

/// A token that comes in, those that do not and are their callers' fault, and our own credentials that do not fit.
async fn assert_django_oauth_toolkit_is_understood(server: &Server) {
    let token = server.issue().await;
    let facts = active(&server.basic(), &token).await;
    assert_eq!((facts.client_id(), facts.scopes().to_string().as_str()), (Some("app"), "read write"));
    assert!(facts.expires_at().is_some() && facts.issuer().is_none() && facts.audience().next().is_none(), "{facts:?}");
    assert_eq!(through(server.basic(), &token).await, None);

    let (id, secret) = (server.text("/basic/client_id"), server.text("/basic/client_secret"));
    for wrong in [
        server.endpoint().client_secret_basic(id, "wrong"),
        server.endpoint().client_secret_basic("nobody", secret),
        server.endpoint().client_secret_post(id, "wrong"),
        // A bearer without the scope `introspection`.
        server.endpoint().bearer_token(&token),
        server.endpoint().bearer_token("nobody-issued-this"),
    ] {
        assert_eq!(through(wrong.build().unwrap(), &token).await, Some(RejectionKind::Unavailable));
    }
    active(&server.endpoint().client_secret_post(id, secret).build().unwrap(), &token).await;
    active(&server.endpoint().bearer_token(server.text("/introspecting_token")).build().unwrap(), &token).await;
    let login = ClientCredentials::new(server.text("/token_endpoint"), id, secret).scope("introspection");
    active(&server.endpoint().client_credentials(login).build().unwrap(), &token).await;

    server.revoke(&token).await;
    for dead in ["nobody-issued-this", server.text("/expired_token"), &token] {
        assert!(matches!(verdict(&server.basic(), dead).await, Verdict::Inactive(InactiveReason::Unknown)), "{dead}");
        assert_eq!(through(server.basic(), dead).await, Some(RejectionKind::InvalidToken), "{dead}");
    }
}

#[tokio::test]
async fn django_oauth_toolkit_is_understood_and_found_by_its_metadata() {
    let Some(server) = Server::django_oauth_toolkit("").await else { return };
    assert_django_oauth_toolkit_is_understood(&server).await;
    let discovered = Rfc7662::discover(server.text("/issuer")).fetch().await.unwrap();
    let (id, secret) = (server.text("/basic/client_id"), server.text("/basic/client_secret"));
    let endpoint = discovered.client_secret(id, secret).build().unwrap();
    assert_eq!(endpoint.url(), Some(server.text("/introspection_endpoint")));
    active(&endpoint, &server.issue().await).await;
}

#[tokio::test]
async fn django_oauth_toolkit_up_to_1_6_is_understood_though_it_answers_401_about_an_unknown_token() {
    let Some(server) = Server::django_oauth_toolkit("-1.6").await else { return };
    assert_django_oauth_toolkit_is_understood(&server).await;
}

/// What a layer over the server answers a request with `token`.
async fn through_a_layer(server: &Server, token: &str) -> Option<RejectionKind> {
    let layer = IntrospectionLayer::builder(Cached::new(server.basic()))
        .require_audience("https://api.example.com")
        .require_issuer(server.text("/issuer"))
        .require_scope("read")
        .build()
        .unwrap();
    kind(&layer.layer(Idle).oneshot(request(&format!("Bearer {token}"))).await.unwrap())
}

#[tokio::test]
async fn a_request_comes_in_through_the_whole_layer_and_a_key_bound_token_does_not() {
    for server in Server::all().await {
        assert_eq!(through_a_layer(&server, &server.issue().await).await, None);
        assert_eq!(through_a_layer(&server, "nobody-issued-this").await, Some(RejectionKind::InvalidToken));
    }
    let Some(server) = Server::oidc_provider().await else { return };
    let bound = server.text("/dpop_token");
    assert!(active(&server.basic(), bound).await.is_sender_constrained());
    assert_eq!(through_a_layer(&server, bound).await, Some(RejectionKind::InvalidToken));
}
