//! A look back by time: pages newest first, where there is no row to list after, it is gone, or the platform is too old
//! to know `since_id`.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Map;

use crate::inbox::feed::batch::RowKey;
use crate::inbox::feed::cursor::Cursor;
use crate::inbox::feed::reorder_buffer::ReorderBuffer;
use crate::platform::PageRequest;
use crate::util::log_safe::log_safe;
use crate::wire::{ActivityRows, MalformedRows, Row, Timestamp};

/// Most pages of one look back: a million rows.
const MAX_PAGES: usize = 2_000;
/// Time that is added to a row's own time to ask for the rows before it, so that other rows of the same time are among
/// them. The platform's times are in microseconds.
const SAME_TIME: Duration = Duration::from_micros(1);
const SAME_TIME_GAP: &str =
    "inbox: a gap: a page does not take all rows of one time, and some of them cannot be listed:";

/// One look back. The lister asks [`request`](Self::request) for the next page to fetch, and gives it to
/// [`add_page`](Self::add_page), until that says that it was the last.
pub(super) struct LookBack {
    /// Rows before this time are handled. `None` goes back by `since_secs` instead.
    floor: Option<Timestamp>,
    since_secs: Option<u64>,
    /// True if rows that cannot be listed by time may be left to a later listing by `since_id`.
    may_leave_rows: bool,
    /// Time before which the next page is listed. `None` before the first page.
    before: Option<Timestamp>,
    pages: usize,
    /// Ids of the page before, some of which the next page repeats: those of its oldest time.
    last_page: HashSet<String>,
    /// Ids of acked rows that are in the buffer already.
    buffered_acked: HashSet<String>,
    buffer: ReorderBuffer,
    /// Rows newer than a time of which some rows cannot be listed. They are left to `since_id`.
    left_rows: Option<ReorderBuffer>,
    /// Newest row below the floor that was listed. It shows that the look back reached the floor.
    below_floor: Option<RowKey>,
    malformed: MalformedRows,
    unreadable: MalformedRows,
}

/// The outcome of a look back.
pub(super) struct LookBackRows {
    /// The rows from the floor on, oldest first. Some of them may be acked already.
    pub(super) rows: Vec<Row>,
    /// True if there are newer rows, which were dropped or left out. They have to be listed again.
    pub(super) has_more: bool,
    /// True if there are newer rows, and all rows here are acked: the look back brought nothing to deliver.
    pub(super) is_futile: bool,
    /// Newest row below the floor, if one was listed.
    pub(super) below_floor: Option<RowKey>,
    pub(super) malformed: MalformedRows,
    pub(super) unreadable: MalformedRows,
}

impl LookBack {
    /// Begins a look back to `floor`, or over the last `since_secs` seconds where there is no floor.
    ///
    /// `may_leave_rows` says what happens where more rows have the same time than a page takes, so that some cannot be
    /// listed by time. If `true`, the rows after that time are left to a listing by `since_id`. If `false`, those that
    /// cannot be listed are skipped, and a gap is logged.
    pub(super) fn new(floor: Option<Timestamp>, since_secs: Option<u64>, may_leave_rows: bool) -> Self {
        LookBack {
            floor,
            since_secs,
            may_leave_rows,
            before: None,
            pages: 0,
            last_page: HashSet::new(),
            buffered_acked: HashSet::new(),
            buffer: ReorderBuffer::default(),
            left_rows: None,
            below_floor: None,
            malformed: MalformedRows::default(),
            unreadable: MalformedRows::default(),
        }
    }

    /// Returns the request for the next older page.
    pub(super) fn request(&self) -> PageRequest {
        PageRequest::Newest { before: self.before, secs: self.since_secs }
    }

