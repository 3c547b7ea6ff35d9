//! Both caches, the flights, the clock and the figures: everything but the introspector.

use std::sync::Arc;
use std::time::Duration;

use super::entries::Entries;
use super::figures::{CacheStats, Figures};
use super::flight::{Boarding, Flight, Flights};
use super::freshness::{Limits, judge};
use super::index::{Entry, Sight};
use super::key::{TokenKey, TokenKeys};
use super::lately::Lately;
use super::marks::Marks;
use super::outage::Outage;
use super::settings::CacheSettings;
use super::shared::{Found as FoundElsewhere, Membership};
use crate::clock::{Clock, Timestamp};
use crate::error::{IntrospectError, IntrospectErrorKind};
use crate::introspect::{InactiveReason, Verdict};
use crate::log_limit::LogLimit;
use crate::metrics::Gauges;
use crate::protection::{EndpointHandle, Share};
use crate::token::{AccessToken, BearerToken, Term};

mod forget;
mod marks;
#[cfg(feature = "redis")]
mod shared;

/// What is remembered of a token that is not active.
#[derive(Clone, Copy)]
struct Inactive {
    reason: InactiveReason,
    asked_at: Timestamp,
    deadline: Timestamp,
    key: TokenKey,
    number: u64,
}

impl Entry for Inactive {
    fn key(&self) -> TokenKey {
        self.key
    }

    fn number(&self) -> u64 {
        self.number
    }
}

impl Entry for AccessToken {
    fn key(&self) -> TokenKey {
        TokenKey::of_halves(self.term().key)
    }

    fn number(&self) -> u64 {
        self.entry_number()
    }

    fn weight(&self) -> u32 {
        u32::try_from(self.bytes().div_ceil(BYTES_OF_AN_ENTRY).max(1)).unwrap_or(u32::MAX)
    }
}

/// An active token with facts of more bytes than this counts as several.
const BYTES_OF_AN_ENTRY: usize = 4 * 1024;

/// What stands in the cache, not judged yet.
enum Found {
    Active(AccessToken),
    Inactive(Inactive),
}

/// Tells what was found from what took its place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Active(u64),
    Inactive(u64),
}

impl Found {
    fn number(&self) -> Number {
        match self {
            Self::Active(token) => Number::Active(token.entry_number()),
            Self::Inactive(inactive) => Number::Inactive(inactive.number),
        }
    }
}

/// For introspectors that have no bound of their own.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

const NEVER: Timestamp = Timestamp::from_unix_millis(i64::MAX);

pub(super) struct Store {
    active: Entries<AccessToken>,
    inactive: Entries<Inactive>,
    flights: Arc<Flights>,
    pub(super) figures: Arc<Figures>,
    pub(super) clock: Arc<dyn Clock>,
    /// Tells what of it serves; the same clock, unless a fleet is strict.
    judging: Arc<dyn Clock>,
    pub(super) shared: Option<Membership>,
    pub(super) question_timeout: Duration,
    pub(super) name: String,
    pub(super) endpoint: Option<EndpointHandle>,
    keys: TokenKeys,
    pub(super) limits: Limits,
    /// Which tokens have the share of known ones.
    lately: Lately,
    pub(super) outage: Outage,
    /// Only where tokens are judged from themselves alone.
    pub(super) marks: Option<Box<Marks>>,
    turned_away: LogLimit<Share>,
    served_stale: LogLimit<()>,
}

/// How an active answer stands at a moment.
struct Standing {
    serves: bool,
    /// It is to be asked for again.
    is_due: bool,
}

/// An answer at hand.
pub(super) struct Known {
    pub(super) verdict: Verdict,
    /// It serves, and should be asked for again.
    pub(super) refresh: bool,
}

impl Store {
    pub(super) fn new(
        settings: CacheSettings,
        clock: Arc<dyn Clock>,
        endpoint: Option<EndpointHandle>,
        shared: Option<Membership>,
    ) -> Self {
        let figures = Arc::new(Figures::new(&settings.name));
        let limits = settings.limits();
        let active = Entries::new("active access tokens", settings.max_capacity, {
            let figures = Arc::clone(&figures);
            move || figures.evicted()
        });
        Self {
            active,
            inactive: Entries::new("inactive access tokens", settings.inactive_capacity, || ()),
            flights: Flights::new(settings.max_flights),
            figures,
            judging: shared.as_ref().map_or_else(|| Arc::clone(&clock), |shared| shared.judging(Arc::clone(&clock))),
            clock,
            question_timeout: settings.question_timeout.unwrap_or_else(|| {
                let endpoint =
                    endpoint.as_ref().map(|endpoint| endpoint.deadline().saturating_add(Duration::from_secs(1)));
                endpoint.unwrap_or_default().max(QUESTION_TIMEOUT)
            }),
            name: settings.name,
            endpoint,
            keys: shared.as_ref().map_or_else(TokenKeys::random, Membership::token_keys),
            shared,
            limits,
            lately: Lately::for_tokens(settings.max_capacity),
            outage: Outage::default(),
            marks: None,
            turned_away: LogLimit::new(),
            served_stale: LogLimit::new(),
        }
    }

