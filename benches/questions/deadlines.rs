//! Which answers no longer serve: a queue of moments.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub struct Deadlines {
    of_token: Vec<i64>,
    queue: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Deadlines {
    pub fn for_tokens(tokens: usize) -> Self {
        Self { of_token: vec![i64::MIN; tokens], queue: BinaryHeap::new() }
    }

    /// In place of the one it had.
    pub fn set(&mut self, token: u32, deadline: i64) {
        self.of_token[token as usize] = deadline;
        self.queue.push(Reverse((deadline, token)));
    }

    /// Tells of each token whose deadline has come.
    pub fn pass(&mut self, now: i64, mut forget: impl FnMut(u32)) {
        while let Some(&Reverse((deadline, token))) =
            self.queue.peek().filter(|Reverse((deadline, _))| *deadline <= now)
        {
            self.queue.pop();
            if self.of_token[token as usize] == deadline {
                forget(token);
            }
        }
    }
}
