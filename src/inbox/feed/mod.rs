//! The activity feed: which rows are next.
//!
//! The platform commits rows late, and lists a late one before rows that were listed earlier. So there are two readers, which
//! share the rows that they know: the head asks for what is new, and the tail lists everything behind the anchor again,
//! until it is settled. See [`cursor`] for the anchor and the known rows.

mod absence;
mod ack_call;
mod ack_progress;
mod acked_start;
mod backward;
mod batch;
mod begin;
mod broadcasts;
mod by_time;
pub(crate) mod cursor;
mod fetcher;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod judge;
mod lower;
mod malformed_log;
#[cfg(any(test, fuzzing))]
mod memory;
mod position;
#[cfg(test)]
mod pruned_tests;
mod range;
mod reader;
#[cfg(test)]
mod reader_tests;
mod reorder_buffer;
mod since_id;
mod start;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use crate::cancel::CancelToken;
use crate::error::Error;
use crate::http::Http;
use crate::platform::{PageRequest, RowDetail};
use crate::util::clock::{CoarseInstant, wall_nanos};
use crate::util::log_safe::log_safe;
use crate::wire::{MalformedRows, Row, Timestamp};
use absence::Absence;
pub(super) use ack_call::AckCall;
use ack_call::AckQuestion;
use batch::PageNews;
pub(super) use batch::{Batch, FeedSettings, UnreadRow};
use broadcasts::{BroadcastTimes, Broadcasts};
use cursor::Cursor;
use fetcher::{Fetched, PageFetcher};
use malformed_log::ListedEntries;
pub(super) use malformed_log::MalformedLog;
pub(super) use position::RowKey;
use reader::{Reader, ReaderEnd, ReaderStep};
use since_id::SinceIdSupport;
pub(super) use window::RowState;

/// Lists the rows that are next, page by page.
pub(super) struct Feed {
    fetcher: PageFetcher,
    settings: FeedSettings,
    since_id: SinceIdSupport,
    /// The listing under way, or `None` between two.
    reader: Option<Reader>,
    /// The newest row that the head has listed, or the anchor.
    newest: Option<RowKey>,
    /// When the tail last began. `None` before the first time.
    last_tail: Option<CoarseInstant>,
    /// When rows behind a known one were last listed.
    last_listed: Option<CoarseInstant>,
    /// `None` where nothing is acknowledged.
    ack_question: Option<AckQuestion>,
    /// When the feed was made. The backlog reaches back from here, however long the platform is down.
    started: CoarseInstant,
    /// True if the last listing stopped because little of the rate limit is left.
    is_waiting: bool,
    /// The entries that are no rows and were listed.
    listed_entries: ListedEntries,
    broadcasts: Broadcasts,
    /// Number of rows that the platform listed and then did not know, since a listing behind a row was last whole.
    lost_rows: u32,
}

/// Number of pages in a row without a new row after which the poller pauses for its interval.
const MAX_PAGES_WITHOUT_NEWS: usize = 256;

impl Feed {
    /// Makes a feed. Cancelling `token` ends a request in progress.
    pub(super) fn new(http: &Arc<Http>, token: &CancelToken, settings: FeedSettings) -> Self {
        Feed {
            fetcher: PageFetcher::new(http, token, settings.page_size, settings.max_row),
            settings,
            since_id: SinceIdSupport::Unknown,
            reader: None,
            newest: None,
            last_tail: None,
            last_listed: None,
            ack_question: settings.acks.then(|| AckQuestion::new(http, token)),
            started: CoarseInstant::now(),
            is_waiting: false,
            listed_entries: ListedEntries::default(),
            broadcasts: Broadcasts::default(),
            lost_rows: 0,
        }
    }

    /// Makes each further request on its own thread, so that a stop of the poller does not wait for it.
    pub(super) fn detach_requests(&mut self) {
        self.fetcher.detach_requests();
    }

