//! Finds the row that a poller begins behind, where it has none or the platform has pruned it.

use std::cmp::Ordering;
use std::mem;
use std::time::Duration;

use super::absence::Absence;
use super::acked_start::{AckedStart, AckedStep};
use super::backward::BackwardPosition;
use super::cursor::Cursor;
use super::cursor::saved::Anchor;
use super::fetcher::{Page, PageEnd};
use super::position::{RowKey, newest_first_keys};
use crate::platform::{PageRequest, RowDetail, RowsToList};
use crate::wire::Timestamp;

/// Most pages of a look back: a million rows.
const MAX_PAGES: usize = 2_000;
/// Rows of which the one at or below a lost anchor is taken: some of its microsecond may come behind it.
const ROWS_AT_A_TIME: usize = 10;

/// Looks for the row to begin behind.
pub(super) struct StartReader {
    state: StartState,
    /// The row that was lost. Rows up to it are handled.
    lost: Option<RowKey>,
    /// Age in seconds of the oldest row that is delivered where no row was lost.
    backlog_secs: u64,
    pages: usize,
    /// True if the platform has no row at or before the one that was lost.
    is_all_lost: bool,
    /// True if the poller goes on behind what was acknowledged, if anything was.
    asks_ack: bool,
    /// Rows that were found, and were acknowledged before.
    acked: Vec<RowKey>,
}

/// What is asked for next.
#[derive(Debug, Clone, PartialEq)]
enum StartState {
    /// The newest row at or before the one that was lost.
    BeforeLost(RowKey),
    /// The newest row, whatever its age.
    Newest,
    /// Nothing: up to where rows were acknowledged has to be known.
    Numbered,
    /// The rows before a time, newest first, as far as they were not acknowledged.
    BackToAck(AckedStart),
    /// The rows before a time, newest first: the oldest of the rows to be delivered. `None` begins at the newest.
    PageBack {
        position: BackwardPosition,
        oldest: Option<RowKey>,
    },
    /// Whether there is a row before the oldest one that is to be delivered. Only entries that are no rows were found after
    /// `before`.
    Older {
        oldest: Option<RowKey>,
        before: Option<Timestamp>,
    },
    /// Whether a row of the backlog was committed late before the oldest one, and was taken for the `older` one.
    Recheck {
        oldest: Option<RowKey>,
        older: RowKey,
    },
    Found(Start),
}

/// The place at which a poller begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inbox) enum Start {
    /// Behind this row, which is not delivered. `is_older` says that it is older than the backlog.
    Behind { row: RowKey, is_older: bool },
    /// At this row, which is the oldest one of the inbox. Rows may be committed before it.
    At(RowKey),
    /// There is no row yet.
    Empty,
}

impl StartState {
    /// Begins to page back at the newest row.
    fn page_back() -> Self {
        StartState::PageBack { position: BackwardPosition::default(), oldest: None }
    }
}

impl StartReader {
    /// Begins for a new poller: the rows of the last `backlog_secs` seconds are to be delivered, or with `asks_ack` those
    /// that were not acknowledged.
    pub(super) fn new(backlog_secs: u64, asks_ack: bool) -> Self {
        StartReader {
            state: StartState::Newest,
            lost: None,
            backlog_secs,
            pages: 0,
            is_all_lost: false,
            asks_ack,
            acked: Vec::new(),
        }
    }

    /// Begins for a poller whose anchor the platform has pruned.
    pub(super) fn after_loss(lost: RowKey) -> Self {
        StartReader { state: StartState::BeforeLost(lost.clone()), lost: Some(lost), ..StartReader::new(0, false) }
    }

