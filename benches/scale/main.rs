//! What a hit costs and what an entry takes as tokens and threads grow more: `cargo bench --bench scale`, about two
//! minutes, and 2.5 GB of memory.
//!
//! **Memory.** Caches for 1,000, 10,000, 100,000 and 1,000,000 tokens (`TOKENS` is the most) are filled to their
//! capacity. The bytes that the allocator gave out for it, and has not got back, are divided by the tokens: everything
//! is included, facts, keys, indexes, what moka keeps to choose what stays, and what a cache takes when it is empty. It
//! is measured with two shapes of answers, both of the vendor: its example, and one with all that answers have been
//! seen to hold. One of each goes through the real `Apigee` introspector to see that it makes the same facts of it; the
//! rest come without sockets. What the allocator adds for itself is not part of it; the growth of the process, which
//! has it, is printed beside.
//!
//! **Hit time.** Each of these caches stands behind the layer, with one scope required, around a service that does
//! nothing. Tokens of 28 characters are used in random order. Beside it the service alone, and a bare lookup in a moka
//! cache of as many entries. They take turns in rounds (`ROUNDS`, 31) of 50,000 hits (`HITS`) each. The bare lookup has
//! the same memory to go through, so what it gains with more tokens is what the processor has to fetch; what the layer
//! adds may gain as much again.
//!
//! **Threads.** 1, 2 and 4 threads with 10,000 tokens and with one hot token, all through one layer, each with its own
//! clone of the service: hits in a second, all threads together. Each thread makes six times as many hits as above.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

mod authority;
mod contenders;
#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer, Service};
use tower_introspection::introspect::Ask;
use tower_introspection::{BearerToken, Cached, Introspect, IntrospectionLayer, Verdict};

use authority::{Authority, Shape};
use contenders::{Bare, Contender, Guarded, Moka, throughput, time_a_hit};
use support::allocations::{Counting, bytes_kept};
use support::figures::{Bars, Lines, Row, Series};
use support::inner::Inner;
use support::rounds::Rounds;
use support::{Bounds, resident_memory, setting, token_name};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Longer than any run, so that every request is a hit.
const TTL: Duration = Duration::from_secs(10 * 60 * 60);
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const THREADS: [u64; 3] = [1, 2, 4];
const TOKENS_OF_THREADS: u64 = 10_000;
const MOST_BYTES: f64 = 1_000.0;
/// How many times what the bare lookup gains from the fewest tokens to the most the layer may gain.
const MOST_GAIN: f64 = 2.0;
const COMMAND: &str = "cargo bench --bench scale";

/// A cache with `tokens` tokens, which is full then.
fn filled(shape: Shape, tokens: u64) -> Cached<Authority> {
    let authority = Authority::new(shape);
    let cached = Cached::builder(authority).max_capacity(tokens).max_ttl(TTL).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for n in names(tokens) {
            cached.introspect(Ask::new(&BearerToken::parse(n).unwrap())).await.unwrap();
        }
    });
    assert_eq!(cached.handle().stats().entries, tokens);
    cached
}

fn names(tokens: u64) -> impl ExactSizeIterator<Item = String> {
    (0..usize::try_from(tokens).unwrap()).map(|n| token_name('t', n))
}

/// Bytes for each token.
#[allow(clippy::cast_precision_loss)]
struct Memory {
    shape: Shape,
    tokens: u64,
    per_token: f64,
    resident: Option<f64>,
}

#[allow(clippy::cast_precision_loss)]
fn measure_memory(shape: Shape, tokens: u64) -> (Cached<Authority>, Memory) {
    let resident_before = resident_memory();
    let (cached, bytes) = bytes_kept(|| filled(shape, tokens));
    let grown = resident_memory().zip(resident_before).map(|(after, before)| after.saturating_sub(before));
    let memory = Memory {
        shape,
        tokens,
        per_token: bytes as f64 / tokens as f64,
        resident: grown.map(|bytes| bytes as f64 / tokens as f64),
    };
    (cached, memory)
}

#[allow(clippy::cast_precision_loss)]
fn print_memory(memory: &[Memory]) {
    println!("\nbytes for a token");
    for shape in [Shape::Full, Shape::Example] {
        let authority = Authority::new(shape);
        let (_facts, bytes) = bytes_kept(|| std::array::from_fn::<_, 100, _>(|n| authority.facts(n)));
        println!("  {shape:?}: the facts alone {}", bytes / 100);
    }
    for shape in [Shape::Full, Shape::Example] {
        for Memory { tokens, per_token, resident, .. } in memory.iter().filter(|memory| memory.shape == shape) {
            let resident = resident.map_or_else(|| "not measured".into(), |bytes| format!("{bytes:.0}"));
            println!("  {shape:?}: {per_token:>5.0} with {tokens:>7} tokens (the process grew by {resident} for each)");
        }
    }
    for tokens in SIZES {
        let authority = Authority::new(Shape::Full);
        let empty = || Cached::builder(authority).max_capacity(tokens).max_ttl(TTL).build().unwrap();
        let (_, bytes) = bytes_kept(empty);
        println!(
            "  an empty cache for {tokens:>7} tokens takes {bytes} bytes: {:.0} for each",
            bytes as f64 / tokens as f64
        );
    }
}

