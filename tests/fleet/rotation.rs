//! The secret is changed while requests come in.
//!
//! No answer ends by itself meanwhile, so that each token needs one question, and each further one is of a wave. It
//! takes no other time than the processes need to begin.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::authority::Authority;
use crate::load::Place;
use crate::process::Process;
use crate::random::Random;
use crate::server::{Program, Server};
use crate::servers::{is_recorded, settings};
use crate::worker::Settings;
use crate::{millis, pass, run, wait_until};

const PROCESSES: usize = 3;
const TOKENS: usize = 100;
/// Questions for each one that is needed.
const MOST: f64 = 1.5;

fn token(number: usize) -> String {
    format!("token-{number}")
}

/// Requests in all places until it is dropped: each with one of the tokens, all of which are active.
fn load(places: &[Arc<Place>], random: &mut Random) -> JoinSet<()> {
    let mut load = JoinSet::new();
    for place in places {
        let (place, mut random) = (Arc::clone(place), random.another());
        load.spawn(async move {
            loop {
                if let Some(process) = place.process()
                    && let Some(answer) = process.asks(0, &token(random.below(TOKENS))).await
                {
                    assert!(answer.is_active(), "{answer:?}");
                }
                pass(millis(20)).await;
            }
        });
    }
    load
}

/// Presents every token to a process.
async fn present_all(process: &Process) {
    for number in 0..TOKENS {
        let answer = process.ask(0, &token(number)).await;
        assert!(answer.is_active(), "{answer:?}");
    }
}

/// The next one serves before the last one ends. Returns how often the engine failed them.
async fn restart(places: &[Arc<Place>], settings: &Settings) -> u64 {
    let mut failures = 0;
    for place in places {
        let started = Place::new(settings);
        started.start().await;
        let process = started.process().unwrap();
        process.wait_until_it_reads().await;
        place.replace_by(&started);
        present_all(&process).await;
        failures += process.count("engine_failures").await;
    }
    failures
}

/// Questions for each one that is needed, in the first two rounds and in the third, and how often the engine failed.
#[allow(clippy::cast_precision_loss)]
async fn change(server: &Server, fleet: &str, random: &mut Random) -> ([f64; 2], u64) {
    let authority = Authority::start().await;
    (0..TOKENS).for_each(|number| authority.issue_lasting(&token(number)));
    let (old, new) = ("the old secret of the fleet of a test", "the new secret of the fleet of a test");
    let with = |secret: &str, second: Option<&str>| Settings {
        secret: secret.into(),
        second_secret: second.map(str::to_owned),
        fleet: fleet.into(),
        max_ttls: vec![Duration::from_secs(600)],
        ..settings(&authority, &server.url())
    };
    let places: Vec<_> = (0..PROCESSES).map(|_| Arc::new(Place::new(&with(old, None)))).collect();
    for place in &places {
        place.start().await;
        place.process().unwrap().wait_until_it_reads().await;
    }
    let mut requests = load(&places, random);
    present_all(&places[0].process().unwrap()).await;
    let known = authority.questions();
    let mut failures = restart(&places, &with(old, Some(new))).await;
    failures += restart(&places, &with(new, Some(old))).await;
    let first = authority.questions() - known;

    // The guide has the third round begin when nothing serves any more that was written with the old secret. What is
    // asked before a process has read the record does not serve in others.
    let process = places[0].process().unwrap();
    is_recorded(&process, 0, "tenant north").await;
    for place in &places {
        let process = place.process().unwrap();
        wait_until("the record is read", async || process.count("records_read").await > 0).await;
    }
    present_all(&process).await;
    let known = authority.questions();
    failures += restart(&places, &with(new, None)).await;
    let third = authority.questions() - known;
    while let Some(failed) = requests.try_join_next() {
        failed.unwrap();
    }
    // Each token was asked about once before.
    ([first, third].map(|further| 1.0 + further as f64 / TOKENS as f64), failures)
}

#[test]
fn two_secrets_are_changed_by_three_rolling_restarts_without_a_failure_or_a_wave_of_questions() {
    run(async {
        let Some(server) = Server::start(Program::Redis, &[]) else { return };
        let mut random = Random::by_seed("rotation");
        for attempt in 0.. {
            let (questions, failures) = change(&server, &format!("fleet-{attempt}"), &mut random).await;
            println!("questions for each token: {questions:.2?}, calls of the engine that failed: {failures}");
            if questions.iter().all(|questions| *questions <= MOST) {
                break;
            }
            // On a machine so busy that Redis does not answer within 50 ms, processes ask for themselves. A wave comes
            // each time.
            assert!(attempt < 5, "a wave of questions: {questions:?}");
        }
    });
}
