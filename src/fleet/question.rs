//! A question that a process of a fleet asks the authority: it keeps the lease meanwhile, and shares the answer.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::engine::{EngineTime, Epoch, Header, Name, Put, Version};
use super::figures::Counted;
use super::node::Node;
use super::trouble::Call;
use super::value;
use crate::clock::{Stopwatch, Timestamp};
use crate::introspect::Verdict;

/// A lease is that long, and prolonged that often while the question is under way: a process that dies is missed soon,
/// and one that is only slow keeps it.
pub(super) const LEASE: Duration = Duration::from_millis(250);
const RENEWED_EVERY: Duration = Duration::from_millis(80);

/// An answer that a process of the fleet got.
pub(crate) struct Found {
    pub(crate) verdict: Verdict,
    /// How old it was when the claim was sent, at most.
    pub(super) age: Duration,
    pub(super) sent: Stopwatch,
    pub(super) sent_at: Timestamp,
}

impl Found {
    /// When it was asked for, by the clock of whoever looks, at the latest: however long this process was held up
    /// since, and whatever clock stood still meanwhile.
    pub(crate) fn asked_at(&self, now: Timestamp) -> Timestamp {
        (now - self.age.saturating_add(self.sent.elapsed())).min(self.sent_at - self.age)
    }
}

/// A question that this process is to ask.
pub(crate) struct Question {
    pub(super) node: Arc<Node>,
    pub(super) name: Name,
    /// While the secret is changed.
    pub(super) second_name: Option<Name>,
    /// `None` if the engine is not there: then the answer is not shared.
    pub(super) since: Option<Since>,
    pub(super) has_lease: bool,
    /// What is stored though it no longer serves. It may have to, if the authority fails.
    pub(crate) older: Option<Found>,
}

/// From when on an answer counts.
pub(super) struct Since {
    pub(super) epoch: Epoch,
    pub(super) as_of: u64,
    pub(super) claimed_at: EngineTime,
    pub(super) claimed: Stopwatch,
    /// Whether the answer that was stored then is an active one, if it can be told.
    pub(super) is_active: Option<bool>,
}

impl Since {
    /// Not later than now, by the engine's clock.
    fn now(&self) -> EngineTime {
        let passed = i64::try_from(self.claimed.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.claimed_at.saturating_add(passed)
    }
}

impl Question {
    /// Keeps the lease up while the question is asked.
    pub(crate) async fn during<A: Future>(&self, asking: A) -> A::Output {
        let mut asking = pin!(asking);
        let mut renewing = pin!(self.renew());
        poll_fn(|context| {
            if let Poll::Ready(answer) = asking.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            // It never ends.
            let _ = renewing.as_mut().poll(context);
            Poll::Pending
        })
        .await
    }

    async fn renew(&self) {
        while self.has_lease && self.node.access.is_open() {
            tokio::time::sleep(RENEWED_EVERY).await;
            let names = std::slice::from_ref(&self.name);
            if self.node.engine.renew(names, self.node.id, LEASE).await.is_err() {
                break;
            }
        }
        pending::<()>().await;
    }

    /// Shares the answer for as long as it may `last`, and gives up the lease. Tells whether others may have taken an
    /// active one from the engine. Not by an inactive one that was there when the question got its lease: whoever put
    /// that there has told all.
    ///
    /// An inactive answer only takes the place of one that is there: nobody can fill the engine with junk.
    pub(crate) async fn share(self, verdict: &Verdict, lasts: Duration) -> bool {
        let Some(since) = &self.since else { return false };
        let was_active = since.is_active == Some(true);
        if !self.node.access.is_open() {
            return was_active;
        }
        let version = Version { epoch: since.epoch, asked_at: since.claimed_at };
        // The key id is put in by whoever seals.
        let header = Header { key_id: 0, version, as_of: since.as_of };
        let Some(value) = self.node.keys.seal_value(&self.name, header, &value::encode(verdict)) else {
            self.give_up().await;
            return was_active;
        };
        let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        let put = self.node.engine.put(Put {
            name: &self.name,
            node: self.node.id,
            value: &value,
            version,
            until: since.now().saturating_add(lasts),
            only_replace: !verdict.is_active(),
        });
        let outcome = put.await;
        if let Some(second) = &self.second_name
            && !verdict.is_active()
        {
            // What is there under the other secret's name may be active. It is old, whatever comes of this.
            let _ = self.node.engine.delete(second).await;
        }
        match outcome {
            Ok(stored) => {
                self.node.call_succeeded(Call::Put);
                if stored.is_stored {
                    self.node.figures.count(Counted::Stored);
                }
                let was_inactive = self.has_lease && since.is_active == Some(false);
                stored.had_value && !was_inactive
            }
            Err(error) => {
                self.node.call_failed(Call::Put, &error);
                // It may be stored all the same, and then nobody sees any more that it took the place of an active one.
                was_active
            }
        }
    }

    /// There is no answer: whoever waits for it is to ask for itself.
    pub(crate) async fn give_up(self) {
        if self.has_lease && self.node.access.is_open() {
            // It ends by itself, too.
            let _ = self.node.engine.release(&self.name, self.node.id).await;
        }
    }
}
