//! What the authority knew, and whether an answer goes with that.
//!
//! * No token is accepted at its expiry or later, nor `max_ttl` after the authority took it away, nor if it never was.
//! * None is refused that is active, and no request fails: the authority never does.
//! * Once an invalidation is recorded, a process that has read the log since refuses the token, for good. A process
//!   that has not, since the engine lost the record before, is held to `max_ttl` alone.
//!
//! All times are those of one clock, and that of a request is when it began in the process.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::authority::Authority;
use crate::process::Answer;
use crate::random::Random;
use crate::{micros, now};

/// The clock of a process shows whole milliseconds, and so does the time of a read.
const ROUNDED: u64 = 2_000;
/// How long a token is presented on after it has ended, whichever way.
const AFTERWARDS: u64 = 3_500_000;

pub struct Judge {
    pub authority: Authority,
    /// Of each cache, in microseconds.
    max_ttls: Vec<u64>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    tokens: HashMap<String, Token>,
    /// The tokens that are presented.
    present: Vec<String>,
    /// From when until when the engine may have lost what it had taken.
    losses: Vec<(u64, u64)>,
    /// When each process has read the log.
    reads: HashMap<u64, BTreeSet<u64>>,
    /// Which process has refused which token, after its invalidation.
    heard: HashSet<(u64, String)>,
    counts: Counts,
    /// Microseconds that answers took.
    took: Vec<u64>,
    wrong: Vec<String>,
}

#[derive(Clone)]
struct Token {
    cache: usize,
    subject: String,
    expires_at: u64,
    /// The authority is about to say no, or does.
    is_revoked: bool,
    /// From when on it does.
    revoked_at: Option<u64>,
    invalidated: Option<Invalidated>,
}

#[derive(Clone, Copy)]
struct Invalidated {
    began_at: u64,
    recorded_at: u64,
}

#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    pub accepted: usize,
    pub refused: usize,
    /// Failed in a process that had been stopped for longer than a question may take.
    pub excused: usize,
    pub recorded: usize,
    pub queued: usize,
    /// Accepted by who had read the log, from which the record was lost before.
    pub unheard: usize,
}

/// What the authority has taken away.
pub struct Revoked {
    pub cache: usize,
    tokens: Vec<String>,
    /// As [`Process::invalidates`](crate::process::Process::invalidates) takes it.
    pub what: String,
}

