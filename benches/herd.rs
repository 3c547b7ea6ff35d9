//! What a herd of requests with one unknown token does: `cargo bench --bench herd`, about 20 seconds.
//!
//! 10,000 requests (`REQUESTS`), each in a task of its own, on a runtime with two threads, all with the same token,
//! which nobody has seen before. The authority takes 50 ms (`LATENCY_MS`) for an answer, without sockets. There are
//! three herds: with an active token, with an inactive one, and with one about which the question fails. In each round
//! (`ROUNDS`, 21) they take turns with a lone question, which shows what the authority takes, and with as many requests
//! started in the same way that go to the service without the layer, which shows what they cost anyway.
//!
//! A herd is to make one question, all of it is to get that answer, and the last of it within 1.2 times the lone
//! question and the time of the requests without the layer, in the median of the rounds.
//!
//! A request that comes after the answer is not part of the herd, and after a failure it rightly asks again. So a round
//! counts only if all requests had begun when the authority answered; else the machine was too slow, and the herd is
//! repeated with another token.
#![allow(missing_docs, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

mod support;

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt};
use tower_introspection::introspect::Ask;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::{
    AccessToken, BearerToken, Cached, InactiveReason, Introspect, IntrospectError, IntrospectionLayer, Verdict,
};

use support::figures::{Bars, Row};
use support::inner::Inner;
use support::rounds::Rounds;
use support::{Bounds, Statuses, setting, token_name};

const MOST_LATENCIES: f64 = 1.2;
/// How often a herd is repeated in which not all had begun in time.
const TRIES: usize = 10;

/// What the authority says of a token, which has the letter in its name.
#[derive(Clone, Copy)]
struct Kind {
    letter: char,
    name: &'static str,
    status: StatusCode,
}

const KINDS: [Kind; 3] = [
    Kind { letter: 'a', name: "active", status: StatusCode::OK },
    Kind { letter: 'i', name: "inactive", status: StatusCode::UNAUTHORIZED },
    Kind { letter: 'f', name: "failure", status: StatusCode::SERVICE_UNAVAILABLE },
];

impl Kind {
    fn of(token: &BearerToken) -> Self {
        let text = token.expose();
        let letter = char::from(text.as_bytes()[text.len() - 9]);
        KINDS.into_iter().find(|kind| kind.letter == letter).unwrap()
    }
}

/// Takes its time, and notes when it answered, and how many requests had begun by then.
#[derive(Clone)]
struct Authority {
    latency: Duration,
    questions: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
    begun_in_time: Arc<AtomicUsize>,
    answered_at: Arc<Mutex<Instant>>,
}

impl Authority {
    fn new(latency: Duration) -> Self {
        Self {
            latency,
            questions: Arc::default(),
            begun: Arc::default(),
            begun_in_time: Arc::default(),
            answered_at: Arc::new(Mutex::new(Instant::now())),
        }
    }

    fn reset(&self) {
        for counter in [&self.questions, &self.begun, &self.begun_in_time] {
            counter.store(0, Ordering::SeqCst);
        }
    }
}

impl Introspect for Authority {
    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        let token = ask.token();
        self.questions.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.latency).await;
        self.begun_in_time.store(self.begun.load(Ordering::SeqCst), Ordering::SeqCst);
        *self.answered_at.lock().unwrap() = Instant::now();
        match Kind::of(token).letter {
            'a' => Ok(Verdict::Active(AccessToken::builder().client_id("herdsman").build())),
            'i' => Ok(Verdict::Inactive(InactiveReason::Unknown)),
            _ => Err(IntrospectError::new(IntrospectErrorKind::Connect)),
        }
    }
}

/// What became of requests that came at the same time.
struct Herd {
    took: Duration,
    /// When the last answer came.
    ended_at: Instant,
    statuses: Statuses,
}

/// Each request is made and answered in a task of its own. The time ends with the last answer.
async fn stampede<S>(service: &S, requests: usize, token: &str, begun: &Arc<AtomicUsize>) -> Herd
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let header: Arc<str> = format!("Bearer {token}").into();
    let mut tasks = Vec::with_capacity(requests);
    let start = Instant::now();
    for _ in 0..requests {
        let (service, header, begun) = (service.clone(), Arc::clone(&header), Arc::clone(begun));
        tasks.push(tokio::spawn(async move {
            let request = Request::builder().header(AUTHORIZATION, &*header).body(()).unwrap();
            begun.fetch_add(1, Ordering::Relaxed);
            let response = service.oneshot(request).await.unwrap_or_else(|never| match never {});
            (response.status(), Instant::now())
        }));
    }
    let (mut statuses, mut last) = (Statuses::default(), start);
    for task in tasks {
        let (status, answered_at) = task.await.unwrap();
        statuses.count(status);
        last = last.max(answered_at);
    }
    Herd { took: last - start, ended_at: last, statuses }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What was seen in all rounds, in milliseconds.
#[derive(Default)]
struct Seen {
    lone: Vec<f64>,
    plain: Vec<f64>,
    herds: [Vec<f64>; KINDS.len()],
    /// From the authority's answer to the last one.
    afterwards: [Vec<f64>; KINDS.len()],
    most_questions: [usize; KINDS.len()],
    other_answers: [u64; KINDS.len()],
    repeated: usize,
    /// Herds that could not be started in time, however often they were tried.
    given_up: usize,
}

