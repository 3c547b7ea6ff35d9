//! Eight processes, of which some are killed, stopped and started all the time, on an engine that is taken away in
//! every way there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::judge::Judge;
use crate::load::{Load, Place};
use crate::proxy::Proxy;
use crate::random::Random;
use crate::server::{Program, Server};
use crate::servers::{is_recorded, refuses_by_the_next_read};
use crate::worker::Settings;
use crate::{pass, run, wait_until};

const PROCESSES: usize = 8;
const TOKENS: usize = 60;
/// With the first one, `max_ttl` ends what was revoked; with the second one only its invalidation does.
const MAX_TTLS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(600)];

struct Chaos {
    judge: Arc<Judge>,
    places: Vec<Arc<Place>>,
    proxies: Vec<Proxy>,
    engine: Option<Server>,
    port: u16,
    random: Random,
    /// The longest that a process is stopped.
    longest_stop: u64,
    /// What happened, and how often.
    happened: [usize; 9],
    answered_while_away: usize,
}

#[test]
fn whatever_becomes_of_processes_and_engine_no_answer_is_wrong_and_none_is_missing() {
    run(async {
        let Some(engine) = Server::start(Program::Redis, &[]) else { return };
        let mut random = Random::by_seed("chaos");
        let seconds = std::env::var("FLEET_CHAOS_SECONDS").map_or(30, |seconds| seconds.parse().unwrap());
        let authority = Authority::start().await;
        let (mut places, mut proxies) = (Vec::new(), Vec::new());
        for _ in 0..PROCESSES {
            let proxy = Proxy::start(engine.port).await;
            places.push(Arc::new(Place::new(&Settings {
                authority: authority.url.clone(),
                address: format!("redis://127.0.0.1:{}", proxy.port),
                fleet: "chaos".into(),
                secret: "the secret of a fleet in all chaos".into(),
                second_secret: None,
                root_certificate: None,
                max_ttls: MAX_TTLS.to_vec(),
                transmitter: None,
            })));
            proxies.push(proxy);
        }
        start_all(&places).await;
        let judge = Arc::new(Judge::new(authority, &MAX_TTLS, TOKENS, &mut random));
        let mut load = Load::begin(&judge, &places, 40, &mut random);
        load.revoke(&judge, &places, 100, &mut random);
        let (port, longest_stop) = (engine.port, if seconds > 60 { 30_000 } else { 3_000 });
        let (happened, answered_while_away) = ([0; 9], 0);
        let engine = Some(engine);
        let mut chaos =
            Chaos { judge, places, proxies, engine, port, random, longest_stop, happened, answered_while_away };
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            chaos.happens().await;
            let pause = chaos.random.millis(0, 400);
            pass(pause).await;
        }
        load.end().await;
        chaos.ends_well().await;
    });
}

async fn start_all(places: &[Arc<Place>]) {
    let mut starting = tokio::task::JoinSet::new();
    for place in places {
        let place = Arc::clone(place);
        starting.spawn(async move { place.start().await });
    }
    starting.join_all().await;
}

impl Chaos {
    async fn happens(&mut self) {
        // What takes no time happens more often.
        let what = match self.random.below(self.happened.len() + 6) {
            again @ 9.. => again % 2,
            what => what,
        };
        self.happened[what] += 1;
        let answered_before = self.answered();
        match what {
            0 => self.kill_a_process(),
            1 => self.stop_a_process(),
            2 => self.kill_the_engine().await,
            3 => self.pause_the_engine().await,
            4 => self.be_half_open(true).await,
            5 => self.be_half_open(false).await,
            6 => self.fill_the_memory().await,
            7 => self.flush(),
            _ => self.proxies[self.random.below(PROCESSES)].cut(),
        }
        if matches!(what, 2..=4) {
            self.answered_while_away += self.answered() - answered_before;
        }
    }

    fn answered(&self) -> usize {
        let counts = self.judge.counts();
        counts.accepted + counts.refused
    }

    fn engine(&self) -> &Server {
        self.engine.as_ref().unwrap()
    }

    fn kill_a_process(&mut self) {
        let place = Arc::clone(&self.places[self.random.below(PROCESSES)]);
        if place.is_stopped() || place.process().is_none() {
            self.happened[0] -= 1;
            return;
        }
        place.kill();
        let pause = self.random.millis(0, 500);
        tokio::spawn(async move {
            pass(pause).await;
            place.start().await;
        });
    }

    fn stop_a_process(&mut self) {
        let place = Arc::clone(&self.places[self.random.below(PROCESSES)]);
        if place.is_stopped() || place.process().is_none() {
            self.happened[1] -= 1;
            return;
        }
        place.stop();
        let pause = self.random.millis(100, self.longest_stop);
        tokio::spawn(async move {
            pass(pause).await;
            place.go_on();
        });
    }

    async fn kill_the_engine(&mut self) {
        self.judge.may_lose();
        drop(self.engine.take());
        self.judge.has_lost();
        let pause = self.random.millis(0, 1_500);
        pass(pause).await;
        let port = self.port;
        let started = tokio::task::spawn_blocking(move || Server::start_on(Program::Redis, port, &[]));
        self.engine = started.await.unwrap();
    }

    async fn pause_the_engine(&mut self) {
        let pause = self.random.millis(100, 1_500);
        self.engine().says(&["CLIENT", "PAUSE", &pause.as_millis().to_string(), "ALL"]);
        pass(pause).await;
    }

    async fn be_half_open(&mut self, all: bool) {
        let (chosen, pause) = (self.random.below(PROCESSES), self.random.millis(100, 2_000));
        let set = |is_half_open| {
            let proxies = self.proxies.iter().enumerate().filter(|(place, _)| all || *place == chosen);
            proxies.for_each(|(_, proxy)| proxy.half_open(is_half_open));
        };
        set(true);
        pass(pause).await;
        set(false);
    }

    async fn fill_the_memory(&mut self) {
        self.engine().says(&["CONFIG", "SET", "maxmemory", "1"]);
        let pause = self.random.millis(100, 1_000);
        pass(pause).await;
        self.engine().says(&["CONFIG", "SET", "maxmemory", "0"]);
    }

    fn flush(&mut self) {
        self.judge.may_lose();
        self.engine().says(&["FLUSHALL"]);
        self.judge.has_lost();
    }

    /// All processes are there again, share, and hear of a revocation.
    async fn ends_well(self) {
        println!(
            "processes killed, stopped, engine killed, paused, half-open, for one, full, flushed, cut: {:?}; answered \
             while it was away: {}",
            self.happened, self.answered_while_away
        );
        wait_until("all processes are back", async || {
            self.places.iter().all(|place| place.process().is_some() && !place.is_stopped())
        })
        .await;
        let processes: Vec<_> = self.places.iter().map(|place| place.process().unwrap()).collect();
        for process in &processes {
            process.wait_until_it_reads().await;
        }
        self.judge.verdict();
        assert!(self.answered_while_away > 0);
        self.judge.authority.issue_lasting("last");
        for process in &processes {
            assert!(process.ask(1, "last").await.is_active());
        }
        self.judge.authority.revoke("last");
        let recorded_at = is_recorded(&processes[0], 1, "token last").await;
        for process in &processes {
            refuses_by_the_next_read(process, 1, "last", recorded_at).await;
        }
        for process in &processes {
            let log = process.log();
            assert!(log.len() < 400, "{} lines: {:?}", log.len(), &log[..20]);
        }
    }
}
