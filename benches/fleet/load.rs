//! Requests by Zipf's law, of which each process has its part.

use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::member::Member;
use crate::process::wait_until;
use crate::support::random::{Random, Zipf};
use crate::support::token_name;

/// All processes have the same one, but for their place.
#[derive(Clone, Copy)]
pub struct Load {
    /// Microseconds since 1970.
    pub start: u64,
    pub seconds: u64,
    /// Requests a second of all processes together.
    pub rate: u64,
    pub tokens: u64,
    /// The processes take turns.
    pub place: u64,
    pub of: u64,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { start, seconds, rate, tokens, place, of } = self;
        write!(f, "load {start} {seconds} {rate} {tokens} {place} {of}")
    }
}

/// What became of the requests.
#[derive(Default)]
pub struct Outcome {
    pub accepted: u64,
    /// Refused, or not answered.
    pub others: u64,
    /// Microseconds by which the latest one was started too late.
    pub late: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} {}", self.accepted, self.others, self.late)
    }
}

impl Load {
    pub fn from_words(words: &[&str]) -> Self {
        let numbers: Vec<u64> = words.iter().map(|word| word.parse().unwrap()).collect();
        let &[start, seconds, rate, tokens, place, of] = numbers.as_slice() else { panic!("{words:?}") };
        Self { start, seconds, rate, tokens, place, of }
    }

    /// Each request begins when it is due, whatever became of those before.
    pub async fn put_on(self, member: &Arc<Member>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut asking = JoinSet::new();
        let mut count = |accepted: Option<bool>| match accepted {
            Some(true) => outcome.accepted += 1,
            _ => outcome.others += 1,
        };
        let ranks = Zipf::new(usize::try_from(self.tokens).unwrap());
        let (mut random, mut late) = (Random::seeded(self.tokens), 0);
        for n in 0..self.seconds * self.rate {
            let rank = ranks.choose(&mut random);
            if n % self.of != self.place {
                continue;
            }
            let due = self.start + n * 1_000_000 / self.rate;
            wait_until(due).await;
            late = late.max(crate::process::now().saturating_sub(due));
            let token = token_name('z', rank);
            match member.knows(&token) {
                Some(is_active) => count(Some(is_active)),
                None => {
                    let member = Arc::clone(member);
                    asking.spawn(async move { member.asks(&token).await });
                }
            }
            while let Some(done) = asking.try_join_next() {
                count(done.unwrap());
            }
        }
        while let Some(done) = asking.join_next().await {
            count(done.unwrap());
        }
        outcome.late = late;
        outcome
    }
}
