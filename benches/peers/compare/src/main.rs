//! The layer beside what else a user could pick: `bash benches/peers/run`, about four minutes, once all is built.
//!
//! Every peer guards the same axum router with the same handler, which gets what the peer knows of the caller. The
//! requests are the same, and made inside of the measurement; what a request costs with no authentication at all is
//! taken off, with tokens of the same length. What is left is what the peer adds. Layers stand around the router,
//! extractors in the handler, so that axum's own price for layers on routes is in none; `on a route` has it.
//!
//! Peers that ask the authority have been asked about 10,000 opaque tokens of 28 letters before the measurement, and
//! every request is a hit: that the authority is not asked meanwhile is checked. Peers that verify JWTs get 300 of
//! them, and so does ours that judges JWTs, in a cache. A scope is required where the peer can do so: not by `zitadel`
//! and `tower-oauth2-resource-server`. Those that verify check the audience too, as they must; `audience too` is ours
//! with it.
//!
//! Each peer is a program of its own, started anew in each round, in turn, pinned to one processor where `taskset` is
//! there. Time is what its thread had of the processor. Of each round what a peer adds over the bare router of that
//! round; shown are the median of the rounds, the lowest and the highest.
//!
//! At the end of it a herd: 50 requests at once with one token that nobody knows yet, and an authority that takes 50 ms
//! for an answer, or to fail. How often was it asked?
//!
//! `PEERS_ROUNDS` (9) and `PEERS_MILLISECONDS` (1,000) of each measurement make shorter runs; `PEERS_TOKENS` (10,000)
//! sets how many opaque tokens take turns, and `PEERS_CORE` (1) which processor is used. With `FIGURES=write` the
//! figures go to `docs/performance/peers.json`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../../../support/rounds.rs"]
#[allow(dead_code, unreachable_pub)]
mod rounds;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rounds::Rounds;
use serde_json::{Value, json};

/// How much longer than its measurement a peer may take, to start and to make its tokens known.
const AROUND_IT: Duration = Duration::from_secs(90);
/// How often a peer that asks the authority adds at least what we add.
const OVER_INTROSPECTION: f64 = 5.0;
/// How often a peer that verifies signatures adds at least what we add.
const OVER_VERIFICATION: f64 = 40.0;

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Bare,
    Ours,
    /// Ours set up in another way: shown, and held to nothing.
    OursOtherwise,
    Introspection,
    Verification,
}

struct Peer {
    binary: &'static str,
    label: &'static str,
    tokens: &'static str,
    role: Role,
}

const fn peer(binary: &'static str, label: &'static str, tokens: &'static str, role: Role) -> Peer {
    Peer { binary, label, tokens, role }
}

const PEERS: [Peer; 17] = [
    peer("peer-bare", "no authentication", "opaque", Role::Bare),
    peer("peer-ours", "tower-introspection", "opaque", Role::Ours),
    peer("peer-ours-audience", "tower-introspection, audience too", "opaque", Role::OursOtherwise),
    peer("peer-ours-on-route", "tower-introspection, on a route", "opaque", Role::OursOtherwise),
    peer("peer-camel-auth", "camel-auth 0.64, introspector alone", "opaque", Role::Introspection),
    peer("peer-camel-auth-principal", "camel-auth 0.64", "opaque", Role::Introspection),
    peer("peer-zitadel", "zitadel 5.7", "opaque", Role::Introspection),
    peer("peer-bare", "no authentication", "rs256", Role::Bare),
    peer("peer-ours-jwt", "tower-introspection, RS256 in a cache", "rs256", Role::OursOtherwise),
    peer("peer-aliri-tower", "aliri_tower 0.6, RS256", "rs256", Role::Verification),
    peer("peer-oauth-resource-server", "oauth-resource-server 0.4, RS256", "rs256", Role::Verification),
    peer("peer-tower-oauth2-resource-server", "tower-oauth2-resource-server 0.12, RS256", "rs256", Role::Verification),
    peer("peer-bare", "no authentication", "es256", Role::Bare),
    peer("peer-ours-jwt", "tower-introspection, ES256 in a cache", "es256", Role::OursOtherwise),
    peer("peer-aliri-tower", "aliri_tower 0.6, ES256", "es256", Role::Verification),
    peer("peer-oauth-resource-server", "oauth-resource-server 0.4, ES256", "es256", Role::Verification),
    peer("peer-tower-oauth2-resource-server", "tower-oauth2-resource-server 0.12, ES256", "es256", Role::Verification),
];

