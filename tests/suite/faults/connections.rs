//! Connections that cannot be made, and connections that are kept and die meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::support::faulty::good_to_keep;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

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

/// Finds no host until it is told to.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<AtomicBool>);

impl Names {
    /// Finds every host on this machine.
    pub(super) fn found() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Resolve for Names {
    fn resolve(&self, _: Name) -> Resolving {
        let found = self.0.load(Ordering::SeqCst);
        Box::pin(async move {
            if !found {
                return Err("there is no such host".into());
            }
            Ok(Box::new(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0)))) as Addrs)
        })
    }
}

#[tokio::test]
async fn a_name_that_is_not_found_is_a_failure_to_connect_until_it_is_found() {
    for protocol in BOTH {
        let authority = Faulty::start();
        let names = Names::found();
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).referer(false);
        let client = client.dns_resolver(Arc::new(names.clone())).build().unwrap();
        let base = format!("http://authority.invalid:{}", authority.port());
        let guarded = guarded!(protocol, base, http_client(client.clone()), dangerously_allow_plain_http(true));
        guarded.lets_in("known").await;
        names.0.store(false, Ordering::SeqCst);
        assert_eq!(guarded.turns_away("abc").await, "5");
        assert_eq!(guarded.failures(), [(Connect, 1)], "{protocol:?}");
        assert_eq!((guarded.endpoint().attempts, guarded.remembered()), (1 + 3, (1, 0)), "{protocol:?}");
        assert_eq!(authority.requests(), 1, "{protocol:?}");
        guarded.lets_in("known").await;
        names.0.store(true, Ordering::SeqCst);
        recovers(&guarded, &authority, true).await;
    }
}

/// RFC 6761 section 6.4: this name is never found, by whatever resolver this machine has.
#[tokio::test]
async fn the_resolver_of_the_system_does_not_find_an_invalid_name() {
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    for protocol in BOTH {
        let guarded = guarded!(
            protocol,
            "http://authority.invalid",
            http_client(client.clone()),
            dangerously_allow_plain_http(true),
            // A resolver that is not there itself may take long to say so.
            request_timeout(secs(29)),
            max_retries(0),
        );
        assert_eq!(guarded.turns_away("abc").await, "5");
        assert_eq!((guarded.failures(), guarded.remembered()), (vec![(Connect, 1)], (0, 0)), "{protocol:?}");
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
