//! What somebody else put under the names of a fleet, or took away.

use super::*;

async fn start() -> Option<(Server, RedisEngine)> {
    let server = Server::start(Program::Redis, &[])?;
    let engine = engine(&server.url(), "fleet");
    read(&engine, None).await.unwrap();
    Some((server, engine))
}

async fn append(engine: &RedisEngine, nonce: u64) -> Appended {
    engine.append(Append { record: b"record", nonce, retention: MINUTE, max_records: 100 }).await.unwrap()
}

#[tokio::test]
async fn another_type_under_the_name_of_a_token_is_as_good_as_nothing() {
    let Some((server, engine)) = start().await else { return };
    for key in ["fleet:{name}", "fleet:{name}:lease", "fleet:{name}:rate"] {
        server.says(&["LPUSH", key, "x"]);
    }
    let claimed = claim(&engine).await.unwrap();
    assert!(claimed.value.is_none() && claimed.lease == Lease::Ours);
    assert_eq!(put(&engine).await.unwrap(), Stored { had_value: false, is_stored: true });
    server.says(&["LPUSH", "fleet:{name}:lease", "x"]);
    engine.renew(&[name()], NODE, MINUTE).await.unwrap();
    engine.release(&name(), NODE).await.unwrap();
    everything(&engine).await.unwrap();
}

#[tokio::test]
async fn a_value_that_is_none_is_not_handed_out_and_is_replaced() {
    let Some((server, engine)) = start().await else { return };
    let long = "\u{0}".repeat(70_000);
    // As one of an absurd epoch, too.
    let absurd = format!("{}{}", "\u{1}".repeat(40), "x");
    for stored in ["", "short", &long, &absurd] {
        server.says(&["SET", "fleet:{name}", stored]);
        let claimed = claim(&engine).await.unwrap();
        assert!(claimed.value.is_none() && claimed.lease == Lease::Ours);
        assert_eq!(put(&engine).await.unwrap(), Stored { had_value: false, is_stored: true });
    }
    assert!(claim(&engine).await.unwrap().value.is_some());
}

#[tokio::test]
async fn a_lease_without_an_end_or_an_owner_is_nobodys() {
    let Some((server, engine)) = start().await else { return };
    let other = format!("{:032x}", 8);
    for (owner, millis) in [(&*other, None), (&*other, Some("99999999999")), ("nobody", Some("60000")), ("", None)] {
        match millis {
            Some(millis) => server.says(&["SET", "fleet:{name}:lease", owner, "PX", millis]),
            None => server.says(&["SET", "fleet:{name}:lease", owner]),
        };
        assert_eq!(claim(&engine).await.unwrap().lease, Lease::Ours, "{owner} {millis:?}");
    }
    server.says(&["SET", "fleet:{name}:lease", &other, "PX", "60000"]);
    assert!(matches!(claim(&engine).await.unwrap().lease, Lease::Of(NodeId(8), _)));
}

#[tokio::test]
async fn an_absurd_rate_holds_nobody_up() {
    let Some((server, engine)) = start().await else { return };
    let late = "9007199254740000";
    // The last as if the clock had been set back since.
    let pairs = [format!("{late} 1"), format!("1 {late}"), format!("99999999999999999999 {late}"), [late; 2].join(" ")];
    let absurd = [late, "99999999999999999999", "-1", "x", ""].into_iter().chain(pairs.iter().map(String::as_str));
    for next in absurd {
        server.says(&["SET", "fleet:{name}:rate", next]);
        let turn =
            Turn { name: &name(), interval: 1, tolerance: 0, tolerance_of_known: 0, max_wait: 0, max_wait_of_known: 0 };
        assert_eq!(engine.take_turn(turn).await.unwrap(), Some(Duration::ZERO), "{next}");
    }
    assert!(server.says(&["PTTL", "fleet:{name}:rate"]) != ":-1\r\n");
}

#[tokio::test]
async fn turns_that_were_booked_before_the_clock_was_set_back_are_as_far_ahead_as_then() {
    let Some((server, engine)) = start().await else { return };
    server.says(&["SET", "fleet:{name}:rate", "9007199254740000 9007199154740000"]);
    let name = name();
    let turn = || Turn {
        name: &name,
        interval: 3_600_000_000,
        tolerance: 0,
        tolerance_of_known: 0,
        max_wait: 60_000_000,
        max_wait_of_known: 60_000_000,
    };
    assert_eq!(engine.take_turn(turn()).await.unwrap(), None);
    let stored = server.says(&["GET", "fleet:{name}:rate"]);
    assert!(!stored.contains("90071991") && stored.contains(' '), "it is booked as of now: {stored}");
}

