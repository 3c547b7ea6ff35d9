//! A cache as a member of a fleet.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::heard::HeardInactive;
use super::{Found, Look, Settled};
use crate::build_error::BuildError;
use crate::cache::figures::CacheStats;
use crate::cache::invalidation::{Reach, Rest};
use crate::cache::key::{TokenKey, TokenKeys};
use crate::cache::store::Store;
use crate::clock::{Clock, Timestamp};
use crate::fleet::{self, Answers, CacheSettings, Fleet, LeaseClock, Member, Query, Record, Spread};
use crate::introspect::Introspect;
#[cfg(feature = "dpop")]
use crate::introspect::ProofMemory;
use crate::protection::{Authority, EndpointHandle, SharedElsewhere};
use crate::selection::{Fingerprint, Rule};
use crate::token::BearerToken;

const SHORTEST: Duration = Duration::from_secs(1);

pub(in crate::cache) struct Membership {
    fleet: Fleet,
    answers: Answers,
    /// What tokens are known by, with each secret of the fleet.
    keys: Vec<TokenKeys>,
    heard_inactive: HeardInactive,
    authority: Authority,
}

impl Membership {
    /// # Errors
    /// If the endpoint takes its turns from another fleet, or if the fleet is strict and the introspector judges alone.
    pub(in crate::cache) fn new(fleet: Fleet, cache: &str, introspector: &impl Introspect) -> Result<Self, BuildError> {
        if fleet.lease().is_some() && introspector.judges_alone().is_some() {
            return Err(BuildError::new(
                "fleet",
                "it is strict, which cannot hold where tokens are judged without asking anybody: a process that is cut \
                 off would let in what others have invalidated; take a fleet without `strict`, or ask the authority, too",
            ));
        }
        let endpoint = introspector.endpoint();
        let authority = endpoint.as_ref().map(|endpoint| endpoint.authority().clone()).unwrap_or_default();
        if let Some(endpoint) = &endpoint {
            let elsewhere = "the endpoint takes its turns from another fleet already: build one for each fleet";
            let pace = fleet.pace(&authority);
            endpoint.share_turns(&pace).map_err(|SharedElsewhere| BuildError::new("fleet", elsewhere))?;
        }
        let answers = fleet.answers(&authority, cache);
        let keys = answers.fingerprint_keys().map(|(id, (low, high))| TokenKeys::of_secret(id, low, high)).collect();
        Ok(Self { fleet, answers, keys, heard_inactive: HeardInactive::default(), authority })
    }

    /// What the cache knows tokens by, which is the same in all processes.
    pub(in crate::cache) fn token_keys(&self) -> TokenKeys {
        let first = self.answers.fingerprint_keys().next();
        first.map_or_else(TokenKeys::random, |(id, (low, high))| TokenKeys::of_secret(id, low, high))
    }

    /// The clock that judges what is remembered.
    pub(in crate::cache) fn judging(&self, clock: Arc<dyn Clock>) -> Arc<dyn Clock> {
        match self.fleet.lease() {
            Some(lease) => Arc::new(LeaseClock { clock, lease }),
            None => clock,
        }
    }

    /// Has the log applied to this cache.
    pub(in crate::cache) fn join(&self, store: &Arc<Store>) {
        let reach = store.limits.max_ttl.saturating_add(store.limits.stale_if_error);
        let reach = reach.saturating_add(store.question_timeout.saturating_mul(2));
        // A process that starts later has to hear of what another one would find out by asking.
        let reach = reach.max(store.marks.as_ref().map_or(Duration::ZERO, |marks| marks.longest_lifetime));
        let reach = u64::try_from(reach.as_millis()).unwrap_or(u64::MAX);
        let Authority { url, client, reading: _ } = self.authority.clone();
        let (name, readings) = (store.name.clone(), self.answers.reading_marks());
        let settings = CacheSettings { name, authority: [url, client], readings, reach };
        let store: Weak<Store> = Arc::downgrade(store);
        self.fleet.join(store, settings);
    }

    pub(in crate::cache) fn add_figures(&self, stats: &mut CacheStats) {
        stats.fleet = Some(self.fleet.stats());
    }

    /// Where all processes note which proofs of possession were used.
    #[cfg(feature = "dpop")]
    pub(in crate::cache) fn proof_memory(&self) -> Option<ProofMemory> {
        Some(self.fleet.proof_memory())
    }

    /// What `token` is known by, whichever secret comes first.
    pub(in crate::cache) fn fingerprints(&self, token: &BearerToken) -> Vec<Fingerprint> {
        self.keys.iter().map(|keys| keys.fingerprint(token)).collect()
    }

