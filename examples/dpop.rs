//! An axum service whose tokens are bound to a key of their holder (DPoP, RFC 9449), with nothing to configure.
//!
//! `cargo run --example dpop` starts the sandbox (an in-memory authorization server) and a service behind the layer,
//! and prints curl lines for every outcome, each with the proof that was made for it. A proof comes in once: to see a
//! line succeed again, start again. With `INTROSPECTION_URL` or `ISSUER` set it asks a real server instead. The
//! environment:
//!
//! * `INTROSPECTION_URL`: the endpoint to ask; or
//! * `ISSUER`: the server that names it in its metadata, exactly as written there
//! * `CLIENT_ID`, `CLIENT_SECRET`: who asks; required with either
//! * `PUBLIC_ORIGIN`: where callers reach this service, and so what proofs are made for: `https://api.example.com`, or
//!   with the prefix that a proxy takes off the path, `https://api.example.com/v1`. Default: the address it listens on
//! * `NONCE`: `off`, `offered` or `required`; default `off`
//! * `REQUIRE_DPOP`: with `1` tokens that are bound to no key are refused
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, which says why a proof is refused; try `tower_introspection=debug`

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use tower::ServiceExt;
use tower_introspection::possession::{Dpop, DpopBuilder, NonceSecret};
use tower_introspection::sandbox::{ProofBuilder, ProofKey, Sandbox, SandboxToken};
use tower_introspection::{BuildError, Cached, IntrospectionLayer};

use common::BoxError;
use common::authority::endpoint;
use common::environment::{BadVariable, Settings, switched_on, text};
use common::outcomes::print_curl_lines;

/// What is wanted of callers.
struct Wanted {
    public_origin: Option<String>,
    nonce: Nonce,
    only_dpop: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Nonce {
    Off,
    Offered,
    Required,
}

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let wanted = Wanted::from_env()?;
    let endpoint = endpoint().await?;
    let listener = settings.listen().await?;
    common::init_tracing(settings.log);
    let address = listener.local_addr()?;
    let origin = wanted.public_origin.clone().unwrap_or_else(|| format!("http://{address}"));
    let mut dpop = wanted.nonces(Dpop::builder(&origin))?;

    // Dropped, and with it stopped, when this function returns.
    let (endpoint, sandbox) = match endpoint {
        Some(endpoint) => (endpoint, None),
        None => {
            let sandbox = Sandbox::start().await?;
            (sandbox.rfc7662().build()?, Some(sandbox))
        }
    };
    if sandbox.is_some() {
        // The printed proofs are made now, and somebody reads before pasting them. A client makes one for each request,
        // so a service does well with the default of a minute.
        dpop = dpop.proof_lifetime(Duration::from_secs(600));
    }
    let dpop = dpop.build().map_err(|error| wanted.bad(&error))?;

    let introspector =
        Cached::builder(endpoint).max_ttl(settings.max_ttl).inactive_ttl(settings.inactive_ttl).build()?;
    let cache = introspector.handle();
    let mut guard = IntrospectionLayer::builder(introspector).dpop(dpop);
    if wanted.only_dpop {
        guard = guard.require_sender_constrained();
    }
    let guard = guard.build()?;
    let handle = guard.handle();
    let app = common::router(guard)?;

    println!("proofs are made for: {origin}");
    match &sandbox {
        Some(sandbox) => {
            println!("authorization server: {}, the sandbox in this process", sandbox.issuer());
            println!();
            let nonce = nonce_of(app.clone()).await?;
            Lines { address, origin, sandbox, nonce }.print(&wanted)?;
        }
        None => {
            print_curl_lines(address);
            println!("curl -i http://{address}/whoami -H \"Authorization: DPoP $TOKEN\" -H \"DPoP: $PROOF\"");
        }
    }
    common::serve(listener, app, handle, cache).await
}

impl Wanted {
    fn from_env() -> Result<Self, BadVariable> {
        let nonce = match text("NONCE")?.as_deref() {
            None | Some("off") => Nonce::Off,
            Some("offered") => Nonce::Offered,
            Some("required") => Nonce::Required,
            Some(other) => {
                let problem = format_args!("{other:?} cannot be used; give off, offered or required");
                return Err(BadVariable::new("NONCE", problem));
            }
        };
        let wanted = Self { public_origin: text("PUBLIC_ORIGIN")?, nonce, only_dpop: switched_on("REQUIRE_DPOP")? };
        if let Some(origin) = &wanted.public_origin {
            // So that a mistake shows before anything else is done.
            Dpop::builder(origin).build().map_err(|error| wanted.bad(&error))?;
        }
        Ok(wanted)
    }

    /// The secret is one of this process alone. Several processes of one service need the same one.
    fn nonces(&self, dpop: DpopBuilder) -> Result<DpopBuilder, BuildError> {
        Ok(match self.nonce {
            Nonce::Off => dpop,
            Nonce::Offered => dpop.offer_nonces(NonceSecret::random()?),
            Nonce::Required => dpop.require_nonces(NonceSecret::random()?),
        })
    }

