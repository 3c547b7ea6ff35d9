//! Access to the token in handlers of axum (feature `axum`) and methods of tonic (feature `tonic`).
//!
//! In axum [`AccessToken`](crate::AccessToken) is an extractor: by itself for routes that need a token, as
//! `Option<AccessToken>` for routes behind an [optional](crate::layer::IntrospectionLayerBuilder::optional) layer.
//!
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
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
//!
//! In tonic `AccessTokenExt`, at the root of the crate, has the same two ways: `request.access_token()?` and
//! `request.optional_access_token()?`.
//!
//! A request without a token, on a route that needs one, is counted at the optional layer that let it through. axum's
//! extractor answers it as that layer would, a gRPC call ends with `UNAUTHENTICATED`. **Without any layer both ways of
//! both answer 500 (a gRPC call: status 13, `INTERNAL`)** and log the fault, so that a forgotten layer is found by the
//! first request. A handler or method that asks for no token is open there.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tonic")]
pub(crate) mod tonic;

#[cfg(feature = "axum")]
pub use self::axum::AccessTokenRejection;
