//! The requests of the simulation: which token is presented when, and what the authority would say of it.

use crate::support::random::{Random, Zipf};

/// Simulated time is in milliseconds. It begins here.
pub const BEGINNING: i64 = 1_700_000_000_000;
const MINUTE: i64 = 60 * 1_000;
/// How long tokens live, from and to.
const LIFETIME: (i64, i64) = (30 * MINUTE, 12 * 60 * MINUTE);
/// The part of all tokens that is revoked at some moment of its life.
const REVOKED_PART: f64 = 0.05;
/// How long a client goes on presenting a revoked token until it gets itself another.
const CLIENT_NOTICES: i64 = 5 * MINUTE;
const NEVER: i64 = i64::MAX;

/// What the authority knows of a token.
pub struct Token {
    pub expires_at: i64,
    pub revoked_at: i64,
}

impl Token {
    /// `remaining` of its life, which chance chooses, is ahead of it.
    fn issued(now: i64, remaining: f64, random: &mut Random) -> Self {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // milliseconds
        let lifetime = (random.between(LIFETIME.0, LIFETIME.1) as f64 * remaining) as i64 + 1;
        let is_revoked = random.part() < REVOKED_PART;
        let revoked_at = if is_revoked { random.between(now, now + lifetime) } else { NEVER };
        Self { expires_at: now + lifetime, revoked_at }
    }

    pub fn is_active_at(&self, now: i64) -> bool {
        now < self.expires_at && now < self.revoked_at
    }

    fn is_presented_at(&self, now: i64) -> bool {
        now < self.expires_at && now < self.revoked_at.saturating_add(CLIENT_NOTICES)
    }
}

pub struct Trace {
    pub population: usize,
    /// Which token each request presents.
    pub requests: Vec<u32>,
    pub tokens: Vec<Token>,
    rate: i64,
}

impl Trace {
    /// Requests come evenly spaced, `rate` a second; which of the `population` clients sends one is up to chance: the
    /// one of rank `r` is chosen with a probability proportional to `1/r`. A client has one token at a time. The one it
    /// has when it is first heard of is somewhere in its life; the next ones are issued when it needs them.
    pub fn new(requests: usize, population: usize, rate: i64) -> Self {
        let mut random = Random::seeded(population as u64);
        let ranks = Zipf::new(population);
        let mut held = vec![u32::MAX; population];
        let mut trace = Self { population, requests: Vec::with_capacity(requests), tokens: Vec::new(), rate };
        for n in 0..requests {
            let (now, rank) = (trace.time(n), ranks.choose(&mut random));
            let is_new = held[rank] == u32::MAX;
            if is_new || !trace.token(held[rank]).is_presented_at(now) {
                held[rank] = u32::try_from(trace.tokens.len()).unwrap();
                let remaining = if is_new { random.part() } else { 1.0 };
                trace.tokens.push(Token::issued(now, remaining, &mut random));
            }
            trace.requests.push(held[rank]);
        }
        trace
    }

    /// When the `n`th request comes.
    pub fn time(&self, n: usize) -> i64 {
        BEGINNING + i64::try_from(n).unwrap() * 1_000 / self.rate
    }

    pub fn token(&self, token: u32) -> &Token {
        &self.tokens[token as usize]
    }

    /// Each request: its number, when it comes, and which token it presents.
    pub fn iter(&self) -> impl Iterator<Item = (usize, i64, u32)> {
        self.requests.iter().enumerate().map(|(n, &token)| (n, self.time(n), token))
    }

    /// How long all of it lasts.
    pub fn seconds(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let millis = (self.time(self.requests.len()) - BEGINNING) as f64;
        millis / 1_000.0
    }

    /// How many requests present a token that is revoked by then.
    pub fn after_revocation(&self) -> usize {
        self.iter().filter(|&(_, now, token)| !self.token(token).is_active_at(now)).count()
    }
}
