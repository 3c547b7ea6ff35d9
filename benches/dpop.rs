//! What a proof of possession costs: `cargo bench --bench dpop`, about a minute.
//!
//! A layer over a cache that has the token, with DPoP switched on, in this process. In rounds (`ROUNDS`, 21), which
//! take turns:
//!
//! * `bare`: aws-lc-rs reads a P-256 key and verifies the signature of a proof, whose parts were decoded before;
//! * `proof`: a request with an ES256 proof that nobody has used, from the layer's call to the inner service's answer;
//! * `bearer`: the same for a plain bearer token, a hit;
//! * each way in which a proof is wrong before its signature is looked at.
//!
//! A request with a proof is to take at most 1.15 times the bare verification, in the median of the rounds, and each
//! refusal less than 5 microseconds.
//!
//! At the end a flood: requests with good proofs come a thousand times a second for a few seconds (`FLOOD_SECONDS`, 5),
//! first alone, and then beside 5,000 a second with somebody else's token and a forged signature. The 99th percentile
//! of the good ones is to be at most 1.5 times the quiet one.
#![allow(missing_docs, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hdrhistogram::Histogram;
use http::{Method, Request, Response};
use serde_json::json;
use tower::{Layer, Service, service_fn};
use tower_introspection::introspect::Ask;
use tower_introspection::possession::Dpop;
use tower_introspection::sandbox::{ProofBuilder, ProofKey};
use tower_introspection::{AccessToken, BearerToken, Cached, Introspect, IntrospectionLayer, Verdict, introspect_fn};

use support::rounds::Rounds;
use support::{Bounds, is_asked_for, setting};

const ORIGIN: &str = "https://api.example.com";
const TOKEN: &str = "bound-25poPXCPOw43s0hJBn6tQYnUb5KF";
const PLAIN: &str = "plain-25poPXCPOw43s0hJBn6tQYnUb5KF";
const MOST_TIMES_BARE: f64 = 1.15;
const MOST_NANOSECONDS: f64 = 5_000.0;
const MOST_TIMES_QUIET: f64 = 1.5;

type Answer = Response<String>;

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

