//! One memory for a fleet: all processes that guard one service share answers, and hear of revocations, through an
//! engine (feature `redis`).
//!
//! [Several processes](crate::guide::fleet) is the chapter about it in the guide: when to use it, what holds when
//! something fails, what the secret is worth, and how to set up Redis.
//!
//! ```text
//! builder     Fleet::redis or Fleet::in_memory; checks the settings, connects to nothing
//!    ▼
//! Fleet       this process as a member: `CachedBuilder::fleet` has a cache join
//!    │  a miss         asks the engine first, in one exchange: an answer, or who is to ask the authority
//!    │  an answer      is sealed and stored with the time of its question and its position in the log
//!    │  an invalidation is appended to the log; until then it waits in this process
//!    ▼
//! engine      Redis, Valkey, or a `MemoryEngine`: answers under keyed names, one log, the turns of rate limits
//!    ▲
//!    │  the log is read ten times a second and applied to the caches; requests use the engine while it is
//! other members
//! ```

mod access;
mod answers;
mod beginning;
mod builder;
pub(crate) mod engine;
mod engine_clock;
mod figures;
mod follow;
mod invalidate;
pub(crate) mod keys;
mod lease;
mod log;
mod node;
mod outbox;
pub(crate) mod pace;
#[cfg(feature = "dpop")]
mod proofs;
mod question;
pub(crate) mod record;
pub(crate) mod seal;
mod secret;
mod settings;
mod trouble;
pub(crate) mod value;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};

pub use builder::FleetBuilder;
pub use engine::EngineErrorKind;
pub use engine::memory::MemoryEngine;
pub use figures::FleetStats;
pub use seal::Unreadable;
pub use secret::FleetSecret;

pub(crate) use answers::{Answers, Look, Query};
pub(crate) use figures::Counted;
pub(crate) use invalidate::Spread;
pub(crate) use lease::{Lease, LeaseClock};
pub(crate) use node::Member;
pub(crate) use question::{Found, Question};
pub(crate) use record::Record;
pub(crate) use settings::CacheSettings;

use self::keys::Identity;
use self::node::Node;
#[cfg(feature = "dpop")]
use self::proofs::Proofs;
use crate::background::Owner;
use crate::clock::Timestamp;
#[cfg(feature = "dpop")]
use crate::introspect::ProofMemory;
use crate::protection::{Authority, SharedPace};
use crate::selection::Rule;
use crate::token::BearerToken;

/// All processes that guard one service, as one of them sees them.
///
/// Given to [`CachedBuilder::fleet`](crate::cache::CachedBuilder::fleet). Clones are the same member of the fleet:
/// several caches of a process share one. It reads the fleet's log in a task of its own, on the Tokio runtime on which
/// the first cache joined or asked, until the last clone is gone, those in caches included.
///
/// Two processes, as a test has them; in production they have [`Fleet::redis`] in place of [`Fleet::in_memory`]:
///
/// ```
/// use tower_introspection::cache::Reach;
/// use tower_introspection::fleet::{Fleet, FleetSecret, MemoryEngine};
/// use tower_introspection::introspect::Ask;
/// use tower_introspection::{AccessToken, BearerToken, Cached, Introspect, Verdict, introspect_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = MemoryEngine::new();
/// let secret = FleetSecret::from_bytes("a secret of a test, no random bytes")?;
/// let fleet = || Fleet::in_memory(&engine, "orders", secret.clone()).build();
/// let (one, other) = (fleet()?, fleet()?);
/// let authority = || introspect_fn(|_| async { Ok(Verdict::Active(AccessToken::builder().build())) });
/// let first = Cached::builder(authority()).fleet(&one).build()?;
/// let second = Cached::builder(authority()).fleet(&other).build()?;
///
/// let token = BearerToken::parse("25poPXCPOw43s0hJBn6tQYnUb5KF")?;
/// first.introspect(Ask::new(&token)).await?;
/// second.introspect(Ask::new(&token)).await?;
/// // The first one has asked the authority, and the second one has not.
/// assert_eq!((one.stats().misses, other.stats().hits), (1, 1));
///
/// assert_eq!(second.handle().invalidate(&token).await, Reach::Recorded);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Fleet {
    node: Arc<Node>,
    /// Ends the tasks when the last clone is gone.
    owner: Owner,
}

impl Fleet {
    /// The figures of the fleet, as this process sees it.
    #[must_use]
    pub fn stats(&self) -> FleetStats {
        self.node.stats()
    }

    /// Whether the engine can be reached: its log was read within the last second. For an alert, and for no probe:
    /// while it cannot, this process goes on by itself, and asks as it would without a fleet.
    ///
    /// So [`CacheHandle::health`](crate::CacheHandle::health) is about the authority alone, whatever the engine does.
    /// In a [strict](FleetBuilder::strict) fleet without its lease each request asks the authority, whose limits it may
    /// reach then: that shows in the health.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.node.access.is_reading()
    }

    /// Reads the log, unless that is done already, wherever there is a runtime.
    pub(crate) fn follow(&self) {
        follow::start(&self.node, &self.owner);
    }

    /// The answers that the caches of this name share, which ask the same authority as the same client, and read what
    /// it says in the same way.
    pub(crate) fn answers(&self, authority: &Authority, cache: &str) -> Answers {
        let Authority { url, client, reading } = authority;
        let identity = Identity {
            authority: vec![url.clone()],
            client: vec![client.clone()],
            cache: cache.to_owned(),
            reading: reading.as_str().to_owned(),
        };
        Answers::new(Arc::clone(&self.node), identity)
    }

    /// The turns of an authority, for all processes, however they read what it says.
    pub(crate) fn pace(&self, authority: &Authority) -> Arc<dyn SharedPace> {
        self.node.pace([authority.url.clone(), authority.client.clone()])
    }

    /// A cache of this process takes part.
    pub(crate) fn join(&self, member: Weak<dyn Member>, settings: CacheSettings) {
        self.node.join(member, settings);
        self.follow();
    }

    /// Has all processes forget what `rule` means, which is about `token` alone if there is one, and hold it against
    /// tokens that were issued up to `mark` if there is one. This process has to do so itself, after this call. What is
    /// returned tells how far it got, and need not be polled.
    pub(crate) fn invalidate(
        &self,
        answers: &Answers,
        rule: Rule,
        token: Option<&BearerToken>,
        mark: Option<Timestamp>,
    ) -> impl Future<Output = Spread> + Send + use<> {
        let names = token.map(|token| answers.names(token)).unwrap_or_default();
        let stage = self.node.invalidate(answers.cache(), rule, mark, names);
        self.follow();
        Arc::clone(&self.node).spread(stage)
    }

    /// Tells all processes that the authority said no of a token that they may hold.
    pub(crate) fn found_inactive(&self, answers: &Answers, rule: Rule) {
        self.node.found_inactive(answers.cache(), rule);
    }

    /// Where all processes note which proofs of possession were used.
    #[cfg(feature = "dpop")]
    pub(crate) fn proof_memory(&self) -> ProofMemory {
        ProofMemory::new(Arc::new(Proofs(Arc::downgrade(&self.node))))
    }

    /// The strict lease, if the fleet is strict.
    pub(crate) fn lease(&self) -> Option<Arc<Lease>> {
        self.node.lease.clone()
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Fleet").field("name", &self.node.fleet).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
