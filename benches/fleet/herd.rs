//! Many requests in all processes with one token that nobody knows.

use std::time::Duration;

use crate::processes::{Processes, soon};
use crate::support::rounds::Rounds;
use crate::support::{Bounds, token_name};
use crate::{Scene, print_table, rounds};

const PROCESSES: usize = 8;
const REQUESTS: u64 = 1_000;

pub fn measure(scene: &mut Scene, bounds: &mut Bounds) {
    let settings = scene.settings("herd", Duration::from_secs(60));
    let mut processes = Processes::start(PROCESSES, &settings);
    let (mut took, mut lone, mut questions, mut accepted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first one only warms up.
    for round in 0..=rounds(21) {
        let lone_took = herd(&mut processes.0[..1], &token_name('l', round), 1).0;
        let before = scene.authority.questions();
        let (herd_took, were_accepted) = herd(&mut processes.0, &token_name('h', round), REQUESTS);
        if round > 0 {
            lone.push(lone_took);
            took.push(herd_took);
            #[allow(clippy::cast_precision_loss)]
            questions.push((scene.authority.questions() - before) as f64);
            accepted.push(were_accepted);
        }
    }
    let questions = Rounds::of(questions);
    let row = vec![
        format!("{PROCESSES} processes, {REQUESTS} requests each"),
        questions.to_string(),
        format!("{:.1} ms", Rounds::of(took)),
        format!("{:.1} ms", Rounds::of(lone)),
    ];
    print_table(&["one unknown token", "questions", "the last answer", "a lone request"], &[row]);
    bounds.check(questions.high <= 1.0, format_args!("{:.0} question for a herd", questions.high));
    let all = accepted.iter().all(|accepted| *accepted == REQUESTS * PROCESSES as u64);
    bounds.check(all, "all requests of all herds were accepted");
}

/// Milliseconds until the last answer, and how many were accepted.
#[allow(clippy::cast_precision_loss)]
fn herd(processes: &mut [crate::processes::Process], token: &str, requests: u64) -> (f64, u64) {
    let start = soon();
    processes.iter_mut().for_each(|process| process.tell(&format!("herd {token} {requests} {start}")));
    let all: Vec<_> = processes.iter_mut().map(|process| process.numbers("herd")).collect();
    let last = all.iter().map(|numbers| numbers[0]).max().unwrap_or(start);
    ((last - start) as f64 / 1e3, all.iter().map(|numbers| numbers[1]).sum())
}
