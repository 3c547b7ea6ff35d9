//! Configuring a fleet.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Fleet;
use super::engine::memory::MemoryEngine;
use super::engine::redis::{RedisEngine, RedisOptions};
use super::engine::{Engine, NodeId};
use super::keys::Keyring;
use super::node::Node;
use super::secret::FleetSecret;
use crate::background::Owner;
use crate::build_error::BuildError;
use crate::clock::{Clock, SystemClock};
use crate::random::random;

/// The shortest lease: a process reads the log ten times a second, and one slow read must not end it.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// Configures a [`Fleet`]. Made by [`Fleet::redis`] and [`Fleet::in_memory`].
#[must_use]
pub struct FleetBuilder {
    place: Place,
    name: String,
    secret: FleetSecret,
    second_secret: Option<FleetSecret>,
    strict: Option<Duration>,
    root_certificate: Option<Vec<u8>>,
    clock: Arc<dyn Clock>,
}

/// Where the engine is.
enum Place {
    Redis(String),
    Memory(MemoryEngine),
}

impl Fleet {
    /// A fleet that shares on Redis or Valkey.
    ///
    /// `address` is one of these, each with `rediss` for `redis` where it is TLS. User name and password are
    /// percent-encoded; the port is 6379, of a Sentinel 26379, unless another is given.
    ///
    /// * `redis://user:password@host:6379/0`: one server, and the number of the database.
    /// * `redis+sentinel://user:password@host-1,host-2,host-3/master-name/0`: the master of that name, which these
    ///   Sentinels know. They are asked without a password, unless `?sentinel_password=` is at the end.
    /// * `redis+cluster://user:password@host-1,host-2`: a cluster, by some of its servers.
    ///
    /// `name` stands before the names of all keys, so that an ACL can tell them (`~orders:*`), and so that several
    /// fleets can share a server: 1 to 64 letters, digits, `-`, `_` and `.`.
    ///
    /// All processes of a fleet have the same `name` and `secret`. The
    /// [guide](crate::guide::fleet#redis-and-valkey) says how to set up the server: permissions, eviction, memory.
    ///
    /// ```
    /// use tower_introspection::fleet::{Fleet, FleetSecret};
    ///
    /// # let from_the_environment = "bm90IGEgc2VjcmV0LCBidXQgYW4gZXhhbXBsZSBvZiBvbmU=";
    /// let secret = FleetSecret::from_base64(from_the_environment)?;
    /// let fleet = Fleet::redis("rediss://orders:password@redis.example.com", "orders", secret).build()?;
    /// # Ok::<(), tower_introspection::BuildError>(())
    /// ```
    pub fn redis(address: impl Into<String>, name: impl Into<String>, secret: FleetSecret) -> FleetBuilder {
        FleetBuilder::new(Place::Redis(address.into()), name.into(), secret)
    }

    /// A fleet whose members are in this process: for tests.
    pub fn in_memory(engine: &MemoryEngine, name: impl Into<String>, secret: FleetSecret) -> FleetBuilder {
        FleetBuilder::new(Place::Memory(engine.clone()), name.into(), secret)
    }
}

impl FleetBuilder {
    fn new(place: Place, name: String, secret: FleetSecret) -> Self {
        Self {
            place,
            name,
            secret,
            second_secret: None,
            strict: None,
            root_certificate: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// A second secret, with which nothing is written and all can be read. To change the secret while the fleet serves,
    /// restart the processes one after the other, three times: with the new one as the second; with the new one as the
    /// first and the old one as the second; without the old one. The [guide](crate::guide::fleet#changing-the-secret)
    /// says what to wait for in between. Default: none.
    pub fn second_secret(mut self, secret: FleetSecret) -> Self {
        self.second_secret = Some(secret);
        self
    }

    /// A strict fleet: a process that has not read the log for this long serves nothing from memory, but asks about
    /// each request, and an awaited [`invalidate`](crate::CacheHandle::invalidate) waits until every process has read
    /// it or its lease is over. Then no process serves the token from memory any more. The price: while the engine is
    /// away, each request asks the authority, or waits for a question that was asked after it came, and
    /// [`stale_if_error`](crate::cache::CachedBuilder::stale_if_error) does nothing. At least a second, and the same in
    /// all processes. Default: not strict.
    pub fn strict(mut self, lease: Duration) -> Self {
        self.strict = Some(lease);
        self
    }

    /// The certificate of the authority that issued the certificate of the engine, in PEM; it may be several. They are
    /// trusted besides those of the operating system. Only of use with TLS. Default: none.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// The clock that a strict lease looks at besides the monotonic one, for machines that were suspended. Default:
    /// [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks every setting. Connects to nothing yet: within a Tokio runtime that begins when a cache joins, else with
    /// the first question. Whether the engine can be reached, [`Fleet::stats`] and the log tell.
    ///
    /// # Errors
    /// If the address, the name, the certificate or the lease cannot work, or both secrets are the same. The error
    /// names `address`, `name`, `root_certificate`, `strict` or `second_secret`.
    pub fn build(self) -> Result<Fleet, BuildError> {
        let is_in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(is_in_name) {
            let problem = format!("{:?} is not 1 to 64 letters, digits, `-`, `_` and `.`", self.name);
            return Err(BuildError::new("name", problem));
        }
        if self.strict.is_some_and(|lease| lease < SHORTEST_LEASE) {
            return Err(BuildError::new("strict", "a lease of less than a second would end with one slow read"));
        }
        let keys = Keyring::new(&self.name, &self.secret, self.second_secret.as_ref())?;
        let engine: Arc<dyn Engine> = match self.place {
            Place::Redis(address) => {
                let root_certificates = self.root_certificate.into_iter().collect();
                let options = RedisOptions { root_certificates, ..RedisOptions::default() };
                Arc::new(RedisEngine::new(&address, &self.name, &options)?)
            }
            Place::Memory(engine) => Arc::new(engine.of_fleet(&self.name)),
        };
        let id = NodeId(u128::from(random()) << 64 | u128::from(random()));
        let node = Node::new(id, self.name, engine, keys, self.strict, self.clock);
        Ok(Fleet { node: Arc::new(node), owner: Owner::default() })
    }
}

impl fmt::Debug for FleetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // The address may hold a password.
        let Self { name, strict, .. } = self;
        f.debug_struct("FleetBuilder").field("name", name).field("strict", strict).finish_non_exhaustive()
    }
}
