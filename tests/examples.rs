//! The quickstart as a newcomer meets it: its output, its curl lines, Ctrl-C, and bad environment values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(all(feature = "axum", feature = "sandbox", unix))]

mod support;

use std::path::PathBuf;
use std::process::{Output, Stdio};

use support::secs;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// Cargo builds the examples beside the tests.
fn quickstart() -> Command {
    let mut path = PathBuf::from(std::env::current_exe().unwrap().parent().unwrap().parent().unwrap());
    path.extend(["examples", "quickstart"]);
    assert!(
        path.exists(),
        "{} is missing: run `cargo test`, or `cargo build --example quickstart` first",
        path.display()
    );
    let mut command = Command::new(path);
    command.env_clear().env("LISTEN_ADDR", "127.0.0.1:0").stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn refused(variables: &[(&str, &str)]) -> Output {
    quickstart().envs(variables.iter().copied()).output().await.unwrap()
}

#[tokio::test]
async fn a_bad_environment_value_is_one_line_that_names_the_variable_and_exit_code_2() {
    let apigee = [("APIGEE_ORG", "o"), ("APIGEE_USERNAME", "u"), ("APIGEE_PASSWORD", "p")];
    let with = |name: &'static str, value: &'static str| [&apigee[..], &[(name, value)]].concat();
    for (variables, named) in [
        (vec![("LISTEN_ADDR", "nowhere")], "LISTEN_ADDR"),
        (vec![("LISTEN_ADDR", "192.0.2.1:1")], "LISTEN_ADDR"),
        (vec![("MAX_TTL", "-1")], "MAX_TTL"),
        (vec![("MAX_TTL", "1.5")], "MAX_TTL"),
        (vec![("INACTIVE_TTL", "soon")], "INACTIVE_TTL"),
        (vec![("INACTIVE_TTL", "")], "INACTIVE_TTL"),
        (vec![("RUST_LOG", "a=b=c")], "RUST_LOG"),
        (vec![("APIGEE_BASE_URL", "https://example.com/v1")], "APIGEE_ORG"),
        (vec![("APIGEE_ORG", "o")], "APIGEE_USERNAME"),
        (vec![("APIGEE_ORG", "o"), ("APIGEE_USERNAME", "u")], "APIGEE_PASSWORD"),
        (with("APIGEE_ORG", "a/b"), "APIGEE_ORG"),
        (with("APIGEE_USERNAME", "a:b"), "APIGEE_USERNAME"),
        (with("APIGEE_BASE_URL", "http://example.com/v1"), "APIGEE_BASE_URL"),
    ] {
        let output = refused(&variables).await;
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{variables:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.starts_with(&format!("{named}: ")), "{message}");
    }
}

async fn started(command: &mut Command) -> (Child, Vec<String>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let last = line.starts_with("listening on http://");
        seen.push(line);
        if last {
            let mut rest = lines.into_inner();
            // Goes on reading, so that the child never waits for us.
            tokio::spawn(async move { rest.read_to_end(&mut Vec::new()).await });
            return (child, seen);
        }
    }
    panic!("it ended early: {seen:#?}");
}

/// Does what a printed curl line does, and returns the status and what follows the line's `#`.
async fn curl(line: &str) -> (u16, String) {
    let (command, promise) = line.split_once("  # ").unwrap();
    let url = command.split(['\'', ' ']).find(|word| word.starts_with("http://")).unwrap();
    let method = if command.contains("-X POST") { http::Method::POST } else { http::Method::GET };
    let mut request = reqwest::Client::builder().no_proxy().build().unwrap().request(method, url);
    if let Some((_, rest)) = command.split_once("Authorization: ") {
        request = request.header("authorization", rest.split('\'').next().unwrap());
    }
    if let Some((_, rest)) = command.split_once("-u '") {
        let (user, password) = rest.split('\'').next().unwrap().split_once(':').unwrap();
        request = request.basic_auth(user, Some(password));
    }
    (request.send().await.unwrap().status().as_u16(), promise.to_owned())
}

#[tokio::test]
async fn every_printed_curl_line_gets_the_status_it_promises_and_ctrl_c_ends_it() {
    // A proxy in the environment is no way to this machine's own loopback.
    let (mut child, lines) = started(quickstart().env("MAX_TTL", "0").env("HTTP_PROXY", "http://127.0.0.1:1")).await;
    for token in ["active token: ", "admin token: ", "revoked token: ", "expired token: "] {
        assert!(lines.iter().any(|line| line.starts_with(token)), "{lines:#?}");
    }
    let mut promised = Vec::new();
    for line in lines.iter().filter(|line| line.starts_with("curl ")) {
        let (status, promise) = curl(line).await;
        assert!(promise.starts_with(&status.to_string()), "{status} of {line}");
        promised.push(status);
    }
    assert_eq!(promised, [200, 401, 200, 403, 200, 401, 401, 401, 400, 204]);
    // The last line revoked the active token; with MAX_TTL=0 the window is shut at once.
    let whoami = lines.iter().find(|line| line.contains("200, the facts")).unwrap();
    assert_eq!(curl(whoami).await.0, 401);

    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(secs(30), child.wait()).await.expect("it shuts down").unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn with_an_organisation_set_it_asks_that_endpoint() {
    let sandbox = tower_introspection::sandbox::Sandbox::start().await.unwrap();
    let token = sandbox.issue(tower_introspection::sandbox::SandboxToken::new());
    let (child, lines) = started(
        quickstart()
            .env("APIGEE_ORG", sandbox.org())
            .env("APIGEE_BASE_URL", sandbox.base_url())
            .env("APIGEE_USERNAME", sandbox.username())
            .env("APIGEE_PASSWORD", sandbox.password()),
    )
    .await;
    let base = lines.last().unwrap().strip_prefix("listening on ").unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let whoami = || client.get(format!("{base}/whoami")).bearer_auth(&token).send();
    assert_eq!(whoami().await.unwrap().status(), 200);
    sandbox.revoke(&token);
    assert_eq!(whoami().await.unwrap().status(), 200, "the answer is kept for the default of 60 seconds");
    assert_eq!(sandbox.calls(&token), 1);
    drop(child);
}
