//! Lists the rows that are next in the feed.
//!
//! Normally it asks for the rows after the cursor's anchor (`since_id`), oldest first. It looks back by time, newest
//! first, where there is no anchor yet, the platform pruned the anchor, or the platform is too old to know `since_id`.

mod fetcher;
mod look_back;

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::http::Http;
use crate::inbox::feed::batch::{Batch, Coverage, ListedRow, RowKey};
use crate::inbox::feed::cursor::{Cursor, LATE, MAX_AHEAD};
use crate::platform::{ActivityPage, PageRequest};
use crate::util::clock::{CoarseInstant, wall_nanos};
use crate::util::log_safe::log_safe;
use crate::util::text::Untrusted;
use crate::wire::{ActivityRows, MalformedRows, Row, Timestamp};
use fetcher::PageFetcher;
use look_back::LookBack;

/// Number of full pages in a row without an unacked row after which the poller pauses for its interval.
const MAX_PAGES_WITHOUT_NEWS: usize = 256;

/// Lists the rows that are next, batch by batch.
#[expect(clippy::struct_excessive_bools, reason = "facts about the platform, and warnings that are logged once")]
pub(in crate::inbox) struct Lister {
    fetcher: PageFetcher,
    /// Age of the oldest row that is listed where the cursor has neither an anchor nor a floor, as of `started`.
    backlog: Duration,
    /// When the lister was made. The backlog reaches back from here, however long the platform is down.
    started: CoarseInstant,
    /// True until an answer shows that the platform ignores `since_id`.
    knows_since_id: bool,
    /// True if the last look back left rows to `since_id` and brought nothing to deliver, and no listing by `since_id`
    /// succeeded since. The next look back then leaves none.
    is_look_back_futile: bool,
    /// `None` while the next listing begins at the anchor.
    look_ahead: Option<LookAhead>,
    /// Number of listings by `since_id` in a row that had no unacked row.
    pages_without_news: usize,
    /// True once it was logged that a row's time is far ahead of our clock.
    has_warned_of_future: bool,
    /// True once it was logged that a row has no own time.
    has_warned_of_no_time: bool,
    newest: NewestTime,
}

/// A listing from behind rows that are acked, but that the anchor cannot move over yet: late rows may come among them.
struct LookAhead {
    /// Row that the next listing begins after.
    after: RowKey,
    /// Newest time of the page that the look-ahead began behind. Once the feed is complete up to it, the look-ahead
    /// ends, and the rows after the anchor are listed again.
    until: Timestamp,
    /// Time up to which the feed was complete when the rows that are passed over were listed. Up to it the anchor may
    /// move over them to the rows behind them.
    ///
    /// Only set if none of them has its own time: the anchor can never stand among them, and would never move again.
    contiguous_until: Option<Timestamp>,
}

impl Lister {
    /// Makes a lister. `timeout` is the time for each request, `page_size` the number of rows of a page, and `backlog`
    /// the age of the oldest row on the first start. Cancelling `token` ends a request in progress.
    pub(in crate::inbox) fn new(
        http: &Arc<Http>,
        token: &CancelToken,
        timeout: Duration,
        page_size: usize,
        backlog: Duration,
    ) -> Self {
        Lister {
            fetcher: PageFetcher::new(http, token, timeout, page_size),
            backlog,
            started: CoarseInstant::now(),
            knows_since_id: true,
            is_look_back_futile: false,
            look_ahead: None,
            pages_without_news: 0,
            has_warned_of_future: false,
            has_warned_of_no_time: false,
            newest: NewestTime::default(),
        }
    }

    /// Makes each further request on its own thread, so that a stop of the poller does not wait for it.
    pub(in crate::inbox) fn detach_requests(&mut self) {
        self.fetcher.detached = true;
    }

    /// Lists the next batch: one page after the anchor, or as many pages back by time as a look back takes.
    ///
    /// Records in `cursor` which times were listed, and, after a look back, a new anchor or that the old one is gone.
    /// Acks nothing, and leaves acked rows in the batch. After a success, a page size that was reduced grows again.
    ///
    /// # Errors
    ///
    /// A failed request, and [`ErrorKind::Cancelled`] after a stop. Also after an error the next call may begin
    /// elsewhere.
    pub(in crate::inbox) fn next_batch(&mut self, cursor: &mut Cursor) -> Result<Batch, Error> {
        let batch = self.list(cursor)?;
        // Not after each page: a look back whose pages grow until one is too slow would never end.
        self.fetcher.page_size.grow();
        Ok(batch)
    }

