//! utoipa: the guard in an OpenAPI document.

use axum::{Router, routing::get};
use tower_introspection::{AccessToken, Introspect, IntrospectionLayer};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(paths(orders), modifiers(&AccessTokens))]
struct Documentation;

struct AccessTokens;

impl Modify for AccessTokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("access_token", scheme);
    }
}

#[utoipa::path(
    get,
    path = "/orders",
    // What the guard requires. A document cannot see it: keep the two alike.
    security(("access_token" = ["orders.read"])),
    responses(
        (status = 200, body = String),
        (status = 401, description = "No token, or none that is active", headers(("WWW-Authenticate" = String))),
        (status = 403, description = "The token lacks the scope `orders.read`", headers(("WWW-Authenticate" = String))),
        (status = 503, description = "The token cannot be checked now", headers(("Retry-After" = u64))),
    )
)]
async fn orders(token: AccessToken) -> String {
    format!("the orders of {}", token.client_id().unwrap_or("somebody"))
}

fn app(guard: IntrospectionLayer<impl Introspect>) -> Router {
    let document = Documentation::openapi().to_json().unwrap_or_default();
    Router::new()
        .route("/orders", get(orders))
        .route_layer(guard)
        // Added after the guard: open to everyone.
        .route("/openapi.json", get(async || document))
}

use crate::support::{answer, issue, request, sandbox};

#[tokio::test]
async fn the_document_names_the_scheme_its_scopes_and_the_refusals() {
    let (sandbox, guard) = sandbox().await;
    let app = app(guard.require_scope("orders.read").build().unwrap());
    let document = answer(&app, request("").uri("/openapi.json")).await;
    let document: serde_json::Value = serde_json::from_str(document.body()).unwrap();
    let scheme = &document["components"]["securitySchemes"]["access_token"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&"http".into(), &"bearer".into()));
    let operation = &document["paths"]["/orders"]["get"];
    assert_eq!(operation["security"], serde_json::json!([{ "access_token": ["orders.read"] }]));
    for (token, status) in [(issue(&sandbox), 200), (String::new(), 401), (sandbox.issue(Default::default()), 403)] {
        assert_eq!(answer(&app, request(&token)).await.status(), status);
        assert!(operation["responses"].get(status.to_string()).is_some(), "{status} is documented");
    }
    assert!(operation["responses"].get("503").is_some());
}
