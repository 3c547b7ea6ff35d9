//! Against real servers: what holds for all engines, through each way to a server.

use std::future::Future;
use std::sync::OnceLock;

use super::server::{Cluster, Program, Server, Watched};
use super::*;
use crate::fleet::engine::conformance::{Subject, conforms};
use crate::fleet::engine::{Announce, EngineErrorKind, Lease, Version};

/// With time enough that no test depends on how busy the machine is.
pub(super) fn patient() -> RedisOptions {
    let long = Duration::from_secs(20);
    RedisOptions { call_timeout: long, background_timeout: long, connect_timeout: long, ..RedisOptions::default() }
}

pub(super) fn engine(address: &str, prefix: &str) -> RedisEngine {
    RedisEngine::new(address, prefix, &patient()).unwrap()
}

/// An engine with a prefix, and so a log, of its own.
async fn subject_at(address: Option<String>) -> Option<Subject> {
    let engine = engine(&address?, &format!("fleet-{:x}", crate::random::random()));
    engine.read(Read { after: None, limit: 1, announce: None }).await.unwrap();
    let advance = |by: Duration| Box::pin(tokio::time::sleep(by)) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    Some(Subject { engine: Arc::new(engine), advance: Box::new(advance) })
}

/// The tests of a module share a server, which ends with the program.
macro_rules! shared {
    ($start:expr) => {{
        static SHARED: OnceLock<Option<String>> = OnceLock::new();
        let address = SHARED.get_or_init(|| {
            let started = $start?;
            let address = started.url();
            std::mem::forget(started);
            Some(address)
        });
        subject_at(address.clone()).await
    }};
}

mod redis_server {
    use super::*;

    async fn subject() -> Option<Subject> {
        shared!(Server::start(Program::Redis, &[]))
    }

    conforms!(subject);
}

mod valkey_server {
    use super::*;

    async fn subject() -> Option<Subject> {
        shared!(Server::start(Program::Valkey, &[]))
    }

    conforms!(subject);
}

mod redis_cluster {
    use super::*;

    async fn subject() -> Option<Subject> {
        shared!(Cluster::start(Program::Redis))
    }

    conforms!(subject);
}

mod redis_sentinel {
    use super::*;

    async fn subject() -> Option<Subject> {
        shared!(Watched::start())
    }

    conforms!(subject);
}

mod cluster;
mod failures;
mod foreign;
mod permissions;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod tls;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) const NODE: NodeId = NodeId(7);

pub(super) fn name() -> Name {
    Name("name".to_owned())
}

/// Each call once, as it comes about with a token.
pub(super) async fn everything(engine: &RedisEngine) -> Result<(), EngineError> {
    let name = name();
    let announce = Announce { node: NODE, settings: b"settings", forget_after: MINUTE };
    let page = engine.read(Read { after: None, limit: 10, announce: Some(announce) }).await?;
    engine.append(Append { record: b"record", nonce: 9, retention: MINUTE, max_records: 1 }).await?;
    let after = Some(Position { number: page.last.number, nonce: page.last.nonce });
    engine.read(Read { after, limit: 10, announce: None }).await?;
    engine.nodes().await?;
    claim(engine).await?;
    let of_another = Claim { node: NodeId(8), ..claim_of(&name) };
    engine.claim(of_another).await?;
    engine.renew(std::slice::from_ref(&name), NODE, MINUTE).await?;
    put(engine).await?;
    claim(engine).await?;
    engine.release(&name, NODE).await?;
    engine.delete(&name).await?;
    let turn =
        Turn { name: &name, interval: 1, tolerance: 1, tolerance_of_known: 1, max_wait: 1, max_wait_of_known: 1 };
    engine.take_turn(turn).await.map(drop)
}

fn claim_of(name: &Name) -> Claim<'_> {
    Claim { name, node: NODE, epoch: 1, max_age: MINUTE, newer_than: None, lease: Some(MINUTE) }
}

pub(super) async fn claim(engine: &RedisEngine) -> Result<Claimed, EngineError> {
    engine.claim(claim_of(&name())).await
}

pub(super) async fn put(engine: &RedisEngine) -> Result<Stored, EngineError> {
    let version = Version { epoch: 1, asked_at: 5 };
    let value = [&[1][..], &[0; 8], &1_u64.to_be_bytes(), &5_u64.to_be_bytes(), &[0; 8], b"sealed"].concat();
    let put = Put { name: &name(), node: NODE, value: &value, version, until: i64::MAX, only_replace: false };
    engine.put(put).await
}

pub(super) async fn read(engine: &RedisEngine, after: Option<Position>) -> Result<Page, EngineError> {
    engine.read(Read { after, limit: 10, announce: None }).await
}
