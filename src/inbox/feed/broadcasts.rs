//! The list of broadcasts, which the platform keeps apart from the messages: one type of rows is listed at a time.

use std::time::Duration;

use super::cursor::Cursor;
use super::cursor::saved::Anchor;
use super::fetcher::{Fetched, PageEnd, PageFetcher};
use super::position::RowKey;
use super::window::{RowState, RowWindow};
use crate::error::Error;
use crate::inbox::message::key_of_row;
use crate::platform::{MAX_PAGE, PageRequest, RowDetail, RowsToList};
use crate::util::clock::CoarseInstant;
use crate::wire::{self, Row, Timestamp};

/// Rows with their places in the feed.
type KeyedRows = Vec<(RowKey, Row)>;

/// One of so many polls also lists the broadcasts: one a minute at the default interval. They are rare, and each list costs
/// a request.
const EVERY_POLL: u32 = 12;
/// Time after which they are listed although messages are left, as while a long backlog is delivered.
const OVERDUE: Duration = Duration::from_secs(60);
/// Most pages of one listing.
const MAX_PAGES: usize = 20;

/// The broadcasts that are known.
#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    /// The rows that were listed and are not settled.
    window: RowWindow,
    /// Number of polls so far.
    polls: u32,
    /// When they were last listed, or that was tried.
    last: Option<CoarseInstant>,
}

/// The times of a listing of broadcasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct BroadcastTimes {
    pub(super) now: CoarseInstant,
    /// Time after which a row that was listed is settled.
    pub(super) late: Duration,
    /// Age in seconds of the oldest row that is delivered where there is no settled one.
    pub(super) backlog_secs: u64,
}

impl Broadcasts {
    /// Lists the broadcasts behind the last settled one, or of the backlog, where that is due. Returns those that this
    /// process has not listed before, oldest first.
    ///
    /// # Errors
    ///
    /// A failed request. Broadcasts are listed again after a minute then: an old platform may not answer.
    pub(super) fn next(
        &mut self,
        fetcher: &mut PageFetcher,
        cursor: &mut Cursor,
        times: BroadcastTimes,
    ) -> Result<KeyedRows, Error> {
        let BroadcastTimes { now, late, backlog_secs } = times;
        let is_due = self.polls % EVERY_POLL == 0 || self.last.is_none_or(|last| now.since(last) >= OVERDUE);
        self.polls = self.polls.wrapping_add(1);
        if !is_due {
            return Ok(Vec::new());
        }
        self.last = Some(now);
        let settled = self.window.newest_of_age(late, now).cloned();
        // The platform lists broadcasts behind a message, too. So a start after days goes on there, though none came before.
        let of_messages = match cursor.anchor() {
            Some(Anchor::Behind(row)) if cursor.broadcasts_anchor().is_none_or(|anchor| anchor < row) => {
                Some(row.clone())
            }
            _ => None,
        };
        let settled = settled.max(of_messages);
        let mut rows = list(fetcher, cursor, backlog_secs)?;
        let window = &mut self.window;
        rows.retain(|(key, row)| {
            let is_new = window.state(&key.id).is_none();
            window.list(key.clone(), row.bytes as u64, now);
            let message = cursor.hash_key().map(|secret| key_of_row(&key.id, secret));
            if is_new && message.is_some_and(|message| cursor.is_handled(message)) {
                window.set_state(&key.id, RowState::Handled);
                return false;
            }
            is_new
        });
        if let Some(settled) = settled.filter(|settled| window.first_unhandled().is_none_or(|first| first > settled)) {
            window.forget_up_to(&settled);
            cursor.set_broadcasts_anchor(settled);
        }
        Ok(rows)
    }

    /// Returns whether they were not listed for a minute, in a feed that was made at `started`.
    pub(super) fn are_overdue(&self, started: CoarseInstant, now: CoarseInstant) -> bool {
        now.since(self.last.unwrap_or(started)) >= OVERDUE
    }

