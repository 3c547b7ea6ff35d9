//! What a user of the engine needs, and what is said of one who has less.

use crate::authority::Authority;
use crate::process::Process;
use crate::server::{Program, Server};
use crate::servers::{is_recorded, refuses_by_the_next_read, settings, shares};
use crate::worker::Settings;
use crate::{run, wait_until};

/// The words of the command in the documentation.
fn documented() -> Vec<&'static str> {
    let (_, command) = include_str!("../../docs/fleet.md").split_once("\nACL ").unwrap();
    let (command, _) = command.split_once("```").unwrap();
    command.split_whitespace().collect()
}

/// Of the fleet in that command.
fn settings_at(authority: &Authority, server: &Server, password: &str) -> Settings {
    let address = format!("redis://orders:{password}@127.0.0.1:{}", server.port);
    Settings { fleet: "orders".into(), ..settings(authority, &address) }
}

fn allow(server: &Server, words: &[&str]) {
    assert_eq!(server.says(&[&["ACL"], words].concat()), "+OK\r\n");
}

/// What is to be looked at, besides that the machine is busy.
fn warnings(process: &Process) -> Vec<String> {
    let is_one = |line: &String| line.contains("WARN") || line.contains("ERROR");
    process.log().into_iter().filter(|line| is_one(line) && !line.contains("kind=\"timeout\"")).collect()
}

#[test]
fn the_documented_permissions_are_enough_for_a_fleet() {
    run(async {
        let Some(server) = Server::start(Program::Redis, &[]) else { return };
        allow(&server, &documented());
        let authority = Authority::start().await;
        let settings = settings_at(&authority, &server, "password");
        let processes = Process::join_all(3, &settings).await;
        let token = shares(&authority, &processes[0], &processes[1]).await;
        authority.revoke(&token);
        for what in [format!("token {token}"), "subject ann".into(), "tenant north".into()] {
            let recorded_at = is_recorded(&processes[0], 0, &what).await;
            for process in &processes {
                refuses_by_the_next_read(process, 0, &token, recorded_at).await;
            }
        }
        // One that is gone is forgotten, which only comes about after a while.
        server.says(&["HSET", "orders:{log}:nodes", "gone", "long ago"]);
        wait_until("it is forgotten", async || server.says(&["HEXISTS", "orders:{log}:nodes", "gone"]) == ":0\r\n")
            .await;
        assert_eq!(server.says(&["ACL", "LOG"]), "*0\r\n");
        for process in &processes {
            assert!(warnings(process).iter().all(|line| !line.contains("refuse")), "{:?}", process.log());
        }
    });
}

/// The process answers all requests, and says once what somebody has to change.
async fn is_said_once(server: &Server, password: &str, words: &[&str]) {
    let authority = Authority::start().await;
    let process = Process::start(&settings_at(&authority, server, password)).await;
    wait_until("it has failed, or has connected", async || {
        let stats = process.stats().await;
        stats["is_reading"] == true || stats["engine_failures"].as_u64() > Some(0)
    })
    .await;
    wait_until("it has failed several times", async || {
        let token = format!("token-{}", authority.questions());
        authority.issue_lasting(&token);
        assert!(process.ask(0, &token).await.is_active());
        assert!(process.invalidates(0, &format!("token {token}")).await.unwrap().0 == "queued");
        authority.revoke(&token);
        assert!(process.ask(0, &token).await.is_inactive(), "it is forgotten here at once");
        process.count("engine_failures").await > 3
    })
    .await;
    let said = warnings(&process);
    let [line] = said.as_slice() else { panic!("{said:?}") };
    assert!(line.contains("ERROR") && line.contains("refuses this process"), "{line}");
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    assert!(!line.contains("hush"), "{line}");
}

#[test]
fn a_wrong_password_is_said_once_and_the_process_goes_on_alone() {
    run(async {
        let Some(server) = Server::start(Program::Redis, &[]) else { return };
        allow(&server, &documented());
        is_said_once(&server, "hush", &["Password authentication failed"]).await;
    });
}

#[test]
fn a_missing_permission_is_said_once_and_the_process_goes_on_alone() {
    run(async {
        for missing in ["+xadd", "+evalsha", "~orders:*"] {
            let Some(server) = Server::start(Program::Redis, &[]) else { return };
            let others: Vec<_> = documented().into_iter().filter(|word| *word != missing).collect();
            allow(&server, &others);
            is_said_once(&server, "password", &[]).await;
        }
    });
}
