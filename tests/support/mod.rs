//! What several test files need.
#![allow(dead_code, missing_docs, unreachable_pub, missing_debug_implementations, clippy::must_use_candidate)]

pub mod certificates;
pub mod faulty;
pub mod recorder;
pub mod text;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower_introspection::IntrospectionLayer;
use tower_introspection::Policy;
use tower_introspection::layer::RequireLayer;

use http::{HeaderValue, Request, Response};
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tower::Service;
#[cfg(feature = "test-util")]
use tower_introspection::cache::CachedBuilder;
#[cfg(feature = "test-util")]
use tower_introspection::clock::ManualClock;
use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rejection::RejectionKind;
use tower_introspection::{
    AccessToken, BearerToken, Cached, InactiveReason, Introspect, IntrospectError, Scopes, Verdict,
};

/// Every way in which an authority can fail to be asked.
pub const ERROR_KINDS: [IntrospectErrorKind; 11] = [
    IntrospectErrorKind::Connect,
    IntrospectErrorKind::Transport,
    IntrospectErrorKind::Timeout,
    IntrospectErrorKind::Credentials,
    IntrospectErrorKind::Discovery,
    IntrospectErrorKind::RateLimited,
    IntrospectErrorKind::Status,
    IntrospectErrorKind::Answer,
    IntrospectErrorKind::Overloaded,
    IntrospectErrorKind::CircuitOpen,
    IntrospectErrorKind::Abandoned,
];

pub const START: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn bearer(text: &str) -> BearerToken<'_> {
    BearerToken::parse(text).unwrap()
}

pub fn request(authorization: &str) -> Request<String> {
    Request::builder().header("authorization", authorization).body(String::new()).unwrap()
}

/// What a request was rejected for, if it was.
pub fn kind<B>(response: &Response<B>) -> Option<RejectionKind> {
    response.extensions().get().copied()
}

/// A service within the layer that has nothing to say.
#[derive(Clone, Copy, Debug)]
pub struct Idle;

impl<B: Default> Service<Request<B>> for Idle {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::default()))
    }
}

/// A port of this machine that refuses connections. As long as the socket is kept, nobody else gets the port.
pub fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Asks this machine itself, whatever proxy the environment names.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

pub fn scoped(scopes: &str) -> AccessToken {
    AccessToken::builder().client_id("weather-app").scopes(Scopes::parse(scopes)).build()
}

pub fn active() -> Answer {
    Ok(Verdict::Active(scoped("read")))
}

pub fn active_until(expires_at: Timestamp) -> Answer {
    Ok(Verdict::Active(AccessToken::builder().expires_at(expires_at).build()))
}

pub fn inactive(reason: InactiveReason) -> Answer {
    Ok(Verdict::Inactive(reason))
}

pub fn failure(kind: IntrospectErrorKind) -> Answer {
    Err(IntrospectError::new(kind))
}

/// Waits for what has to happen, but not for ever: a test that fails says so instead of hanging.
pub async fn patiently<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(secs(60), event).await.expect("it happens within a minute")
}

