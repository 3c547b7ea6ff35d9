//! Tokens that are bound to a key of their holder, RFC 9449, over the layer.
#![cfg(all(feature = "dpop", feature = "sandbox", feature = "test-util"))]

mod fleet;
mod guards;
mod model;
mod nonces;
mod replays;
mod rules;
mod uris;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response};
use tower::ServiceExt;
use tower_introspection::clock::ManualClock;
use tower_introspection::possession::{Dpop, DpopBuilder};
use tower_introspection::rejection::RejectionReason;
use tower_introspection::sandbox::{ProofBuilder, ProofKey};
use tower_introspection::{AccessToken, Cached, IntrospectionLayer, Scopes, Verdict};

use crate::support::*;

const ORIGIN: &str = "https://api.example.com";

const ALGS: &str = "algs=\"ES256 ES384 PS256 RS256 EdDSA\"";

/// A key, a token that is bound to it, and the clock of those who judge.
struct Holder {
    key: ProofKey,
    token: String,
    clock: ManualClock,
    /// Of its requests. Those by `POST` are gRPC calls.
    method: Method,
}

impl Holder {
    fn new() -> Self {
        Self {
            key: ProofKey::generate().unwrap(),
            token: "bound-to-a-key".into(),
            clock: ManualClock::at(START),
            method: Method::GET,
        }
    }

    fn authority(&self) -> Authority {
        Authority::new(bound(&self.key.thumbprint()))
    }

    /// A cache that has this token in it after the first request.
    fn cached(&self, authority: &Authority) -> Cached<Authority> {
        Cached::builder(authority.clone()).clock(self.clock.clone()).build().unwrap()
    }

    fn builder(&self) -> DpopBuilder {
        Dpop::builder(ORIGIN).clock(self.clock.clone())
    }

    fn dpop(&self) -> Dpop {
        self.builder().build().unwrap()
    }

    fn layer(&self, authority: &Authority) -> IntrospectionLayer<Cached<Authority>> {
        IntrospectionLayer::builder(self.cached(authority)).dpop(self.dpop()).build().unwrap()
    }

    /// One for `https://api.example.com/orders`, made now.
    fn proof(&self) -> ProofBuilder<'_> {
        self.proof_for(self.method.clone(), "https://api.example.com/orders")
    }

    fn proof_for(&self, method: Method, uri: &str) -> ProofBuilder<'_> {
        let now = tower_introspection::clock::Clock::now(&self.clock);
        self.key.proof(method, uri).token(&self.token).issued_at(now)
    }

    /// A request for `/orders` with this proof.
    fn request(&self, proof: &str) -> Request<String> {
        let mut request = to("/orders", &format!("DPoP {}", self.token), proof);
        if self.method == Method::POST {
            request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        }
        *request.method_mut() = self.method.clone();
        request
    }

    fn good_request(&self) -> Request<String> {
        self.request(&self.proof().sign().unwrap())
    }
}

fn bound(thumbprint: &str) -> Answer {
    Ok(Verdict::Active(with_cnf(serde_json::json!({ "jkt": thumbprint }))))
}

fn with_cnf(cnf: serde_json::Value) -> AccessToken {
    AccessToken::builder().client_id("app").scopes(Scopes::parse("read")).claim("cnf", cnf).unwrap().build()
}

fn to(path: &str, authorization: &str, proof: &str) -> Request<String> {
    let request = Request::get(path).header("authorization", authorization).header("dpop", proof);
    request.body(String::new()).unwrap()
}

/// A service that counts the requests that come to it.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Counting {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl tower::Service<Request<String>> for Counting {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Response::new(String::new())))
    }
}

async fn send<S>(service: &S, request: Request<String>) -> Response<String>
where
    S: tower::Service<Request<String>, Response = Response<String>, Error = Infallible> + Clone,
{
    service.clone().oneshot(request).await.unwrap()
}

/// The status, and why.
async fn outcome<S>(service: &S, request: Request<String>) -> (u16, Option<RejectionReason>)
where
    S: tower::Service<Request<String>, Response = Response<String>, Error = Infallible> + Clone,
{
    let response = send(service, request).await;
    (response.status().as_u16(), response.extensions().get().copied())
}

const IN: (u16, Option<RejectionReason>) = (200, None);

fn told<B>(response: &Response<B>) -> &str {
    response.headers()["www-authenticate"].to_str().unwrap()
}
