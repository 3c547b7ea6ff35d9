//! A cluster whose slots move, and whose servers hang up.

use super::super::server::Move;
use super::*;

/// Until `holds`, at most ten seconds. The log is read meanwhile, as a process does.
async fn reads_until(engine: &RedisEngine, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        let _ = read(engine, None).await;
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it has not come about: {what}");
}

async fn start() -> Option<(Cluster, RedisEngine)> {
    let cluster = Cluster::start(Program::Redis)?;
    let engine = engine(&cluster.url(), "fleet");
    reads_until(&engine, "a value can be stored", async || put(&engine).await.is_ok()).await;
    Some((cluster, engine))
}

#[tokio::test]
async fn while_a_slot_moves_its_values_are_away_and_then_they_are_where_it_is() {
    let Some((cluster, engine)) = start().await else { return };
    claim(&engine).await.unwrap();
    let moving = Move::begin(&cluster, &engine.value(&name()));
    claim(&engine).await.unwrap();
    // Of value and lease one is left, and then none.
    for most in [1, 1] {
        moving.take(most);
        let error = claim(&engine).await.err().unwrap();
        assert_eq!(error.kind, EngineErrorKind::Connection, "{error}");
    }
    read(&engine, None).await.unwrap();
    moving.end();
    let error = claim(&engine).await.err().unwrap();
    assert_eq!(error.kind, EngineErrorKind::Connection, "{error}");
    reads_until(&engine, "the value is found", async || {
        claim(&engine).await.is_ok_and(|claimed| claimed.value.is_some())
    })
    .await;
}

#[tokio::test]
async fn when_the_slot_of_the_log_has_moved_another_server_goes_on_with_it_in_another_epoch() {
    let Some((cluster, engine)) = start().await else { return };
    engine.append(Append { record: b"", nonce: 1, retention: MINUTE, max_records: 9 }).await.unwrap();
    let before = read(&engine, None).await.unwrap();
    let moving = Move::begin(&cluster, &engine.log("records"));
    moving.take(1);
    let error = read(&engine, None).await.err().unwrap();
    assert_eq!(error.kind, EngineErrorKind::Connection, "{error}");
    moving.end();
    reads_until(&engine, "the log is read", async || read(&engine, None).await.is_ok()).await;
    let after = read(&engine, Some(before.last)).await.unwrap();
    assert!(after.epoch > before.epoch && after.continues && after.last == before.last);
    engine.append(Append { record: b"", nonce: 2, retention: MINUTE, max_records: 9 }).await.unwrap();
}

/// Nobody waits for an answer over such a connection, and reading the log needs another one.
#[tokio::test]
async fn a_connection_that_breaks_while_nobody_uses_it_is_made_again() {
    let Some((cluster, engine)) = start().await else { return };
    let (_, of_log) = cluster.slot_of(&engine.log("records"));
    let names = (0..100).map(|n| Name(n.to_string()));
    let elsewhere = names.map(|name| (cluster.slot_of(&engine.value(&name)).1, name));
    let (place, name) = elsewhere.into_iter().find(|(place, _)| *place != of_log).unwrap();
    reads_until(&engine, "it answers", async || engine.claim(claim_of(&name)).await.is_ok()).await;
    cluster.0[place].says(&["CLIENT", "KILL", "TYPE", "normal"]);
    reads_until(&engine, "it is broken", async || engine.connections.link(&engine.value(&name)).is_err()).await;
    reads_until(&engine, "it is connected to again", async || engine.claim(claim_of(&name)).await.is_ok()).await;
}
