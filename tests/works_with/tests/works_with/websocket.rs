//! WebSockets of browsers, which can set no header but `Sec-WebSocket-Protocol`.

use std::borrow::Cow;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::{Router, response::Response, routing::any};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::request::Parts;
use tower_introspection::layer::IntrospectionLayerBuilder;
use tower_introspection::source::TokenSource;
use tower_introspection::token::MalformedToken;
use tower_introspection::{AccessToken, Introspect, RequestView};

/// The token among the subprotocols that a browser offers: `new WebSocket(url, ["orders.v1", "bearer." + token])`.
struct TokenSubprotocol;

impl TokenSource for TokenSubprotocol {
    fn find<'r>(&self, request: &RequestView<'r>) -> Result<Option<Cow<'r, str>>, MalformedToken> {
        let mut tokens = Vec::new();
        for offered in request.headers().get_all(SEC_WEBSOCKET_PROTOCOL) {
            let offered = offered.to_str().map_err(|_| MalformedToken::Syntax)?;
            tokens.extend(offered.split(',').filter_map(|name| name.trim().strip_prefix("bearer.")));
        }
        match tokens.as_slice() {
            [] => Ok(None),
            [token] => Ok(Some(Cow::Borrowed(*token))),
            _ => Err(MalformedToken::Repeated),
        }
    }

    fn mark_sensitive(&self, request: &mut Parts) {
        let offered = request.headers.iter_mut().filter(|(name, _)| **name == SEC_WEBSOCKET_PROTOCOL);
        offered.for_each(|(_, value)| value.set_sensitive(true));
    }
}

fn app(guard: IntrospectionLayerBuilder<impl Introspect>) -> Result<Router, Box<dyn std::error::Error>> {
    let guard = guard.token_source(TokenSubprotocol).build()?;
    Ok(Router::new().route("/feed", any(open)).layer(guard))
}

async fn open(upgrade: WebSocketUpgrade, token: AccessToken) -> Response {
    // Browsers give up if none of their subprotocols is selected. Never select the one with the token in it.
    upgrade.protocols(["orders.v1"]).on_upgrade(move |socket| feed(socket, token))
}

async fn feed(mut socket: WebSocket, token: AccessToken) {
    let client = token.client_id().unwrap_or("somebody");
    let _ = socket.send(Message::text(format!("the orders of {client}"))).await;
    // Nothing ends it when the token expires or is revoked, unless you do.
}

use std::net::SocketAddr;

use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

use crate::support::{issue, listener, sandbox};

/// What a browser that offers these subprotocols gets: the selected one and the first message, or a status.
async fn connected(address: SocketAddr, offered: &str) -> Result<(String, String), u16> {
    let mut request = format!("ws://{address}/feed").into_client_request().unwrap();
    if !offered.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((mut socket, response)) => {
            let selected = response.headers()["sec-websocket-protocol"].to_str().unwrap().to_owned();
            Ok((selected, socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()))
        }
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_websocket_with_the_token_among_its_subprotocols_is_opened_and_the_token_is_not_sent_back() {
    let (sandbox, guard) = sandbox().await;
    let (listener, address) = listener().await;
    let app = app(guard).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let token = issue(&sandbox);
    let opened = Ok(("orders.v1".to_owned(), "the orders of web-shop".to_owned()));
    for offered in [format!("orders.v1, bearer.{token}"), format!("bearer.{token},orders.v1")] {
        assert_eq!(connected(address, &offered).await, opened, "{offered}");
    }
    assert_eq!(sandbox.calls(&token), 1);
    assert_eq!(connected(address, "orders.v1").await, Err(401));
    assert_eq!(connected(address, "orders.v1, bearer.nobody-issued-this").await, Err(401));
    assert_eq!(connected(address, "orders.v1, bearer.").await, Err(400));
    assert_eq!(connected(address, &format!("bearer.{token}, bearer.{token}")).await, Err(400));
}
