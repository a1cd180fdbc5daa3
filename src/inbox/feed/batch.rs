//! A batch of rows, as the lister hands it to the poller.

use std::collections::HashSet;
use std::sync::Arc;

use crate::util::log_safe::log_safe;
use crate::util::text::Untrusted;
use crate::wire::{MalformedRows, Row, Timestamp, created_at};

/// Number of malformed entries that are remembered as logged. Beyond it all are forgotten, and may be logged again.
const MAX_LOGGED: usize = 1_000;

/// Rows that are about to be delivered, oldest first. Some of them may be acked already.
pub(in crate::inbox) struct Batch {
    /// The rows, each id once.
    pub(in crate::inbox) rows: Vec<Row>,
    /// The key of each row of `rows`, at the same index.
    pub(in crate::inbox) listed: Vec<ListedRow>,
    pub(in crate::inbox) coverage: Coverage,
    /// Entries of the listing that are no rows.
    pub(in crate::inbox) malformed: MalformedRows,
    /// Fields of the rows that could not be read.
    pub(in crate::inbox) unreadable: MalformedRows,
}

/// The key of a row in the cursor: its time, then its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::inbox) struct RowKey {
    pub(in crate::inbox) at: Timestamp,
    pub(in crate::inbox) id: Arc<str>,
}

/// A row that the platform listed, as the cursor needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::inbox) struct ListedRow {
    pub(in crate::inbox) key: RowKey,
    /// True if the time is the row's own. False if the row has none, and has the time of the row before it.
    pub(in crate::inbox) has_own_time: bool,
}

/// The part of the feed that a batch covers. It decides how far the cursor's anchor may move over the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about a listing, each read in one place")]
pub(in crate::inbox) struct Coverage {
    /// True if no row lies between the anchor, or the floor where there is no anchor, and the first row of the batch.
    pub(in crate::inbox) contiguous: bool,
    /// True if rows that are not listed yet may follow the last row of the batch.
    pub(in crate::inbox) has_more: bool,
    /// True if no row can be committed late between the batch's rows any more, whatever their times are.
    pub(in crate::inbox) is_settled: bool,
    /// True if the batch was listed with `since_id`. The rows before a new anchor are then never listed again, not even
    /// those of the same time.
    pub(in crate::inbox) by_since_id: bool,
    /// Time up to which `contiguous` holds. `None` is no limit.
    ///
    /// A limit is set where the rows between the anchor and the batch were listed earlier: late rows may have come
    /// among them since. It is the time up to which the earlier listing was complete.
    pub(in crate::inbox) contiguous_until: Option<Timestamp>,
}

/// Logs malformed entries and unreadable fields: each one once, although it is listed again with the next pages. Logs
/// once that times have no zone.
#[derive(Default)]
pub(in crate::inbox) struct MalformedLog {
    /// Excerpts that were logged.
    logged: HashSet<String>,
    /// True once a time without a zone was logged.
    has_warned_of_no_zone: bool,
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

    /// Logs the first row whose time has no zone. [`Timestamp::parse`] takes such a time for one in UTC.
    pub(in crate::inbox) fn warn_of_missing_zone(&mut self, rows: &[Row]) {
        if self.has_warned_of_no_zone {
            return;
        }
        let mut times = rows.iter().filter_map(|row| Some((&row.id, created_at(&row.fields)?)));
        if let Some((id, at)) = times.find(|(_, at)| Timestamp::lacks_zone(at)) {
            let id = Untrusted::new(id);
            let at = Untrusted::new(at);
            log_safe!(warn, "inbox: row {id} has a time without a zone, {at}: such times count as UTC");
            self.has_warned_of_no_zone = true;
        }
    }
}