/// Nanoseconds for each of these requests, which all have this outcome.
#[allow(clippy::cast_precision_loss)]
fn each<S>(service: &mut S, requests: Vec<Request<()>>, status: u16) -> f64
where
    S: Service<Request<()>, Response = Answer, Error = Infallible>,
{
    let count = requests.len();
    let start = Instant::now();
    for request in requests {
        let response = now(service.call(black_box(request)));
        assert_eq!(black_box(response).unwrap().status(), status);
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

fn request(scheme: &str, token: &str, proof: Option<&str>) -> Request<()> {
    let request = Request::get("/orders").header("authorization", format!("{scheme} {token}"));
    let request = match proof {
        Some(proof) => request.header("dpop", proof),
        None => request,
    };
    request.body(()).unwrap()
}

/// Whose requests these are.
struct Holder {
    key: ProofKey,
    token: &'static str,
}

impl Holder {
    fn proof(&self) -> ProofBuilder<'_> {
        self.key.proof(Method::GET, format!("{ORIGIN}/orders")).token(self.token)
    }

    fn good(&self) -> Request<()> {
        self.with(self.proof())
    }

    fn with(&self, proof: ProofBuilder<'_>) -> Request<()> {
        request("DPoP", self.token, Some(&proof.sign().unwrap()))
    }

    /// With the signature of another proof.
    fn forged(&self, other: &str) -> Request<()> {
        let proof = self.proof().sign().unwrap();
        let signature = other.rsplit_once('.').unwrap().1;
        request("DPoP", self.token, Some(&format!("{}.{signature}", proof.rsplit_once('.').unwrap().0)))
    }
}

/// Knows both tokens and the one that is not bound.
fn authority(holders: &[&Holder]) -> impl Introspect + use<> {
    let bound: Vec<(&'static str, String)> =
        holders.iter().map(|holder| (holder.token, holder.key.thumbprint())).collect();
    introspect_fn(move |token: BearerToken<'static>| {
        let facts = AccessToken::builder().client_id("app");
        let key = bound.iter().find(|(bound, _)| *bound == token.expose()).map(|(_, key)| key.clone());
        async move {
            Ok(Verdict::Active(match key {
                Some(key) => facts.claim("cnf", json!({ "jkt": key })).unwrap().build(),
                None => facts.build(),
            }))
        }
    })
}

fn dpop() -> Dpop {
    let builder = Dpop::builder(ORIGIN).proof_lifetime(Duration::from_secs(3_600));
    builder.max_remembered_proofs(10_000_000).max_remembered_proofs_of_one_key(10_000_000).build().unwrap()
}

async fn known<I: Introspect>(introspector: I, tokens: &[&str]) -> Cached<I> {
    let cached = Cached::builder(introspector).max_ttl(Duration::from_secs(3_600)).build().unwrap();
    for token in tokens {
        assert!(cached.introspect(Ask::new(&BearerToken::parse(*token).unwrap())).await.unwrap().is_active());
    }
    cached
}

fn refusals(holder: &Holder) -> Vec<(&'static str, u16, Request<()>)> {
    let stranger = Holder { key: ProofKey::generate().unwrap(), token: holder.token };
    let claim = |name: &str, value: &str| holder.with(holder.proof().claim(name, value).unwrap());
    vec![
        ("no proof", 401, request("DPoP", TOKEN, None)),
        ("no JWT", 401, request("DPoP", TOKEN, Some("junk"))),
        ("another typ", 401, holder.with(holder.proof().header("typ", "JWT").unwrap())),
        ("another key", 401, stranger.good()),
        ("another ath", 401, holder.with(holder.proof().token("another"))),
        ("another htm", 401, claim("htm", "POST")),
        ("another htu", 401, claim("htu", "https://api.example.com/others")),
        ("an old iat", 401, holder.with(holder.proof().claim("iat", 1_700_000_000).unwrap())),
        ("bound, as a bearer token", 401, request("Bearer", TOKEN, None)),
        ("not bound, with a proof", 401, request("DPoP", PLAIN, Some("junk"))),
    ]
}

async fn costs(rounds: usize, bounds: &mut Bounds) {
    let holder = Holder { key: ProofKey::generate().unwrap(), token: TOKEN };
    let cached = known(authority(&[&holder]), &[TOKEN, PLAIN]).await;
    let layer = IntrospectionLayer::builder(cached).dpop(dpop()).build().unwrap();
    let mut service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new()))));

    let decoded = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let jwk: serde_json::Value = serde_json::from_str(&holder.key.public_jwk()).unwrap();
    let key = [vec![4], decoded(jwk["x"].as_str().unwrap()), decoded(jwk["y"].as_str().unwrap())].concat();
    let signed = |request: &Request<()>| {
        let proof = request.headers()["dpop"].to_str().unwrap();
        let (message, signature) = proof.rsplit_once('.').unwrap();
        (message.as_bytes().to_vec(), decoded(signature))
    };
    let refused = refusals(&holder);
    let count = 500;
    let (mut bare, mut proof, mut bearer) = (Vec::new(), Vec::new(), Vec::new());
    let mut figures = vec![Vec::new(); refused.len()];
    for _ in 0..rounds {
        let requests: Vec<_> = (0..count).map(|_| holder.good()).collect();
        let parts: Vec<_> = requests.iter().map(signed).collect();
        let start = Instant::now();
        for (message, signature) in &parts {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, black_box(&key));
            key.verify(black_box(message), signature).unwrap();
        }
        #[allow(clippy::cast_precision_loss)]
        bare.push(start.elapsed().as_nanos() as f64 / parts.len() as f64);
        proof.push(each(&mut service, requests, 200));
        let plain = (0..20_000).map(|_| request("Bearer", PLAIN, None)).collect();
        bearer.push(each(&mut service, plain, 200));
        for ((_, status, request), figures) in refused.iter().zip(&mut figures) {
            figures.push(each(&mut service, (0..2_000).map(|_| request.clone()).collect(), *status));
        }
    }
    let line = |name: &str, values: &[f64]| println!("  {name:<26} {:>24.0} ns", Rounds::of(values.to_vec()));
    line("bare", &bare);
    line("proof", &proof);
    line("bearer, a hit", &bearer);
    let times = Rounds::of_pairs(&proof, &bare, |one, other| one / other);
    println!("  a proof, in times of bare: {times:.3}");
    for ((name, _, _), values) in refused.iter().zip(&figures) {
        line(name, values);
    }
    bounds.check(times.median <= MOST_TIMES_BARE, format!("a proof: {:.3} <= {MOST_TIMES_BARE}", times.median));
    for ((name, _, _), values) in refused.iter().zip(&figures) {
        let median = Rounds::of(values.clone()).median;
        bounds.check(median < MOST_NANOSECONDS, format!("{name}: {median:.0} < {MOST_NANOSECONDS}"));
    }
}

