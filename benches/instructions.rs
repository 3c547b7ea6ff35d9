//! How many instructions a cache hit takes: `cargo bench --bench instructions`, a quarter of a minute. It needs
//! valgrind.
//!
//! Times swing with whatever else a machine does; instructions do not. So this is the measure that can be held against
//! a figure of last month: `benches/instructions.limits` keeps one for each case, and the run fails if a case takes
//! more than 3 % above it. When a change is worth its instructions, or saves some, set the figures anew and commit them
//! with it:
//!
//! ```console
//! $ INSTRUCTIONS=write cargo bench --bench instructions
//! ```
//!
//! This program starts itself under `valgrind --tool=callgrind` once for each case, with 10,000 tokens of 28 characters
//! in the cache and one scope required. Callgrind counts in functions named `measured` only: requests are made outside
//! of them. A figure is the mean of 10,000 calls, so that what a cache does once in a while has its share, and so that
//! the keys of hashes, which are drawn at random, do not matter. From run to run it changes by a tenth of a percent.
//!
//! The cases are a `hit` through the layer; a token that is `known`, through the cache alone; a token of
//! `other_client`, which the cache knows and a rule rejects; a request with `no_token`; and the `inner` service without
//! a layer, which is part of a hit. A missing scope is not among them: whether its challenge can grow where it stands
//! is up to the allocator, and makes four percent.
//!
//! The figures belong to a compiler and a kind of processor, both named in their file. With another compiler the run
//! says so; if that is the only reason for a failure, set them anew.
#![allow(missing_docs, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use tower::{Layer, Service};
use tower_introspection::clock::Timestamp;
use tower_introspection::introspect::Ask;
use tower_introspection::layer::IntrospectionLayerBuilder;
use tower_introspection::{
    AccessToken, BearerToken, Cached, Introspect, IntrospectionLayer, Scopes, Verdict, introspect_fn,
};

use support::inner::Inner;
use support::{Bounds, token_name};

const LIMITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.limits");
/// How much more than its figure a case may take.
const TOLERANCE: f64 = 0.03;
const CASES: [&str; 5] = ["hit", "known", "other_client", "no_token", "inner"];
/// Tells the program that it is the one under valgrind, and which case it is.
const CASE: &str = "INSTRUCTIONS_CASE";

const TOKENS: usize = 10_000;
const CALLS: usize = 10_000;
/// Tokens take turns in another order than the one they were cached in. A prime that does not divide their number
/// visits each.
const STRIDE: usize = 7_919;
/// Longer than any run, so that every request is a hit.
const TTL: Duration = Duration::from_secs(3_600);

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        run(&case);
        return ExitCode::SUCCESS;
    }
    if !support::is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let measured: BTreeMap<_, _> = CASES.into_iter().map(|case| (case.to_owned(), instructions_of(case))).collect();
    if std::env::var("INSTRUCTIONS").as_deref() == Ok("write") {
        std::fs::write(LIMITS, limits_file(&measured)).unwrap();
        println!("written: benches/instructions.limits");
    }
    judge(&measured)
}

/// Runs one case under callgrind, and reads what it counted for each call.
fn instructions_of(case: &str) -> f64 {
    let counts = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("instructions.{case}"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*instructions::measured*"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(std::env::current_exe().unwrap())
        .env(CASE, case)
        .output()
        .unwrap_or_else(|error| panic!("valgrind does not start: {error}"));
    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    let counts = std::fs::read_to_string(counts).unwrap();
    let total: f64 = counts.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().parse().unwrap();
    assert!(total > 0.0, "{case}: callgrind found no function named `measured`; are symbols stripped?");
    total / f64::from(u32::try_from(CALLS).unwrap())
}

/// Holds what was measured against the figures in the repository.
fn judge(measured: &BTreeMap<String, f64>) -> ExitCode {
    let text = std::fs::read_to_string(LIMITS).unwrap_or_default();
    let limits = read_limits(&text);
    if !text.contains(&compiler()) {
        println!("   note: the figures are of another compiler or processor than {}", compiler());
    }
    let mut bounds = Bounds::default();
    for case in CASES {
        let (instructions, limit) = (measured[case], limits.get(case).copied().unwrap_or_default());
        let change = (instructions / limit - 1.0) * 100.0;
        bounds.check(
            instructions <= limit * (1.0 + TOLERANCE),
            format_args!("{case:<13} {instructions:7.1} instructions, {change:+.1} % from {limit:.1}"),
        );
        if instructions < limit * (1.0 - TOLERANCE) {
            println!("   note: it got better; INSTRUCTIONS=write keeps it so");
        }
    }
    bounds.verdict()
}

fn limits_file(measured: &BTreeMap<String, f64>) -> String {
    let mut text =
        format!("# Instructions a call, by `INSTRUCTIONS=write cargo bench --bench instructions`.\n# {}\n", compiler());
    for case in CASES {
        writeln!(text, "{case} {:.1}", measured[case]).unwrap();
    }
    text
}

fn read_limits(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(case, limit)| (case, limit.parse().unwrap())).collect()
}

