//! Fetches pages of the activity feed, in smaller pieces where a page is too slow.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::{CancelToken, Registration};
use crate::error::{Error, ErrorKind, guard};
use crate::http::{Http, Pool};
use crate::platform::{ActivityPage, ListEnd, PageRequest, RowDetail, RowsToList, activity};
use crate::util::clock::Deadline;
use crate::wire::{LargeRows, MalformedRows, Row, RowHead, Timestamp};

/// Longest time for a page that comes at 64 KiB a second or faster: a row of 32 MiB takes 512 s.
const PAGE_TIME: Duration = Duration::from_secs(600);
/// Longest wait for the head of a page, which the server makes as a whole before it sends it. Longer than that only a page
/// is waited for that has one row, and only while the platform answers other requests.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for the head of such a page.
const MOST_PATIENCE: Duration = Duration::from_secs(30);
/// Longest silence in a page's body.
const SILENCE: Duration = Duration::from_secs(10);
/// The page size is divided by this after a page that was too slow or broke off.
const SHRINK: usize = 8;
/// The page size is multiplied by this after each page, up to the configured one.
const GROWTH: usize = 4;

/// Fetches one page at a time, over one connection.
pub(super) struct PageFetcher {
    http: Arc<Http>,
    token: CancelToken,
    connections: ShutdownPool,
    patient_connections: ShutdownPool,
    max_row: usize,
    /// True if each request runs on its own thread, so that a stop does not wait for it.
    is_detached: bool,
    page_size: PageSize,
}

/// A pool that is shut down when the poller is stopped.
struct ShutdownPool {
    pool: Pool,
    _hook: Registration,
}

/// A page that was fetched.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// Entries that are no rows.
    pub(super) malformed: MalformedRows,
    /// Fields of the rows that could not be read.
    pub(super) unreadable: MalformedRows,
    /// Oldest time of an entry that is no row.
    pub(super) oldest_malformed: Option<Timestamp>,
    pub(super) end: PageEnd,
}

/// How a page ended.
#[derive(Debug, Default)]
pub(super) enum PageEnd {
    /// No more rows follow.
    #[default]
    Complete,
    /// More rows may follow.
    Full,
    /// The next row is too large to be read.
    LargeRow(RowHead),
}

/// The outcome of a request for a page.
#[derive(Debug)]
pub(super) enum Fetched {
    Page(Page),
    /// The row that the page was to begin behind no longer exists.
    AnchorGone,
    /// The head of the first row came, and its body did not.
    Stalled(RowHead, Error),
}

impl PageFetcher {
    /// Makes a fetcher with its own connections. Cancelling `token` shuts them down.
    pub(super) fn new(http: &Arc<Http>, token: &CancelToken, page_size: usize, max_row: usize) -> Self {
        let pool = |patience| {
            let pool = http.long_pool(PAGE_TIME, patience, SILENCE);
            let on_stop = pool.clone();
            ShutdownPool { pool, _hook: token.register(move || on_stop.shut_down()) }
        };
        PageFetcher {
            connections: pool(PATIENCE),
            patient_connections: pool(MOST_PATIENCE),
            http: http.clone(),
            token: token.clone(),
            max_row,
            is_detached: false,
            page_size: PageSize::new(page_size),
        }
    }

    /// Makes each further request on its own thread, so that a stop of the poller does not wait for it.
    pub(super) fn detach_requests(&mut self) {
        self.is_detached = true;
    }

    /// Returns the number of rows that the next page has at most.
    pub(super) fn page_size(&self) -> usize {
        self.page_size.rows
    }

    /// Returns whether the platform answers a small request in 5 s.
    pub(super) fn is_answered(&self) -> bool {
        let rows = RowsToList::Newest { before: None, secs: None };
        let request = PageRequest { rows, limit: Some(1), detail: RowDetail::HeadOfAnyType };
        self.ask(&request, 1, &self.connections, &LargeRows::default()).is_ok()
    }

    /// Returns whether so little of the rate limit is left that the next request has to wait.
    pub(super) fn must_wait(&self) -> bool {
        !self.http.rate_limit().poll_wait().is_zero()
    }

