//! At most one question per token under way, detached from whoever asked: a single flight.
//!
//! A request that finds no answer *boards* the token's flight. The first one on board gets the [`Flight`] and hands it
//! to a task of its own; everyone, the first included, only holds a [`Passenger`] and may leave at any time. The flight
//! ends in one of three ways: it *lands*, which remembers the answer and frees the slot in one step; it is *abandoned*
//! with a failure; or it is dropped (its task panicked, its runtime went away). Each frees the slot and tells whoever
//! still waits.
//!
//! Whatever changes what is remembered does so under the lock of the slots: an answer that lands, an invalidation, a
//! refresh that is claimed. So none of them can bring back what another has just removed. Boarding and departing take
//! it too, so it decides what came first, a request or a question: no clock does. No code of a user's runs under it (a
//! clock, a predicate, a recorder of metrics, a subscriber of logs): it may use the cache's handle, which would wait
//! for this very lock.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::key::{TokenKey, UniformState};
use crate::clock::Timestamp;
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::introspect::Verdict;
use crate::protection::Share;

mod invalidated;

pub(super) use invalidated::Predicate;
use invalidated::{Count, Invalidated};

/// How a flight ended.
type Landed = Result<Arrival, IntrospectError>;

struct Arrival {
    verdict: Verdict,
    asked_at: Timestamp,
    /// Which of the questions of its flight it answers, from 1.
    departure: u32,
}

pub(super) struct Flights {
    slots: Mutex<Slots>,
    /// For strangers, and once more for known tokens.
    limit: usize,
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<TokenKey, Slot, UniformState>,
    /// How many of them are about known tokens.
    known: usize,
}

struct Slot {
    share: Share,
    landing: Arc<Landing>,
    /// How many questions have departed: more than one if answers were invalidated.
    departures: u32,
    invalidated: Invalidated,
}

/// Where those who wait find the answer. Ten thousand may wait for one: so reading it takes no lock, and writes to
/// nothing that the others read but the reference count. (To begin to wait takes the lock of `Notify`.)
#[derive(Default)]
struct Landing {
    landed: OnceLock<Landed>,
    announced: Notify,
}

/// What became of a request that found no answer.
pub(super) enum Boarding<T> {
    /// An answer landed between the request's look into the cache and now.
    Found(T),
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

    /// Boards the flight of `key`, unless `find` finds an answer: it looks into the cache once more, while no flight
    /// can land.
    pub(super) fn board<T>(
        self: &Arc<Self>,
        key: TokenKey,
        share: Share,
        find: impl FnOnce() -> Option<T>,
    ) -> Boarding<T> {
        let mut slots = self.slots();
        if let Some(slot) = slots.by_key.get(&key) {
            return Boarding::Joined(Passenger { landing: Arc::clone(&slot.landing), departures: slot.departures });
        }
        if let Some(found) = find() {
            return Boarding::Found(found);
        }
        match self.start(&mut slots, key, share, false) {
            Some((flight, passenger)) => Boarding::Started(passenger, flight),
            None => Boarding::Full,
        }
    }

    /// Starts a flight that nobody waits for, if `claim` says so while no flight can land.
    pub(super) fn refresh(self: &Arc<Self>, key: TokenKey, claim: impl FnOnce() -> bool) -> Option<Flight> {
        let mut slots = self.slots();
        if !claim() || slots.by_key.contains_key(&key) {
            return None;
        }
        self.start(&mut slots, key, Share::Known, true).map(|(flight, _)| flight)
    }

    fn start(
        self: &Arc<Self>,
        slots: &mut Slots,
        key: TokenKey,
        share: Share,
        is_refresh: bool,
    ) -> Option<(Flight, Passenger)> {
        if !self.has_room(slots, share) {
            return None;
        }
        let landing = Arc::<Landing>::default();
        let invalidated = Invalidated::default();
        let slot = Slot { share, landing: Arc::clone(&landing), departures: 0, invalidated };
        slots.insert(key, slot);
        let flight = Flight {
            flights: Arc::clone(self),
            key,
            share,
            is_refresh,
            landing: Arc::clone(&landing),
            departures: 0,
            is_over: false,
        };
        Some((flight, Passenger { landing, departures: 0 }))
    }

