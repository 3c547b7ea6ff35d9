//! A gRPC service behind the layer, called with and without a token. `cargo run --example tonic`
//!
//! The service is the standard health service, so that nobody needs protoc.

#![allow(clippy::print_stdout)]

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{AccessTokenExt, Cached, IntrospectionLayer};

struct Guarded;

#[tonic::async_trait]
impl Health for Guarded {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        println!("called by client {:?}", request.access_token()?.client_id());
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sandbox = Sandbox::start().await?;
    let layer = IntrospectionLayer::new(Cached::new(sandbox.apigee().build()?));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let server = Server::builder().layer(layer).add_service(HealthServer::new(Guarded));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let mut client = HealthClient::new(Channel::from_shared(address)?.connect().await?);
    for token in [None, Some("nobody-issued-this".to_owned()), Some(sandbox.issue(SandboxToken::new()))] {
        let mut request = Request::new(HealthCheckRequest::default());
        if let Some(token) = &token {
            request.metadata_mut().insert("authorization", AsciiMetadataValue::try_from(format!("Bearer {token}"))?);
        }
        match client.check(request).await {
            Ok(_) => println!("{token:?}: served"),
            Err(status) => println!("{token:?}: {:?}, {}", status.code(), status.message()),
        }
    }
    Ok(())
}