    /// Records that a broadcast was handled.
    pub(super) fn handled(&mut self, id: &str) {
        self.window.set_state(id, RowState::Handled);
    }

    /// Forgets broadcasts that were listed and not handled, so that the next poll lists them again.
    pub(super) fn abandon(&mut self) {
        self.polls = 0;
        while let Some(id) = self.window.first_unhandled().map(|key| key.id.clone()) {
            self.window.remove(&id);
        }
    }
}

/// Lists the rows behind the last settled one, oldest first.
fn list(fetcher: &mut PageFetcher, cursor: &Cursor, backlog_secs: u64) -> Result<KeyedRows, Error> {
    let Some(anchor) = cursor.broadcasts_anchor() else {
        return newest(fetcher, None, Some(backlog_secs), cursor);
    };
    match behind(fetcher, anchor, cursor)? {
        Some(rows) => Ok(rows),
        // It was pruned, and with it what is older.
        None => newest(fetcher, Some(anchor.at), None, cursor),
    }
}

/// Lists the broadcasts behind a row. `None` where the platform does not have that row any more.
fn behind(fetcher: &mut PageFetcher, anchor: &RowKey, cursor: &Cursor) -> Result<Option<KeyedRows>, Error> {
    let (mut listed, mut last) = (Vec::new(), anchor.clone());
    for _ in 0..MAX_PAGES {
        let rows = RowsToList::After { id: last.id.to_string(), before: None };
        let Some((rows, is_full)) = page(fetcher, rows, cursor)? else { return Ok(None) };
        let newest = rows.last().map(|(key, _)| key.clone());
        listed.extend(rows);
        match newest.filter(|newest| is_full && last < *newest) {
            Some(newest) => last = newest,
            None => break,
        }
    }
    Ok(Some(listed))
}

/// Lists the broadcasts from a time on, and those of the last `secs` seconds, page by page back in time.
fn newest(
    fetcher: &mut PageFetcher,
    floor: Option<Timestamp>,
    secs: Option<u64>,
    cursor: &Cursor,
) -> Result<KeyedRows, Error> {
    let (mut listed, mut before): (KeyedRows, Option<Timestamp>) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let Some((mut rows, is_full)) = page(fetcher, RowsToList::Newest { before, secs }, cursor)? else {
            break;
        };
        rows.reverse();
        let oldest = rows.first().map(|(key, _)| key.at);
        // The page before has those of its oldest time, too.
        rows.retain(|(key, _)| {
            floor.is_none_or(|floor| key.at >= floor) && listed.iter().all(|(known, _)| known.id != key.id)
        });
        listed.splice(..0, rows);
        let next = oldest.filter(|at| is_full && floor.is_none_or(|floor| *at >= floor)).map(RowKey::after_time);
        match next.filter(|next| before.is_none_or(|before| *next < before)) {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    Ok(listed)
}

/// Fetches a page of broadcasts, in the platform's order, and says whether more may follow. `None` where the row that it
/// was to begin behind is gone.
fn page(fetcher: &mut PageFetcher, rows: RowsToList, cursor: &Cursor) -> Result<Option<(KeyedRows, bool)>, Error> {
    // They are short.
    let request = PageRequest { limit: Some(MAX_PAGE), detail: RowDetail::Broadcasts, ..PageRequest::new(rows) };
    let page = match fetcher.fetch(&request, cursor.large_rows())? {
        Fetched::Page(page) => page,
        Fetched::AnchorGone => return Ok(None),
        Fetched::Stalled(_, error) => return Err(error),
    };
    let is_full = !matches!(page.end, PageEnd::Complete);
    // An old platform lists messages, too.
    let is_broadcast = |row: &Row| wire::text_field(&row.fields, "activity_type") == Some("broadcast_receive");
    let rows = page.rows.into_iter().filter(is_broadcast);
    Ok(Some((rows.map(|row| (RowKey::of(&row, None), row)).collect(), is_full)))
}
