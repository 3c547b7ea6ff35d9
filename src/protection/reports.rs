//! Telling the operator of failures without filling the log with them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::Share;
use crate::clock::Timestamp;
use crate::error::{IntrospectError, IntrospectErrorKind};

/// From one report to the next of the same.
const PAUSE: Duration = Duration::from_secs(30);

/// Of which failures the operator was told, and when. Each kind is told of at once, and then every half minute while it
/// goes on: whoever sends junk may be able to make each question fail.
#[derive(Default)]
pub(crate) struct Reports(Mutex<HashMap<Sort, Report>>);

/// Kind and status, or a login that fails would hide that its token is refused.
type Sort = (IntrospectErrorKind, Option<StatusCode>, Share);

struct Report {
    told_at: Timestamp,
    untold: u64,
}

impl Reports {
    /// Whether to tell of this failure, and of how many like it nobody was told since the last time.
    pub(crate) fn due(&self, error: &IntrospectError, share: Share, now: Timestamp) -> Option<u64> {
        let sort = (error.kind(), error.status(), share);
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(report) = reports.get_mut(&sort) else {
            reports.insert(sort, Report { told_at: now, untold: 0 });
            return Some(0);
        };
        // If it is from the future, the clock was set back.
        if (report.told_at..report.told_at + PAUSE).contains(&now) {
            report.untold += 1;
            return None;
        }
        report.told_at = now;
        Some(std::mem::take(&mut report.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_at_once_and_then_every_half_minute_with_how_many_there_were() {
        let (reports, error) = (Reports::default(), IntrospectError::new(IntrospectErrorKind::Timeout));
        let due = |secs: i64| reports.due(&error, Share::Known, Timestamp::from_unix_millis(secs * 1_000));
        assert_eq!([100, 101, 129, 130, 131].map(due), [Some(0), None, None, Some(2), None]);
        assert_eq!(due(400), Some(1));
        assert_eq!(due(399), Some(0), "the clock was set back");
    }

    #[test]
    fn one_sort_of_failure_does_not_hide_another() {
        let (reports, now) = (Reports::default(), Timestamp::from_unix_millis(0));
        let error = IntrospectError::new(IntrospectErrorKind::Credentials);
        let refused = error.clone().with_status(StatusCode::UNAUTHORIZED);
        for error in [error, refused, IntrospectError::new(IntrospectErrorKind::Timeout)] {
            for share in [Share::Stranger, Share::Known] {
                assert_eq!([(); 2].map(|()| reports.due(&error, share, now)), [Some(0), None], "{error:?} {share:?}");
            }
        }
    }
}
