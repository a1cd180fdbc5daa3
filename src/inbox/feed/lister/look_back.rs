//! Back by time, where there is no row to begin after, it is gone, or the platform is too old for that.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Map;

use super::{Ahead, Batch, Lister, latest};
use crate::error::{Error, ErrorKind};
use crate::inbox::feed::cursor::{Cursor, Extent, RowKey};
use crate::inbox::feed::reorder_buffer::ReorderBuffer;
use crate::platform::{ActivityPage, Position};
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;
use crate::wire::{MalformedRows, Row, Timestamp};

/// The most pages that one look back takes: a million rows.
const MAX_PAGES: usize = 2_000;
/// By how much more than a row's own time the time is asked for below which rows are listed, so that
/// others of the same time are among them. The platform's times are in microseconds.
const TIE: Duration = Duration::from_micros(1);
const TIED: &str = "inbox: a gap: a page does not take all rows of one time, and some of them cannot be listed:";

impl Lister {
    /// Pages back by time: to the floor, or where there is none to the backlog's age. Of a long way back the oldest
    /// rows are taken; the rest is listed again from there on. So it is, where the platform knows `since_id`, with
    /// what is newer than more rows of one time than a page takes: by time some of those cannot be listed. But not where a
    /// page of what is no row led here: to begin after a row before it would lead here again.
    pub(in crate::inbox) fn look_back(
        &mut self,
        cursor: &mut Cursor,
        lost: bool,
        past_odd: bool,
    ) -> Result<Batch, Error> {
        let floor = cursor.floor.max(cursor.anchor.as_ref().map(|anchor| anchor.at));
        let secs = floor
            .is_none()
            .then(|| self.backlog.saturating_add(CoarseInstant::now().since(self.start)).as_secs().max(1));
        let (mut held, mut newer) = (ReorderBuffer::default(), None::<ReorderBuffer>);
        let (mut before, mut below, mut last_page) = (None, None::<RowKey>, HashSet::new());
        let mut through = HashSet::new();
        let (mut odd, mut unread) = (MalformedRows::default(), MalformedRows::default());
        for page in 0.. {
            let ActivityPage::Rows(listed, bytes) = self.get(&Position::Latest { before, secs })? else {
                return Err(Error::new(ErrorKind::Status, "answered 410 to a look back by time"));
            };
            odd.merge(listed.odd);
            unread.merge(listed.unread);
            let is_further = |at: &Timestamp| before.is_none_or(|before| *at < before);
            // The time of what is no row may be any: it is gone by only where the rows lead no further.
            let oldest_row = listed.rows.iter().filter_map(|row| row.at).min();
            let by_row = oldest_row.filter(is_further);
            let oldest = by_row.or(oldest_row.into_iter().chain(listed.oldest_odd).min());
            cursor.saw(listed.rows.iter().filter_map(|row| row.at), latest());
            let ids: HashSet<String> = listed.rows.iter().map(|row| row.id.clone()).collect();
            let taken = take(listed.rows, floor, &last_page, &mut below);
            let (taken, news) = without_what_is_through(taken, cursor, &mut through);
            held.push(taken, news, if news == 0 { 0 } else { bytes });
            if below.is_some() || !listed.full {
                break;
            }
            // Others of the oldest time may be left. Where all that can be had of them were listed, they are left behind.
            let ties = oldest.map(|oldest| oldest.plus(TIE)).filter(is_further);
            let Some(next) = ties.or(oldest).filter(is_further) else {
                let at = oldest.map(|oldest| oldest.to_string()).unwrap_or_default();
                log_safe!(warn, "inbox: a gap: the platform lists no rows before {at}, though its page is full");
                break;
            };
            if by_row.is_none() {
                log_safe!(warn, "inbox: perhaps a gap: a page of what is no row; its time, {next}, is gone by");
            }
            // Nor where that did not help the last time.
            if ties.is_none() && self.knows_since_id && !past_odd && !self.futile {
                let mut flood = std::mem::take(&mut held);
                flood.dropped |= newer.is_some();
                newer = Some(flood);
            } else if ties.is_none() {
                log_safe!(warn, "{TIED} {next}");
            }
            if page + 1 >= MAX_PAGES {
                log_safe!(warn, "inbox: a gap: what is older than {next} is too far back, and is left out");
                break;
            }
            (before, last_page) = (Some(next), ids);
        }
        let mut dropped = held.dropped || newer.is_some();
        if let Some(newer) = newer.filter(|_| held.rows == 0 && below.is_none()) {
            // Nothing is older that could be begun after.
            log_safe!(warn, "{TIED} {}", before.map_or(String::new(), |at| at.to_string()));
            (dropped, held) = (newer.dropped, newer);
        }
        self.futile = dropped && held.news == 0;
        let rows = held.into_rows();
        if lost {
            tell_of_the_loss(floor, below.is_some(), &rows);
        }
        match below {
            Some(mark) if lost || cursor.anchor.is_none() => cursor.adopt(mark),
            None if lost => cursor.lose_anchor(),
            _ => {}
        }
        let extent = Extent { contiguous: true, full: dropped, settled: false, by_anchor: false, up_to: None };
        let batch = Batch { odd, unread, ..self.batch(rows, extent, cursor) };
        let last = batch.seen.last().map(|seen| seen.mark.clone()).filter(|_| dropped && self.knows_since_id);
        // Where the anchor can come to stand at none of them, it goes on to the end.
        let is_timed = batch.seen.iter().any(|seen| seen.timed);
        self.ahead = last.map(|last| Ahead {
            first_end: if is_timed { last.at } else { Timestamp::LATEST },
            after: last,
            bridge: None,
        });
        Ok(batch)
    }
}

