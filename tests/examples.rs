//! The examples as a newcomer meets them: their output, their curl lines, Ctrl-C, and bad environment values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![cfg(all(
    feature = "axum",
    feature = "jwt",
    feature = "metrics",
    feature = "redis",
    feature = "sandbox",
    feature = "status-page",
    unix
))]

#[path = "support/redis.rs"]
mod redis;
mod support;

use std::path::PathBuf;
use std::process::Stdio;

use reqwest::Response;
use serde_json::Value;
use support::{challenge, client, parameter, secs};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tower_introspection::sandbox::{Sandbox, SandboxToken};

/// Cargo builds the examples beside the tests.
fn example(name: &str) -> Command {
    let mut path = PathBuf::from(std::env::current_exe().unwrap().parent().unwrap().parent().unwrap());
    path.extend(["examples", name]);
    assert!(path.exists(), "{} is missing: run `cargo test`, or `cargo build --examples` first", path.display());
    let mut command = Command::new(path);
    // A proxy in the environment is no way to this machine's own loopback.
    command.env_clear().env("LISTEN_ADDR", "127.0.0.1:0").env("HTTP_PROXY", "http://127.0.0.1:1");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn assert_refused(name: &str, variables: &[(&str, &str)], named: &str) {
    let output = example(name).envs(variables.iter().copied()).output();
    let output = support::patiently(output).await.unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{name} {variables:?}: {message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with(&format!("{named}: ")), "{message}");
}

#[tokio::test]
async fn a_bad_environment_value_is_one_line_that_names_the_variable_and_exit_code_2() {
    for name in ["quickstart", "rfc7662", "mcp", "metrics", "fleet", "jwt"] {
        for (variable, value) in [
            ("LISTEN_ADDR", "nowhere"),
            ("LISTEN_ADDR", "192.0.2.1:1"),
            ("MAX_TTL", "-1"),
            ("MAX_TTL", "1.5"),
            ("INACTIVE_TTL", "soon"),
            ("INACTIVE_TTL", ""),
            ("RUST_LOG", "a=b=c"),
        ] {
            assert_refused(name, &[(variable, value)], variable).await;
        }
    }
}

#[tokio::test]
async fn the_quickstart_names_what_is_wrong_with_the_organisation() {
    let apigee = [("APIGEE_ORG", "o"), ("APIGEE_USERNAME", "u"), ("APIGEE_PASSWORD", "p")];
    let with = |name: &'static str, value: &'static str| [&apigee[..], &[(name, value)]].concat();
    for (variables, named) in [
        (vec![("APIGEE_BASE_URL", "https://example.com/v1")], "APIGEE_ORG"),
        (vec![("APIGEE_ORG", "o")], "APIGEE_USERNAME"),
        (vec![("APIGEE_ORG", "o"), ("APIGEE_USERNAME", "u")], "APIGEE_PASSWORD"),
        (with("APIGEE_ORG", "a/b"), "APIGEE_ORG"),
        (with("APIGEE_USERNAME", "a:b"), "APIGEE_USERNAME"),
        (with("APIGEE_BASE_URL", "http://example.com/v1"), "APIGEE_BASE_URL"),
    ] {
        assert_refused("quickstart", &variables, named).await;
    }
}

#[tokio::test]
async fn rfc7662_names_what_is_wrong_with_the_server() {
    let client = [("CLIENT_ID", "c"), ("CLIENT_SECRET", "s")];
    let with = |name: &'static str, value: &'static str| [&client[..], &[(name, value)]].concat();
    let url = ("INTROSPECTION_URL", "https://example.com/introspect");
    let issuer = ("ISSUER", "https://example.com");
    for (variables, named) in [
        (vec![url, issuer], "ISSUER"),
        ([&client[..], &[url, issuer]].concat(), "ISSUER"),
        (client.to_vec(), "INTROSPECTION_URL"),
        (vec![client[0]], "INTROSPECTION_URL"),
        (vec![client[1]], "INTROSPECTION_URL"),
        (vec![url], "CLIENT_ID"),
        (vec![url, client[0]], "CLIENT_SECRET"),
        (vec![issuer], "CLIENT_ID"),
        (vec![issuer, client[0]], "CLIENT_SECRET"),
        (vec![url, client[1], ("CLIENT_ID", "")], "CLIENT_ID"),
        (vec![("INTROSPECTION_URL", "")], "INTROSPECTION_URL"),
        (vec![("ISSUER", "")], "ISSUER"),
        (with("INTROSPECTION_URL", "nowhere"), "INTROSPECTION_URL"),
        (with("INTROSPECTION_URL", "http://example.com/introspect"), "INTROSPECTION_URL"),
        (with("ISSUER", "nowhere"), "ISSUER"),
        (with("ISSUER", "http://example.com"), "ISSUER"),
        (with("ISSUER", "http://127.0.0.1:1"), "ISSUER"),
        (vec![("REQUIRE_SCOPE", "")], "REQUIRE_SCOPE"),
        (vec![("REQUIRE_SCOPE", " ")], "REQUIRE_SCOPE"),
        (vec![("REQUIRE_SCOPE", "read a\"b")], "REQUIRE_SCOPE"),
    ] {
        assert_refused("rfc7662", &variables, named).await;
    }
}

#[tokio::test]
async fn rfc7662_refuses_an_issuer_that_is_not_the_one_of_the_metadata() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = [("CLIENT_ID", sandbox.client_id()), ("CLIENT_SECRET", sandbox.client_secret())];
    for other in [format!("{}/", sandbox.issuer()), sandbox.issuer().replace("127.0.0.1", "localhost")] {
        assert_refused("rfc7662", &[&client[..], &[("ISSUER", &other)]].concat(), "ISSUER").await;
    }
    assert_eq!(sandbox.total_calls(), 0);
}

