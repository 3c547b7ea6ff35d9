//! A process of the fleet: it does what lines on its standard input say, and answers with a line each.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_introspection::cache::Selection;
use tower_introspection::connection::Limits;
use tower_introspection::fleet::{Fleet, FleetSecret};
use tower_introspection::introspect::Ask;
use tower_introspection::{BearerToken, Cached, Introspect, Rfc7662};

use crate::{millis, now, pass};

/// What a process is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub authority: String,
    /// Where the engine is.
    pub address: String,
    pub fleet: String,
    pub secret: String,
    pub second_secret: Option<String>,
    pub root_certificate: Option<String>,
    /// Of each cache, which has its place as its name.
    pub max_ttls: Vec<Duration>,
    /// Whose security events it takes: the issuer, and its keys.
    pub transmitter: Option<(String, String)>,
}

/// The first line it says, and what stands before each of its lines: the test program says things of its own.
pub const READY: &str = "ready";
pub const SIGN: char = '@';

struct Worker {
    fleet: Fleet,
    caches: Vec<Cached<Rfc7662>>,
    signals: Option<tower_introspection::signals::Signals>,
}

impl Worker {
    fn new(settings: &Settings) -> Self {
        let secret = |text: &String| FleetSecret::from_bytes(text).unwrap();
        let mut fleet = Fleet::redis(&settings.address, &settings.fleet, secret(&settings.secret));
        if let Some(second) = &settings.second_secret {
            fleet = fleet.second_secret(secret(second));
        }
        if let Some(pem) = &settings.root_certificate {
            fleet = fleet.root_certificate(pem.clone());
        }
        let fleet = fleet.build().unwrap();
        let cache = |(place, max_ttl): (usize, &Duration)| {
            // With time enough that no answer depends on how busy the machine is.
            let limits = Limits::new().max_concurrent_requests(200).max_wait(Duration::from_secs(20));
            let endpoint = Rfc7662::builder(&settings.authority).client_secret_basic("fleet", "secret");
            let endpoint = endpoint.limits(limits).request_timeout(Duration::from_secs(20)).build().unwrap();
            let cached = Cached::builder(endpoint).name(place.to_string()).max_ttl(*max_ttl);
            cached.inactive_ttl(millis(300)).fleet(&fleet).build().unwrap()
        };
        let caches: Vec<_> = settings.max_ttls.iter().enumerate().map(cache).collect();
        let signals = settings.transmitter.as_ref().map(|(issuer, keys)| hears(issuer, keys, &caches));
        Self { fleet, caches, signals }
    }

    async fn obey(&self, command: &str) -> String {
        let (name, words) = command.split_once(' ').unwrap_or((command, ""));
        let words: Vec<_> = words.split(' ').collect();
        match (name, words.as_slice()) {
            ("ask", [cache, token]) => self.ask(cache.parse().unwrap(), token).await,
            ("invalidate", [cache, what, words @ ..]) => {
                let selection = match (*what, words) {
                    ("token", [token]) => Selection::token(&BearerToken::parse(*token).unwrap()),
                    ("subject", [subject]) => Selection::subject(*subject),
                    ("tenant", [tenant]) => Selection::claim("tenant", tenant).unwrap(),
                    _ => panic!("{command}"),
                };
                let cache = &self.caches[cache.parse::<usize>().unwrap()];
                let reach = cache.handle().invalidate(selection).await;
                format!("{} {}", reach.as_str(), now())
            }
            ("push", [set]) => self.push(set).await,
            ("stats", _) => self.stats(),
            _ => panic!("{command}"),
        }
    }

    /// As the layer does it. Says when the request began and how long it took, and when the log was last read before.
    async fn ask(&self, cache: usize, token: &str) -> String {
        let last_read = self.fleet.stats().last_read.unwrap_or(Duration::from_secs(86_400 * 365));
        let began_at = now();
        let read_at = began_at - crate::micros(last_read);
        let token = BearerToken::parse(token).unwrap();
        let cache = &self.caches[cache];
        let answer = match cache.cached(&token) {
            Some(verdict) => Ok(verdict),
            None => cache.introspect(Ask::new(&token)).await,
        };
        let took = now() - began_at;
        let verdict = match &answer {
            Ok(verdict) if verdict.is_active() => "active",
            Ok(_) => "inactive",
            Err(error) => error.kind().as_str(),
        };
        format!("{verdict} {began_at} {took} {read_at}")
    }

    /// What a transmitter that pushes this event is answered: the status, when that was, and when to send it again.
    async fn push(&self, set: &str) -> String {
        use axum::http::{Request, Response};
        use tower::ServiceExt;

        let request = Request::post("/events").header("content-type", "application/secevent+jwt");
        let door = self.signals.as_ref().unwrap().push();
        let answer: Response<String> = door.oneshot(request.body(set.to_owned()).unwrap()).await.unwrap();
        let answered_at = now();
        let again = answer.headers().get("retry-after").map_or("never", |value| value.to_str().unwrap());
        format!("{} {answered_at} {again}", answer.status().as_u16())
    }

    fn stats(&self) -> String {
        let stats = self.fleet.stats();
        json!({
            "is_reading": stats.is_reading, "processes": stats.processes, "hits": stats.hits, "stored": stats.stored,
            "outdated": stats.outdated, "unreadable": stats.unreadable, "records_read": stats.records_read,
            "records_written": stats.records_written, "queued": stats.queued, "gaps": stats.gaps,
            "engine_failures": stats.engine_failures, "waits": stats.waits,
        })
        .to_string()
    }
}
fn hears(issuer: &str, keys: &str, caches: &[Cached<Rfc7662>]) -> tower_introspection::signals::Signals {
    use tower_introspection::jwt::KeySet;
    use tower_introspection::signals::{Signals, Transmitter};

    let transmitter =
        Transmitter::new(issuer).audience("https://api.example.com").keys(KeySet::from_json(keys).unwrap());
    let transmitter = caches.iter().fold(transmitter, |transmitter, cache| transmitter.cache(cache.handle()));
    Signals::builder().transmitter(transmitter).build().unwrap()
}

/// Ends when nobody tells it anything any more.
pub async fn run(settings: &str) {
    let filter = tracing_subscriber::EnvFilter::new("tower_introspection=info");
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let worker = Arc::new(Worker::new(&serde_json::from_str(settings).unwrap()));
    let (lines, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|l| lines.send(l)));
    // The test program may have begun a line.
    say(&format!("\n{SIGN}{READY}"));
    while let Some(line) = commands.recv().await {
        let worker = Arc::clone(&worker);
        tokio::spawn(async move {
            let (number, command) = line.split_once(' ').unwrap();
            let answer = worker.obey(command).await;
            say(&format!("{SIGN}{number} {answer}"));
        });
    }
    pass(Duration::ZERO).await;
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more once the test has ended.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
