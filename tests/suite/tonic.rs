//! tonic servers on real sockets, called by a real gRPC client.
#![cfg(feature = "tonic")]

use crate::support::requires;
use std::convert::Infallible;

use crate::support::*;
use axum::Router;
use axum::routing::get;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::{Layer, ServiceExt};
#[cfg(feature = "sandbox")]
use tower_introspection::Cached;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rejection::RejectionReason;
#[cfg(feature = "sandbox")]
use tower_introspection::sandbox::{Fault, Sandbox, SandboxToken};
use tower_introspection::{AccessTokenExt, IntrospectionLayer};

/// Serves those whose client is known.
pub(crate) struct Guarded;

#[tonic::async_trait]
impl Health for Guarded {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let client = request.access_token()?.client_id().unwrap_or_default();
        Ok(Response::new(HealthCheckResponse { status: i32::from(!client.is_empty()) }))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

async fn listener() -> (TcpListenerStream, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (TcpListenerStream::new(listener), address)
}

/// A service with the layers under test around it.
async fn serve<S>(service: S) -> HealthClient<Channel>
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let (incoming, address) = listener().await;
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    HealthClient::new(Channel::from_shared(address).unwrap().connect().await.unwrap())
}

pub(crate) async fn call(client: &HealthClient<Channel>, authorization: &str) -> Result<i32, Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    if !authorization.is_empty() {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    client.clone().check(request).await.map(|response| response.into_inner().status)
}

#[cfg(feature = "sandbox")]
#[tokio::test]
async fn a_whole_server_is_guarded_and_every_outcome_has_its_status() {
    let sandbox = Sandbox::start().await.unwrap();
    let layer = IntrospectionLayer::new(Cached::new(sandbox.apigee().build().unwrap()));
    let (incoming, address) = listener().await;
    let server = Server::builder().layer(layer).add_service(HealthServer::new(Guarded));
    tokio::spawn(server.serve_with_incoming(incoming));
    let client = HealthClient::new(Channel::from_shared(address).unwrap().connect().await.unwrap());

    let active = sandbox.issue(SandboxToken::new());
    for _ in 0..2 {
        assert_eq!(call(&client, &format!("Bearer {active}")).await.unwrap(), 1);
    }
    assert_eq!(sandbox.calls(&active), 1);
    let revoked = sandbox.issue(SandboxToken::new());
    sandbox.revoke(&revoked);
    for (authorization, says) in [
        ("", "an access token is required"),
        ("Basic abc", "an access token is required"),
        ("Bearer a b", "the access token is malformed"),
        ("Bearer nobody-issued-this", "the access token is unknown"),
        (&format!("Bearer {revoked}"), "the access token was revoked"),
    ] {
        let status = call(&client, authorization).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, says), "{authorization}");
    }
    sandbox.set_fault(Fault::Status(500));
    let other = sandbox.issue(SandboxToken::new());
    let status = call(&client, &format!("Bearer {other}")).await.unwrap_err();
    let says = "the access token cannot be checked at the moment; try again";
    assert_eq!((status.code(), status.message()), (Code::Unavailable, says));
    assert_eq!(call(&client, &format!("Bearer {active}")).await.unwrap(), 1);
}

