//! Which rows come next: by the anchor where the platform knows `since_id`, and by time where there is no anchor,
//! its row is gone, or the platform is too old to know it.

mod look_back;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::{CancelToken, Registration};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, Pool};
use crate::inbox::feed::cursor::{AHEAD, Cursor, Extent, LATE, RowKey, Seen};
use crate::inbox::feed::newest::Newest;
use crate::inbox::feed::page_size::Limit;
use crate::platform::{ActivityPage, Position, activity};
use crate::util::clock::{CoarseInstant, Deadline, wall_nanos};
use crate::util::log_safe::log_safe;
use crate::wire::{Listed, MalformedRows, Row, Timestamp};

/// How many full pages without a new row are asked for before there is a pause.
const MAX_BARREN: usize = 256;

/// Rows to be delivered, the oldest first.
pub(in crate::inbox) struct Batch {
    pub(in crate::inbox) rows: Vec<Row>,
    pub(in crate::inbox) seen: Vec<Seen>,
    pub(in crate::inbox) extent: Extent,
    /// Entries that are no rows, and fields that cannot be read.
    pub(in crate::inbox) odd: MalformedRows,
    pub(in crate::inbox) unread: MalformedRows,
}

pub(in crate::inbox) struct Lister {
    http: Arc<Http>,
    wire: Pool,
    token: CancelToken,
    _hook: Registration,
    timeout: Duration,
    /// Whether each request is made on a thread of its own, so that nobody waits for it after a stop.
    pub(in crate::inbox) detached: bool,
    backlog: Duration,
    /// When it began: how far back the backlog goes does not change while nothing can be had of it.
    start: CoarseInstant,
    limit: Limit,
    knows_since_id: bool,
    /// Whether an answer showed that it does: no old platform's is the oldest first.
    is_proven: bool,
    /// Whether the last look back left what is new to `since_id`, and nothing came of that yet.
    futile: bool,
    ahead: Option<Ahead>,
    barren: usize,
    /// Whether it was said that a row is far ahead of our clock.
    told_ahead: bool,
    /// Whether it was said that a row has no time of its own.
    told_untimed: bool,
    newest: Newest,
}

/// A look past rows that are through, but not complete yet, so that the anchor cannot move over them.
struct Ahead {
    after: RowKey,
    /// The newest time among those rows. When it is complete, they are listed again.
    first_end: Timestamp,
    /// Where none of them has a time of its own, so that the anchor cannot come to stand among them: what was complete when
    /// they were listed. Up to there it moves over them to what follows.
    bridge: Option<Timestamp>,
}

impl Lister {
    pub(in crate::inbox) fn new(
        http: &Arc<Http>,
        token: &CancelToken,
        timeout: Duration,
        page: usize,
        backlog: Duration,
    ) -> Self {
        let wire = http.kept_alive_pool(timeout);
        let on_stop = wire.clone();
        Lister {
            http: http.clone(),
            wire,
            _hook: token.register(move || on_stop.shut_down()),
            token: token.clone(),
            timeout,
            detached: false,
            backlog,
            start: CoarseInstant::now(),
            limit: Limit::new(page),
            knows_since_id: true,
            is_proven: false,
            futile: false,
            ahead: None,
            barren: 0,
            told_ahead: false,
            told_untimed: false,
            newest: Newest::default(),
        }
    }

    /// The next rows.
    ///
    /// # Errors
    ///
    /// A failed poll; [`ErrorKind::Cancelled`] after a stop.
    pub(in crate::inbox) fn list(&mut self, cursor: &mut Cursor) -> Result<Batch, Error> {
        let batch = self.next(cursor)?;
        // Not after each page: a look back whose pages grow until one is too slow would never come to its end.
        self.limit.grow();
        Ok(batch)
    }

