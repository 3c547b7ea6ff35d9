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
use crate::introspect::{IntrospectError, IntrospectErrorKind, Verdict};

pub(super) type Answer = Result<Verdict, IntrospectError>;

pub(super) struct Flights {
    slots: Mutex<HashMap<TokenKey, Slot, UniformState>>,
    limit: usize,
}

struct Slot {
    answer: watch::Receiver<Option<Answer>>,
    /// Set when the token is invalidated: the question now under way may have been answered before that.
    invalidated: bool,
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
            Entry::Occupied(slot) => return Boarding::Joined(Passenger(slot.get().answer.clone())),
            Entry::Vacant(vacant) => vacant,
        };
        if let Some(verdict) = known() {
            return Boarding::Known(verdict);
        }
        if under_way >= self.limit {
            return Boarding::Full;
        }
        let (sender, answer) = watch::channel(None);
        vacant.insert(Slot { answer: answer.clone(), invalidated: false });
        Boarding::Started(Passenger(answer), Flight { flights: Arc::clone(self), key, answer: Some(sender) })
    }

    /// Keeps the answer now under way for `key` from being used, so that it is asked for again.
    pub(super) fn invalidate(&self, key: TokenKey) {
        if let Some(slot) = self.slots().get_mut(&key) {
            slot.invalidated = true;
        }
    }

    /// The same for every question under way.
    pub(super) fn invalidate_all(&self) {
        self.slots().values_mut().for_each(|slot| slot.invalidated = true);
    }

    /// Nothing that runs under this lock leaves the map half changed, so a panic elsewhere does not spoil it.
    fn slots(&self) -> MutexGuard<'_, HashMap<TokenKey, Slot, UniformState>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an answer. Dropping it disturbs nobody.
pub(super) struct Passenger(watch::Receiver<Option<Answer>>);

impl Passenger {
    pub(super) async fn answer(mut self) -> Answer {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(answer)) => answer.clone(),
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
    answer: Option<watch::Sender<Option<Answer>>>,
}

impl Flight {
    /// To be called before each question: an invalidation before this moment is no concern of its answer.
    pub(super) fn depart(&self) {
        if let Some(slot) = self.flights.slots().get_mut(&self.key) {
            slot.invalidated = false;
        }
    }

    /// Hands `answer` to everyone on board, after `remember` has put it into the cache. Gives the flight back, unlanded, if
    /// the token was invalidated since its departure.
    pub(super) fn land(self, answer: Answer, remember: impl FnOnce(&Answer)) -> Option<Self> {
        let mut slots = self.flights.slots();
        if slots.get(&self.key).is_some_and(|slot| slot.invalidated) {
            drop(slots);
            return Some(self);
        }
        remember(&answer);
        slots.remove(&self.key);
        drop(slots);
        self.announce(answer);
        None
    }

    /// Ends the flight with a failure, invalidated or not.
    pub(super) fn abandon(self, error: IntrospectError) {
        self.flights.slots().remove(&self.key);
        self.announce(Err(error));
    }

    fn announce(mut self, answer: Answer) {
        if let Some(sender) = self.answer.take() {
            sender.send_replace(Some(answer));
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.answer.is_some() {
            self.flights.slots().remove(&self.key);
        }
    }
}
