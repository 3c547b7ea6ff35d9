//! The last writes, so that another server can take over that has not heard of them.

use std::collections::VecDeque;

use super::log::Log;
use super::state::{State, Value};
use crate::fleet::engine::Position;

const MOST_WRITES: usize = 1_000;

#[derive(Default)]
pub(super) struct Journal(VecDeque<Write>);

/// With what undoes it.
enum Write {
    Value { key: String, old: Option<Value> },
    Append { fleet: String, position: Position, before: Position },
}

impl Journal {
    pub(super) fn note_value(&mut self, key: &str, old: Option<Value>) {
        self.note(Write::Value { key: key.to_owned(), old });
    }

    pub(super) fn note_append(&mut self, fleet: &str, position: Position, before: Position) {
        self.note(Write::Append { fleet: fleet.to_owned(), position, before });
    }

    fn note(&mut self, write: Write) {
        if self.0.len() >= MOST_WRITES {
            self.0.pop_front();
        }
        self.0.push_back(write);
    }
}

impl State {
    /// The other server has none of the last `losing` writes.
    pub(super) fn fail_over(&mut self, losing: usize) {
        for _ in 0..losing {
            match self.journal.0.pop_back() {
                Some(Write::Value { key, old: Some(old) }) => drop(self.values.insert(&key, old)),
                Some(Write::Value { key, old: None }) => drop(self.values.remove(&key)),
                Some(Write::Append { fleet, position, before }) => {
                    if let Some(log) = self.logs.get_mut(&fleet) {
                        undo_append(log, position, before);
                    }
                }
                None => break,
            }
        }
        self.server += 1;
    }
}

fn undo_append(log: &mut Log, position: Position, before: Position) {
    if log.last == position {
        log.last = before;
        log.records.pop_back();
    }
}