    /// Begins for a poller whose open anchor the platform has pruned. A row before it is one that was committed late.
    pub(super) fn after_open_loss() -> Self {
        StartReader { state: StartState::page_back(), ..StartReader::after_loss(RowKey::before_all()) }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, StartState::Found(_))
    }

    /// Logs that the platform has pruned the anchor and all rows before it. `absence` is the time for which nothing was
    /// listed.
    pub(super) fn log_loss(&self, cursor: &Cursor, absence: Absence) {
        let Some(lost) = self.lost.as_ref().filter(|_| self.is_all_lost) else { return };
        if matches!(cursor.anchor(), Some(Anchor::Pruned(_))) {
            return;
        }
        absence.log_pruned_anchor(lost);
    }

    /// Returns whether it has to be known up to where rows were acknowledged: there are rows, and they have numbers.
    pub(super) fn needs_ack(&self) -> bool {
        self.state == StartState::Numbered
    }

    /// Sets the `seq` up to which rows were acknowledged. `None` if there are none: then the backlog counts.
    pub(super) fn set_acked(&mut self, acked_seq: Option<i64>, late: Duration) {
        self.state =
            acked_seq.map_or_else(StartState::page_back, |seq| StartState::BackToAck(AckedStart::new(seq, late)));
    }

    /// Returns the rows that were found and were acknowledged before: they are handled.
    pub(super) fn take_acked(&mut self) -> Vec<RowKey> {
        mem::take(&mut self.acked)
    }

    /// Returns where the poller begins.
    pub(super) fn into_found(self) -> Start {
        if let StartState::Found(start) = self.state { start } else { Start::Empty }
    }

    /// Counts a request that failed.
    pub(super) fn note_failure(&mut self) {
        if let StartState::PageBack { position, .. } = &mut self.state {
            position.note_failure();
        }
    }

    /// Returns the request for the next page.
    pub(super) fn request(&self) -> PageRequest {
        let newest = |before, limit, detail| {
            let rows = RowsToList::Newest { before, secs: None };
            PageRequest { rows, limit: Some(limit), detail }
        };
        match &self.state {
            StartState::BeforeLost(lost) => {
                newest(Some(lost.up_to_its_time()), ROWS_AT_A_TIME, RowDetail::HeadOfAnyType)
            }
            StartState::BackToAck(start) => start.request(),
            StartState::Newest | StartState::Numbered | StartState::Found(_) => newest(None, 1, RowDetail::Head),
            StartState::PageBack { position, .. } => {
                let secs = self.lost.is_none().then_some(self.backlog_secs);
                let rows = RowsToList::Newest { before: position.before, secs };
                // The rows are not delivered from here.
                PageRequest { rows, limit: position.limit(), detail: RowDetail::Stored }
            }
            StartState::Recheck { oldest, .. } => {
                let before = oldest.as_ref().map(|oldest| oldest.at);
                let rows = RowsToList::Newest { before, secs: Some(self.backlog_secs) };
                PageRequest { rows, limit: Some(1), detail: RowDetail::Head }
            }
            StartState::Older { before, .. } => newest(*before, ROWS_AT_A_TIME, RowDetail::Head),
        }
    }

    /// Takes the page that [`request`](Self::request) asked for.
    pub(super) fn step(&mut self, page: &Page) {
        let mut keys = newest_first_keys(page);
        if keys.len() > page.rows.len() {
            // The first one is of a row that is too large.
            let large = self.place_unnumbered(keys.remove(0));
            keys.splice(..0, large);
        }
        self.is_all_lost |= matches!(self.state, StartState::BeforeLost(_)) && keys.is_empty();
        let is_empty = keys.is_empty() && matches!(page.end, PageEnd::Complete);
        self.pages += 1;
        if let StartState::BackToAck(start) = &mut self.state {
            // It takes the newest first.
            keys.reverse();
            let found = match start.step(page, keys) {
                AckedStep::Continue => return,
                AckedStep::Behind(row) => Start::Behind { row, is_older: false },
                AckedStep::Oldest(oldest) => oldest.map_or(Start::Empty, Start::At),
            };
            self.acked = start.take_acked();
            self.state = StartState::Found(found);
            return;
        }
        // Of a row that is too large to be read the number is not known.
        let is_numbered = matches!(page.end, PageEnd::LargeRow(_)) || keys.last().is_some_and(|row| row.seq > 0);
        self.state = match &self.state {
            StartState::BeforeLost(lost) => {
                let row = keys.into_iter().rfind(|key| !lost.is_before(key));
                row.map_or_else(StartState::page_back, |row| StartState::Found(Start::Behind { row, is_older: false }))
            }
            StartState::Newest if is_empty => StartState::Found(Start::Empty),
            StartState::Newest if self.asks_ack && is_numbered => StartState::Numbered,
            StartState::Newest => StartState::page_back(),
            StartState::PageBack { position, oldest } => self.page_back(position.clone(), oldest.clone(), keys, page),
            StartState::Older { oldest, before } => self.older(oldest.clone(), *before, keys, page),
            StartState::Recheck { oldest, .. } if !is_empty && self.pages < MAX_PAGES => StartState::PageBack {
                position: BackwardPosition::before(oldest.as_ref().map(|oldest| oldest.at)),
                oldest: oldest.clone(),
            },
            StartState::Recheck { older, .. } => {
                StartState::Found(Start::Behind { row: older.clone(), is_older: true })
            }
            state @ (StartState::Numbered | StartState::BackToAck(_) | StartState::Found(_)) => state.clone(),
        };
    }

    /// Returns the key for a row whose number is not known, or `None` where its place beside the lost row is not known.
    fn place_unnumbered(&self, key: RowKey) -> Option<RowKey> {
        match self.lost.as_ref().map(|lost| key.at.cmp(&lost.at)) {
            // All rows of its time are handled.
            Some(Ordering::Less) => Some(RowKey { seq: i64::MAX, ..key }),
            Some(Ordering::Equal) => None,
            Some(Ordering::Greater) | None => Some(key),
        }
    }

    /// Goes one page back, or ends the look back.
    fn page_back(
        &mut self,
        mut position: BackwardPosition,
        oldest: Option<RowKey>,
        keys: Vec<RowKey>,
        page: &Page,
    ) -> StartState {
        let is_new = |key: &RowKey| self.lost.as_ref().is_none_or(|lost| lost.is_before(key));
        if let Some(row) = keys.iter().rfind(|key| !is_new(key)) {
            return StartState::Found(Start::Behind { row: row.clone(), is_older: false });
        }
        let large_at = if let PageEnd::LargeRow(head) = &page.end { head.at } else { None };
        let of_page = keys.into_iter().next();
        let at = of_page.as_ref().map(|key| key.at).into_iter().chain(large_at).min();
        // The page is older than those before it. Rows of one time are in the platform's order.
        let oldest = match of_page {
            Some(row) if oldest.as_ref().is_none_or(|oldest| row.at <= oldest.at) => Some(row),
            _ => oldest,
        };
        let is_last = matches!(page.end, PageEnd::Complete) || self.pages >= MAX_PAGES;
        if !is_last && position.go_back(at, page.oldest_malformed, matches!(page.end, PageEnd::LargeRow(_))) {
            return StartState::PageBack { position, oldest };
        }
        match oldest {
            Some(oldest) if self.lost.is_some() => StartState::Found(Start::At(oldest)),
            None if self.lost.is_some() => StartState::Found(Start::Empty),
            // Without one, all rows are older than the backlog: the poller begins behind the newest.
            oldest => StartState::Older { before: oldest.as_ref().map(|oldest| oldest.at), oldest },
        }
    }

    /// Takes a page of the rows before those that are to be delivered.
    fn older(&self, oldest: Option<RowKey>, before: Option<Timestamp>, keys: Vec<RowKey>, page: &Page) -> StartState {
        // A platform that ignores the time lists the newest rows again.
        let is_older = |key: &RowKey| oldest.as_ref().is_none_or(|oldest| key.at < oldest.at);
        if let Some(older) = keys.into_iter().rfind(is_older) {
            return StartState::Recheck { oldest, older };
        }
        let next = page.oldest_malformed.filter(|at| before.is_none_or(|before| *at < before));
        match (next, &page.end) {
            (Some(next), PageEnd::Full) if self.pages < MAX_PAGES => StartState::Older { oldest, before: Some(next) },
            _ => StartState::Found(oldest.map_or(Start::Empty, Start::At)),
        }
    }
}
