//! `zitadel`: an axum extractor with a cache by `moka`. The extractor checks neither scope nor audience.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use sockets_common::{CAPACITY, CLIENT, Failure, PATH, TTL, authority, order, run, serve};
use zitadel::axum::introspection::{IntrospectedUser, IntrospectionStateBuilder};
use zitadel::oidc::introspection::cache::in_memory::{CacheBuilder, InMemoryIntrospectionCache};

async fn guarded_order(_: IntrospectedUser) -> impl IntoResponse {
    order().await
}

async fn guarded() -> Result<(), Failure> {
    let cache = CacheBuilder::new(CAPACITY.into()).time_to_live(TTL).build();
    let state = IntrospectionStateBuilder::new(&authority()?)
        .with_basic_auth(CLIENT.0, CLIENT.1)
        .with_introspection_cache(InMemoryIntrospectionCache::new_from_cache(cache))
        .build()
        .await?;
    serve(Router::new().route(PATH, get(guarded_order)).with_state(state)).await
}

fn main() -> Result<(), Failure> {
    run(guarded())
}
