//! Redis and Valkey: one server, a master behind sentinels, or a cluster.
//!
//! Each call is one script, which is sent by its name (`EVALSHA`), on keys of one slot, over a connection that all
//! calls to a server share. `<fleet>` below is the name that the user gave, `<name>` a [`Name`].
//!
//! | key | what it is |
//! |---|---|
//! | `<fleet>:{<name>}` | a value, text of bytes |
//! | `<fleet>:{<name>}:lease` | whose lease it is, text |
//! | `<fleet>:{<name>}:rate` | when the next turn is, and when that was booked, in microseconds, text |
//! | `<fleet>:{<name>}:once` | a DPoP proof that was used, text |
//! | `<fleet>:{log}:records` | the log, a stream with identifiers `<number>-<nonce>` and the fields `t` (when) and `r` |
//! | `<fleet>:{log}:meta` | epoch, number and nonce of the last record, identity of the server, greatest time; a hash |
//! | `<fleet>:{log}:nodes` | who reads, a hash: when, how long that is worth something, settings |
//!
//! What another program puts under these names is taken for nothing, if it can be, and else for an
//! [`EngineErrorKind::Answer`]. An invalidation is only as safe as the server: set `maxmemory-policy volatile-lru` (or
//! another `volatile` one), so that the log, which has no end of time, is not evicted; values have one.
//!
//! **Permissions.** A user of its own needs no more than this (`fleet:*` is by the name of the fleet; `+select` for
//! another database than 0, `+cluster|slots` for a cluster):
//!
//! ```text
//! ACL SETUSER fleet on >password resetchannels ~fleet:* -@all +evalsha +eval +time +info +strlen +getrange +get
//! +pttl +set +del +pexpire +hmget +hset +hlen +hgetall +hdel +hrandfield +xrange +xrevrange +xadd +xtrim +xlen
//! ```
//!
//! **Clusters.** While slots are moved, calls on a key that is under way fail with [`EngineErrorKind::Connection`]; a
//! key that has moved makes the next reading ask again where the slots are.
//!
//! **Sentinels** are asked at each connect, without credentials unless the address has `?sentinel_password=`. A server
//! that is not, or no longer, a master is refused.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};

use crate::build_error::BuildError;
use crate::fleet::engine::redis::address::Address;
use crate::fleet::engine::redis::connection::Connections;
use crate::fleet::engine::redis::fault::unexpected_answer;
use crate::fleet::engine::redis::link::{Call, Link};
use crate::fleet::engine::redis::scripts::Scripts;
use crate::fleet::engine::redis::search::Search;
use crate::fleet::engine::redis::tls::Tls;
use crate::fleet::engine::{
    Append, Appended, Claim, Claimed, Engine, EngineError, Exchange, Name, Node, NodeId, Page, Position, Put, Read,
    Stored, Turn,
};

mod address;
mod connection;
mod fault;
mod link;
mod reply;
mod scripts;
mod search;
mod servers;
mod tls;

#[cfg(test)]
#[path = "../../../../tests/support/redis.rs"]
mod server;
#[cfg(test)]
mod tests;

/// How the engine is reached.
pub(crate) struct RedisOptions {
    /// Certificate authorities to trust besides those of the system, each one or more certificates in PEM.
    pub(crate) root_certificates: Vec<Vec<u8>>,
    /// For a call that a request waits for.
    pub(crate) call_timeout: Duration,
    /// For what happens in the background.
    pub(crate) background_timeout: Duration,
    /// For finding the server and connecting to it.
    pub(crate) connect_timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            root_certificates: Vec::new(),
            call_timeout: Duration::from_millis(50),
            background_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
        }
    }
}

pub(crate) struct RedisEngine {
    prefix: String,
    scripts: Scripts,
    connections: Arc<Connections>,
    call_timeout: Duration,
    background_timeout: Duration,
}

/// So many leases are prolonged in one exchange.
const RENEWED_AT_ONCE: usize = 512;

