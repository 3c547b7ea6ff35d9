//! What a cache hit costs: `cargo bench --bench hit_path`.
//!
//! 10,000 tokens in rotation, one scope required. `inner` is the service alone, `layer` the same service behind the
//! layer, `layer_one_token` with one hot token, and `moka_get` a bare lookup in a moka cache with an expiry for each
//! entry. They take turns in rounds (`ROUNDS`, 15), since what memory costs changes with what else a machine does. What
//! counts are the ratios at the end: what the layer adds over the service, against the lookup of the same round; the
//! median, the lowest and the highest.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::hash::Hasher;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, measurement::WallTime};
use http::{Request, Response};
use siphasher::sip128::{Hasher128, SipHasher24};
use tower::{Layer, Service};
use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::Ask;
use tower_introspection::{
    AccessToken, BearerToken, Cached, Introspect, IntrospectionLayer, Scopes, Verdict, introspect_fn,
};

use support::inner::Inner;
use support::requests::request_with_token;
use support::rounds::Rounds;
use support::{setting, token_name};

const TOKENS: usize = 10_000;
/// Tokens take turns in another order than the one they were cached in, as they do in life: in that order the processor
/// would fetch the next entry ahead of its use. A prime that does not divide their number visits each.
const STRIDE: usize = 7_919;
const CAPACITY: u64 = 100_000;
/// Longer than any run, so that every request is a hit.
const TTL: Duration = Duration::from_secs(3_600);

fn facts() -> AccessToken {
    AccessToken::builder()
        .client_id("fGytmxA5UDajPMdOA5E3bebiBOBPikOT")
        .app("app1")
        .scopes(Scopes::parse("read write"))
        .expires_at(Timestamp::now() + 2 * TTL)
        .build()
}

fn poll_once(future: impl Future<Output = Result<Response<()>, Infallible>>) -> Response<()> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("a hit does not wait"),
    }
}

/// Calls `service` with requests that present the first `tokens` tokens in turn.
fn calls<S>(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, service: &mut S, tokens: usize)
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    let mut next = 0;
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            next = (next + STRIDE) % tokens;
            poll_once(service.call(request_with_token(next)))
        });
    });
}

fn guarded() -> impl Service<Request<()>, Response = Response<()>, Error = Infallible> {
    let introspector = introspect_fn(|_| async { Ok(Verdict::Active(facts())) });
    let cached = Cached::builder(introspector).max_capacity(CAPACITY).max_ttl(TTL).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for n in 0..TOKENS {
        let text = token_name('t', n);
        runtime.block_on(cached.introspect(Ask::new(&BearerToken::parse(&text).unwrap()))).unwrap();
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

/// A moka cache as somebody would set one up for this, and the keys of what is in it.
fn moka() -> (moka::sync::Cache<Key, (AccessToken, Timestamp)>, Vec<Key>) {
    let cache = moka::sync::Cache::builder().max_capacity(CAPACITY).expire_after(AtDeadline).build();
    let keys: Vec<Key> = (0..TOKENS)
        .map(|n| {
            let mut hasher = SipHasher24::new_with_keys(1, 2);
            hasher.write(token_name('t', n).as_bytes());
            Key(hasher.finish128().as_u128())
        })
        .collect();
    for key in &keys {
        cache.insert(*key, (facts(), Timestamp::now() + TTL));
    }
    cache.run_pending_tasks();
    (cache, keys)
}

/// The median of one benchmark of this run, in nanoseconds.
fn median(name: &str, round: usize) -> Option<f64> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let path = format!("{target}/criterion/hit_path/{name}/{round}/new/estimates.json");
    let estimates = std::fs::read_to_string(path).ok()?;
    serde_json::from_str::<serde_json::Value>(&estimates).ok()?["median"]["point_estimate"].as_f64()
}

fn main() {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let rounds = if is_measured { setting("ROUNDS", 15) } else { 1 };
    let brief = Criterion::default().sample_size(20).without_plots();
    let brief = brief.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(250));
    let mut criterion = brief.configure_from_args();
    let mut group = criterion.benchmark_group("hit_path");
    let (mut guarded, (moka, keys)) = (guarded(), moka());
    for round in 0..rounds {
        calls(&mut group, BenchmarkId::new("inner", round), &mut Inner, TOKENS);
        calls(&mut group, BenchmarkId::new("layer", round), &mut guarded, TOKENS);
        let mut next = 0;
        group.bench_function(BenchmarkId::new("moka_get", round), |bencher| {
            bencher.iter(|| {
                next = (next + STRIDE) % TOKENS;
                moka.get(&keys[next])
            });
        });
        calls(&mut group, BenchmarkId::new("layer_one_token", round), &mut guarded, 1);
    }
    group.finish();
    criterion.final_summary();

    let of = |name| (0..rounds).map(|round| median(name, round)).collect::<Option<Vec<f64>>>();
    let all = (of("inner"), of("layer"), of("moka_get"), of("layer_one_token"));
    if let (true, (Some(inner), Some(layer), Some(moka_get), Some(one_token))) = (is_measured, all) {
        let added =
            |layer: &[f64]| -> Vec<f64> { layer.iter().zip(&inner).map(|(layer, inner)| layer - inner).collect() };
        println!(
            "nanoseconds: the service {:.0}, a moka get {:.0}",
            Rounds::of(inner.clone()),
            Rounds::of(moka_get.clone())
        );
        for (what, added) in [("the layer", added(&layer)), ("with one hot token it", added(&one_token))] {
            let ratio = Rounds::of_pairs(&added, &moka_get, |added, get| added / get);
            println!("{what} adds {ratio:.2} times a moka get, {:.0} ns", Rounds::of(added));
        }
    }
}
