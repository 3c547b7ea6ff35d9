//! A server that is away, slow, full, or another's replica.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::server::free_port;
use super::*;

#[tokio::test]
async fn nothing_but_reading_the_log_connects() {
    let Some(server) = Server::start(Program::Redis, &[]) else { return };
    let engine = engine(&server.url(), "fleet");
    assert_eq!(claim(&engine).await.err().unwrap().kind, EngineErrorKind::Connection);
    assert_eq!(engine.nodes().await.err().unwrap().kind, EngineErrorKind::Connection);
    read(&engine, None).await.unwrap();
    claim(&engine).await.unwrap();
    let port = server.port;
    drop(server);
    assert_eq!(read(&engine, None).await.err().unwrap().kind, EngineErrorKind::Connection);
    assert_eq!(claim(&engine).await.err().unwrap().kind, EngineErrorKind::Connection);
    let _server = Server::start_on(Program::Redis, port, &[]);
    assert_eq!(claim(&engine).await.err().unwrap().kind, EngineErrorKind::Connection);
    read(&engine, None).await.unwrap();
    claim(&engine).await.unwrap();
}

#[tokio::test]
async fn where_nobody_listens_is_no_connection() {
    let error = read(&engine(&format!("redis://127.0.0.1:{}", free_port()), "fleet"), None).await.err().unwrap();
    assert_eq!(error.kind, EngineErrorKind::Connection);
}