    /// Adds the page that [`request`](Self::request) asked for. Returns `Break` if no older page is needed.
    ///
    /// That is so once it reached the floor, and after a page that is not full. It is also so after 2,000 pages or a
    /// page that leads no further back; then a gap is logged.
    ///
    /// `bytes` is the size of the page. `limit` is the latest time that tells the time on the platform, see
    /// [`Cursor::record_times`]. In `cursor`, only the times are recorded, and listed rows that are acked stay
    /// remembered.
    pub(super) fn add_page(
        &mut self,
        page: ActivityRows,
        bytes: usize,
        cursor: &mut Cursor,
        limit: Timestamp,
    ) -> ControlFlow<()> {
        self.malformed.merge(page.malformed);
        self.unreadable.merge(page.unreadable);
        let oldest_row = page.rows.iter().filter_map(|row| row.at).min();
        let oldest_entry = oldest_row.into_iter().chain(page.oldest_malformed).min();
        cursor.record_times(page.rows.iter().filter_map(|row| row.at), limit);
        let ids = page.rows.iter().map(|row| row.id.clone()).collect();
        let rows = self.take_rows(page.rows);
        let (rows, unacked) = drop_repeated_acked(rows, cursor, &mut self.buffered_acked);
        self.buffer.push_older_page(rows, unacked, if unacked == 0 { 0 } else { bytes });
        if self.below_floor.is_some() || !page.is_full {
            return ControlFlow::Break(());
        }
        self.go_further_back(oldest_row, oldest_entry, ids)
    }

    /// Returns the rows of a page that are neither below the floor nor on the page before. A row without a time counts
    /// as below the floor if one that is listed before it is. Keeps the newest row below the floor in `below_floor`.
    fn take_rows(&mut self, page: Vec<Row>) -> Vec<Row> {
        let mut taken = Vec::new();
        for row in page {
            match row.at.zip(self.floor) {
                Some((at, floor)) if at < floor => {
                    if self.below_floor.as_ref().is_none_or(|key| key.at < at) {
                        self.below_floor = Some(RowKey { at, id: row.id.as_str().into() });
                    }
                }
                _ if self.last_page.contains(&row.id) => {}
                // A row without a time that is listed behind a row below the floor is below it, too, and long acked.
                None if row.at.is_none() && self.below_floor.is_some() => {}
                _ => taken.push(row),
            }
        }
        taken
    }

    /// Sets the time before which the next page is listed, after a full page. Returns `Break` if there is no way
    /// further back, or after 2,000 pages, with a gap logged.
    ///
    /// If a page has rows of one time only, some of that time cannot be listed. Then the buffer is set aside as rows
    /// that are left to `since_id`, if that is allowed; else a gap is logged. `oldest_row` is the oldest time of the
    /// page's rows, `oldest_entry` that of its rows and malformed entries, and `ids` are the ids of its rows.
    fn go_further_back(
        &mut self,
        oldest_row: Option<Timestamp>,
        oldest_entry: Option<Timestamp>,
        ids: HashSet<String>,
    ) -> ControlFlow<()> {
        let before = self.before;
        let is_older = |at: &Timestamp| before.is_none_or(|before| *at < before);
        // A malformed entry may have any time: its time counts only where those of the rows lead no further back.
        let row_leads_back = oldest_row.filter(is_older);
        let oldest = row_leads_back.or(oldest_entry);
        // More rows may have the oldest time, so it is asked for again. Where a page has nothing else, the rows of
        // that time that are left cannot be listed, and the next page begins before it.
        let same_time = oldest.map(|oldest| oldest.plus(SAME_TIME)).filter(is_older);
        let Some(next) = same_time.or(oldest).filter(is_older) else {
            let at = oldest.map(|oldest| oldest.to_string()).unwrap_or_default();
            log_safe!(warn, "inbox: a gap: the platform lists no rows before {at}, though its page is full");
            return ControlFlow::Break(());
        };
        if row_leads_back.is_none() {
            log_safe!(
                warn,
                "inbox: perhaps a gap: no row of a page leads further back; going on from {next}, by a malformed entry"
            );
        }
        if same_time.is_none() && self.may_leave_rows {
            let mut newer = std::mem::take(&mut self.buffer);
            newer.has_dropped |= self.left_rows.is_some();
            self.left_rows = Some(newer);
        } else if same_time.is_none() {
            log_safe!(warn, "{SAME_TIME_GAP} {next}");
        }
        self.pages += 1;
        if self.pages >= MAX_PAGES {
            log_safe!(warn, "inbox: a gap: rows older than {next} are too far back, and are left out");
            return ControlFlow::Break(());
        }
        self.before = Some(next);
        self.last_page = ids;
        ControlFlow::Continue(())
    }