/// A peer's program while it runs. It does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A number from the environment.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number of the right kind")),
        Err(_) => default,
    }
}

/// What has to hold. Each bound is printed with the figure that was measured.
#[derive(Default)]
struct Bounds {
    broken: usize,
}

impl Bounds {
    fn check(&mut self, holds: bool, bound: impl fmt::Display) {
        self.broken += usize::from(!holds);
        println!("{} {bound}", if holds { "  holds:" } else { " BROKEN:" });
    }
}

struct Bench {
    binaries: PathBuf,
    /// The processor that peers are pinned to.
    core: Option<String>,
}

impl Bench {
    fn new() -> Self {
        let binaries = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let core = setting("PEERS_CORE", 1_usize).to_string();
        let pinned = Command::new("taskset").args(["-c", &core, "true"]).status();
        let core = pinned.is_ok_and(|status| status.success()).then_some(core);
        Self { binaries, core }
    }

    /// Runs a peer to its end, and reads the line that it prints.
    fn run(&self, peer: &Peer, arguments: &[&str], within: Duration) -> Value {
        let binary = self.binaries.join(peer.binary);
        let mut command = match &self.core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", core]).arg(&binary);
                command
            }
            None => Command::new(&binary),
        };
        let spawned = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut running = Running(spawned.unwrap_or_else(|error| panic!("{}: {error}", binary.display())));
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = running.0.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{} is not done after {within:?}", peer.binary);
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "{} {arguments:?}: {status}", peer.binary);
        serde_json::from_reader(running.0.stdout.take().unwrap()).unwrap()
    }
}

/// The figures of one peer, one for each round.
#[derive(Default)]
struct Measured {
    nanoseconds: Vec<f64>,
    added: Vec<f64>,
    asked: u64,
}

fn measure(bench: &Bench, rounds: usize, milliseconds: u64) -> Vec<Measured> {
    let mut measured: Vec<_> = PEERS.iter().map(|_| Measured::default()).collect();
    let text = milliseconds.to_string();
    let within = Duration::from_millis(milliseconds) + AROUND_IT;
    for round in 0..rounds {
        // Another one begins each time.
        for n in (0..PEERS.len()).map(|n| (n + round) % PEERS.len()) {
            let figures = bench.run(&PEERS[n], &["hits", PEERS[n].tokens, &text], within);
            measured[n].nanoseconds.push(figures["nanoseconds"].as_f64().unwrap());
            measured[n].asked += figures["asked_meanwhile"].as_u64().unwrap();
        }
        println!("round {} of {rounds}", round + 1);
    }
    for (n, peer) in PEERS.iter().enumerate() {
        let bare = PEERS.iter().position(|bare| bare.role == Role::Bare && bare.tokens == peer.tokens).unwrap();
        let pairs = measured[n].nanoseconds.iter().zip(&measured[bare].nanoseconds);
        measured[n].added = pairs.map(|(with, without)| with - without).collect();
    }
    measured
}

/// How many times what we add `added` is, round by round.
fn times_ours(added: &[f64], ours: &[f64]) -> Rounds {
    Rounds::of_pairs(added, ours, |added, ours| added / ours)
}

fn print_table(measured: &[Measured], ours: &[f64]) {
    println!("\nnanoseconds a request: all of it, and what authentication adds");
    println!(
        "{:<42}{:>8}{:>10}{:>10}{:>10}{:>10}{:>12}{:>7}{:>7}",
        "", "tokens", "all", "added", "low", "high", "times ours", "low", "high"
    );
    for (peer, figures) in PEERS.iter().zip(measured) {
        let (all, added) = (Rounds::of(figures.nanoseconds.clone()), Rounds::of(figures.added.clone()));
        print!("{:<42}{:>8}{:>10.0}", peer.label, peer.tokens, all.median);
        if peer.role == Role::Bare {
            println!("{:>10}{:>10.0}{:>10.0}", "", all.low, all.high);
            continue;
        }
        let times = times_ours(&figures.added, ours);
        print!("{:>10.0}{:>10.0}{:>10.0}", added.median, added.low, added.high);
        println!("{:>12.1}{:>7.1}{:>7.1}", times.median, times.low, times.high);
    }
}

