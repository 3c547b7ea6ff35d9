//! How many questions a load takes, spread over several processes.

use std::time::Duration;

use crate::load::Load;
use crate::member::Settings;
use crate::processes::{Counts, Processes, soon};
use crate::support::Bounds;
use crate::support::rounds::Rounds;
use crate::{Scene, print_table, rounds, setting};

pub const MAX_TTL: Duration = Duration::from_secs(5);
/// Questions for each one that a process alone asks.
const MOST: f64 = 1.05;

/// Milliseconds. A load that is not kept up with is another one.
const MOST_LATE: u64 = 1_000;

/// A way to serve the load.
const WAYS: [(&str, usize, bool); 6] = [
    ("1, without a fleet", 1, false),
    ("1", 1, true),
    ("2", 2, true),
    ("4", 4, true),
    ("8", 8, true),
    ("8, without a fleet", 8, false),
];

#[derive(Default)]
struct Seen {
    questions: Vec<f64>,
    counts: Vec<Counts>,
    others: u64,
    late: u64,
}

/// What is the same in all processes.
pub fn load(start: u64, seconds: u64) -> Load {
    let (rate, tokens) = (setting("FLEET_RATE", 2_000), setting("FLEET_TOKENS", 2_000));
    Load { start, seconds, rate, tokens, place: 0, of: 1 }
}

pub fn measure(scene: &mut Scene, bounds: &mut Bounds) {
    let mut all: [Seen; WAYS.len()] = Default::default();
    for round in 0..rounds(3) {
        for ((_, processes, is_fleet), seen) in WAYS.into_iter().zip(&mut all) {
            let mut settings = scene.settings(&format!("questions-{round}-{processes}"), MAX_TTL);
            settings.engine = settings.engine.filter(|_| is_fleet);
            run(scene, processes, &settings, seen);
        }
    }
    let alone = all[0].questions.clone();
    let times = |seen: &Seen| Rounds::of_pairs(&seen.questions, &alone, |questions, alone| questions / alone);
    let rows: Vec<_> = WAYS.iter().zip(&all).map(|((name, ..), seen)| row(name, seen, times(seen))).collect();
    let head = ["processes", "questions", "times those of one without a fleet", "waits for others", "failed calls"];
    print_table(&head, &rows);
    for ((name, _, is_fleet), seen) in WAYS.iter().zip(&all) {
        if *is_fleet {
            let times = times(seen);
            bounds.check(times.median <= MOST, format_args!("processes {name}: {times:.3} times, at most {MOST}"));
        }
        bounds.check(seen.others == 0, format_args!("processes {name}: {} requests not accepted", seen.others));
        let late = seen.late / 1_000;
        bounds.check(late < MOST_LATE, format_args!("processes {name}: no request began later than by {late} ms"));
    }
}

fn run(scene: &Scene, number: usize, settings: &Settings, seen: &mut Seen) {
    let mut processes = Processes::start(number, settings);
    let before = scene.authority.questions();
    let load = load(soon(), setting("FLEET_SECONDS", 20));
    processes.tell(|place| Load { place, of: number as u64, ..load }.to_string());
    for outcome in processes.numbers("load") {
        seen.others += outcome[1];
        seen.late = seen.late.max(outcome[2]);
    }
    #[allow(clippy::cast_precision_loss)]
    seen.questions.push((scene.authority.questions() - before) as f64);
    seen.counts.push(processes.stats());
}

#[allow(clippy::cast_precision_loss)]
fn row(name: &str, seen: &Seen, times: Rounds) -> Vec<String> {
    let counted = |what: fn(&Counts) -> u64| Rounds::of(seen.counts.iter().map(|counts| what(counts) as f64).collect());
    vec![
        name.into(),
        format!("{:.0}", Rounds::of(seen.questions.clone())),
        format!("{times:.3}"),
        format!("{:.0}", counted(|counts| counts.waits)),
        format!("{:.0}", counted(|counts| counts.failures)),
    ]
}
