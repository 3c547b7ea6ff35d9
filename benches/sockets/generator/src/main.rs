//! What the layer costs a server over sockets, beside `zitadel`'s extractor and Apache httpd with mod_oauth2:
//! `bash benches/sockets/run`, about twelve minutes once everything is built.
//!
//! The server has one thread on one core, this program has the other: the server is what limits the throughput, and how
//! busy both were is printed. Bare and guarded take turns of a twentieth of a second, because a machine that others use
//! too changes its speed from second to second, and what counts is the median of the many pairs' ratios. There are 32
//! requests at a time, on connections that are kept, with 10,000 tokens in rotation that each cache was asked about
//! before. First at full speed: for the throughput, for the processor time of the server for each request, the
//! steadiest figure there is on a machine that is shared, and for the p99 that is held against the bound. Then, for
//! some rows, at 60 % of the bare server's throughput, where latency is printed only: requests come at random moments,
//! the same for both of a pair, and their time counts from then, whether there is a connection free or not.
//!
//! Some rows are only there to understand the others. *itself* compares the bare server with a second process of the
//! same: what it shows is what the measurement is good for. *passing* has a layer that does nothing in the guard's
//! place: axum and tonic take something for any layer. *around* has the guard around all of the router, which is what
//! axum takes least for. The handler of these answers with 200 bytes that stand ready; that of *page* writes a hundred
//! orders as JSON for each request, as one does that has something to do.
//!
//! The environment can change what is measured: `SOCKETS_PAIRS`, `SOCKETS_SECONDS` of a segment, `SOCKETS_TOKENS`, and
//! `SOCKETS_ROWS` (names with commas between: itself, http1, http2, grpc, passing, around, page, zitadel,
//! apache, apache-one). `FIGURES=write` writes the figures for the chart.
#![allow(unreachable_pub, clippy::disallowed_methods)]

mod figures;
mod load;
mod pairs;
mod report;
mod servers;
mod wire;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use load::{Load, Plan};
use pairs::{Pairs, Side, Spread};
use report::{Bounds, setting, token_name};
use servers::{Server, get};
use wire::{Protocol, Target};

pub type Failure = Box<dyn Error + Send + Sync>;

const SERVER_CORE: &str = "0";
const OWN_CORE: &str = "1";
const LEAST_THROUGHPUT: f64 = 0.97;
const MOST_P99: f64 = 1.1;
/// Of the bare server's throughput, when latency is measured at a rate.
const PART_OF_FULL_SPEED: f64 = 0.6;
const PATH: &str = "/orders/4711";
const PAGE: &str = "/orders";
const CALL: &str = "/grpc.health.v1.Health/Check";
/// Less than this of its core for a server at full speed, and something else was in the way.
const BUSY: f64 = 0.95;

struct Settings {
    pairs: usize,
    segment: Duration,
    tokens: usize,
    rows: Option<String>,
}

impl Settings {
    fn from_environment() -> Result<Self, Failure> {
        Ok(Self {
            pairs: setting("SOCKETS_PAIRS", 301)?,
            segment: Duration::from_secs_f64(setting("SOCKETS_SECONDS", 0.05)?),
            tokens: setting("SOCKETS_TOKENS", 10_000)?,
            rows: std::env::var("SOCKETS_ROWS").ok(),
        })
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.as_ref().is_none_or(|rows| rows.split(',').any(|wanted| wanted == row))
    }
}

