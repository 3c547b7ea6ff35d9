//! `oidc-provider` issues the tokens, npm `oauth4webapi` makes the requests, and what is guarded here answers them over
//! real sockets.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_introspection::jwt::ByIssuer;
use tower_introspection::possession::{Dpop, DpopBuilder, NonceSecret};
use tower_introspection::{AccessToken, Cached, IntrospectionLayer};

use crate::server::{Server, installed, is_installed, run, which};

/// Method, path, and the path that the handler sees.
const TARGETS: [(&str, &str, &str); 5] = [
    ("GET", "/orders", "/orders"),
    ("GET", "/orders?page=2&q=a%20b", "/orders?page=2&q=a%20b"),
    ("POST", "/orders", "/orders"),
    ("GET", "/files/caf%C3%A9%2F1;v=%7e", "/files/caf%C3%A9%2F1;v=%7e"),
    ("GET", "/tenants/alice/orders?page=2", "/orders?page=2"),
];

/// A service that takes tokens of both kinds of the server, on a socket, and bearer tokens too or not.
async fn service(server: &Server, takes_bearer: bool, configure: impl FnOnce(DpopBuilder) -> DpopBuilder) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let dpop = configure(Dpop::builder(&origin)).build().unwrap();
    let jwt = tower_introspection::Jwt::discover(server.text("/issuer")).audience("https://api.example.com");
    let tokens = ByIssuer::builder()
        .issuer(server.text("/issuer"), Cached::new(jwt.build().unwrap()))
        .opaque(Cached::new(server.basic()))
        .build()
        .unwrap();
    let guard = IntrospectionLayer::builder(tokens).require_scope("read").dpop(dpop);
    let guard = if takes_bearer { guard } else { guard.require_sender_constrained() };
    let guard = guard.build().unwrap();
    let answer = async |Extension(token): Extension<AccessToken>, request: Request| {
        let (parts, body) = request.into_parts();
        let is_secret = |name: &str| parts.headers[name].is_sensitive();
        Json(json!({
            "method": parts.method.as_str(), "uri": parts.uri.to_string(),
            "body": String::from_utf8(to_bytes(body, 100).await.unwrap().to_vec()).unwrap(),
            "client_id": token.client_id(), "scope": token.scopes().to_string(),
            "is_bound": token.is_sender_constrained(), "secrets": [is_secret("authorization"), is_secret("dpop")],
        }))
    };
    let nested = Router::new().route("/orders", get(answer).route_layer(guard.clone()));
    let app = Router::new()
        .route("/orders", get(answer).merge(post(answer)))
        .route("/files/{name}", get(answer))
        .route("/nowhere", get(answer))
        .route_layer(guard)
        // Below it the path lacks what the router took off.
        .nest("/tenants/{tenant}", nested);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    origin
}

#[tokio::test]
async fn a_client_of_others_gets_in_with_its_key_and_learns_of_nonces_by_itself() {
    let (node, script) = (which("node"), installed().join("oidc-provider/client.mjs"));
    let Some(server) = Server::oidc_provider().await else { return };
    if !is_installed("oauth4webapi", &node, &script) {
        return;
    }
    let secret = || NonceSecret::random().unwrap();
    let services = json!({
        "off": service(&server, true, |dpop| dpop).await,
        "offered": service(&server, false, |dpop| dpop.offer_nonces(secret())).await,
        "required": service(&server, false, |dpop| dpop.require_nonces(secret())).await,
    });
    let targets: Vec<_> = TARGETS.iter().map(|(method, path, _)| json!({ "method": method, "path": path })).collect();
    let said = run(
        &node,
        &script,
        &json!({
            "issuer": server.text("/issuer"),
            "client_id": server.text("/dpop_app/client_id"),
            "client_secret": server.text("/dpop_app/client_secret"),
            "scope": "read write",
            "resources": {
                "opaque": "https://api.example.com", "jwt": format!("{}?alg=ES256", server.text("/jwt_resource")),
            },
            "services": services,
            "targets": targets,
        }),
    )
    .await;

    let steps = said.as_array().unwrap();
    for kind in ["opaque", "jwt"] {
        for service in ["off", "offered", "required"] {
            let step = |what: &str| {
                let found = steps
                    .iter()
                    .find(|step| step["what"] == what && step["kind"] == kind && step["service"] == service);
                found.unwrap_or_else(|| panic!("{what}, {kind}, {service}")).clone()
            };
            for (at, (method, path, seen)) in TARGETS.into_iter().enumerate() {
                let step = step(&format!("{method} {path}"));
                // What the client is told with the first answer, a refusal or not, it does from then on.
                let (statuses, nonces) = match (service, at) {
                    ("off", _) => (json!([200]), json!([false])),
                    ("offered", 0) => (json!([200]), json!([false])),
                    ("required", 0) => (json!([401, 200]), json!([false, true])),
                    _ => (json!([200]), json!([true])),
                };
                assert_eq!((&step["statuses"], &step["nonces"]), (&statuses, &nonces), "{step}");
                let body = if method == "POST" { "a body" } else { "" };
                let expected = json!({
                    "method": method, "uri": seen, "body": body, "client_id": "dpop-app", "scope": "read write",
                    "is_bound": true, "secrets": [true, true],
                });
                assert_eq!(step["body"], expected, "{step}");
            }
            assert_eq!(step("another token")["statuses"], json!([200]), "{kind} {service}");
            for what in ["replayed", "no proof", "another path"] {
                assert_is_refused(&step(what), "invalid_dpop_proof");
            }
            let by_another = step("another key");
            assert_eq!(by_another["statuses"], json!([401]), "{by_another}");
            assert_eq!(challenge(&by_another)["error"], "invalid_dpop_proof", "{by_another}");
            let as_bearer = step("bearer");
            assert_eq!(as_bearer["statuses"], json!([401]), "{as_bearer}");
            if service == "off" {
                let [bearer, dpop] = &as_bearer["challenges"].as_array().unwrap()[..] else { panic!("{as_bearer}") };
                assert_eq!((&bearer["scheme"], &dpop["scheme"]), (&json!("bearer"), &json!("dpop")), "{as_bearer}");
                assert_eq!(bearer["parameters"]["error"], "invalid_token", "{as_bearer}");
                assert!(dpop["parameters"]["algs"].is_string(), "{as_bearer}");
            } else {
                assert_eq!(challenge(&as_bearer)["error"], "invalid_token", "{as_bearer}");
            }
            let without = step("no token");
            assert_eq!(without["statuses"], json!([401]), "{without}");
            assert!(!without["challenge"].as_str().unwrap().contains("error"), "{without}");
        }
    }
}

/// The one challenge, as the library has read it.
fn challenge(step: &Value) -> &Value {
    let [challenge] = &step["challenges"].as_array().unwrap()[..] else { panic!("{step}") };
    assert_eq!(challenge["scheme"], "dpop", "{step}");
    let algorithms = challenge["parameters"]["algs"].as_str().unwrap();
    assert!(algorithms.split(' ').any(|algorithm| algorithm == "ES256"), "{step}");
    &challenge["parameters"]
}

fn assert_is_refused(step: &Value, error: &str) {
    assert_eq!(step["statuses"], json!([401]), "{step}");
    let challenge = step["challenge"].as_str().unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains(&format!("error=\"{error}\"")), "{step}");
}