#[tokio::test]
async fn fleet_names_what_is_wrong_with_the_engine_the_secrets_and_the_authority() {
    const SECRET: &str = "bm90IGEgc2VjcmV0LCBidXQgYW4gZXhhbXBsZSBvZiBvbmU=";
    let engine = [("REDIS_URL", "redis://127.0.0.1:1"), ("FLEET_SECRET", SECRET)];
    let url = ("INTROSPECTION_URL", "https://example.com/introspect");
    let server = [url, ("CLIENT_ID", "c"), ("CLIENT_SECRET", "s")];
    let with = |name: &'static str, value: &'static str| [&engine[..], &server[..], &[(name, value)]].concat();
    for (variables, named) in [
        (vec![engine[0]], "FLEET_SECRET"),
        (engine.to_vec(), "INTROSPECTION_URL"),
        ([&engine[..], &[url]].concat(), "CLIENT_ID"),
        (server.to_vec(), "REDIS_URL"),
        (vec![engine[1]], "REDIS_URL"),
        (vec![("SECOND_FLEET_SECRET", SECRET)], "REDIS_URL"),
        (vec![("FLEET_NAME", "orders")], "REDIS_URL"),
        (vec![("STRICT", "5")], "REDIS_URL"),
        (with("REDIS_URL", "http://127.0.0.1"), "REDIS_URL"),
        (with("REDIS_URL", ""), "REDIS_URL"),
        (with("FLEET_SECRET", "c2hvcnQ="), "FLEET_SECRET"),
        (with("FLEET_SECRET", "no base64"), "FLEET_SECRET"),
        (with("SECOND_FLEET_SECRET", SECRET), "SECOND_FLEET_SECRET"),
        (with("SECOND_FLEET_SECRET", "c2hvcnQ="), "SECOND_FLEET_SECRET"),
        (with("FLEET_NAME", "a b"), "FLEET_NAME"),
        (with("STRICT", "soon"), "STRICT"),
        (with("STRICT", "0"), "STRICT"),
    ] {
        assert_refused("fleet", &variables, named).await;
    }
}

#[tokio::test]
async fn mcp_names_the_address_if_no_resource_can_be_there_without_tls() {
    assert_refused("mcp", &[("LISTEN_ADDR", "0.0.0.0:0")], "LISTEN_ADDR").await;
}

