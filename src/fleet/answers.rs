//! The answers that a fleet shares, as one cache of one process sees them.
//!
//! ```text
//! look    claim: one exchange with the engine, within 25 ms
//!    │  a value    opened; trusted by the log; young enough for this cache ──▶ Found
//!    │  ours       this process asks; others wait for it                    ──▶ Ask, with a lease
//!    │  another's  looks again after 5 to 50 ms, until there is a value; its process may die: the lease ends then
//!    ▼  no engine  this process asks for itself                             ──▶ Ask, alone
//! Ask     the question is asked, and the lease kept up meanwhile
//!    ▼
//! put     the answer, as of the records that had been applied before the question left
//! ```
//!
//! No failure of the engine is a failure of the request: whatever goes wrong, it asks for itself.

use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::engine::{CLOCK_TOLERANCE, Claim, EngineError, Header, Lease, Name, NodeId, Version};
use super::figures::Counted;
use super::keys::{Identity, Which};
use super::log::Subject;
use super::node::{LOOK_TIME, Node};
use super::question::{Found, LEASE, Question, Since};
use super::seal::Unreadable;
use super::trouble::Call;
use super::value;
use crate::clock::{Clock, Stopwatch};
use crate::introspect::Verdict;
use crate::random::random;
use crate::token::BearerToken;

/// From one look for the answer of another process to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The answers that the caches of one name share, of one authority that is asked as one client.
pub(crate) struct Answers {
    pub(super) node: Arc<Node>,
    pub(super) identity: Identity,
    pub(super) key_id: u64,
}

/// What is looked for.
pub(crate) struct Query<'a> {
    pub(crate) token: &'a BearerToken<'a>,
    /// What the cache knows the token by.
    pub(crate) key: [u64; 2],
    /// What was asked longer ago than this is asked anew.
    pub(crate) max_age: Duration,
    /// Whether an answer of that age serves in this cache.
    pub(crate) serves: &'a (dyn Fn(&Found) -> bool + Send + Sync),
    /// How long to wait for the question of another process.
    pub(crate) patience: Duration,
    pub(crate) clock: &'a dyn Clock,
}

pub(crate) enum Look {
    Found(Found),
    Ask(Question),
}

/// What a claim came to.
enum Step {
    Serves(Found),
    /// The engine took it for one that serves, and does not know what this process knows.
    Refused(Version),
    Ours,
    Of(NodeId, Duration),
}

/// What a claim is for, and how much of [`LOOK_TIME`] is left for it.
struct Wanted {
    max_age: Duration,
    newer_than: Option<Version>,
    time_left: Duration,
    /// A value that is not trusted has been met, and counted.
    met_outdated: bool,
}

impl Answers {
    pub(super) fn new(node: Arc<Node>, identity: Identity) -> Self {
        // There is a first one.
        let key_id = node.keys.ids().next().unwrap_or_default();
        Self { node, identity, key_id }
    }

    pub(super) fn cache(&self) -> &str {
        &self.identity.cache
    }

    /// The secrets by which caches know tokens, each with its id; this process uses the first.
    pub(crate) fn fingerprint_keys(&self) -> impl Iterator<Item = (u64, (u64, u64))> {
        let keys = &self.node.keys;
        keys.ids().filter_map(|id| Some((id, keys.fingerprint_keys(id, &self.identity)?)))
    }

    /// How the authority is asked and its answers are read, as other processes can compare it, by each secret.
    pub(crate) fn reading_marks(&self) -> Vec<String> {
        self.node.keys.which().map(|which| self.node.keys.reading_mark(which, &self.identity)).collect()
    }

    pub(crate) async fn look(&self, query: Query<'_>) -> Look {
        let name = self.name(Which::First, query.token);
        let second_name = self.second_name(query.token);
        let node = Arc::clone(&self.node);
        let mut question = Question { node, name, second_name, since: None, has_lease: false, older: None };
        let found = self.find(&query, &mut question).await;
        let Some(found) = found else {
            self.node.figures.count(Counted::Miss);
            return Look::Ask(question);
        };
        self.node.figures.count(Counted::Hit);
        Look::Found(found)
    }

