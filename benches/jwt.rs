//! What judging a JWT costs: `cargo bench --bench jwt`, about a minute.
//!
//! 300 tokens each of ES256 and RS256 (2,048 bits), made by the sandbox with a scope and the claims of RFC 9068. Of
//! each algorithm take turns, in rounds (`ROUNDS`, 21):
//!
//! * `bare`: aws-lc-rs verifies the signature, with a key that was read before and parts that were decoded before;
//! * `verified`: [`Jwt`] judges the token, with keys at hand: reading, claims, signature, facts;
//! * `hit`: a [`Cached`] around it has the answer at hand;
//! * `opaque`: the same for opaque tokens of 28 letters.
//!
//! A verification is to take at most 1.15 times the bare one, in the median of the rounds. A hit takes as long as one
//! of an opaque token, but for what it takes to hash a token of some hundred letters instead of 28, which is measured
//! too (`opaque, as long`).
//!
//! At the end a herd: 1,000 requests at once with one JWT that nobody has seen. It is to be one verification.
#![allow(missing_docs, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use tower_introspection::introspect::Ask;
use tower_introspection::jwt::KeySet;
use tower_introspection::sandbox::{Sandbox, SandboxToken};
use tower_introspection::{BearerToken, Cached, Introspect, Jwt, Verdict, introspect_fn};

use support::rounds::Rounds;
use support::{Bounds, is_asked_for, setting, token_name};

const TOKENS: usize = 300;
const AUDIENCE: &str = "https://api.example.com";
const MOST_TIMES_BARE: f64 = 1.15;
const MOST_TIMES_AN_OPAQUE_HIT: f64 = 1.1;
const HERD: usize = 1_000;

/// Tokens of one algorithm, and the key that verifies them.
struct Signed {
    name: &'static str,
    tokens: Vec<String>,
    /// What was signed, and the signature.
    parts: Vec<(Vec<u8>, Vec<u8>)>,
    key: ParsedPublicKey,
}

impl Signed {
    fn of(sandbox: &Sandbox, name: &'static str) -> Self {
        let tokens: Vec<String> = (0..TOKENS)
            .map(|n| {
                let token = SandboxToken::new().end_user(format!("user-{n}")).scope("orders.read").audience(AUDIENCE);
                sandbox.issue_jwt(token.header("alg", name).unwrap()).unwrap()
            })
            .collect();
        let parts = tokens.iter().map(|token| {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            (signed.as_bytes().to_vec(), decoded(signature))
        });
        Self { name, parts: parts.collect(), key: key(&sandbox.jwks(), name), tokens }
    }
}

fn decoded(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn key(jwks: &str, algorithm: &str) -> ParsedPublicKey {
    let jwks: Value = serde_json::from_str(jwks).unwrap();
    let kty = if algorithm == "RS256" { "RSA" } else { "EC" };
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kty"] == kty).unwrap();
    let number = |name: &str| decoded(key[name].as_str().unwrap());
    if kty == "EC" {
        return ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], number("x"), number("y")].concat()).unwrap();
    }
    let integers = [integer(&number("n")), integer(&number("e"))].concat();
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der(0x30, &integers)).unwrap()
}