    fn has_room(&self, slots: &Slots, share: Share) -> bool {
        let under_way = match share {
            Share::Known => slots.known,
            Share::Stranger => slots.by_key.len() - slots.known,
        };
        under_way < self.limit
    }

    pub(super) fn under_way(&self) -> usize {
        self.slots().by_key.len()
    }

    /// Keeps the answer now under way for `key` from being used, so that it is asked for again, and has `forget` remove
    /// what is remembered.
    pub(super) fn invalidate<R>(&self, key: TokenKey, forget: impl FnOnce() -> R) -> R {
        self.mark(key, |invalidated| invalidated.whatever_it_is = true, forget)
    }

    /// The same if that answer turns out to be an active token.
    #[cfg(any(test, feature = "redis"))]
    pub(super) fn invalidate_active<R>(&self, key: TokenKey, forget: impl FnOnce() -> R) -> R {
        self.mark(key, |invalidated| invalidated.if_active = true, forget)
    }

    /// The same if it turns out to be an active token of which `predicate` is true.
    pub(super) fn invalidate_if(&self, key: TokenKey, predicate: &Predicate) {
        self.mark(key, |invalidated| invalidated.add(predicate), || ());
    }

    fn mark<R>(&self, key: TokenKey, mark: impl FnOnce(&mut Invalidated), forget: impl FnOnce() -> R) -> R {
        let mut slots = self.slots();
        if let Some(slot) = slots.by_key.get_mut(&key) {
            mark(&mut slot.invalidated);
        }
        forget()
    }

    /// The same for every question under way, whatever its answer is.
    pub(super) fn invalidate_all<R>(&self, forget: impl FnOnce() -> R) -> R {
        let mut slots = self.slots();
        slots.by_key.values_mut().for_each(|slot| slot.invalidated.whatever_it_is = true);
        forget()
    }

    /// The same for every question whose answer turns out to be an active token of which `predicate` is true.
    pub(super) fn invalidate_where(&self, predicate: &Predicate) {
        self.slots().by_key.values_mut().for_each(|slot| slot.invalidated.add(predicate));
    }

    /// Has `forget` remove something while no flight can land.
    pub(super) fn forget<R>(&self, forget: impl FnOnce() -> R) -> R {
        let _slots = self.slots();
        forget()
    }

    /// Nothing that runs under this lock leaves the map half changed, so a panic elsewhere does not spoil it.
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn insert(&mut self, key: TokenKey, slot: Slot) {
        self.known += usize::from(slot.share == Share::Known);
        self.by_key.insert(key, slot);
    }

    /// What was in the slot is given back, to be dropped when the lock is not held: the last copy of a predicate may be
    /// in it.
    #[must_use]
    fn remove(&mut self, key: TokenKey) -> Option<Slot> {
        let slot = self.by_key.remove(&key)?;
        self.known -= usize::from(slot.share == Share::Known);
        Some(slot)
    }
}

/// Waits for an answer. Dropping it disturbs nobody.
pub(super) struct Passenger {
    landing: Arc<Landing>,
    /// How many questions had departed when it came on board.
    departures: u32,
}

/// When a verdict was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Timestamp,
    /// After whoever hears it had come on board.
    pub(super) since_boarding: bool,
    /// Not by this process.
    pub(super) elsewhere: bool,
}

impl Passenger {
    /// The verdict, and when it was asked for.
    pub(super) async fn verdict(self) -> Result<(Verdict, Asked), IntrospectError> {
        let Landing { landed, announced } = &*self.landing;
        // Before the look: what is announced between the two is heard.
        let announcement = announced.notified();
        if landed.get().is_none() {
            announcement.await;
        }
        match landed.get() {
            Some(Ok(Arrival { verdict, asked_at, departure })) => {
                let (since_boarding, elsewhere) = (*departure > self.departures, *departure == 0);
                Ok((verdict.clone(), Asked { at: *asked_at, since_boarding, elsewhere }))
            }
            Some(Err(error)) => Err(error.clone()),
            None => Err(given_up()),
        }
    }
}