fn print_herds(bench: &Bench) {
    println!("\n50 requests at once with one unknown token, 50 ms for an answer");
    let asking = |peer: &&Peer| matches!(peer.role, Role::Ours | Role::Introspection);
    for peer in PEERS.iter().filter(asking) {
        for kind in ["good", "failing"] {
            let figures = bench.run(peer, &["herd", kind], AROUND_IT);
            println!(
                "{:<42} {:>8} {:>4} questions, {:>5} ms, {:>3} let in",
                peer.label, kind, figures["questions"], figures["milliseconds"], figures["let_in"]
            );
        }
    }
}

fn check(measured: &[Measured], ours: &[f64]) -> ExitCode {
    println!("\nbounds");
    let mut bounds = Bounds::default();
    let asked: u64 = measured.iter().map(|figures| figures.asked).sum();
    bounds.check(asked == 0, format_args!("{asked} questions to the authority while hits were measured"));
    let of = |role: Role| PEERS.iter().zip(measured).filter(move |(peer, _)| peer.role == role);
    let next_best = of(Role::Introspection)
        .map(|(peer, figures)| (peer.label, times_ours(&figures.added, ours).median))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((label, times)) = next_best {
        bounds.check(
            times >= OVER_INTROSPECTION,
            format_args!(
                "{label}, the next best that asks, adds {times:.1} times what we add, at least {OVER_INTROSPECTION}"
            ),
        );
    }
    for (peer, figures) in of(Role::Verification) {
        let times = times_ours(&figures.added, ours).median;
        bounds.check(
            times >= OVER_VERIFICATION,
            format_args!("{} adds {times:.0} times what we add, at least {OVER_VERIFICATION}", peer.label),
        );
    }
    if bounds.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_figures(measured: &[Measured], rounds: usize) {
    let shown = PEERS.iter().zip(measured).filter(|(peer, _)| !matches!(peer.role, Role::Bare | Role::OursOtherwise));
    let mut rows: Vec<_> = shown.map(|(peer, figures)| (peer, Rounds::of(figures.added.clone()))).collect();
    rows.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    let row = |(peer, added): &(&Peer, Rounds)| {
        json!({
            "label": peer.label,
            "value": added.median.round(),
            "low": added.low.round(),
            "high": added.high.round(),
            "ours": peer.role == Role::Ours,
        })
    };
    let figures = json!({
        "title": "What checking a token adds to a request",
        "subtitle": format!(
            "Known opaque tokens, 10,000 in turn, and JWTs; over the same axum router without it; median of {rounds} rounds"
        ),
        "command": "bash benches/peers/run",
        "kind": "bars",
        "unit": "ns",
        "scale": "log",
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    });
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/performance");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("peers.json"), format!("{figures:#}\n")).unwrap();
}

fn main() -> ExitCode {
    let rounds = setting("PEERS_ROUNDS", 9_usize).max(1);
    let milliseconds = setting("PEERS_MILLISECONDS", 1_000_u64).max(10);
    let bench = Bench::new();
    match &bench.core {
        Some(core) => println!("{rounds} rounds, {milliseconds} ms each, on processor {core}"),
        None => println!("{rounds} rounds, {milliseconds} ms each, not pinned to a processor"),
    }
    let measured = measure(&bench, rounds, milliseconds);
    let ours = PEERS.iter().position(|peer| peer.role == Role::Ours).unwrap();
    let ours = &measured[ours].added;
    print_table(&measured, ours);
    print_herds(&bench);
    if std::env::var("FIGURES").is_ok_and(|value| value == "write") {
        write_figures(&measured, rounds);
    }
    check(&measured, ours)
}