    fn next(&mut self, cursor: &mut Cursor) -> Result<Batch, Error> {
        let (mut lost, mut past_odd) = (false, false);
        while self.knows_since_id {
            let ahead = self.ahead.as_ref().map(|ahead| &ahead.after);
            let Some(after) = ahead.or(cursor.anchor.as_ref()).cloned() else { break };
            match self.get(&Position::After(after.id.to_string()))? {
                // Nothing in it can be begun after, and the next page from here would be the same.
                ActivityPage::Rows(listed, _) if listed.full && listed.rows.is_empty() => {
                    (self.ahead, past_odd) = (None, true);
                    break;
                }
                ActivityPage::Rows(listed, _) if is_after(&listed, &after) => {
                    let mut times = listed.rows.iter().filter_map(|row| row.at);
                    self.is_proven |= times.next().zip(times.next_back()).is_some_and(|(first, last)| first < last);
                    self.futile = false;
                    return Ok(self.forward(listed, cursor));
                }
                ActivityPage::Rows(..) => {
                    let platform = self.http.platform();
                    log_safe!(warn, "inbox: {platform} does not know since_id; paging back by time from now on");
                    (self.knows_since_id, self.ahead) = (false, None);
                }
                // The look ahead goes by rows that may be gone sooner.
                ActivityPage::Gone if self.ahead.take().is_some() => {}
                ActivityPage::Gone => {
                    lost = true;
                    break;
                }
            }
        }
        self.look_back(cursor, lost, past_odd)
    }