    /// `None` if this process is to ask, alone or with the lease.
    async fn find(&self, query: &Query<'_>, question: &mut Question) -> Option<Found> {
        let mut wanted = Wanted { max_age: query.max_age, newer_than: None, time_left: LOOK_TIME, met_outdated: false };
        let access = &self.node.access;
        if access.is_about_to_begin() && wanted.spends(access.first_read()).await.is_none() {
            // A process that has just begun waits, since what it would ask for is there already, most likely; one whose
            // engine does not answer waits once.
            access.begins();
            return None;
        }
        let mut step = self.claim(query, &mut wanted, question).await?;
        if let Step::Refused(version) = step {
            wanted.newer_than = Some(version);
            step = self.claim(query, &mut wanted, question).await?;
        }
        match step {
            Step::Serves(found) => Some(found),
            Step::Refused(_) => None,
            Step::Ours => self.find_under_the_second_name(query, &mut wanted, question).await,
            Step::Of(other, left) => self.wait_for(other, left, query, wanted, question).await,
        }
    }

    /// Looks until the other process has answered, or can be expected to never do so.
    async fn wait_for(
        &self,
        mut other: NodeId,
        mut left: Duration,
        query: &Query<'_>,
        mut wanted: Wanted,
        question: &mut Question,
    ) -> Option<Found> {
        self.node.figures.count(Counted::Wait);
        let waits = Stopwatch::start();
        let mut pause = FIRST_PAUSE;
        while waits.elapsed() < query.patience {
            let looked = Stopwatch::start();
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            wanted.time_left = LOOK_TIME;
            match self.claim(query, &mut wanted, question).await? {
                Step::Serves(found) => return Some(found),
                // It died, or has given up, or has found what it needs under the other name.
                Step::Ours => return self.find_under_the_second_name(query, &mut wanted, question).await,
                // Its answer is one that does not serve here.
                Step::Refused(_) => return None,
                Step::Of(next, its) => {
                    // Whoever gave the lease up had no answer to share. To wait for the next one, who may have none
                    // either, could take for ever; where the lease ended by itself, that one is the first to ask.
                    if next != other && looked.elapsed() < left {
                        return None;
                    }
                    (other, left) = (next, its);
                }
            }
        }
        None
    }

    /// While the secret is changed, others may write with the other one.
    async fn find_under_the_second_name(
        &self,
        query: &Query<'_>,
        wanted: &mut Wanted,
        question: &mut Question,
    ) -> Option<Found> {
        let name = question.second_name.clone()?;
        let Step::Serves(found) = self.claim_under(&name, None, query, wanted, &mut question.older).await?.1 else {
            return None;
        };
        // The lease ends by itself, too.
        let _ = wanted.spends(self.node.engine.release(&question.name, self.node.id)).await;
        Some(found)
    }

    async fn claim(&self, query: &Query<'_>, wanted: &mut Wanted, question: &mut Question) -> Option<Step> {
        let (since, step) = self.claim_under(&question.name, Some(LEASE), query, wanted, &mut question.older).await?;
        question.since = Some(since);
        question.has_lease = matches!(step, Step::Ours);
        Some(step)
    }

