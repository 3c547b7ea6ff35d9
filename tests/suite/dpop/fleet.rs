//! Proofs in a fleet: used at one process is used at all.
#![cfg(feature = "redis")]

use tower::Layer;
use tower_introspection::fleet::{Fleet, FleetSecret, MemoryEngine};
use tower_introspection::introspect::AnyIntrospector;
use tower_introspection::rejection::{ProofFault, RejectionReason};

use super::*;
use crate::fleet::{Process, all_read, engine, passes, passes_for, secret};

const REPLAYED: (u16, Option<RejectionReason>) = (401, Some(RejectionReason::Proof(ProofFault::Replayed)));

type Service = tower::util::BoxCloneSyncService<Request<String>, Response<String>, Infallible>;

/// A process of its own: its cache, its member of the fleet, and its memory of proofs.
fn service(holder: &Holder, process: &Process) -> Service {
    let layer = IntrospectionLayer::builder(process.cached.clone()).dpop(holder.dpop()).build().unwrap();
    Service::new(layer.layer(Counting::default()))
}

fn holder(clock: &ManualClock) -> Holder {
    Holder { clock: clock.clone(), ..Holder::new() }
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_was_used_at_one_process_does_not_come_in_at_another() {
    let (engine, clock) = engine();
    let holder = holder(&clock);
    let processes: [Process; 2] = Process::several(&engine, &clock, &holder.authority()).await;
    let [one, other] = processes.each_ref().map(|process| service(&holder, process));
    let proof = holder.proof().sign().unwrap();
    assert_eq!(outcome(&one, holder.request(&proof)).await, IN);
    for service in [&other, &one] {
        assert_eq!(outcome(service, holder.request(&proof)).await, REPLAYED);
    }
    assert_eq!(outcome(&other, holder.good_request()).await, IN);
    assert_eq!(processes[1].stats().local_proofs, 0);
    // What wraps a cache hands the memory on.
    let erased = AnyIntrospector::new(std::sync::Arc::new(processes[1].cached.clone()));
    let layer = IntrospectionLayer::builder(erased).dpop(holder.dpop()).build().unwrap();
    assert_eq!(outcome(&layer.layer(Counting::default()), holder.request(&proof)).await, REPLAYED);
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_at_two_processes_exactly_one_gets_in() {
    let (engine, clock) = engine();
    let holder = holder(&clock);
    let processes: [Process; 2] = Process::several(&engine, &clock, &holder.authority()).await;
    let services = processes.each_ref().map(|process| service(&holder, process));
    let proof = holder.proof().sign().unwrap();
    let mut all = tokio::task::JoinSet::new();
    for n in 0..1_000 {
        let (service, request) = (services[n % 2].clone(), holder.request(&proof));
        all.spawn(async move { outcome(&service, request).await });
    }
    let outcomes = all.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == IN).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == REPLAYED).count(), 999);
}

#[tokio::test(start_paused = true)]
async fn while_the_engine_is_away_each_process_goes_by_what_it_has_seen_itself() {
    let (engine, clock) = engine();
    let holder = holder(&clock);
    let processes: [Process; 2] = Process::several(&engine, &clock, &holder.authority()).await;
    let [one, other] = processes.each_ref().map(|process| service(&holder, process));
    for service in [&one, &other] {
        assert_eq!(outcome(service, holder.good_request()).await, IN);
    }
    type Fault = fn(&MemoryEngine, bool);
    let faults: [(&str, Fault); 4] = [
        ("cut off", |engine, is| engine.cut_off(is)),
        ("hung", |engine, is| engine.hang(is)),
        ("full", |engine, is| engine.full(is)),
        ("refuses", |engine, is| engine.refuse(is)),
    ];
    for (name, fault) in faults {
        fault(&engine, true);
        let proof = holder.proof().sign().unwrap();
        assert_eq!(outcome(&one, holder.request(&proof)).await, IN, "{name}");
        assert_eq!(outcome(&one, holder.request(&proof)).await, REPLAYED, "{name}");
        assert_eq!(outcome(&other, holder.request(&proof)).await, IN, "{name}: nobody has told it");
        assert!(processes[0].stats().local_proofs > 0, "{name}");
        fault(&engine, false);
        // Long enough for a process to try the engine again, however often it has failed.
        passes(&clock, secs(12)).await;
        assert!(processes.iter().all(|process| process.stats().is_sharing), "{name}");
        let proof = holder.proof().sign().unwrap();
        assert_eq!(outcome(&one, holder.request(&proof)).await, IN, "{name}");
        assert_eq!(outcome(&other, holder.request(&proof)).await, REPLAYED, "{name}: the engine is back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_clock_is_behind_lets_no_proof_in_that_another_one_takes_for_too_old() {
    let (engine, clock) = engine();
    let behind = ManualClock::at(START - secs(5));
    let (holder, other_holder) = (holder(&clock), holder(&behind));
    let authority = holder.authority();
    let processes = [&clock, &behind].map(|clock| Process::start(&engine, clock, &authority));
    all_read(&processes.iter().collect::<Vec<_>>()).await;
    let (one, other) = (service(&holder, &processes[0]), service(&other_holder, &processes[1]));
    let proof = holder.proof().sign().unwrap();
    assert_eq!(outcome(&one, holder.request(&proof)).await, IN);
    passes_for(&[&clock, &behind], secs(72), millis(100)).await;
    assert_eq!(outcome(&other, holder.request(&proof)).await, REPLAYED);
    let too_old = (401, Some(RejectionReason::Proof(ProofFault::TooOld)));
    assert_eq!(outcome(&one, holder.request(&proof)).await, too_old);
}

#[tokio::test(start_paused = true)]
async fn while_the_secret_changes_a_proof_is_known_under_both() {
    let (engine, clock) = engine();
    let holder = holder(&clock);
    let authority = holder.authority();
    let new = || FleetSecret::from_bytes(b"another secret of thirty-two bytes").unwrap();
    let fleets = [
        Fleet::in_memory(&engine, "orders", secret()),
        Fleet::in_memory(&engine, "orders", secret()).second_secret(new()),
        Fleet::in_memory(&engine, "orders", new()).second_secret(secret()),
        Fleet::in_memory(&engine, "orders", new()),
    ];
    let processes = fleets.map(|fleet| Process::of(fleet, &clock, &authority, |cache| cache));
    all_read(&processes.iter().collect::<Vec<_>>()).await;
    let services = processes.each_ref().map(|process| service(&holder, process));
    // Those that serve at the same time: each step of a rotation.
    for (one, other) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)] {
        let proof = holder.proof().sign().unwrap();
        assert_eq!(outcome(&services[one], holder.request(&proof)).await, IN, "{one} {other}");
        assert_eq!(outcome(&services[other], holder.request(&proof)).await, REPLAYED, "{one} {other}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_leaves_for_the_engine_holds_no_proof_no_jti_and_no_key() {
    let (engine, clock) = engine();
    let holder = holder(&clock);
    let processes: [Process; 1] = Process::several(&engine, &clock, &holder.authority()).await;
    let service = service(&holder, &processes[0]);
    let proof = holder.proof().claim("jti", "a-jti-to-look-for").unwrap().sign().unwrap();
    assert_eq!(outcome(&service, holder.request(&proof)).await, IN);
    let stored = engine.stored_bytes();
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    for secret in ["a-jti-to-look-for", &holder.key.thumbprint(), &holder.token, proof.split('.').nth(1).unwrap()] {
        assert!(!holds(secret), "{secret}");
    }
    assert!(!stored.is_empty());
}