/// Such as `rustc 1.88.0 (6b00bc388 2025-06-23), x86_64`.
fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output().unwrap().stdout;
    format!("{}, {}", String::from_utf8_lossy(&version).trim(), std::env::consts::ARCH)
}

// What runs under valgrind.

fn run(case: &str) {
    match case {
        "hit" => requests(guarded(None), with_token, StatusCode::OK),
        "other_client" => requests(guarded(Some("another")), with_token, StatusCode::FORBIDDEN),
        "no_token" => requests(guarded(None), without_token, StatusCode::UNAUTHORIZED),
        "inner" => requests(Inner, with_token, StatusCode::OK),
        "known" => lookups(&warm()),
        _ => panic!("no such case: {case}"),
    }
}

/// The function callgrind counts in. Its name is in the command line above.
#[inline(never)]
fn measured<T>(call: impl FnOnce() -> T) -> T {
    call()
}

/// The numbers of the tokens, in the order of their use.
fn turns() -> impl Iterator<Item = usize> {
    (1..=CALLS).map(|call| call * STRIDE % TOKENS)
}

fn requests<S>(mut service: S, request: impl Fn(usize) -> Request<()>, expected: StatusCode)
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    for turn in turns() {
        let request = request(turn);
        let response = measured(|| poll_once(service.call(request)));
        assert_eq!(response.status(), expected);
    }
}

fn lookups(cached: &impl Introspect) {
    for turn in turns() {
        let text = token_name('t', turn);
        let token = BearerToken::parse(&text).unwrap();
        let verdict = measured(|| cached.cached(&token));
        assert!(verdict.is_some_and(|verdict| verdict.is_active()));
    }
}

fn poll_once(future: impl Future<Output = Result<Response<()>, Infallible>>) -> Response<()> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("a hit does not wait"),
    }
}

/// As a server hands it on: headers parsed, extensions in use.
fn with_token(n: usize) -> Request<()> {
    let mut request = without_token(n);
    let value = HeaderValue::from_str(&format!("Bearer {}", token_name('t', n))).unwrap();
    request.headers_mut().insert(AUTHORIZATION, value);
    request
}

fn without_token(_: usize) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert("from the server");
    request
}

/// The service behind a layer that requires a scope that each token has, and perhaps a client.
fn guarded(client: Option<&str>) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible> + use<> {
    let guard = IntrospectionLayer::builder(warm()).require_scope("read");
    let guard = client.into_iter().fold(guard, IntrospectionLayerBuilder::require_client);
    guard.build().unwrap().layer(Inner)
}

/// A cache that knows every token.
fn warm() -> impl Introspect {
    let cached =
        Cached::builder(introspect_fn(|_| async { Ok(Verdict::Active(facts())) })).max_ttl(TTL).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for n in 0..TOKENS {
        let text = token_name('t', n);
        runtime.block_on(cached.introspect(Ask::new(&BearerToken::parse(&text).unwrap()))).unwrap();
    }
    assert_eq!(cached.handle().stats().entries, TOKENS as u64);
    cached
}

fn facts() -> AccessToken {
    AccessToken::builder()
        .client_id("fGytmxA5UDajPMdOA5E3bebiBOBPikOT")
        .app("app1")
        .scopes(Scopes::parse("read write"))
        .expires_at(Timestamp::now() + 2 * TTL)
        .build()
}
