//! A feed in memory, which answers as the platform does, and a poller that reads it. They need no network and no clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};

use super::cursor::Cursor;
use super::cursor::saved::{Anchor, SavedCursor};
use super::fetcher::{Fetched, Page, PageEnd};
use super::{Feed, FeedSettings, PageNews, RowKey, RowState};
use crate::cancel::CancelToken;
use crate::client::Client;
use crate::platform::{PageRequest, RowDetail, RowsToList};
use crate::util::clock::CoarseInstant;
use crate::wire::{LargeRows, Row, RowHead, Timestamp};

/// Bytes of a row above which it is not read.
pub(super) const MAX_ROW: usize = 1_000;
/// Bytes of a row that are read where only its head is wanted.
pub(super) const HEAD: usize = 100;
/// Bytes of the rows of a page.
const MAX_PAGE: usize = 30 * MAX_ROW;
/// Time after which a row is settled.
pub(super) const LATE: Duration = Duration::from_secs(60);

/// A row of the platform.
#[derive(Debug, Clone)]
pub(super) struct StoredRow {
    pub(super) key: RowKey,
    pub(super) bytes: usize,
    pub(super) kind: RowKind,
}

/// What a row is to a reader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RowKind {
    Message,
    /// A message whose id is not in what is read of it, if the platform adds what it knows of the sender.
    LateId,
    /// Not of the type that is listed.
    OtherType,
}

/// The rows that are committed, in the order of the feed.
#[derive(Debug, Default)]
pub(super) struct MemoryFeed {
    rows: Vec<StoredRow>,
    /// The platform's clock.
    pub(super) now: Option<Timestamp>,
    /// True if the platform is one that does not know `since_id`.
    pub(super) is_old: bool,
    /// Rows that are committed with the next requests, one with each.
    pub(super) coming: VecDeque<StoredRow>,
    /// Number of requests that were answered.
    pub(super) requests: usize,
}

impl StoredRow {
    /// Returns a message that was made so many microseconds after the start of 2026-05-01.
    pub(super) fn new(micros: u64, seq: i64, id: &str) -> Self {
        let at = start_time().plus(Duration::from_micros(micros));
        StoredRow { key: RowKey { at, seq, id: id.into() }, bytes: 50, kind: RowKind::Message }
    }

    /// Returns this row with so many bytes.
    pub(super) fn sized(self, bytes: usize) -> Self {
        StoredRow { bytes, ..self }
    }

    /// Returns this row as one that is too large to be read.
    pub(super) fn large(self) -> Self {
        self.sized(MAX_ROW + 1)
    }
}

/// Returns the time at which each feed begins.
pub(super) fn start_time() -> Timestamp {
    Timestamp::parse("2026-05-01T00:00:00Z").unwrap()
}

impl MemoryFeed {
    /// Makes a feed of these rows.
    pub(super) fn of(rows: impl IntoIterator<Item = StoredRow>) -> Self {
        let mut feed = MemoryFeed::default();
        rows.into_iter().for_each(|row| feed.commit(row));
        feed
    }

    /// Adds a row, at its place.
    pub(super) fn commit(&mut self, row: StoredRow) {
        let place = self.rows.partition_point(|other| other.key.is_before(&row.key));
        self.rows.insert(place, row);
    }

    /// Removes a row.
    pub(super) fn prune(&mut self, id: &str) {
        self.rows.retain(|row| *row.key.id != *id);
    }

    pub(super) fn rows(&self) -> &[StoredRow] {
        &self.rows
    }

    /// Answers a request as the platform does: oldest first behind a row, else newest first; `before` leaves out the time
    /// itself. A page has `page_size` rows, unless the request has its own limit.
    pub(super) fn answer(&mut self, request: &PageRequest, page_size: usize, known_large: &LargeRows) -> Fetched {
        self.requests += 1;
        if let Some(row) = self.coming.pop_front() {
            self.commit(row);
        }
        let limit = request.limit.unwrap_or(page_size);
        let is_listed = |row: &&StoredRow| row.kind != RowKind::OtherType || request.detail == RowDetail::HeadOfAnyType;
        let is_before = |row: &&StoredRow, before: &Option<Timestamp>| before.is_none_or(|before| row.key.at < before);
        let rows: Vec<&StoredRow> = match &request.rows {
            RowsToList::After { id, before } if !self.is_old => {
                let Some(behind) = self.rows.iter().position(|row| *row.key.id == **id) else {
                    return Fetched::AnchorGone;
                };
                let rows = self.rows[behind + 1..].iter().filter(is_listed);
                rows.filter(|row| is_before(row, before)).take(limit).collect()
            }
            RowsToList::After { before, .. } | RowsToList::Newest { before, .. } => {
                let secs = if let RowsToList::Newest { secs, .. } = request.rows { secs } else { None };
                let oldest = secs.zip(self.now).map(|(secs, now)| now.minus(Duration::from_secs(secs)));
                let rows = self.rows.iter().rev().filter(is_listed).filter(|row| is_before(row, before));
                rows.filter(|row| oldest.is_none_or(|oldest| row.key.at >= oldest)).take(limit).collect()
            }
        };
        Fetched::Page(page(&rows, limit, request.detail, known_large))
    }
}