    fn bad(&self, error: &BuildError) -> BadVariable {
        match self.public_origin {
            Some(_) => BadVariable::new("PUBLIC_ORIGIN", error),
            None => BadVariable::new("PUBLIC_ORIGIN", format_args!("required with this LISTEN_ADDR: {error}")),
        }
    }
}

/// The nonce that this service hands out, if it does: a client gets it with a refusal, as here.
async fn nonce_of(app: Router) -> Result<Option<String>, BoxError> {
    let refused = app.oneshot(Request::get("/whoami").body(Body::empty())?).await?;
    Ok(refused.headers().get("dpop-nonce").map(|nonce| nonce.to_str().map(str::to_owned)).transpose()?)
}

/// What the curl lines are made of.
struct Lines<'s> {
    address: SocketAddr,
    origin: String,
    sandbox: &'s Sandbox,
    nonce: Option<String>,
}

impl Lines<'_> {
    /// Issues the tokens and makes the proofs that this takes.
    fn print(&self, wanted: &Wanted) -> Result<(), BoxError> {
        let (key, other_key) = (ProofKey::generate()?, ProofKey::generate()?);
        let issue = |scope: &str| self.sandbox.issue(SandboxToken::new().scope(scope).bound_to_key(key.thumbprint()));
        let (token, admin) = (issue("read"), issue("read admin"));
        let unbound = self.sandbox.issue(SandboxToken::new().scope("read"));
        let made_for = |method, path, token: &str| self.proof(&key, method, path, token).sign();
        let good = |path, token: &str| made_for(Method::GET, path, token);

        if self.nonce.is_some() {
            println!(
                "The nonce in these proofs is good for a minute, at most two; after that the answer has a new one."
            );
            println!();
        }
        println!("curl -i http://{}/healthz  # 200, open to everyone", self.address);
        println!("curl -i http://{}/whoami  # 401, no token", self.address);
        let once = good("/whoami", &token)?;
        self.line("/whoami", &token, &once, "200, the facts: `cnf` names the key");
        self.line("/whoami", &token, &once, "401, the same line again: a proof comes in once");
        self.bearer_line(&token, "401, whoever has the token alone cannot use it");
        println!("curl -i http://{}/whoami -H 'Authorization: DPoP {token}'  # 401, no proof", self.address);
        let by_another = self.proof(&other_key, Method::GET, "/whoami", &token).sign()?;
        self.line("/whoami", &token, &by_another, "401, a proof by another key");
        self.line("/whoami", &token, &good("/whoami", &admin)?, "401, a proof for another token");
        self.line("/whoami", &token, &made_for(Method::POST, "/whoami", &token)?, "401, a proof for another method");
        self.line("/whoami", &token, &good("/admin", &token)?, "401, a proof for another URI");
        self.line("/admin", &token, &good("/admin", &token)?, "403, the scope `admin` is missing");
        self.line("/admin", &admin, &good("/admin", &admin)?, "200");
        self.line("/whoami", &unbound, &good("/whoami", &unbound)?, "401, the token is bound to no key");
        if wanted.only_dpop {
            self.bearer_line(&unbound, "401, REQUIRE_DPOP: a token has to be bound to a key");
        } else {
            self.bearer_line(&unbound, "200, a bearer token, as ever");
        }
        let without_nonce = self.proof_without_nonce(&key, Method::GET, "/whoami", &token).sign()?;
        match wanted.nonce {
            Nonce::Off => {}
            Nonce::Offered => {
                self.line("/whoami", &token, &without_nonce, "200, no nonce yet: the answer has one (DPoP-Nonce)");
            }
            Nonce::Required => {
                self.line("/whoami", &token, &without_nonce, "401, use_dpop_nonce: the answer has it (DPoP-Nonce)");
            }
        }
        println!();
        Ok(())
    }

    fn proof<'k>(&self, key: &'k ProofKey, method: Method, path: &str, token: &str) -> ProofBuilder<'k> {
        let proof = self.proof_without_nonce(key, method, path, token);
        match &self.nonce {
            Some(nonce) => proof.nonce(nonce),
            None => proof,
        }
    }

    fn proof_without_nonce<'k>(&self, key: &'k ProofKey, method: Method, path: &str, token: &str) -> ProofBuilder<'k> {
        key.proof(method, format!("{}{path}", self.origin.trim_end_matches('/'))).token(token)
    }

    fn line(&self, path: &str, token: &str, proof: &str, outcome: &str) {
        println!(
            "curl -i http://{}{path} -H 'Authorization: DPoP {token}' -H 'DPoP: {proof}'  # {outcome}",
            self.address
        );
    }

    fn bearer_line(&self, token: &str, outcome: &str) {
        println!("curl -i http://{}/whoami -H 'Authorization: Bearer {token}'  # {outcome}", self.address);
    }
}
