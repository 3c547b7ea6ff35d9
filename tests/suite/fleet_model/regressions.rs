//! Histories that once broke a rule, or that chance seldom comes to, each as small as may be.

use tower_introspection::introspect::IntrospectErrorKind;

use super::selections::Scope;
use super::system::System;
use super::world::{EngineFault, MACHINES, Operation, Setting, Settings, World};
use crate::model::common::{Fault, When};
use Operation::*;

/// Two processes, of a strict fleet if there is a lease.
fn setting(strict: Option<i64>) -> Setting {
    let settings = Settings {
        max_ttl: 3_000,
        inactive_ttl: 1_000,
        expiry_leeway: 0,
        stale_if_error: 4_000,
        refresh_ahead: 0.0,
        question_timeout: 2_000,
    };
    let offsets = vec![0; MACHINES + 1];
    Setting { machines: vec![settings; MACHINES], running: 2, strict, offsets, careless: false }
}

/// Replays a history; after each operation a millisecond passes.
fn replay(setting: Setting, operations: impl IntoIterator<Item = Operation>) {
    let mut world = World::new(setting);
    let mut system = System::new(&world);
    for operation in operations {
        system.play(&mut world, operation);
    }
    system.end(world);
}

fn request(machine: usize) -> Operation {
    Request { token: 0, machine, times: 1 }
}

fn invalidate(scope: Scope, machine: usize) -> Operation {
    Invalidate { scope, machine, is_awaited: true }
}

/// Found by the model: an answer that no longer serves was found while the process waited for another's question. It
/// was invalidated meanwhile, and served on in the outage all the same.
#[test]
fn what_is_found_before_an_invalidation_does_not_serve_on_in_an_outage() {
    for scope in [Scope::Token(0), Scope::Issuer(0), Scope::All] {
        let history = [
            request(1),
            Advance(3_000),
            Hold(When::Released),
            // One asks, and the other waits for it.
            request(0),
            request(1),
            invalidate(scope, 1),
            Fail(Fault::Fails(IntrospectErrorKind::Status)),
            LetGo,
            Advance(500),
            request(1),
        ];
        replay(setting(None), history);
    }
}

/// A process that is parted from the engine serves nothing from memory once its lease is over.
#[test]
fn a_process_of_a_strict_fleet_that_is_cut_off_serves_nothing_that_was_invalidated_everywhere() {
    for fault in [EngineFault::CutOff, EngineFault::Hang, EngineFault::Slow(700)] {
        let invalidate_elsewhere = [invalidate(Scope::Subject(0), 0), Advance(1_100)];
        let part = [request(1), Advance(200), Line { machine: 1, fault }];
        replay(setting(Some(1_000)), part.into_iter().chain(invalidate_elsewhere).chain([request(1)]));
    }
}