async fn started(command: &mut Command) -> (Child, Vec<String>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = support::patiently(lines.next_line()).await.unwrap() {
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

async fn interrupted(child: Child) {
    ended(child, "-INT").await;
}

async fn ended(mut child: Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(secs(30), child.wait()).await.expect("it shuts down").unwrap();
    assert!(status.success(), "{status}");
}

/// The words of a command as a shell has them, as far as quotes go.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (None, '$' | '\\' | '`' | '&' | '|' | '#' | '?' | '*') => {
                panic!("{c} means something to a shell: {command}")
            }
            _ => words.last_mut().unwrap().push(c),
        }
    }
    assert_eq!(quote, None, "{command}");
    words.retain(|word| !word.is_empty());
    words
}

/// Does what a printed curl line does, and returns the answer and what follows the line's `#`.
async fn curl(line: &str) -> (Response, String) {
    let (command, promise) = line.split_once("  # ").unwrap_or_else(|| panic!("no promise: {line}"));
    let words = words(command);
    let mut words = words.iter();
    assert_eq!((words.next().unwrap().as_str(), words.next().unwrap().as_str()), ("curl", "-i"));
    let (mut method, mut url, mut headers, mut user, mut data) = (None, None, Vec::new(), None, None);
    while let Some(word) = words.next() {
        let mut argument = || words.next().unwrap_or_else(|| panic!("{word} of {line}"));
        match word.as_str() {
            "-X" => method = Some(argument().parse().unwrap()),
            "-H" => headers.push(argument().split_once(": ").unwrap()),
            "-u" => user = Some(argument().split_once(':').unwrap()),
            "-d" => data = Some(argument()),
            word => assert_eq!(url.replace(word), None, "{line}"),
        }
    }
    let implied = if data.is_some() { http::Method::POST } else { http::Method::GET };
    let mut request = client().request(method.unwrap_or(implied), url.unwrap());
    if let Some((user, password)) = user {
        request = request.basic_auth(user, Some(password));
    }
    if let Some(data) = data {
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        request = request.body(data.clone());
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    (support::patiently(request.send()).await.unwrap(), promise.to_owned())
}

/// Runs every curl line, in order, and returns the statuses. Each has to be the one that was promised.
async fn promised(lines: &[String]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for line in lines.iter().filter(|line| line.starts_with("curl ")) {
        let (response, promise) = curl(line).await;
        let status = response.status().as_u16();
        assert!(promise.starts_with(&status.to_string()), "{status} of {line}");
        statuses.push(status);
    }
    statuses
}

async fn whoami(lines: &[String], token: &str) -> u16 {
    let base = lines.last().unwrap().strip_prefix("listening on ").unwrap();
    let answer = client().get(format!("{base}/whoami")).bearer_auth(token).send();
    support::patiently(answer).await.unwrap().status().as_u16()
}

fn line<'l>(lines: &'l [String], promise: &str) -> &'l str {
    lines.iter().find(|line| line.contains(promise)).unwrap_or_else(|| panic!("no {promise} in {lines:#?}"))
}

#[tokio::test]
async fn every_printed_curl_line_gets_the_status_it_promises_and_ctrl_c_ends_it() {
    for (name, revoked) in [("quickstart", 204), ("rfc7662", 200)] {
        let (child, lines) = started(example(name).env("MAX_TTL", "0")).await;
        for token in ["active token: ", "admin token: ", "revoked token: ", "expired token: "] {
            assert!(lines.iter().any(|line| line.starts_with(token)), "{lines:#?}");
        }
        assert_eq!(promised(&lines).await, [200, 401, 200, 403, 200, 401, 401, 401, 400, revoked], "{name}");
        // The last line revoked the active token; with MAX_TTL=0 the window is shut at once.
        assert_eq!(curl(line(&lines, "200, the facts")).await.0.status(), 401, "{name}");
        interrupted(child).await;
    }
}

async fn get(url: &str) -> Response {
    support::patiently(client().get(url).send()).await.unwrap()
}

