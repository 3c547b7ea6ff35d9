//! At most one question per token under way, detached from whoever asked.
//!
//! A request that finds no answer *boards* the token's flight. The first one on board gets the [`Flight`] and hands it to a
//! task of its own; everyone, the first included, only holds a [`Passenger`] and may leave at any time. The flight ends in
//! one of two ways: it *lands*, which remembers the answer and frees the slot in one step, or it is dropped (its task
//! panicked, its runtime went away), which frees the slot and tells whoever still waits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::key::{TokenKey, UniformState};
use crate::clock::Timestamp;
use crate::introspect::{IntrospectError, IntrospectErrorKind, Verdict};
use crate::token::AccessToken;

pub(super) type Answer = Result<Verdict, IntrospectError>;

/// Whether a token is one of those that are to be forgotten.
pub(super) type Predicate = Arc<dyn Fn(&AccessToken) -> bool + Send + Sync>;

/// How many predicates a question under way remembers. One more, and its answer counts as invalidated whatever it is.
const MAX_PREDICATES: usize = 16;

/// An answer and when it was asked for.
type Landed = (Answer, Timestamp);

pub(super) struct Flights {
    slots: Mutex<HashMap<TokenKey, Slot, UniformState>>,
    limit: usize,
}

struct Slot {
    landed: watch::Receiver<Option<Landed>>,
    invalidation: Invalidation,
}

/// What was invalidated since the question now under way was asked: its answer may be older than that.
#[derive(Default)]
struct Invalidation {
    whatever_it_is: bool,
    predicates: Vec<Predicate>,
}

impl Invalidation {
    /// A failure is never stale, since it is never kept.
    fn covers(&self, answer: &Answer) -> bool {
        match answer {
            Err(_) => false,
            Ok(Verdict::Inactive(_)) => self.whatever_it_is,
            Ok(Verdict::Active(token)) => {
                self.whatever_it_is || self.predicates.iter().any(|predicate| predicate(token))
            }
        }
    }

    fn add(&mut self, predicate: &Predicate) {
        if self.predicates.len() < MAX_PREDICATES {
            self.predicates.push(Arc::clone(predicate));
        } else {
            self.whatever_it_is = true;
        }
    }
}

/// What became of a request that found no answer.
pub(super) enum Boarding {
    /// An answer landed between the request's look into the cache and now.
    Known(Verdict),
    /// The question is under way already.
    Joined(Passenger),
    /// The question is to be asked, by whoever holds the [`Flight`].
    Started(Passenger, Flight),
    /// Too many questions are under way.
    Full,
}

impl Flights {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { slots: Mutex::default(), limit })
    }

    /// Boards the flight of `key`. `known` looks into the cache once more, while no flight can land.
    pub(super) fn board(self: &Arc<Self>, key: TokenKey, known: impl FnOnce() -> Option<Verdict>) -> Boarding {
        let mut slots = self.slots();
        let under_way = slots.len();
        let vacant = match slots.entry(key) {
            Entry::Occupied(slot) => return Boarding::Joined(Passenger(slot.get().landed.clone())),
            Entry::Vacant(vacant) => vacant,
        };
        if let Some(verdict) = known() {
            return Boarding::Known(verdict);
        }
        if under_way >= self.limit {
            return Boarding::Full;
        }
        let (sender, landed) = watch::channel(None);
        vacant.insert(Slot { landed: landed.clone(), invalidation: Invalidation::default() });
        Boarding::Started(Passenger(landed), Flight { flights: Arc::clone(self), key, landing: Some(sender) })
    }

    /// Keeps the answer now under way for `key` from being used, so that it is asked for again.
    pub(super) fn invalidate(&self, key: TokenKey) {
        if let Some(slot) = self.slots().get_mut(&key) {
            slot.invalidation.whatever_it_is = true;
        }
    }

    /// The same for every question under way.
    pub(super) fn invalidate_all(&self) {
        self.slots().values_mut().for_each(|slot| slot.invalidation.whatever_it_is = true);
    }

    /// The same for every question whose answer turns out to be an active token of which `predicate` is true.
    pub(super) fn invalidate_where(&self, predicate: &Predicate) {
        self.slots().values_mut().for_each(|slot| slot.invalidation.add(predicate));
    }

    /// Nothing that runs under this lock leaves the map half changed, so a panic elsewhere does not spoil it.
    fn slots(&self) -> MutexGuard<'_, HashMap<TokenKey, Slot, UniformState>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an answer. Dropping it disturbs nobody.
pub(super) struct Passenger(watch::Receiver<Option<Landed>>);

impl Passenger {
    /// The verdict, and when it was asked for.
    pub(super) async fn verdict(mut self) -> Result<(Verdict, Timestamp), IntrospectError> {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some((answer, asked_at))) => answer.clone().map(|verdict| (verdict, *asked_at)),
            Ok(None) | Err(_) => Err(IntrospectError::new(IntrospectErrorKind::Abandoned)
                .with_source("the introspector panicked or its runtime went away")),
        }
    }
}

/// The one question under way for a token. Dropping it frees the slot.
pub(super) struct Flight {
    flights: Arc<Flights>,
    key: TokenKey,
    /// `None` once landed: the slot may be another flight's by then.
    landing: Option<watch::Sender<Option<Landed>>>,
}

impl Flight {
    /// To be called before each question: an invalidation before this moment is no concern of its answer.
    pub(super) fn depart(&self) {
        if let Some(slot) = self.flights.slots().get_mut(&self.key) {
            slot.invalidation = Invalidation::default();
        }
    }

    /// Hands `answer` to everyone on board, after `remember` has put it into the cache. Gives the flight back, unlanded, if
    /// what the answer says was invalidated since it was asked for.
    pub(super) fn land(self, answer: Answer, asked_at: Timestamp, remember: impl FnOnce(&Answer)) -> Option<Self> {
        let mut slots = self.flights.slots();
        if slots.get(&self.key).is_some_and(|slot| slot.invalidation.covers(&answer)) {
            drop(slots);
            return Some(self);
        }
        remember(&answer);
        slots.remove(&self.key);
        drop(slots);
        self.announce((answer, asked_at));
        None
    }

    /// Ends the flight with a failure, whatever was invalidated.
    pub(super) fn abandon(self, error: IntrospectError, now: Timestamp) {
        self.flights.slots().remove(&self.key);
        self.announce((Err(error), now));
    }

    fn announce(mut self, landed: Landed) {
        if let Some(sender) = self.landing.take() {
            sender.send_replace(Some(landed));
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.landing.is_some() {
            self.flights.slots().remove(&self.key);
        }
    }
}
