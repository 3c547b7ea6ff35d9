//! What others would make of the same requests: the least possible number of questions, the ideal, and LRU.
//!
//! All have the same rules for how long an answer serves. Inactive answers are few; here they have all the room they
//! want.

use std::collections::{BTreeSet, HashMap};

use crate::deadlines::Deadlines;
use crate::trace::{Token, Trace};

/// How long answers serve, in milliseconds.
#[derive(Clone, Copy)]
pub struct Limits {
    pub max_ttl: i64,
    pub inactive_ttl: i64,
}

impl Limits {
    /// Until when the answer to a question asked now serves.
    pub fn deadline(&self, token: &Token, now: i64) -> i64 {
        if token.is_active_at(now) { token.expires_at.min(now + self.max_ttl) } else { now + self.inactive_ttl }
    }
}

/// The least possible: a question only when a request comes for which there is no answer that still serves, with room
/// for every answer.
pub fn least(trace: &Trace, limits: Limits) -> usize {
    let mut deadlines = vec![i64::MIN; trace.tokens.len()];
    let mut questions = 0;
    for (_, now, token) in trace.iter() {
        if now >= deadlines[token as usize] {
            deadlines[token as usize] = limits.deadline(trace.token(token), now);
            questions += 1;
        }
    }
    questions
}

/// Belady's rule, which knows the future: of all answers the one that is needed last makes room, and one that will not
/// be needed before its deadline is not kept at all.
///
/// An answer that is kept is kept for one request, the next one with its token. So what is kept is a set of requests
/// that will be hits.
pub fn ideal(trace: &Trace, capacity: usize, limits: Limits) -> usize {
    let next_uses = next_uses(trace);
    let mut deadlines = vec![i64::MIN; trace.tokens.len()];
    let mut kept = BTreeSet::new();
    let mut inactive = Inactive::default();
    let mut questions = 0;
    for (n, now, token) in trace.iter() {
        let facts = trace.token(token);
        if kept.first() == Some(&n) {
            kept.pop_first();
        } else {
            if inactive.serves(token, now) {
                continue;
            }
            questions += 1;
            deadlines[token as usize] = limits.deadline(facts, now);
            if !facts.is_active_at(now) {
                inactive.remember(token, deadlines[token as usize]);
                continue;
            }
        }
        let next_use = next_uses[n] as usize;
        if next_use < trace.requests.len() && trace.time(next_use) < deadlines[token as usize] {
            kept.insert(next_use);
            if kept.len() > capacity {
                kept.pop_last();
            }
        }
    }
    questions
}

/// For each request the number of the next one with the same token.
fn next_uses(trace: &Trace) -> Vec<u32> {
    let mut next_by_token = vec![u32::MAX; trace.tokens.len()];
    let mut next_uses = vec![u32::MAX; trace.requests.len()];
    for (n, &token) in trace.requests.iter().enumerate().rev() {
        next_uses[n] = next_by_token[token as usize];
        next_by_token[token as usize] = u32::try_from(n).unwrap();
    }
    next_uses
}

/// The least recently used answer makes room. An answer that no longer serves gives up its place at once.
pub fn lru(trace: &Trace, capacity: usize, limits: Limits) -> usize {
    let mut recency = Recency::new(trace.tokens.len());
    let mut deadlines = Deadlines::for_tokens(trace.tokens.len());
    let mut inactive = Inactive::default();
    let mut questions = 0;
    for (_, now, token) in trace.iter() {
        deadlines.pass(now, |token| recency.remove(token));
        if recency.contains(token) {
            recency.remove(token);
            recency.push(token);
            continue;
        }
        if inactive.serves(token, now) {
            continue;
        }
        questions += 1;
        let deadline = limits.deadline(trace.token(token), now);
        if trace.token(token).is_active_at(now) {
            deadlines.set(token, deadline);
            recency.push(token);
            if recency.len > capacity {
                recency.remove(recency.oldest());
            }
        } else {
            inactive.remember(token, deadline);
        }
    }
    questions
}

#[derive(Default)]
struct Inactive(HashMap<u32, i64>);

impl Inactive {
    fn serves(&self, token: u32, now: i64) -> bool {
        self.0.get(&token).is_some_and(|&deadline| now < deadline)
    }

    fn remember(&mut self, token: u32, deadline: i64) {
        self.0.insert(token, deadline);
    }
}

/// Tokens in the order of their last use: a ring of links, closed by one more place than there are tokens.
struct Recency {
    older: Vec<u32>,
    newer: Vec<u32>,
    len: usize,
}

const NOT_THERE: u32 = u32::MAX;

impl Recency {
    fn new(tokens: usize) -> Self {
        let mut empty = Self { older: vec![NOT_THERE; tokens + 1], newer: vec![NOT_THERE; tokens + 1], len: 0 };
        let end = empty.end();
        empty.link(end, end);
        empty
    }

    fn end(&self) -> u32 {
        u32::try_from(self.older.len() - 1).unwrap()
    }

    fn link(&mut self, older: u32, newer: u32) {
        self.newer[older as usize] = newer;
        self.older[newer as usize] = older;
    }

    fn contains(&self, token: u32) -> bool {
        self.newer[token as usize] != NOT_THERE
    }

    fn oldest(&self) -> u32 {
        self.newer[self.end() as usize]
    }

    fn push(&mut self, token: u32) {
        let end = self.end();
        self.link(self.older[end as usize], token);
        self.link(token, end);
        self.len += 1;
    }

    fn remove(&mut self, token: u32) {
        if self.contains(token) {
            self.link(self.older[token as usize], self.newer[token as usize]);
            self.newer[token as usize] = NOT_THERE;
            self.len -= 1;
        }
    }
}
