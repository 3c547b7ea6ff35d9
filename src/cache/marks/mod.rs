//! What is held against tokens that are judged from themselves alone.
//!
//! Where an authority is asked, to forget an answer is enough: the next one tells of the revocation. Where a signature
//! is verified, the next answer is the same. So each invalidation leaves a *mark* here, and an active answer that a
//! mark covers becomes an inactive one before anybody gets it. Marks are looked at when an answer comes, and never on a
//! hit.
//!
//! ```text
//! token    covers that token, until it would have expired; as long as nobody knows when, until there is no room
//! rule     covers the tokens of which it holds that were issued before a moment; until there is no room. Those that
//!          are older than any token lives go first, and nothing comes of it
//! floor    covers every token issued before a moment: what had no room, and invalidations of all tokens
//! ```
//!
//! All of it is bounded. What has to go raises the floor, so nothing that was invalidated is ever let in again: others
//! are refused with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::key::{TokenKey, UniformState};
use crate::clock::Timestamp;
use crate::log_limit::LogLimit;
use crate::selection::{Rule, Rules};
use crate::token::AccessToken;

/// 6 MB at most.
const MOST_TOKENS: usize = 100_000;
/// With as few, nobody looks which of them have ended.
const FEW_TOKENS: usize = 1_000;
const MOST_RULES: usize = 10_000;
const MOST_BYTES_OF_RULES: usize = 8 * 1024 * 1024;
/// One part in so many goes at once where there is no room, so that not each further one looks for the oldest.
const PARTS: usize = 10;

/// The greatest clock skew that an introspector of this crate allows.
pub(super) const FURTHEST_AHEAD: Duration = Duration::from_secs(300);

pub(super) struct Marks {
    known: RwLock<Known>,
    /// A token that lives longer than that may outlive the record of its invalidation in a fleet.
    pub(super) longest_lifetime: Duration,
    /// How far ahead of the moment of an invalidation an older token may say that it was issued.
    clock_skew: Duration,
    /// How long the longest of tokens lives that was seen, in milliseconds.
    longest_seen: AtomicI64,
    pub(super) told: LogLimit<Told>,
}

/// The sorts of lines that are written about marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Raised,
    LivesLonger,
}

struct Known {
    /// Covers every token that was issued before, and those that do not say when they were.
    floor: Option<Before>,
    tokens: HashMap<TokenKey, OfToken, UniformState>,
    /// So many, and those that have ended are looked for.
    looks_at: usize,
    rules: Rules<OfRule>,
    bytes_of_rules: usize,
}

struct OfToken {
    /// The token has expired then, if anybody knows when.
    ends: Option<Timestamp>,
    moment: Timestamp,
}

struct OfRule {
    /// It is about this token alone, whenever that was issued.
    token: Option<TokenKey>,
    before: Before,
    moment: Timestamp,
    bytes: usize,
}

/// Tells tokens by when they were issued.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Before(i64);

impl Before {
    const ALWAYS: Self = Self(i64::MAX);

    /// Up to `moment`. What a token says is in whole seconds, so one of the same second may be older.
    fn up_to(moment: Timestamp) -> Self {
        Self((moment.as_unix_millis().div_euclid(1_000).saturating_add(1)).saturating_mul(1_000))
    }

    /// One that does not say when it was issued may have been before.
    fn covers(self, token: &AccessToken) -> bool {
        self == Self::ALWAYS || token.issued_at().is_none_or(|issued| issued.as_unix_millis() < self.0)
    }
}

impl Marks {
    pub(super) fn new(longest_lifetime: Duration, clock_skew: Duration) -> Self {
        let known = Known {
            floor: None,
            tokens: HashMap::default(),
            looks_at: FEW_TOKENS,
            rules: Rules::default(),
            bytes_of_rules: 0,
        };
        let (known, longest_seen) = (RwLock::new(known), AtomicI64::new(0));
        Self { known, longest_lifetime, clock_skew, longest_seen, told: LogLimit::new() }
    }

    /// Learns how long tokens live.
    pub(super) fn has_seen(&self, token: &AccessToken, now: Timestamp) {
        let since = token.issued_at().unwrap_or(now).as_unix_millis();
        let lives = token.expires_at().map_or(i64::MAX, |ends| ends.as_unix_millis().saturating_sub(since));
        self.longest_seen.fetch_max(lives, Ordering::Relaxed);
    }

    /// What was invalidated before then is about tokens that have all expired.
    fn forgotten_before(&self, now: Timestamp) -> Timestamp {
        let seen = u64::try_from(self.longest_seen.load(Ordering::Relaxed)).unwrap_or_default();
        now - self.longest_lifetime.max(Duration::from_millis(seen)).saturating_add(self.clock_skew)
    }

    /// Whether the token, which is known by any of `keys`, was invalidated.
    pub(super) fn cover(&self, keys: &[TokenKey], token: &AccessToken) -> bool {
        let known = self.known();
        let Some(key) = keys.iter().find(|key| known.tokens.contains_key(key)) else { return known.cover(keys, token) };
        let learns = token.expires_at().filter(|_| known.tokens.get(key).is_some_and(|mark| mark.ends.is_none()));
        drop(known);
        if let Some(expires_at) = learns
            && let Some(mark) = self.known_mut().tokens.get_mut(key)
        {
            mark.ends = Some(expires_at);
        }
        true
    }

