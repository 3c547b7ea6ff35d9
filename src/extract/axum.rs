//! [`AccessToken`] as an axum extractor (feature `axum`).
//!
//! `AccessToken` is for routes that need a token, `Option<AccessToken>` for routes behind an
//! [optional](crate::layer::IntrospectionLayerBuilder::optional) layer. On a route without any layer both answer 500 (a gRPC
//! call: status 13, `INTERNAL`) and log the fault, so that a forgotten layer is found by the first request and lets
//! nobody in.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_introspection::{AccessToken, IntrospectionLayer};
//! # let introspector = tower_introspection::introspect_fn(|_| async {
//! #     Ok(tower_introspection::Verdict::Inactive(tower_introspection::InactiveReason::Unknown)) });
//!
//! async fn whoami(token: AccessToken) -> String {
//!     token.client_id().unwrap_or("unknown").to_owned()
//! }
//!
//! let app: Router = Router::new()
//!     .route("/whoami", get(whoami))
//!     .route_layer(IntrospectionLayer::new(introspector));
//! ```

use std::fmt;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::layer::guard::{Anonymous, missing_layer, report_missing_layer};
use crate::rejection::{Refused, Rejection, RejectionContext, RejectionReason, is_grpc, respond_without_body};
use crate::token::AccessToken;

/// Why [`AccessToken`] could not be extracted: an answer to send, with an empty body, whatever renderer the layer has.
/// It is not counted: the layer has let the request in.
#[derive(Debug)]
pub struct AccessTokenRejection(Reason);

#[derive(Debug)]
enum Reason {
    MissingToken(Rejection),
    MissingLayer { is_grpc: bool },
}

impl AccessTokenRejection {
    /// What the caller is told, if the fault is theirs: an optional layer let the request in without a token. `None` if
    /// the route has no layer around it.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        match &self.0 {
            Reason::MissingToken(rejection) => Some(rejection),
            Reason::MissingLayer { .. } => None,
        }
    }

    fn missing_token(context: &RejectionContext, request: &Parts) -> Self {
        Self(Reason::MissingToken(Rejection::new(Refused::For(RejectionReason::MissingToken), context, request, None)))
    }

    fn missing_layer(request: &Parts) -> Self {
        report_missing_layer("the AccessToken extractor");
        Self(Reason::MissingLayer { is_grpc: is_grpc(request) })
    }
}

impl fmt::Display for AccessTokenRejection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::MissingToken(_) => "the request came in without an access token",
            Reason::MissingLayer { .. } => "the route has no IntrospectionLayer around it",
        })
    }
}

impl std::error::Error for AccessTokenRejection {}

impl IntoResponse for AccessTokenRejection {
    fn into_response(self) -> Response {
        match self.0 {
            Reason::MissingToken(rejection) => respond_without_body(&rejection),
            Reason::MissingLayer { is_grpc } => missing_layer(is_grpc),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AccessToken {
    type Rejection = AccessTokenRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let token = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        token.ok_or_else(|| match parts.extensions.get::<Anonymous>() {
            Some(Anonymous(context)) => AccessTokenRejection::missing_token(context, parts),
            None => AccessTokenRejection::missing_layer(parts),
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for AccessToken {
    type Rejection = AccessTokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        let token = parts.extensions.get::<Self>().cloned();
        if token.is_none() && parts.extensions.get::<Anonymous>().is_none() {
            return Err(AccessTokenRejection::missing_layer(parts));
        }
        Ok(token)
    }
}
