//! The log of one fleet: records, numbered without a gap, and who reads them.

use std::collections::VecDeque;
use std::time::Duration;

use super::bounded::Bounded;
use super::millis;
use crate::fleet::engine::{Announce, Append, EngineTime, Epoch, Node, NodeId, Page, Position, Read};

const MOST_NODES: usize = 10_000;

pub(super) struct Log {
    pub(super) epoch: Epoch,
    /// The server that wrote it last.
    pub(super) server: u64,
    pub(super) greatest_time: EngineTime,
    pub(super) last: Position,
    pub(super) records: VecDeque<Record>,
    nodes: Bounded<Announced>,
}

pub(super) struct Record {
    pub(super) position: Position,
    at: EngineTime,
    bytes: Vec<u8>,
}

struct Announced {
    id: NodeId,
    at: EngineTime,
    settings: Vec<u8>,
    forget_after: Duration,
}

impl Announced {
    fn is_alive(&self, now: EngineTime) -> bool {
        now.saturating_sub(self.at) <= millis(self.forget_after)
    }
}

impl Log {
    pub(super) fn new(epoch: Epoch, server: u64, now: EngineTime) -> Self {
        let nodes = Bounded::new(MOST_NODES);
        Self { epoch, server, greatest_time: now, last: Position::default(), records: VecDeque::new(), nodes }
    }

    pub(super) fn append(&mut self, append: &Append, now: EngineTime) -> Position {
        self.last = Position { number: self.last.number + 1, nonce: append.nonce };
        self.records.push_back(Record { position: self.last, at: now, bytes: append.record.to_vec() });
        let most = usize::try_from(append.max_records).unwrap_or(usize::MAX).max(1);
        let kept_since = now.saturating_sub(millis(append.retention));
        // The newest is of now, so it stays.
        while self.records.len() > most || self.records.front().is_some_and(|oldest| oldest.at < kept_since) {
            self.records.pop_front();
        }
        self.last
    }

    pub(super) fn read(&mut self, read: &Read, now: EngineTime) -> Page {
        if let Some(announce) = &read.announce {
            self.announce(announce, now);
        }
        let first = self.first();
        let from = read.after.map_or(0, |after| self.records.partition_point(|r| r.position.number <= after.number));
        let limit = usize::try_from(read.limit).unwrap_or(usize::MAX);
        let records = self.records.iter().skip(from).take(limit);
        Page {
            now,
            epoch: self.epoch,
            first,
            last: self.last,
            continues: read.after.is_none_or(|after| self.continues(after)),
            records: records.map(|record| (record.position, record.bytes.clone())).collect(),
        }
    }

    fn first(&self) -> u64 {
        self.records.front().map_or(self.last.number + 1, |oldest| oldest.position.number)
    }

    fn continues(&self, after: Position) -> bool {
        if after.number == self.last.number {
            return after.number == 0 || after == self.last;
        }
        let first = self.first();
        if after.number < first {
            return after.number + 1 == first;
        }
        let found = self.records.binary_search_by_key(&after.number, |record| record.position.number);
        found.is_ok_and(|index| self.records.get(index).is_some_and(|record| record.position == after))
    }

    fn announce(&mut self, announce: &Announce, now: EngineTime) {
        self.nodes.retain(|node| node.is_alive(now));
        let &Announce { node, settings, forget_after } = announce;
        let announced = Announced { id: node, at: now, settings: settings.to_vec(), forget_after };
        self.nodes.insert(&node.0.to_string(), announced);
    }

    pub(super) fn nodes(&self, now: EngineTime) -> Vec<Node> {
        let alive = self.nodes.values().filter(|node| node.is_alive(now));
        let node = |node: &Announced| Node {
            id: node.id,
            ago: Duration::from_millis(now.saturating_sub(node.at).max(0).unsigned_abs()),
            settings: node.settings.clone(),
        };
        alive.map(node).collect()
    }
}
