//! The feed's settings, and what a page brings.

use std::time::Duration;

use super::position::RowKey;
use crate::inbox::verdict::DeadLetterReason;
use crate::wire::{MalformedRows, Row, RowHead};

/// The builder's settings for the feed.
#[derive(Debug, Clone, Copy)]
pub(in crate::inbox) struct FeedSettings {
    /// Number of rows that a page has at most.
    pub(in crate::inbox) page_size: usize,
    /// Largest row that is read, in bytes of JSON.
    pub(in crate::inbox) max_row: usize,
    /// Time after which a row that was listed is settled.
    pub(in crate::inbox) late: Duration,
    /// Age of the oldest row that is delivered at the first start.
    pub(in crate::inbox) backlog: Duration,
    /// True if the first start goes on behind what was acknowledged.
    pub(in crate::inbox) acks: bool,
}

/// News of a page.
#[expect(clippy::large_enum_variant, reason = "it is moved once for each page")]
pub(super) enum PageNews {
    /// Something new.
    New(Batch),
    /// Nothing, and another page is needed.
    NotYet,
    /// Nothing, and the feed was listed to its end.
    NothingMore,
}

/// Rows to be delivered, oldest first, and what else a page brought.
pub(in crate::inbox) struct Batch {
    pub(in crate::inbox) rows: Vec<(RowKey, Row)>,
    /// True if it is a page of what is new, and not of what the poller looks for beside that.
    pub(in crate::inbox) is_of_head: bool,
    /// A row that cannot be read. It comes after the rows.
    pub(in crate::inbox) unread: Option<UnreadRow>,
    /// Entries of the page that are no rows, and that were not listed before.
    pub(in crate::inbox) malformed: MalformedRows,
    /// Fields of the page's rows that could not be read, also of rows that are not to be delivered.
    pub(in crate::inbox) unreadable: MalformedRows,
}

impl Batch {
    /// Returns whether there is nothing new. A field that cannot be read is reported with its row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.unread.is_none() && self.malformed.count == 0
    }
}

/// A row that cannot be read.
pub(in crate::inbox) struct UnreadRow {
    pub(in crate::inbox) key: RowKey,
    pub(in crate::inbox) reason: DeadLetterReason,
    pub(in crate::inbox) head: RowHead,
}
