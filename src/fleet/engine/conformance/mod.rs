//! What each engine has to do, as tests: one function is one law, and [`conforms`] makes a test of each.
//!
//! Each law gets an engine with an empty log. Nothing in a law depends on how long a call takes, so long as it is not a
//! minute: what it says of time, it says by the engine's clock, and it lets time pass in small steps until something
//! holds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Append, Appended, Claim, Claimed, Engine, EngineTime, Header, Name, NodeId, Page, Position, Put, Read, Stored,
    Version,
};
use crate::random::random;

pub(crate) mod leases;
pub(crate) mod log;
pub(crate) mod losses;
#[cfg(feature = "dpop")]
pub(crate) mod once;
pub(crate) mod turns;
pub(crate) mod values;

/// Lets so much time of the engine pass: moves a clock, or waits for a server.
pub(crate) type Advance = Box<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// An engine with an empty log.
pub(crate) struct Subject {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) advance: Advance,
}

/// Makes a test of each law. `$subject` is an `async fn() -> Option<Subject>`; a test without a subject does nothing.
macro_rules! conforms {
    ($subject:path) => {
        $crate::fleet::engine::conformance::conforms! {
            $subject:
            leases: the_first_claim_gets_the_lease_and_the_second_learns_whose_it_is,
            leases: the_node_that_has_the_lease_gets_it_again,
            leases: a_lease_ends_by_itself,
            leases: a_lease_that_is_renewed_lasts,
            leases: only_the_node_that_has_a_lease_renews_it,
            leases: a_lease_that_has_ended_is_not_renewed,
            leases: a_claim_that_only_looks_takes_no_lease,
            leases: release_gives_up_the_lease_of_this_node_only,
            leases: put_gives_up_the_lease_of_this_node_only,
            leases: a_put_that_stores_nothing_gives_up_the_lease,
            leases: names_have_leases_of_their_own,
            values: what_is_put_serves_the_next_claim,
            values: values_are_any_bytes,
            values: a_value_that_is_too_old_is_told_but_does_not_serve,
            values: a_value_that_is_not_newer_than_asked_for_does_not_serve,
            values: a_value_of_another_epoch_is_not_returned,
            values: an_older_value_overwrites_nothing,
            values: a_value_of_a_newer_epoch_overwrites_an_older_ones,
            values: only_replace_stores_in_place_of_a_value_only,
            values: a_value_goes_when_its_time_is_over,
            values: delete_removes_the_value_and_not_the_lease,
            log: an_empty_log_begins_at_one,
            log: records_are_numbered_without_a_gap,
            log: records_are_any_bytes_and_nonces_any_number,
            log: read_goes_on_after_a_position_page_by_page,
            log: what_never_was_in_the_log_does_not_continue,
            log: the_newest_record_outlives_its_retention,
            log: no_more_records_are_kept_than_allowed,
            log: nodes_that_announce_themselves_are_known_until_they_are_forgotten,
            log: all_calls_tell_one_time,
            turns: so_many_turns_as_the_tolerance_allows_are_at_once,
            turns: a_turn_that_is_too_late_books_nothing,
            turns: turns_that_are_booked_further_ahead_than_one_may_wait_are_no_answer_for_it,
            turns: known_tokens_come_first,
            turns: a_turn_is_there_again_after_the_interval,
            turns: turns_that_nobody_takes_do_not_add_up,
            losses: exchanges_that_are_dropped_half_way_harm_no_other,
            #[cfg(feature = "dpop")]
            once: a_name_is_new_once,
            #[cfg(feature = "dpop")]
            once: a_name_is_new_again_when_its_time_is_over_and_asking_does_not_prolong_it,
            #[cfg(feature = "dpop")]
            once: of_many_who_ask_at_once_the_name_is_new_to_one,
            #[cfg(feature = "dpop")]
            once: a_name_is_no_value_and_takes_no_lease,
        }
    };
    ($subject:path: $($(#[$condition:meta])? $module:ident: $law:ident,)*) => {$(
        $(#[$condition])?
        #[tokio::test]
        async fn $law() {
            if let Some(subject) = $subject().await {
                $crate::fleet::engine::conformance::$module::$law(&subject).await;
            }
        }
    )*};
}
pub(crate) use conforms;

/// A server may take the time at which it began a script for the present, and rounds to milliseconds.
const ROUNDING: i64 = 2;

const MINUTE: Duration = Duration::from_secs(60);

/// An epoch as the clock gives them.
const EPOCH: u64 = 1_700_000_000_000;

fn some_name() -> Name {
    Name(format!("{:016x}{:016x}{:011x}", random(), random(), random() >> 20))
}

fn some_node() -> NodeId {
    NodeId(u128::from(random()) << 64 | u128::from(random()))
}

/// One that was asked for at `asked_at` in the epoch [`EPOCH`].
fn version(asked_at: EngineTime) -> Version {
    Version { epoch: EPOCH, asked_at }
}

fn value(version: Version, sealed: &[u8]) -> Vec<u8> {
    let header = Header { key_id: u64::MAX, version, as_of: u64::MAX };
    let mut bytes = vec![1];
    bytes.extend(header.key_id.to_be_bytes());
    bytes.extend(header.version.epoch.to_be_bytes());
    bytes.extend(header.version.asked_at.to_be_bytes());
    bytes.extend(header.as_of.to_be_bytes());
    bytes.extend(sealed);
    bytes
}

impl Subject {
    /// With a lease of a minute, for a value of [`EPOCH`] that is at most a minute old.
    async fn claim(&self, name: &Name, node: NodeId) -> Claimed {
        self.claim_for(name, node, MINUTE).await
    }

    async fn claim_for(&self, name: &Name, node: NodeId, lease: Duration) -> Claimed {
        self.claim_with(Claim { lease: Some(lease), ..look(name, node) }).await
    }

    async fn claim_with(&self, claim: Claim<'_>) -> Claimed {
        self.engine.claim(claim).await.unwrap()
    }

    /// What is stored, of [`EPOCH`].
    async fn look(&self, name: &Name) -> Option<Vec<u8>> {
        self.claim_with(look(name, some_node())).await.value
    }

    /// A value that stays for a minute.
    async fn put(&self, name: &Name, node: NodeId, version: Version) -> Stored {
        self.put_with(name, node, version, false).await
    }

    async fn put_with(&self, name: &Name, node: NodeId, version: Version, only_replace: bool) -> Stored {
        let (value, until) = (value(version, b"sealed"), self.now().await + 60_000);
        self.engine.put(Put { name, node, value: &value, version, until, only_replace }).await.unwrap()
    }

    async fn append(&self, record: &[u8], nonce: u64) -> Appended {
        self.append_with(Append { record, nonce, retention: MINUTE, max_records: 1_000 }).await
    }

    async fn append_with(&self, append: Append<'_>) -> Appended {
        self.engine.append(append).await.unwrap()
    }

    async fn read(&self, after: Option<Position>) -> Page {
        self.engine.read(Read { after, limit: 1_000, announce: None }).await.unwrap()
    }

    async fn now(&self) -> EngineTime {
        self.read(None).await.now
    }

    /// Lets time pass until it is so, at most five seconds.
    async fn until(&self, mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..500 {
            if is_so().await {
                return;
            }
            (self.advance)(Duration::from_millis(10)).await;
        }
        panic!("it has not come about");
    }
}

/// Takes no lease.
fn look(name: &Name, node: NodeId) -> Claim<'_> {
    Claim { name, node, epoch: EPOCH, max_age: MINUTE, newer_than: None, lease: None }
}
