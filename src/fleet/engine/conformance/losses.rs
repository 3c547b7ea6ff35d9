//! Callers that give up.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::{MINUTE, Subject, look, some_name, some_node, value, version};
use crate::fleet::engine::{Announce, Append, Claim, Exchange, Name, NodeId, Position, Put, Read, Turn};

/// Drops the exchange when it has been polled so often.
async fn give_up<T>(mut exchange: Exchange<'_, T>, polls: usize) {
    for _ in 0..polls {
        let is_done = poll_fn(|context| Poll::Ready(exchange.as_mut().poll(context).is_ready())).await;
        if is_done {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn exchanges_that_are_dropped_half_way_harm_no_other(subject: &Subject) {
    let (now, names) = (subject.now().await, [(); 20].map(|()| some_name()));
    for polls in 0..8 {
        give_up_each(subject, &some_name(), now, polls).await;
        let puts = names.iter().enumerate().map(|(n, name)| put_and_look(subject, name, now, n, polls));
        for is_the_same in side_by_side(puts.collect()).await {
            assert!(is_the_same, "{polls}");
        }
    }
    // Whatever was appended is there once and in order.
    let page = subject.read(None).await;
    let numbers: Vec<_> = page.records.iter().map(|(position, _)| position.number).collect();
    assert_eq!(numbers, (1..=page.last.number).collect::<Vec<_>>());
    assert_eq!(subject.append(b"record", 1).await.position, Position { number: page.last.number + 1, nonce: 1 });
}

async fn give_up_each(subject: &Subject, name: &Name, now: i64, polls: usize) {
    let (node, engine) = (some_node(), &subject.engine);
    let version = version(now);
    let value = value(version, b"dropped");
    let names = [name.clone()];
    give_up(engine.claim(Claim { lease: Some(MINUTE), ..look(name, node) }), polls).await;
    give_up(engine.renew(&names, node, MINUTE), polls).await;
    let put = Put { name, node, value: &value, version, until: now + 60_000, only_replace: false };
    give_up(engine.put(put), polls).await;
    give_up(engine.release(name, node), polls).await;
    give_up(engine.delete(name), polls).await;
    let append = Append { record: b"dropped", nonce: 7, retention: MINUTE, max_records: 1_000 };
    give_up(engine.append(append), polls).await;
    let announce = Some(Announce { node, settings: b"", forget_after: Duration::from_millis(1) });
    give_up(engine.read(Read { after: None, limit: 10, announce }), polls).await;
    give_up(engine.nodes(), polls).await;
    let turn = Turn { name, interval: 1, tolerance: 0, tolerance_of_known: 0, max_wait: 0, max_wait_of_known: 0 };
    give_up(engine.take_turn(turn), polls).await;
}

/// Whether it finds its own value, while others look for theirs and give up.
async fn put_and_look(subject: &Subject, name: &Name, now: i64, n: usize, polls: usize) -> bool {
    let node = NodeId(n as u128);
    let version = version(now + i64::try_from(polls).unwrap());
    let value = value(version, format!("{n} {polls}").as_bytes());
    let put = Put { name, node, value: &value, version, until: now + 60_000, only_replace: false };
    subject.engine.put(put).await.unwrap();
    give_up(subject.engine.claim(look(name, node)), polls).await;
    subject.look(name).await == Some(value)
}

/// Polls all of them side by side.
async fn side_by_side<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                *output = Some(ready);
            }
        }
        let is_done = futures.iter().all(|(_, output)| output.is_some());
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}
