//! salvo, by its `tower-compat`.

use salvo::prelude::*;
use tower_introspection::{AccessToken, Introspect, IntrospectionLayer};

fn router(guard: IntrospectionLayer<impl Introspect>) -> Router {
    let guarded = Router::with_path("orders").hoop(guard.compat()).get(orders);
    Router::new().push(guarded).push(Router::with_path("healthz").get(healthz))
}

#[handler]
async fn orders(request: &mut Request) -> String {
    let client = request.extensions().get::<AccessToken>().and_then(AccessToken::client_id);
    format!("the orders of {}", client.unwrap_or("somebody"))
}

#[handler]
async fn healthz() -> &'static str {
    "ok"
}

use salvo::conn::Acceptor;

use crate::support::{get, issue, sandbox};

#[tokio::test]
async fn a_route_of_salvo_is_guarded_and_the_one_beside_it_is_open() {
    let (sandbox, guard) = sandbox().await;
    let acceptor = TcpListener::new("127.0.0.1:0").bind().await;
    let address = acceptor.holdings()[0].local_addr.clone().into_std().unwrap();
    tokio::spawn(Server::new(acceptor).serve(router(guard.build().unwrap())));
    let token = issue(&sandbox);
    for _miss_and_hit in 0..2 {
        let answer = get(address, "/orders", &token).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("the orders of web-shop"), "{answer}");
    }
    assert_eq!(sandbox.calls(&token), 1);
    for (token, challenge) in
        [("", "www-authenticate: Bearer realm=\"api\"\r\n"), ("unknown", "error=\"invalid_token\"")]
    {
        let answer = get(address, "/orders", token).await;
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n") && answer.contains(challenge), "{answer}");
        assert!(!answer.contains("the orders"), "{answer}");
    }
    assert!(get(address, "/healthz", "").await.starts_with("HTTP/1.1 200 OK"));
}