/// Behind the layer, and a bare moka cache with the same facts.
struct Site<S> {
    tokens: u64,
    guarded: Guarded<S>,
    moka: Moka,
}

fn site(
    cached: Cached<Authority>,
    tokens: u64,
) -> Site<impl Service<Request<()>, Response = Response<()>, Error = Infallible> + Clone + Send> {
    let facts = names(tokens).map(|name| match cached.cached(&BearerToken::parse(name).unwrap()) {
        Some(Verdict::Active(facts)) => facts,
        other => panic!("not remembered: {other:?}"),
    });
    let moka = Moka::of(facts);
    let layer = IntrospectionLayer::builder(cached).require_scope("READ").build().unwrap();
    Site { tokens, guarded: Guarded(layer.layer(Inner)), moka }
}

/// Nanoseconds for a hit in each round.
#[derive(Default)]
struct Times {
    inner: Vec<f64>,
    layer: Vec<f64>,
    moka: Vec<f64>,
}

impl Times {
    fn added(&self) -> Rounds {
        Rounds::of_pairs(&self.layer, &self.inner, |layer, inner| layer - inner)
    }

    fn moka(&self) -> Rounds {
        Rounds::of(self.moka.clone())
    }

    /// What the layer adds, in lookups.
    fn ratio(&self) -> Rounds {
        let added: Vec<f64> = self.layer.iter().zip(&self.inner).map(|(layer, inner)| layer - inner).collect();
        Rounds::of_pairs(&added, &self.moka, |added, moka| added / moka)
    }
}

fn time_hits<S>(sites: &mut [Site<S>], rounds: u64) -> Vec<Times>
where
    Guarded<S>: Contender,
{
    let hits = setting("HITS", 50_000);
    let mut times: Vec<Times> = sites.iter().map(|_| Times::default()).collect();
    // The first round only warms up.
    for round in 0..=rounds {
        for (Site { tokens, guarded, moka }, times) in sites.iter_mut().zip(&mut times) {
            let inner = time_a_hit(&mut Bare, *tokens, hits, 3 * round);
            let layer = time_a_hit(guarded, *tokens, hits, 3 * round + 1);
            let moka = time_a_hit(moka, *tokens, hits, 3 * round + 2);
            if round > 0 {
                times.inner.push(inner);
                times.layer.push(layer);
                times.moka.push(moka);
            }
        }
    }
    times
}

fn print_hits<S>(sites: &[Site<S>], times: &[Times]) {
    println!("\nnanoseconds for a hit: median (lowest to highest) of {} rounds", times[0].inner.len());
    for (site, times) in sites.iter().zip(times) {
        println!(
            "  {:>7} tokens: the layer adds {:.0}, a moka get takes {:.0}, ratio {:.2}; the service alone {:.0}",
            site.tokens,
            times.added(),
            times.moka(),
            times.ratio(),
            Rounds::of(times.inner.clone()),
        );
    }
}

/// What tokens cost that do not fit into the processor's caches.
fn gains(times: &[Times]) -> (f64, f64) {
    let gain = |of: fn(&Times) -> Rounds| of(&times[times.len() - 1]).median - of(&times[0]).median;
    (gain(Times::added), gain(Times::moka))
}

/// Millions of hits a second, for each number of threads.
struct Throughput {
    label: &'static str,
    ours: bool,
    by_threads: Vec<Rounds>,
}

fn time_threads<S>(site: &Site<S>, rounds: u64) -> Vec<Throughput>
where
    Guarded<S>: Contender,
{
    // More, or a run of the service alone is over before the threads have settled on their cores.
    let (tokens, hits) = (site.tokens, 6 * setting("HITS", 50_000));
    let mut values = vec![vec![Vec::new(); THREADS.len()]; 5];
    for round in 0..=rounds {
        for (place, threads) in THREADS.into_iter().enumerate() {
            let measured = [
                throughput(&site.guarded, threads, tokens, hits, round),
                throughput(&site.moka, threads, tokens, hits, round),
                throughput(&site.guarded, threads, 1, hits, round),
                throughput(&site.moka, threads, 1, hits, round),
                throughput(&Bare, threads, tokens, hits, round),
            ];
            if round > 0 {
                values.iter_mut().zip(measured).for_each(|(values, measured)| values[place].push(measured));
            }
        }
    }
    let labels = [
        ("service behind the layer", true),
        ("bare moka get", false),
        ("service behind the layer, one hot token", true),
        ("bare moka get, one hot token", false),
        ("service alone", false),
    ];
    let series = labels.into_iter().zip(values).map(|((label, ours), values)| Throughput {
        label,
        ours,
        by_threads: values.into_iter().map(Rounds::of).collect(),
    });
    series.collect()
}