    pub(super) fn key_of(&self, token: &BearerToken) -> TokenKey {
        self.keys.of(token)
    }

    /// The answer at hand, judged at this moment. The deadline of an active entry is never later than the token's
    /// expiry, so it is all there is to judge.
    pub(super) fn known(&self, key: TokenKey) -> Option<Known> {
        self.active.tell_of_read(key);
        // Before the entry is fetched: a processor reads its clock only after all it was to fetch has come.
        let mut now = self.judging.now();
        let sight = self.active.look(key, |token| standing(token, now));
        let Some(Sight { mut seen, entry: token, has_waited }) = sight else { return self.known_inactive(key) };
        if has_waited {
            now = self.judging.now();
            seen = standing(&token, now);
        }
        self.judge_active(token, seen, now)
    }

    fn judge_active(&self, token: AccessToken, Standing { serves, is_due }: Standing, now: Timestamp) -> Option<Known> {
        if serves {
            self.figures.hit(millis_since(token.term().asked_at, now));
            let is_in_use = token.is_used_enough(self.limits.refresh_ahead_uses);
            return Some(Known { verdict: Verdict::Active(token), refresh: is_due && is_in_use });
        }
        if !self.outage.is_left_alone(now) {
            return None;
        }
        Some(Known { verdict: self.serve_on(&token, now)?, refresh: false })
    }

    fn known_inactive(&self, key: TokenKey) -> Option<Known> {
        self.inactive.tell_of_read(key);
        self.judge_inactive(self.inactive.get(key)?)
    }

    fn judge_inactive(&self, Inactive { reason, asked_at, deadline, .. }: Inactive) -> Option<Known> {
        // If it is from the future, the clock was set back.
        if !(asked_at..deadline).contains(&self.judging.now()) {
            return None;
        }
        self.figures.inactive_hit();
        Some(Known { verdict: Verdict::Inactive(reason), refresh: false })
    }

    /// Boards the flight of `key`, unless an answer has landed meanwhile. Under the lock entries are only found. They
    /// are judged after it, since that reads the clock and tells metrics and logs; one that does not serve is passed
    /// over by the next look.
    pub(super) fn board(&self, key: TokenKey, share: Share) -> Boarding<Verdict> {
        // Whoever comes by `introspect` alone, as a cache around this one does, reads too. (A miss of the layer is told
        // twice, which is as seldom as questions are.)
        self.active.tell_of_read(key);
        self.inactive.tell_of_read(key);
        let mut refused = None;
        loop {
            let found = match self.flights.board(key, share, || self.find_other_than(refused, key)) {
                Boarding::Found(found) => found,
                Boarding::Joined(passenger) => {
                    self.figures.coalesced();
                    return Boarding::Joined(passenger);
                }
                Boarding::Started(passenger, flight) => {
                    self.figures.miss();
                    return Boarding::Started(passenger, flight);
                }
                Boarding::Full => return Boarding::Full,
            };
            refused = Some(found.number());
            let known = match found {
                Found::Active(token) => {
                    let now = self.judging.now();
                    let seen = standing(&token, now);
                    self.judge_active(token, seen, now)
                }
                Found::Inactive(inactive) => self.judge_inactive(inactive),
            };
            if let Some(known) = known {
                return Boarding::Found(known.verdict);
            }
        }
    }

    fn find_other_than(&self, refused: Option<Number>, key: TokenKey) -> Option<Found> {
        let active = self.active.get(key).map(Found::Active);
        let found = active.or_else(|| self.inactive.get(key).map(Found::Inactive));
        found.filter(|found| Some(found.number()) != refused)
    }

    /// There is no room for the question.
    pub(super) fn turned_away(&self, key: TokenKey, share: Share) -> Result<Verdict, IntrospectError> {
        self.figures.overloaded();
        let error = IntrospectError::new(IntrospectErrorKind::Overloaded)
            .with_source("as many as may be are under way (`max_flights`)");
        self.report_overload(&error, share);
        self.instead_of(&error, key).ok_or(error)
    }