impl RedisEngine {
    /// Connects to nothing yet: the first reading of the log does. `prefix` is what all keys start with.
    ///
    /// # Errors
    /// Names the setting that cannot be: `address`, `name` or `root_certificate`.
    pub(crate) fn new(address: &str, prefix: &str, options: &RedisOptions) -> Result<Self, BuildError> {
        let address = Address::parse(address)?;
        if prefix.is_empty() || prefix.contains(|c: char| c.is_whitespace() || c.is_control() || "{}*?[]\\".contains(c))
        {
            let problem = format!("{prefix:?} cannot start the keys: use letters, digits, `-`, `_`, `.` and `:`");
            return Err(BuildError::new("name", problem));
        }
        let tls = if address.is_tls { Some(Tls::new(&options.root_certificates)?) } else { None };
        if tls.is_none() && !options.root_certificates.is_empty() {
            return Err(BuildError::new("root_certificate", "of no use without TLS: the address starts with `rediss`"));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            scripts: Scripts::new(),
            connections: Arc::new(Connections::new(Search { address, tls, connect_timeout: options.connect_timeout })),
            call_timeout: options.call_timeout,
            background_timeout: options.background_timeout,
        })
    }

    fn value(&self, Name(name): &Name) -> String {
        format!("{}:{{{name}}}", self.prefix)
    }

    fn lease(&self, Name(name): &Name) -> String {
        format!("{}:{{{name}}}:lease", self.prefix)
    }

    fn log(&self, part: &str) -> String {
        format!("{}:{{log}}:{part}", self.prefix)
    }

    async fn ask<T>(
        &self,
        to: &str,
        call: Call<'_>,
        limit: Duration,
        understand: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, EngineError> {
        let answer = self.connections.run(call, limit).await?;
        understand(answer).ok_or_else(|| unexpected_answer(to))
    }

    async fn renew_all(&self, names: &[Name], node: NodeId, lease: Duration) -> Result<(), EngineError> {
        let mut by_link: Vec<(Arc<Link>, Vec<Call<'_>>)> = Vec::new();
        for name in names {
            let call = Call::new(&self.scripts.renew, [self.lease(name)]).with(text_of(node)).with(at_least_one(lease));
            let link = self.connections.link(call.key())?;
            match by_link.iter_mut().find(|(there, _)| Arc::ptr_eq(there, &link)) {
                Some((_, calls)) => calls.push(call),
                None => by_link.push((link, vec![call])),
            }
        }
        for (link, calls) in by_link {
            for calls in calls.chunks(RENEWED_AT_ONCE) {
                self.connections.within(self.call_timeout, &link, link.run_all(calls)).await?;
            }
        }
        Ok(())
    }
}

/// As it stands in a key: 32 hexadecimal digits.
fn text_of(NodeId(node): NodeId) -> String {
    format!("{node:032x}")
}

/// The largest number that scripts are given, so that their sums stay exact.
const LARGEST: u64 = 1 << 52;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(LARGEST).min(LARGEST)
}

/// A time to live; the server takes no zero.
fn at_least_one(duration: Duration) -> u64 {
    millis(duration).max(1)
}

fn micros(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).min(LARGEST)
}

impl Engine for RedisEngine {
    fn claim<'a>(&'a self, claim: Claim<'a>) -> Exchange<'a, Claimed> {
        Box::pin(async move {
            let keys = [self.value(claim.name), self.lease(claim.name)];
            let call = Call::new(&self.scripts.claim, keys).with(text_of(claim.node)).with(claim.epoch);
            let call = call.with(millis(claim.max_age));
            let call = match claim.newer_than {
                Some(version) => call.with(version.epoch).with(version.asked_at),
                None => call.with("").with(""),
            };
            let call = call.with(claim.lease.map(at_least_one).map_or(String::new(), |lease| lease.to_string()));
            self.ask("claim", call, self.call_timeout, |value| reply::claimed(value, claim.node)).await
        })
    }

    fn renew<'a>(&'a self, names: &'a [Name], node: NodeId, lease: Duration) -> Exchange<'a, ()> {
        Box::pin(self.renew_all(names, node, lease))
    }

