//! What the scripts answer. Anything else is `None`: the server is not ours alone.

use std::time::Duration;

use redis::Value;

use crate::fleet::engine::{Claimed, Lease, Node, NodeId, Page, Position, Stored};

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

pub(super) fn items<const N: usize>(value: Value) -> Option<[Value; N]> {
    list(value)?.try_into().ok()
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

/// Scripts tell numbers that may be large as text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => (*number).try_into().ok(),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

fn time(value: &Value) -> Option<i64> {
    number(value)?.try_into().ok()
}

fn flag(value: &Value) -> Option<bool> {
    number(value).map(|number| number != 0)
}

fn node_id(value: Value) -> Option<NodeId> {
    u128::from_str_radix(&text(value)?, 16).ok().map(NodeId)
}

pub(super) fn claimed(value: Value, node: NodeId) -> Option<Claimed> {
    let [now, value, owner, left] = items(value)?;
    let lease = match bytes(owner.clone())?.is_empty() {
        true => Lease::NotNeeded,
        false => match node_id(owner)? {
            owner if owner == node => Lease::Ours,
            owner => Lease::Of(owner, Duration::from_millis(number(&left)?)),
        },
    };
    Some(Claimed { now: time(&now)?, value: bytes(value), lease })
}

pub(super) fn stored(value: Value) -> Option<Stored> {
    let [had_value, is_stored] = items(value)?;
    Some(Stored { had_value: flag(&had_value)?, is_stored: flag(&is_stored)? })
}

pub(super) fn appended(value: Value) -> Option<(u64, u64)> {
    let [epoch, number_of_record] = items(value)?;
    Some((number(&epoch)?, number(&number_of_record)?))
}

/// A page that was asked for with these. Where a record is missing, what was read before is no beginning.
pub(super) fn page(value: Value, after: Option<Position>, limit: u64) -> Option<Page> {
    let [now, epoch, first, last, nonce, continues, records] = items(value)?;
    let records: Option<Vec<_>> = list(records)?.into_iter().map(record).collect();
    let mut page = Page {
        now: time(&now)?,
        epoch: number(&epoch)?,
        first: number(&first)?,
        last: Position { number: number(&last)?, nonce: number(&nonce)? },
        continues: flag(&continues)?,
        records: records?,
    };
    let mut expected = after.map_or(page.first, |after| after.number.saturating_add(1).max(page.first));
    let mut is_whole = true;
    for (position, _) in &page.records {
        if position.number != expected {
            is_whole = false;
            page.first = if after.is_none() { position.number } else { page.first };
        }
        expected = position.number.saturating_add(1);
    }
    let is_last_page = u64::try_from(page.records.len()).unwrap_or(u64::MAX) < limit;
    if is_last_page && expected <= page.last.number {
        is_whole = false;
        page.first = if after.is_none() { page.last.number.saturating_add(1) } else { page.first };
    }
    page.continues &= is_whole || after.is_none();
    Some(page)
}

fn record(value: Value) -> Option<(Position, Vec<u8>)> {
    let [id, record] = items(value)?;
    let id = text(id)?;
    let (number, nonce) = id.split_once('-')?;
    Some((Position { number: number.parse().ok()?, nonce: nonce.parse().ok()? }, bytes(record)?))
}

pub(super) fn nodes(value: Value) -> Option<Vec<Node>> {
    // What another program put there is no node.
    Some(list(value)?.into_iter().filter_map(node).collect())
}

fn node(value: Value) -> Option<Node> {
    let [id, ago, settings] = items(value)?;
    let ago = Duration::from_millis(number(&ago)?);
    Some(Node { id: node_id(id)?, ago, settings: bytes(settings)? })
}

/// `None` if it is not understood.
#[allow(clippy::option_option)]
pub(super) fn turn(value: &Value) -> Option<Option<Duration>> {
    match value {
        Value::Nil => Some(None),
        value => number(value).map(Duration::from_micros).map(Some),
    }
}
