//! Where a listing that goes back in time asks for its next page.

use std::time::Duration;

use crate::platform::MAX_PAGE;
use crate::util::log_safe::log_safe;
use crate::wire::Timestamp;

use super::position::RowKey;

/// Where a listing that goes back in time, newest first, asks for its next page.
///
/// The next page begins in the microsecond in which the last one ended, and repeats some of its rows. A page that is full of
/// rows of one microsecond is asked for again with more rows, up to as many as the platform lists.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct BackwardPosition {
    /// Time before which the next page is listed. `None` begins at the newest row.
    pub(super) before: Option<Timestamp>,
    /// Number of larger pages that were asked for at this place.
    widened: usize,
    /// Number of requests in a row that failed for the present one.
    failures: u32,
}

/// Rows of the larger pages.
const WIDER: [usize; 3] = [2, 32, MAX_PAGE];
/// Failures of a larger page after which the rest of its microsecond is passed.
const MAX_FAILURES: u32 = 3;

impl BackwardPosition {
    /// Begins at the rows before a time.
    pub(super) fn before(before: Option<Timestamp>) -> Self {
        BackwardPosition { before, widened: 0, failures: 0 }
    }

    /// Returns the number of rows of the next page, or `None` for as many as usual.
    pub(super) fn limit(&self) -> Option<usize> {
        self.widened.checked_sub(1).and_then(|index| WIDER.get(index)).copied()
    }

    /// Asks for more rows at this place. Returns false where there are as many already as the platform lists.
    fn widen(&mut self) -> bool {
        let may_widen = self.widened < WIDER.len();
        self.widened += usize::from(may_widen);
        self.failures = 0;
        may_widen
    }

    /// Counts a request that failed. After three for a larger page, which may be too much for the platform, the rest of its
    /// microsecond is passed.
    pub(super) fn note_failure(&mut self) {
        self.failures += 1;
        if self.widened > 0 && self.failures >= MAX_FAILURES {
            let next = self.before.map(|before| before.minus(Duration::from_micros(1)));
            if let Some(next) = next {
                log_safe!(
                    warn,
                    "inbox: perhaps a gap: the platform lists too few rows at once to show all of one time: {next}"
                );
            }
            *self = BackwardPosition::before(next);
        }
    }

    /// Goes on behind a page that is not the last one. Its oldest row and its oldest entry that is no row have these times.
    ///
    /// Returns false where no page leads further back. Logs rows that cannot be listed. `is_cut` says that the page ended before
    /// a row that is too large: a larger page has no more.
    pub(super) fn go_back(
        &mut self,
        oldest_row: Option<Timestamp>,
        oldest_malformed: Option<Timestamp>,
        is_cut: bool,
    ) -> bool {
        let before = self.before;
        let leads_back = |at: &Timestamp| before.is_none_or(|before| *at < before);
        let oldest_row = oldest_row.filter(|at| *at > Timestamp::EARLIEST);
        if let Some(next) = oldest_row.map(RowKey::after_time).filter(leads_back) {
            *self = BackwardPosition::before(Some(next));
            return true;
        }
        // A malformed entry may have any time: it counts only where the rows lead no further back.
        let by_row = oldest_row.filter(leads_back);
        if let Some(next) = by_row.filter(|_| is_cut) {
            *self = BackwardPosition::before(Some(next));
            return true;
        }
        let Some(next) = by_row.or(oldest_malformed.filter(leads_back)) else {
            if before.is_none() || !self.widen() {
                let at = oldest_row.or(oldest_malformed).map(|at| at.to_string()).unwrap_or_default();
                log_safe!(warn, "inbox: a gap: the platform lists no rows before {at}, though its page is full");
                return false;
            }
            return true;
        };
        if self.widen() {
            return true;
        }
        if by_row.is_some() {
            log_safe!(
                warn,
                "inbox: a gap: a page does not take all rows of one time, and some of them cannot be listed: {next}"
            );
        } else {
            log_safe!(
                warn,
                "inbox: perhaps a gap: entries that are no rows fill a page, and only their times say where to go on: \
                 {next}"
            );
        }
        *self = BackwardPosition::before(Some(next));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Option<Timestamp> {
        Some(Timestamp::from_nanos(micros * 1_000))
    }

    #[test]
    fn next_page_begins_in_the_microsecond_of_the_last_row() {
        let mut position = BackwardPosition::default();
        for (oldest, before, limit) in [
            (9, 10, None),
            (7, 8, None),
            (7, 8, Some(2)),
            (7, 8, Some(32)),
            (7, 8, Some(500)),
            (7, 7, None),
            (3, 4, None),
        ] {
            assert!(position.go_back(at(oldest), None, false));
            assert_eq!((position.before, position.limit()), (at(before), limit));
        }
    }

    #[test]
    fn time_of_a_malformed_entry_counts_only_where_the_rows_lead_no_further_back() {
        let mut position = BackwardPosition::default();
        assert!(position.go_back(at(9), at(2), false));
        assert_eq!(position.before, at(10));
        for _ in WIDER {
            assert!(position.go_back(None, at(2), false) && position.limit().is_some(), "first with more rows");
        }
        assert!(position.go_back(None, at(2), false));
        assert_eq!((position.before, position.limit()), (at(2), None));
    }

    #[test]
    fn row_that_is_too_large_is_passed_without_a_gap() {
        let mut position = BackwardPosition::default();
        assert!(position.go_back(at(9), None, true));
        assert_eq!((position.before, position.limit()), (at(10), None));
        assert!(position.go_back(at(9), None, true));
        assert_eq!((position.before, position.limit()), (at(9), None));
    }

    #[test]
    fn larger_page_that_fails_is_given_up() {
        let mut position = BackwardPosition::before(at(10));
        (0..5).for_each(|_| position.note_failure());
        assert_eq!(position, BackwardPosition { failures: 5, ..BackwardPosition::before(at(10)) });
        assert!(position.go_back(at(9), None, false));
        assert_eq!(position.limit(), Some(2));
        (0..2).for_each(|_| position.note_failure());
        assert_eq!(position.limit(), Some(2));
        position.note_failure();
        assert_eq!(position, BackwardPosition::before(at(9)));
    }

    #[test]
    fn page_that_leads_nowhere_ends_the_listing() {
        let mut position = BackwardPosition::before(at(5));
        (0..WIDER.len()).for_each(|_| assert!(position.go_back(at(8), None, false) && position.limit().is_some()));
        assert!(!position.go_back(at(8), None, false));
        assert!(!BackwardPosition::default().go_back(None, None, false));
    }
}
