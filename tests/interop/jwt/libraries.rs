//! npm `jose` and PyPI `joserfc`: what they sign is let in here if it is good, and what is signed here is let in there.

use std::path::Path;

use serde_json::{Value, json};
use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::Ask;
use tower_introspection::jwt::KeySet;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{BearerToken, Introspect, Jwt, Verdict};

use super::AUDIENCE;
use crate::server::{installed, is_installed, run, which};
use crate::support::secs;

const ISSUER: &str = "https://issuer.example";
const SUBJECT: &str = "Zoë 🦊";

#[tokio::test]
async fn this_crate_and_jose_agree_on_each_others_tokens() {
    agrees_with("jose", &which("node"), &installed().join("oidc-provider/tokens.mjs")).await;
}

#[tokio::test]
async fn this_crate_and_joserfc_agree_on_each_others_tokens() {
    let folder = installed().join("authlib");
    agrees_with("joserfc", &folder.join("venv/bin/python"), &folder.join("tokens.py")).await;
}

async fn agrees_with(name: &str, program: &Path, script: &Path) {
    if !is_installed(name, program, script) {
        return;
    }
    let sandbox = Sandbox::start().await.unwrap();
    let ours = tokens_of(&sandbox);
    let now = Timestamp::now().as_unix_millis() / 1_000;
    let said = run(
        program,
        script,
        &json!({
            "claims": {
                "iss": ISSUER, "aud": ["https://other.example", AUDIENCE], "exp": now + 600, "nbf": now, "iat": now,
                "sub": SUBJECT, "client_id": "app", "jti": "1", "scope": "read write", "roles": ["admin"],
            },
            "issuer": sandbox.issuer(),
            "audience": AUDIENCE,
            "keys": serde_json::from_str::<Value>(&sandbox.jwks()).unwrap(),
            "tokens": ours.iter().map(|(_, token, _)| token).collect::<Vec<_>>(),
        }),
    )
    .await;

    let mut wrong = Vec::new();
    for ((what, _, subject), verified) in ours.iter().zip(said["verified"].as_array().unwrap()) {
        if verified["sub"].as_str() != *subject {
            wrong.push(format!("{name} on {what}: {verified}"));
        }
    }
    let keys = KeySet::from_json(said["keys"].to_string()).unwrap();
    let jwt = Jwt::builder(ISSUER).audience(AUDIENCE).keys(keys).build().unwrap();
    for theirs in said["tokens"].as_array().unwrap() {
        let (what, token) = (&theirs["what"], theirs["token"].as_str().unwrap());
        let expected = if theirs["good"] == true { Some(SUBJECT) } else { None };
        if let_in(&jwt, token).await.as_deref() != expected {
            wrong.push(format!("{what} of {name}: {token}"));
        }
        for damaged in expected.iter().flat_map(|_| damaged(token)) {
            if let_in(&jwt, &damaged).await.is_some() {
                wrong.push(format!("{what} of {name}, damaged: {damaged}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Tokens that were signed here, and the subject of those that are to be let in.
fn tokens_of(sandbox: &Sandbox) -> Vec<(&'static str, String, Option<&'static str>)> {
    let token = || SandboxToken::new().audience(AUDIENCE).scope("read").end_user("ann").expires_in(secs(600));
    let issue = |token: SandboxToken| sandbox.issue_jwt(token).unwrap();
    let with = |name: &str, value: &str| token().header(name, value).unwrap();
    let old = [issue(token()), issue(with("alg", "RS256"))];
    sandbox.rotate_key().unwrap();
    sandbox.retire_old_keys();
    let (es256, rs256) = (issue(token()), issue(with("alg", "RS256")));
    let [old_es256, old_rs256] = old;
    vec![
        ("a changed signature", changed(&es256, es256.len() - 40), None),
        ("ES256", es256, Some("ann")),
        ("RS256", rs256, Some("ann")),
        ("none", issue(with("alg", "none")), None),
        ("another type", issue(with("typ", "JWT")), None),
        ("an unknown kid", issue(with("kid", "unknown")), None),
        ("another issuer", issue(token().claim("iss", ISSUER).unwrap()), None),
        ("another audience", issue(token().audience("https://other.example")), None),
        ("an end that has come", issue(token().expires_at(Timestamp::now() - secs(60))), None),
        ("a retired key for ES256", old_es256, None),
        ("a retired key for RS256", old_rs256, None),
    ]
}

/// The subject of the token, if it is let in.
async fn let_in(jwt: &Jwt, token: &str) -> Option<String> {
    // What a header cannot hold comes no further.
    let token = BearerToken::parse(token).ok()?;
    match jwt.introspect(Ask::new(&token)).await.unwrap() {
        Verdict::Active(facts) => facts.subject().map(str::to_owned),
        Verdict::Inactive(_) => None,
    }
}

/// The token with one byte changed, wherever that is; and in ways in which base64 that is not strict reads the same.
fn damaged(token: &str) -> Vec<String> {
    let changed = (0..token.len()).map(|at| changed(token, at));
    let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let others = [
        format!("{token}="),
        format!("{token}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}A"),
        format!("{token}\n"),
        format!("{header}.{payload}\n.{signature}"),
        last_changed(token),
    ];
    changed.chain(others).collect()
}

fn changed(token: &str, at: usize) -> String {
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

/// Where the signature does not fill its last character, readers that are not strict take this for the same signature.
fn last_changed(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_A";
    let (start, last) = token.split_at(token.len() - 1);
    let next = ALPHABET.find(last).unwrap() + 1;
    format!("{start}{}", &ALPHABET[next..=next])
}
