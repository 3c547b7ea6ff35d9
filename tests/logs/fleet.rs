//! What an operator is told of a fleet, and what its types show of themselves.

use std::time::Duration;

use tower_introspection::cache::{CachedBuilder, Selection};
use tower_introspection::clock::ManualClock;
use tower_introspection::fleet::{Fleet, FleetBuilder, FleetSecret, MemoryEngine};
use tower_introspection::{AccessToken, Cached, Verdict};

use super::Captured;
use crate::support::*;

fn secret() -> FleetSecret {
    FleetSecret::from_bytes(b"hush hush hush hush hush hush hush hush").unwrap()
}

/// One process of the fleet of that name, and the lines about it.
struct Process {
    cached: Cached<Authority>,
    fleet: Fleet,
    clock: ManualClock,
    captured: Captured,
}

impl Process {
    async fn start(captured: &Captured, engine: &MemoryEngine, name: &str) -> Self {
        let builder = Fleet::in_memory(engine, name, secret());
        Self::set_up(captured, builder, |cache| cache).await
    }

    async fn set_up(
        captured: &Captured,
        builder: FleetBuilder,
        cache: impl FnOnce(CachedBuilder<Authority>) -> CachedBuilder<Authority>,
    ) -> Self {
        let clock = ManualClock::new();
        let fleet = builder.clock(clock.clone()).build().unwrap();
        let authority = Authority::new(Ok(Verdict::Active(AccessToken::builder().subject("hush-ann").build())));
        let cached = Cached::builder(authority).clock(clock.clone()).fleet(&fleet);
        let cached = cache(cached).build().unwrap();
        let process = Self { cached, fleet, clock, captured: captured.clone() };
        process.passes(secs(3)).await;
        process
    }

    /// In steps so small that whatever is due meanwhile is done.
    async fn passes(&self, time: Duration) {
        let step = millis(50);
        for _ in 0..time.as_millis() / step.as_millis() {
            self.clock.advance(step);
            tokio::time::sleep(step).await;
        }
    }

    /// A request every half second.
    async fn is_used_for(&self, time: Duration) {
        for at in 0..time.as_millis() / 500 {
            let token = format!("hush-{at}-{:?}", self.clock);
            let token: String = token.chars().filter(char::is_ascii_alphanumeric).collect();
            assert!(known_or_asked(&self.cached, &token).await.unwrap().is_active(), "whatever the engine does");
            self.passes(millis(500)).await;
        }
    }

    fn lines(&self, level: &str, words: &[&str]) -> usize {
        let fleet = format!("fleet=\"{}\"", self.fleet.stats().name);
        self.captured.events(level, &[&[&*fleet], words].concat())
    }

    fn said_that_it_is_back(&self) -> usize {
        self.lines("INFO", &["the fleet's engine is back"])
    }
}

/// Time is tokio's, paused, on a runtime of its own.
pub(crate) fn drive(captured: Captured) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let drive = async move || {
        the_engine_fails(&captured).await;
        there_is_no_memory_left(&captured).await;
        gaps_and_what_cannot_be_opened(&captured).await;
        settings_that_do_not_go_together(&captured).await;
        a_strict_fleet_is_cut_off(&captured).await;
        too_many_invalidations_wait(&captured).await;
        types_show_no_secret(&captured);
    };
    std::thread::spawn(move || runtime().unwrap().block_on(drive())).join().unwrap();
}

async fn the_engine_fails(captured: &Captured) {
    type Fault = fn(&MemoryEngine, bool);
    let faults: [(&str, &str, [&str; 2], Fault); 3] = [
        ("cut-off", "WARN", ["this process asks for itself until it answers", "connection"], MemoryEngine::cut_off),
        ("hung", "WARN", ["this process asks for itself until it answers", "timeout"], MemoryEngine::hang),
        ("refused", "ERROR", ["check user name and password in the fleet's address", "refused"], MemoryEngine::refuse),
    ];
    for (name, level, [text, kind], fault) in faults {
        let engine = MemoryEngine::new();
        let process = Process::start(captured, &engine, name).await;
        let kind = format!("kind=\"{kind}\"");
        let lines = |untold| process.lines(level, &[text, &kind, untold]);
        assert_eq!(process.lines("", &[]), 0, "{name}: while all is well, nothing is said");
        fault(&engine, true);
        process.is_used_for(secs(25)).await;
        assert_eq!((lines("untold=0"), lines("untold=")), (1, 1), "{name}: one at once");
        process.is_used_for(secs(10)).await;
        assert_eq!(lines("untold="), 2, "{name}: and one in half a minute");
        assert_eq!(process.said_that_it_is_back(), 0, "{name}");
        fault(&engine, false);
        process.is_used_for(secs(10)).await;
        assert_eq!((lines("untold="), process.said_that_it_is_back()), (2, 1), "{name}");
        assert_eq!(process.lines("", &[]), 3, "{name}: and nothing else");
        assert!(process.fleet.is_reachable());
    }
    // From the beginning, as with a wrong password.
    let engine = MemoryEngine::new();
    engine.refuse(true);
    let process = Process::start(captured, &engine, "refused-at-once").await;
    assert_eq!(process.lines("ERROR", &["the fleet's engine refuses this process", "permitted (ACL)"]), 1);
    assert!(!process.fleet.is_reachable() && process.fleet.stats().last_read.is_none());
}