    /// Ends the look back and returns its rows. If there are no rows but those that were left to `since_id`, it returns
    /// these, and logs a gap.
    ///
    /// `anchor_gone` says that it was made because the platform pruned the cursor's anchor. Then the consequence is
    /// logged: a gap, or that nothing is lost.
    pub(super) fn finish(self, anchor_gone: bool) -> LookBackRows {
        let LookBack { floor, before, mut buffer, left_rows, below_floor, malformed, unreadable, .. } = self;
        let mut has_more = buffer.has_dropped || left_rows.is_some();
        // Without an older row, `since_id` has nothing to list after: the rows that were left to it are needed now.
        if let Some(left_rows) = left_rows.filter(|_| buffer.rows == 0 && below_floor.is_none()) {
            log_safe!(warn, "{SAME_TIME_GAP} {}", before.map_or(String::new(), |at| at.to_string()));
            has_more = left_rows.has_dropped;
            buffer = left_rows;
        }
        let is_futile = has_more && buffer.unacked == 0;
        let rows = buffer.into_rows();
        if anchor_gone {
            log_anchor_gone(floor.filter(|_| below_floor.is_none()), &rows);
        }
        LookBackRows { rows, has_more, is_futile, below_floor, malformed, unreadable }
    }
}

/// Returns the rows without those acked ones that are in `buffered` already, and the number of unacked rows.
///
/// An acked row keeps only its id and time, since it is not delivered; its id is added to `buffered`. In `cursor` it
/// stays remembered.
fn drop_repeated_acked(mut rows: Vec<Row>, cursor: &mut Cursor, buffered: &mut HashSet<String>) -> (Vec<Row>, usize) {
    let mut unacked = 0;
    rows.retain_mut(|row| {
        let is_acked = cursor.keep_if_acked(&row.id, row.at);
        if is_acked {
            row.fields = Map::new();
        } else {
            unacked += 1;
        }
        !is_acked || buffered.insert(row.id.clone())
    });
    (rows, unacked)
}

/// Logs what the loss of the anchor means: a gap from `missed_floor` to the first of `rows`, where the look back did
/// not reach the floor; else that nothing is lost.
fn log_anchor_gone(missed_floor: Option<Timestamp>, rows: &[Row]) {
    match missed_floor {
        Some(floor) => {
            let first = rows.first().and_then(|row| row.at).map_or("now".to_owned(), |at| at.to_string());
            log_safe!(
                warn,
                "inbox: a gap: the cursor's row is gone, and the platform lists nothing from {floor} to {first}: \
                 messages of that time, if any, are lost"
            );
        }
        None => {
            log_safe!(info, "inbox: the cursor's row is gone; went back to its time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acked_row_is_buffered_once_however_often_it_is_listed() {
        let row = |id: &str| Row { id: id.to_owned(), at: None, fields: Map::from_iter([("a".to_owned(), 1.into())]) };
        let key = RowKey { at: Timestamp::from_nanos(9), id: "acked".into() };
        let (mut cursor, mut buffered) = (Cursor::restore(None, None, [key], Vec::new()), HashSet::new());
        for left in [2, 1] {
            let rows = vec![row("acked"), row("new"), row("acked")];
            let (rows, unacked) = drop_repeated_acked(rows, &mut cursor, &mut buffered);
            assert_eq!((rows.len(), unacked, rows[left - 1].fields.len()), (left, 1, 1), "the new one is whole");
        }
    }
}
