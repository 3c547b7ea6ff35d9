//! An authorization server on loopback: introspection, discovery, keys. It knows every token, and counts what it is
//! asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::signing::{Issuer, claims};
use crate::{Failure, failure};

/// Runs in a thread of its own until the program ends.
pub struct Authority {
    state: Arc<State>,
    issuer: Issuer,
}

struct State {
    url: String,
    jwks: String,
    delay: Duration,
    failing: AtomicBool,
    questions: AtomicU64,
    fetches: AtomicU64,
}

impl Authority {
    /// Each question is answered after `delay`.
    pub(crate) fn start(delay: Duration) -> Result<Self, Failure> {
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let issuer = Issuer::new(&url)?;
        let jwks = issuer.jwks().to_string();
        let (failing, questions, fetches) = <(AtomicBool, AtomicU64, AtomicU64)>::default();
        let state = Arc::new(State { url, jwks, delay, failing, questions, fetches });
        let app = routes(&state);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move { axum::serve(TcpListener::from_std(listener)?, app).await })
        });
        Ok(Self { state, issuer })
    }

    /// Its name in tokens, and where discovery begins.
    pub fn issuer(&self) -> &str {
        &self.state.url
    }

    pub fn introspection_url(&self) -> String {
        format!("{}/introspect", self.state.url)
    }

    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.state.url)
    }

    pub(crate) fn keys(&self) -> &Issuer {
        &self.issuer
    }

    /// From now on every question fails.
    pub(crate) fn fail(&self) {
        self.state.failing.store(true, Ordering::SeqCst);
    }

    /// How often it was asked about a token.
    pub(crate) fn questions(&self) -> u64 {
        self.state.questions.load(Ordering::SeqCst)
    }

    /// How often it was asked for anything.
    pub(crate) fn requests(&self) -> u64 {
        self.questions() + self.state.fetches.load(Ordering::SeqCst)
    }
}

fn routes(state: &Arc<State>) -> Router {
    let [asked, discovered, fetched] = [(); 3].map(|()| Arc::clone(state));
    Router::new()
        .route(
            "/introspect",
            post(move |body: String| {
                let state = Arc::clone(&asked);
                async move { state.answer(&body).await }
            }),
        )
        .route(
            "/.well-known/openid-configuration",
            get(move || {
                discovered.fetches.fetch_add(1, Ordering::SeqCst);
                let document = discovered.discovery();
                async move { Json(document) }
            }),
        )
        .route(
            "/jwks",
            get(move || {
                fetched.fetches.fetch_add(1, Ordering::SeqCst);
                let keys = fetched.jwks.clone();
                async move { ([(header::CONTENT_TYPE, "application/json")], keys) }
            }),
        )
}

impl State {
    async fn answer(&self, body: &str) -> Response {
        self.questions.fetch_add(1, Ordering::SeqCst);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if self.failing.load(Ordering::SeqCst) {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        match token_number(body) {
            Ok(number) => {
                let mut answer = claims(&self.url, number);
                answer["active"] = json!(true);
                answer["token_type"] = json!("Bearer");
                Json(answer).into_response()
            }
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    }

    fn discovery(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "introspection_endpoint": format!("{url}/introspect"),
            "jwks_uri": format!("{url}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        })
    }
}

/// The number at the end of the token that a question is about.
fn token_number(body: &str) -> Result<usize, Failure> {
    let token = body.split('&').find_map(|pair| pair.strip_prefix("token=")).ok_or_else(|| failure("no token"))?;
    let digits = token.get(token.len().saturating_sub(8)..).ok_or_else(|| failure("no token"))?;
    Ok(digits.parse()?)
}
