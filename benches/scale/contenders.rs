//! What is timed: the service alone, the service behind the layer, and a bare lookup in moka.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tower::Service;
use tower_introspection::AccessToken;
use tower_introspection::clock::Timestamp;

use crate::TTL;
use crate::support::inner::Inner;
use crate::support::random::Random;
use crate::support::requests::request_with_token;

/// Uses the `n`th token once.
pub trait Contender: Clone + Send {
    fn hit(&mut self, n: u64);
}

/// The service alone.
#[derive(Clone)]
pub struct Bare;

impl Contender for Bare {
    fn hit(&mut self, n: u64) {
        black_box(answered(Inner.call(request_with_token(usize::try_from(n).unwrap()))));
    }
}

/// The service behind the layer.
#[derive(Clone)]
pub struct Guarded<S>(pub S);

impl<S> Contender for Guarded<S>
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible> + Clone + Send,
{
    fn hit(&mut self, n: u64) {
        let response = answered(self.0.call(request_with_token(usize::try_from(n).unwrap())));
        debug_assert!(response.status().is_success());
        black_box(response);
    }
}

/// A hit does not wait.
fn answered(future: impl Future<Output = Result<Response<()>, Infallible>>) -> Response<()> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("a hit does not wait"),
    }
}

/// A bare lookup in a moka cache as somebody would set one up for this: a uniform key of 128 bits, the facts and a
/// deadline.
#[derive(Clone)]
pub struct Moka(moka::sync::Cache<Key, (AccessToken, Timestamp)>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u128);

impl Key {
    fn of(n: u64) -> Self {
        let mut random = Random::seeded(n);
        Self((u128::from(random.number()) << 64) | u128::from(random.number()))
    }
}

struct AtDeadline;

impl moka::Expiry<Key, (AccessToken, Timestamp)> for AtDeadline {
    fn expire_after_create(&self, _: &Key, _: &(AccessToken, Timestamp), _: Instant) -> Option<Duration> {
        Some(TTL)
    }
}

impl Moka {
    pub fn of(facts: impl ExactSizeIterator<Item = AccessToken>) -> Self {
        let count = facts.len() as u64;
        let cache = moka::sync::Cache::builder().max_capacity(count).expire_after(AtDeadline).build();
        for (n, facts) in (0..).zip(facts) {
            let deadline = facts.expires_at().unwrap();
            cache.insert(Key::of(n), (facts, deadline));
        }
        cache.run_pending_tasks();
        assert_eq!(cache.entry_count(), count);
        Self(cache)
    }
}

impl Contender for Moka {
    fn hit(&mut self, n: u64) {
        black_box(self.0.get(&Key::of(n)));
    }
}

/// Nanoseconds for a hit, of `hits` hits of `tokens` tokens in an order that `seed` makes up.
#[allow(clippy::cast_precision_loss)]
pub fn time_a_hit(contender: &mut impl Contender, tokens: u64, hits: u64, seed: u64) -> f64 {
    let (start, end) = run(contender, tokens, hits, seed);
    end.duration_since(start).as_secs_f64() * 1e9 / hits as f64
}

/// Hits in a microsecond that `threads` threads make together, each with its own clone of `contender`.
#[allow(clippy::cast_precision_loss)]
pub fn throughput(contender: &impl Contender, threads: u64, tokens: u64, hits: u64, seed: u64) -> f64 {
    let barrier = Barrier::new(usize::try_from(threads).unwrap());
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (mut contender, barrier) = (contender.clone(), &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    run(&mut contender, tokens, hits, seed + thread)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let start = times.iter().map(|(start, _)| *start).min().unwrap();
    let end = times.iter().map(|(_, end)| *end).max().unwrap();
    (threads * hits) as f64 / (end.duration_since(start).as_secs_f64() * 1e6)
}

fn run(contender: &mut impl Contender, tokens: u64, hits: u64, seed: u64) -> (Instant, Instant) {
    let mut random = Random::seeded(seed);
    let start = Instant::now();
    for _ in 0..hits {
        contender.hit(random.below(tokens));
    }
    (start, Instant::now())
}
