//! Which listing is next, and where it begins.

use std::time::Duration;

use super::Feed;
use super::cursor::Cursor;
use super::cursor::saved::Anchor;
use super::position::RowKey;
use super::reader::{AfterLower, Reader, Settled};
use super::since_id::SinceIdSupport;
use super::window::OVERLAP_BYTES;
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;

/// Time between two listings of everything that is not settled.
const TAIL_EVERY: Duration = Duration::from_secs(10);
/// Age of the row that the head begins behind. Half of the rows that are committed late come within it.
const HEAD_OVERLAP: Duration = Duration::from_secs(2);

impl Feed {
    /// Begins the next listing: by time on an old platform, a search where there is no anchor, the tail when it is due, or
    /// else the head.
    pub(super) fn begin(&mut self, cursor: &mut Cursor, now: CoarseInstant) -> Reader {
        if self.since_id == SinceIdSupport::Ignored {
            return self.begin_by_time(cursor, now);
        }
        let anchor = match cursor.anchor().cloned() {
            None => return Reader::start(self.backlog_secs(now), self.settings.acks),
            Some(anchor @ Anchor::Pruned(_)) => return Reader::after_loss(&anchor),
            Some(Anchor::Open(row)) if self.newest.is_none() => return Reader::lower(row, AfterLower::Head),
            Some(anchor) => anchor,
        };
        if self.is_tail_due(cursor, now) {
            self.last_tail = Some(now);
            let late = self.settings.late;
            let settled = Settled { row: cursor.newest_settled(late, now), seq: cursor.settled_seq(late, now) };
            if let Anchor::Open(row) = anchor {
                return Reader::lower(row, AfterLower::Tail(settled));
            }
            if let Some(tail) = Reader::tail(anchor.row().clone(), settled, cursor) {
                return tail;
            }
        }
        if let (Anchor::Behind(row), true) = (&anchor, cursor.window.is_empty()) {
            return Reader::whole_head(row.clone(), cursor.settled_seq(self.settings.late, now));
        }
        match self.lost_rows {
            0 => Reader::head(self.head_start(anchor.row(), cursor, now)),
            // The platform has pruned a row of the window. The rows that follow may be gone, too.
            _ => Reader::head(anchor.row().clone()),
        }
    }

    /// Pages back by time from now on, because the platform does not know `what`. Such a listing has the anchor's row, too.
    pub(super) fn page_by_time(&mut self, what: &str, cursor: &mut Cursor, now: CoarseInstant) {
        let platform = self.fetcher.platform();
        log_safe!(warn, "inbox: {platform} does not know {what}; paging back by time from now on");
        self.since_id = SinceIdSupport::Ignored;
        // The tail under way listed nothing.
        self.last_tail = None;
        cursor.restore_anchor_row(now);
    }

    /// Begins a listing by time: of everything behind the anchor when the tail is due, else of what the head would list.
    pub(super) fn begin_by_time(&mut self, cursor: &Cursor, now: CoarseInstant) -> Reader {
        match cursor.anchor().map(Anchor::row) {
            Some(anchor) if !self.is_tail_due(cursor, now) => {
                let floor = self.head_start(anchor, cursor, now).at;
                Reader::by_time(Some(floor), self.backlog_secs(now), None)
            }
            _ => {
                self.last_tail = Some(now);
                self.whole_by_time(cursor, now)
            }
        }
    }

    /// Begins a listing by time of everything behind the anchor, or of the backlog where there is none.
    pub(super) fn whole_by_time(&self, cursor: &Cursor, now: CoarseInstant) -> Reader {
        let floor = cursor.anchor().map(|anchor| anchor.row().at);
        Reader::by_time(floor, self.backlog_secs(now), cursor.newest_settled(self.settings.late, now))
    }

    /// Returns the row that the head begins behind: the newest one that was first listed 2 s ago, but at most 256 KiB back,
    /// and never before a row that was stepped over.
    pub(super) fn head_start(&self, anchor: &RowKey, cursor: &Cursor, now: CoarseInstant) -> RowKey {
        let window = &cursor.window;
        let overlap = window.newest_of_age(HEAD_OVERLAP, now).max(window.oldest_within(OVERLAP_BYTES));
        let stepped_over = window.stepped_over_from(anchor).last();
        let start = overlap.max(stepped_over).max(Some(anchor)).unwrap_or(anchor);
        let start = if cursor.is_beside_anchor(start) { anchor } else { start };
        // Before a row that is still to be delivered.
        match window.first_unhandled() {
            Some(first) if window.may_precede(first, start) => {
                window.newest_before(first).max(Some(anchor)).unwrap_or(anchor).clone()
            }
            _ => start.clone(),
        }
    }

    pub(super) fn is_tail_due(&self, cursor: &Cursor, now: CoarseInstant) -> bool {
        let is_time = self.last_tail.is_none_or(|last| now.since(last) >= TAIL_EVERY);
        is_time && !cursor.window.is_empty()
    }

    pub(super) fn backlog_secs(&self, now: CoarseInstant) -> u64 {
        self.settings.backlog.saturating_add(now.since(self.started)).as_secs().max(1)
    }
}
