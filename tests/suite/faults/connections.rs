//! Connections that cannot be made, and connections that are kept and die meanwhile.

use super::*;
use crate::support::faulty::good_to_keep;

#[tokio::test]
async fn a_refused_connection_is_tried_three_times_and_the_authority_is_asked_as_soon_as_it_is_back() {
    for protocol in BOTH {
        let mut authority = Faulty::start();
        let guarded = guarded!(protocol, authority.url());
        guarded.lets_in("known").await;
        authority.refuse().await;
        assert_eq!(guarded.turns_away("abc").await, "5");
        assert_eq!(guarded.failures(), [(Connect, 1)], "{protocol:?}");
        assert_eq!((guarded.endpoint().attempts, guarded.remembered()), (1 + 3, (1, 0)), "{protocol:?}");
        guarded.lets_in("known").await;
        authority.listen();
        recovers(&guarded, &authority, true).await;
    }
}

#[tokio::test]
async fn a_kept_connection_serves_again() {
    for protocol in BOTH {
        let authority = Faulty::start();
        let guarded = guarded!(protocol, authority.url());
        authority.does(vec![good_to_keep(), Step::KeepAlive]);
        for token in ["a", "b", "c"] {
            guarded.lets_in(token).await;
        }
        assert_eq!((authority.connections(), authority.requests()), (1, 3), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_or_half_closed_meanwhile_does_not_fail_the_next_question() {
    let ways = [
        ("closed", vec![good_to_keep()]),
        ("half closed", vec![good_to_keep(), Step::HalfClose, Step::Hang]),
        ("reset", vec![good_to_keep(), Step::Reset]),
    ];
    for protocol in BOTH {
        for (way, steps) in &ways {
            let authority = Faulty::start();
            let guarded = guarded!(protocol, authority.url()).in_case(way);
            authority.does_in_turn(vec![steps.clone(), good()]);
            guarded.lets_in("first").await;
            guarded.lets_in("second").await;
            assert_eq!(authority.connections(), 2, "{way}, {protocol:?}");
            assert_eq!((authority.requests(), guarded.failures()), (2, vec![]), "{way}, {protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_just_as_the_next_question_comes_costs_a_second_attempt() {
    for protocol in BOTH {
        for (way, steps) in
            [("closed", vec![]), ("half closed", vec![Step::HalfClose, Step::Hang]), ("reset", vec![Step::Reset])]
        {
            let authority = Faulty::start();
            let guarded = guarded!(protocol, authority.url()).in_case(way);
            authority.does_in_turn(vec![vec![good_to_keep(), Step::KeepAlive], steps, good()]);
            guarded.lets_in("first").await;
            guarded.lets_in("second").await;
            assert_eq!((authority.connections(), authority.requests()), (2, 3), "{way}, {protocol:?}");
            assert_eq!((guarded.endpoint().attempts, guarded.failures()), (3, vec![]), "{way}, {protocol:?}");
        }
    }
}
