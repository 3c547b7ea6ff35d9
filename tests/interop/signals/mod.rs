//! Security events and logouts that somebody else signs and sends.

mod events;
mod logout;

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use tower_introspection::signals::Signals;

/// Serves both doors on loopback, as long as the runtime is there.
async fn serve(listener: tokio::net::TcpListener, signals: &Signals) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let app: Router = Router::new()
        .route_service("/events", signals.push())
        .route_service("/backchannel-logout", signals.backchannel_logout());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn listener() -> tokio::net::TcpListener {
    tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}
