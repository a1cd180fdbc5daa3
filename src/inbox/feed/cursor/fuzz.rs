//! Fuzz target of the cursor: a poller that crashes, on a platform that commits rows late.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Coverage, Cursor, LATE, ListedRow, RowKey};
use crate::test_util::Choices;
use crate::wire::Timestamp;

const TICK: Duration = Duration::from_millis(500);

/// A platform that commits rows up to five seconds after their times.
struct Platform {
    now: Timestamp,
    /// Committed rows, in the order of their commits.
    rows: Vec<RowKey>,
    /// Rows that are not committed yet, each with the time of its commit.
    late: Vec<(Timestamp, RowKey)>,
}

impl Platform {
    /// Moves the clock on, and commits the rows that are due.
    fn advance(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        let now = self.now;
        let mut due: Vec<(Timestamp, RowKey)> = self.late.extract(|(at, _)| *at <= now);
        due.sort();
        self.rows.extend(due.into_iter().map(|(_, key)| key));
    }

    /// Returns a page of the rows after the anchor, ordered by time and then by commit, and whether there are more.
    /// Without an anchor, returns all rows from the floor on.
    fn list(&self, cursor: &Cursor, page: usize) -> (Vec<RowKey>, bool) {
        let mut rows: Vec<(usize, &RowKey)> = self.rows.iter().enumerate().collect();
        rows.sort_by_key(|(at, row)| (row.at, *at));
        let after =
            cursor.anchor.as_ref().map_or(0, |anchor| rows.iter().position(|(_, row)| *row == anchor).unwrap() + 1);
        let floor = cursor.floor.filter(|_| cursor.anchor.is_none()).unwrap_or(Timestamp::EARLIEST);
        let rows: Vec<RowKey> =
            rows[after..].iter().filter(|(_, row)| row.at >= floor).map(|(_, row)| (*row).clone()).collect();
        // A look back has no pages here.
        let page = if cursor.anchor.is_none() { rows.len() } else { page };
        let full = rows.len() > page;
        (rows.into_iter().take(page).collect(), full)
    }
}

trait Extract<T> {
    /// Removes the elements that are due from the collection, and returns them.
    fn extract(&mut self, is_due: impl Fn(&T) -> bool) -> Vec<T>;
}

impl<T> Extract<T> for Vec<T> {
    fn extract(&mut self, is_due: impl Fn(&T) -> bool) -> Vec<T> {
        let (due, rest) = std::mem::take(self).into_iter().partition(is_due);
        *self = rest;
        due
    }
}

/// Runs a poller that crashes now and then on a platform that commits late. Asserts that each row is delivered, and
/// none twice but the ones that a crash interrupted.
pub fn cursor(data: &[u8]) {
    let mut choices = Choices(data);
    let start = Timestamp::parse("2026-04-30T12:00:00Z").unwrap();
    let mut platform = Platform { now: start, rows: Vec::new(), late: Vec::new() };
    let (mut cursor, mut came) = (Cursor::default(), HashMap::<Arc<str>, usize>::new());
    let mut saved = copy(&cursor);
    let mut made = 0;
    let mut rows = Vec::new();
    while !choices.is_empty() && made < 64 {
        match choices.below(8) {
            0..=3 => {
                // One of few times, so that some rows have the same.
                let (back, late) = (choices.below(3) as u32, choices.below(11) as u32);
                let key = RowKey { at: platform.now.minus(TICK * back), id: format!("row-{made}").into() };
                let committed = key.at.plus((TICK * late).min(LATE));
                platform.late.push((committed, key.clone()));
                platform.advance(Duration::ZERO);
                rows.push(key);
                made += 1;
            }
            4 => platform.advance(TICK * choices.below(30) as u32),
            _ => {
                let crash = choices.below(16);
                if let Some(interrupted) = poll(&platform, &mut cursor, &mut saved, &mut came, crash) {
                    // It does not count as delivered. The poller goes on from what was saved.
                    *came.get_mut(&interrupted).unwrap() -= 1;
                    cursor = copy(&saved);
                }
            }
        }
        let acked = cursor.acked().count();
        assert!(acked <= rows.len());
    }
    platform.advance(LATE * 2);
    for _ in 0..2 {
        assert_eq!(poll(&platform, &mut cursor, &mut saved, &mut came, usize::MAX), None);
    }
    for row in &rows {
        assert_eq!(came.get(&row.id), Some(&1), "{row:?} of {rows:?}");
    }
}

/// Polls once. Crashes while it delivers the row number `crash`, and returns the id of that row.
fn poll(
    platform: &Platform,
    cursor: &mut Cursor,
    saved: &mut Cursor,
    came: &mut HashMap<Arc<str>, usize>,
    crash: usize,
) -> Option<Arc<str>> {
    let (page, mut delivered) = (usize::MAX, 0);
    let (rows, full) = platform.list(cursor, page);
    let listed: Vec<ListedRow> = rows.into_iter().map(|key| ListedRow { key, has_own_time: true }).collect();
    let coverage =
        Coverage { contiguous: true, has_more: full, is_settled: false, by_since_id: false, contiguous_until: None };
    cursor.record_listed(&listed, Timestamp::LATEST);
    for (index, row) in listed.iter().enumerate() {
        if !cursor.is_acked(&row.key.id) {
            let attempts = cursor.attempts_of(&row.key.id) + 1;
            cursor.record_attempt(&row.key.id, attempts);
            *saved = copy(cursor);
            *came.entry(row.key.id.clone()).or_default() += 1;
            if delivered == crash {
                return Some(row.key.id.clone());
            }
            delivered += 1;
        }
        cursor.ack(&listed, index, coverage);
    }
    cursor.finish_batch(coverage);
    let (anchor, floor) = (cursor.anchor.as_ref().map(|anchor| anchor.at), cursor.floor);
    assert!(anchor <= floor || anchor.is_none(), "{anchor:?} above {floor:?}");
    *saved = copy(cursor);
    None
}

/// Returns the cursor as it would be read back from a file.
fn copy(cursor: &Cursor) -> Cursor {
    let copy =
        Cursor::restore(cursor.anchor.clone(), cursor.floor, cursor.acked().cloned(), cursor.attempts().to_vec());
    assert_same(&copy, cursor);
    copy
}

/// Asserts that two cursors have the same anchor, floor, attempts and acked rows.
pub(in crate::inbox) fn assert_same(one: &Cursor, other: &Cursor) {
    assert_eq!((&one.anchor, one.floor), (&other.anchor, other.floor));
    let attempts = |cursor: &Cursor| {
        let mut attempts = cursor.attempts().to_vec();
        attempts.sort();
        attempts
    };
    assert_eq!(attempts(one), attempts(other));
    let acked = |cursor: &Cursor| cursor.acked().cloned().collect::<Vec<RowKey>>();
    assert_eq!(acked(one), acked(other));
}
