//! What the authority is asked while the engine is away, and when it comes back.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::processes::{Processes, soon};
use crate::questions::{MAX_TTL, load};
use crate::server::{Program, Server};
use crate::support::Bounds;
use crate::support::rounds::Rounds;
use crate::{Scene, print_table, rounds};

const PROCESSES: usize = 8;
const STEP: Duration = Duration::from_millis(250);
/// Until the tokens that were all first asked about at the same time are spread out.
const WARM_UP: Duration = Duration::from_secs(15);
const STEADY: Duration = Duration::from_secs(10);
const AWAY: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(15);
/// Questions in the highest second afterwards, for each one in the second before the engine came back. While it is away
/// each process asks for itself, and does so until it has read the log again.
const MOST: f64 = 1.5;

type Fault = fn(&mut Scene);

const WAYS: [(&str, Fault); 4] = [
    ("killed, back at once, empty", restart),
    ("killed, back after 5 s, empty", kill),
    ("`CLIENT PAUSE` of 5 s", pause),
    ("`SIGSTOP` for 5 s", stop),
];

fn restart(scene: &mut Scene) {
    signal(scene, "-KILL");
    scene.redis = Server::start_on(Program::Redis, scene.redis.port, &[]).unwrap();
}

fn kill(scene: &mut Scene) {
    signal(scene, "-KILL");
    sleep(AWAY);
    scene.redis = Server::start_on(Program::Redis, scene.redis.port, &[]).unwrap();
}

fn pause(scene: &mut Scene) {
    scene.redis.says(&["CLIENT", "PAUSE", &AWAY.as_millis().to_string(), "ALL"]);
    sleep(AWAY);
}

fn stop(scene: &mut Scene) {
    let process = signal(scene, "-STOP");
    sleep(AWAY);
    send("-CONT", &process);
}

/// The number of the process that got it.
fn signal(scene: &Scene, signal: &str) -> String {
    let info = scene.redis.says(&["INFO", "server"]);
    let process = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().to_owned();
    send(signal, &process);
    process
}

fn send(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
}

/// Questions a second, in each run.
#[derive(Default)]
struct Seen {
    steady: Vec<f64>,
    steady_highest: Vec<f64>,
    away: Vec<f64>,
    away_highest: Vec<f64>,
    highest: Vec<f64>,
    after: Vec<f64>,
    ratios: Vec<f64>,
    to_before: Vec<f64>,
    gaps: Vec<f64>,
    others: u64,
}

pub fn measure(scene: &mut Scene, bounds: &mut Bounds) {
    let mut all: [Seen; WAYS.len()] = Default::default();
    for round in 0..rounds(3) {
        for ((name, goes_away), seen) in WAYS.into_iter().zip(&mut all) {
            println!("  questions in each quarter of a second, {name}, run {}", round + 1);
            run(scene, &format!("outage-{round}"), goes_away, seen);
            scene.redis.says(&["FLUSHALL"]);
        }
    }
    let rows: Vec<_> = WAYS.iter().zip(&all).map(|((name, _), seen)| row(name, seen)).collect();
    let head = [
        "Redis",
        "steady: mean of 10 s before",
        "its highest second",
        "while away: mean",
        "highest second",
        "after: mean of 15 s",
        "highest second",
        "times the steady mean",
        "times the second before",
        "gaps",
    ];
    print_table(&head, &rows);
    for ((name, _), seen) in WAYS.iter().zip(&all) {
        let ratio = Rounds::of(seen.to_before.clone());
        bounds.check(ratio.median <= MOST, format_args!("{name}: {ratio:.2} times the second before, at most {MOST}"));
        bounds.check(seen.others == 0, format_args!("{name}: {} requests not accepted", seen.others));
    }
}

fn run(scene: &mut Scene, fleet: &str, goes_away: Fault, seen: &mut Seen) {
    let mut processes = Processes::start(PROCESSES, &scene.settings(fleet, MAX_TTL));
    let load = load(soon(), (WARM_UP + STEADY + AWAY + AFTER).as_secs() + 1);
    processes.tell(|place| Load { place, of: PROCESSES as u64, ..load }.to_string());
    sleep(WARM_UP);
    let steady_since = Instant::now();
    sleep(STEADY);
    let away_since = Instant::now();
    goes_away(scene);
    let back_since = Instant::now();
    sleep(AFTER);
    seen.others += processes.numbers("load").iter().map(|outcome| outcome[1]).sum::<u64>();
    #[allow(clippy::cast_precision_loss)]
    seen.gaps.push(processes.stats().gaps as f64);

    let questions = |since, lasts| scene.authority.questions_by(STEP, since, lasts);
    let steady = questions(steady_since, STEADY);
    let away = questions(away_since, back_since - away_since);
    let after = questions(back_since, AFTER);
    for (name, counts) in [("before", &steady), ("away", &away), ("after", &after)] {
        println!("    {name:<6} {}", counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" "));
    }
    let before = [steady.as_slice(), away.as_slice()].concat();
    let second_before = mean(&before[before.len() - STEPS..]);
    seen.ratios.push(highest_second(&after) / mean(&steady));
    seen.to_before.push(highest_second(&after) / second_before);
    seen.steady.push(mean(&steady));
    seen.steady_highest.push(highest_second(&steady));
    seen.away.push(mean(&away));
    seen.away_highest.push(highest_second(&away));
    seen.after.push(mean(&after));
    seen.highest.push(highest_second(&after));
}

/// Steps in a second.
const STEPS: usize = 4;

#[allow(clippy::cast_precision_loss)]
fn mean(counts: &[usize]) -> f64 {
    (counts.iter().sum::<usize>() * STEPS) as f64 / counts.len().max(1) as f64
}

#[allow(clippy::cast_precision_loss)]
fn highest_second(counts: &[usize]) -> f64 {
    counts.windows(STEPS).map(|second| second.iter().sum::<usize>()).max().unwrap_or(0) as f64
}

fn row(name: &str, seen: &Seen) -> Vec<String> {
    let whole = [&seen.steady, &seen.steady_highest, &seen.away, &seen.away_highest, &seen.after, &seen.highest];
    let mut row = vec![name.to_owned()];
    row.extend(whole.map(|figures| format!("{:.0}", Rounds::of(figures.clone()))));
    row.push(format!("{:.2}", Rounds::of(seen.ratios.clone())));
    row.push(format!("{:.2}", Rounds::of(seen.to_before.clone())));
    row.push(format!("{:.0}", Rounds::of(seen.gaps.clone())));
    row
}
