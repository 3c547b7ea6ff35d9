//! `camel-auth`'s introspector and nothing else of it: the handler gets the answer as it is. The glue checks that it is
//! active, and the scope.

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::get;
use camel_auth::{AuthError, CachingTokenIntrospector, IntrospectionResult, TokenIntrospector};
use peer_camel_auth::{introspector, token};
use peer_common::{PATH, SCOPE};

struct Introspected(#[allow(dead_code)] IntrospectionResult);

impl FromRequestParts<Arc<CachingTokenIntrospector>> for Introspected {
    type Rejection = StatusCode;

    async fn from_request_parts(
        parts: &mut Parts,
        introspector: &Arc<CachingTokenIntrospector>,
    ) -> Result<Self, StatusCode> {
        let answer = introspector.introspect(&token(parts)?).await.map_err(|error| match error {
            AuthError::ProviderUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        })?;
        if !answer.active {
            return Err(StatusCode::UNAUTHORIZED);
        }
        if !answer.scope.as_deref().unwrap_or_default().split(' ').any(|scope| scope == SCOPE) {
            return Err(StatusCode::FORBIDDEN);
        }
        Ok(Self(answer))
    }
}

fn main() -> ExitCode {
    peer_common::run(async |authority| {
        let state = Arc::new(introspector(authority).await?);
        Ok(Router::new().route(PATH, get(async |_: Introspected| "all of them")).with_state(state))
    })
}
