//! Several caches of one process, and processes whose endpoints are not set up alike.

use std::borrow::Cow;
use std::sync::Arc;

use tower_introspection::cache::{Reach, Selection};
use tower_introspection::clock::ManualClock;
use tower_introspection::fleet::{Fleet, FleetBuilder, MemoryEngine};
use tower_introspection::introspect::{AnyIntrospector, Ask};
use tower_introspection::rfc7662::Rfc7662Builder;
use tower_introspection::stats::EndpointHandle;
use tower_introspection::{Authorities, CacheHandle, Cached, InactiveReason, Introspect, Rfc7662, Verdict};

use super::{Process, all_read, engine, passes, secret, until_in};
use crate::support::{Answer, Authority, bearer, inactive, known_or_asked, millis, secs, until};

/// An authority in the test's hands, with the endpoint of another introspector: it is never asked.
#[derive(Clone)]
struct With(Authority, Arc<Rfc7662>);

impl With {
    fn endpoint(authority: &Authority, set: impl FnOnce(Rfc7662Builder) -> Rfc7662Builder) -> Self {
        let endpoint = Rfc7662::builder("http://127.0.0.1:1/introspect").client_secret_basic("my-api", "hush");
        Self(authority.clone(), Arc::new(set(endpoint).build().unwrap()))
    }
}

impl Introspect for With {
    async fn introspect(&self, ask: Ask<'_>) -> Answer {
        self.0.introspect(ask).await
    }

    fn endpoint(&self) -> Option<EndpointHandle> {
        self.1.endpoint()
    }
}

fn fleet(engine: &MemoryEngine, clock: &ManualClock) -> FleetBuilder {
    Fleet::in_memory(engine, "orders", secret()).clock(clock.clone())
}

/// A process with a cache for each of two authorities, both in one fleet.
struct Two {
    fleet: Fleet,
    authorities: Authorities,
    handles: [CacheHandle; 2],
}

impl Two {
    async fn start(engine: &MemoryEngine, clock: &ManualClock, authorities: [impl Introspect; 2]) -> Self {
        let fleet = fleet(engine, clock).build().unwrap();
        let names = ["partners", "staff"];
        let mut names_left = names.into_iter();
        let caches = authorities.map(|authority| {
            let name = names_left.next().unwrap();
            let cached = Cached::builder(AnyIntrospector::new(authority)).name(name);
            cached.clock(clock.clone()).fleet(&fleet).build().unwrap()
        });
        let handles = caches.each_ref().map(Cached::handle);
        let chosen = Authorities::choose_by(|request| request.path().split('/').nth(1).map(Cow::from));
        let authorities = names.into_iter().zip(caches).fold(chosen, |all, (name, cached)| all.authority(name, cached));
        until(|| fleet.stats().is_reading).await;
        Self { fleet, authorities: authorities.build().unwrap(), handles }
    }

    fn remembers(&self, authority: &str) -> bool {
        self.authorities.get(authority).unwrap().cached(&bearer("abc")).is_some_and(|verdict| verdict.is_active())
    }