    /// Marks one token, whatever its facts are, which expires then if anybody knows. What is returned is what had no
    /// room: from now on all tokens are refused that were issued up to then.
    pub(super) fn leave_of_token(
        &self,
        key: TokenKey,
        expires_at: Option<Timestamp>,
        moment: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut known = self.known_mut();
        known
            .tokens
            .entry(key)
            .and_modify(|mark| mark.again(expires_at, moment))
            .or_insert(OfToken { ends: expires_at, moment });
        known.make_room_for_tokens(now, self.clock_skew)
    }

    /// Marks what `rule` means, of all tokens or of the one that is known by `token`.
    pub(super) fn leave_of_rule(
        &self,
        rule: &Rule,
        token: Option<TokenKey>,
        moment: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let (rule, before) = rule.whenever_issued();
        let before = before.map_or(Before::ALWAYS, Before);
        // What says itself until when, may go by the authority's clock.
        let ahead = if before == Before::ALWAYS { self.clock_skew } else { FURTHEST_AHEAD };
        let before = if token.is_some() { before } else { before.min(Before::up_to(moment + ahead)) };
        let mut known = self.known_mut();
        if token.is_none() && rule.is_all() {
            known.raise(before);
            return None;
        }
        let bytes = rule.bytes();
        known.bytes_of_rules += bytes;
        let mut is_there = false;
        known.rules.add(rule, OfRule { token, before, moment, bytes }, |mark, again| {
            is_there = true;
            mark.before = mark.before.max(again.before);
            mark.moment = mark.moment.max(again.moment);
        });
        if is_there {
            known.bytes_of_rules -= bytes;
        }
        known.make_room_for_rules(self.forgotten_before(now), self.clock_skew)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfToken {
    fn again(&mut self, ends: Option<Timestamp>, moment: Timestamp) {
        self.ends = ends.or(self.ends);
        self.moment = self.moment.max(moment);
    }
}

impl Known {
    /// But for marks of one token.
    fn cover(&self, keys: &[TokenKey], token: &AccessToken) -> bool {
        let counts = |mark: &OfRule| mark.token.is_none_or(|key| keys.contains(&key)) && mark.before.covers(token);
        self.floor.is_some_and(|floor| floor.covers(token))
            || (self.rules.count() > 0 && self.rules.any_holds_if(token, counts))
    }

    fn make_room_for_tokens(&mut self, now: Timestamp, clock_skew: Duration) -> Option<Timestamp> {
        if self.tokens.len() < self.looks_at {
            return None;
        }
        self.tokens.retain(|_, mark| mark.ends.is_none_or(|ends| now < ends));
        let mut raised = None;
        if self.tokens.len() > MOST_TOKENS {
            let oldest = oldest(self.tokens.values().map(|mark| mark.moment))?;
            self.tokens.retain(|_, mark| mark.moment > oldest);
            self.raise(Before::up_to(oldest + clock_skew));
            raised = Some(oldest);
        }
        self.looks_at = (2 * self.tokens.len()).clamp(FEW_TOKENS, MOST_TOKENS + 1);
        raised
    }

    fn make_room_for_rules(&mut self, forgotten_before: Timestamp, clock_skew: Duration) -> Option<Timestamp> {
        let mut raised = None;
        if self.rules.count() > MOST_RULES || self.bytes_of_rules > MOST_BYTES_OF_RULES {
            self.retain_rules(|mark| mark.moment >= forgotten_before);
        }
        while self.rules.count() > MOST_RULES || self.bytes_of_rules > MOST_BYTES_OF_RULES {
            let oldest = oldest(self.rules.kept().map(|mark| mark.moment))?;
            let going = self.rules.kept().filter(|mark| mark.moment <= oldest && mark.before != Before::ALWAYS);
            // One that says itself until when may reach further.
            let reach = going.map(|mark| mark.before).max();
            self.retain_rules(|mark| mark.moment > oldest);
            let up_to = Before::up_to(oldest + clock_skew);
            self.raise(reach.map_or(up_to, |reach| reach.max(up_to)));
            raised = Some(oldest);
        }
        raised
    }

    fn raise(&mut self, floor: Before) {
        self.floor = self.floor.max(Some(floor));
        // The floor does what they did.
        self.retain_rules(|mark| mark.before > floor);
    }

    fn retain_rules(&mut self, stays: impl Fn(&OfRule) -> bool) {
        self.rules.retain(stays);
        self.bytes_of_rules = self.rules.kept().map(|mark| mark.bytes).sum();
    }
}

/// The newest moment of the oldest part.
fn oldest(moments: impl Iterator<Item = Timestamp>) -> Option<Timestamp> {
    let mut moments: Vec<_> = moments.collect();
    let at = (moments.len() / PARTS).saturating_sub(1);
    if moments.is_empty() {
        return None;
    }
    Some(*moments.select_nth_unstable(at).1)
}

#[cfg(test)]
mod tests;
