//! The system under test: a cache, and a service behind the layer, on a runtime whose tasks run one at a time.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use tower_introspection::RequestView;

use http::{Request as HttpRequest, Response};
use proptest_state_machine::StateMachineTest;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};
use tower_introspection::clock::ManualClock;
use tower_introspection::introspect::IntrospectErrorKind;
use tower_introspection::rejection::Rejection;
use tower_introspection::{AccessToken, Cached, InactiveReason, IntrospectionLayer};

use super::common::{Ending, Fault, millis, name_of, timestamp};
use super::journal::{Authority, Journal, Scope, SharedJournal};
use super::rules::Request;
use super::world::{Operation, Settings, Step, TOKENS, Way, World};
use crate::support::{bearer, known_or_asked, secs};

/// As long as no test runs by the paused clock, but when it is told to.
const QUESTION_TIMEOUT: u64 = 1_000_000;

type Guarded = BoxCloneService<HttpRequest<()>, Response<()>, Infallible>;

pub(super) struct System {
    runtime: Runtime,
    journal: SharedJournal,
    clock: ManualClock,
    cached: Cached<Authority>,
    guarded: Guarded,
    waiting: Vec<JoinHandle<()>>,
}

impl System {
    pub(super) fn new(world: &World) -> Self {
        let clock = ManualClock::at(timestamp(world.wall));
        let journal = Journal::new(world.clone());
        let Settings { max_ttl, inactive_ttl, expiry_leeway, stale_if_error, refresh_ahead, .. } = world.settings;
        let cached = Cached::builder(Authority(Arc::clone(&journal)))
            .max_ttl(millis(max_ttl))
            .inactive_ttl(millis(inactive_ttl))
            .expiry_leeway(millis(expiry_leeway))
            .stale_if_error(millis(stale_if_error))
            .refresh_ahead(refresh_ahead)
            .refresh_ahead_uses(1)
            .max_capacity(world.settings.max_capacity)
            .inactive_capacity(world.settings.inactive_capacity)
            .max_flights(world.settings.max_questions)
            .question_timeout(secs(QUESTION_TIMEOUT))
            .clock(clock.clone())
            .build()
            .unwrap();
        let layer =
            IntrospectionLayer::builder(cached.clone()).rejection_response(|rejection: &Rejection, _: &RequestView| {
                let mut response = rejection.response(());
                response.extensions_mut().insert(rejection.clone());
                response
            });
        let inner = service_fn(|request: HttpRequest<()>| async move {
            let mut response = Response::new(());
            *response.extensions_mut() = request.extensions().clone();
            Ok::<_, Infallible>(response)
        });
        let guarded = BoxCloneService::new(layer.build().unwrap().layer(inner));
        // One task, and it is the test's turn again.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).event_interval(1).build().unwrap();
        Self { runtime, journal, clock, cached, guarded, waiting: Vec::new() }
    }

    pub(super) fn step(&mut self, world: &World, step: &Step) {
        self.journal.lock().unwrap().world = world.clone();
        self.clock.set(timestamp(world.wall));
        self.perform(&step.operation);
        self.runtime.block_on(async {
            match step.turns {
                Some(turns) => {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                }
                // The paused clock moves on when nothing else does.
                None => tokio::time::sleep(millis(1)).await,
            }
        });
        self.check();
    }

    fn perform(&mut self, operation: &Operation) {
        let handle = self.cached.handle();
        match *operation {
            Operation::Release(index) => self.journal.lock().unwrap().release(index),
            Operation::LetGo => self.journal.lock().unwrap().release_all(),
            Operation::TimeOut => self.runtime.block_on(tokio::time::advance(secs(QUESTION_TIMEOUT))),
            Operation::Request { token, by, times } => {
                for _ in 0..times {
                    self.request(token, by);
                }
            }
            Operation::HangUp(index) => {
                self.waiting.retain(|request| !request.is_finished());
                if !self.waiting.is_empty() {
                    let index = index % self.waiting.len();
                    self.waiting.remove(index).abort();
                }
            }
            Operation::Invalidate(token) => {
                handle.invalidate(&bearer(&name_of(token)));
                self.journal.lock().unwrap().invalidated(Scope::Token(token));
            }
            Operation::InvalidateAll => {
                handle.invalidate_all();
                self.journal.lock().unwrap().invalidated(Scope::All);
            }
            Operation::InvalidateClient(client) => {
                let client_id = client.to_string();
                handle.invalidate_where(move |token| token.client_id() == Some(client_id.as_str()));
                self.journal.lock().unwrap().invalidated(Scope::Client(client));
            }
            Operation::Stats => {
                let stats = handle.stats();
                let mut journal = self.journal.lock().unwrap();
                let Settings { max_capacity, inactive_capacity, .. } = journal.world.settings;
                let (entries, inactive) = (stats.entries, stats.inactive_entries);
                journal.require(entries <= max_capacity, || format!("{entries} entries"));
                journal.require(inactive <= inactive_capacity, || format!("{inactive} inactive entries"));
            }
            _ => {}
        }
    }

    fn request(&mut self, token: usize, by: Way) {
        let (journal, cached, guarded) = (Arc::clone(&self.journal), self.cached.clone(), self.guarded.clone());
        let request = async move {
            let start = journal.lock().unwrap().moment();
            let name = name_of(token);
            let ending = match by {
                Way::Cache => Ending::of(&known_or_asked(&cached, &name).await),
                Way::Layer => {
                    let request = HttpRequest::builder().header("authorization", format!("Bearer {name}"));
                    ending_of(&guarded.oneshot(request.body(()).unwrap()).await.unwrap())
                }
            };
            let for_want_of_room = matches!(
                ending,
                Ending::Failed { kind: IntrospectErrorKind::Overloaded, question: None }
                    | Ending::Accepted { stale: true, .. }
            );
            let under_way = if for_want_of_room { cached.handle().stats().questions_under_way } else { 0 };
            let mut journal = journal.lock().unwrap();
            let end = journal.moment();
            Reached::note(ending);
            journal.judge(Request { token, start, end, ending, under_way });
        };
        self.waiting.push(self.runtime.spawn(request));
    }

