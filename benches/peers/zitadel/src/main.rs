//! `zitadel`: an axum extractor with a cache by `moka`. The extractor checks neither scope nor audience.

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use peer_common::{Authority, CAPACITY, CLIENT, Failure, PATH, TTL};
use zitadel::axum::introspection::{IntrospectedUser, IntrospectionStateBuilder};
use zitadel::oidc::introspection::cache::in_memory::{CacheBuilder, InMemoryIntrospectionCache};

async fn guarded(authority: &Authority) -> Result<Router, Failure> {
    let cache = CacheBuilder::new(CAPACITY.into()).time_to_live(TTL).build();
    let state = IntrospectionStateBuilder::new(authority.issuer())
        .with_basic_auth(CLIENT.0, CLIENT.1)
        .with_introspection_cache(InMemoryIntrospectionCache::new_from_cache(cache))
        .build()
        .await?;
    Ok(Router::new().route(PATH, get(async |_: IntrospectedUser| "all of them")).with_state(state))
}

fn main() -> ExitCode {
    peer_common::run(guarded)
}
