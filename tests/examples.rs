//! The examples as a newcomer meets them: their output, their curl lines, Ctrl-C, and bad environment values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![cfg(all(
    feature = "axum",
    feature = "certificate-bound",
    feature = "dpop",
    feature = "jwt",
    feature = "metrics",
    feature = "redis",
    feature = "rustls",
    feature = "sandbox",
    feature = "signals",
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
use tower_introspection::sandbox::{ProofKey, Sandbox, SandboxEvent, SandboxToken};

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
    for name in ["quickstart", "rfc7662", "mcp", "metrics", "fleet", "jwt", "dpop", "mutual_tls", "signals"] {
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
        let last = ["listening on http://", "listening on https://"].iter().any(|start| line.starts_with(start));
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

/// What a curl line says of TLS. The files are read when it is run.
#[derive(Default)]
struct Tls<'l> {
    roots: Option<&'l String>,
    certificate: Option<&'l String>,
    key: Option<&'l String>,
    is_unchecked: bool,
}

impl Tls<'_> {
    fn client(&self) -> reqwest::Client {
        use reqwest::tls::{Certificate, Identity};

        let read = |path: &String| std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut builder = reqwest::Client::builder().no_proxy();
        if self.is_unchecked {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(roots) = self.roots {
            builder = builder.tls_backend_rustls().tls_certs_only([Certificate::from_pem(&read(roots)).unwrap()]);
        }
        if let (Some(certificate), Some(key)) = (self.certificate, self.key) {
            let identity = Identity::from_pem(&[read(certificate), read(key)].concat()).unwrap();
            builder = builder.tls_backend_rustls().identity(identity);
        }
        builder.build().unwrap()
    }
}

