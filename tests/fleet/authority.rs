//! An RFC 7662 server that knows which tokens it was told of, and counts what it is asked.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{millis, now, pass};

/// How long an answer takes.
const LATENCY: u64 = 3;

#[derive(Clone, Default)]
pub struct Authority {
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    tokens: Mutex<HashMap<String, Token>>,
    questions: Mutex<HashMap<String, usize>>,
    fails: AtomicBool,
}

struct Token {
    subject: String,
    tenant: String,
    /// Seconds since 1970.
    expires_at: u64,
    is_revoked: bool,
}

#[derive(Deserialize)]
struct Question {
    token: String,
}

impl Authority {
    /// On a free port, as long as the runtime is there.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let app = Router::new().route("/introspect", post(answer)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    /// Returns when it expires, in microseconds since 1970.
    pub fn issue(&self, token: &str, subject: &str, tenant: &str, lasts: std::time::Duration) -> u64 {
        let expires_at = now() / 1_000_000 + lasts.as_secs();
        let (subject, tenant) = (subject.into(), tenant.into());
        self.shared
            .tokens
            .lock()
            .unwrap()
            .insert(token.into(), Token { subject, tenant, expires_at, is_revoked: false });
        expires_at * 1_000_000
    }

    /// One that lasts for longer than any test.
    pub fn issue_lasting(&self, token: &str) {
        self.issue(token, "ann", "north", std::time::Duration::from_secs(86_400));
    }

    /// From when this has returned on, it says no of it.
    pub fn revoke(&self, token: &str) {
        self.shared.tokens.lock().unwrap().get_mut(token).unwrap().is_revoked = true;
    }

    pub fn fails(&self, fails: bool) {
        self.shared.fails.store(fails, Ordering::SeqCst);
    }

    pub fn questions(&self) -> usize {
        self.shared.questions.lock().unwrap().values().sum()
    }

    pub fn questions_about(&self, token: &str) -> usize {
        self.shared.questions.lock().unwrap().get(token).copied().unwrap_or_default()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Form(Question { token }): Form<Question>,
) -> (StatusCode, Json<Value>) {
    *shared.questions.lock().unwrap().entry(token.clone()).or_default() += 1;
    let answer = {
        let tokens = shared.tokens.lock().unwrap();
        let known = tokens.get(&token).filter(|token| !token.is_revoked && now() < token.expires_at * 1_000_000);
        known.map(|Token { subject, tenant, expires_at, .. }| {
            json!({ "active": true, "scope": "read", "client_id": "app", "sub": subject, "exp": expires_at, "tenant": tenant })
        })
    };
    // What it has found out is on its way for a while: a revocation may overtake it.
    pass(millis(LATENCY)).await;
    if shared.fails.load(Ordering::SeqCst) {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
    }
    (StatusCode::OK, Json(answer.unwrap_or_else(|| json!({ "active": false }))))
}
