//! When the authority is left alone: because it asked for a pause, or because it fails again and again.

use super::*;
use tower_introspection::connection::Limits;

/// `START` and seven seconds.
const DATE: &str = "Tue, 14 Nov 2023 22:13:27 GMT";

#[tokio::test]
async fn a_pause_the_authority_asks_for_is_kept_passed_on_to_callers_and_ended_with_one_question() {
    for protocol in BOTH {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            for (asks_for, pause) in [("7", 7), (DATE, 7), ("3600", 20)] {
                let case = format!("{status}, {asks_for}, {protocol:?}");
                let authority = Faulty::start();
                let guarded =
                    guarded!(protocol, authority.url(), limits(Limits::new().max_retry_after(secs(20)))).in_case(&case);
                guarded.lets_in("known").await;
                authority.does(vec![answer(status, &format!("retry-after: {asks_for}\r\n"), "{}")]);
                assert_eq!(guarded.turns_away("abc").await, pause.to_string(), "{case}");
                let kind = if status.starts_with("429") { RateLimited } else { Status };
                assert_eq!((guarded.failures(), guarded.remembered()), (vec![(kind, 1)], (1, 0)), "{case}");
                assert_eq!(authority.requests(), 2, "{case}: a pause is not retried into");

                authority.does(good());
                assert_eq!(guarded.turns_away("abc").await, pause.to_string(), "{case}");
                guarded.clock.advance(secs(pause) - millis(1));
                assert_eq!(guarded.turns_away("new").await, "1", "{case}");
                assert_eq!(guarded.failures(), [(kind, 1), (CircuitOpen, 2)], "{case}");
                guarded.lets_in("known").await;
                assert_eq!((authority.connections(), authority.requests()), (2, 2), "{case}: it is left alone");

                guarded.clock.advance(millis(1));
                guarded.lets_in("abc").await;
                assert_eq!((authority.requests(), guarded.endpoint().breaker), (3, BreakerState::Closed), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn five_failures_in_a_row_open_the_breaker_and_one_question_after_the_pause_closes_it() {
    let in_the_middle = || vec![Step::Send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned()), Step::Reset];
    for protocol in BOTH {
        for (steps, kind, attempts) in [(in_the_middle(), Transport, 1), (vec![], Transport, 3)] {
            let authority = Faulty::start();
            let guarded = guarded!(protocol, authority.url(), limits(Limits::new().breaker_pause(secs(3))));
            guarded.lets_in("known").await;
            authority.does(steps);
            for n in 1..=5 {
                assert_eq!(guarded.endpoint().breaker, BreakerState::Closed, "after {} failures", n - 1);
                assert_eq!(guarded.turns_away(&format!("token-{n}")).await, "5");
            }
            assert_eq!(guarded.endpoint().breaker, BreakerState::Open);
            let asked = 1 + 5 * attempts;
            assert_eq!(authority.connections(), asked, "{protocol:?}");

            authority.does(good());
            assert_eq!(guarded.turns_away("abc").await, "3");
            guarded.clock.advance(millis(2_999));
            assert_eq!(guarded.turns_away("abc").await, "1");
            assert_eq!(guarded.failures(), [(kind, 5), (CircuitOpen, 2)], "{protocol:?}");
            guarded.lets_in("known").await;
            assert_eq!(authority.connections(), asked, "{protocol:?}: not so much as a connection");
            assert_eq!(guarded.remembered(), (1, 0));

            guarded.clock.advance(millis(1));
            let (probe, other) = tokio::join!(guarded.send("abc"), guarded.send("new"));
            let statuses = (probe.status(), other.status());
            assert_eq!(statuses, (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE), "one finds out for all");
            assert_eq!(other.headers()["retry-after"], "1", "soon, but not at once");
            assert_eq!((authority.connections(), guarded.endpoint().breaker), (asked + 1, BreakerState::Closed));
            recovers(&guarded, &authority, false).await;
        }
    }
}

#[tokio::test]
async fn a_question_that_finds_the_authority_still_down_makes_the_next_pause_twice_as_long() {
    for protocol in BOTH {
        let mut authority = Faulty::start();
        let guarded = guarded!(
            protocol,
            authority.url(),
            limits(Limits::new().breaker_threshold(1).breaker_pause(secs(3)).max_retries(0))
        );
        authority.refuse().await;
        let mut attempts = 0;
        for pause in [3, 6, 12] {
            guarded.turns_away("abc").await;
            attempts += 1;
            assert_eq!(guarded.turns_away("abc").await, pause.to_string(), "{protocol:?}");
            assert_eq!(guarded.endpoint().attempts, attempts, "{protocol:?}");
            guarded.clock.advance(secs(pause));
        }
        assert_eq!(guarded.failures(), [(Connect, 3), (CircuitOpen, 3)], "{protocol:?}");
        authority.listen();
        guarded.lets_in("abc").await;
        assert_eq!((authority.connections(), guarded.endpoint().breaker), (1, BreakerState::Closed), "{protocol:?}");
    }
}