/// Does what a printed curl line does, and returns the answer and what follows the line's `#`.
async fn curl(line: &str) -> (Response, String) {
    let (command, promise) = line.split_once("  # ").unwrap_or_else(|| panic!("no promise: {line}"));
    let words = words(command);
    let mut words = words.iter();
    assert_eq!((words.next().unwrap().as_str(), words.next().unwrap().as_str()), ("curl", "-i"));
    let (mut method, mut url, mut headers, mut user, mut data) = (None, None, Vec::new(), None, None);
    let mut tls = Tls::default();
    while let Some(word) = words.next() {
        let mut argument = || words.next().unwrap_or_else(|| panic!("{word} of {line}"));
        match word.as_str() {
            "-X" => method = Some(argument().parse().unwrap()),
            "-H" => headers.push(argument().split_once(": ").unwrap()),
            "-u" => user = Some(argument().split_once(':').unwrap()),
            "-d" => data = Some(argument()),
            "--cacert" => tls.roots = Some(argument()),
            "--cert" => tls.certificate = Some(argument()),
            "--key" => tls.key = Some(argument()),
            "-k" => tls.is_unchecked = true,
            word => assert_eq!(url.replace(word), None, "{line}"),
        }
    }
    let implied = if data.is_some() { http::Method::POST } else { http::Method::GET };
    let mut request = tls.client().request(method.unwrap_or(implied), url.unwrap());
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
    for name in ["quickstart", "rfc7662", "mcp", "metrics", "fleet", "jwt", "dpop", "signals"] {
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
        ("dpop", Method::GET, "/whoami"),
        ("signals", Method::GET, "/whoami"),
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

#[tokio::test]
async fn dpop_names_what_is_wrong_with_what_it_wants_of_callers_and_with_the_server() {
    let url = ("INTROSPECTION_URL", "https://example.com/introspect");
    for (variables, named) in [
        (vec![("NONCE", "maybe")], "NONCE"),
        (vec![("NONCE", "")], "NONCE"),
        (vec![("REQUIRE_DPOP", "yes")], "REQUIRE_DPOP"),
        (vec![("PUBLIC_ORIGIN", "ftp://api.example.com")], "PUBLIC_ORIGIN"),
        (vec![("PUBLIC_ORIGIN", "api.example.com")], "PUBLIC_ORIGIN"),
        (vec![("PUBLIC_ORIGIN", "http://api.example.com")], "PUBLIC_ORIGIN"),
        (vec![("PUBLIC_ORIGIN", "https://api.example.com/?v1")], "PUBLIC_ORIGIN"),
        (vec![("PUBLIC_ORIGIN", "")], "PUBLIC_ORIGIN"),
        // Where others can come, no proof is for a URI without TLS.
        (vec![("LISTEN_ADDR", "0.0.0.0:0")], "PUBLIC_ORIGIN"),
        (vec![url], "CLIENT_ID"),
        (vec![url, ("CLIENT_ID", "c")], "CLIENT_SECRET"),
        (vec![("CLIENT_ID", "c"), ("CLIENT_SECRET", "s"), ("ISSUER", "nowhere")], "ISSUER"),
    ] {
        assert_refused("dpop", &variables, named).await;
    }
}

#[tokio::test]
async fn dpop_keeps_the_promises_of_its_curl_lines_whatever_it_wants_of_callers() {
    let proven = [200, 401, 200, 401, 401, 401, 401, 401, 401, 401, 403, 200, 401];
    for (variables, rest) in [
        (vec![], vec![200]),
        (vec![("REQUIRE_DPOP", "1")], vec![401]),
        (vec![("REQUIRE_DPOP", "0"), ("NONCE", "off")], vec![200]),
        (vec![("NONCE", "offered")], vec![200, 200]),
        (vec![("NONCE", "required"), ("REQUIRE_DPOP", "1")], vec![401, 401]),
        (vec![("PUBLIC_ORIGIN", "https://api.example.com")], vec![200]),
        (vec![("PUBLIC_ORIGIN", "https://api.example.com/v1/"), ("NONCE", "required")], vec![200, 401]),
    ] {
        let (child, lines) = started(example("dpop").envs(variables.iter().copied())).await;
        assert_eq!(promised(&lines).await, [&proven[..], &rest].concat(), "{variables:?}");
        ended(child, "-TERM").await;
    }
}

#[tokio::test]
async fn dpop_says_what_is_wrong_and_hands_out_nonces_where_it_has_some() {
    for (nonce, error_without) in [("off", None), ("offered", None), ("required", Some("use_dpop_nonce"))] {
        let (_child, lines) = started(example("dpop").env("NONCE", nonce)).await;
        let answer = |promise: &'static str| curl(line(&lines, promise));
        let error = |response: &Response| {
            let challenge = challenge(&response.headers()["www-authenticate"]);
            parameter(&challenge, "error").map(str::to_owned)
        };
        let facts = answer("200, the facts").await.0;
        assert!(!facts.headers().contains_key("dpop-nonce"), "{facts:?}");
        let facts: Value = facts.json().await.unwrap();
        assert!(facts["cnf"]["jkt"].is_string(), "{facts}");

        let replayed = answer("the same line again").await.0;
        assert_eq!(error(&replayed).as_deref(), Some("invalid_dpop_proof"));
        assert_eq!(replayed.headers().contains_key("dpop-nonce"), nonce != "off");
        if nonce == "off" {
            continue;
        }
        let without = answer("DPoP-Nonce").await.0;
        assert!(without.headers().contains_key("dpop-nonce"), "{without:?}");
        assert_eq!(without.headers()["cache-control"], "no-store");
        if let Some(expected) = error_without {
            assert_eq!((without.status().as_u16(), error(&without).as_deref()), (401, Some(expected)));
        }
    }
}

#[tokio::test]
async fn dpop_judges_the_tokens_of_a_real_server_by_the_origin_that_it_was_given() {
    let sandbox = Sandbox::start().await.unwrap();
    let key = ProofKey::generate().unwrap();
    let token = sandbox.issue(SandboxToken::new().bound_to_key(key.thumbprint()));
    let client_of = [("CLIENT_ID", sandbox.client_id()), ("CLIENT_SECRET", sandbox.client_secret())];
    for origin in [None, Some("https://api.example.com/v1")] {
        let mut command = example("dpop");
        command.env("ISSUER", sandbox.issuer()).envs(client_of);
        if let Some(origin) = origin {
            command.env("PUBLIC_ORIGIN", origin);
        }
        let (_child, lines) = started(&mut command).await;
        assert!(!lines.iter().any(|line| line.contains("sandbox")), "{lines:#?}");
        let (ours, theirs): (Vec<_>, Vec<_>) = lines.iter().cloned().partition(|line| !line.contains("$TOKEN"));
        assert_eq!((promised(&ours).await, theirs.len()), (vec![200, 401, 400], 3));

        let base = lines.last().unwrap().strip_prefix("listening on ").unwrap();
        for (made_for, status) in [(origin.unwrap_or(base), 200), ("https://other.example", 401)] {
            let proof = key.proof(http::Method::GET, format!("{made_for}/whoami")).token(&token).sign().unwrap();
            let request = client().get(format!("{base}/whoami")).header("authorization", format!("DPoP {token}"));
            let answer = support::patiently(request.header("dpop", proof).send()).await.unwrap();
            assert_eq!(answer.status(), status, "{made_for} at {origin:?}");
        }
        assert_eq!(whoami(&lines, &token).await, 401, "as a bearer token");
    }
}

/// What `signals` needs to listen to the sandbox as to any server. No answer grows old while a test runs.
fn signals_of(sandbox: &Sandbox) -> Command {
    let mut command = example("signals");
    command
        .env("ISSUER", sandbox.issuer())
        .env("AUDIENCE", "https://api.example.com")
        .env("CLIENT_ID", sandbox.client_id())
        .env("CLIENT_SECRET", sandbox.client_secret())
        .env("MAX_TTL", "3600");
    command
}

#[tokio::test]
async fn signals_names_what_is_wrong_with_the_issuer_the_stream_and_the_engine() {
    let real = [("ISSUER", "https://example.com"), ("AUDIENCE", "https://api.example.com")];
    let real = [&real[..], &[("CLIENT_ID", "c"), ("CLIENT_SECRET", "s")]].concat();
    let with = |name: &'static str, value: &'static str| [&real[..], &[(name, value)]].concat();
    for (variables, named) in [
        (real[..1].to_vec(), "AUDIENCE"),
        (real[..2].to_vec(), "CLIENT_ID"),
        (real[..3].to_vec(), "CLIENT_SECRET"),
        (vec![real[1]], "ISSUER"),
        (vec![real[2]], "ISSUER"),
        (vec![real[3]], "ISSUER"),
        (vec![("JWKS_URL", "https://example.com/keys")], "ISSUER"),
        (vec![("PUSH_AUTHORIZATION", "Bearer a")], "ISSUER"),
        (vec![("POLL_URL", "https://example.com/poll")], "ISSUER"),
        (vec![("INTROSPECTION_URL", "https://example.com/introspect")], "ISSUER"),
        (with("ISSUER", ""), "ISSUER"),
        (with("ISSUER", "nowhere"), "ISSUER"),
        (with("ISSUER", "http://example.com"), "ISSUER"),
        (with("AUDIENCE", ""), "AUDIENCE"),
        (with("JWKS_URL", "nowhere"), "JWKS_URL"),
        (with("JWKS_URL", "http://example.com/keys"), "JWKS_URL"),
        (with("PUSH_AUTHORIZATION", ""), "PUSH_AUTHORIZATION"),
        (with("PUSH_AUTHORIZATION", "Bearer a\n"), "PUSH_AUTHORIZATION"),
        (with("POLL_TOKEN", "a"), "POLL_URL"),
        (with("POLL_URL", "nowhere"), "POLL_URL"),
        (with("POLL_URL", "http://example.com/poll"), "POLL_URL"),
        ([&with("POLL_TOKEN", "a b")[..], &[("POLL_URL", "https://example.com/poll")]].concat(), "POLL_TOKEN"),
        (with("INTROSPECTION_URL", "nowhere"), "INTROSPECTION_URL"),
        (with("REDIS_URL", "redis://127.0.0.1:1"), "FLEET_SECRET"),
        (with("STRICT", "5"), "REDIS_URL"),
    ] {
        assert_refused("signals", &variables, named).await;
    }
}

#[tokio::test]
async fn signals_keeps_the_promises_of_its_curl_lines_and_ends_with_either_signal() {
    for signal in ["-INT", "-TERM"] {
        let (child, lines) = started(example("signals").env("MAX_TTL", "3600")).await;
        assert_eq!(promised(&lines).await, [200, 200, 200, 401, 200, 200, 401, 200, 400]);
        let stats: Value = curl(line(&lines, "/stats")).await.0.json().await.unwrap();
        let transmitter = &stats["transmitters"][0];
        assert_eq!(transmitter["outcomes"], serde_json::json!({ "applied": 2 }), "{stats}");
        assert_eq!((&transmitter["health"], &stats["forgotten"]), (&"healthy".into(), &2.into()), "{stats}");
        // What the lines say that end something: it was told to the service, which took it.
        for (promise, told) in [("the event: 202", 202), ("the logout: 200", 200)] {
            let answer: Value = curl(line(&lines, promise)).await.0.json().await.unwrap();
            assert_eq!(answer, serde_json::json!({ "told": [told] }));
        }
        ended(child, signal).await;
    }
}

#[tokio::test]
async fn signals_hears_of_a_real_servers_events_whether_they_are_pushed_or_polled() {
    let event = |sandbox: &Sandbox, user: &str| {
        let disabled = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
        sandbox.sign_event(SandboxEvent::new(disabled).about_user(sandbox.issuer(), user)).unwrap()
    };
    for is_polled in [false, true] {
        let sandbox = Sandbox::start().await.unwrap();
        let mut command = signals_of(&sandbox);
        if is_polled {
            command.env("POLL_URL", sandbox.poll_url()).env("POLL_TOKEN", sandbox.client_secret());
        } else {
            command.env("PUSH_AUTHORIZATION", "Bearer 2YotnFZFEjr1zCsi");
        }
        let (child, lines) = started(&mut command).await;
        assert!(!lines.iter().any(|line| line.contains("sandbox")), "{lines:#?}");
        // Those with a token of the reader's own promise nothing.
        let (ours, theirs): (Vec<_>, Vec<_>) = lines.iter().cloned().partition(|line| !line.contains("$TOKEN"));
        assert_eq!((promised(&ours).await, theirs.len()), (vec![200, 401, 400], 2));

        let [ann, bob] = ["ann", "bob"].map(|user| sandbox.issue(SandboxToken::new().end_user(user)));
        assert_eq!((whoami(&lines, &ann).await, whoami(&lines, &bob).await), (200, 200));
        for token in [&ann, &bob] {
            sandbox.revoke(token);
            assert_eq!(whoami(&lines, token).await, 200, "the answer is kept for MAX_TTL");
        }
        let set = event(&sandbox, "ann");
        if is_polled {
            support::patiently(async { while whoami(&lines, &ann).await != 401 {} }).await;
        } else {
            let base = lines.last().unwrap().strip_prefix("listening on ").unwrap();
            let push = async |authorization: &str| {
                let request = client().post(format!("{base}/events")).header("authorization", authorization);
                let request = request.header("content-type", "application/secevent+jwt").body(set.clone());
                support::patiently(request.send()).await.unwrap().status().as_u16()
            };
            assert_eq!(push("Bearer another").await, 400);
            assert_eq!(whoami(&lines, &ann).await, 200, "who sent that is not known");
            assert_eq!(push("Bearer 2YotnFZFEjr1zCsi").await, 202);
        }
        assert_eq!((whoami(&lines, &ann).await, whoami(&lines, &bob).await), (401, 200));
        ended(child, "-TERM").await;
    }
}

#[tokio::test]
async fn on_redis_signals_is_one_service_where_an_event_sent_to_one_process_is_refused_at_both() {
    let Some(server) = redis::Server::start(redis::Program::Redis, &[]) else { return };
    let sandbox = Sandbox::start().await.unwrap();
    let mut signals = signals_of(&sandbox);
    signals.env("REDIS_URL", server.url()).env("FLEET_SECRET", "bm90IGEgc2VjcmV0LCBidXQgYW4gZXhhbXBsZSBvZiBvbmU=");
    let (here_child, here) = started(&mut signals).await;
    let (there_child, there) = started(&mut signals).await;
    let base = here.last().unwrap().strip_prefix("listening on ").unwrap();
    sandbox.push_events_to(format!("{base}/events"), None);
    sandbox.push_logouts_to(format!("{base}/backchannel-logout"), sandbox.client_id());

    let tokens = ["ann", "bob", "cam"].map(|user| sandbox.issue(SandboxToken::new().end_user(user)));
    for token in &tokens {
        assert_eq!((whoami(&here, token).await, whoami(&there, token).await), (200, 200));
        sandbox.revoke(token);
        assert_eq!((whoami(&here, token).await, whoami(&there, token).await), (200, 200), "kept for MAX_TTL");
    }
    let [ann, bob, cam] = &tokens;
    // On a busy machine a service may give the engine up for a moment, and have it sent again.
    support::patiently(async { while sandbox.disable_account("ann").await.unwrap() != [202] {} }).await;
    support::patiently(async { while sandbox.log_out("bob").await.unwrap() != [200] {} }).await;
    for token in [ann, bob] {
        assert_eq!(whoami(&here, token).await, 401);
        support::patiently(async { while whoami(&there, token).await != 401 {} }).await;
    }
    assert_eq!((whoami(&here, cam).await, whoami(&there, cam).await), (200, 200), "nothing has happened to cam");
    ended(here_child, "-TERM").await;
    interrupted(there_child).await;
}

/// It says of each rule that is broken that it was.
fn mutual_tls() -> Command {
    let mut command = example("mutual_tls");
    command.env("RUST_LOG", "warn");
    command
}

/// The folder with the certificates, as a curl line names it.
fn folder(lines: &[String]) -> PathBuf {
    let roots = line(lines, "--cacert ").split("--cacert '").nth(1).unwrap().split('\'').next().unwrap();
    PathBuf::from(roots).parent().unwrap().to_owned()
}

#[tokio::test]
async fn mutual_tls_keeps_the_promises_of_its_curl_lines_and_leaves_no_certificate_behind() {
    for signal in ["-INT", "-TERM"] {
        let (child, lines) = started(&mut mutual_tls()).await;
        let statuses = promised(&lines).await;
        assert_eq!(statuses, [200, 401, 200, 401, 401, 403, 200, 200, 200, 401, 401, 401]);
        let says = async |promise: &str| {
            let answer = curl(line(&lines, promise)).await.0;
            challenge(&answer.headers()["www-authenticate"])
        };
        for (promise, description) in [
            ("401, another certificate", "the access token is bound to another client certificate"),
            ("401, no certificate", "the access token is bound to a client certificate, and there is none"),
            ("401, bound to a key", "the access token is bound to a key and is no bearer token"),
        ] {
            assert_eq!(parameter(&says(promise).await, "error_description"), Some(description));
        }
        let facts: Value = curl(line(&lines, "200, the facts")).await.0.json().await.unwrap();
        assert!(facts["cnf"]["x5t#S256"].is_string(), "{facts}");
        let folder = folder(&lines);
        assert!(folder.join("ca.pem").exists());
        ended(child, signal).await;
        assert!(!folder.exists(), "{}", folder.display());
    }
}

/// What a browser opens to be faster, what scans ports, and whoever means harm.
#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_keeps_nobody_waiting() {
    let (child, lines) = started(&mut mutual_tls()).await;
    let address = lines.last().unwrap().strip_prefix("listening on https://").unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let (answer, _) = curl(line(&lines, "200, the facts")).await;
    assert_eq!(answer.status(), 200);
    // They are still there, and do not hold it up when it ends either.
    interrupted(child).await;
    drop(silent);
}

#[tokio::test]
async fn a_handshake_that_fails_does_not_hold_up_one_that_is_under_way() {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let (child, lines) = started(&mut mutual_tls()).await;
    let address = lines.last().unwrap().strip_prefix("listening on https://").unwrap();
    let mut failing = TcpStream::connect(address).await.unwrap();
    let under_way = TcpStream::connect(address).await.unwrap();
    failing.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = support::patiently(failing.read_to_end(&mut Vec::new())).await;

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder(&lines).join("ca.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connecting = TlsConnector::from(std::sync::Arc::new(config));
    let connecting = connecting.connect(ServerName::try_from("localhost").unwrap(), under_way);
    let mut stream = support::patiently(connecting).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    support::patiently(stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    interrupted(child).await;
}

#[tokio::test]
async fn mutual_tls_shows_its_figures_on_its_status_page() {
    let (child, lines) = started(&mut mutual_tls()).await;
    promised(&lines).await;
    let link = line(&lines, "status page: ").strip_prefix("status page: ").unwrap();
    let open = line(&lines, "/healthz");
    let (before, rest) = open.split_once("https://").unwrap();
    let (_, promise) = rest.split_once("  # ").unwrap();
    let (page, _) = curl(&format!("{before}-H 'accept: application/json' {link}  # {promise}")).await;
    let figures: Value = page.json().await.unwrap();
    assert_eq!(figures["caches"][0]["misses"], 6, "{figures}");
    interrupted(child).await;
}

#[tokio::test]
async fn mutual_tls_names_what_is_wrong_with_the_server_and_with_the_certificates() {
    let keys = |name: &str| format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key, other_key) = (keys("client_certificate.pem"), keys("ec.pem"), keys("ec.pub"));
    let url = ("INTROSPECTION_URL", "https://example.com/introspect");
    let server = [url, ("CLIENT_ID", "c"), ("CLIENT_SECRET", "s")];
    let files = [("TLS_CERT", &*certificate), ("TLS_KEY", &*key), ("CLIENT_CA", &*certificate)];
    let with = |name: &'static str, value: &'static str| [&server[..], &files[..], &[(name, value)]].concat();
    for (variables, named) in [
        (vec![url], "CLIENT_ID"),
        (server.to_vec(), "TLS_CERT"),
        (files.to_vec(), "INTROSPECTION_URL"),
        ([&server[..], &files[..1]].concat(), "TLS_KEY"),
        ([&server[..], &files[..2]].concat(), "CLIENT_CA"),
        ([&server[..], &files[1..]].concat(), "TLS_CERT"),
        (with("TLS_CERT", ""), "TLS_CERT"),
        (with("TLS_CERT", "/nowhere"), "TLS_CERT"),
        (with("CLIENT_CA", "/nowhere"), "CLIENT_CA"),
        (with("TLS_KEY", "/nowhere"), "TLS_KEY"),
        ([&with("CLIENT_CA", "")[..5], &[("CLIENT_CA", &*key)]].concat(), "CLIENT_CA"),
        ([&with("TLS_CERT", "")[..6], &[("TLS_CERT", &*key)]].concat(), "TLS_CERT"),
        ([&with("TLS_KEY", "")[..6], &[("TLS_KEY", &*other_key)]].concat(), "TLS_KEY"),
        // Of another key than the certificate.
        ([&server[..], &files[..]].concat(), "TLS_KEY"),
        (with("INTROSPECTION_URL", "nowhere"), "INTROSPECTION_URL"),
    ] {
        assert_refused("mutual_tls", &variables, named).await;
    }
}

/// With a server and certificates of somebody else, here made by hand.
#[tokio::test]
async fn with_a_server_and_certificates_set_mutual_tls_uses_those() {
    use support::certificates::CertificateAuthority;
    use tower_introspection::possession::ClientCertificate;

    let folder = std::env::temp_dir().join(format!("mutual-tls-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = CertificateAuthority::new();
    let (own, ann) = (ca.certify("127.0.0.1"), ca.certify("ann"));
    let (cert, key) = (file("own.pem", own.certificate_pem()), file("own.key", own.key_pem()));
    let (client_cert, client_key) = (file("ann.pem", ann.certificate_pem()), file("ann.key", ann.key_pem()));
    let authority = file("ca.pem", ca.pem());

    let sandbox = Sandbox::start().await.unwrap();
    let thumbprint = ClientCertificate::from_der(ann.der()).thumbprint();
    let token = sandbox.issue(SandboxToken::new().bound_to_certificate(thumbprint));
    let (child, lines) = started(
        mutual_tls()
            .env("ISSUER", sandbox.issuer())
            .env("CLIENT_ID", sandbox.client_id())
            .env("CLIENT_SECRET", sandbox.client_secret())
            .env("TLS_CERT", cert)
            .env("TLS_KEY", key)
            .env("CLIENT_CA", &authority),
    )
    .await;
    assert!(!lines.iter().any(|line| line.contains("sandbox")), "{lines:#?}");
    // Those with a token of the reader's own promise nothing.
    let (ours, theirs): (Vec<_>, Vec<_>) = lines.iter().cloned().partition(|line| !line.contains("$TOKEN"));
    assert_eq!(promised(&ours).await, [200, 401, 400]);
    assert_eq!(theirs.len(), 2);
    let base = lines.last().unwrap().strip_prefix("listening on ").unwrap();
    let whoami = format!("{base}/whoami -H 'Authorization: Bearer {token}'");
    let with = format!("curl -i --cacert {authority} --cert {client_cert} --key {client_key} {whoami}  # 200");
    let without = format!("curl -i --cacert {authority} {whoami}  # 401");
    assert_eq!(promised(&[with, without]).await, [200, 401]);
    interrupted(child).await;
    std::fs::remove_dir_all(folder).unwrap();
}
