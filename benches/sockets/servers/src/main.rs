//! The server, without the layer (`bare`) or with it (`guarded`): HTTP/1.1 and HTTP/2 by axum on one port, gRPC by
//! tonic on another. One program for both, so that they differ in nothing but the layer. Two others tell what that
//! costs: `passing` has a layer that does nothing in the same place, and `around` has the guard not around the route,
//! where axum boxes it, but around all of the router.

use std::task::{Context, Poll};

use axum::Router;
use axum::routing::get;
use sockets_common::{
    CAPACITY, CLIENT, Failure, PAGE, PATH, SCOPE, TTL, announce, authority, listen, order, orders, page, run, serve,
    serve_service,
};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_introspection::connection::Limits;
use tower_introspection::{Cached, IntrospectionLayer, Rfc7662};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

/// The standard health service, so that nobody needs protoc.
struct Healthy;

#[tonic::async_trait]
impl Health for Healthy {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

/// As a user would write it, but for limits that would make 10,000 first questions take long.
fn guard() -> Result<IntrospectionLayer<Cached<Rfc7662>>, Failure> {
    let endpoint = Rfc7662::builder(format!("{}/introspect", authority()?))
        .client_secret_basic(CLIENT.0, CLIENT.1)
        .limits(Limits::new().rate_limit(1_000_000, std::time::Duration::from_secs(1)))
        .build()?;
    let cached = Cached::builder(endpoint).max_capacity(CAPACITY.into()).max_ttl(TTL).build()?;
    Ok(IntrospectionLayer::builder(cached).require_scope(SCOPE).build()?)
}

fn app() -> Result<Router, Failure> {
    Ok(Router::new().route(PATH, get(order)).route(PAGE, get(orders)).with_state(page()?))
}

async fn bare() -> Result<(), Failure> {
    let (calls, connections) = (Server::builder().add_service(HealthServer::new(Healthy)), grpc_connections().await?);
    either(calls.serve_with_incoming(connections), serve(app()?)).await
}

async fn passing() -> Result<(), Failure> {
    let calls = Server::builder().layer(layer_fn(Passing)).add_service(HealthServer::new(Healthy));
    let connections = grpc_connections().await?;
    either(calls.serve_with_incoming(connections), serve(app()?.route_layer(layer_fn(Passing)))).await
}

/// Hands everything on.
#[derive(Clone)]
struct Passing<S>(S);

impl<S: Service<R>, R> Service<R> for Passing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.0.call(request)
    }
}

async fn guarded() -> Result<(), Failure> {
    let guard = guard()?;
    let calls = Server::builder().layer(guard.clone()).add_service(HealthServer::new(Healthy));
    let connections = grpc_connections().await?;
    either(calls.serve_with_incoming(connections), serve(app()?.route_layer(guard))).await
}

async fn grpc_connections() -> Result<TcpIncoming, Failure> {
    let listener = listen().await?;
    announce("grpc", &listener)?;
    Ok(TcpIncoming::from(listener).with_nodelay(Some(true)))
}

/// Both go on until one of them fails.
async fn either(
    calls: impl Future<Output = Result<(), tonic::transport::Error>>,
    requests: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::select! {
        ended = calls => Ok(ended?),
        ended = requests => ended,
    }
}

async fn around() -> Result<(), Failure> {
    serve_service(guard()?.layer(app()?)).await
}

fn main() -> Result<(), Failure> {
    match std::env::args().nth(1).as_deref() {
        Some("bare") => run(bare()),
        Some("passing") => run(passing()),
        Some("around") => run(around()),
        Some("guarded") => run(guarded()),
        _ => Err("which server? bare, passing, around or guarded".into()),
    }
}
