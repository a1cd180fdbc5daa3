//! Fetches pages of the activity feed, in smaller pieces where a page is too large or too slow.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::{CancelToken, Registration};
use crate::error::{Error, ErrorKind, guard};
use crate::http::{Http, Pool};
use crate::platform::{ActivityPage, PageRequest, activity};
use crate::util::clock::Deadline;

/// Fetches one page at a time, over one connection.
pub(super) struct PageFetcher {
    http: Arc<Http>,
    pool: Pool,
    token: CancelToken,
    /// Shuts the connection down when the poller is stopped.
    _hook: Registration,
    /// Time for one request.
    timeout: Duration,
    /// True if each request runs on its own thread, so that a stop does not wait for it.
    pub(super) detached: bool,
    pub(super) page_size: PageSize,
    /// True once the platform is known to answer `since_id`, or a page of two rows was too large. Until then at least
    /// two rows are asked for, since one row does not show in which order the platform lists.
    pub(super) accepts_single_rows: bool,
}

impl PageFetcher {
    /// Makes a fetcher with its own connection. Cancelling `token` shuts the connection down.
    pub(super) fn new(http: &Arc<Http>, token: &CancelToken, timeout: Duration, page_size: usize) -> Self {
        let pool = http.kept_alive_pool(timeout);
        let on_stop = pool.clone();
        PageFetcher {
            http: http.clone(),
            pool,
            _hook: token.register(move || on_stop.shut_down()),
            token: token.clone(),
            timeout,
            detached: false,
            page_size: PageSize::new(page_size),
            accepts_single_rows: false,
        }
    }

    /// Returns the platform's URL, for log lines.
    pub(super) fn platform(&self) -> impl fmt::Display + '_ {
        self.http.platform()
    }

    /// Fetches one page, and sets its `is_full`. Blocks for at most `timeout` per request.
    ///
    /// A page that is too large is requested again with a quarter of the rows, down to one row. A page that is too
    /// slow is an error, and the next call asks for a quarter of the rows. The page size stays reduced until the caller
    /// lets it [grow](PageSize::grow).
    ///
    /// # Errors
    ///
    /// A failed request; [`ErrorKind::TooLarge`] for a single row that is too large; [`ErrorKind::Cancelled`] after a
    /// stop.
    pub(super) fn fetch(&mut self, request: &PageRequest) -> Result<ActivityPage, Error> {
        loop {
            match self.fetch_once(request) {
                Err(error) if error.kind() == ErrorKind::TooLarge && self.shrink_page(request) => {}
                outcome => return outcome,
            }
        }
    }

    /// Makes one request for a page. After a timeout it shrinks the page size for the next request.
    fn fetch_once(&mut self, request: &PageRequest) -> Result<ActivityPage, Error> {
        let deadline = Deadline::after(self.timeout);
        let limit = self.rows_to_ask_for(request);
        let (http, pool, page) = (self.http.clone(), self.pool.clone(), request.clone());
        let ask = move || activity(&http, &pool, &page, limit, deadline);
        let stopped = || Error::new(ErrorKind::Cancelled, "the poller was stopped");
        let outcome = if self.detached {
            self.token.run("a2a-inbox-get", ask).unwrap_or_else(|| Err(stopped()))
        } else {
            guard(ask)
        };
        match &outcome {
            Err(_) if self.token.is_cancelled() => return Err(stopped()),
            Err(error) if error.kind() == ErrorKind::Timeout => {
                self.shrink_page(request);
            }
            _ => {}
        }
        outcome.map(|page| match page {
            ActivityPage::Rows(mut page, bytes) => {
                page.is_full = page.rows.len() + page.malformed.count >= limit;
                ActivityPage::Rows(page, bytes)
            }
            ActivityPage::AnchorGone => ActivityPage::AnchorGone,
        })
    }

    /// Quarters the page size after a page that was too large or too slow. Returns whether `request` now asks for fewer
    /// rows than before.
    ///
    /// After a page of two rows that was too large, single rows are asked for, even though they show no order.
    fn shrink_page(&mut self, request: &PageRequest) -> bool {
        let before = self.rows_to_ask_for(request);
        self.page_size.shrink();
        self.accepts_single_rows |= before == 2;
        self.rows_to_ask_for(request) < before
    }

    /// Returns the number of rows to ask for: the page size, but at least two after `since_id` until single rows are
    /// accepted.
    fn rows_to_ask_for(&self, request: &PageRequest) -> usize {
        let least = if matches!(request, PageRequest::After(_)) && !self.accepts_single_rows { 2 } else { 1 };
        self.page_size.rows.max(least)
    }
}

/// The number of rows per page: less than configured after pages that were too large or too slow.
pub(super) struct PageSize {
    /// Number of rows to ask for now.
    pub(super) rows: usize,
    /// Configured number of rows.
    max: usize,
}

impl PageSize {
    /// Starts with the configured number of rows.
    fn new(max: usize) -> Self {
        PageSize { rows: max, max }
    }

    /// Divides the number by four, down to one. In few steps, since each oversized page may be 32 MiB.
    fn shrink(&mut self) {
        self.rows = (self.rows / 4).max(1);
    }

    /// Adds a quarter, up to the configured number. In small steps, since each may make a page too large again.
    pub(super) fn grow(&mut self) {
        self.rows = (self.rows + self.rows / 4 + 1).min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_size_is_quartered_down_to_one_row_and_grows_back_by_a_quarter() {
        let mut size = PageSize::new(100);
        let quartered = || {
            size.shrink();
            size.rows
        };
        let quarters: Vec<usize> = std::iter::repeat_with(quartered).take(5).collect();
        assert_eq!(quarters, [25, 6, 1, 1, 1]);
        let grown = || {
            size.grow();
            size.rows
        };
        let back: Vec<usize> = std::iter::repeat_with(grown).take(17).collect();
        assert_eq!(back, [2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 37, 47, 59, 74, 93, 100, 100]);
    }
}