async fn run(requests: usize, rounds: usize, latency: Duration) -> Seen {
    let authority = Authority::new(latency);
    let service = IntrospectionLayer::new(Cached::new(authority.clone())).layer(Inner);
    let mut seen = Seen::default();
    let mut token = 0;
    // The first round only warms up.
    for round in 0..=rounds {
        let start = Instant::now();
        let _ = authority.introspect(Ask::new(&BearerToken::parse(token_name('a', token)).unwrap())).await;
        let lone = millis(start.elapsed());
        let plain = millis(stampede(&Inner, requests, &token_name('a', token), &Arc::default()).await.took);
        let (mut took, mut afterwards) = ([f64::NAN; KINDS.len()], [f64::NAN; KINDS.len()]);
        for (place, kind) in KINDS.iter().enumerate() {
            let mut in_time = false;
            for _ in 0..TRIES {
                authority.reset();
                token += 1;
                let herd = stampede(&service, requests, &token_name(kind.letter, token), &authority.begun).await;
                in_time = authority.begun_in_time.load(Ordering::SeqCst) == requests;
                if in_time {
                    took[place] = millis(herd.took);
                    afterwards[place] = millis(herd.ended_at - *authority.answered_at.lock().unwrap());
                    let questions = authority.questions.load(Ordering::SeqCst);
                    seen.most_questions[place] = seen.most_questions[place].max(questions);
                    seen.other_answers[place] += herd.statuses.other_than(&[kind.status.as_u16()]);
                    break;
                }
                seen.repeated += 1;
            }
            seen.given_up += usize::from(!in_time);
        }
        if round > 0 && took.iter().all(|time| time.is_finite()) {
            seen.lone.push(lone);
            seen.plain.push(plain);
            seen.herds.iter_mut().zip(took).for_each(|(herd, took)| herd.push(took));
            seen.afterwards.iter_mut().zip(afterwards).for_each(|(herd, time)| herd.push(time));
        }
    }
    seen
}

fn report(seen: &Seen, requests: usize) -> ExitCode {
    let mut bounds = Bounds::default();
    bounds.check(seen.given_up == 0, format_args!("{} herds could not be started in time", seen.given_up));
    if seen.lone.is_empty() {
        return bounds.verdict();
    }
    println!("milliseconds, median (lowest to highest) of {} rounds; {} repeated", seen.lone.len(), seen.repeated);
    let [lone, plain] = [&seen.lone, &seen.plain].map(|times| Rounds::of(times.clone()));
    println!("  one question, alone                    {lone:.1}");
    println!("  {requests} requests without the layer      {plain:.1}");
    for (place, kind) in KINDS.iter().enumerate() {
        let [herd, afterwards] = [&seen.herds, &seen.afterwards].map(|times| Rounds::of(times[place].clone()));
        println!(
            "  {requests} requests, unknown token: {:<8} {herd:.1}, of which {afterwards:.1} after the authority's answer",
            kind.name
        );
    }
    println!();
    for (place, kind) in KINDS.iter().enumerate() {
        let latencies: Vec<f64> = (0..seen.lone.len())
            .map(|round| (seen.herds[place][round] - seen.plain[round]) / seen.lone[round])
            .collect();
        let latencies = Rounds::of(latencies);
        let (questions, others) = (seen.most_questions[place], seen.other_answers[place]);
        bounds.check(questions == 1, format_args!("{}: {questions} question for {requests} requests", kind.name));
        bounds.check(others == 0, format_args!("{}: {others} answers other than {}", kind.name, kind.status));
        bounds.check(
            latencies.median <= MOST_LATENCIES,
            format_args!(
                "{}: but for the cost of plain requests the last answer came after {latencies:.2} times the lone question, at \
                 most {MOST_LATENCIES}",
                kind.name
            ),
        );
    }
    write_figures(seen, requests);
    bounds.verdict()
}

fn write_figures(seen: &Seen, requests: usize) {
    let chart = Bars {
        title: "A herd with one unknown token: the last answer",
        subtitle: &format!("{requests} requests at once, one question; median, lowest and highest"),
        command: "cargo bench --bench herd",
        unit: "ms",
        scale: "linear",
    };
    let row = |label: String, times: &[f64], ours| {
        let Rounds { median, low, high } = Rounds::of(times.to_vec());
        Row { label, value: median, low, high, ours }
    };
    let mut rows = vec![
        row("one question, alone".into(), &seen.lone, false),
        row("all requests, without the layer".into(), &seen.plain, false),
    ];
    let herds = KINDS.iter().zip(&seen.herds);
    rows.extend(herds.map(|(kind, times)| row(format!("all requests, token {}", kind.name), times, true)));
    chart.write("herd", &rows);
}

fn main() -> ExitCode {
    if !support::is_asked_for() {
        return ExitCode::SUCCESS;
    }
    let (requests, rounds) = (setting("REQUESTS", 10_000), setting("ROUNDS", 21));
    let latency = Duration::from_millis(setting("LATENCY_MS", 50));
    println!("{requests} requests, {latency:?} for an answer");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // In a task, so that two threads are all that run.
    let seen = runtime.block_on(async { tokio::spawn(run(requests, rounds, latency)).await.unwrap() });
    report(&seen, requests)
}