/// The 99th percentile of good requests in microseconds, a thousand a second.
async fn good_requests<S>(service: S, holder: &Holder, seconds: u64) -> u64
where
    S: Service<Request<()>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let requests: Vec<_> = (0..seconds * 1_000).map(|_| holder.good()).collect();
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut under_way = tokio::task::JoinSet::new();
    for request in requests {
        ticks.tick().await;
        let (mut service, due) = (service.clone(), Instant::now());
        under_way.spawn(async move {
            assert_eq!(service.call(request).await.unwrap().status(), 200);
            due.elapsed()
        });
    }
    for latency in under_way.join_all().await {
        latencies.record(u64::try_from(latency.as_nanos()).unwrap()).unwrap();
    }
    latencies.value_at_quantile(0.99) / 1_000
}

/// Five forged proofs each millisecond, until it is dropped.
async fn forgeries<S>(mut service: S, victim: Holder)
where
    S: Service<Request<()>, Response = Answer, Error = Infallible>,
{
    let other = victim.proof().sign().unwrap();
    let forged: Vec<_> = (0..500).map(|_| victim.forged(&other)).collect();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    for at in (0..forged.len()).step_by(5).cycle() {
        ticks.tick().await;
        for request in &forged[at..at + 5] {
            assert_ne!(service.call(request.clone()).await.unwrap().status(), 200);
        }
    }
}

async fn flood(seconds: u64, bounds: &mut Bounds) {
    let good = Holder { key: ProofKey::generate().unwrap(), token: TOKEN };
    let victim = Holder { key: ProofKey::generate().unwrap(), token: PLAIN };
    let cached = known(authority(&[&good, &victim]), &[TOKEN, PLAIN]).await;
    let layer = IntrospectionLayer::builder(cached).dpop(dpop()).build().unwrap();
    let service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new()))));
    let quiet = good_requests(service.clone(), &good, seconds).await;
    let flooding = tokio::spawn(forgeries(service.clone(), victim));
    let flooded = good_requests(service, &good, seconds).await;
    flooding.abort();
    #[allow(clippy::cast_precision_loss)]
    let times = flooded as f64 / quiet as f64;
    println!("\na flood of forged proofs: p99 of good requests {flooded} us, quiet {quiet} us, {times:.2} times");
    println!("  refused: {:?}", layer.stats().rejected_by_reason);
    bounds.check(times <= MOST_TIMES_QUIET, format!("p99: {times:.2} <= {MOST_TIMES_QUIET}"));
}

fn main() -> ExitCode {
    if !is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut bounds = Bounds::default();
        costs(setting("ROUNDS", 21), &mut bounds).await;
        flood(setting("FLOOD_SECONDS", 5_u64), &mut bounds).await;
        bounds.verdict()
    })
}