#[tokio::test]
async fn the_link_to_the_status_page_leads_to_figures_without_a_token() {
    for name in ["quickstart", "rfc7662", "mcp", "metrics", "fleet", "jwt"] {
        let (_child, lines) = started(&mut example(name)).await;
        let link = line(&lines, "status page: ").strip_prefix("status page: ").unwrap();
        let figures = async || {
            let answer = client().get(link).header("accept", "application/json").send();
            support::patiently(answer).await.unwrap().json::<Value>().await.unwrap()["caches"][0].take()
        };
        assert_eq!((&figures().await["misses"], &figures().await["hits"]), (&0.into(), &0.into()), "{name}");
        promised(&lines).await;
        assert!(figures().await["misses"].as_u64() > Some(0), "{name}");

        let page = get(link).await;
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let page = page.text().await.unwrap();
        for token in lines.iter().filter_map(|line| line.split("Bearer ").nth(1)?.split('\'').next()) {
            assert!(!page.contains(token), "{name}: {token}");
        }
    }
}

#[tokio::test]
async fn where_others_can_come_there_is_no_status_page() {
    let (_child, lines) = started(example("quickstart").env("LISTEN_ADDR", "0.0.0.0:0")).await;
    assert!(!lines.iter().any(|line| line.contains("status page")), "{lines:#?}");
    let base = lines.last().unwrap().replace("listening on http://0.0.0.0", "http://127.0.0.1");
    assert_eq!(get(&format!("{base}/healthz")).await.status(), 200);
    assert_eq!(get(&format!("{base}/status")).await.status(), 404);
}

#[tokio::test]
async fn rfc7662_says_that_its_authorization_server_is_the_sandbox() {
    let (_child, lines) = started(&mut example("rfc7662")).await;
    let issuer = line(&lines, "authorization server: http://127.0.0.1:");
    assert!(issuer.ends_with(", the sandbox in this process"), "{issuer}");
    let issuer = issuer.split(['/', ',']).nth(2).unwrap();
    assert!(line(&lines, "-d 'token=").contains(&format!(" http://{issuer}/revoke")), "{lines:#?}");
}

#[tokio::test]
async fn with_required_scopes_the_curl_lines_still_keep_their_promises() {
    for (scopes, admin) in [("orders", 403), ("read", 403), ("orders  write", 403), ("admin", 200), ("admin read", 200)]
    {
        let (child, lines) = started(example("rfc7662").env("REQUIRE_SCOPE", scopes)).await;
        assert_eq!(promised(&lines).await, [200, 401, 200, admin, 200, 403, 401, 401, 401, 400, 200], "{scopes}");
        let (response, _) = curl(line(&lines, "403, what REQUIRE_SCOPE asks for is missing")).await;
        let wanted = challenge(&response.headers()["www-authenticate"]);
        let wanted = parameter(&wanted, "scope").unwrap();
        assert_eq!(wanted, scopes.replace("  ", " "));
        interrupted(child).await;
    }
}

#[tokio::test]
async fn with_an_organisation_set_it_asks_that_endpoint() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = sandbox.issue(SandboxToken::new());
    let (_child, lines) = started(
        example("quickstart")
            .env("APIGEE_ORG", sandbox.org())
            .env("APIGEE_BASE_URL", sandbox.base_url())
            .env("APIGEE_USERNAME", sandbox.username())
            .env("APIGEE_PASSWORD", sandbox.password()),
    )
    .await;
    assert_eq!(whoami(&lines, &token).await, 200);
    sandbox.revoke(&token);
    assert_eq!(whoami(&lines, &token).await, 200, "the answer is kept for the default of 60 seconds");
    assert_eq!(sandbox.calls(&token), 1);
}

