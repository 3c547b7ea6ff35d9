//! An axum service guarded by JWTs that it judges itself, and by opaque tokens beside them, with nothing to configure.
//!
//! `cargo run --example jwt` starts the sandbox (an in-memory authorization server) and a service behind the layer, and
//! prints curl lines for every outcome. With `ISSUER` set it judges the tokens of a real server instead. The
//! environment:
//!
//! * `ISSUER`: who signs the tokens, exactly as they name it in `iss`. Its metadata says where its keys are
//! * `AUDIENCE`: what tokens of both kinds have to name in `aud`; required with `ISSUER`
//! * `ALLOW_JWT_TYPE`: takes a token whose header has the type `JWT`, or none, for an access token if it has a claim
//!   that tells: the one named here, as `scp` or `token_use=access`, or with `1` any of those that Keycloak, Cognito,
//!   Auth0, Entra ID and Okta are known for
//! * `CLIENT_ID`, `CLIENT_SECRET`: who asks about opaque tokens; without them such tokens are refused
//! * `INTROSPECTION_URL`: the endpoint to ask; default: the one that the metadata of `ISSUER` names
//! * `HYBRID`: with `1` JWTs are asked about, too, once they are verified
//! * `SIGNED_ANSWERS`: with `1` answers have to be signed by `ISSUER` (RFC 9701)
//! * `LISTEN_ADDR`: where to listen; default `127.0.0.1:3000`, port 0 picks a free one
//! * `MAX_TTL`, `INACTIVE_TTL`: seconds an active or inactive answer is kept; default 60 and 10
//! * `RUST_LOG`: what to log; default `info`, try `tower_introspection=debug`

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::routing::get;
use tower_introspection::clock::Timestamp;
use tower_introspection::jwt::{AccessTokenClaim, ByIssuer, Hybrid};
use tower_introspection::rfc7662::SignedAnswers;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{BuildError, CacheHandle, Cached, Introspect, IntrospectionLayer, Jwt, Policy, Rfc7662};

use common::BoxError;
use common::environment::{BadVariable, Settings, switched_on, text};
use common::outcomes::print_curl_lines;

const SANDBOX_AUDIENCE: &str = "https://api.example.com";

/// Whose tokens come in, and how they are judged.
struct Authority {
    issuer: String,
    audience: String,
    jwt: Jwt,
    /// For opaque tokens.
    endpoint: Option<Rfc7662>,
    /// For JWTs.
    asks_about_jwts: Option<Rfc7662>,
}

#[tokio::main]
async fn main() -> ExitCode {
    common::exit_code(run().await)
}

async fn run() -> Result<(), BoxError> {
    let settings = Settings::from_env()?;
    let authority = Authority::from_env().await?;
    let listener = settings.listen().await?;
    common::init_tracing(settings.log.clone());
    let address = listener.local_addr()?;

    // Dropped, and with it stopped, when this function returns.
    let sandbox;
    let authority = match authority {
        Some(authority) => {
            print_curl_lines(address);
            println!("curl -i http://{address}/fresh  -H \"Authorization: Bearer $TOKEN\"");
            authority
        }
        None => {
            sandbox = Sandbox::start().await?;
            println!("authorization server: {}, the sandbox in this process", sandbox.issuer());
            println!();
            print_sandbox_curl_lines(address, &sandbox)?;
            Authority::of_sandbox(&sandbox)?
        }
    };

    let Authority { issuer, audience, jwt, endpoint, asks_about_jwts } = authority;
    let mut tokens = ByIssuer::builder();
    let mut caches = Vec::new();
    tokens = match asks_about_jwts {
        Some(endpoint) => tokens.issuer(issuer, settings.cached("jwt", Hybrid::new(jwt, endpoint), &mut caches)?),
        None => tokens.issuer(issuer, settings.cached("jwt", jwt, &mut caches)?),
    };
    if let Some(endpoint) = endpoint {
        tokens = tokens.opaque(settings.cached("opaque", endpoint, &mut caches)?);
    }
    let guard = IntrospectionLayer::builder(tokens.build()?).require_audience(audience).build()?;
    let handle = guard.handle();
    let fresh = guard.require(Policy::new().require_recent_login(Duration::from_secs(300)))?;
    let app = common::router_with(guard, |routes| routes.route("/fresh", get(async || "fresh\n").route_layer(fresh)))?;
    common::serve_all(listener, app, handle, caches).await
}

impl Settings {
    fn cached<I: Introspect>(
        &self,
        name: &str,
        introspector: I,
        caches: &mut Vec<CacheHandle>,
    ) -> Result<Cached<I>, BuildError> {
        let cached = Cached::builder(introspector).name(name).max_ttl(self.max_ttl).inactive_ttl(self.inactive_ttl);
        let cached = cached.build()?;
        caches.push(cached.handle());
        Ok(cached)
    }
}