    /// Lists one page by `since_id`, after the look-ahead's row or else the anchor. If that is not possible, looks
    /// back.
    ///
    /// If the look-ahead's row is gone, it tries the anchor. If the anchor is gone, or a full page has only malformed
    /// entries, it looks back. If an answer shows that the platform does not know `since_id`, it logs a warning, and
    /// looks back from then on.
    fn list(&mut self, cursor: &mut Cursor) -> Result<Batch, Error> {
        while self.knows_since_id {
            let ahead = self.look_ahead.as_ref().map(|ahead| &ahead.after);
            let Some(after) = ahead.or(cursor.anchor.as_ref()).cloned() else { break };
            match self.fetcher.fetch(&PageRequest::After(after.id.to_string()))? {
                // No row of it can be listed after, so that the next page from here would be the same.
                ActivityPage::Rows(page, _) if page.is_full && page.rows.is_empty() => {
                    self.look_ahead = None;
                    return self.look_back(cursor, LookBackCause::MalformedPage);
                }
                ActivityPage::Rows(page, _) if answers_since_id(&page, &after) => {
                    let mut times = page.rows.iter().filter_map(|row| row.at);
                    let is_oldest_first = times.next().zip(times.next_back()).is_some_and(|(first, last)| first < last);
                    self.fetcher.accepts_single_rows |= is_oldest_first;
                    self.is_look_back_futile = false;
                    return Ok(self.batch_by_since_id(page, cursor));
                }
                ActivityPage::Rows(..) => {
                    let platform = self.fetcher.platform();
                    log_safe!(warn, "inbox: {platform} does not know since_id; paging back by time from now on");
                    self.knows_since_id = false;
                    self.look_ahead = None;
                }
                // The row that the look-ahead begins after may be pruned before the anchor is: try the anchor.
                ActivityPage::AnchorGone if self.look_ahead.take().is_some() => {}
                ActivityPage::AnchorGone => return self.look_back(cursor, LookBackCause::AnchorGone),
            }
        }
        self.look_back(cursor, LookBackCause::NoAnchor)
    }

    /// Makes a batch of a page that was listed by `since_id`, and decides where the next listing begins.
    ///
    /// The batch is contiguous if the page was listed from the anchor, or the anchor may move over what lies between.
    fn batch_by_since_id(&mut self, page: ActivityRows, cursor: &mut Cursor) -> Batch {
        let ActivityRows { rows, malformed, unreadable, is_full, .. } = page;
        let last = rows.last().map(|row| row.id.clone());
        let contiguous_until = self.look_ahead.as_ref().and_then(|ahead| ahead.contiguous_until);
        let contiguous = self.look_ahead.is_none() || contiguous_until.is_some();
        let coverage =
            Coverage { contiguous, has_more: is_full, is_settled: false, by_since_id: true, contiguous_until };
        let batch = Batch { malformed, unreadable, ..self.make_batch(rows, coverage, cursor) };
        self.plan_next_listing(batch, last, cursor)
    }

