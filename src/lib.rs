//! draft
#![forbid(unsafe_code)]
mod build_error;
mod cache;
mod clock;
mod extract;
mod future;
mod guard;
mod introspect;
mod layer;
mod policy;
mod rejection;
mod require_scope;
mod service;
mod token;

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "tonic")]
mod tonic;

pub use build_error::BuildError;
pub use cache::{CacheHandle, CacheStats, Cached, CachedBuilder};
#[cfg(any(test, feature = "test-util"))]
pub use clock::ManualClock;
pub use clock::{Clock, SystemClock, Timestamp};
pub use extract::{AuthorizationHeader, TokenHeader, TokenSource, TokenSourceFn, token_source_fn};
pub use future::ResponseFuture;
pub use introspect::{
    Apigee, ApigeeBuilder, Credential, InactiveReason, Introspect, IntrospectError, IntrospectErrorKind, IntrospectFn,
    Verdict, introspect_fn,
};
pub use layer::{IntrospectionLayer, IntrospectionLayerBuilder};
pub use rejection::{EmptyBody, ProblemJson, Rejection, RejectionKind, RejectionResponse};
pub use require_scope::{RequireScope, RequireScopeLayer, RequireScopeLayerBuilder};
pub use service::Introspection;
pub use token::{AccessToken, AccessTokenBuilder, BearerToken, MalformedToken, Scopes};
#[cfg(feature = "tonic")]
pub use tonic::RequestExt;