/// The log can be read all the time, which does not mean that all is well.
async fn there_is_no_memory_left(captured: &Captured) {
    let engine = MemoryEngine::new();
    let process = Process::start(captured, &engine, "full").await;
    engine.full(true);
    let _ = process.cached.handle().invalidate(&bearer("hush-one"));
    process.is_used_for(secs(35)).await;
    let lines = process.lines("WARN", &["no memory left", "`maxmemory`", "kind=\"full\""]);
    assert_eq!((lines, process.said_that_it_is_back()), (2, 0));
    assert!(process.fleet.is_reachable());
    engine.full(false);
    process.is_used_for(secs(10)).await;
    assert_eq!((process.lines("", &[]), process.said_that_it_is_back()), (3, 1));
}

async fn gaps_and_what_cannot_be_opened(captured: &Captured) {
    let gap = |process: &Process, why| process.lines("WARN", &["the fleet's log has a gap", why]);
    let engine = MemoryEngine::new();
    let process = Process::start(captured, &engine, "emptied").await;
    for _ in 0..3 {
        engine.restart_empty();
        process.passes(secs(1)).await;
    }
    assert_eq!(gap(&process, "why=\"another server, or it was emptied\""), 1);
    assert_eq!(process.fleet.stats().gaps, 3);

    let engine = MemoryEngine::new();
    let process = Process::start(captured, &engine, "junk").await;
    for _ in 0..3 {
        engine.append_junk();
        process.passes(secs(1)).await;
    }
    let unreadable = |what, why| process.lines("WARN", &["cannot be opened: it was changed", what, why, "untold=0"]);
    assert_eq!(gap(&process, "why=\"a record cannot be opened\""), 1);
    assert_eq!(unreadable("what=\"a record\"", "why=\"other_version\""), 1);

    let other = Process::start(captured, &engine, "junk").await;
    for token in ["hush-1", "hush-2", "hush-3"] {
        assert!(known_or_asked(&process.cached, token).await.unwrap().is_active());
        engine.tamper(|value| *value.last_mut().unwrap() ^= 1);
        assert!(known_or_asked(&other.cached, token).await.unwrap().is_active());
    }
    assert_eq!(unreadable("what=\"an answer\"", "why=\"tampered\""), 1);

    // Of the same name, and another secret.
    let another = FleetSecret::from_bytes(b"another hush of thirty-two bytes or more").unwrap();
    let builder = Fleet::in_memory(&engine, "junk", another);
    let stranger = Process::set_up(captured, builder, |cache| cache).await;
    let settings = unreadable("what=\"the settings of another process\"", "why=\"unknown_secret\"");
    assert!(settings > 0, "each process says it once: {}", stranger.fleet.stats().unreadable);
}

async fn settings_that_do_not_go_together(captured: &Captured) {
    let engine = MemoryEngine::new();
    let one = Process::start(captured, &engine, "mismatched").await;
    let strict = Fleet::in_memory(&engine, "mismatched", secret()).strict(secs(10));
    let _strict = Process::set_up(captured, strict, |cache| cache).await;
    one.passes(secs(10)).await;
    assert_eq!(one.lines("WARN", &["ways that do not go together", "`strict` is not the same"]), 2, "once by each");
}

async fn a_strict_fleet_is_cut_off(captured: &Captured) {
    let engine = MemoryEngine::new();
    let strict = Fleet::in_memory(&engine, "strict", secret()).strict(secs(2));
    let process = Process::set_up(captured, strict, |cache| cache).await;
    assert_eq!(process.fleet.stats().holds_lease, Some(true));
    engine.cut_off(true);
    process.passes(secs(20)).await;
    assert_eq!(process.lines("WARN", &["the strict fleet's lease is over", "untold=0"]), 1);
    assert_eq!(process.fleet.stats().holds_lease, Some(false));
}

async fn too_many_invalidations_wait(captured: &Captured) {
    let engine = MemoryEngine::new();
    let process = Process::start(captured, &engine, "overflowing").await;
    engine.cut_off(true);
    let invalidate = |selection| {
        process.fleet.stats().queued < 100_000 && {
            let _ = process.cached.handle().invalidate(Selection::subject(selection));
            true
        }
    };
    assert!((0..20_002).all(|at| invalidate(format!("hush-{at}"))));
    assert_eq!(process.lines("WARN", &["they become one that is about all tokens", "untold=0"]), 1);
}

fn types_show_no_secret(captured: &Captured) {
    let engine = MemoryEngine::new();
    captured.show(&engine);
    captured.show(&secret());
    captured.show(&FleetSecret::from_base64("hush").unwrap_err());
    let builder = Fleet::in_memory(&engine, "shown", secret())
        .second_secret(FleetSecret::from_bytes(b"hush, which is another secret of the fleet").unwrap());
    captured.show(&builder);
    let fleet = builder.build().unwrap();
    captured.show(&fleet);
    captured.show(&fleet.stats());
    for address in
        ["redis://hush-user:hush@127.0.0.1:1/0", "redis://hush:hush@a b", "hush:hush@host", "http://hush:hush@host"]
    {
        let builder = Fleet::redis(address, "shown", secret()).root_certificate("hush");
        captured.show(&builder);
        match builder.build() {
            Ok(fleet) => captured.show(&fleet),
            Err(error) => captured.show_error(&error),
        }
        match Fleet::redis(address, "shown", secret()).build() {
            Ok(fleet) => captured.show(&fleet),
            Err(error) => captured.show_error(&error),
        }
    }
    let cached = Cached::builder(Authority::new(active())).fleet(&fleet);
    captured.show(&cached);
    captured.show(&cached.build().unwrap());
}