/// Two servers that are compared.
struct Row<'a> {
    name: &'static str,
    label: &'static str,
    sides: [&'a Server; 2],
    protocol: Protocol,
    paths: [&'a str; 2],
    tokens: usize,
    /// The latency is measured at a rate, too.
    at_a_rate: bool,
    kind: Kind,
    /// The second one asks for a token.
    guards: bool,
}

impl Row<'_> {
    fn target(&self, which: usize) -> Result<Target, Failure> {
        let address = self.sides[which].address(if self.protocol == Protocol::Grpc { "grpc" } else { "http" })?;
        Ok(Target { address, protocol: self.protocol, path: self.paths[which].to_owned() })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Helps to understand the others; it is printed only.
    Aside,
    Ours,
    Peer,
}

/// What a row has shown.
pub struct Measured {
    label: &'static str,
    kind: Kind,
    throughput: Spread,
}

struct Site {
    settings: Settings,
    authority: Server,
    bounds: Bounds,
    measured: Vec<Measured>,
}

impl Site {
    fn row(&mut self, row: &Row<'_>) -> Result<(), Failure> {
        if !self.settings.wants(row.name) {
            return Ok(());
        }
        println!("\n{}", row.label);
        let tokens: Vec<_> = (0..row.tokens).map(|n| token_name('t', n)).collect();
        let targets = [row.target(0)?, row.target(1)?];
        self.check(row, &targets[1])?;
        let side = |which: usize| Side::connect(row.sides[which], &targets[which], &tokens);
        let mut sides = [side(0)?, side(1)?];
        for side in &mut sides {
            let first_uses = side.segment(Plan::Requests(tokens.len()))?;
            if first_uses.refused > 0 {
                return Err(format!("{}: {} of the first uses refused", row.label, first_uses.refused).into());
            }
        }
        let questions = self.questions()?;

        let Settings { pairs, segment, .. } = self.settings;
        let full_speed = Pairs::measure(&mut sides, pairs, |_| Plan::FullSpeed(segment))?;
        let throughput = full_speed.ratio(|segment| segment.per_second);
        report_full_speed(&full_speed);
        report_latency(&full_speed, format_args!("full speed"));
        let mut requests = full_speed.answers();
        let mut refused = full_speed.refused();
        if row.at_a_rate {
            let per_second = PART_OF_FULL_SPEED * full_speed.bare(|segment| segment.per_second);
            let plan = |pair: usize| Plan::Rate { per_second, time: segment, seed: 4_711 + pair as u64 };
            let at_rate = Pairs::measure(&mut sides, pairs, plan)?;
            report_latency(&at_rate, format_args!("{per_second:.0}/s"));
            requests += at_rate.answers();
            refused += at_rate.refused();
        }

        let asked = self.questions()? - questions;
        self.bounds.check(refused == 0, format_args!("{refused} of {requests} requests refused"));
        self.bounds.check(asked == 0, format_args!("{asked} questions while it was measured: all of them are hits"));
        if row.kind == Kind::Ours {
            let ratio = throughput.median;
            let bound = format_args!("throughput {ratio:.3} times the bare one, at least {LEAST_THROUGHPUT}");
            self.bounds.check(ratio >= LEAST_THROUGHPUT, bound);
            let ratio = full_speed.ratio(|segment| segment.p99).median;
            let bound = format_args!("p99 at full speed {ratio:.3} times the bare one, at most {MOST_P99}");
            self.bounds.check(ratio <= MOST_P99, bound);
        }
        self.measured.push(Measured { label: row.label, kind: row.kind, throughput });
        Ok(())
    }

    /// Whether the guarded server tells good from junk at all.
    fn check(&mut self, row: &Row<'_>, guarded: &Target) -> Result<(), Failure> {
        if !row.guards {
            return Ok(());
        }
        let refused = |kind| -> Result<u64, Failure> {
            let tokens = [token_name(kind, 0)];
            Ok(Load::connect(guarded, &tokens)?.run(Plan::Requests(1))?.refused)
        };
        self.bounds.check(refused('t')? == 0 && refused('j')? == 1, "a good token gets in, junk does not");
        if row.protocol == Protocol::Http1 {
            let status = |kind| get(guarded.address, &guarded.path, &token_name(kind, 0));
            let ((good, _), (junk, _)) = (status('t')?, status('j')?);
            println!("         they get {good} and {junk}");
        }
        Ok(())
    }

    fn questions(&self) -> Result<u64, Failure> {
        Ok(get(self.authority.address("http")?, "/questions", "none")?.1.parse()?)
    }
}

fn report_full_speed(pairs: &Pairs) {
    let [bare, guarded] = [pairs.bare(|segment| segment.per_second), pairs.guarded(|segment| segment.per_second)];
    println!(
        "         throughput: bare {bare:.0}/s, guarded {guarded:.0}/s: {} times",
        pairs.ratio(|segment| segment.per_second)
    );
    let [bare, guarded] = [pairs.bare(|segment| segment.cost * 1e6), pairs.guarded(|segment| segment.cost * 1e6)];
    println!(
        "         server's processor time for a request: bare {bare:.2} us, guarded {guarded:.2} us: {} times",
        pairs.ratio(|segment| segment.cost)
    );
    let busy = |figure: fn(&pairs::Segment) -> f64| [pairs.bare(figure), pairs.guarded(figure)];
    let (server, generator) = (busy(|segment| segment.server_busy), busy(|segment| segment.generator_busy));
    let [bare, guarded] = server.map(|part| 100.0 * part);
    let [for_bare, for_guarded] = generator.map(|part| 100.0 * part);
    println!(
        "         of its core the server used {bare:.0} % bare and {guarded:.0} % guarded, \
         the generator of its own {for_bare:.0} % and {for_guarded:.0} %"
    );
    if server.iter().any(|part| *part < BUSY) {
        println!("   note: the server did not have all of its core, or the generator was too slow for it");
    }
}

fn report_latency(pairs: &Pairs, speed: fmt::Arguments) {
    let [bare, guarded] = [pairs.bare(|segment| segment.p99 * 1e6), pairs.guarded(|segment| segment.p99 * 1e6)];
    println!(
        "         p99 at {speed}: bare {bare:.0} us, guarded {guarded:.0} us: {} times",
        pairs.ratio(|segment| segment.p99)
    );
}

/// A program that was built with this one.
fn program(name: &str) -> Result<String, Failure> {
    let directory = std::env::current_exe()?.parent().map(PathBuf::from).ok_or("no directory")?;
    Ok(directory.join(name).to_str().ok_or("a path that is no text")?.to_owned())
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn run() -> Result<ExitCode, Failure> {
    let settings = Settings::from_environment()?;
    let authority = Server::start(OWN_CORE, &[&program("sockets-authority")?])?;
    let authority_url = url(authority.address("http")?);
    let servers = program("sockets-servers")?;
    let server = |kind| Server::start(SERVER_CORE, &[&servers, kind, &authority_url]);
    let (bare, bare_again, guarded) = (server("bare")?, server("bare")?, server("guarded")?);
    let (passing, around) = (server("passing")?, server("around")?);
    println!(
        "{} pairs of {:?}, {} tokens; median of the pairs, with its bounds at a confidence of 95 %",
        settings.pairs, settings.segment, settings.tokens
    );
    let tokens = settings.tokens;
    let mut site = Site { settings, authority, bounds: Bounds::default(), measured: Vec::new() };

    let http1 = Row {
        name: "http1",
        label: "axum, HTTP/1.1",
        sides: [&bare, &guarded],
        protocol: Protocol::Http1,
        paths: [PATH; 2],
        tokens,
        at_a_rate: true,
        kind: Kind::Ours,
        guards: true,
    };
    let aside = Row { kind: Kind::Aside, at_a_rate: false, ..http1 };
    let itself = "axum, HTTP/1.1, bare against itself";
    site.row(&Row {
        name: "itself",
        label: itself,
        sides: [&bare, &bare_again],
        at_a_rate: true,
        guards: false,
        ..aside
    })?;
    let http2 = Row { name: "http2", label: "axum, HTTP/2", protocol: Protocol::Http2, ..http1 };
    let paths = [CALL; 2];
    let grpc = Row { name: "grpc", label: "tonic, unary call", protocol: Protocol::Grpc, paths, ..http1 };
    for (row, label) in [
        (&http1, "axum, HTTP/1.1, a layer that does nothing"),
        (&http2, "axum, HTTP/2, a layer that does nothing"),
        (&grpc, "tonic, unary call, a layer that does nothing"),
    ] {
        site.row(row)?;
        let sides = [&bare, &passing];
        site.row(&Row { name: "passing", label, sides, kind: Kind::Aside, at_a_rate: false, guards: false, ..*row })?;
    }
    let label = "axum, HTTP/1.1, the guard around the router";
    site.row(&Row { name: "around", label, sides: [&bare, &around], ..aside })?;

    for (row, label) in [
        (&http1, "axum, HTTP/1.1, a handler that writes a hundred orders"),
        (&http2, "axum, HTTP/2, a handler that writes a hundred orders"),
    ] {
        site.row(&Row { name: "page", label, paths: [PAGE; 2], ..*row })?;
    }

    let peer = Row { kind: Kind::Peer, ..aside };
    if site.settings.wants("zitadel") {
        let zitadel = Server::start(SERVER_CORE, &[&program("sockets-zitadel")?, &authority_url])?;
        site.row(&Row { name: "zitadel", label: "zitadel's axum extractor", sides: [&bare, &zitadel], ..peer })?;
    }
    for (name, label, tokens) in
        [("apache-one", "Apache mod_oauth2, one token", 1), ("apache", "Apache mod_oauth2, 10,000 tokens", tokens)]
    {
        if site.settings.wants(name) {
            match apache(&authority_url) {
                Ok(apache) => {
                    let paths = ["/open/order.json", "/guarded/order.json"];
                    site.row(&Row { name, label, sides: [&apache, &apache], paths, tokens, ..peer })?;
                }
                Err(reason) => println!("\n{label}: SKIPPED: {reason}"),
            }
        }
    }

    figures::write(&site.measured)?;
    Ok(site.bounds.verdict())
}

/// Apache httpd serves a file, from one place openly and from another behind mod_oauth2.
fn apache(authority: &str) -> Result<Server, Failure> {
    let script = format!("{}/../apache", env!("CARGO_MANIFEST_DIR"));
    Server::start(SERVER_CORE, &["bash", &script, authority])
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        println!("\nnot measured: {error}");
        ExitCode::FAILURE
    })
}
