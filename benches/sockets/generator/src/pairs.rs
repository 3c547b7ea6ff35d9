//! Pairs of segments, bare and guarded, and what they say.

use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::load::{Load, Plan};
use crate::servers::{Server, time_of};
use crate::wire::Target;

/// A server that has had its last answer needs a moment to come to rest.
const REST: Duration = Duration::from_millis(5);

/// One of the two that are compared, with connections to it.
pub struct Side<'a> {
    server: &'a Server,
    load: Load<'a>,
}

/// What one segment says.
#[derive(Clone, Copy)]
pub struct Segment {
    pub per_second: f64,
    /// Seconds.
    pub p99: f64,
    /// Processor time of the server for each request, in seconds.
    pub cost: f64,
    /// How much of its core the server used, and the generator of its own, from 0 to 1.
    pub server_busy: f64,
    pub generator_busy: f64,
    pub answers: u64,
    pub refused: u64,
}

impl<'a> Side<'a> {
    /// # Errors
    /// If the server does not listen.
    pub fn connect(server: &'a Server, target: &Target, tokens: &'a [String]) -> Result<Self, Failure> {
        Ok(Self { server, load: Load::connect(target, tokens)? })
    }

    /// # Errors
    /// If the server does not answer as it should.
    #[allow(clippy::cast_precision_loss)]
    pub fn segment(&mut self, plan: Plan) -> Result<Segment, Failure> {
        sleep(REST);
        let (server, generator) = (self.server.processor_time()?, time_of("self")?);
        let start = Instant::now();
        let outcome = self.load.run(plan)?;
        let took = start.elapsed().as_secs_f64();
        let generator = time_of("self")?.saturating_sub(generator).as_secs_f64();
        sleep(REST);
        let server = self.server.processor_time()?.saturating_sub(server).as_secs_f64();
        let time = match plan {
            Plan::Requests(_) => took,
            Plan::FullSpeed(time) | Plan::Rate { time, .. } => time.as_secs_f64(),
        };
        Ok(Segment {
            per_second: outcome.in_time as f64 / time,
            p99: outcome.latencies.quantile(0.99).as_secs_f64(),
            cost: server / outcome.answers.max(1) as f64,
            server_busy: server / took,
            generator_busy: generator / took,
            answers: outcome.answers,
            refused: outcome.refused,
        })
    }
}

/// Many pairs.
pub struct Pairs(Vec<[Segment; 2]>);

impl Pairs {
    /// Bare and guarded in turn; who comes first changes, so that a machine that gets slower or faster strikes both
    /// alike. Both sides of a pair carry out the same plan.
    ///
    /// # Errors
    /// If a server does not answer as it should.
    pub fn measure(
        [bare, guarded]: &mut [Side<'_>; 2],
        pairs: usize,
        plan: impl Fn(usize) -> Plan,
    ) -> Result<Self, Failure> {
        let mut measured = Vec::new();
        for pair in 0..pairs {
            measured.push(if pair % 2 == 0 {
                let bare = bare.segment(plan(pair))?;
                [bare, guarded.segment(plan(pair))?]
            } else {
                let guarded = guarded.segment(plan(pair))?;
                [bare.segment(plan(pair))?, guarded]
            });
        }
        Ok(Self(measured))
    }

    /// Of one figure, guarded by bare, pair by pair.
    pub fn ratio(&self, figure: impl Fn(&Segment) -> f64) -> Spread {
        Spread::of(self.0.iter().map(|[bare, guarded]| figure(guarded) / figure(bare)))
    }

    pub fn bare(&self, figure: impl Fn(&Segment) -> f64) -> f64 {
        Spread::of(self.0.iter().map(|[bare, _]| figure(bare))).median
    }

    pub fn guarded(&self, figure: impl Fn(&Segment) -> f64) -> f64 {
        Spread::of(self.0.iter().map(|[_, guarded]| figure(guarded))).median
    }

    pub fn refused(&self) -> u64 {
        self.0.iter().flatten().map(|segment| segment.refused).sum()
    }

    pub fn answers(&self) -> u64 {
        self.0.iter().flatten().map(|segment| segment.answers).sum()
    }
}

/// The median of several, and within what bounds that of many more would be, with a confidence of 95 % (the order
/// statistics that are 0.98 times the root of their number away from the middle).
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let (last, middle) = (values.len() - 1, values.len() / 2);
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        let away = (0.98 * (values.len() as f64).sqrt()).ceil() as usize;
        Self { median, low: values[middle.saturating_sub(away)], high: values[(middle + away).min(last)] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.low, self.high)
    }
}