#[tokio::test]
async fn a_log_of_another_type_or_with_absurd_numbers_is_told() {
    let Some((server, engine)) = start().await else { return };
    for (key, command) in [
        ("fleet:{log}:meta", vec!["SET", "fleet:{log}:meta", "x"]),
        ("fleet:{log}:records", vec!["SET", "fleet:{log}:records", "x"]),
        ("fleet:{log}:records", vec!["XADD", "fleet:{log}:records", "18446744073709551615-1", "a", "b"]),
    ] {
        server.says(&["FLUSHALL"]);
        server.says(&command);
        assert_eq!(read(&engine, None).await.err().unwrap().kind, EngineErrorKind::Answer, "{key}");
        let append = Append { record: b"", nonce: 1, retention: MINUTE, max_records: 1 };
        assert_eq!(engine.append(append).await.unwrap_err().kind, EngineErrorKind::Answer, "{key}");
    }
    server.says(&["FLUSHALL"]);
    server.says(&["SET", "fleet:{log}:nodes", "x"]);
    assert_eq!(engine.nodes().await.err().unwrap().kind, EngineErrorKind::Answer);
}

#[tokio::test]
async fn what_is_no_record_is_empty_and_what_is_no_node_is_none() {
    let Some((server, engine)) = start().await else { return };
    server.says(&["XADD", "fleet:{log}:records", "1-1", "a", "b"]);
    server.says(&["XADD", "fleet:{log}:records", "2-1", "t", "x", "r", &"x".repeat(70_000)]);
    for (id, text) in [("x", "1 1 x"), (&format!("{:032x}", 1), "y"), (&format!("{:032x}", 2), "1 1 z")] {
        server.says(&["HSET", "fleet:{log}:nodes", id, text]);
    }
    let page = read(&engine, None).await.unwrap();
    assert!(page.records.len() == 2 && page.records.iter().all(|(_, record)| record.is_empty()));
    assert_eq!(page.last, Position { number: 2, nonce: 1 });
    assert!(engine.nodes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_record_that_is_taken_out_is_a_gap() {
    let Some((server, engine)) = start().await else { return };
    for nonce in 1..=4 {
        append(&engine, nonce).await;
    }
    server.says(&["XDEL", "fleet:{log}:records", "3-3"]);
    let page = read(&engine, Some(Position { number: 1, nonce: 1 })).await.unwrap();
    assert!(!page.continues);
    assert_eq!(read(&engine, None).await.unwrap().first, 4);
    assert!(read(&engine, Some(Position { number: 4, nonce: 4 })).await.unwrap().continues);
}

#[tokio::test]
async fn another_server_or_a_clock_that_went_back_or_a_lost_log_begins_an_epoch() {
    let Some((server, engine)) = start().await else { return };
    let mut appended = append(&engine, 1).await;
    for command in [
        vec!["HSET", "fleet:{log}:meta", "replication", "another"],
        vec!["HSET", "fleet:{log}:meta", "seen", "4000000000000"],
        vec!["HSET", "fleet:{log}:meta", "seen", "x"],
        vec!["HDEL", "fleet:{log}:meta", "epoch"],
        vec!["DEL", "fleet:{log}:meta"],
    ] {
        // Epochs that began one after the other may be ahead of the time, and by that a lost one is made anew.
        while u64::try_from(read(&engine, None).await.unwrap().now).unwrap() <= appended.epoch {}
        server.says(&command);
        let page = read(&engine, None).await.unwrap();
        assert!(page.epoch > appended.epoch, "{command:?}");
        assert_eq!(page.last, appended.position, "{command:?}");
        assert_eq!(read(&engine, None).await.unwrap().epoch, page.epoch, "{command:?}");
        let number = appended.position.number + 1;
        appended = append(&engine, number).await;
        assert_eq!((appended.epoch, appended.position.number), (page.epoch, number), "{command:?}");
    }
    // The epoch that was is known: one that is as new does not do.
    server.says(&["HSET", "fleet:{log}:meta", "epoch", "4000000000000", "replication", "another"]);
    assert_eq!(read(&engine, None).await.unwrap().epoch, 4_000_000_000_001);
    server.says(&["FLUSHALL"]);
    let page = read(&engine, Some(appended.position)).await.unwrap();
    assert!(!page.continues && page.last.number == 0 && page.first == 1);
}
