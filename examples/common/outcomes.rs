//! A curl line for every outcome, each with the status it gets.

use std::net::SocketAddr;
use std::time::Duration;

use tower_introspection::clock::Timestamp;
use tower_introspection::sandbox::{Sandbox, SandboxToken};

/// For an authority whose tokens are not ours to issue.
pub(crate) fn print_curl_lines(address: SocketAddr) {
    println!("curl -i http://{address}/healthz                                  # 200, open");
    println!("curl -i http://{address}/whoami                                   # 401, no token");
    println!("curl -i http://{address}/whoami -H 'Authorization: Bearer ?'      # 400, malformed");
    println!("curl -i http://{address}/whoami -H \"Authorization: Bearer $TOKEN\"");
    println!("curl -i http://{address}/admin  -H \"Authorization: Bearer $TOKEN\"");
}

/// Issues the tokens that this takes. `required` is what the layer requires of each; `revocation` makes the curl line
/// that revokes a token at the sandbox.
pub(crate) fn print_sandbox_curl_lines(
    address: SocketAddr,
    sandbox: &Sandbox,
    required: &[String],
    max_ttl: Duration,
    revocation: impl FnOnce(&str) -> String,
) {
    let with_scope = |scope: &str| SandboxToken::new().scope(with_required(scope, required));
    let active = sandbox.issue(with_scope("read").attribute("tier", "gold"));
    let admin = sandbox.issue(with_scope("read admin").client_id("back-office"));
    let revoked = sandbox.issue(with_scope("read"));
    sandbox.revoke(&revoked);
    let expired = sandbox.issue(with_scope("read").expires_at(Timestamp::now() - Duration::from_secs(1)));

    println!("active token:  {active}");
    println!("admin token:   {admin}");
    println!("revoked token: {revoked}");
    println!("expired token: {expired}");
    println!();
    let line = |path: &str, token: &str, outcome: &str| {
        println!("curl -i http://{address}{path} -H 'Authorization: Bearer {token}'  # {outcome}");
    };
    println!("curl -i http://{address}/healthz  # 200, open to everyone");
    println!("curl -i http://{address}/whoami  # 401, no token");
    line("/whoami", &active, "200, the facts");
    if required.iter().any(|scope| scope == "admin") {
        line("/admin", &active, "200, the scope `admin` is required everywhere");
    } else {
        line("/admin", &active, "403, the scope `admin` is missing");
    }
    line("/admin", &admin, "200");
    if !required.is_empty() {
        let unscoped = sandbox.issue(SandboxToken::new());
        line("/whoami", &unscoped, "403, what REQUIRE_SCOPE asks for is missing");
    }
    line("/whoami", &revoked, "401, revoked");
    line("/whoami", &expired, "401, expired");
    line("/whoami", "nobody-issued-this", "401, unknown");
    line("/whoami", "not*a*token", "400, malformed");
    println!();
    println!("Revoke the active token at the authority, and watch /whoami accept it until its answer");
    println!("has been in the cache for {} s (MAX_TTL):", max_ttl.as_secs());
    println!("{}", revocation(&active));
    println!();
}

fn with_required(scope: &str, required: &[String]) -> String {
    let mut scopes: Vec<&str> = scope.split(' ').collect();
    for scope in required {
        if !scopes.contains(&scope.as_str()) {
            scopes.push(scope);
        }
    }
    scopes.join(" ")
}
