//! The authority that all servers ask: RFC 7662 introspection and discovery on loopback. It counts the questions, and
//! says how many there were at `/questions`.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sockets_common::{Failure, SCOPE, announce, listen, run};

fn main() -> Result<(), Failure> {
    run(serve())
}

async fn serve() -> Result<(), Failure> {
    let listener = listen().await?;
    announce("http", &listener)?;
    println!("ready");
    let issuer = format!("http://{}", listener.local_addr()?);
    let questions = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&questions);
    let app = Router::new()
        .route(
            "/introspect",
            post(move |form: String| {
                asked.fetch_add(1, Ordering::SeqCst);
                async move { Json(answer(&form)) }
            }),
        )
        .route("/questions", get(move || async move { questions.load(Ordering::SeqCst).to_string() }))
        // Discovery looks for keys, though no token is signed here.
        .route("/jwks", get(async || Json(json!({ "keys": [] }))))
        .route("/.well-known/openid-configuration", get(move || async move { Json(discovery(&issuer)) }));
    Ok(axum::serve(listener, app).await?)
}

/// The generator's good tokens have a `t` before their number; nobody issued any other.
fn answer(form: &str) -> Value {
    let token = form.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
    if !token.contains("Bn6t") {
        return json!({ "active": false });
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "active": true,
        "token_type": "Bearer",
        "client_id": "fGytmxA5UDajPMdOA5E3bebiBOBPikOT",
        "scope": format!("{SCOPE} write"),
        "sub": format!("user-{token}"),
        "username": "weather-app",
        "iat": now,
        "exp": now + 7_200,
    })
}

fn discovery(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}
