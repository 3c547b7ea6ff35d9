//! A failover by sentinels, which loses what the replica had not yet been told.

use std::sync::Arc;
use std::time::Duration;

use crate::authority::Authority;
use crate::judge::Judge;
use crate::load::{Load, Place};
use crate::process::signal;
use crate::random::Random;
use crate::server::{Program, Server, Watched, wait_until as wait_for_servers};
use crate::servers::settings;
use crate::worker::Settings;
use crate::{now, pass, run, wait_until};

const PROCESSES: usize = 4;
const MAX_TTLS: [Duration; 1] = [Duration::from_secs(4)];

/// Two more sentinels that watch the same master.
fn more_sentinels(watched: &Watched) -> Option<[Server; 2]> {
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1", watched.master.port);
    let lines = [monitor.as_str(), "sentinel down-after-milliseconds main 1000", "sentinel failover-timeout main 2000"];
    let more = [Server::start(Program::Sentinel, &lines)?, Server::start(Program::Sentinel, &lines)?];
    for sentinel in more.iter().chain([&watched.sentinel]) {
        wait_for_servers(|| {
            let info = sentinel.says(&["INFO", "sentinel"]);
            info.contains("slaves=1") && info.contains("sentinels=3")
        });
    }
    Some(more)
}

fn pid_of(server: &Server) -> u32 {
    let info = server.says(&["INFO", "server"]);
    info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_failover_that_loses_a_record_makes_no_answer_wrong_and_the_fleet_goes_on() {
    run(async {
        let Some(watched) = Watched::start() else { return };
        let Some(more) = more_sentinels(&watched) else { return };
        let mut random = Random::by_seed("failover");
        let authority = Authority::start().await;
        let ports = [watched.sentinel.port, more[0].port, more[1].port].map(|port| format!("127.0.0.1:{port}"));
        let address = format!("redis+sentinel://{}/main", ports.join(","));
        let settings = Settings { max_ttls: MAX_TTLS.to_vec(), ..settings(&authority, &address) };
        let places: Vec<_> = (0..PROCESSES).map(|_| Arc::new(Place::new(&settings))).collect();
        for place in &places {
            place.start().await;
            place.process().unwrap().wait_until_it_reads().await;
        }
        let judge = Arc::new(Judge::new(authority, &MAX_TTLS, 40, &mut random));
        let mut load = Load::begin(&judge, &places, 20, &mut random);
        load.revoke(&judge, &places, 150, &mut random);
        pass(Duration::from_secs(1)).await;

        // The replica hears nothing any more, and neither do the processes but one, which then dies.
        let replica = pid_of(&watched.replica);
        judge.may_lose();
        signal(replica, "-STOP");
        let (last, others) = places.split_last().unwrap();
        others.iter().for_each(|place| place.stop());
        let mut recorded = false;
        for _ in 0..50 {
            let revoked = judge.revoke(true, &mut random);
            let began_at = now();
            let reach = last.process().unwrap().invalidates(revoked.cache, &revoked.what).await.unwrap();
            recorded |= reach.0 == "recorded";
            judge.invalidated(&revoked, began_at, reach);
            if recorded {
                break;
            }
        }
        assert!(recorded);
        last.kill();
        let Watched { master, replica: new_master, sentinel: _sentinel } = watched;
        drop(master);
        judge.has_lost();
        signal(replica, "-CONT");
        others.iter().for_each(|place| place.go_on());

        wait_until("there is another master", async || {
            new_master.may_say(&["ROLE"]).is_ok_and(|role| role.contains("master"))
        })
        .await;
        last.start().await;
        for place in &places {
            place.process().unwrap().wait_until_it_reads().await;
        }
        for place in others {
            let gaps = async || place.process().unwrap().count("gaps").await > 0;
            wait_until("the gap is seen", gaps).await;
        }
        // Past the end of what was accepted before.
        pass(MAX_TTLS[0] + Duration::from_secs(1)).await;
        let before = judge.counts();
        pass(Duration::from_secs(1)).await;
        load.end().await;
        assert!(judge.counts().accepted > before.accepted, "the fleet goes on");
        judge.verdict();
        let hits = async || {
            let mut hits = 0;
            for place in &places {
                hits += place.process().unwrap().count("hits").await;
            }
            hits
        };
        assert!(hits().await > 0);
    });
}