#[tokio::test]
async fn one_service_is_guarded_and_keeps_its_grpc_name() {
    let guarded = IntrospectionLayer::builder(Authority::new(active())).require_scope("admin").build().unwrap();
    let client = serve(guarded.layer(HealthServer::new(Guarded))).await;
    assert_eq!(call(&client, "Bearer abc").await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(call(&client, "").await.unwrap_err().code(), Code::Unauthenticated);

    let scope = requires("read");
    let nested = IntrospectionLayer::new(Authority::new(active())).layer(scope.layer(HealthServer::new(Guarded)));
    assert_eq!(call(&serve(nested).await, "Bearer abc").await.unwrap(), 1);
}

#[tokio::test]
async fn overload_is_unavailable() {
    let layer = IntrospectionLayer::new(Authority::new(failure(IntrospectErrorKind::Overloaded)));
    let client = serve(layer.layer(HealthServer::new(Guarded))).await;
    assert_eq!(call(&client, "Bearer abc").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn the_request_tells_no_token_from_no_layer() {
    let optional = IntrospectionLayer::builder(Authority::new(active())).optional(true).build().unwrap();
    let client = serve(optional.layer(HealthServer::new(Guarded))).await;
    assert_eq!(call(&client, "").await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(call(&client, "Bearer abc").await.unwrap(), 1);
    let stats = optional.stats();
    assert_eq!((stats.anonymous, stats.accepted), (1, 1));
    let reason = (RejectionReason::MissingToken, 1);
    assert_eq!(stats.rejected_by_reason, [reason], "counted at the layer that let the call in");
    let client = serve(HealthServer::new(Guarded)).await;
    assert_eq!(call(&client, "Bearer abc").await.unwrap_err().code(), Code::Internal);
    let client = serve(requires("read").layer(HealthServer::new(Guarded))).await;
    assert_eq!(call(&client, "Bearer abc").await.unwrap_err().code(), Code::Internal);
}

/// HTTP/1 takes the blank away; RFC 9113 section 8.2.1 has none in front of a value, but a peer can send it.
#[tokio::test]
async fn a_token_with_a_blank_in_front_of_its_scheme_does_not_come_in_as_anonymous_over_http_2() {
    let layer = IntrospectionLayer::builder(Authority::new(active())).optional(true).build().unwrap();
    let client = serve(layer.layer(HealthServer::new(Guarded))).await;
    for authorization in [" Bearer abc", "\tBearer abc", " Basic abc"] {
        let status = call(&client, authorization).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "the access token is malformed"));
    }
    let stats = layer.stats();
    assert_eq!((stats.anonymous, stats.accepted), (0, 0));
}

#[tokio::test]
async fn a_token_may_be_asked_for_that_need_not_be_there() {
    let inner = tower::service_fn(async |request: http::Request<()>| {
        let (parts, ()) = request.into_parts();
        let request = Request::from_parts(MetadataMap::from_headers(parts.headers), parts.extensions, ());
        let client = request.optional_access_token().map(|token| token.is_some()).map_err(|status| status.code());
        Ok::<_, Infallible>(http::Response::new(format!("{client:?}")))
    });
    let layer = IntrospectionLayer::builder(Authority::new(active())).optional(true).build().unwrap();
    for (authorization, found) in [(None, "Ok(false)"), (Some("Bearer abc"), "Ok(true)")] {
        let mut request = http::Request::new(());
        if let Some(authorization) = authorization {
            request.headers_mut().insert("authorization", authorization.parse().unwrap());
        }
        assert_eq!(layer.layer(inner).oneshot(request).await.unwrap().body(), found);
    }
    assert_eq!(inner.oneshot(http::Request::new(())).await.unwrap().body(), &format!("Err({:?})", Code::Internal));
}

#[tokio::test]
async fn one_port_serves_grpc_and_http_behind_one_layer() {
    let routes = tonic::service::Routes::new(HealthServer::new(Guarded)).into_axum_router();
    let layer = IntrospectionLayer::new(Authority::new(active()));
    let app = Router::new().route("/hello", get(async || "hello")).merge(routes).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = HealthClient::new(Channel::from_shared(address.clone()).unwrap().connect().await.unwrap());
    assert_eq!(call(&client, "").await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(call(&client, "Bearer abc").await.unwrap(), 1);
    let hello = crate::support::client().get(format!("{address}/hello"));
    assert_eq!(hello.try_clone().unwrap().send().await.unwrap().status(), 401);
    assert_eq!(hello.bearer_auth("abc").send().await.unwrap().status(), 200);
}