    /// Returns the platform's URL, for log lines.
    pub(super) fn platform(&self) -> impl fmt::Display + '_ {
        self.http.platform()
    }

    /// Fetches one page.
    ///
    /// A page that came in part is a page of the rows that came. After a page without any, the next request has an eighth
    /// of the rows; after a success, four times as many. Where no head comes in 5 s, a smaller page is asked for at once,
    /// and one row is waited for up to 30 s, if the platform answers a small request in between. Else it is an outage. Where a
    /// first row stops before its id, it is asked for as it was stored.
    ///
    /// # Errors
    ///
    /// A failed request, and [`ErrorKind::Cancelled`] after a stop.
    pub(super) fn fetch(&mut self, request: &PageRequest, known_large: &LargeRows) -> Result<Fetched, Error> {
        let mut limit = request.limit.unwrap_or(self.page_size.rows);
        let mut outcome = self.ask(request, limit, &self.connections, known_large);
        while self.is_only_slow(&outcome) {
            if request.limit.is_some() || limit == 1 {
                outcome = self.ask(request, limit, &self.patient_connections, known_large);
                break;
            }
            self.page_size.shrink();
            limit = self.page_size.rows;
            outcome = self.ask(request, limit, &self.connections, known_large);
        }
        if request.detail == RowDetail::Full && is_stalled_before_an_id(&outcome) {
            let request = PageRequest { detail: RowDetail::Stored, ..request.clone() };
            limit = 1;
            outcome = self.ask(&request, limit, &self.patient_connections, known_large);
        }
        if self.token.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the poller was stopped"));
        }
        let fetched = outcome.and_then(|page| self.judge(page, limit));
        match &fetched {
            // They say nothing of the messages' pages.
            _ if request.detail == RowDetail::Broadcasts => {}
            Ok(Fetched::Page(Page { end: PageEnd::LargeRow(_), .. })) => self.page_size.rows = 1,
            Ok(Fetched::Page(_) | Fetched::AnchorGone) if request.limit.is_none() => self.page_size.grow(),
            Ok(Fetched::Page(_) | Fetched::AnchorGone) => {}
            Ok(Fetched::Stalled(..)) | Err(_) => self.page_size.shrink(),
        }
        fetched
    }

    /// Returns whether a request failed because no head came, although the platform answers.
    fn is_only_slow(&self, outcome: &Result<ActivityPage, Error>) -> bool {
        let is_silent = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout);
        is_silent && !self.token.is_cancelled() && self.is_answered()
    }

    fn ask(
        &self,
        request: &PageRequest,
        limit: usize,
        connections: &ShutdownPool,
        known_large: &LargeRows,
    ) -> Result<ActivityPage, Error> {
        let (http, pool, request) = (self.http.clone(), connections.pool.clone(), request.clone());
        let (known_large, max_row, deadline) = (known_large.clone(), self.max_row, Deadline::after(PAGE_TIME));
        let ask = move || activity(&http, &pool, &request, limit, max_row, &known_large, deadline);
        if self.is_detached {
            let stopped = || Err(Error::new(ErrorKind::Cancelled, "the poller was stopped"));
            self.token.run("a2a-inbox-get", ask).unwrap_or_else(stopped)
        } else {
            guard(ask)
        }
    }

    /// Says what a page is that was asked for with this limit.
    fn judge(&self, page: ActivityPage, limit: usize) -> Result<Fetched, Error> {
        let ActivityPage::Rows(rows, end) = page else { return Ok(Fetched::AnchorGone) };
        let entries = rows.rows.len() + rows.malformed.count;
        let end = match end {
            ListEnd::Complete if entries < limit => PageEnd::Complete,
            ListEnd::Complete | ListEnd::Full => PageEnd::Full,
            ListEnd::LargeRow(head) => PageEnd::LargeRow(head),
            // What came is as good as a page. The next request begins behind it, and finds out what is wrong.
            ListEnd::Broken(..) if entries > 0 => PageEnd::Full,
            ListEnd::Broken(error, Some(head)) if error.kind() == ErrorKind::Timeout && head.id.is_some() => {
                return Ok(Fetched::Stalled(head, error));
            }
            ListEnd::Broken(error, _) => return Err(error),
        };
        let (malformed, unreadable, oldest_malformed) = (rows.malformed, rows.unreadable, rows.oldest_malformed);
        Ok(Fetched::Page(Page { rows: rows.rows, malformed, unreadable, oldest_malformed, end }))
    }
}

/// Returns whether a page stopped in its first row before that one's id. What the platform adds to a row comes before the id,
/// and may be as long as the message.
fn is_stalled_before_an_id(outcome: &Result<ActivityPage, Error>) -> bool {
    let Ok(ActivityPage::Rows(rows, ListEnd::Broken(error, Some(head)))) = outcome else { return false };
    let is_first = rows.rows.is_empty() && rows.malformed.count == 0;
    is_first && head.id.is_none() && error.kind() == ErrorKind::Timeout
}

/// The number of rows per page: less than configured after pages that were too slow.
struct PageSize {
    /// Number of rows to ask for now.
    rows: usize,
    /// Configured number of rows.
    max: usize,
}

impl PageSize {
    /// Starts with the configured number of rows.
    fn new(max: usize) -> Self {
        PageSize { rows: max, max }
    }

    /// Divides the number by eight, down to one.
    fn shrink(&mut self) {
        self.rows = (self.rows / SHRINK).max(1);
    }

    /// Multiplies the number by four, up to the configured one.
    fn grow(&mut self) {
        self.rows = (self.rows * GROWTH).min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_size_shrinks_to_one_row_and_grows_back() {
        let mut size = PageSize::new(500);
        let shrunk = || {
            size.shrink();
            size.rows
        };
        assert_eq!(std::iter::repeat_with(shrunk).take(4).collect::<Vec<_>>(), [62, 7, 1, 1]);
        let grown = || {
            size.grow();
            size.rows
        };
        assert_eq!(std::iter::repeat_with(grown).take(6).collect::<Vec<_>>(), [4, 16, 64, 256, 500, 500]);
    }
}