    /// Looks for an answer that serves here. One that takes the place of an answer that serves still, in a refresh, has
    /// to be notably younger.
    pub(in crate::cache) async fn look(
        &self,
        store: &Store,
        key: TokenKey,
        token: &BearerToken<'_>,
        is_refresh: bool,
    ) -> Look {
        self.fleet.follow();
        let max_age = store.limits.max_age(key.chance(), is_refresh);
        if max_age.is_zero() {
            return Look::Ask(Question(None), None);
        }
        let found = |found: &fleet::Found| {
            // The clock first: what passes between the two makes it older.
            let now = store.clock.now();
            Found { verdict: found.verdict.clone(), asked_at: found.asked_at(now) }
        };
        let serves = |of: &fleet::Found| {
            let Found { verdict, asked_at } = found(of);
            store.serves(&verdict, asked_at, store.clock.now())
                && !store.has_heard_since(key, asked_at)
                && !self.heard_inactive.since(key, asked_at)
        };
        // As long as a question of its own may take.
        let patience = store.endpoint.as_ref().map_or(store.question_timeout, EndpointHandle::deadline);
        let query = Query { token, key: key.halves(), max_age, serves: &serves, patience, clock: &*store.clock };
        match self.answers.look(query).await {
            fleet::Look::Found(of) => Look::Found(found(&of)),
            fleet::Look::Ask(mut question) => {
                let older = question.older.take().filter(|older| older.verdict.is_active());
                Look::Ask(Question(Some(question)), older.as_ref().map(found))
            }
        }
    }

    /// Has all processes forget what `rule` means, which is about `token` alone if there is one, and hold it against
    /// tokens from that `moment` on if there is one.
    pub(in crate::cache) fn invalidate(
        &self,
        rule: &Rule,
        token: Option<&BearerToken>,
        moment: Option<Timestamp>,
    ) -> Rest {
        let spread = self.fleet.invalidate(&self.answers, rule.clone(), token, moment);
        Box::pin(async move {
            match spread.await {
                Spread::Queued => Reach::Queued,
                Spread::Recorded => Reach::Recorded,
                Spread::Everywhere => Reach::Everywhere,
            }
        })
    }

    /// Tells the others of an answer, and of one that takes an answer away which they may have.
    pub(in crate::cache) async fn settle(
        &self,
        store: &Store,
        question: Question,
        token: &BearerToken<'_>,
        settled: Settled,
    ) {
        let Some(question) = question.0 else { return };
        let Settled { answer, asked_at, was_active } = settled;
        let Ok(verdict) = answer else { return question.give_up().await };
        if !verdict.is_active() {
            self.heard_inactive.add(store.key_of(token), asked_at);
        }
        let mut lasts = store.limits.lasts(&verdict, asked_at, store.clock.now());
        if !verdict.is_active() {
            // However short it serves, it takes the place of an active one.
            lasts = lasts.max(SHORTEST);
        }
        let others_may_have_one = question.share(&verdict, lasts).await;
        if !verdict.is_active() && (others_may_have_one || was_active) {
            self.fleet.found_inactive(&self.answers, Rule::of_token(self.fingerprints(token)));
        }
    }
}

/// A question that this process asks; for others too, unless they have nothing to do with it.
pub(in crate::cache) struct Question(Option<fleet::Question>);

impl Question {
    /// Lets the others know meanwhile that the question is asked.
    pub(in crate::cache) async fn during<A: Future>(&self, asking: A) -> A::Output {
        match &self.0 {
            Some(question) => question.during(asking).await,
            None => asking.await,
        }
    }
}

impl Member for Store {
    fn apply(&self, records: &[Arc<Record>]) {
        let of_this_cache = |record: &&Arc<Record>| record.cache.as_ref().is_none_or(|cache| *cache == self.name);
        let (found_inactive, invalidated): (Vec<_>, Vec<_>) =
            records.iter().filter(of_this_cache).partition(|record| record.found_inactive);
        for record in found_inactive {
            self.forget_active_of(&record.rule);
        }
        for record in invalidated.iter().filter(|record| record.leaves_mark) {
            self.leave_mark(&record.rule, Timestamp::from_unix_millis(record.moment));
        }
        let rules: Vec<Rule> = invalidated.into_iter().map(|record| record.rule.clone()).collect();
        if !rules.is_empty() {
            self.forget_rules(&rules);
        }
    }

    fn has_lost(&self, moment: i64) {
        self.leave_mark(&Rule::all(), Timestamp::from_unix_millis(moment));
    }

    fn has_gap(&self, is_strict: bool) {
        if is_strict {
            self.forget_rule(&Rule::all());
        } else {
            self.ask_again_soon();
        }
    }
}
