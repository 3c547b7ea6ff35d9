//! What it takes to get an answer that another process has put into the engine.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, cmd};

use crate::member::{Member, Settings};
use crate::processes::Processes;
use crate::support::rounds::Rounds;
use crate::support::{Bounds, token_name};
use crate::{Scene, print_table, rounds};

const IN_A_TURN: usize = 50;
const TURNS: usize = 20;
const MAX_TTL: Duration = Duration::from_secs(600);
/// An exchange for each bare one.
const MOST: f64 = 1.5;
const SCRIPT: &str = "return redis.call('GET', KEYS[1])";
const FLEET: &str = "hit";

/// Microseconds of each.
#[derive(Default)]
struct Times {
    bare: Vec<f64>,
    script: Vec<f64>,
    hit: Vec<f64>,
}

pub fn measure(scene: &mut Scene, bounds: &mut Bounds) {
    let settings = scene.settings(FLEET, MAX_TTL);
    // The first one only warms up.
    let rounds = rounds(9) + 1;
    let mut others = Processes::start(1, &settings);
    others.tell(|_| format!("store 0 {}", rounds * TURNS * IN_A_TURN));
    others.numbers("store");
    let url = scene.redis.url();
    let before = scene.authority.questions();
    let measuring = async move { tokio::spawn(run(settings, url, rounds)).await.unwrap() };
    let (times, value_bytes) = scene.runtime.block_on(measuring);
    let questions = scene.authority.questions() - before;
    let show = |what: &str, times_of: &[f64]| {
        let ratio = Rounds::of_pairs(times_of, &times.bare, |one, bare| one / bare);
        let added = Rounds::of_pairs(times_of, &times.bare, |one, bare| one - bare);
        let time = Rounds::of(times_of.to_vec());
        vec![what.into(), format!("{time:.1} us"), format!("{added:.1} us"), format!("{ratio:.2}")]
    };
    let rows = [
        show(&format!("`GET` of a value, {value_bytes} bytes"), &times.bare),
        show("`EVALSHA` of a script that gets it", &times.script),
        show("a hit in the engine", &times.hit),
    ];
    print_table(&["one after the other", "median of a round", "added", "times the `GET`"], &rows);
    let ratio = Rounds::of_pairs(&times.hit, &times.bare, |hit, bare| hit / bare);
    bounds.check(questions == 0, format_args!("{questions} questions for what was in the engine"));
    bounds.check(ratio.median <= MOST, format_args!("a hit takes {ratio:.2} times a bare exchange, at most {MOST}"));
}

async fn run(settings: Settings, url: String, rounds: usize) -> (Times, usize) {
    let member = Member::join(&settings).await;
    let client = redis::Client::open(url).unwrap();
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let keys = values(&mut connection).await;
    let script: String = cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await.unwrap();
    let value: Vec<u8> = cmd("GET").arg(&keys[0]).query_async(&mut connection).await.unwrap();

    let (mut times, mut n) = (Times::default(), 0);
    for round in 0..rounds {
        let mut of_round = Times::default();
        for _ in 0..TURNS {
            let turn = n..n + IN_A_TURN;
            n = turn.end;
            for key in &keys[turn.clone()] {
                of_round.bare.push(timed(get(&mut connection, cmd("GET").arg(key))).await);
            }
            for key in &keys[turn.clone()] {
                let command = &mut cmd("EVALSHA");
                of_round.script.push(timed(get(&mut connection, command.arg(&script).arg(1).arg(key))).await);
            }
            for number in turn {
                let token = token_name('s', number);
                assert_eq!(member.knows(&token), None);
                of_round.hit.push(timed(async { assert_eq!(member.asks(&token).await, Some(true)) }).await);
            }
        }
        if round > 0 {
            times.bare.push(Rounds::of(of_round.bare).median);
            times.script.push(Rounds::of(of_round.script).median);
            times.hit.push(Rounds::of(of_round.hit).median);
        }
    }
    (times, value.len())
}

async fn get(connection: &mut MultiplexedConnection, command: &redis::Cmd) {
    let value: Vec<u8> = command.query_async(connection).await.unwrap();
    assert!(!value.is_empty());
}

async fn timed(call: impl Future<Output = ()>) -> f64 {
    let start = Instant::now();
    call.await;
    start.elapsed().as_secs_f64() * 1e6
}

/// The keys of all values, in no order.
pub async fn values(connection: &mut MultiplexedConnection) -> Vec<String> {
    let keys: Vec<String> = cmd("KEYS").arg("*}").query_async(connection).await.unwrap();
    keys
}
