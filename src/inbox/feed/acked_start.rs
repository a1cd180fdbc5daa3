//! Where a poller without a cursor begins if rows were acknowledged to the platform.

use std::time::Duration;

use super::fetcher::{Page, PageEnd};
use super::position::RowKey;
use crate::platform::{PageRequest, RowsToList};
use crate::wire::Timestamp;

/// Most pages of a look back: a million rows.
const MAX_PAGES: usize = 2_000;

/// Pages back to the rows that were acknowledged.
///
/// The numbers of rows are not in the order of their times: a row that was not acknowledged may be older than one that was.
/// It is at most `late` older, so the poller begins that far before the newest acknowledged row. The acknowledged ones behind
/// that count as handled. A row whose number is not known, as it is too large to be read, does not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AckedStart {
    /// The rows up to this `seq` were acknowledged.
    acked_seq: i64,
    late: Duration,
    /// Time before which the next page is listed. `None` before the first page.
    before: Option<Timestamp>,
    /// The acknowledged rows that were listed.
    acked: Vec<RowKey>,
    /// The oldest row that was listed.
    oldest: Option<RowKey>,
    pages: usize,
}

/// The outcome of a page.
#[derive(Debug, PartialEq)]
pub(super) enum AckedStep {
    /// Go on with the next request.
    Continue,
    /// Everything behind this row is to be listed.
    Behind(RowKey),
    /// No row is old enough: everything is to be listed from the oldest one on, if there is one.
    Oldest(Option<RowKey>),
}

impl AckedStart {
    pub(super) fn new(acked_seq: i64, late: Duration) -> Self {
        AckedStart { acked_seq, late, before: None, acked: Vec::new(), oldest: None, pages: 0 }
    }

    /// Returns the request for the next page.
    pub(super) fn request(&self) -> PageRequest {
        PageRequest::new(RowsToList::Newest { before: self.before, secs: None })
    }

    /// Returns the rows that count as handled.
    pub(super) fn take_acked(&mut self) -> Vec<RowKey> {
        std::mem::take(&mut self.acked)
    }

    /// Takes the page that [`request`](Self::request) asked for, with the keys of its rows, the newest first.
    pub(super) fn step(&mut self, page: &Page, keys: Vec<RowKey>) -> AckedStep {
        self.pages += 1;
        let oldest_of_page = keys.iter().map(|key| key.at).filter(|at| *at > Timestamp::EARLIEST).min();
        for key in keys {
            let newest_acked = self.acked.iter().map(|acked| acked.at).max();
            if newest_acked.is_some_and(|newest| key.at < newest.minus(self.late) && key.at > Timestamp::EARLIEST) {
                return AckedStep::Behind(key);
            }
            let is_acked = key.seq > 0 && key.seq <= self.acked_seq;
            // The next page repeats rows of this one's oldest time.
            if is_acked && !self.acked.contains(&key) {
                self.acked.push(key.clone());
            }
            self.oldest = Some(self.oldest.take().map_or(key.clone(), |oldest| oldest.min(key)));
        }
        let goes_back = |at: &Timestamp| self.before.is_none_or(|before| *at < before);
        let next = match &page.end {
            PageEnd::Complete => None,
            PageEnd::Full | PageEnd::LargeRow(_) => {
                let same_time = oldest_of_page.map(RowKey::after_time).filter(goes_back);
                same_time.or(oldest_of_page.or(page.oldest_malformed).filter(goes_back))
            }
        };
        match next.filter(|_| self.pages < MAX_PAGES) {
            Some(next) => {
                self.before = Some(next);
                AckedStep::Continue
            }
            None => AckedStep::Oldest(self.oldest.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(60);

    fn row(second: i64, seq: i64) -> RowKey {
        let at = Timestamp::from_nanos((1_780_000_000 + second) * 1_000_000_000);
        RowKey { at, seq, id: format!("{second}-{seq}").into() }
    }

    fn full(keys: &[RowKey], start: &mut AckedStart) -> AckedStep {
        start.step(&Page { end: PageEnd::Full, ..Page::default() }, keys.to_vec())
    }

    fn last(keys: &[RowKey], start: &mut AckedStart) -> AckedStep {
        start.step(&Page::default(), keys.to_vec())
    }

    #[test]
    fn poller_begins_a_minute_before_the_newest_acknowledged_row() {
        let mut start = AckedStart::new(20, LATE);
        assert_eq!(full(&[row(500, 25), row(400, 0)], &mut start), AckedStep::Continue, "days may lie between");
        assert_eq!(
            full(&[row(400, 0), row(300, 19), row(299, 21)], &mut start),
            AckedStep::Continue,
            "a number above one of a later row"
        );
        assert_eq!(full(&[row(299, 21), row(240, 18)], &mut start), AckedStep::Continue);
        let begin = AckedStep::Behind(row(239, 17));
        assert_eq!(full(&[row(240, 18), row(239, 17), row(100, 3)], &mut start), begin);
        assert_eq!(start.take_acked(), [row(300, 19), row(240, 18)]);
    }

    #[test]
    fn poller_begins_at_the_oldest_row_where_no_older_one_is_left() {
        let mut start = AckedStart::new(20, LATE);
        assert_eq!(
            last(&[row(500, 21), row(490, 20), row(480, 22)], &mut start),
            AckedStep::Oldest(Some(row(480, 22)))
        );
        assert_eq!(start.take_acked(), [row(490, 20)]);
        let mut start = AckedStart::new(20, LATE);
        assert_eq!(full(&[row(500, 22)], &mut start), AckedStep::Continue);
        assert_eq!(
            last(&[row(500, 22), row(1, 21)], &mut start),
            AckedStep::Oldest(Some(row(1, 21))),
            "all acknowledged ones are gone"
        );
        assert_eq!(last(&[], &mut AckedStart::new(20, LATE)), AckedStep::Oldest(None));
    }

    #[test]
    fn page_that_leads_no_further_back_ends_the_look_back() {
        let mut start = AckedStart::new(20, LATE);
        let page = [row(500, 22), row(500, 23)];
        assert_eq!([0; 2].map(|_| full(&page, &mut start)), [AckedStep::Continue, AckedStep::Continue]);
        assert_eq!(full(&page, &mut start), AckedStep::Oldest(Some(row(500, 22))));
    }
}