    async fn asks(&self, authority: &str) -> Verdict {
        known_or_asked(self.authorities.get(authority).unwrap(), "abc").await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn caches_of_different_names_share_the_log_and_nothing_else() {
    let (engine, clock) = engine();
    let active = || Authority::new(Ok(Verdict::Active(until_in(600))));
    let [partners, staff] = [active(), active()];
    let asked = || [partners.questions(), staff.questions()];
    // The same endpoint, so that nothing but the name tells them apart.
    let both = || [&partners, &staff].map(|authority| With::endpoint(authority, |endpoint| endpoint));
    let one = Two::start(&engine, &clock, both()).await;
    let other = Two::start(&engine, &clock, both()).await;

    assert!(one.asks("partners").await.is_active());
    assert_eq!(asked(), [1, 0]);
    for process in [&one, &other] {
        for authority in ["staff", "partners"] {
            assert!(process.asks(authority).await.is_active());
        }
    }
    assert_eq!(asked(), [1, 1], "what one process knows of an authority, the other one has from it");
    assert_eq!(other.fleet.stats().hits, 2);

    // Whoever asks again hears of it.
    staff.says(inactive(InactiveReason::Revoked));
    for selection in [Selection::subject("ann"), Selection::token(&bearer("abc")), Selection::all()] {
        partners.says(Ok(Verdict::Active(until_in(600))));
        one.handles[0].invalidate_all().await;
        passes(&clock, millis(500)).await;
        assert!(one.asks("partners").await.is_active() && other.asks("partners").await.is_active());
        partners.says(inactive(InactiveReason::Revoked));
        assert_eq!(one.handles[0].invalidate(selection).await, Reach::Recorded);
        passes(&clock, millis(500)).await;
        for process in [&one, &other] {
            assert!(!process.asks("partners").await.is_active());
            assert!(process.remembers("staff"), "the other cache was not meant");
        }
    }
    assert_eq!(staff.questions(), 1);
    let read = [&one, &other].map(|process| process.fleet.stats().records_read);
    assert_eq!(read[0], read[1], "there is one log");
}

type Set = fn(Rfc7662Builder) -> Rfc7662Builder;

/// What the second of two processes hears of an answer that the first one has, if their endpoints are set up so: how
/// often the authority was asked in all, and whether the token serves in it after the first one invalidated it.
async fn shared_between(sets: [Set; 2]) -> (usize, bool) {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let processes = sets.map(|set| {
        let fleet = fleet(&engine, &clock).build().unwrap();
        let cached = Cached::builder(With::endpoint(&authority, set)).clock(clock.clone()).fleet(&fleet);
        (cached.build().unwrap(), fleet)
    });
    for (_, fleet) in &processes {
        until(|| fleet.stats().is_reading).await;
    }
    for (cached, _) in &processes {
        assert!(known_or_asked(cached, "abc").await.unwrap().is_active());
    }
    let questions = authority.questions();
    authority.says(inactive(InactiveReason::Revoked));
    let [(one, _), (other, _)] = &processes;
    assert_eq!(one.handle().invalidate(&bearer("abc")).await, Reach::Recorded);
    passes(&clock, secs(1)).await;
    (questions, known_or_asked(other, "abc").await.unwrap().is_active())
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_in_another_way_does_not_serve_and_its_invalidation_is_heard() {
    let plain: Set = |endpoint| endpoint;
    let alike: [[Set; 2]; 3] = [
        [plain, plain],
        [plain, |endpoint| endpoint.request_timeout(secs(1))],
        [
            |endpoint| endpoint.parameter("a", "1").parameter("b", "2"),
            |endpoint| endpoint.parameter("b", "2").parameter("a", "1"),
        ],
    ];
    for sets in alike {
        assert_eq!(shared_between(sets).await, (1, false));
    }
    let not_alike: [Set; 4] = [
        |endpoint| endpoint.require_token_type(true),
        |endpoint| endpoint.token_type_hint("refresh_token"),
        |endpoint| endpoint.send_token_type_hint(false),
        |endpoint| endpoint.parameter("resource", "https://api.example.com"),
    ];
    for set in not_alike {
        assert_eq!(shared_between([plain, set]).await, (2, false));
        assert_eq!(shared_between([set, plain]).await, (2, false));
    }
}

/// Of what one of them invalidates the process has read its own record, which the other has not acted on.
#[tokio::test(start_paused = true)]
async fn two_caches_of_one_name_in_one_process_hear_each_other() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let process = Process::start(&engine, &clock, &authority);
    let second = Cached::builder(authority.clone()).clock(clock.clone()).fleet(&process.fleet).build().unwrap();
    all_read(&[&process]).await;
    for cached in [&process.cached, &second] {
        assert!(known_or_asked(cached, "abc").await.unwrap().is_active());
    }
    process.handle().invalidate(Selection::subject("ann")).await;
    passes(&clock, secs(1)).await;
    assert!(second.cached(&bearer("abc")).is_none());
}
