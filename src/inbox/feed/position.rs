//! A row's place in the feed.

use std::sync::Arc;

use super::fetcher::{Page, PageEnd};
use crate::wire::{Row, RowHead, Timestamp};

/// Time that is added to a row's time to ask for the rows up to it, so that the others of its time are among them. The
/// platform's times are in microseconds, and its `before_ts` leaves out the time itself.
const SAME_TIME: std::time::Duration = std::time::Duration::from_micros(1);

/// A row's place in the feed, and its id. The platform lists rows by time, and those of one time by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::inbox) struct RowKey {
    pub(in crate::inbox) at: Timestamp,
    /// The platform's number of the row. Zero on platforms that do not number rows.
    pub(in crate::inbox) seq: i64,
    pub(in crate::inbox) id: Arc<str>,
}

impl RowKey {
    /// Returns a key that comes before those of all rows.
    pub(super) fn before_all() -> Self {
        RowKey { at: Timestamp::EARLIEST, seq: i64::MIN, id: "".into() }
    }

    /// Returns the key of a row that is listed behind `previous`. A row without a readable time has the one before it.
    pub(super) fn of(row: &Row, previous: Option<&RowKey>) -> Self {
        let at = row.at.or(previous.map(|previous| previous.at)).unwrap_or(Timestamp::EARLIEST);
        let seq = row.fields.get("seq").and_then(serde_json::Value::as_i64).unwrap_or_default();
        RowKey { at, seq, id: row.id.as_str().into() }
    }

    /// Returns the key of a row of which only the head is known, behind `previous`. `None` if its id is not.
    pub(super) fn of_head(head: &RowHead, previous: Option<&RowKey>) -> Option<Self> {
        let at = head.at.or(previous.map(|previous| previous.at)).unwrap_or(Timestamp::EARLIEST);
        let seq = head.fields.get("seq").and_then(serde_json::Value::as_i64).unwrap_or_default();
        head.id.as_deref().map(|id| RowKey { at, seq, id: id.into() })
    }

    /// Returns the time before which the platform lists this row and the others of its time.
    pub(super) fn up_to_its_time(&self) -> Timestamp {
        RowKey::after_time(self.at)
    }

    /// Returns the time before which the platform lists the rows of this time.
    pub(super) fn after_time(at: Timestamp) -> Timestamp {
        at.plus(SAME_TIME)
    }

    /// Returns whether the row comes before `other`, whatever their ids are.
    pub(super) fn is_before(&self, other: &RowKey) -> bool {
        (self.at, self.seq) < (other.at, other.seq)
    }
}

/// Returns the keys of rows that are listed in this order behind `previous`.
pub(super) fn keys(rows: &[Row], previous: Option<&RowKey>) -> Vec<RowKey> {
    let mut keys: Vec<RowKey> = Vec::with_capacity(rows.len());
    for row in rows {
        let key = RowKey::of(row, keys.last().or(previous));
        keys.push(key);
    }
    keys
}

/// Returns the keys of the rows of a page that lists the newest first, a row that is too large among them. The oldest comes
/// first.
pub(super) fn newest_first_keys(page: &Page) -> Vec<RowKey> {
    let mut keys: Vec<RowKey> = Vec::with_capacity(page.rows.len() + 1);
    if let PageEnd::LargeRow(head) = &page.end {
        keys.extend(RowKey::of_head(head, None));
    }
    for row in page.rows.iter().rev() {
        let key = RowKey::of(row, keys.last());
        keys.push(key);
    }
    // Rows without a time at the older end of the page: the one after them has one.
    let first = keys.iter().map(|key| key.at).find(|at| *at > Timestamp::EARLIEST);
    for key in keys.iter_mut().take_while(|key| key.at == Timestamp::EARLIEST) {
        key.at = first.unwrap_or(Timestamp::EARLIEST);
    }
    keys
}
