//! The log and who reads it.

use std::time::Duration;

use super::{MINUTE, ROUNDING, Subject, look, some_name, some_node};
use crate::fleet::engine::{Announce, Append, Page, Position, Read};

fn numbers(page: &Page) -> Vec<u64> {
    page.records.iter().map(|(position, _)| position.number).collect()
}

pub(crate) async fn an_empty_log_begins_at_one(subject: &Subject) {
    for after in [None, Some(Position::default())] {
        let page = subject.read(after).await;
        assert!(page.continues && page.records.is_empty());
        assert_eq!((page.first, page.last), (1, Position::default()));
    }
    assert!(!subject.read(Some(Position { number: 1, nonce: 0 })).await.continues);
}

pub(crate) async fn records_are_numbered_without_a_gap(subject: &Subject) {
    for n in 1..=20 {
        let appended = subject.append(&[n], u64::from(n) * 1_000).await;
        assert_eq!(appended.position, Position { number: n.into(), nonce: u64::from(n) * 1_000 });
        assert_eq!(appended.epoch, subject.read(None).await.epoch);
    }
    let page = subject.read(None).await;
    let all = (1..=20_u8).map(|n| (Position { number: n.into(), nonce: u64::from(n) * 1_000 }, vec![n]));
    assert_eq!(page.records, all.collect::<Vec<_>>());
    assert_eq!((page.first, page.last), (1, Position { number: 20, nonce: 20_000 }));
}

pub(crate) async fn records_are_any_bytes_and_nonces_any_number(subject: &Subject) {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let records = [(Vec::new(), 0), (all.clone(), u64::MAX), (all.repeat(16), u64::MAX - 1), (vec![0], 1 << 53)];
    for (record, nonce) in &records {
        assert_eq!(subject.append(record, *nonce).await.position.nonce, *nonce);
    }
    let read = subject.read(None).await.records;
    assert_eq!(read.into_iter().map(|(position, record)| (record, position.nonce)).collect::<Vec<_>>(), records);
    for (number, nonce) in [(2, u64::MAX), (3, u64::MAX - 1), (4, 1 << 53)] {
        assert!(subject.read(Some(Position { number, nonce })).await.continues, "{number}");
        assert!(!subject.read(Some(Position { number, nonce: nonce ^ 1 })).await.continues, "{number}");
    }
}

pub(crate) async fn read_goes_on_after_a_position_page_by_page(subject: &Subject) {
    for n in 1..=7 {
        subject.append(&[n], n.into()).await;
    }
    let mut after = None;
    for expected in [vec![1, 2, 3], vec![4, 5, 6], vec![7], vec![]] {
        let page = subject.engine.read(Read { after, limit: 3, announce: None }).await.unwrap();
        assert!(page.continues && page.first == 1 && page.last.number == 7);
        assert_eq!(numbers(&page), expected);
        after = page.records.last().map_or(after, |(position, _)| Some(*position));
    }
    subject.append(&[8], 8).await;
    assert_eq!(numbers(&subject.read(after).await), [8]);
    assert_eq!(numbers(&subject.read(Some(Position::default())).await), [1, 2, 3, 4, 5, 6, 7, 8]);
}

pub(crate) async fn what_never_was_in_the_log_does_not_continue(subject: &Subject) {
    for n in 1..=3 {
        subject.append(b"record", n).await;
    }
    for (number, nonce) in [(2, 9), (3, 9), (4, 3), (4, 0), (1_000_000, 1), (u64::MAX, 1)] {
        assert!(!subject.read(Some(Position { number, nonce })).await.continues, "{number}, {nonce}");
    }
    for (number, nonce) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
        assert!(subject.read(Some(Position { number, nonce })).await.continues, "{number}, {nonce}");
    }
}

pub(crate) async fn the_newest_record_outlives_its_retention(subject: &Subject) {
    let retention = Duration::from_millis(50);
    let append = async |nonce| {
        subject.append_with(Append { record: b"record", nonce, retention, max_records: 1_000 }).await;
    };
    for nonce in 1..=3 {
        append(nonce).await;
    }
    let appended = subject.now().await;
    subject.until(async || subject.now().await > appended + 50).await;
    append(4).await;
    let page = subject.read(None).await;
    assert_eq!((page.first, numbers(&page), page.last.number), (4, vec![4], 4));
    let appended = page.now;
    subject.until(async || subject.now().await > appended + 50).await;
    assert_eq!(numbers(&subject.read(None).await), [4]);
    // Nothing after the third is missing; after the second, one is.
    for (nonce, continues) in [(4, true), (3, true), (2, false), (0, false)] {
        let page = subject.read(Some(Position { number: nonce, nonce })).await;
        assert_eq!(page.continues, continues, "{nonce}");
    }
    // What is kept for longer is still there.
    subject.append(b"record", 5).await;
    assert_eq!(numbers(&subject.read(None).await), [4, 5]);
}

pub(crate) async fn no_more_records_are_kept_than_allowed(subject: &Subject) {
    for nonce in 1..=10 {
        subject.append_with(Append { record: b"record", nonce, retention: MINUTE, max_records: 4 }).await;
        let page = subject.read(None).await;
        assert_eq!(page.last, Position { number: nonce, nonce });
        let first = nonce.saturating_sub(3).max(1);
        assert_eq!((page.first, numbers(&page)), (first, (first..=nonce).collect()));
    }
    assert_eq!(numbers(&subject.read(None).await), [7, 8, 9, 10]);
    assert!(subject.read(Some(Position { number: 6, nonce: 6 })).await.continues);
    assert!(!subject.read(Some(Position { number: 5, nonce: 5 })).await.continues);
}

pub(crate) async fn nodes_that_announce_themselves_are_known_until_they_are_forgotten(subject: &Subject) {
    let (lasting, fleeting) = (some_node(), some_node());
    let read = async |node, settings: &[u8], forget_after| {
        let announce = Some(Announce { node, settings, forget_after });
        subject.engine.read(Read { after: None, limit: 10, announce }).await.unwrap().now
    };
    let nodes = async || {
        let mut nodes = subject.engine.nodes().await.unwrap();
        nodes.sort_by_key(|node| node.id.0);
        nodes
    };
    assert!(nodes().await.is_empty());
    let settings: Vec<u8> = (0..=u8::MAX).collect();
    read(lasting, b"", MINUTE).await;
    read(lasting, &settings, MINUTE).await;
    read(fleeting, b"", MINUTE).await;
    let known = nodes().await;
    assert_eq!(known.len(), 2);
    let node = known.iter().find(|node| node.id == lasting).unwrap();
    assert_eq!(node.settings, settings);
    assert!(node.ago < MINUTE);
    let announced = read(fleeting, b"", Duration::from_millis(200)).await;
    subject.until(async || nodes().await.len() == 1).await;
    let now = subject.now().await;
    assert!(now >= announced + 200 - ROUNDING, "forgotten too early");
    let [node] = &nodes().await[..] else { panic!("not one") };
    assert!(node.id == lasting && node.ago.as_millis() >= 198, "{:?}", node.ago);
}

pub(crate) async fn all_calls_tell_one_time(subject: &Subject) {
    let (name, node) = (some_name(), some_node());
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(subject.now().await);
        told.push(subject.claim_with(look(&name, node)).await.now);
        (subject.advance)(Duration::from_millis(2)).await;
    }
    assert!(told.is_sorted(), "{told:?}");
    assert!(told[9] > told[0], "{told:?}");
}
