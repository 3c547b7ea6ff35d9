//! What one process has learned serves in all.

use tower_introspection::cache::{Reach, Selection};
use tower_introspection::{InactiveReason, Verdict};

use super::{Process, all_read, engine, passes, until_in};
use crate::support::{Authority, bearer, inactive, secs};

#[tokio::test(start_paused = true)]
async fn one_question_is_asked_for_all() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let processes: Vec<_> = (0..3).map(|_| Process::start(&engine, &clock, &authority)).collect();
    all_read(&processes.iter().collect::<Vec<_>>()).await;
    for process in &processes {
        let Ok(Verdict::Active(token)) = process.presents("abc").await else { panic!("it is active") };
        assert_eq!(token.subject(), Some("ann"));
        passes(&clock, secs(1)).await;
    }
    assert_eq!(authority.questions(), 1);
    assert_eq!(processes.iter().map(|process| process.fleet.stats().hits).sum::<u64>(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_is_heard_by_all() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let [one, other] = [(); 2].map(|()| Process::start(&engine, &clock, &authority));
    all_read(&[&one, &other]).await;
    assert!(one.presents("abc").await.unwrap().is_active() && other.presents("abc").await.unwrap().is_active());
    authority.says(inactive(InactiveReason::Revoked));
    for selection in [Selection::token(&bearer("abc")), Selection::subject("ann")] {
        assert_eq!(one.handle().invalidate(selection).await, Reach::Recorded);
        passes(&clock, secs(1)).await;
        assert!(!one.presents("abc").await.unwrap().is_active());
        assert!(!other.presents("abc").await.unwrap().is_active());
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_finds_inactive_goes_from_all() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let [one, other] = [(); 2].map(|()| Process::start(&engine, &clock, &authority));
    all_read(&[&one, &other]).await;
    for process in [&one, &other] {
        assert!(process.presents("abc").await.unwrap().is_active());
    }
    authority.says(inactive(InactiveReason::Revoked));
    passes(&clock, secs(55)).await;
    // It is due, so this hit has it asked about again.
    assert!(one.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(1)).await;
    assert!(!other.presents("abc").await.unwrap().is_active());
    assert_eq!(authority.questions(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_begins_has_what_the_others_have_also_while_the_authority_is_down() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let one = Process::start(&engine, &clock, &authority);
    all_read(&[&one]).await;
    assert!(one.presents("abc").await.unwrap().is_active());
    drop(one);
    authority.says(crate::support::failure(tower_introspection::introspect::IntrospectErrorKind::Connect));
    passes(&clock, secs(10)).await;
    let next = Process::start(&engine, &clock, &authority);
    assert!(next.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(49)).await;
    assert!(next.presents("abc").await.unwrap().is_active());
    passes(&clock, secs(2)).await;
    assert!(next.presents("abc").await.is_err(), "the window counts from the question");
}

#[tokio::test(start_paused = true)]
async fn a_cold_herd_of_all_processes_is_one_question() {
    let (engine, clock) = engine();
    let authority = Authority::new(Ok(Verdict::Active(until_in(600))));
    let processes: Vec<_> = (0..8).map(|_| Process::start(&engine, &clock, &authority)).collect();
    all_read(&processes.iter().collect::<Vec<_>>()).await;
    authority.hold();
    let herd: Vec<_> =
        processes.iter().flat_map(|process| (0..10).map(|_| crate::support::spawn_ask(&process.cached))).collect();
    authority.asked(1).await;
    passes(&clock, secs(2)).await;
    authority.release();
    for request in herd {
        passes(&clock, crate::support::millis(50)).await;
        assert!(request.await.unwrap().unwrap().is_active());
    }
    assert_eq!(authority.questions(), 1);
}
