//! Names of hosts that are found or not, through a client of the application's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tower_introspection::connection::{Connection, Limits};

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
        let guarded = guarded!(
            protocol,
            base,
            connection(Connection::new().http_client(client.clone()).dangerously_allow_plain_http(true))
        );
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
            connection(Connection::new().http_client(client.clone()).dangerously_allow_plain_http(true)),
            // A resolver that is not there itself may take long to say so.
            request_timeout(secs(29)),
            limits(Limits::new().max_retries(0))
        );
        assert_eq!(guarded.turns_away("abc").await, "5");
        assert_eq!((guarded.failures(), guarded.remembered()), (vec![(Connect, 1)], (0, 0)), "{protocol:?}");
    }
}