/// Goes on once `holds`, which others bring about.
pub async fn until(holds: impl Fn() -> bool) {
    patiently(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until no question is under way.
pub async fn quiet(cached: &Cached<impl Introspect>) {
    until(|| cached.handle().stats().questions_under_way == 0).await;
}

/// Polls, and is not woken again.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

pub type Answer = Result<Verdict, IntrospectError>;

/// An authority in the test's hands: it answers what it is told, counts, and can hold answers back.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    answer: Mutex<Answer>,
    questions: watch::Sender<usize>,
    holding: Mutex<Option<Arc<Semaphore>>>,
}

impl Authority {
    pub fn new(answer: Answer) -> Self {
        Self(Arc::new(Inner {
            answer: Mutex::new(answer),
            questions: watch::Sender::new(0),
            holding: Mutex::new(None),
        }))
    }

    pub fn says(&self, answer: Answer) {
        *self.0.answer.lock().unwrap() = answer;
    }

    /// Holds back the answers to questions from now on, each until one `release`.
    pub fn hold(&self) {
        *self.0.holding.lock().unwrap() = Some(Arc::new(Semaphore::new(0)));
    }

    /// Lets one answer go. It is what the authority says at that moment.
    pub fn release(&self) {
        self.0.holding.lock().unwrap().as_ref().unwrap().add_permits(1);
    }

    pub fn questions(&self) -> usize {
        *self.0.questions.borrow()
    }

    /// Waits until `n` questions have arrived.
    pub async fn asked(&self, n: usize) {
        let mut questions = self.0.questions.subscribe();
        let arrived = patiently(questions.wait_for(|&questions| questions >= n)).await;
        arrived.unwrap();
    }
}

impl Introspect for Authority {
    async fn introspect(&self, _: Ask<'_>) -> Answer {
        let holding = self.0.holding.lock().unwrap().clone();
        self.0.questions.send_modify(|questions| *questions += 1);
        if let Some(holding) = holding {
            holding.acquire().await.unwrap().forget();
        }
        self.0.answer.lock().unwrap().clone()
    }
}

/// A layer for a route that requires `scope`, made from a layer of its own.
pub fn requires(scope: &str) -> RequireLayer {
    IntrospectionLayer::new(Authority::new(active())).require(Policy::new().require_scope(scope)).unwrap()
}

/// What a layer does: it takes what is known, and asks if nothing is.
pub async fn known_or_asked(introspector: &impl Introspect, token: &str) -> Answer {
    match introspector.cached(&bearer(token)) {
        Some(verdict) => Ok(verdict),
        None => introspector.introspect(Ask::new(&bearer(token))).await,
    }
}

/// Asks about the token `abc`, in a task of its own.
pub fn spawn_ask(cached: &Cached<impl Introspect>) -> JoinHandle<Answer> {
    let cached = cached.clone();
    tokio::spawn(async move { cached.introspect(Ask::new(&bearer("abc"))).await })
}

/// A cache with these settings over `authority`, and the clock it goes by. One request in the last part of an answer's
/// time is enough to have the token asked about again.
#[cfg(feature = "test-util")]
pub fn cached(
    authority: &Authority,
    settings: impl FnOnce(CachedBuilder<Authority>) -> CachedBuilder<Authority>,
) -> (Cached<Authority>, ManualClock) {
    let clock = ManualClock::at(START);
    let builder = Cached::builder(authority.clone()).clock(clock.clone()).refresh_ahead_uses(1);
    (settings(builder).build().unwrap(), clock)
}

/// A cache with a question under way, whose answer the authority holds back.
pub async fn under_way(answer: Answer) -> (Authority, Cached<Authority>, JoinHandle<Answer>) {
    let authority = Authority::new(answer);
    authority.hold();
    let cached = Cached::new(authority.clone());
    let question = spawn_ask(&cached);
    authority.asked(1).await;
    (authority, cached, question)
}

/// Parses the one challenge in a `WWW-Authenticate` value with a parser that is not ours.
pub fn challenge(value: &HeaderValue) -> (String, Vec<(String, String)>) {
    let text = value.to_str().unwrap();
    let mut challenges = http_auth::parse_challenges(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(challenges.len(), 1, "{text}");
    let challenge = challenges.remove(0);
    let parameters: Vec<(String, String)> =
        challenge.params.iter().map(|(name, value)| ((*name).to_owned(), value.to_unescaped())).collect();
    for (at, (name, _)) in parameters.iter().enumerate() {
        assert!(!parameters[..at].iter().any(|(earlier, _)| earlier == name), "{name} twice in {text}");
    }
    (challenge.scheme.to_owned(), parameters)
}

pub fn parameter<'c>(challenge: &'c (String, Vec<(String, String)>), name: &str) -> Option<&'c str> {
    challenge.1.iter().find(|(stated, _)| stated == name).map(|(_, value)| value.as_str())
}
