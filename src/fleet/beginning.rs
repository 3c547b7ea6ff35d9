//! What a log that is read from its beginning does not tell any more.

use std::sync::Arc;

use super::engine::Page;
use super::record::Record;

/// How many records the log has at most: half a minute of a thousand invalidations a second.
pub(super) const MAX_RECORDS: u64 = 30_000;
/// Engines let go so many of the oldest at once.
const AT_ONCE: u64 = 32;

/// Up to which moment, in milliseconds, invalidations may be unknown to whoever reads this page first, though somebody
/// may need them still: they had no room. What went for its age nobody needs.
///
/// That is the newest moment on the page: a record that waited for the engine has an older one than its place tells.
pub(super) fn lost_up_to(page: &Page, records: &[(u64, Arc<Record>)]) -> Option<i64> {
    let kept = page.last.number.saturating_sub(page.first).saturating_add(1);
    if page.first <= 1 || kept < MAX_RECORDS - AT_ONCE {
        return None;
    }
    Some(records.iter().map(|(_, record)| record.moment).max().unwrap_or(page.now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::engine::Position;
    use crate::selection::Rule;

    #[test]
    fn what_had_no_room_is_lost_and_what_went_for_its_age_is_not() {
        let record = |moment| {
            let rule = Rule::all();
            let record = Record { id: 1, cache: None, rule, found_inactive: false, moment, leaves_mark: false };
            (1, Arc::new(record))
        };
        let records = [record(5), record(9), record(7)];
        let lost = |first, kept, records| {
            let last = Position { number: first + kept - 1, nonce: 1 };
            let page = Page { now: 99, epoch: 1, first, last, continues: true, records: Vec::new() };
            lost_up_to(&page, records)
        };
        assert_eq!(lost(1, 29_990, &records), None, "none has gone");
        assert_eq!(lost(2, 29_967, &records), None);
        assert_eq!(lost(2, 29_968, &records), Some(9));
        assert_eq!(lost(2, 30_000, &records), Some(9));
        assert_eq!(lost(2, 30_000, &[]), Some(99), "nobody knows when");
        assert_eq!(lost(7, 0, &[]), None, "the log is empty");
    }
}