#[tokio::test]
async fn with_an_endpoint_or_an_issuer_set_rfc7662_asks_that_server() {
    let sandbox = Sandbox::start().await.unwrap();
    for place in [("INTROSPECTION_URL", format!("{}/introspect", sandbox.issuer())), ("ISSUER", sandbox.issuer())] {
        let token = sandbox.issue(SandboxToken::new().scope("read orders"));
        let unscoped = sandbox.issue(SandboxToken::new().scope("read"));
        let (_child, lines) = started(
            example("rfc7662")
                .envs([place])
                .env("CLIENT_ID", sandbox.client_id())
                .env("CLIENT_SECRET", sandbox.client_secret())
                .env("REQUIRE_SCOPE", "orders"),
        )
        .await;
        assert!(!lines.iter().any(|line| line.contains("sandbox")), "{lines:#?}");
        // Those with a token of the reader's own promise nothing.
        let (ours, theirs): (Vec<_>, Vec<_>) = lines.iter().cloned().partition(|line| !line.contains("$TOKEN"));
        assert_eq!(promised(&ours).await, [200, 401, 400]);
        assert_eq!(theirs.len(), 2);
        assert_eq!(whoami(&lines, &token).await, 200);
        assert_eq!(whoami(&lines, &unscoped).await, 403);
        assert_eq!(whoami(&lines, "nobody-issued-this").await, 401);
        sandbox.revoke(&token);
        assert_eq!(whoami(&lines, &token).await, 200, "the answer is kept for the default of 60 seconds");
        assert_eq!(sandbox.calls(&token), 1);
    }
}

#[tokio::test]
async fn metrics_keeps_the_promises_of_its_curl_lines_and_shows_what_they_did() {
    let (child, lines) = started(&mut example("metrics")).await;
    assert_eq!(promised(&lines).await, [200, 401, 200, 403, 200, 401, 401, 401, 400, 204, 200, 200, 200]);
    assert_eq!(curl(line(&lines, "/readyz")).await.0.text().await.unwrap(), "healthy\n");
    let metrics = curl(line(&lines, "/metrics")).await.0;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let metrics = metrics.text().await.unwrap();
    for sample in [
        r#"requests_total{outcome="accepted"} 3"#,
        r#"requests_total{outcome="missing_token"} 1"#,
        r#"cache_lookups_total{cache="sandbox",result="hit"} 1"#,
        r#"cache_entries{cache="sandbox",kind="active"} 2"#,
        r#"endpoint_breaker_state{cache="sandbox"} 0"#,
        r#"question_duration_seconds_bucket{cache="sandbox",le="+Inf"} 5"#,
        r#"verdict_age_seconds_bucket{cache="sandbox",le="60"} 3"#,
    ] {
        assert!(metrics.contains(&format!("\ntower_introspection_{sample}\n")), "{sample} in {metrics}");
    }
    interrupted(child).await;
}

#[tokio::test]
async fn fleet_keeps_the_promises_of_its_curl_lines_and_asks_once_for_three_services() {
    // On a busy machine a service may give the engine up for a moment, and ask for itself.
    let (child, lines, revocation) = support::patiently(async {
        loop {
            let (child, lines) = started(&mut example("fleet")).await;
            let revocation = lines.iter().position(|line| line.starts_with("The token is revoked")).unwrap();
            assert_eq!(promised(&lines[..revocation]).await, [200, 200, 200, 200, 200]);
            if curl(line(&lines, "asked once")).await.0.text().await.unwrap() == "1\n" {
                break (child, lines, revocation);
            }
        }
    })
    .await;
    let stats: Value = curl(line(&lines, "/stats")).await.0.json().await.unwrap();
    assert_eq!((&stats["questions"], &stats["misses"], &stats["fleet"]["hits"]), (&0.into(), &1.into(), &1.into()));
    assert_eq!(promised(&lines[revocation..]).await, [200, 200, 204, 401, 401]);
    interrupted(child).await;
}