    fn put<'a>(&'a self, put: Put<'a>) -> Exchange<'a, Stored> {
        Box::pin(async move {
            let keys = [self.value(put.name), self.lease(put.name)];
            let call = Call::new(&self.scripts.put, keys).with(text_of(put.node)).with_bytes(put.value);
            let call = call.with(put.version.epoch).with(put.version.asked_at);
            let until = u64::try_from(put.until).unwrap_or(0).min(LARGEST);
            let call = call.with(until).with(u8::from(put.only_replace));
            self.ask("put", call, self.call_timeout, reply::stored).await
        })
    }

    fn release<'a>(&'a self, name: &'a Name, node: NodeId) -> Exchange<'a, ()> {
        Box::pin(async move {
            let call = Call::new(&self.scripts.release, [self.lease(name)]).with(text_of(node));
            self.ask("release", call, self.call_timeout, |_| Some(())).await
        })
    }

    fn delete<'a>(&'a self, name: &'a Name) -> Exchange<'a, ()> {
        Box::pin(async move {
            let key = self.value(name);
            let link = self.connections.link(&key)?;
            let mut delete = cmd("DEL");
            delete.arg(key);
            self.connections.within(self.call_timeout, &link, link.command(&delete)).await.map(drop)
        })
    }

    fn append<'a>(&'a self, append: Append<'a>) -> Exchange<'a, Appended> {
        Box::pin(async move {
            let keys = [self.log("records"), self.log("meta")];
            let call = Call::new(&self.scripts.append, keys).with_bytes(append.record).with(append.nonce);
            let call = call.with(millis(append.retention)).with(append.max_records.clamp(1, LARGEST));
            let (epoch, number) = self.ask("append", call, self.background_timeout, reply::appended).await?;
            Ok(Appended { epoch, position: Position { number, nonce: append.nonce } })
        })
    }

    fn read<'a>(&'a self, read: Read<'a>) -> Exchange<'a, Page> {
        Box::pin(async move {
            let keys = [self.log("records"), self.log("meta"), self.log("nodes")];
            self.connections.connect(&keys[0]).await?;
            let limit = read.limit.clamp(1, LARGEST);
            let call = Call::new(&self.scripts.read, keys);
            let call = match read.after {
                Some(after) => call.with(after.number.min(LARGEST)).with(after.nonce),
                None => call.with("").with(""),
            };
            let call = call.with(limit);
            let call = match &read.announce {
                Some(announce) => {
                    call.with(text_of(announce.node)).with(millis(announce.forget_after)).with_bytes(announce.settings)
                }
                None => call.with(""),
            };
            self.ask("read", call, self.background_timeout, |value| reply::page(value, read.after, limit)).await
        })
    }

    fn nodes(&self) -> Exchange<'_, Vec<Node>> {
        Box::pin(async move {
            let call = Call::new(&self.scripts.nodes, [self.log("nodes")]);
            self.ask("nodes", call, self.background_timeout, reply::nodes).await
        })
    }

    fn take_turn<'a>(&'a self, turn: Turn<'a>) -> Exchange<'a, Option<Duration>> {
        Box::pin(async move {
            let Name(name) = turn.name;
            let call = Call::new(&self.scripts.take_turn, [format!("{}:{{{name}}}:rate", self.prefix)]);
            let call = call.with(micros(turn.interval)).with(micros(turn.tolerance));
            let call = call.with(micros(turn.tolerance_of_known)).with(micros(turn.max_wait));
            let call = call.with(micros(turn.max_wait_of_known));
            self.ask("take_turn", call, self.call_timeout, |value| reply::turn(&value)).await
        })
    }

    #[cfg(feature = "dpop")]
    fn insert_once<'a>(&'a self, Name(name): &'a Name, lasts: Duration) -> Exchange<'a, bool> {
        Box::pin(async move {
            let key = format!("{}:{{{name}}}:once", self.prefix);
            let link = self.connections.link(&key)?;
            let mut set = cmd("SET");
            set.arg(key).arg("").arg("NX").arg("PX").arg(at_least_one(lasts));
            match self.connections.within(self.call_timeout, &link, link.command(&set)).await? {
                Value::Okay => Ok(true),
                Value::Nil => Ok(false),
                _ => Err(unexpected_answer("insert_once")),
            }
        })
    }
}