/// A positive INTEGER of the Distinguished Encoding Rules.
fn integer(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number[0] >= 0x80 { &[0] } else { &[] };
    der(0x02, &[sign, number].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match content.len() {
        0..0x80 => vec![length[1]],
        0x80..0x100 => vec![0x81, length[1]],
        _ => vec![0x82, length[0], length[1]],
    };
    [&[tag], &length[..], content].concat()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

/// Nanoseconds for each of `count` calls.
#[allow(clippy::cast_precision_loss)]
fn each(count: usize, mut call: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    (0..count).for_each(&mut call);
    start.elapsed().as_nanos() as f64 / count as f64
}

fn is_active(verdict: Option<Verdict>) {
    assert!(black_box(verdict).is_some_and(|verdict| verdict.is_active()));
}

fn hits(introspector: &impl Introspect, tokens: &[BearerToken]) -> f64 {
    each(20_000, |n| is_active(introspector.cached(black_box(&tokens[n % tokens.len()]))))
}

fn bearers(tokens: &[String]) -> Vec<BearerToken<'_>> {
    tokens.iter().map(|token| BearerToken::parse(token).unwrap()).collect()
}

async fn known<I: Introspect>(introspector: I, tokens: &[BearerToken<'_>]) -> Cached<I> {
    let cached = Cached::builder(introspector).max_ttl(Duration::from_secs(600)).build().unwrap();
    for token in tokens {
        assert!(cached.introspect(Ask::new(token)).await.unwrap().is_active());
    }
    cached
}

async fn compare(sandbox: &Sandbox, name: &'static str, rounds: usize, bounds: &mut Bounds) {
    let signed = Signed::of(sandbox, name);
    let keys = KeySet::from_json(sandbox.jwks()).unwrap();
    let judge = || Jwt::builder(sandbox.issuer()).keys(keys.clone()).audience(AUDIENCE).build().unwrap();
    let anything = || {
        introspect_fn(async |token: BearerToken<'static>| {
            drop(token);
            Ok(Verdict::Active(tower_introspection::AccessToken::builder().client_id("app").build()))
        })
    };
    let tokens = bearers(&signed.tokens);
    let opaque: Vec<String> = (0..TOKENS).map(|n| token_name('t', n)).collect();
    let long: Vec<String> = (0..TOKENS).map(|n| format!("{}{n:08}", "x".repeat(signed.tokens[n].len() - 8))).collect();
    let (opaque, long) = (bearers(&opaque), bearers(&long));
    let jwt = judge();
    let (cached_jwt, cached_opaque, cached_long) =
        (known(judge(), &tokens).await, known(anything(), &opaque).await, known(anything(), &long).await);

    let count = 2_000;
    let mut figures = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        figures[0].push(each(count, |n| {
            let (message, signature) = &signed.parts[n % TOKENS];
            signed.key.verify_sig(black_box(message), signature).unwrap();
        }));
        figures[1].push(each(count, |n| {
            is_active(now(jwt.introspect(Ask::new(black_box(&tokens[n % TOKENS])))).ok());
        }));
        figures[2].push(hits(&cached_jwt, &tokens));
        figures[3].push(hits(&cached_opaque, &opaque));
        figures[4].push(hits(&cached_long, &long));
    }
    println!("\n{} ({} letters)", signed.name, signed.tokens[0].len());
    let names = ["bare", "verified", "hit", "opaque", "opaque, as long"];
    for (name, values) in names.iter().zip(&figures) {
        println!("  {name:<16} {:>22.0} ns", Rounds::of(values.clone()));
    }
    let times = |one: usize, other: usize| Rounds::of_pairs(&figures[one], &figures[other], |one, other| one / other);
    let (verified, hit, long) = (times(1, 0), times(2, 3), times(2, 4));
    println!("  verified, in times of bare: {verified:.3}");
    println!("  a hit, in times of one of an opaque token: {hit:.3}, of one as long: {long:.3}");
    bounds.check(verified.median <= MOST_TIMES_BARE, format!("{name}: {:.3} <= {MOST_TIMES_BARE}", verified.median));
    bounds.check(
        long.median <= MOST_TIMES_AN_OPAQUE_HIT,
        format!("{name}: {:.3} <= {MOST_TIMES_AN_OPAQUE_HIT}", long.median),
    );
}

async fn herd(sandbox: &Sandbox, bounds: &mut Bounds) {
    let keys = KeySet::from_json(sandbox.jwks()).unwrap();
    let jwt = Jwt::builder(sandbox.issuer()).keys(keys).audience(AUDIENCE).build().unwrap();
    let cached = Cached::new(jwt);
    let text = sandbox.issue_jwt(SandboxToken::new().audience(AUDIENCE)).unwrap();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..HERD {
        let (cached, text) = (cached.clone(), text.clone());
        all.spawn(async move {
            let token = BearerToken::parse(&text).unwrap();
            match cached.cached(&token) {
                Some(verdict) => verdict.is_active(),
                None => cached.introspect(Ask::new(&token)).await.unwrap().is_active(),
            }
        });
    }
    assert!(all.join_all().await.into_iter().all(|is_active| is_active));
    let verifications = cached.handle().stats().questions;
    println!("\na herd of {HERD} with one unknown JWT: {verifications} verification(s)");
    bounds.check(verifications == 1, format!("{verifications} = 1"));
}

fn main() -> ExitCode {
    if !is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let sandbox = Sandbox::start().await.unwrap();
        let (rounds, mut bounds) = (setting("ROUNDS", 21), Bounds::default());
        for name in ["ES256", "RS256"] {
            compare(&sandbox, name, rounds, &mut bounds).await;
        }
        herd(&sandbox, &mut bounds).await;
        bounds.verdict()
    })
}
