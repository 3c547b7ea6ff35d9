//! What a cache hit costs: `cargo bench --bench hit_path`.
//!
//! 10,000 tokens in rotation, one scope required. `inner` is the service alone, `layer` the same service behind the layer,
//! `layer_one_token` with one hot token, and `moka_get` a bare lookup in a moka cache set up like the layer's own. What
//! counts is the ratio at the end: what the layer adds over the service, against the lookup, measured in one run.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::hash::Hasher;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use siphasher::sip128::{Hasher128, SipHasher24};
use tower::{Layer, Service};
use tower_introspection::{
    AccessToken, BearerToken, Cached, Clock, Introspect, IntrospectionLayer, Scopes, SystemClock, Timestamp, Verdict,
    introspect_fn,
};

use support::inner::Inner;

const TOKENS: usize = 10_000;
/// Tokens take turns in another order than the one they were cached in, as they do in life: in that order the processor
/// would fetch the next entry ahead of its use. A prime that does not divide their number visits each.
const STRIDE: usize = 7_919;
const CAPACITY: u64 = 100_000;
/// Longer than any run, so that every request is a hit.
const TTL: Duration = Duration::from_secs(3_600);

/// 28 letters and digits, as Apigee's tokens have.
fn token(n: usize) -> String {
    format!("25poPXCPOw43s0hJBn6t{n:08}")
}

fn facts() -> AccessToken {
    AccessToken::builder()
        .client_id("fGytmxA5UDajPMdOA5E3bebiBOBPikOT")
        .app("app1")
        .scopes(Scopes::parse("read write"))
        .expires_at(SystemClock.now() + 2 * TTL)
        .build()
}

fn poll_once(future: impl Future<Output = Result<Response<()>, Infallible>>) -> Response<()> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("a hit does not wait"),
    }
}

/// Calls `service` with requests that present the first `tokens` tokens in turn, as a server hands them on: headers parsed,
/// extensions in use. Each request is made inside of the measurement, just before its use, so that it is where the processor
/// would have it; with and without the layer alike, so that it does not count.
fn calls<S>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut service: S, tokens: usize)
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    let headers: Vec<_> = (0..tokens).map(|n| format!("Bearer {}", token(n))).collect();
    let mut next = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            next = (next + STRIDE) % tokens;
            let mut request = Request::new(());
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&headers[next]).unwrap());
            request.extensions_mut().insert("from the server");
            poll_once(service.call(request))
        });
    });
}

fn guarded() -> impl Service<Request<()>, Response = Response<()>, Error = Infallible> {
    let introspector = introspect_fn(|_| async { Ok(Verdict::Active(facts())) });
    let cached = Cached::builder(introspector).max_capacity(CAPACITY).max_ttl(TTL).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for n in 0..TOKENS {
        let text = token(n);
        runtime.block_on(cached.introspect(&BearerToken::parse(&text).unwrap())).unwrap();
    }
    assert_eq!(cached.handle().stats().entries, TOKENS as u64);
    IntrospectionLayer::builder(cached).require_scope("read").build().unwrap().layer(Inner)
}

/// A fingerprint like the layer's own, which is private.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key(u128);

struct AtDeadline;

impl moka::Expiry<Key, (AccessToken, Timestamp)> for AtDeadline {
    fn expire_after_create(&self, _: &Key, _: &(AccessToken, Timestamp), _: Instant) -> Option<Duration> {
        Some(TTL)
    }
}

/// A moka cache set up like the layer's own.
fn moka_get(group: &mut BenchmarkGroup<'_, WallTime>) {
    let cache = moka::sync::Cache::builder().max_capacity(CAPACITY).expire_after(AtDeadline).build();
    let keys: Vec<Key> = (0..TOKENS)
        .map(|n| {
            let mut hasher = SipHasher24::new_with_keys(1, 2);
            hasher.write(token(n).as_bytes());
            Key(hasher.finish128().as_u128())
        })
        .collect();
    for key in &keys {
        cache.insert(*key, (facts(), SystemClock.now() + TTL));
    }
    cache.run_pending_tasks();
    let mut next = 0;
    group.bench_function("moka_get", |bencher| {
        bencher.iter(|| {
            next = (next + STRIDE) % TOKENS;
            cache.get(&keys[next])
        });
    });
}

/// The median of one benchmark of this run, in nanoseconds.
fn median(name: &str) -> Option<f64> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let estimates = std::fs::read_to_string(format!("{target}/criterion/hit_path/{name}/new/estimates.json")).ok()?;
    serde_json::from_str::<serde_json::Value>(&estimates).ok()?["median"]["point_estimate"].as_f64()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("hit_path");
    calls(&mut group, "inner", Inner, TOKENS);
    calls(&mut group, "layer", guarded(), TOKENS);
    moka_get(&mut group);
    calls(&mut group, "layer_one_token", guarded(), 1);
    group.finish();
    criterion.final_summary();

    let figures = ["inner", "layer", "moka_get", "layer_one_token"].map(median);
    if let [Some(inner), Some(layer), Some(moka_get), Some(one_token)] = figures {
        println!(
            "inner {inner:.0} ns, layer {layer:.0} ns, moka_get {moka_get:.0} ns, layer_one_token {one_token:.0} ns"
        );
        println!("the layer adds {:.2} times a moka get ({:.0} ns)", (layer - inner) / moka_get, layer - inner);
        println!("with one hot token {:.2} times ({:.0} ns)", (one_token - inner) / moka_get, one_token - inner);
    }
}