impl Authority {
    async fn from_env() -> Result<Option<Self>, BadVariable> {
        let Some(issuer) = text("ISSUER")? else {
            for name in ["AUDIENCE", "ALLOW_JWT_TYPE", "INTROSPECTION_URL", "CLIENT_ID", "CLIENT_SECRET"] {
                if text(name)?.is_some() {
                    return Err(BadVariable::new("ISSUER", format_args!("required with {name}")));
                }
            }
            return Ok(None);
        };
        let required =
            |name, with| text(name)?.ok_or_else(|| BadVariable::new(name, format_args!("required with {with}")));
        let audience = required("AUDIENCE", "ISSUER")?;
        let mut jwt = Jwt::discover(&issuer).audience(&audience);
        for claim in claims_of_access_tokens()? {
            jwt = jwt.dangerously_allow_type_jwt(claim);
        }
        let client = match (text("CLIENT_ID")?, text("INTROSPECTION_URL")?) {
            (None, Some(_)) => return Err(BadVariable::new("CLIENT_ID", "required with INTROSPECTION_URL")),
            (None, None) => None,
            (Some(id), url) => Some((id, required("CLIENT_SECRET", "CLIENT_ID")?, url)),
        };
        let (hybrid, signed) = (switched_on("HYBRID")?, switched_on("SIGNED_ANSWERS")?);
        let endpoint = || {
            let Some((id, secret, url)) = &client else { return Ok(None) };
            let mut endpoint = match url {
                Some(url) => Rfc7662::builder(url).client_secret_basic(id, secret),
                None => Rfc7662::discover(&issuer).client_secret(id, secret),
            };
            if signed {
                endpoint = endpoint.signed_answers(SignedAnswers::discover(&issuer));
            }
            endpoint.build().map(Some).map_err(|error| bad(&error))
        };
        for (name, is_on) in [("HYBRID", hybrid), ("SIGNED_ANSWERS", signed)] {
            if is_on && client.is_none() {
                return Err(BadVariable::new("CLIENT_ID", format_args!("required with {name}")));
            }
        }
        let asks_about_jwts = if hybrid { endpoint()? } else { None };
        let jwt = jwt.build().map_err(|error| bad(&error))?;
        // So that a mistake shows; without it a service starts while the issuer is down.
        jwt.fetch_keys().await.map_err(|error| BadVariable::new("ISSUER", format_args!("{error:?}")))?;
        Ok(Some(Self { jwt, endpoint: endpoint()?, asks_about_jwts, issuer, audience }))
    }

    fn of_sandbox(sandbox: &Sandbox) -> Result<Self, BoxError> {
        let (hybrid, signed) = (switched_on("HYBRID")?, switched_on("SIGNED_ANSWERS")?);
        let issuer = sandbox.issuer();
        let endpoint = || {
            let endpoint = sandbox.rfc7662();
            if signed { endpoint.signed_answers(SignedAnswers::discover(&issuer)) } else { endpoint }.build()
        };
        Ok(Self {
            jwt: Jwt::discover(&issuer).audience(SANDBOX_AUDIENCE).build()?,
            endpoint: Some(endpoint()?),
            asks_about_jwts: hybrid.then(endpoint).transpose()?,
            audience: SANDBOX_AUDIENCE.to_owned(),
            issuer,
        })
    }
}

/// Which variable a setting came from.
fn bad(error: &BuildError) -> BadVariable {
    let name = match error.setting() {
        "url" => "INTROSPECTION_URL",
        "client_secret" | "client_secret_basic" => "CLIENT_SECRET",
        "audience" => "AUDIENCE",
        _ => "ISSUER",
    };
    BadVariable::new(name, error)
}

/// What `ALLOW_JWT_TYPE` says.
fn claims_of_access_tokens() -> Result<Vec<AccessTokenClaim>, BadVariable> {
    Ok(match text("ALLOW_JWT_TYPE")?.as_deref() {
        None | Some("0") => Vec::new(),
        Some("1") => vec![
            AccessTokenClaim::is("typ", "Bearer"),
            AccessTokenClaim::is("token_use", "access"),
            AccessTokenClaim::present("scope"),
            AccessTokenClaim::present("scp"),
            AccessTokenClaim::present("cid"),
        ],
        Some(claim) => vec![match claim.split_once('=') {
            Some((name, value)) => AccessTokenClaim::is(name, value),
            None => AccessTokenClaim::present(claim),
        }],
    })
}

/// Issues the tokens that this takes.
fn print_sandbox_curl_lines(address: SocketAddr, sandbox: &Sandbox) -> Result<(), BoxError> {
    let with_scope = |scope: &str| SandboxToken::new().audience(SANDBOX_AUDIENCE).end_user("ann").scope(scope);
    let logged_in = |ago: u64| {
        let at = Timestamp::from_unix_seconds(Timestamp::now().as_unix_millis() / 1_000) - Duration::from_secs(ago);
        sandbox.issue_jwt(with_scope("read").claim("auth_time", at)?)
    };
    let (fresh, long_ago) = (logged_in(0)?, logged_in(3_600)?);
    let admin = sandbox.issue_jwt(with_scope("read admin"))?;
    let opaque = sandbox.issue(with_scope("read"));
    let expired = sandbox.issue_jwt(with_scope("read").expires_at(Timestamp::now() - Duration::from_secs(1)))?;
    let for_others = sandbox.issue_jwt(with_scope("read").audience("https://other.example"))?;
    let of_another_kind = sandbox.issue_jwt(with_scope("read").header("typ", "JWT")?)?;
    let unsigned = sandbox.issue_jwt(with_scope("read").header("alg", "none")?)?;

    let line = |path: &str, token: &str, outcome: &str| {
        println!("curl -i http://{address}{path} -H 'Authorization: Bearer {token}'  # {outcome}");
    };
    println!("curl -i http://{address}/healthz  # 200, open to everyone");
    println!("curl -i http://{address}/whoami  # 401, no token");
    line("/whoami", &fresh, "200, a JWT, and the facts");
    line("/fresh", &fresh, "200, its holder has logged in a moment ago");
    line("/fresh", &long_ago, "401, its holder logged in an hour ago");
    line("/admin", &fresh, "403, the scope `admin` is missing");
    line("/admin", &admin, "200");
    line("/whoami", &opaque, "200, an opaque token: the sandbox was asked");
    line("/whoami", &expired, "401, expired");
    line("/whoami", &for_others, "401, for another service");
    line("/whoami", &of_another_kind, "401, not an access token by its type");
    line("/whoami", &unsigned, "401, not signed");
    println!();
    Ok(())
}
