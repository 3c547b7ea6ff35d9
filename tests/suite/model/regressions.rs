//! Histories that once broke a rule, each as small as it was found.

use tower_introspection::introspect::IntrospectErrorKind;

use super::common::{Fault, When};
use super::system::System;
use super::world::{Operation, Settings, Step, Way, World};
use Operation::*;

fn settings() -> Settings {
    Settings {
        max_ttl: 60_000,
        inactive_ttl: 10_000,
        expiry_leeway: 0,
        refresh_ahead: 0.0,
        stale_if_error: 0,
        max_capacity: 100,
        inactive_capacity: 100,
        max_questions: 100,
        careless: false,
    }
}

/// Replays a history; all tasks run on after each operation until nothing moves any more.
fn replay(settings: Settings, operations: impl IntoIterator<Item = Operation>) {
    replay_steps(settings, operations.into_iter().map(|operation| Step { operation, turns: None }));
}

fn replay_steps(settings: Settings, steps: impl IntoIterator<Item = Step>) {
    let mut world = World::new(settings);
    let mut system = System::new(&world);
    for step in steps {
        world.happen(&step.operation);
        system.step(&world, &step);
    }
    system.end(world);
}

const fn request(token: usize) -> Operation {
    Request { token, by: Way::Cache, times: 1 }
}

/// Found by the model, and the model's own mistake: two moments of one millisecond are the same to the cache, so the
/// request may get an answer that was looked up in the same millisecond, just before the token was issued.
#[test]
fn a_token_is_issued_in_the_millisecond_in_which_it_is_asked_about() {
    let settings = Settings { inactive_ttl: 0, ..settings() };
    replay(settings, [Hold(When::Asked), request(3), Issue { token: 3, expires_in: None, valid_in: None }]);
}

/// The clock ran ahead and was set back to before the token began, while it was remembered: it is served on, but not if
/// the clock is set back to before it was asked for.
#[test]
fn a_clock_is_set_back_to_before_a_token_that_is_known_began() {
    let issue = Issue { token: 0, expires_in: None, valid_in: Some(500) };
    replay(settings(), [Advance(1), issue, Advance(999), request(0), SetBack(500), request(0)]);
}

/// Two requests wait for a slow answer that is too old to serve when it comes; the second asks again, in an outage.
#[test]
fn an_answer_that_came_too_late_to_serve_serves_on_in_an_outage() {
    let settings = Settings { max_ttl: 1_000, stale_if_error: 60_000, ..settings() };
    let both = Request { token: 0, by: Way::Cache, times: 2 };
    let steps = [
        (request(0), None),
        (Hold(When::Asked), None),
        (Advance(9_099), None),
        (both, Some(2)),
        (Advance(1_000), None),
        (Fail(Fault::Fails(IntrospectErrorKind::Connect)), None),
        (LetGo, None),
    ];
    replay_steps(settings, steps.map(|(operation, turns)| Step { operation, turns }));
}

/// The model's mistake: a request waits for an answer that may not be remembered, and asks again in an outage. What the
/// authority said meanwhile is its last word.
#[test]
fn a_no_that_may_not_be_remembered_is_still_the_last_word() {
    let settings = Settings { inactive_ttl: 0, refresh_ahead: 0.2, stale_if_error: 60_000, ..settings() };
    let outage = Fail(Fault::Fails(IntrospectErrorKind::Connect));
    let operations =
        [Revoke(0), Hold(When::Asked), Advance(59_999), request(0), Advance(999), request(0), outage, LetGo];
    replay(settings, [request(0)].into_iter().chain(operations));
}

/// The same as a refresh: the one request joins the slow answer, and asks again.
#[test]
fn a_refresh_that_came_too_late_to_serve_serves_on_in_an_outage() {
    let settings = Settings { max_ttl: 1_000, refresh_ahead: 0.2, stale_if_error: 60_000, ..settings() };
    let down = Fail(Fault::Fails(IntrospectErrorKind::Connect));
    let before = [request(0), Hold(When::Asked), Advance(999), request(0), Advance(50_998), request(0)];
    replay(settings, before.into_iter().chain([down, LetGo]));
}

/// The breaker says that it is open for a while, and the clock is set back a little in it.
#[test]
fn a_clock_is_set_back_while_the_breaker_is_open() {
    let settings = Settings { stale_if_error: 60_000, ..settings() };
    let open = Fail(Fault::Fails(IntrospectErrorKind::CircuitOpen));
    replay(settings, [request(0), open, Advance(65_998), request(0), SetBack(1), request(0)]);
}

/// The last moments of a token are left to the authority's own clock, and that holds in an outage.
#[test]
fn an_outage_ends_at_the_leeway() {
    let settings = Settings { expiry_leeway: 1_000, stale_if_error: 600_000, ..settings() };
    let issue = Issue { token: 0, expires_in: Some(90_000), valid_in: None };
    let outage = Fail(Fault::Fails(IntrospectErrorKind::Connect));
    replay(settings, [issue, request(0), outage, Advance(88_999), request(0), Advance(1), request(0)]);
}