    /// Pages back by time to the floor or the anchor's time, or to the backlog's age where there is neither.
    ///
    /// Of a long way back the batch has the oldest rows; the newer ones are listed again from there on. If
    /// there is no anchor or it is gone, the newest row below the floor becomes the cursor's anchor. If it is gone and
    /// there is no such row, the cursor has no anchor.
    ///
    /// If more rows have the same time than a page takes, some cannot be listed by time. The rows after that time are
    /// then left to a listing by `since_id`, with three exceptions, where a gap is logged instead:
    ///
    /// - The platform does not know `since_id`.
    /// - A page of malformed entries led here. A listing after a row before that page would lead here again.
    /// - The last look back left rows in vain.
    fn look_back(&mut self, cursor: &mut Cursor, cause: LookBackCause) -> Result<Batch, Error> {
        let anchor_gone = cause == LookBackCause::AnchorGone;
        let floor = cursor.floor.max(cursor.anchor.as_ref().map(|anchor| anchor.at));
        let backlog = self.backlog.saturating_add(CoarseInstant::now().since(self.started));
        let since_secs = floor.is_none().then(|| backlog.as_secs().max(1));
        let may_leave_rows = self.knows_since_id && cause != LookBackCause::MalformedPage && !self.is_look_back_futile;
        let mut look_back = LookBack::new(floor, since_secs, may_leave_rows);
        loop {
            let ActivityPage::Rows(page, bytes) = self.fetcher.fetch(&look_back.request())? else {
                return Err(Error::new(ErrorKind::Status, "answered 410 to a look back by time"));
            };
            if look_back.add_page(page, bytes, cursor, latest_trusted_time()).is_break() {
                break;
            }
        }
        let found = look_back.finish(anchor_gone);
        self.is_look_back_futile = found.is_futile;
        match found.below_floor {
            Some(key) if anchor_gone || cursor.anchor.is_none() => cursor.set_anchor(key),
            None if anchor_gone => cursor.drop_anchor(),
            _ => {}
        }
        let has_more = found.has_more;
        let coverage =
            Coverage { contiguous: true, has_more, is_settled: false, by_since_id: false, contiguous_until: None };
        let (malformed, unreadable) = (found.malformed, found.unreadable);
        let batch = Batch { malformed, unreadable, ..self.make_batch(found.rows, coverage, cursor) };
        let last = batch.listed.last().map(|row| row.key.clone()).filter(|_| has_more && self.knows_since_id);
        // If no row has its own time, the anchor cannot stand at any of them: the look-ahead goes on to the end.
        let has_times = batch.listed.iter().any(|row| row.has_own_time);
        self.look_ahead = last.map(|last| LookAhead {
            until: if has_times { last.at } else { Timestamp::LATEST },
            after: last,
            contiguous_until: None,
        });
        Ok(batch)
    }

    /// Makes a batch: sorts the rows by time, drops rows whose id came before, and records in `cursor` what was listed.
    ///
    /// A row without its own time gets that of the row before it. Acked rows stay in the batch. Warns once of a row far
    /// ahead of our clock, and once of a row without its own time. The batch is settled if more rows follow it and the
    /// newest known time has not changed for 10 s.
    fn make_batch(&mut self, rows: Vec<Row>, mut coverage: Coverage, cursor: &mut Cursor) -> Batch {
        let start = cursor.anchor.as_ref().map(|anchor| anchor.at).or(cursor.floor);
        let mut at = start.or_else(|| rows.iter().find_map(|row| row.at)).unwrap_or(Timestamp::EARLIEST);
        let mut all: Vec<(ListedRow, Row)> = rows
            .into_iter()
            .map(|row| {
                at = row.at.unwrap_or(at);
                let key = RowKey { at, id: row.id.as_str().into() };
                (ListedRow { key, has_own_time: row.at.is_some() }, row)
            })
            .collect();
        all.sort_by_key(|(listed, _)| listed.key.at);
        let mut ids = HashSet::new();
        all.retain(|(listed, _)| ids.insert(listed.key.id.clone()));
        let (listed, rows): (Vec<ListedRow>, Vec<Row>) = all.into_iter().unzip();
        let too_far = cursor.record_listed(&listed, latest_trusted_time());
        if let Some(at) = too_far.filter(|_| !mem::replace(&mut self.has_warned_of_future, true)) {
            log_safe!(warn, "inbox: a row's time, {at}, is far ahead of this machine's clock; one of them is wrong");
        }
        let without_time = listed.iter().find(|row| !row.has_own_time);
        if let Some(row) = without_time.filter(|_| !mem::replace(&mut self.has_warned_of_no_time, true)) {
            let id = Untrusted::new(&row.key.id);
            log_safe!(warn, "inbox: row {id} has no time of its own: it counts as of where it is listed");
        }
        // More than a page of rows came within `LATE`, and nothing since. The rows do not tell that time has passed,
        // so our clock has to.
        let unchanged = self.newest.unchanged_for(cursor.newest(), CoarseInstant::now());
        coverage.is_settled = unchanged >= 2 * LATE && coverage.has_more;
        Batch { rows, listed, coverage, malformed: MalformedRows::default(), unreadable: MalformedRows::default() }
    }

