//! How soon all processes refuse a token that one of them has invalidated.

use std::time::Duration;

use crate::load::Load;
use crate::processes::{Processes, soon};
use crate::questions::load;
use crate::support::{Bounds, token_name};
use crate::{Scene, print_table, rounds};

const PROCESSES: usize = 8;
const REVOCATIONS: usize = 100;
/// Longer than a round: only the log tells of a revocation.
const MAX_TTL: Duration = Duration::from_secs(600);
/// How long all present the token before it is revoked.
const BEFORE: Duration = Duration::from_millis(200);
/// Milliseconds.
const MOST_P99: f64 = 300.0;
const MOST: f64 = 1_000.0;

pub fn measure(scene: &mut Scene, bounds: &mut Bounds) {
    let mut rows = Vec::new();
    for round in 0..rounds(1) {
        let settings = scene.settings(&format!("revocation-{round}"), MAX_TTL);
        let mut processes = Processes::start(PROCESSES, &settings);
        // Far longer than it takes: the processes end before.
        let load = load(soon(), 3_600);
        processes.tell(|place| Load { place, of: PROCESSES as u64, ..load }.to_string());
        let (mut calls, mut delays, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        let mut unrecorded = 0;
        for n in 0..REVOCATIONS {
            let revoked = revoke(scene, &mut processes, &token_name('r', round * REVOCATIONS + n), n % PROCESSES);
            calls.push(revoked.call);
            delays.push(revoked.last_accepted);
            refusals.push(revoked.last_refusal);
            unrecorded += usize::from(!revoked.is_recorded);
        }
        let [calls, delays, refusals] = [calls, delays, refusals].map(sorted);
        let stats = processes.stats();
        for (what, times) in [
            ("the call of `invalidate`", &calls),
            ("from its return to the last accepted request", &delays),
            ("from its return until all have refused", &refusals),
        ] {
            let quantiles = [0.5, 0.9, 0.99, 1.0].map(|part| format!("{:.1}", quantile(times, part)));
            rows.push([vec![what.to_owned()], quantiles.to_vec()].concat());
        }
        let (p99, most) = (quantile(&delays, 0.99), quantile(&delays, 1.0));
        bounds.check(p99 < MOST_P99, format_args!("p99 {p99:.1} ms until nobody accepts it, less than {MOST_P99}"));
        bounds.check(most < MOST, format_args!("at most {most:.1} ms, less than {MOST}"));
        bounds.check(unrecorded == 0, format_args!("{unrecorded} not recorded when the call returned"));
        println!("         failed calls of the engine: {}, gaps: {}", stats.failures, stats.gaps);
    }
    print_table(&["milliseconds", "p50", "p90", "p99", "max"], &rows);
}

/// Milliseconds of one revocation.
struct Revoked {
    call: f64,
    /// From the return of the call.
    last_accepted: f64,
    last_refusal: f64,
    is_recorded: bool,
}

fn revoke(scene: &Scene, processes: &mut Processes, token: &str, by: usize) -> Revoked {
    processes.tell(|_| format!("present {token}"));
    std::thread::sleep(BEFORE);
    scene.authority.revoke(token);
    processes.0[by].tell(&format!("invalidate {token}"));
    let answer = processes.0[by].answer("invalidate");
    let [began_at, returned_at] = [0, 1].map(|place| answer[place].parse::<u64>().unwrap());
    let seen = processes.numbers("present");
    assert!(seen.iter().all(|numbers| numbers[2] > 10), "they have not presented it: {seen:?}");
    let latest = |place: usize| seen.iter().map(|numbers| numbers[place]).max().unwrap();
    Revoked {
        call: millis(returned_at - began_at),
        last_accepted: millis(latest(0).saturating_sub(returned_at)),
        last_refusal: millis(latest(1).saturating_sub(returned_at)),
        is_recorded: answer[2] == "recorded",
    }
}

#[allow(clippy::cast_precision_loss)]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}

/// Of sorted ones: the lowest that is not below so large a part of them.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn quantile(times: &[f64], part: f64) -> f64 {
    times[((times.len() as f64 * part).ceil() as usize).saturating_sub(1)]
}
