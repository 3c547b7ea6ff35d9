//! `camel-auth` as it authenticates by introspection: `IntrospectionAuthenticator` judges the answer, its expiry and
//! its audience on every request, and makes a principal of it. The glue checks the scope.

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::get;
use camel_api::CamelError;
use camel_api::security_policy::TransportId;
use camel_auth::token_authenticator::AuthnRequest;
use camel_auth::{ClaimPaths, IntrospectionAuthenticator, JsonPointerClaimsMapper, Principal, TokenAuthenticator};
use peer_camel_auth::{introspector, token};
use peer_common::{AUDIENCE, PATH, SCOPE};

#[derive(Clone)]
struct Authenticator {
    authenticator: Arc<IntrospectionAuthenticator>,
    audiences: Arc<[String]>,
}

struct Authenticated(#[allow(dead_code)] Principal);

impl FromRequestParts<Authenticator> for Authenticated {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &Authenticator) -> Result<Self, StatusCode> {
        let token = token(parts)?;
        let request = AuthnRequest {
            token: &token,
            audiences: &state.audiences,
            accepted_issuers: &[],
            transport: TransportId::Http,
        };
        let principal = state.authenticator.authenticate(request).await.map_err(|error| match error {
            CamelError::AuthProviderUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        })?;
        if !principal.scopes.iter().any(|scope| scope == SCOPE) {
            return Err(StatusCode::FORBIDDEN);
        }
        Ok(Self(principal))
    }
}

fn main() -> ExitCode {
    peer_common::run(async |authority| {
        let paths = ClaimPaths { subject: "/sub".into(), roles: Vec::new(), scopes: Some("/scope".into()) };
        let mapper = Arc::new(JsonPointerClaimsMapper::new(paths));
        let introspector = Arc::new(introspector(authority).await?);
        let authenticator = Arc::new(IntrospectionAuthenticator::new(introspector, mapper));
        let state = Authenticator { authenticator, audiences: Arc::new([AUDIENCE.to_owned()]) };
        Ok(Router::new().route(PATH, get(async |_: Authenticated| "all of them")).with_state(state))
    })
}
