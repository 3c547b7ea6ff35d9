//! A model test: random histories of requests, questions that take their time, users who log in and whose accounts are
//! disabled, and events about it, at two processes of a fleet.
//!
//! * After an event was taken (202), no request that begins at this process gets a token let in that was issued before,
//!   and none at the other one that has read the log since.
//! * Nobody is refused but by what the authority says: a user who logs in again comes in with the new token.
//!
//! `PROPTEST_CASES` says how many cases.
#![cfg(feature = "redis")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tower_introspection::fleet::{Fleet, MemoryEngine};

use super::*;
use crate::fleet::{passes, secret};
use crate::support::{millis, patiently, secs, until};

const CASES: u32 = 400;
const USERS: [&str; 3] = ["ann", "bob", "carl"];

#[derive(Clone, Debug)]
enum Step {
    /// A user gets a new token.
    LogIn {
        user: usize,
    },
    /// Somebody presents a token of a user, the newest or the one before, at a process.
    Present {
        user: usize,
        back: usize,
        process: usize,
    },
    /// The authority revokes what a user has, and says so to a process, by one of the ways to name the user.
    Disable {
        user: usize,
        process: usize,
        way: usize,
    },
    /// The last event comes again, at either process.
    Repeat {
        process: usize,
    },
    /// Answers to questions are held back from now on, or let go.
    Hold(bool),
    Pass {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3_usize).prop_map(|user| Step::LogIn { user }),
        8 => (0..3_usize, 0..2_usize, 0..2_usize)
            .prop_map(|(user, back, process)| Step::Present { user, back, process }),
        3 => (0..3_usize, 0..2_usize, 0..4_usize)
            .prop_map(|(user, process, way)| Step::Disable { user, process, way }),
        1 => (0..2_usize).prop_map(|process| Step::Repeat { process }),
        2 => any::<bool>().prop_map(Step::Hold),
        3 => (1..1_500_u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// Tells what is true at the moment when a question arrives, and may be slow to say it.
#[derive(Clone)]
struct Server(Arc<Truth>);

struct Truth {
    /// By name: of whom it is, when it was issued, and whether it is active.
    tokens: Mutex<BTreeMap<String, (usize, Timestamp, bool)>>,
    issuer: String,
    held: Mutex<Option<Arc<Semaphore>>>,
}

impl Introspect for Server {
    async fn introspect(&self, ask: Ask<'_>) -> Result<Verdict, IntrospectError> {
        let (user, issued_at, is_active) = self.0.tokens.lock().unwrap()[ask.token().expose()];
        let held = self.0.held.lock().unwrap().clone();
        if let Some(held) = held {
            let _ = held.acquire().await;
        }
        if !is_active {
            return Ok(Verdict::Inactive(InactiveReason::Revoked));
        }
        let token = AccessToken::builder().subject(USERS[user]).issued_at(issued_at);
        let token = token.claim("email", format!("{}@example.com", USERS[user])).unwrap();
        let token = token.claim("sid", format!("s-{}", USERS[user])).unwrap();
        Ok(Verdict::Active(if user == 2 { token } else { token.issuer(&self.0.issuer) }.build()))
    }
}

struct Process {
    cached: Cached<Server>,
    fleet: Fleet,
    signals: Signals,
}

struct Run {
    clock: ManualClock,
    sandbox: Sandbox,
    server: Server,
    processes: Vec<Process>,
    /// Of each user, the oldest first.
    issued: [Vec<String>; 3],
    /// Tokens that an event was taken about, by the process that took it.
    gone: [Vec<String>; 2],
    last: Option<String>,
    under_way: Vec<JoinHandle<()>>,
    seen: Seen,
}

/// What came about, so that the test can tell whether it tests anything.
#[derive(Clone, Copy, Default)]
struct Seen {
    let_in: usize,
    refused_after_event: usize,
    raced: usize,
}

impl Run {
    async fn new() -> Self {
        let clock = ManualClock::at(START);
        let sandbox = Sandbox::start_with_clock(clock.clone()).await.unwrap();
        let truth = Truth { tokens: Mutex::default(), issuer: sandbox.issuer(), held: Mutex::default() };
        let server = Server(Arc::new(truth));
        let engine = MemoryEngine::with_clock(clock.clone());
        let process = || {
            let fleet = Fleet::in_memory(&engine, "orders", secret()).clock(clock.clone()).build().unwrap();
            let cached = Cached::builder(server.clone()).clock(clock.clone()).fleet(&fleet).build().unwrap();
            let transmitter = transmitter(&sandbox).cache(cached.handle());
            let signals = Signals::builder().transmitter(transmitter).clock(clock.clone()).build().unwrap();
            Process { cached, fleet, signals }
        };
        let processes = vec![process(), process()];
        for process in &processes {
            until(|| process.fleet.stats().is_reading).await;
        }
        let (issued, gone) = Default::default();
        let mut run = Self {
            clock,
            sandbox,
            server,
            processes,
            issued,
            gone,
            last: None,
            under_way: Vec::new(),
            seen: Seen::default(),
        };
        (0..3).for_each(|user| run.log_in(user));
        run
    }

    fn log_in(&mut self, user: usize) {
        let name = format!("{}{}", USERS[user], self.issued[user].len());
        self.server.0.tokens.lock().unwrap().insert(name.clone(), (user, self.clock.now(), true));
        self.issued[user].push(name);
    }

    fn token(&self, user: usize, back: usize) -> String {
        let all = &self.issued[user];
        all[all.len() - 1 - back.min(all.len() - 1)].clone()
    }

    async fn step(&mut self, step: Step) {
        match step {
            // A token of the second of an event counts as older.
            Step::LogIn { user } => {
                passes(&self.clock, secs(2)).await;
                self.has_read();
                self.log_in(user);
            }
            Step::Present { user, back, process } => self.present(&self.token(user, back), process).await,
            Step::Disable { user, process, way } => {
                for (_, (_, _, is_active)) in
                    self.server.0.tokens.lock().unwrap().iter_mut().filter(|(_, (of, _, _))| *of == user)
                {
                    *is_active = false;
                }
                let (name, issuer) = (USERS[user], self.sandbox.issuer());
                let subject = match way {
                    0 => json!({ "format": "iss_sub", "iss": issuer, "sub": name }),
                    1 => json!({ "format": "email", "email": format!("{}@EXAMPLE.com", name.to_uppercase()) }),
                    2 => json!({ "format": "opaque", "id": format!("s-{name}") }),
                    _ => {
                        json!({ "user": { "format": "opaque", "id": name }, "session": { "format": "opaque", "id": format!("s-{name}") } })
                    }
                };
                let set = self.sandbox.sign_event(SandboxEvent::new(ACCOUNT_DISABLED).subject(subject).unwrap());
                let set = set.unwrap();
                if self.under_way.iter().any(|question| !question.is_finished()) {
                    self.seen.raced += 1;
                }
                assert_eq!(push(&self.processes[process].signals, &set).await, TAKEN);
                self.gone[process].extend(self.issued[user].iter().cloned());
                self.last = Some(set);
            }
            Step::Repeat { process } => {
                if let Some(set) = &self.last {
                    assert_eq!(push(&self.processes[process].signals, set).await, TAKEN);
                }
            }
            Step::Hold(is_held) => {
                let mut held = self.server.0.held.lock().unwrap();
                if let Some(held) = held.take() {
                    held.close();
                }
                *held = is_held.then(|| Arc::new(Semaphore::new(0)));
            }
            Step::Pass { millis: time } => {
                passes(&self.clock, millis(time)).await;
                if time >= 300 {
                    self.has_read();
                }
            }
        }
    }

    /// Long enough for each process to have read what the other has recorded.
    fn has_read(&mut self) {
        let [one, other] = &mut self.gone;
        one.extend(other.iter().cloned());
        other.clone_from(one);
    }

    async fn present(&mut self, token: &str, process: usize) {
        let is_gone = self.gone[process].contains(&token.to_owned());
        let cached = self.processes[process].cached.clone();
        if let Some(verdict) = cached.cached(&bearer(token)) {
            self.judge(token, is_gone, verdict.is_active());
            return;
        }
        let name = token.to_owned();
        let mut asking =
            tokio::spawn(async move { cached.introspect(Ask::new(&bearer(&name))).await.unwrap().is_active() });
        let is_held = self.server.0.held.lock().unwrap().is_some();
        if is_held {
            passes(&self.clock, millis(20)).await;
            if !asking.is_finished() {
                let name = token.to_owned();
                self.under_way.push(tokio::spawn(async move {
                    let is_let_in = asking.await.unwrap();
                    assert!(!(is_gone && is_let_in), "{name} was let in after the event about it was taken");
                }));
                return;
            }
        }
        let is_let_in = patiently(&mut asking).await.unwrap();
        self.judge(token, is_gone, is_let_in);
    }

    fn judge(&mut self, token: &str, is_gone: bool, is_let_in: bool) {
        let is_active = self.server.0.tokens.lock().unwrap()[token].2;
        assert!(!(is_gone && is_let_in), "{token} was let in after the event about it was taken");
        assert!(is_let_in || !is_active, "{token} is active and was refused");
        self.seen.let_in += usize::from(is_let_in);
        self.seen.refused_after_event += usize::from(is_gone);
    }

    async fn ends(mut self) -> Seen {
        self.step(Step::Hold(false)).await;
        for question in std::mem::take(&mut self.under_way) {
            patiently(question).await.unwrap();
        }
        // Whatever came before, both know at last.
        passes(&self.clock, secs(2)).await;
        self.has_read();
        for user in 0..3 {
            for token in self.issued[user].clone() {
                for process in 0..2 {
                    self.present(&token, process).await;
                }
            }
        }
        self.seen
    }
}

#[test]
fn no_history_of_events_lets_a_token_in_that_one_of_them_was_about() {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    let is_default = std::env::var_os("PROPTEST_CASES").is_none();
    if is_default {
        config.cases = CASES;
    }
    let cases = config.cases;
    let mut runner = match is_default {
        true => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        false => TestRunner::new(config),
    };
    let all = Mutex::new(Seen::default());
    let outcome = runner.run(&proptest::collection::vec(step(), 1..30), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let seen = runtime.block_on(async {
            let mut run = Run::new().await;
            for step in steps {
                run.step(step).await;
            }
            run.ends().await
        });
        let mut all = all.lock().unwrap();
        all.let_in += seen.let_in;
        all.refused_after_event += seen.refused_after_event;
        all.raced += seen.raced;
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\n{runner}");
    }
    let Seen { let_in, refused_after_event, raced } = all.into_inner().unwrap();
    println!("let in: {let_in}; refused after an event: {refused_after_event}; events beside questions: {raced}");
    let enough = usize::try_from(cases).unwrap();
    assert!(let_in > enough && refused_after_event > enough && raced > enough / 20, "it tests less than it should");
}