fn print_threads(series: &[Throughput], tokens: u64) {
    println!("\nmillions of hits a second, all threads together, {tokens} tokens unless one is hot");
    for Throughput { label, by_threads, .. } in series {
        for (threads, rounds) in THREADS.iter().zip(by_threads) {
            let times = rounds.median / by_threads[0].median;
            println!("  {label:<40} {threads} threads: {rounds:.2}, {times:.2} times one thread");
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn write_figures<S>(memory: &[Memory], sites: &[Site<S>], times: &[Times], threads: &[Throughput]) {
    let points = |of: fn(&Times) -> Rounds| {
        sites.iter().zip(times).map(|(site, times)| (site.tokens as f64, of(times).median)).collect()
    };
    let hits = Lines {
        title: "Time of a hit",
        subtitle: "random order, medians; the lookup is the same memory to fetch",
        command: COMMAND,
        x: ("tokens remembered", "log"),
        y: ("ns", "linear"),
    };
    let lines = [
        Series { label: "added by the layer".into(), ours: true, points: points(Times::added) },
        Series { label: "bare moka get".into(), ours: false, points: points(Times::moka) },
    ];
    hits.write("scale", &lines);

    let chart = Lines {
        title: "Hits a second",
        subtitle: "one layer shared by all threads, two cores, medians",
        command: COMMAND,
        x: ("threads", "linear"),
        y: ("million hits a second", "linear"),
    };
    let lines: Vec<Series> = threads
        .iter()
        .map(|series| Series {
            label: series.label.into(),
            ours: series.ours,
            points: THREADS.iter().zip(&series.by_threads).map(|(x, y)| (*x as f64, y.median)).collect(),
        })
        .collect();
    chart.write("threads", &lines);

    let chart = Bars {
        title: "Memory for a remembered token",
        subtitle: "everything included, in a full cache",
        command: COMMAND,
        unit: "bytes",
        scale: "linear",
    };
    let rows: Vec<Row> = memory
        .iter()
        .map(|&Memory { shape, tokens, per_token, .. }| {
            let shape = if shape == Shape::Full { "full answer" } else { "vendor's example" };
            let label = format!("{tokens} tokens, {shape}");
            Row { label, value: per_token, low: per_token, high: per_token, ours: true }
        })
        .collect();
    chart.write("memory", &rows);
}

fn main() -> ExitCode {
    if !support::is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let (rounds, most_tokens) = (setting("ROUNDS", 31_u64).max(1), setting("TOKENS", 1_000_000));
    let sizes: Vec<u64> = SIZES.into_iter().filter(|tokens| *tokens <= most_tokens).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut bounds = Bounds::default();
    for shape in [Shape::Full, Shape::Example] {
        let is_alike = runtime.block_on(Authority::new(shape).is_like_the_real_one());
        bounds.check(is_alike, format_args!("{shape:?}: the facts are those that the Apigee introspector reads"));
    }
    drop(runtime);

    let (caches, mut memory): (Vec<_>, Vec<_>) =
        sizes.iter().map(|tokens| measure_memory(Shape::Full, *tokens)).unzip();
    memory.extend(sizes.iter().map(|tokens| measure_memory(Shape::Example, *tokens).1));
    print_memory(&memory);

    let mut sites: Vec<_> = caches.into_iter().zip(&sizes).map(|(cached, tokens)| site(cached, *tokens)).collect();
    let times = time_hits(&mut sites, rounds);
    print_hits(&sites, &times);
    let of_threads = sites.iter().find(|site| site.tokens == TOKENS_OF_THREADS).unwrap_or(&sites[0]);
    let threads = time_threads(of_threads, rounds);
    print_threads(&threads, of_threads.tokens);
    write_figures(&memory, &sites, &times, &threads);

    println!();
    // The bound is for the vendor's example, where what an empty cache takes no longer counts.
    for Memory { shape, tokens, per_token, .. } in &memory {
        if !matches!(shape, Shape::Example) || *tokens < 10_000 {
            continue;
        }
        bounds.check(
            *per_token <= MOST_BYTES,
            format_args!("{shape:?}: {per_token:.0} bytes for each of {tokens} tokens, at most {MOST_BYTES:.0}"),
        );
    }
    let (ours, lookup) = gains(&times);
    bounds.check(
        ours <= MOST_GAIN * lookup.max(0.0),
        format_args!(
            "with more tokens the layer takes {ours:.0} ns more, at most {MOST_GAIN} times what a moka get does: {lookup:.0} ns"
        ),
    );
    bounds.verdict()
}