    /// One page; where it is too large, a shorter one.
    fn get(&mut self, position: &Position) -> Result<ActivityPage, Error> {
        loop {
            match self.get_page(position) {
                Err(error) if error.kind() == ErrorKind::TooLarge && self.asks_for_fewer(position) => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether fewer rows are asked for from now on. Where two are too many, one has to do without showing their order.
    fn asks_for_fewer(&mut self, position: &Position) -> bool {
        let before = self.rows_for(position);
        self.limit.shrink();
        self.is_proven |= before == 2;
        self.rows_for(position) < before
    }

    /// How many rows are asked for: one does not show in which order they are.
    fn rows_for(&self, position: &Position) -> usize {
        let least = if matches!(position, Position::After(_)) && !self.is_proven { 2 } else { 1 };
        self.limit.rows.max(least)
    }

    fn get_page(&mut self, position: &Position) -> Result<ActivityPage, Error> {
        let deadline = Deadline::after(self.timeout);
        let limit = self.rows_for(position);
        let (asked, http, wire, position) = (position, self.http.clone(), self.wire.clone(), position.clone());
        let ask = move || activity(&http, &wire, &position, limit, deadline);
        let stopped = || Error::new(ErrorKind::Cancelled, "the poller was stopped");
        let outcome = if self.detached {
            self.token.run("a2a-inbox-get", ask).unwrap_or_else(|| Err(stopped()))
        } else {
            crate::error::guard(ask)
        };
        match &outcome {
            Err(_) if self.token.is_cancelled() => return Err(stopped()),
            // Fewer rows are there sooner.
            Err(error) if error.kind() == ErrorKind::Timeout => drop(self.asks_for_fewer(asked)),
            _ => {}
        }
        outcome.map(|listing| match listing {
            ActivityPage::Rows(mut listed, bytes) => {
                // Which of them is full is told by what was asked for.
                listed.full = listed.rows.len() + listed.odd.count >= limit;
                ActivityPage::Rows(listed, bytes)
            }
            ActivityPage::Gone => ActivityPage::Gone,
        })
    }

    fn forward(&mut self, listed: Listed, cursor: &mut Cursor) -> Batch {
        let Listed { rows, odd, unread, full, .. } = listed;
        let last = rows.last().map(|row| row.id.clone());
        let up_to = self.ahead.as_ref().and_then(|ahead| ahead.bridge);
        let contiguous = self.ahead.is_none() || up_to.is_some();
        let extent = Extent { contiguous, full, settled: false, by_anchor: true, up_to };
        let batch = self.batch(rows, extent, cursor);
        let batch = Batch { odd, unread, ..batch };
        self.turn_page(batch, last, cursor)
    }

    fn batch(&mut self, rows: Vec<Row>, mut extent: Extent, cursor: &mut Cursor) -> Batch {
        let start = cursor.anchor.as_ref().map(|anchor| anchor.at).or(cursor.floor);
        let mut at = start.or_else(|| rows.iter().find_map(|row| row.at)).unwrap_or(Timestamp::EARLIEST);
        let mut all: Vec<(Seen, Row)> = rows
            .into_iter()
            .map(|row| {
                at = row.at.unwrap_or(at);
                (Seen { mark: RowKey { at, id: row.id.as_str().into() }, timed: row.at.is_some() }, row)
            })
            .collect();
        all.sort_by_key(|(seen, _)| seen.mark.at);
        let mut ids = HashSet::new();
        all.retain(|(seen, _)| ids.insert(seen.mark.id.clone()));
        let (seen, rows): (Vec<Seen>, Vec<Row>) = all.into_iter().unzip();
        let beyond = cursor.listed(&seen, latest());
        if let Some(at) = beyond.filter(|_| !std::mem::replace(&mut self.told_ahead, true)) {
            log_safe!(warn, "inbox: a row's time, {at}, is far ahead of this machine's clock; one of them is wrong");
        }
        if let Some(seen) = seen.iter().find(|seen| !seen.timed && !std::mem::replace(&mut self.told_untimed, true)) {
            log_safe!(warn, "inbox: row {} has no time of its own: it counts as of where it is listed", seen.mark.id);
        }
        // More than a page has come in less than it may be late, and nothing since: the clock has to tell.
        extent.settled = self.newest.stands_for(cursor.newest(), CoarseInstant::now()) >= 2 * LATE && extent.full;
        Batch { rows, seen, extent, odd: MalformedRows::default(), unread: MalformedRows::default() }
    }

    /// What is to be asked for after a page from the anchor on, or from where the look ahead is.
    fn turn_page(&mut self, mut batch: Batch, last: Option<String>, cursor: &Cursor) -> Batch {
        let extent = batch.extent;
        let new = batch.seen.iter().any(|seen| !cursor.is_acked(&seen.mark.id));
        self.barren = if new { 0 } else { self.barren + 1 };
        let last = last.and_then(|last| batch.seen.iter().find(|seen| *seen.mark.id == *last));
        let (Some(last), true) = (last.map(|seen| seen.mark.clone()), extent.full) else {
            (self.ahead, batch.extent.full) = (None, false);
            return batch;
        };
        let complete = cursor.complete();
        let end = batch.seen.last().map_or(Timestamp::LATEST, |seen| seen.mark.at);
        // Where the anchor can come to stand: at a time of a row's own.
        let stops: Vec<Timestamp> = batch.seen.iter().filter(|seen| seen.timed).map(|seen| seen.mark.at).collect();
        let moves = stops.iter().any(|at| cursor.is_complete(*at, extent));
        // Where there is no such place the same page would come again and again: it goes on to the end.
        let (first_end, bridge) = if stops.is_empty() { (Timestamp::LATEST, complete) } else { (end, None) };
        self.ahead = match self.ahead.take() {
            // The anchor moves inside this page, and the next one begins there.
            None if moves => None,
            None => Some(Ahead { after: last, first_end, bridge }),
            Some(ahead) if ahead.bridge.is_some() && moves => None,
            Some(ahead) if complete.is_some_and(|complete| ahead.first_end <= complete) => None,
            Some(ahead) => Some(Ahead { after: last, ..ahead }),
        };
        batch
    }

    /// That not all of what was listed was delivered: the anchor cannot move over it.
    pub(in crate::inbox) fn has_left_some(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.bridge = None;
        }
    }

    /// Whether there may be more at once.
    pub(in crate::inbox) fn is_to_go_on(&self, extent: Extent) -> bool {
        extent.full && self.barren < MAX_BARREN
    }
}

/// The latest time that a row can show it to be.
fn latest() -> Timestamp {
    wall_nanos().map_or(Timestamp::LATEST, |now| Timestamp::from_nanos(now).plus(AHEAD))
}

/// Whether it is an answer to `since_id`: the rows after the anchor, the oldest first.
fn is_after(listed: &Listed, anchor: &RowKey) -> bool {
    let times: Vec<Timestamp> = listed.rows.iter().filter_map(|row| row.at).collect();
    let newest_first = times.first() > times.last();
    !newest_first && listed.rows.iter().all(|row| *row.id != *anchor.id && row.at.is_none_or(|at| at >= anchor.at))
}

#[cfg(test)]
mod tests;
