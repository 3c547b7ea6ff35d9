//! What runs beside a test: servers and programs that `.ci/interop` has installed.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tower_introspection::Rfc7662;
use tower_introspection::rfc7662::Rfc7662Builder;

use crate::support::{client, patiently};

/// Where `.ci/interop` puts what it installs.
pub fn installed() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).join("interop")
}

/// Whether a test can be run that wants these. If they are missing and have to be there, it fails.
pub fn is_installed(name: &str, program: &Path, script: &Path) -> bool {
    let Some(missing) = [program, script].into_iter().find(|file| !file.exists()) else { return true };
    let required = std::env::var("INTEROP").is_ok_and(|value| value == "required");
    assert!(!required, "{name} is not installed: {} is missing; run `bash .ci/interop`", missing.display());
    // Past the capture of the test runner, which shows nothing of tests that pass.
    let skipped = format!("SKIPPED: {name} is not installed ({}); run `bash .ci/interop`\n", missing.display());
    std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    false
}

/// A server that runs for one test. It ends with its standard input, so also if the test is killed.
pub struct Server {
    pub facts: Value,
    _process: Child,
}

impl Server {
    /// `None` if it is not installed and need not be.
    async fn start(name: &str, program: &Path, script: &Path, arguments: &[&str]) -> Option<Self> {
        if !is_installed(name, program, script) {
            return None;
        }
        let mut process = Command::new(program)
            .arg(script)
            .args(arguments)
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

    pub async fn oidc_provider() -> Option<Self> {
        Self::oidc_provider_with(&[]).await
    }

    /// One that tells of logouts there.
    pub async fn oidc_provider_that_tells(url: &str) -> Option<Self> {
        Self::oidc_provider_with(&[url]).await
    }

    async fn oidc_provider_with(arguments: &[&str]) -> Option<Self> {
        let node = which("node");
        Self::start("oidc-provider", &node, &installed().join("oidc-provider/server.mjs"), arguments).await
    }

    pub async fn authlib() -> Option<Self> {
        let python = installed().join("authlib/venv/bin/python");
        Self::start("Authlib", &python, &installed().join("authlib/server.py"), &[]).await
    }

    /// It answers in a way of its own, and so has tests of its own. `version` is the end of a folder's name.
    pub async fn django_oauth_toolkit(version: &str) -> Option<Self> {
        let folder = installed().join("django-oauth-toolkit");
        let python = folder.join(format!("venv{version}/bin/python"));
        Self::start("django-oauth-toolkit", &python, &folder.join("server.py"), &[]).await
    }

    /// Those that answer as RFC 7662 has it, with all that tokens of this service hold.
    pub async fn all() -> Vec<Self> {
        [Self::oidc_provider().await, Self::authlib().await].into_iter().flatten().collect()
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.facts.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {}", self.facts))
    }

    pub fn endpoint(&self) -> Rfc7662Builder {
        Rfc7662::builder(self.text("/introspection_endpoint"))
    }

    pub fn basic(&self) -> Rfc7662 {
        self.endpoint()
            .client_secret_basic(self.text("/basic/client_id"), self.text("/basic/client_secret"))
            .build()
            .unwrap()
    }

    /// Posts as the client whose credentials these are.
    pub async fn post(&self, client_of: &str, url: &str, form: &[(&str, &str)]) -> Value {
        let text = |member: &str| self.text(&format!("{client_of}/{member}"));
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let response = client()
            .post(url)
            .basic_auth(text("client_id"), Some(text("client_secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.json().await.unwrap_or_default()
    }

    pub async fn issue(&self) -> String {
        self.issue_to("/app", &[]).await
    }

    pub async fn issue_to(&self, client_of: &str, more: &[(&str, &str)]) -> String {
        let form = [&[("grant_type", "client_credentials"), ("scope", "read write")], more].concat();
        let answer = self.post(client_of, self.text("/token_endpoint"), &form).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn revoke(&self, token: &str) {
        self.revoke_by("/app", token).await;
    }

    pub async fn revoke_by(&self, client_of: &str, token: &str) {
        self.post(client_of, self.text("/revocation_endpoint"), &[("token", token)]).await;
    }
}

pub fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.exists())
        .unwrap_or_else(|| program.into())
}

/// Hands a program one object of JSON, and returns what it prints.
pub async fn run(program: &Path, script: &Path, input: &Value) -> Value {
    let mut process = Command::new(program)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = patiently(process.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