#[tokio::test]
async fn on_redis_fleet_is_one_service_whose_logout_others_hear_of() {
    let Some(server) = redis::Server::start(redis::Program::Redis, &[]) else { return };
    let sandbox = Sandbox::start().await.unwrap();
    let mut fleet = example("fleet");
    fleet
        .env("REDIS_URL", server.url())
        .env("FLEET_SECRET", "bm90IGEgc2VjcmV0LCBidXQgYW4gZXhhbXBsZSBvZiBvbmU=")
        .env("INTROSPECTION_URL", format!("{}/introspect", sandbox.issuer()))
        .env("CLIENT_ID", sandbox.client_id())
        .env("CLIENT_SECRET", sandbox.client_secret())
        // Longer than anything here is waited for.
        .env("MAX_TTL", "3600");
    let (child, here) = started(&mut fleet).await;
    let (_child, there) = started(&mut fleet).await;
    let base = here.last().unwrap().strip_prefix("listening on ").unwrap();
    let logout = async |token: &str| {
        let answer = client().post(format!("{base}/logout")).bearer_auth(token).send();
        support::patiently(answer).await.unwrap().status()
    };

    // On a busy machine a service may give the engine up for a moment, and ask for itself.
    let token = support::patiently(async {
        loop {
            let token = sandbox.issue(SandboxToken::new());
            assert_eq!((whoami(&here, &token).await, whoami(&there, &token).await), (200, 200));
            if sandbox.calls(&token) == 1 {
                break token;
            }
        }
    })
    .await;
    sandbox.revoke(&token);
    assert_eq!(whoami(&there, &token).await, 200, "the answer is kept for MAX_TTL");
    assert_eq!(logout(&token).await, 204);
    support::patiently(async { while whoami(&there, &token).await != 401 {} }).await;
    assert_eq!(logout(&token).await, 401, "only who has come in can leave");

    let token = sandbox.issue(SandboxToken::new());
    assert_eq!(whoami(&here, &token).await, 200);
    drop(server);
    assert_eq!(logout(&token).await, 202);
    let stats: Value = get(&format!("{base}/stats")).await.json().await.unwrap();
    assert_eq!(stats["fleet"]["queued"], 1);
    ended(child, "-TERM").await;
}

#[tokio::test]
async fn mcp_keeps_the_promises_of_its_curl_lines_and_ctrl_c_ends_it() {
    let (child, lines) = started(&mut example("mcp")).await;
    assert_eq!(promised(&lines).await, [401, 200, 200, 200, 200, 200, 401, 403, 405]);
    interrupted(child).await;
}

#[tokio::test]
async fn mcp_leads_a_client_that_starts_with_nothing_to_the_authorization_server() {
    let (_child, lines) = started(&mut example("mcp")).await;
    let (response, _) = curl(line(&lines, "401, no token")).await;
    let response = challenge(&response.headers()["www-authenticate"]);
    assert_eq!(parameter(&response, "scope"), Some("mcp:tools"));
    assert_eq!(parameter(&response, "error"), None);
    let place = parameter(&response, "resource_metadata").unwrap();

    let resource = line(&lines, "resource: ").split(' ').next_back().unwrap();
    let document: Value = client().get(place).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["resource"], resource);
    assert_eq!(document["scopes_supported"], serde_json::json!(["mcp:tools"]));
    let issuer = document["authorization_servers"][0].as_str().unwrap();
    assert!(line(&lines, "authorization server: ").contains(&format!(" {issuer},")), "{lines:#?}");
    let server: Value = curl(line(&lines, "/.well-known/oauth-authorization-server")).await.0.json().await.unwrap();
    assert_eq!(server["issuer"], issuer);
}

