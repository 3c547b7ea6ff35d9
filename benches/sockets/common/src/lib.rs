//! What the servers have in common: one thread, one answer, and an end when the program that started them ends.

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::serve::{Listener, ListenerExt};
use axum::{Json, Router, ServiceExt};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tower_service::Service;

pub type Failure = Box<dyn Error + Send + Sync>;

/// The guarded resource, and the scope it takes.
pub const PATH: &str = "/orders/4711";
pub const SCOPE: &str = "read";
/// The client that may ask the authority.
pub const CLIENT: (&str, &str) = ("orders-api", "secret");
/// What all caches hold. Nothing is evicted, and nothing expires while it is measured.
pub const CAPACITY: u32 = 100_000;
pub const TTL: std::time::Duration = std::time::Duration::from_secs(3_600);

/// What every server answers, of the size that a small resource has.
pub const ORDER: &str = include_str!("order.json");

/// The handler of all of them.
pub async fn order() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], ORDER)
}

/// Where there is a page of orders.
pub const PAGE: &str = "/orders";

#[derive(Clone, Deserialize, Serialize)]
pub struct Order {
    id: u64,
    customer: String,
    status: String,
    currency: String,
    total: String,
    lines: Vec<Line>,
}

#[derive(Clone, Deserialize, Serialize)]
struct Line {
    sku: String,
    quantity: u32,
    price: String,
}

/// A hundred orders.
///
/// # Errors
/// If the one order is none.
pub fn page() -> Result<Arc<[Order]>, Failure> {
    let order: Order = serde_json::from_str(ORDER)?;
    Ok((0..100).map(|n| Order { id: order.id + n, ..order.clone() }).collect())
}

/// A handler that has something to do: it writes all orders as JSON.
pub async fn orders(State(orders): State<Arc<[Order]>>) -> Response {
    Json(&*orders).into_response()
}

/// The authority's address, which every server is told as its last argument.
pub fn authority() -> Result<String, Failure> {
    std::env::args().next_back().filter(|url| url.starts_with("http://")).ok_or_else(|| "no authority named".into())
}

/// Runs a server in one thread until its standard input ends: when the program that started it ends, however that comes
/// about.
pub fn run(server: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = server => ended,
            ended = until_input_ends() => ended,
        }
    });
    // A thread may still wait for input.
    runtime.shutdown_background();
    ended
}

async fn until_input_ends() -> Result<(), Failure> {
    let mut ignored = [0; 64];
    let mut input = tokio::io::stdin();
    while input.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// A free port of the loopback interface.
pub async fn listen() -> Result<TcpListener, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?)
}

/// Says where a protocol is served. The generator reads this line.
pub fn announce(protocol: &str, listener: &TcpListener) -> Result<(), Failure> {
    println!("{protocol} {}", listener.local_addr()?);
    Ok(())
}

/// Serves HTTP/1.1 and HTTP/2 on one port.
pub async fn serve(app: Router) -> Result<(), Failure> {
    let listener = http_listener().await?;
    Ok(axum::serve(listener, app).await?)
}

/// The same, of a service that is no router.
pub async fn serve_service<S>(service: S) -> Result<(), Failure>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    let listener = http_listener().await?;
    Ok(axum::serve(listener, service.into_make_service()).await?)
}

async fn http_listener() -> Result<impl Listener<Addr = SocketAddr>, Failure> {
    let listener = listen().await?;
    announce("http", &listener)?;
    println!("ready");
    Ok(listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    }))
}