    /// Decides where the listing after a batch by `since_id` begins: at the anchor, or ahead of it.
    ///
    /// Sets `look_ahead`, and counts the listings without an unacked row. `last` is the id of the last row in the
    /// platform's order. Returns the batch unchanged, unless nothing can be listed after it: then it has no more.
    fn plan_next_listing(&mut self, mut batch: Batch, last: Option<String>, cursor: &Cursor) -> Batch {
        let coverage = batch.coverage;
        let has_news = batch.listed.iter().any(|row| !cursor.is_acked(&row.key.id));
        self.pages_without_news = if has_news { 0 } else { self.pages_without_news + 1 };
        let last = last.and_then(|last| batch.listed.iter().find(|row| *row.key.id == *last));
        let (Some(last), true) = (last.map(|row| row.key.clone()), coverage.has_more) else {
            self.look_ahead = None;
            batch.coverage.has_more = false;
            return batch;
        };
        let complete = cursor.complete_until();
        let end = batch.listed.last().map_or(Timestamp::LATEST, |row| row.key.at);
        // The anchor can only stand at a row with its own time.
        let own_times = batch.listed.iter().filter(|row| row.has_own_time).map(|row| row.key.at);
        let own_times: Vec<Timestamp> = own_times.collect();
        let anchor_moves = own_times.iter().any(|at| cursor.is_complete_at(*at, coverage));
        // Without such a row the same page would be listed again and again: the look-ahead goes on to the end.
        let (until, contiguous_until) = if own_times.is_empty() { (Timestamp::LATEST, complete) } else { (end, None) };
        self.look_ahead = match self.look_ahead.take() {
            // The anchor moves into this page, and the next listing begins there.
            None if anchor_moves => None,
            None => Some(LookAhead { after: last, until, contiguous_until }),
            Some(ahead) if ahead.contiguous_until.is_some() && anchor_moves => None,
            Some(ahead) if complete.is_some_and(|complete| ahead.until <= complete) => None,
            Some(ahead) => Some(LookAhead { after: last, ..ahead }),
        };
        batch
    }

    /// Records that the poller left rows of the last batch undelivered: the anchor must not move over them to the rows
    /// that the look-ahead lists. The look-ahead itself goes on.
    pub(in crate::inbox) fn note_undelivered_rows(&mut self) {
        if let Some(ahead) = &mut self.look_ahead {
            ahead.contiguous_until = None;
        }
    }

    /// Begins the next listing at the anchor, since rows of the last batch were left undelivered.
    pub(in crate::inbox) fn restart(&mut self) {
        self.look_ahead = None;
    }

    /// Returns whether to list again at once: more rows follow the batch, and not the last 256 listings were all
    /// without an unacked row.
    pub(in crate::inbox) fn should_list_again(&self, coverage: Coverage) -> bool {
        coverage.has_more && self.pages_without_news < MAX_PAGES_WITHOUT_NEWS
    }
}

/// Why a look back is made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum LookBackCause {
    /// There is no row to list after, or the platform does not know `since_id`.
    NoAnchor,
    /// The platform pruned the cursor's anchor.
    AnchorGone,
    /// A full page after the anchor has only malformed entries.
    MalformedPage,
}

/// Tracks since when the newest known time has been the same.
#[derive(Default)]
struct NewestTime(Option<(Timestamp, CoarseInstant)>);

impl NewestTime {
    /// Records `newest`, and returns for how long it has been the same, as of `now`: zero if it is new or `None`.
    fn unchanged_for(&mut self, newest: Option<Timestamp>, now: CoarseInstant) -> Duration {
        match (self.0, newest) {
            (Some((known, since)), Some(newest)) if known == newest => now.since(since),
            _ => {
                self.0 = newest.map(|newest| (newest, now));
                Duration::ZERO
            }
        }
    }
}

/// Returns the latest time of a row that is trusted to tell the time on the platform: 10 minutes ahead of our clock.
fn latest_trusted_time() -> Timestamp {
    wall_nanos().map_or(Timestamp::LATEST, |now| Timestamp::from_nanos(now).plus(MAX_AHEAD))
}

/// Returns whether a page answers a request for the rows after `after`: it is oldest first, and has neither that row
/// nor an older one.
///
/// A platform that does not know `since_id` ignores it, and lists the newest rows, newest first.
fn answers_since_id(page: &ActivityRows, after: &RowKey) -> bool {
    let times: Vec<Timestamp> = page.rows.iter().filter_map(|row| row.at).collect();
    let newest_first = times.first() > times.last();
    !newest_first && page.rows.iter().all(|row| *row.id != *after.id && row.at.is_none_or(|at| at >= after.at))
}

#[cfg(test)]
mod tests;