#[tokio::test]
async fn mcp_answers_json_rpc() {
    let (_child, lines) = started(&mut example("mcp")).await;
    let hello: Value = curl(line(&lines, "200, hello")).await.0.json().await.unwrap();
    assert_eq!((&hello["jsonrpc"], &hello["id"]), (&"2.0".into(), &1.into()));
    assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
    let tools: Value = curl(line(&lines, "200, one tool")).await.0.json().await.unwrap();
    assert_eq!(tools["result"]["tools"][0]["name"], "whoami");

    let call = line(&lines, "200, the facts");
    let answer: Value = curl(call).await.0.json().await.unwrap();
    let facts: Value = serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(facts["client_id"], "demo-client");
    let token = call.split("Bearer ").nth(1).unwrap().split('\'').next().unwrap();
    assert!(!answer.to_string().contains(token), "{answer}");

    let resource = line(&lines, "resource: ").split(' ').next_back().unwrap();
    for (message, status, code) in [
        (r#"{"jsonrpc":"2.0","id":"a","method":"resources/list"}"#, 200, Some(-32601)),
        (r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"rm"}}"#, 200, Some(-32602)),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, 202, None),
        (r#"{"id":1,"method":"initialize"}"#, 400, Some(-32600)),
        ("[]", 400, Some(-32600)),
        ("{", 400, Some(-32700)),
        ("", 400, Some(-32700)),
    ] {
        let answer = client().post(resource).bearer_auth(token).body(message).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{message}");
        let body = answer.text().await.unwrap();
        match code {
            Some(code) => {
                let body: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(body["error"]["code"], code, "{message}");
                assert_eq!(body["id"], if status == 200 { "a".into() } else { Value::Null }, "{message}");
            }
            None => assert_eq!(body, "", "{message}"),
        }
    }
}

/// `MAX_TTL` is in every test of a curl line that revokes a token.
#[tokio::test]
async fn inactive_ttl_is_how_long_they_remember_that_a_token_is_unknown() {
    use http::Method;
    for (name, method, path) in [
        ("quickstart", Method::GET, "/whoami"),
        ("rfc7662", Method::GET, "/whoami"),
        ("mcp", Method::POST, "/mcp"),
        ("metrics", Method::GET, "/whoami"),
    ] {
        for (inactive_ttl, questions) in [("3600", 1), ("0", 2)] {
            let (_child, lines) = started(example(name).env("INACTIVE_TTL", inactive_ttl)).await;
            let base = lines.last().unwrap().strip_prefix("listening on ").unwrap();
            for _ in 0..2 {
                let asking = client().request(method.clone(), format!("{base}{path}"));
                let answer = asking.bearer_auth("nobody-issued-this").send();
                assert_eq!(support::patiently(answer).await.unwrap().status(), 401, "{name}");
            }
            let figures = client().get(format!("{base}/status")).header("accept", "application/json").send();
            let figures: Value = support::patiently(figures).await.unwrap().json().await.unwrap();
            assert_eq!(figures["caches"][0]["misses"], questions, "{name} with {inactive_ttl}");
        }
    }
}

#[tokio::test]
async fn axum_answers_its_curl_lines() {
    let mut child = example("axum").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = Vec::new();
    while lines.len() < 3
        && let Some(line) = support::patiently(output.next_line()).await.unwrap()
    {
        lines.push(line);
    }
    let [open, none, token] = &lines[..] else { panic!("{lines:#?}") };
    for (line, status, body) in
        [(open, 200, "open to everyone\n"), (none, 401, ""), (token, 200, "hello demo-client\n")]
    {
        let (answer, _) = curl(&format!("{line}  # {status}")).await;
        assert_eq!(answer.status(), status, "{line}");
        assert_eq!(answer.text().await.unwrap(), body, "{line}");
    }
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn tonic_turns_away_who_has_no_good_token_and_serves_who_has_one() {
    let output = support::patiently(example("tonic").output()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let [none, unknown, called, served] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert_eq!(none, "None: Unauthenticated, an access token is required");
    assert_eq!(unknown, "Some(\"nobody-issued-this\"): Unauthenticated, the access token is unknown");
    assert_eq!(called, "called by client Some(\"demo-client\")");
    assert!(served.starts_with("Some(\"") && served.ends_with("\"): served"), "{served}");
}

#[tokio::test]
async fn jwt_names_what_is_wrong_with_the_issuer_and_the_client() {
    let sandbox = Sandbox::start().await.unwrap();
    let issuer = sandbox.issuer();
    let real = [("ISSUER", &*issuer), ("AUDIENCE", "https://api.example.com")];
    let client = [("CLIENT_ID", "c"), ("CLIENT_SECRET", "s")];
    let with = |more: &[(&'static str, &'static str)]| {
        more.iter().fold(real.to_vec(), |mut all, one| {
            all.push(*one);
            all
        })
    };
    for (variables, named) in [
        (vec![real[0]], "AUDIENCE"),
        (vec![real[1]], "ISSUER"),
        (client.to_vec(), "ISSUER"),
        (with(&[("CLIENT_ID", "c")]), "CLIENT_SECRET"),
        (with(&[("INTROSPECTION_URL", "https://example.com/introspect")]), "CLIENT_ID"),
        (with(&[("HYBRID", "1")]), "CLIENT_ID"),
        (with(&[("SIGNED_ANSWERS", "1")]), "CLIENT_ID"),
        (with(&[client[0], client[1], ("HYBRID", "yes")]), "HYBRID"),
        (with(&[client[0], client[1], ("INTROSPECTION_URL", "nowhere")]), "INTROSPECTION_URL"),
        (with(&[("ALLOW_JWT_TYPE", "")]), "ALLOW_JWT_TYPE"),
        (vec![("ISSUER", "http://example.com"), real[1]], "ISSUER"),
        (vec![("ISSUER", "nowhere"), real[1]], "ISSUER"),
        (vec![("ISSUER", "http://127.0.0.1:1"), real[1]], "ISSUER"),
    ] {
        assert_refused("jwt", &variables, named).await;
    }
}

#[tokio::test]
async fn jwt_keeps_the_promises_of_its_curl_lines() {
    let (child, lines) = started(&mut example("jwt")).await;
    assert_eq!(promised(&lines).await, [200, 401, 200, 200, 401, 403, 200, 200, 401, 401, 401, 401]);
    let stale_login = curl(line(&lines, "logged in an hour ago")).await.0;
    let asked = challenge(&stale_login.headers()["www-authenticate"]);
    assert_eq!(parameter(&asked, "error"), Some("insufficient_user_authentication"));
    assert_eq!(parameter(&asked, "max_age"), Some("300"));
    interrupted(child).await;
}

#[tokio::test]
async fn jwt_judges_the_tokens_of_a_real_server_in_each_of_its_ways() {
    let sandbox = Sandbox::start().await.unwrap();
    let token = || SandboxToken::new().audience("https://api.example.com").scope("read");
    let (jwt, opaque) = (sandbox.issue_jwt(token()).unwrap(), sandbox.issue(token()));
    let of_keycloak = token().header("typ", "JWT").unwrap().claim("typ", "Bearer").unwrap();
    let of_keycloak = sandbox.issue_jwt(of_keycloak).unwrap();
    let revoked = sandbox.issue_jwt(token()).unwrap();
    sandbox.revoke(&revoked);
    let others = sandbox.issue(token().audience("https://other.example"));
    let client = [("CLIENT_ID", sandbox.client_id()), ("CLIENT_SECRET", sandbox.client_secret())];
    for (more, statuses) in [
        // A JWT, an opaque token, one whose header says `JWT`, a revoked JWT, an opaque one for others.
        (vec![], [200, 401, 401, 200, 401]),
        (client.to_vec(), [200, 200, 401, 200, 401]),
        ([&client[..], &[("HYBRID", "1"), ("SIGNED_ANSWERS", "1")]].concat(), [200, 200, 401, 401, 401]),
        (vec![("ALLOW_JWT_TYPE", "1")], [200, 401, 200, 200, 401]),
        (vec![("ALLOW_JWT_TYPE", "typ=Bearer")], [200, 401, 200, 200, 401]),
        (vec![("ALLOW_JWT_TYPE", "typ=other")], [200, 401, 401, 200, 401]),
    ] {
        let mut command = example("jwt");
        command.env("ISSUER", sandbox.issuer()).env("AUDIENCE", "https://api.example.com").envs(more.iter().copied());
        let (child, lines) = started(&mut command).await;
        let mut seen = Vec::new();
        for text in [&jwt, &opaque, &of_keycloak, &revoked, &others] {
            seen.push(whoami(&lines, text).await);
        }
        assert_eq!(seen, statuses, "{more:?}");
        ended(child, "-TERM").await;
    }
}