fn given_up() -> IntrospectError {
    IntrospectError::new(IntrospectErrorKind::Abandoned)
        .with_source("the introspector panicked or its runtime went away")
}

/// The one question under way for a token. Dropping it frees the slot.
pub(super) struct Flight {
    flights: Arc<Flights>,
    pub(super) key: TokenKey,
    pub(super) share: Share,
    /// Nobody waited for it when it started.
    pub(super) is_refresh: bool,
    landing: Arc<Landing>,
    departures: u32,
    /// It has landed or ended. The slot may be another flight's by now.
    is_over: bool,
}

impl Flight {
    /// To be called before each question: an invalidation before this moment is no concern of its answer, and whoever
    /// is on board by now came before it.
    pub(super) fn depart(&mut self) {
        self.departures += 1;
        let mut slots = self.flights.slots();
        if let Some(slot) = slots.by_key.get_mut(&self.key) {
            slot.departures = self.departures;
        }
        let past = self.take_invalidated(&mut slots);
        // The lock is given up before predicates are dropped.
        drop(slots);
        drop(past);
    }

    fn take_invalidated(&self, slots: &mut Slots) -> Invalidated {
        slots.by_key.get_mut(&self.key).map(|slot| mem::take(&mut slot.invalidated)).unwrap_or_default()
    }

    /// Hands `answer` to everyone on board, after `remember` has put it into the cache. Gives the flight back,
    /// unlanded, if what the answer says was invalidated since it was asked for.
    pub(super) fn land(
        self,
        answer: Result<Verdict, IntrospectError>,
        asked_at: Timestamp,
        remember: impl FnOnce(&Result<Verdict, IntrospectError>),
    ) -> Option<Self> {
        let departure = self.departures;
        self.land_as(departure, answer, asked_at, remember)
    }

    /// The same with an answer to a question that was asked elsewhere, before anybody came on board.
    pub(super) fn land_from_elsewhere(
        self,
        verdict: Verdict,
        asked_at: Timestamp,
        remember: impl FnOnce(),
    ) -> Option<Self> {
        self.land_as(0, Ok(verdict), asked_at, |_| remember())
    }

    /// Has `remember` keep an answer from before this question, unless anything was invalidated since it left.
    pub(super) fn keep_older(&self, remember: impl FnOnce()) {
        let slots = self.flights.slots();
        if slots.by_key.get(&self.key).is_some_and(|slot| slot.invalidated.is_none()) {
            remember();
        }
    }

    fn land_as(
        mut self,
        departure: u32,
        answer: Result<Verdict, IntrospectError>,
        asked_at: Timestamp,
        remember: impl FnOnce(&Result<Verdict, IntrospectError>),
    ) -> Option<Self> {
        let mut predicates = Count::default();
        let mut slots = loop {
            let mut slots = self.flights.slots();
            let mut invalidated = self.take_invalidated(&mut slots);
            if invalidated.is_none() {
                break slots;
            }
            drop(slots);
            // Those that come while others are called count too, or an answer might never land.
            predicates.join(invalidated.count);
            invalidated.whatever_it_is |= predicates.is_too_much();
            if invalidated.covers(&answer) {
                return Some(self);
            }
        };
        remember(&answer);
        let slot = slots.remove(self.key);
        self.is_over = true;
        drop(slots);
        self.landing.announce(answer.map(|verdict| Arrival { verdict, asked_at, departure }));
        drop(slot);
        None
    }

    /// Ends the flight with a failure, whatever was invalidated.
    pub(super) fn abandon(mut self, error: IntrospectError) {
        self.end(error);
    }

    fn end(&mut self, error: IntrospectError) {
        self.is_over = true;
        let slot = self.flights.slots().remove(self.key);
        self.landing.announce(Err(error));
        // Last, since the destructor of a predicate may be slow, or panic.
        drop(slot);
    }
}

impl Landing {
    fn announce(&self, landed: Landed) {
        // `is_over` lets a flight end once, so nothing has been set before.
        let _ = self.landed.set(landed);
        self.announced.notify_waiters();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(given_up());
        }
    }
}

#[cfg(test)]
mod tests;