    /// Whether the token was active when it was last asked about, as far as that is remembered, and no question about
    /// it has failed since in a way that its holder may have brought about. One whose answer is kept has no other
    /// share, or whoever makes questions about strangers fail could have an old answer serve on.
    pub(super) fn share_of(&self, key: TokenKey) -> Share {
        if self.lately.contains(key) || self.active.get(key).is_some() { Share::Known } else { Share::Stranger }
    }

    /// Whether an active answer is remembered that may still be of use.
    pub(super) fn has_active(&self, key: TokenKey) -> bool {
        let now = self.clock.now();
        self.active.get(key).is_some_and(|token| now < self.limits.stale_until(&token, token.term().deadline))
    }

    /// The last answer for an active token, if it may serve on because the authority failed with `error`.
    pub(super) fn instead_of(&self, error: &IntrospectError, key: TokenKey) -> Option<Verdict> {
        let now = self.clock.now();
        // When an outage ends, all whose answers served on are to be asked about at once, and not all can be.
        let is_aftermath = error.is_overloaded() && self.outage.failed.is_recent(now);
        if !error.is_failure_of_the_authority() && !is_aftermath {
            return None;
        }
        let token = self.active.get(key)?;
        let now = self.judging.now();
        if token.serves_at(now) {
            // Another question was answered meanwhile.
            self.figures.used(now.saturating_since(token.term().asked_at));
            return Some(Verdict::Active(token));
        }
        self.serve_on(&token, now)
    }

    fn serve_on(&self, token: &AccessToken, now: Timestamp) -> Option<Verdict> {
        let Term { asked_at, deadline, .. } = token.term();
        let until = self.limits.stale_until(token, deadline);
        if !(asked_at..until).contains(&now) || now < deadline {
            return None;
        }
        self.figures.stale_served(now.saturating_since(asked_at));
        if let Some(untold) = self.served_stale.due(()) {
            tracing::warn!(
                cache = self.name,
                untold,
                "the authority fails; answers it gave before serve on (`stale_if_error`)"
            );
        }
        Some(Verdict::Active(token.stale()))
    }

    /// Learns how a question went before which there had been so many `answers`. Whoever sends junk may be able to make
    /// questions about it fail, so those tell nothing of tokens in use.
    pub(super) fn learn(&self, answer: &Result<Verdict, IntrospectError>, share: Share, answers: u64) {
        match answer {
            // There are answers for which nobody was asked. They leave the breaker open.
            Ok(_) if self.endpoint.as_ref().is_none_or(|endpoint| !endpoint.leaves_known_tokens_alone()) => {
                self.outage.answered();
            }
            Err(error) if share == Share::Known && error.is_failure_of_the_authority() => {
                let now = self.clock.now();
                self.outage.failed.set(now);
                if let (IntrospectErrorKind::CircuitOpen, Some(left)) = (error.kind(), error.retry_after()) {
                    // Until then the answer is the same for all tokens in use, and need not be asked for.
                    self.outage.leave_alone(now, left, answers);
                }
            }
            Err(error) if error.is_overloaded() => self.report_overload(error, share),
            Ok(_) | Err(_) => {}
        }
    }

    /// Tells the operator that questions are turned away, and which limits are to blame.
    fn report_overload(&self, error: &IntrospectError, share: Share) {
        if let Some(untold) = self.turned_away.due(share) {
            let share = share.as_str();
            tracing::warn!(
                cache = self.name,
                share,
                ?error,
                untold,
                "questions are turned away, and the requests that wait for them"
            );
        }
    }

    /// Whether a verdict asked for then may still be used now. Not before it was asked for, either: then the clock was
    /// set back since it landed.
    pub(super) fn serves(&self, verdict: &Verdict, asked_at: Timestamp, now: Timestamp) -> bool {
        (asked_at..self.limits.deadline(verdict, asked_at, now)).contains(&now)
    }

    /// Whether it may be used by who came after it was asked for, as what is remembered may.
    pub(super) fn serves_others(&self, verdict: &Verdict, asked_at: Timestamp) -> bool {
        self.serves(verdict, asked_at, self.judging.now())
    }

