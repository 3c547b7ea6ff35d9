//! `camel-auth` has an introspector with a cache, and nothing that puts it in front of an HTTP service. So it gets the
//! glue that costs least: an axum extractor.

use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use camel_api::SsrfPolicy;
use camel_auth::{CachingTokenIntrospector, IntrospectionCacheOptions, extract_bearer_token};
use peer_common::{Authority, CAPACITY, CLIENT, Failure, TTL};

pub async fn introspector(authority: &Authority) -> Result<CachingTokenIntrospector, Failure> {
    let room = CAPACITY as usize;
    let options = IntrospectionCacheOptions { max_entries: room, default_ttl: TTL, ..Default::default() };
    let (client, secret) = (CLIENT.0.into(), CLIENT.1.into());
    // The authority is on loopback.
    let policy = SsrfPolicy::AllowInternal;
    Ok(CachingTokenIntrospector::new(authority.introspection_url(), client, secret, options, policy).await?)
}

/// The token of a request.
pub fn token(parts: &Parts) -> Result<String, StatusCode> {
    let value = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| extract_bearer_token(value).ok().flatten()).ok_or(StatusCode::UNAUTHORIZED)
}
