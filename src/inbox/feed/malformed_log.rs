//! The log of malformed entries.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::util::clock::wall_nanos;
use crate::util::log_safe::log_safe;
use crate::util::text::Untrusted;
use crate::wire::{MalformedRows, Row, Timestamp, created_at};

/// Number of malformed entries that are remembered as logged. Beyond it all are forgotten, and may be logged again.
const MAX_LOGGED: usize = 1_000;

/// Difference of the clocks above which a row is logged as one of the future.
const MAX_AHEAD: Duration = Duration::from_secs(600);
/// Most entries that are remembered as listed: those of the longest page.
const MAX_LISTED: usize = 100_000;

/// The entries that are no rows and were listed, by hashes of their texts: each is counted once, although it is listed
/// again. Beyond 100,000 the oldest ones are forgotten.
#[derive(Default)]
pub(super) struct ListedEntries {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl ListedEntries {
    /// Adds an entry. Returns whether it is new.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > MAX_LISTED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        true
    }
}

/// Logs malformed entries and unreadable fields: each one once, although it is listed again with the next pages. Logs
/// times that are strange, once each.
#[derive(Default)]
pub(in crate::inbox) struct MalformedLog {
    /// Excerpts that were logged.
    logged: HashSet<String>,
    /// True once a time without a zone was logged.
    has_warned_of_no_zone: bool,
    /// True once a row without a time was logged.
    has_warned_of_no_time: bool,
    /// True once a time ahead of our clock was logged.
    has_warned_of_future: bool,
}

impl MalformedLog {
    /// Logs the excerpts that were not logged before, one warning each. `what` says what is wrong with them.
    ///
    /// If it logged any, it also logs how many there are without an excerpt.
    pub(in crate::inbox) fn warn(&mut self, what: &str, malformed: MalformedRows) {
        let more = malformed.count - malformed.excerpts.len();
        let mut any_new = false;
        for excerpt in malformed.excerpts {
            if self.logged.len() >= MAX_LOGGED {
                self.logged.clear();
            }
            if !self.logged.contains(&excerpt) {
                log_safe!(warn, "inbox: {what}: {}", Untrusted::new(&excerpt));
                self.logged.insert(excerpt);
                any_new = true;
            }
        }
        if any_new && more > 0 {
            log_safe!(warn, "inbox: {what}: {more} more beside these");
        }
    }

    /// Logs the first row without a time, the first one whose time has no zone, and the first one of the future.
    pub(in crate::inbox) fn warn_of_time(&mut self, row: &Row) {
        let id = Untrusted::new(&row.id);
        let Some(at) = row.at else {
            if !self.has_warned_of_no_time {
                log_safe!(
                    warn,
                    "inbox: row {id} has no time of its own that can be read: such rows count as of the time before"
                );
                self.has_warned_of_no_time = true;
            }
            return;
        };
        self.warn_of_missing_zone(row);
        let is_ahead = |now: i64| at > Timestamp::from_nanos(now).plus(MAX_AHEAD);
        if !self.has_warned_of_future && wall_nanos().is_some_and(is_ahead) {
            log_safe!(
                warn,
                "inbox: row {id} is of {at}, which is ahead of this machine's clock: if the platform's clock is wrong and is \
                 set back, it lists rows where the poller does not look for them any more"
            );
            self.has_warned_of_future = true;
        }
    }

    /// [`Timestamp::parse`] takes a time without a zone for one in UTC.
    fn warn_of_missing_zone(&mut self, row: &Row) {
        let Some(at) = created_at(&row.fields).filter(|at| !self.has_warned_of_no_zone && Timestamp::lacks_zone(at))
        else {
            return;
        };
        let (id, at) = (Untrusted::new(&row.id), Untrusted::new(at));
        log_safe!(warn, "inbox: row {id} has a time without a zone, {at}: such times count as UTC");
        self.has_warned_of_no_zone = true;
    }
}