    /// Starts to ask again about a token in use, unless that is under way already.
    pub(super) fn refresh(&self, key: TokenKey) -> Option<Flight> {
        // Before the lock, since the clock is a user's. An answer that lands in between is not due at this moment.
        let now = self.clock.now();
        self.flights.refresh(key, || {
            let Some(token) = self.active.get(key) else { return false };
            let is_due = token.serves_at(now) && token.is_due(now);
            if is_due {
                // So that the next hits do not even look at the flights, whatever comes of this one: it may find no
                // room, or panic.
                token.set_refresh_at(now + pause_before_retry(&token, now));
            }
            is_due
        })
    }

    /// Keeps a verdict as long as it may serve, in place of whatever was known. A failure changes nothing, but that a
    /// refresh is tried again later. Runs while the slot of `key` is locked, as all that changes entries does.
    pub(super) fn remember(
        &self,
        key: TokenKey,
        answer: &Result<Verdict, IntrospectError>,
        asked_at: Timestamp,
        now: Timestamp,
    ) {
        match answer {
            Ok(verdict) => self.remember_verdict(key, verdict, asked_at, now),
            Err(error) => {
                // Such a failure is never remembered, so the token is asked about by each request. One that its holder
                // has made fail must not go on to be first. It is known again once it is answered.
                if error.may_be_the_holders_doing() {
                    self.lately.remove(key);
                }
                self.refresh_later(key, now);
            }
        }
    }

    /// Keeps an answer that another process got, unless a newer one is here.
    pub(super) fn remember_from_elsewhere(
        &self,
        key: TokenKey,
        FoundElsewhere { verdict, asked_at }: &FoundElsewhere,
        now: Timestamp,
    ) {
        let is_newer = self.active.get(key).is_none_or(|token| token.term().asked_at < *asked_at);
        if is_newer && self.inactive.get(key).is_none_or(|inactive| inactive.asked_at < *asked_at) {
            self.remember_verdict(key, verdict, *asked_at, now);
        }
    }

    /// Publishes the figures that are looked at rather than counted.
    pub(super) fn publish(&self) {
        self.figures.publish(&self.gauges());
    }

    fn remember_verdict(&self, key: TokenKey, verdict: &Verdict, asked_at: Timestamp, now: Timestamp) {
        let deadline = self.limits.deadline(verdict, asked_at, now);
        match judge(verdict.clone(), now) {
            Verdict::Active(token) => {
                self.inactive.remove(key);
                self.lately.add(key);
                // One that came too late to serve may still serve on in an outage.
                let until = self.limits.stale_until(&token, deadline);
                if now < until {
                    let refresh_at = self.limits.refresh_at(&token, asked_at, deadline, key.chance()).unwrap_or(NEVER);
                    let term = Term { key: key.halves(), asked_at, deadline };
                    let entry = |number| token.kept(number, term, refresh_at);
                    self.active.insert(until.saturating_since(now), entry);
                } else {
                    self.active.remove(key);
                }
            }
            Verdict::Inactive(reason) => {
                self.active.remove(key);
                self.lately.remove(key);
                if now < deadline {
                    let lasts = deadline.saturating_since(now);
                    self.inactive.insert(lasts, |number| Inactive { reason, asked_at, deadline, key, number });
                } else {
                    self.inactive.remove(key);
                }
            }
        }
    }

    fn refresh_later(&self, key: TokenKey, now: Timestamp) {
        let Some(token) = self.active.get(key) else { return };
        if token.serves_at(now) {
            token.set_refresh_at(now + pause_before_retry(&token, now));
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        // So that the figures are of this moment.
        self.active.tidy();
        self.inactive.tidy();
        let mut stats = self.figures.stats(self.gauges(), self.flights.under_way());
        if let Some(shared) = &self.shared {
            shared.add_figures(&mut stats);
        }
        stats
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            entries: self.active.len(),
            inactive_entries: self.inactive.len(),
            evictions: self.figures.evictions(),
            endpoint: self.endpoint.as_ref().map(EndpointHandle::stats),
        }
    }
}

/// From one refresh to the next, if the first one fails: a quarter of the time left, and not less than a second.
fn pause_before_retry(token: &AccessToken, now: Timestamp) -> Duration {
    (token.term().deadline.saturating_since(now) / 4).max(Duration::from_secs(1))
}

fn standing(token: &AccessToken, now: Timestamp) -> Standing {
    Standing { serves: token.serves_at(now), is_due: token.is_due(now) }
}

/// Without a `Duration`, whose milliseconds have 128 bits.
fn millis_since(earlier: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_unix_millis().saturating_sub(earlier.as_unix_millis())).unwrap_or(0)
}

#[cfg(test)]
mod tests;