    fn check(&self) {
        let journal = self.journal.lock().unwrap();
        if !journal.violations.is_empty() {
            let violations = journal.violations.join("\n");
            let questions: Vec<_> = journal.questions.iter().enumerate().collect();
            panic!("{violations}\nquestions: {questions:#?}\ninvalidations: {:?}", journal.invalidations);
        }
    }

    fn play(&mut self, world: &mut World, operation: Operation) {
        world.happen(&operation);
        self.step(world, &Step { operation, turns: None });
    }

    /// The last act of every case: an outage, looked at wherever something may end in it.
    fn outage(&mut self, world: &mut World) {
        let Settings { max_ttl, stale_if_error, .. } = world.settings;
        let request = |token| Operation::Request { token, by: Way::Layer, times: 1 };
        let in_the_middle = max_ttl + stale_if_error / 2;
        for operation in [
            Operation::Recover,
            Operation::LetGo,
            Operation::Issue { token: 0, expires_in: Some(in_the_middle), valid_in: None },
            Operation::Issue { token: 1, expires_in: None, valid_in: None },
            Operation::InvalidateAll,
            request(0),
            request(1),
            Operation::Fail(Fault::Fails(IntrospectErrorKind::Connect)),
        ] {
            self.play(world, operation);
        }
        let start = world.wall;
        for moment in [max_ttl, in_the_middle, max_ttl + stale_if_error] {
            for moment in [start + moment - 1, start + moment] {
                if moment > world.wall {
                    self.play(world, Operation::Advance(moment - world.wall));
                    self.play(world, request(0));
                    self.play(world, request(1));
                }
            }
        }
    }

    /// When the authority recovers, every request has to end; and when nothing that was known serves any more, each
    /// token has to get what is true of it.
    pub(super) fn end(mut self, mut world: World) {
        self.outage(&mut world);
        self.play(&mut world, Operation::Recover);
        self.play(&mut world, Operation::LetGo);
        let handle = self.cached.handle();
        let mut journal = self.journal.lock().unwrap();
        let waiting = self.waiting.iter().filter(|request| !request.is_finished()).count();
        journal.require(waiting == 0, || format!("{waiting} requests wait for ever"));
        let stats = handle.stats();
        journal.require(stats.questions_under_way == 0, || format!("{} slots are left", stats.questions_under_way));
        let questions = journal.questions.len() as u64;
        journal.require(stats.questions == questions, || format!("{} of {questions} counted", stats.questions));
        drop(journal);
        self.check();

        let Settings { max_ttl, inactive_ttl, .. } = world.settings;
        let long_enough = max_ttl + inactive_ttl + (world.steady - world.wall);
        self.play(&mut world, Operation::Advance(long_enough));
        for token in 0..TOKENS {
            let answer = self.runtime.block_on(known_or_asked(&self.cached, &name_of(token)));
            self.journal.lock().unwrap().must_end_with(token, Ending::of(&answer));
        }
        self.check();
    }
}

fn ending_of(response: &Response<()>) -> Ending {
    if let Some(token) = response.extensions().get::<AccessToken>() {
        return Ending::Accepted { question: token.claim("question").unwrap(), stale: token.is_stale() };
    }
    let rejection = response.extensions().get::<Rejection>().unwrap();
    match rejection.cause() {
        Some(error) => Ending::failed(error),
        None => Ending::Rejected(match rejection.description() {
            "the access token is unknown" => InactiveReason::Unknown,
            "the access token was revoked" => InactiveReason::Revoked,
            "the access token expired" => InactiveReason::Expired,
            "the access token is not valid yet" => InactiveReason::NotYetValid,
            other => panic!("{other}"),
        }),
    }
}

impl StateMachineTest for System {
    type SystemUnderTest = Self;
    type Reference = World;

    fn init_test(world: &World) -> Self {
        Self::new(world)
    }

    fn apply(mut system: Self, world: &World, step: Step) -> Self {
        system.step(world, &step);
        system
    }

    fn teardown(system: Self, world: World) {
        system.end(world);
    }
}

/// How often requests ended in each way, over all cases of one test: a model that no longer reaches them all tests
/// nothing. All that happens in a case happens on the thread of its test.
pub(super) struct Reached;

thread_local! {
    static REACHED: [Cell<u64>; 6] = const { [const { Cell::new(0) }; 6] };
}

impl Reached {
    const NAMES: [&str; 6] = ["accepted", "accepted stale", "rejected", "failed", "turned away", "given up"];

    fn note(ending: Ending) {
        let which = match ending {
            Ending::Accepted { stale: false, .. } => 0,
            Ending::Accepted { stale: true, .. } => 1,
            Ending::Rejected(_) => 2,
            Ending::Failed { question: None, kind: IntrospectErrorKind::Overloaded } => 4,
            Ending::Failed { question: None, kind: IntrospectErrorKind::Abandoned } => 5,
            Ending::Failed { .. } => 3,
        };
        REACHED.with(|reached| reached[which].set(reached[which].get() + 1));
    }

    /// With one thread for all tests, others have counted on it before.
    pub(super) fn start() {
        REACHED.with(|reached| reached.iter().for_each(|count| count.set(0)));
    }

    pub(super) fn counts() -> impl Iterator<Item = (&'static str, u64)> {
        Self::NAMES.into_iter().zip(REACHED.with(|reached| reached.each_ref().map(Cell::get)))
    }
}