/// Those of a page, the newest first, that are not below the floor, and were not on the page before. What is newest below
/// the floor is told.
fn take(rows: Vec<Row>, floor: Option<Timestamp>, last_page: &HashSet<String>, below: &mut Option<RowKey>) -> Vec<Row> {
    let mut taken = Vec::new();
    for row in rows {
        match row.at.zip(floor) {
            Some((at, floor)) if at < floor => {
                if below.as_ref().is_none_or(|mark| mark.at < at) {
                    *below = Some(RowKey { at, id: row.id.as_str().into() });
                }
            }
            _ if last_page.contains(&row.id) => {}
            // Without a time of its own it stands behind one that is below, and so it is, too: it was through long ago.
            None if row.at.is_none() && below.is_some() => {}
            _ => taken.push(row),
        }
    }
    taken
}

/// The same rows, and how many of them are not through. Of those that are, only that they were listed is kept, and once: they
/// are not delivered, and what is not held takes nothing from what is.
fn without_what_is_through(
    mut rows: Vec<Row>,
    cursor: &mut Cursor,
    through: &mut HashSet<String>,
) -> (Vec<Row>, usize) {
    let mut news = 0;
    rows.retain_mut(|row| {
        let is_through = cursor.is_through(&row.id, row.at);
        if is_through {
            row.fields = Map::new();
        } else {
            news += 1;
        }
        !is_through || through.insert(row.id.clone())
    });
    (rows, news)
}

/// What the loss of the cursor's row means.
fn tell_of_the_loss(floor: Option<Timestamp>, went_back_to_it: bool, rows: &[Row]) {
    match floor.filter(|_| !went_back_to_it) {
        Some(floor) => {
            let first = rows.first().and_then(|row| row.at).map_or("now".to_owned(), |at| at.to_string());
            log_safe!(
                warn,
                "inbox: a gap: the cursor's row is gone, and the platform lists nothing from {floor} to {first}: \
                 what came then, if anything, is lost"
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
    fn of_what_is_through_each_row_is_held_once_however_often_it_is_listed() {
        let row = |id: &str| Row { id: id.to_owned(), at: None, fields: Map::from_iter([("a".to_owned(), 1.into())]) };
        let mark = RowKey { at: Timestamp::from_nanos(9), id: "through".into() };
        let (mut cursor, mut held) = (Cursor::restore(None, None, [mark], Vec::new()), HashSet::new());
        for left in [2, 1] {
            let rows = vec![row("through"), row("new"), row("through")];
            let (rows, news) = without_what_is_through(rows, &mut cursor, &mut held);
            assert_eq!((rows.len(), news, rows[left - 1].fields.len()), (left, 1, 1), "the new one, whole");
        }
    }
}