    /// One exchange with the engine. `None` if it is not there.
    async fn claim_under(
        &self,
        name: &Name,
        lease: Option<Duration>,
        query: &Query<'_>,
        wanted: &mut Wanted,
        older: &mut Option<Found>,
    ) -> Option<(Since, Step)> {
        let node = &self.node;
        *older = None;
        let sent_at = query.clock.now();
        if !node.access.is_open() || node.lease.as_ref().is_some_and(|lease| !lease.holds_at(node.clock.now())) {
            return None;
        }
        // Before the claim, and so before the question.
        let (epoch, as_of) = node.log.as_of()?;
        let Wanted { max_age, newer_than, .. } = *wanted;
        let sent = Stopwatch::start();
        let claim = node.engine.claim(Claim { name, node: node.id, epoch, max_age, newer_than, lease });
        let claimed = wanted.spends(claim).await.unwrap_or_else(|| Err(EngineError::too_slow()));
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                node.call_failed(Call::Claim, &error);
                return None;
            }
        };
        node.call_succeeded(Call::Claim);
        if node.engine_clock.has_gone_back(claimed.now, &sent) {
            // Nobody can say how old anything is.
            return None;
        }
        let mut since = Since { epoch, as_of, claimed_at: claimed.now, claimed: Stopwatch::start(), is_active: None };
        let step = match claimed.lease {
            Lease::Ours => Step::Ours,
            Lease::Of(other, left) => Step::Of(other, left),
            Lease::NotNeeded => Step::Refused(Version { epoch, asked_at: claimed.now }),
        };
        let Some(value) = claimed.value else { return Some((since, step)) };
        let Some((header, verdict)) = self.open(name, &value) else {
            // Its header may be newer than that of any answer, and would keep all of them out.
            let _ = wanted.spends(node.engine.delete(name)).await;
            return Some((since, step));
        };
        since.is_active = Some(verdict.is_active());
        let subject = Subject { cache: &self.identity.cache, key_id: self.key_id, key: query.key };
        let refused = if claimed.lease == Lease::NotNeeded { Step::Refused(header.version) } else { step };
        if node.log.distrusts(&header, subject, &verdict).is_some() || node.outbox.distrusts(subject, &verdict) {
            if !mem::replace(&mut wanted.met_outdated, true) {
                node.figures.count(Counted::Outdated);
            }
            return Some((since, refused));
        }
        // By the engine's clock, with what it may have gone back on the safe side. It was read after the claim left.
        let age = claimed.now.saturating_sub(header.version.asked_at).saturating_add(CLOCK_TOLERANCE);
        let Ok(age) = u64::try_from(age) else { return Some((since, refused)) };
        let found = Found { verdict, age: Duration::from_millis(age), sent, sent_at };
        if claimed.lease == Lease::NotNeeded && (query.serves)(&found) {
            return Some((since, Step::Serves(found)));
        }
        *older = Some(found);
        Some((since, refused))
    }

    fn open(&self, name: &Name, value: &[u8]) -> Option<(Header, Verdict)> {
        let opened = self.node.keys.open_value(name, value);
        // What is sealed and not understood is of another release.
        let opened = opened.and_then(|(header, bytes)| {
            value::decode(&bytes).map(|verdict| (header, verdict)).ok_or(Unreadable::OtherVersion)
        });
        opened.inspect_err(|why| self.node.unreadable("an answer", *why)).ok()
    }

    pub(super) fn names(&self, token: &BearerToken) -> Vec<Name> {
        self.node.keys.which().map(|which| self.name(which, token)).collect()
    }

    fn second_name(&self, token: &BearerToken) -> Option<Name> {
        let second = self.node.keys.which().find(|which| *which == Which::Second)?;
        Some(self.name(second, token))
    }

    fn name(&self, which: Which, token: &BearerToken) -> Name {
        self.node.keys.name(which, &self.identity, token.as_bytes())
    }
}

impl Wanted {
    /// `None` if the time for the engine is over first.
    async fn spends<T>(&mut self, call: impl Future<Output = T>) -> Option<T> {
        let spent = Stopwatch::start();
        let outcome = tokio::time::timeout(self.time_left, call).await.ok();
        self.time_left = self.time_left.saturating_sub(spent.elapsed());
        outcome
    }
}

/// Half of it at least, so that those who wait do not come all at once.
fn jittered(pause: Duration) -> Duration {
    let part = f64::from(u32::try_from(random() % 500).unwrap_or_default()) / 1_000.0;
    pause.mul_f64(0.5 + part)
}
