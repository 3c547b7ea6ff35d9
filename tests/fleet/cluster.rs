//! A cluster that changes while a fleet runs on it: a slot moves, and a server is killed and another takes over.

use crate::authority::Authority;
use crate::process::Process;
use crate::server::{Cluster, Move, Program};
use crate::servers::{is_recorded, refuses_by_the_next_read, settings, shares};
use crate::{run, wait_until};

const LOG: &str = "fleet:{log}:records";

async fn is_reading(process: &Process) -> bool {
    process.stats().await["is_reading"] == true
}

/// While the engine is away both processes answer, and what one of them takes away waits there.
async fn go_on_alone(authority: &Authority, one: &Process, another: &Process, token: &str) {
    authority.issue_lasting(token);
    assert!(one.ask(0, token).await.is_active() && another.ask(0, token).await.is_active());
    authority.revoke(token);
    assert_eq!(one.invalidates(0, &format!("token {token}")).await.unwrap().0, "queued");
    assert!(one.ask(0, token).await.is_inactive());
}

async fn go_on_together(authority: &Authority, one: &Process, another: &Process) {
    for process in [one, another] {
        process.wait_until_it_reads().await;
    }
    let token = shares(authority, one, another).await;
    authority.revoke(&token);
    let recorded_at = is_recorded(one, 0, &format!("token {token}")).await;
    refuses_by_the_next_read(another, 0, &token, recorded_at).await;
}

async fn hears_of(process: &Process, token: &str) {
    wait_until("what was queued is heard of", async || process.ask(0, token).await.is_inactive()).await;
}

#[test]
fn while_the_log_moves_to_another_server_the_processes_go_on_alone_and_then_together() {
    run(async {
        let Some(cluster) = Cluster::start(Program::Redis) else { return };
        let authority = Authority::start().await;
        let settings = settings(&authority, &cluster.url());
        let [one, another] = [Process::join(&settings).await, Process::join(&settings).await];
        go_on_together(&authority, &one, &another).await;

        let moving = Move::begin(&cluster, LOG);
        moving.take(1);
        wait_until("the log is away", async || !is_reading(&one).await && !is_reading(&another).await).await;
        go_on_alone(&authority, &one, &another, "meanwhile").await;
        moving.end();

        go_on_together(&authority, &one, &another).await;
        hears_of(&another, "meanwhile").await;
        assert!(one.count("gaps").await > 0 && another.count("gaps").await > 0, "another server has the log");
    });
}

async fn story(kills_the_log: bool) {
    let Some(mut cluster) = Cluster::start(Program::Redis) else { return };
    let (_, of_log) = cluster.slot_of(LOG);
    let place = if kills_the_log { of_log } else { (of_log + 1) % 3 };
    let Some(replica) = cluster.replica_of(place) else { return };
    let authority = Authority::start().await;
    let settings = settings(&authority, &cluster.url());
    let [one, another] = [Process::join(&settings).await, Process::join(&settings).await];
    go_on_together(&authority, &one, &another).await;

    drop(cluster.0.remove(place));
    if kills_the_log {
        wait_until("the log is away", async || !is_reading(&one).await && !is_reading(&another).await).await;
        go_on_alone(&authority, &one, &another, "meanwhile").await;
    }
    for n in 0..50 {
        let token = format!("meanwhile-{n}");
        authority.issue_lasting(&token);
        assert!(one.ask(0, &token).await.is_active() && another.ask(0, &token).await.is_active());
    }
    wait_until("the replica takes over", async || replica.says(&["ROLE"]).contains("master")).await;
    go_on_together(&authority, &one, &another).await;
    if kills_the_log {
        hears_of(&another, "meanwhile").await;
    } else {
        replica.says(&["FLUSHALL"]);
        wait_until("what it has is shared again", async || {
            shares(&authority, &one, &another).await;
            replica.says(&["DBSIZE"]) != ":0\r\n"
        })
        .await;
    }
}

#[test]
fn when_the_server_of_the_log_is_killed_its_replica_goes_on_with_it() {
    run(story(true));
}

#[test]
fn when_another_server_of_a_cluster_is_killed_its_replica_goes_on_with_what_it_had() {
    run(story(false));
}
