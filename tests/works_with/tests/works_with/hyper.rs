//! hyper alone, by `TowerToHyperService` of hyper-util.

use std::{convert::Infallible, io};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_introspection::{AccessToken, Introspect, IntrospectionLayer};

async fn serve(listener: TcpListener, guard: IntrospectionLayer<impl Introspect>) -> io::Result<()> {
    let service = ServiceBuilder::new().layer(guard).service_fn(orders);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn orders(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // The layer put it there, or the request would not have come here.
    let client = request.extensions().get::<AccessToken>().and_then(AccessToken::client_id);
    let body = format!("the orders of {}", client.unwrap_or("somebody"));
    Ok(Response::new(body.into()))
}

use crate::support::{get, issue, listener, sandbox};

#[tokio::test]
async fn a_server_of_hyper_alone_is_guarded() {
    let (sandbox, guard) = sandbox().await;
    let (listener, address) = listener().await;
    tokio::spawn(serve(listener, guard.build().unwrap()));
    let token = issue(&sandbox);
    for _miss_and_hit in 0..2 {
        let answer = get(address, "/orders", &token).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("the orders of web-shop"), "{answer}");
    }
    assert_eq!(sandbox.calls(&token), 1);
    let answer = get(address, "/orders", "").await;
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"api\"\r\n"), "{answer}");
}
