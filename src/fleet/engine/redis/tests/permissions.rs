//! A user who may do no more than this crate needs.

use super::*;

/// The words of the command in the documentation.
fn documented() -> Vec<&'static str> {
    let (_, line) = include_str!("../mod.rs").split_once("//! ACL ").unwrap();
    let (line, _) = line.split_once("//! ```").unwrap();
    line.split_whitespace().filter(|&word| word != "//!").collect()
}

fn start() -> Option<Server> {
    Server::start(Program::Redis, &[])
}

fn engine_of(server: &Server) -> RedisEngine {
    engine(&format!("redis://fleet:password@127.0.0.1:{}", server.port), "fleet")
}

/// With something there that only now and then has to be done: a script that is not known, a node that is gone.
fn prepare(server: &Server) {
    server.says(&["FLUSHALL"]);
    server.says(&["SCRIPT", "FLUSH"]);
    server.says(&["HSET", "fleet:{log}:nodes", "gone", "long ago"]);
    server.says(&["ACL", "DELUSER", "fleet"]);
}

#[test]
fn the_guide_has_these_permissions_too() {
    let guide = include_str!("../../../../../docs/fleet.md");
    let line = guide.lines().find(|line| line.starts_with("ACL SETUSER ")).unwrap().replace("orders", "fleet");
    assert_eq!(line.split_whitespace().skip(1).collect::<Vec<_>>(), documented());
}

#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let Some(server) = start() else { return };
    prepare(&server);
    assert_eq!(server.says(&[&["ACL"], &documented()[..]].concat()), "+OK\r\n");
    everything(&engine_of(&server)).await.unwrap();
}

#[tokio::test]
async fn without_any_one_of_them_a_call_is_refused() {
    let Some(server) = start() else { return };
    let words = documented();
    let permissions: Vec<_> = words.iter().filter(|word| word.starts_with(['+', '~'])).collect();
    assert!(permissions.len() > 20);
    for missing in permissions {
        prepare(&server);
        let others: Vec<_> = words.iter().copied().filter(|word| word != missing).collect();
        assert_eq!(server.says(&[&["ACL"], &others[..]].concat()), "+OK\r\n");
        let error = everything(&engine_of(&server)).await.expect_err(missing);
        assert_eq!(error.kind, EngineErrorKind::Refused, "{missing}: {error}");
        assert!(!error.text.contains("password"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let Some(server) = Server::start(Program::Redis, &["requirepass right"]) else { return };
    for credentials in ["", ":hush@", "hush:hush@"] {
        let engine = engine(&format!("redis://{credentials}127.0.0.1:{}", server.port), "fleet");
        let error = everything(&engine).await.unwrap_err();
        assert_eq!(error.kind, EngineErrorKind::Refused, "{error}");
        assert!(!error.text.contains("hush"), "{error}");
        let error = put(&engine).await.unwrap_err();
        assert_eq!(
            error.kind,
            EngineErrorKind::Refused,
            "without a connection a call fails by what keeps it away: {error}"
        );
    }
}
