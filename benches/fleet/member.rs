//! A member of the fleet, as a service has it.

use std::time::Duration;

use tower_introspection::cache::CachedBuilder;
use tower_introspection::connection::Limits;
use tower_introspection::fleet::{Fleet, FleetSecret};
use tower_introspection::introspect::Ask;
use tower_introspection::{BearerToken, Cached, Introspect, Rfc7662, Verdict};

/// What all members have in common.
#[derive(Clone)]
pub struct Settings {
    pub authority: String,
    /// Where the engine is, and what the fleet is called there. `None`: each process for itself.
    pub engine: Option<(String, String)>,
    pub max_ttl: Duration,
}

impl Settings {
    /// On one line.
    pub fn to_line(&self) -> String {
        let (engine, name) = self.engine.clone().unwrap_or_else(|| ("-".into(), "-".into()));
        format!("{} {engine} {name} {}", self.authority, self.max_ttl.as_millis())
    }

    pub fn from_line(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        let &[authority, engine, name, max_ttl] = words.as_slice() else { panic!("{line}") };
        let engine = (engine != "-").then(|| (engine.to_owned(), name.to_owned()));
        Self { authority: authority.into(), engine, max_ttl: Duration::from_millis(max_ttl.parse().unwrap()) }
    }

    pub fn fleet(&self) -> Option<Fleet> {
        let (address, name) = self.engine.as_ref()?;
        let secret = FleetSecret::from_bytes("one of the programs that measure").unwrap();
        Some(Fleet::redis(address, name, secret).build().unwrap())
    }
}

#[derive(Clone)]
pub struct Member {
    pub cached: Cached<Rfc7662>,
    pub fleet: Option<Fleet>,
}

impl Member {
    /// One that reads the log already.
    pub async fn join(settings: &Settings) -> Self {
        let limits = Limits::new().max_concurrent_requests(2_000).max_wait(Duration::from_secs(5));
        let endpoint = Rfc7662::builder(&settings.authority).client_secret_basic("fleet", "secret").limits(limits);
        let cached = Cached::builder(endpoint.build().unwrap()).max_ttl(settings.max_ttl).max_flights(20_000);
        let fleet = settings.fleet();
        let cached = fleet.iter().fold(cached, CachedBuilder::fleet).build().unwrap();
        if let Some(fleet) = &fleet {
            wait_until_it_reads(fleet).await;
        }
        Self { cached, fleet }
    }

    /// What is in memory.
    pub fn knows(&self, token: &str) -> Option<bool> {
        self.cached.cached(&BearerToken::parse(token).unwrap()).map(|verdict| verdict.is_active())
    }

    /// What the layer does with a request. `None`: the question failed.
    pub async fn accepts(&self, token: &str) -> Option<bool> {
        match self.knows(token) {
            Some(is_active) => Some(is_active),
            None => self.asks(token).await,
        }
    }

    /// What it does when nothing is in memory.
    pub async fn asks(&self, token: &str) -> Option<bool> {
        let token = BearerToken::parse(token).unwrap();
        self.cached.introspect(Ask::new(&token)).await.ok().as_ref().map(Verdict::is_active)
    }
}

pub async fn wait_until_it_reads(fleet: &Fleet) {
    while !fleet.stats().is_reading {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
