//! An RFC 7662 server that notes when it was asked.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::State;
use axum::routing::post;
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

pub struct Authority {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// How long an answer takes.
    latency: Duration,
    asked_at: Mutex<Vec<Instant>>,
    revoked: Mutex<HashSet<String>>,
}

#[derive(Deserialize)]
struct Question {
    token: String,
}

impl Authority {
    /// On a free port, for as long as `runtime` is there.
    pub fn start(runtime: &Runtime, latency: Duration) -> Self {
        let shared = Arc::new(Shared { latency, asked_at: Mutex::default(), revoked: Mutex::default() });
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let app = Router::new().route("/introspect", post(answer)).with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    pub fn questions(&self) -> usize {
        self.shared.asked_at.lock().unwrap().len()
    }

    /// How many questions came in each `step` from `start` on, as long as `lasts`.
    pub fn questions_by(&self, step: Duration, start: Instant, lasts: Duration) -> Vec<usize> {
        let mut counts = vec![0; usize::try_from(lasts.as_millis() / step.as_millis()).unwrap()];
        for after in self.shared.asked_at.lock().unwrap().iter().filter_map(|at| at.checked_duration_since(start)) {
            let place = usize::try_from(after.as_millis() / step.as_millis()).unwrap();
            if let Some(count) = counts.get_mut(place) {
                *count += 1;
            }
        }
        counts
    }

    pub fn revoke(&self, token: &str) {
        self.shared.revoked.lock().unwrap().insert(token.to_owned());
    }
}

async fn answer(State(shared): State<Arc<Shared>>, Form(question): Form<Question>) -> Json<Value> {
    shared.asked_at.lock().unwrap().push(Instant::now());
    let is_revoked = shared.revoked.lock().unwrap().contains(&question.token);
    tokio::time::sleep(shared.latency).await;
    if is_revoked {
        return Json(json!({ "active": false }));
    }
    let expires_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + LIFETIME;
    Json(json!({
        "active": true, "client_id": "l238j323ds-23ij4", "exp": expires_at.as_secs(), "scope": "read write",
        "sub": "Z5O3upPC88QrAjx00dis", "token_type": "Bearer",
    }))
}
