//! Which tokens this process has heard to be inactive lately, longer than it remembers that: it may not have been able
//! to tell the others, which still share an older answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::key::{TokenKey, UniformState};
use crate::clock::Timestamp;

/// So many at most. Whoever sends junk takes the places of others, for which their window holds then.
const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct HeardInactive(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    asked_at: HashMap<TokenKey, Timestamp, UniformState>,
    /// The oldest first.
    order: VecDeque<TokenKey>,
}

impl HeardInactive {
    pub(super) fn add(&self, key: TokenKey, asked_at: Timestamp) {
        let mut heard = self.heard();
        if heard.asked_at.insert(key, asked_at).is_some() {
            return;
        }
        heard.order.push_back(key);
        if heard.order.len() > MOST
            && let Some(oldest) = heard.order.pop_front()
        {
            heard.asked_at.remove(&oldest);
        }
    }

    /// Whether it was heard by a question after that.
    pub(super) fn since(&self, key: TokenKey, asked_at: Timestamp) -> bool {
        self.heard().asked_at.get(&key).is_some_and(|heard| *heard > asked_at)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::keys;

    #[test]
    fn what_was_heard_holds_against_what_was_asked_before_and_the_oldest_goes() {
        let (heard, keys) = (HeardInactive::default(), keys(MOST + 2));
        let at = Timestamp::from_unix_millis;
        for key in &keys[..=MOST] {
            heard.add(*key, at(5));
        }
        heard.add(keys[1], at(7));
        assert_eq!([4, 5].map(|asked| heard.since(keys[2], at(asked))), [true, false]);
        assert!(heard.since(keys[1], at(6)), "the last time counts");
        assert!(!heard.since(keys[0], at(0)), "there is no room for it");
        assert!(!heard.since(keys[MOST + 1], at(0)), "it was not heard");
    }
}