/// Makes a page of these rows. It ends at a row that is too large, and once it has as many bytes as a page may have.
fn page(rows: &[&StoredRow], limit: usize, detail: RowDetail, known_large: &LargeRows) -> Page {
    let is_whole = matches!(detail, RowDetail::Full | RowDetail::Stored);
    let (max, max_page) = if is_whole { (MAX_ROW, MAX_PAGE) } else { (HEAD, HEAD) };
    let (mut page, mut size) = (Page::default(), 0);
    for row in rows {
        let RowKey { at, seq, id } = &row.key;
        let mut fields = Map::from_iter([("id".to_owned(), json!(&**id))]);
        if row.bytes > max || known_large.contains(id) {
            let has_head = row.kind != RowKind::LateId || detail != RowDetail::Full;
            let id = has_head.then(|| id.to_string());
            page.end = PageEnd::LargeRow(RowHead { id, at: has_head.then_some(*at), fields });
            return page;
        }
        fields.insert("seq".to_owned(), json!(seq));
        page.rows.push(Row { id: id.to_string(), at: Some(*at), bytes: row.bytes, fields });
        size += row.bytes;
        if size >= max_page {
            page.end = PageEnd::Full;
            return page;
        }
    }
    page.end = if rows.len() < limit { PageEnd::Complete } else { PageEnd::Full };
    page
}

/// A poller of a feed in memory.
pub(super) struct MemoryPoller {
    pub(super) feed: Feed,
    pub(super) cursor: Cursor,
    /// The cursor file.
    pub(super) saved: SavedCursor,
    /// Rows per page, unless a listing asks for another number.
    pub(super) page_size: usize,
    /// Times of the large rows that were listed newest first, as there was no row before them. Whatever has one of these
    /// times and a lower number cannot be listed: a page ends at the large row.
    pub(super) dead_ends: Vec<Timestamp>,
}

/// A row that a poller got.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Got {
    Row(Arc<str>),
    /// A row that was stepped over.
    Large(Arc<str>),
}

/// What becomes of a row that is being delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Handled,
    /// The poller is stopped, and goes on later.
    Stopped,
    /// The process ends.
    Crashed,
}

impl MemoryPoller {
    /// Begins with what is saved, as a new process does.
    pub(super) fn start(saved: SavedCursor, backlog: Duration, boot: Option<u128>, now: CoarseInstant) -> Self {
        let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id("w").build().unwrap();
        let settings = FeedSettings { page_size: 500, max_row: MAX_ROW, late: LATE, backlog, acks: false };
        let mut feed = Feed::new(client.http(), &CancelToken::new(), settings);
        feed.started = now;
        let cursor = Cursor::from_saved(saved.clone(), boot, now);
        MemoryPoller { feed, cursor, saved, page_size: 500, dead_ends: Vec::new() }
    }

    /// Polls until there is nothing more. Calls `deliver` with each new row. Returns false after a crash.
    pub(super) fn poll(
        &mut self,
        platform: &mut MemoryFeed,
        now: CoarseInstant,
        deliver: &mut dyn FnMut(Got) -> Fate,
    ) -> bool {
        for _ in 0..2_000 {
            let batch = loop {
                let request = self.feed.next_request(&mut self.cursor, now);
                let fetched = platform.answer(&request, self.page_size, self.cursor.large_rows());
                match self.feed.take(fetched, &request, &mut self.cursor, now) {
                    Ok(PageNews::New(batch)) => break batch,
                    Ok(PageNews::NotYet) => {}
                    Ok(PageNews::NothingMore) => {
                        self.save();
                        return true;
                    }
                    // As after any failed poll.
                    Err(_) => return true,
                }
            };
            let mut fate = Fate::Handled;
            for (key, row) in batch.rows {
                if self.cursor.list(&key, row.bytes as u64, now) != RowState::Listed {
                    continue;
                }
                self.cursor.record_attempt(&key.id, self.cursor.attempts_of(&key.id) + 1);
                self.save();
                fate = deliver(Got::Row(key.id.clone()));
                if fate != Fate::Handled {
                    break;
                }
                self.cursor.handle(&key, None);
            }
            match (fate, batch.unread) {
                (Fate::Crashed, _) => return false,
                (Fate::Stopped, _) => {
                    self.feed.abandon();
                    self.save();
                    return true;
                }
                (Fate::Handled, Some(unread)) => {
                    if !matches!(self.cursor.anchor(), Some(Anchor::Behind(_))) {
                        self.dead_ends.push(unread.key.at);
                    }
                    self.cursor.step_over(&unread.key, MAX_ROW as u64, now);
                    self.save();
                    deliver(Got::Large(unread.key.id));
                }
                (Fate::Handled, None) => {}
            }
            let has_more = self.feed.end_page(&mut self.cursor, now);
            self.save();
            if !has_more {
                return true;
            }
        }
        panic!("the poll does not end");
    }

    /// Saves what changed, as the cursor file does.
    fn save(&mut self) {
        match self.cursor.pending.get() {
            Some(changes) => changes.iter().for_each(|change| self.saved.apply(change.clone())),
            None => self.saved = self.cursor.to_saved(),
        }
        self.cursor.pending.clear();
    }
}