    /// Fetches pages until one has something new. The rows are to be given to [`Cursor::list`] one by one, and then
    /// [`end_page`](Self::end_page) is to be called, or [`abandon`](Self::abandon) where some are left.
    ///
    /// `None` if nothing is new: the feed was listed to its end, 256 pages in a row had nothing new, or so little of the rate
    /// limit is left that the next page has to wait ([`is_waiting`](Self::is_waiting)).
    ///
    /// # Errors
    ///
    /// A failed request, and [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) after a stop. The next call goes on where this one began.
    pub(super) fn next_page(&mut self, cursor: &mut Cursor, now: CoarseInstant) -> Result<Option<Batch>, Error> {
        self.is_waiting = false;
        for requests in 0..MAX_PAGES_WITHOUT_NEWS {
            if requests > 0 && self.fetcher.must_wait() {
                self.is_waiting = true;
                return Ok(None);
            }
            self.ask_what_was_acked()?;
            let request = self.next_request(cursor, now);
            let fetched = self.fetcher.fetch(&request, cursor.large_rows());
            if let (Err(_), Some(reader)) = (&fetched, &mut self.reader) {
                reader.note_failure();
            }
            match self.take(fetched?, &request, cursor, now)? {
                PageNews::New(batch) => return Ok(Some(batch)),
                PageNews::NotYet => {}
                PageNews::NothingMore => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Returns whether the last listing stopped because little of the rate limit is left. It goes on with the next poll.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Returns whether so little of the rate limit is left that the next request has to wait.
    pub(super) fn must_wait(&self) -> bool {
        self.fetcher.must_wait()
    }

    /// Asks up to where rows were acknowledged, if that decides where the poller begins.
    fn ask_what_was_acked(&mut self) -> Result<(), Error> {
        if let Some(Reader::Start(start)) = self.reader.as_mut().filter(|reader| reader.needs_ack()) {
            let acked = self.ack_question.as_mut().map_or(Ok(None), AckQuestion::ask)?;
            start.set_acked(acked, self.settings.late);
        }
        Ok(())
    }

    /// Returns the request for the next page of the listing under way. Begins one if there is none.
    fn next_request(&mut self, cursor: &mut Cursor, now: CoarseInstant) -> PageRequest {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.begin(cursor, now),
        };
        let mut request = reader.request(cursor);
        // One row does not show in which order the platform lists. A platform that numbers its rows knows `since_id`.
        if reader.listed_behind().is_some_and(|behind| behind.seq == 0) && self.since_id == SinceIdSupport::Unknown {
            request.limit = Some(request.limit.unwrap_or(self.fetcher.page_size()).max(2));
        }
        self.reader = Some(reader);
        request
    }

    /// Takes what [`next_request`](Self::next_request) asked for.
    fn take(
        &mut self,
        fetched: Fetched,
        request: &PageRequest,
        cursor: &mut Cursor,
        now: CoarseInstant,
    ) -> Result<PageNews, Error> {
        let Some(mut reader) = self.reader.take() else { return Ok(PageNews::NotYet) };
        let (mut page, reason) = match self.judge(fetched, reader.listed_behind(), cursor, now) {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(PageNews::NotYet),
            Err(error) => {
                self.reader = Some(reader);
                return Err(error);
            }
        };
        // Rows of which only the head was asked for come again, as other texts.
        if !matches!(request.detail, RowDetail::Full | RowDetail::Stored) {
            page.malformed = MalformedRows::default();
        }
        page.malformed.retain_entries(|hash| self.listed_entries.insert(hash));
        let (step, batch) = reader.step(page, reason, cursor);
        self.reader = Some(match step {
            ReaderStep::Taken => reader,
            ReaderStep::Unreadable => {
                cursor.restore_anchor_row(now);
                self.whole_by_time(cursor, now)
            }
        });
        Ok(if !batch.is_empty() {
            PageNews::New(batch)
        } else if self.end_page(cursor, now) {
            PageNews::NotYet
        } else {
            PageNews::NothingMore
        })
    }

    /// Returns the number of rows that a page has, as it was set.
    pub(super) fn page_size(&self) -> usize {
        self.settings.page_size
    }

    /// Returns the bytes of the largest row that is read.
    pub(super) fn max_row(&self) -> usize {
        self.settings.max_row
    }

    /// Ends a page whose rows were all delivered. Returns whether there may be more rows: list again at once.
    pub(super) fn end_page(&mut self, cursor: &mut Cursor, now: CoarseInstant) -> bool {
        let Some(mut reader) = self.reader.take_if(|reader| reader.is_done()) else { return self.reader.is_some() };
        if let Reader::Start(start) = &mut reader {
            for row in start.take_acked() {
                cursor.list(&row, 0, now);
                cursor.handle(&row, None);
            }
        }
        let was_head = matches!(reader, Reader::Head(_));
        if reader.listed_behind().is_some() {
            self.lost_rows = 0;
        }
        if let Reader::Start(start) = &reader {
            let wall = wall_nanos().map(Timestamp::from_nanos);
            start.log_loss(cursor, Absence::of(self.last_listed, now, cursor.last_listed(), wall));
        }
        match reader.finish(cursor) {
            ReaderEnd::Nothing => return false,
            ReaderEnd::Started { newest, skips_older } => {
                if skips_older {
                    let secs = self.settings.backlog.as_secs();
                    log_safe!(
                        info,
                        "inbox: messages older than {secs} s are not delivered: PollerBuilder::backlog sets how far back the \
                         first start goes"
                    );
                }
                self.newest = newest;
                return true;
            }
            ReaderEnd::Listed { newest } => self.newest = self.newest.take().max(Some(newest)),
            ReaderEnd::ByTime { has_dropped } => return has_dropped,
            ReaderEnd::Next(reader) => self.reader = Some(reader),
        }
        !was_head || self.is_tail_due(cursor, now)
    }

    /// Gives up the listing under way, some of whose rows were not delivered. The next one begins before them.
    pub(super) fn abandon(&mut self) {
        self.reader = None;
    }

    /// Returns whether the cursor has room for one more row. A row that is settled as soon as it is handled needs none.
    pub(super) fn has_room_for(&self, row: &RowKey, cursor: &Cursor) -> bool {
        !cursor.is_full() || self.reader.as_ref().is_some_and(|reader| reader.settles(row))
    }

    /// Gives up the listing under way before a row for which the cursor has no room. What is settled is forgotten, which makes
    /// room.
    pub(super) fn abandon_full(&mut self, cursor: &mut Cursor) {
        if let Some(reader) = self.reader.take() {
            reader.settle(cursor);
        }
    }

    /// Lists the broadcasts, where that is due. Returns the new ones, oldest first: each is to be
    /// [handled](Self::broadcast_handled), or all are [abandoned](Self::abandon_broadcasts).
    ///
    /// # Errors
    ///
    /// A failed request. Broadcasts are listed again after a minute then.
    pub(super) fn next_broadcasts(
        &mut self,
        cursor: &mut Cursor,
        now: CoarseInstant,
    ) -> Result<Vec<(RowKey, Row)>, Error> {
        let times = BroadcastTimes { now, late: self.settings.late, backlog_secs: self.backlog_secs(now) };
        self.broadcasts.next(&mut self.fetcher, cursor, times)
    }

    /// Returns whether broadcasts were not listed for a minute.
    pub(super) fn are_broadcasts_overdue(&self, now: CoarseInstant) -> bool {
        self.broadcasts.are_overdue(self.started, now)
    }

    /// Records that a broadcast was handled.
    pub(super) fn broadcast_handled(&mut self, id: &str) {
        self.broadcasts.handled(id);
    }

    /// Forgets broadcasts that were listed and not handled, so that the next poll lists them again.
    pub(super) fn abandon_broadcasts(&mut self) {
        self.broadcasts.abandon();
    }
}
