//! The layer as a user sets it up: an RFC 7662 endpoint, a cache, a scope that is required.

use std::time::Duration;

use peer_common::{Authority, CAPACITY, CLIENT, Failure, SCOPE, TTL};
use tower_introspection::connection::Limits;
use tower_introspection::{Cached, IntrospectionLayer, Rfc7662};
use tower_introspection::layer::IntrospectionLayerBuilder;

/// To which a program may add more than the scope.
pub fn guard(authority: &Authority) -> Result<IntrospectionLayerBuilder<Cached<Rfc7662>>, Failure> {
    // The default rate would slow down how the tokens are made known.
    let endpoint = Rfc7662::builder(authority.introspection_url())
        .client_secret_basic(CLIENT.0, CLIENT.1)
        .limits(Limits::new().rate_limit(1_000_000, Duration::from_secs(1)))
        .build()?;
    let cached = Cached::builder(endpoint).max_capacity(CAPACITY.into()).max_ttl(TTL).build()?;
    Ok(IntrospectionLayer::builder(cached).require_scope(SCOPE))
}
