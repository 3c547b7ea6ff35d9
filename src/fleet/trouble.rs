//! What fails at the engine, and when the log is told of it.
//!
//! Each kind of failure is told at once, and then every half minute while it goes on. That all is well again is told
//! when every sort of call that failed has succeeded since. A call says nothing about those of other sorts: a log that
//! can be read does not mean that there is memory for an answer, or that the password is good for the rate limit, too.
//! Only a lost connection is over with whichever call succeeds first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::engine::EngineErrorKind;
use crate::log_limit::LogLimit;

/// The sorts of calls of the engine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Read,
    Nodes,
    Append,
    Claim,
    Put,
    Turn,
    #[cfg_attr(not(feature = "dpop"), allow(dead_code))]
    Proof,
}

const CALLS: [Call; 7] = [Call::Read, Call::Nodes, Call::Append, Call::Claim, Call::Put, Call::Turn, Call::Proof];

pub(super) struct Trouble {
    told: LogLimit<EngineErrorKind>,
    /// A bit for each sort of call and kind of failure.
    present: AtomicU64,
    /// Whether the log was told of any of it.
    is_told: AtomicBool,
}

fn bit(call: Call, kind: EngineErrorKind) -> u64 {
    // 35 of them.
    1 << (call as usize * EngineErrorKind::ALL.len() + kind as usize)
}

impl Trouble {
    pub(super) fn new() -> Self {
        Self { told: LogLimit::new(), present: AtomicU64::new(0), is_told: AtomicBool::new(false) }
    }

    /// A call failed. If it is to be told: how many like it were not.
    pub(super) fn failed(&self, call: Call, kind: EngineErrorKind) -> Option<u64> {
        self.present.fetch_or(bit(call, kind), Ordering::Relaxed);
        let untold = self.told.due(kind)?;
        self.is_told.store(true, Ordering::Relaxed);
        Some(untold)
    }

    /// A call succeeded. Whether it is to be told that nothing fails any more.
    pub(super) fn succeeded(&self, call: Call) -> bool {
        let of_this_sort = EngineErrorKind::ALL.map(|kind| bit(call, kind));
        let connections = CALLS.map(|call| bit(call, EngineErrorKind::Connection));
        let over = of_this_sort.iter().chain(&connections).fold(0, |all, bit| all | bit);
        // Nothing is written while nothing fails.
        if self.present.load(Ordering::Relaxed) & over == 0 {
            return false;
        }
        let left = self.present.fetch_and(!over, Ordering::Relaxed) & !over;
        left == 0 && self.is_told.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use EngineErrorKind::{Connection, Full, Refused, Timeout};

    #[test]
    fn each_sort_of_call_and_kind_of_failure_has_a_bit_of_its_own() {
        let bits: Vec<_> = CALLS.iter().flat_map(|call| EngineErrorKind::ALL.map(|kind| bit(*call, kind))).collect();
        assert_eq!(bits.iter().fold(0_u64, |all, bit| all | bit).count_ones() as usize, bits.len());
    }

    #[test]
    fn that_all_is_well_is_told_once_when_each_sort_of_call_that_failed_has_succeeded() {
        let trouble = Trouble::new();
        assert!(!trouble.succeeded(Call::Read), "nothing was wrong");
        assert_eq!(trouble.failed(Call::Put, Full), Some(0));
        assert_eq!(trouble.failed(Call::Append, Full), None);
        assert!(!trouble.succeeded(Call::Read) && !trouble.succeeded(Call::Claim), "they need no memory");
        assert!(!trouble.succeeded(Call::Put));
        assert!(trouble.succeeded(Call::Append));
        assert!(!trouble.succeeded(Call::Append), "it was told");
    }

    #[test]
    fn a_lost_connection_is_over_with_any_call_and_nothing_else_is() {
        let trouble = Trouble::new();
        for call in CALLS {
            trouble.failed(call, Connection);
        }
        assert!(trouble.succeeded(Call::Read));
        for kind in [Timeout, Refused] {
            assert_eq!(trouble.failed(Call::Turn, kind), Some(0));
            trouble.failed(Call::Read, Connection);
            assert!(!trouble.succeeded(Call::Read), "{kind:?}");
            assert!(trouble.succeeded(Call::Turn), "{kind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_told_does_not_end_aloud() {
        let trouble = Trouble::new();
        assert_eq!(trouble.failed(Call::Read, Timeout), Some(0));
        assert!(trouble.succeeded(Call::Read));
        assert_eq!(trouble.failed(Call::Read, Timeout), None);
        assert!(!trouble.succeeded(Call::Read));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(trouble.failed(Call::Read, Timeout), Some(1));
        assert!(trouble.succeeded(Call::Read));
    }
}