/// Passes on what comes, or swallows what goes to the server while it is told to.
async fn proxy(to: u16) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap());
    let swallows = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&swallows);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut questions, mut to_client) = client.into_split();
            let (mut answers, mut to_server) = TcpStream::connect(("127.0.0.1", to)).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut to_client).await });
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut bytes = [0; 4_096];
                while let Ok(read @ 1..) = questions.read(&mut bytes).await {
                    if !told.load(Ordering::Relaxed) && to_server.write_all(&bytes[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, swallows)
}

#[tokio::test]
async fn a_connection_that_does_not_answer_is_given_up_for_a_new_one() {
    let Some(server) = Server::start(Program::Redis, &[]) else { return };
    let (address, swallows) = proxy(server.port).await;
    let short = Duration::from_millis(20);
    let options = RedisOptions { call_timeout: short, background_timeout: short, connect_timeout: short, ..patient() };
    let mut engine = RedisEngine::new(&address, "fleet", &RedisOptions { call_timeout: short, ..patient() }).unwrap();
    read(&engine, None).await.unwrap();
    swallows.store(true, Ordering::Relaxed);
    assert_eq!(claim(&engine).await.err().unwrap().kind, EngineErrorKind::Timeout);
    assert_eq!(claim(&engine).await.err().unwrap().kind, EngineErrorKind::Connection);
    swallows.store(false, Ordering::Relaxed);
    read(&engine, None).await.unwrap();
    engine.call_timeout = patient().call_timeout;
    claim(&engine).await.unwrap();

    // With a password the server has to say something before a connection is one.
    swallows.store(true, Ordering::Relaxed);
    let address = address.replace("redis://", "redis://:hush@");
    let engine = RedisEngine::new(&address, "fleet", &options).unwrap();
    assert_eq!(read(&engine, None).await.err().unwrap().kind, EngineErrorKind::Timeout);
}

#[tokio::test]
async fn a_call_that_was_given_up_leaves_its_answer_to_nobody() {
    let Some(server) = Server::start(Program::Redis, &[]) else { return };
    let engine = Arc::new(engine(&server.url(), "fleet"));
    read(&engine, None).await.unwrap();
    for round in 0..200_u128 {
        // Each claims a name of its own, so that an answer tells whose it is.
        let claims: Vec<_> = (0..10_u128)
            .map(|n| {
                let engine = Arc::clone(&engine);
                tokio::spawn(async move {
                    let (name, node) = (Name(format!("{round}-{n}")), NodeId(round * 10 + n));
                    let lease = Some(MINUTE);
                    let claim = |node| Claim { name: &name, node, epoch: 1, max_age: MINUTE, newer_than: None, lease };
                    engine.claim(claim(node)).await.unwrap();
                    let claimed = engine.claim(claim(NodeId(u128::MAX))).await.unwrap();
                    assert!(matches!(claimed.lease, Lease::Of(owner, _) if owner == node), "{:?}", claimed.lease);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        for (n, claim) in claims.into_iter().enumerate() {
            if n % 2 == 0 {
                claim.abort();
            } else {
                claim.await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_server_without_memory_left_is_full() {
    for program in [Program::Redis, Program::Valkey] {
        let Some(server) = Server::start(program, &[]) else { continue };
        let engine = engine(&server.url(), "fleet");
        read(&engine, None).await.unwrap();
        assert_eq!(server.says(&["CONFIG", "SET", "maxmemory", "1"]), "+OK\r\n");
        assert_eq!(put(&engine).await.unwrap_err().kind, EngineErrorKind::Full);
        let append = Append { record: b"", nonce: 1, retention: MINUTE, max_records: 1 };
        assert_eq!(engine.append(append).await.unwrap_err().kind, EngineErrorKind::Full);
        server.says(&["CONFIG", "SET", "maxmemory", "0"]);
        put(&engine).await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_is_no_engine() {
    let Some(watched) = Watched::start() else { return };
    let engine = engine(&watched.replica.url(), "fleet");
    let error = read(&engine, None).await.err().unwrap();
    assert_eq!(error.kind, EngineErrorKind::Connection, "{error}");
    assert_eq!(claim(&engine).await.err().unwrap().kind, EngineErrorKind::Connection);
}

#[tokio::test]
async fn after_a_failover_the_sentinel_leads_to_the_new_master_and_its_epoch() {
    let Some(watched) = Watched::start() else { return };
    let engine = engine(&watched.url(), "fleet");
    let before = read(&engine, None).await.unwrap();
    let Watched { master, replica: _replica, sentinel: _sentinel } = watched;
    drop(master);
    let led = async {
        loop {
            if let Ok(page) = read(&engine, None).await {
                return page;
            }
        }
    };
    let after = tokio::time::timeout(MINUTE, led).await.unwrap();
    assert!(after.epoch > before.epoch);
    claim(&engine).await.unwrap();
}

#[tokio::test]
async fn a_sentinel_with_a_password_is_told_it_and_the_master_is_not() {
    let Some(watched) = Watched::start() else { return };
    let address = watched.url();
    assert_eq!(watched.sentinel.says(&["ACL", "SETUSER", "default", "resetpass", ">hush&hush"]), "+OK\r\n");
    everything(&engine(&format!("{address}?sentinel_password=hush%26hush"), "fleet")).await.unwrap();
    for query in ["", "?sentinel_password=hush"] {
        let error = read(&engine(&format!("{address}{query}"), "fleet"), None).await.err().unwrap();
        assert!(error.kind == EngineErrorKind::Refused && !error.text.contains("hush"), "{error}");
    }
    // The other way round: what is said to the master is none of the sentinel's business.
    assert_eq!(watched.sentinel.says_to("default", "hush&hush", &["ACL", "SETUSER", "default", "nopass"]), "+OK\r\n");
    assert_eq!(watched.master.says(&["ACL", "SETUSER", "default", "resetpass", ">hush"]), "+OK\r\n");
    everything(&engine(&address.replace("://", "://:hush@"), "fleet")).await.unwrap();
}

#[tokio::test]
async fn a_master_that_the_sentinel_does_not_know_is_told() {
    let Some(watched) = Watched::start() else { return };
    let engine = engine(&watched.url().replace("/main", "/other"), "fleet");
    let error = read(&engine, None).await.err().unwrap();
    assert!(error.kind == EngineErrorKind::Refused && error.text.contains("\"other\""), "{error}");
}