impl Judge {
    /// With as many tokens, which have the caches in turn.
    pub fn new(authority: Authority, max_ttls: &[Duration], tokens: usize, random: &mut Random) -> Self {
        let max_ttls: Vec<_> = max_ttls.iter().copied().map(micros).collect();
        let mut known = Known::default();
        for place in 0..tokens {
            let token = known.issue(&authority, place, place % max_ttls.len(), random);
            known.present.push(token);
        }
        Self { authority, max_ttls, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// One to present, with its cache: some far more often than others. Those that have ended are replaced in time.
    pub fn choose(&self, random: &mut Random) -> (usize, String) {
        let mut known = self.known();
        let count = known.present.len();
        let place = random.below(count) * random.below(count) / count;
        let token = known.tokens[&known.present[place]].clone();
        let ended_at = token.revoked_at.unwrap_or(token.expires_at).min(token.expires_at);
        if ended_at + AFTERWARDS < now() {
            let next = known.issue(&self.authority, place, token.cache, random);
            known.present[place] = next;
        }
        (token.cache, known.present[place].clone())
    }

    /// Has the authority take away a token, or all of its subject. Returns what to invalidate, and where.
    pub fn revoke(&self, whole_subject: bool, random: &mut Random) -> Revoked {
        let mut known = self.known();
        let place = random.below(known.present.len());
        let chosen = known.present[place].clone();
        let Token { cache, subject, .. } = known.tokens[&chosen].clone();
        let is_of_it = |token: &Token| token.subject == subject && token.cache == cache;
        let tokens: Vec<_> = if whole_subject {
            let all = known.tokens.iter().filter(|(_, token)| is_of_it(token));
            all.map(|(name, _)| name.clone()).collect()
        } else {
            vec![chosen.clone()]
        };
        for token in &tokens {
            known.tokens.get_mut(token).unwrap().is_revoked = true;
            self.authority.revoke(token);
        }
        let revoked_at = now();
        for token in &tokens {
            known.tokens.get_mut(token).unwrap().revoked_at.get_or_insert(revoked_at);
        }
        let what = if whole_subject { format!("subject {subject}") } else { format!("token {chosen}") };
        Revoked { cache, tokens, what }
    }

    /// What became of an invalidation that began then.
    pub fn invalidated(&self, revoked: &Revoked, began_at: u64, (reach, recorded_at): (String, u64)) {
        let mut known = self.known();
        if reach != "recorded" {
            known.counts.queued += 1;
            return;
        }
        known.counts.recorded += 1;
        for token in &revoked.tokens {
            let token = known.tokens.get_mut(token).unwrap();
            token.invalidated.get_or_insert(Invalidated { began_at, recorded_at });
        }
    }

    /// From now on until [`has_lost`](Self::has_lost) the engine may lose what it has.
    pub fn may_lose(&self) {
        self.known().losses.push((now(), u64::MAX));
    }

    pub fn has_lost(&self) {
        self.known().losses.last_mut().unwrap().1 = now();
    }

    /// Whether something `was_stopped` meanwhile that only the process itself can be slow by.
    pub fn judge(&self, process: u64, token: &str, answer: &Answer, was_stopped: bool) {
        let answered_at = answer.began_at + answer.took;
        let known = &mut *self.known();
        if !was_stopped {
            known.took.push(answer.took);
        }
        let Token { cache, expires_at, is_revoked, revoked_at, invalidated, .. } = known.tokens[token];
        let has_read = |invalidated: &Invalidated| answer.read_at > invalidated.recorded_at + ROUNDED;
        let invalidated = invalidated.filter(has_read);
        known.reads.entry(process).or_default().insert(answer.read_at);
        let heard = (process, token.to_owned());
        let problem = if answer.is_active() {
            known.counts.accepted += 1;
            let reads = &known.reads[&process];
            // By a loss before the process had read it.
            let lost = |of: Invalidated| {
                let loss = known.losses.iter().find(|(_, until)| *until >= of.began_at);
                loss.is_some_and(|(from, _)| {
                    let read = of.recorded_at + ROUNDED..*from;
                    read.is_empty() || reads.range(read).next().is_none()
                })
            };
            if answer.began_at >= expires_at {
                Some("accepted at its expiry")
            } else if revoked_at.is_some_and(|at| answer.began_at >= at + self.max_ttls[cache] + ROUNDED) {
                Some("accepted longer than max_ttl after it was revoked")
            } else if known.heard.contains(&heard) {
                Some("accepted again after its invalidation")
            } else if invalidated.is_some_and(|of| !lost(of)) {
                Some("accepted though the log has its invalidation and was read")
            } else {
                known.counts.unheard += usize::from(invalidated.is_some());
                None
            }
        } else if answer.is_inactive() {
            known.counts.refused += 1;
            if invalidated.is_some() {
                known.heard.insert(heard);
            }
            let is_active = !is_revoked && answered_at < expires_at;
            is_active.then_some("refused though it is active")
        } else if was_stopped {
            known.counts.excused += 1;
            None
        } else {
            Some("not answered")
        };
        if let Some(problem) = problem {
            let times = [("expires", Some(expires_at)), ("revoked", revoked_at), ("read", Some(answer.read_at))];
            let times = times.map(|(what, at)| (what, at.map(|at| at.cast_signed() - answer.began_at.cast_signed())));
            known.wrong.push(format!("process {process}, {token}, {answer:?}: {problem}; {times:?}"));
        }
    }

    pub fn counts(&self) -> Counts {
        self.known().counts
    }

    /// Prints what was seen.
    ///
    /// # Panics
    /// If an answer was wrong, or a request was not answered.
    pub fn verdict(&self) {
        let known = &mut *self.known();
        known.took.sort_unstable();
        let count = known.took.len();
        assert!(count > 0, "nothing was asked");
        let part = |part: usize| known.took[(count * part / 1_000).min(count - 1)] / 1_000;
        let above = |millis: u64| known.took.iter().filter(|took| **took > millis * 1_000).count();
        println!("{:?}, questions: {}", known.counts, self.authority.questions());
        println!(
            "answered in: p50 {} ms, p99 {} ms, p99.9 {} ms; of {count} above 55 ms: {}, 100 ms: {}, 350 ms: {}, 2 s: {}",
            part(500),
            part(990),
            part(999),
            above(55),
            above(100),
            above(350),
            above(2_000)
        );
        let wrong: Vec<_> = known.wrong.iter().take(10).collect();
        assert!(wrong.is_empty(), "{} wrong answers: {wrong:#?}", known.wrong.len());
        assert!(above(2_000) * 100 <= count, "requests wait for the engine");
    }
}

impl Known {
    fn issue(&mut self, authority: &Authority, place: usize, cache: usize, random: &mut Random) -> String {
        let token = format!("token-{place}-{:016x}", random.next());
        let subject = format!("user-{}", place / 6);
        let expires_at = authority.issue(&token, &subject, "north", random.millis(4_000, 20_000));
        let state = Token { cache, subject, expires_at, is_revoked: false, revoked_at: None, invalidated: None };
        self.tokens.insert(token.clone(), state);
        token
    }
}
