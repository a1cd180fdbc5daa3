#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Cursor, Extent, LATE, RowKey, Seen};
use crate::test_util::Choices;
use crate::wire::Timestamp;

const TICK: Duration = Duration::from_millis(500);

/// A platform whose rows are committed up to five seconds after their times.
struct Platform {
    now: Timestamp,
    /// In the order in which they were committed.
    rows: Vec<RowKey>,
    /// Those that are yet to be committed, and when.
    late: Vec<(Timestamp, RowKey)>,
}

impl Platform {
    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        let now = self.now;
        let mut due: Vec<(Timestamp, RowKey)> = self.late.extract(|(at, _)| *at <= now);
        due.sort();
        self.rows.extend(due.into_iter().map(|(_, mark)| mark));
    }

    /// The rows after one, by time and then as they were committed, and whether there are more; or all of a time and later.
    fn list(&self, cursor: &Cursor, page: usize) -> (Vec<RowKey>, bool) {
        let mut rows: Vec<(usize, &RowKey)> = self.rows.iter().enumerate().collect();
        rows.sort_by_key(|(at, row)| (row.at, *at));
        let after =
            cursor.anchor.as_ref().map_or(0, |anchor| rows.iter().position(|(_, row)| *row == anchor).unwrap() + 1);
        let floor = cursor.floor.filter(|_| cursor.anchor.is_none()).unwrap_or(Timestamp::EARLIEST);
        let rows: Vec<RowKey> =
            rows[after..].iter().filter(|(_, row)| row.at >= floor).map(|(_, row)| (*row).clone()).collect();
        // By time there is no page.
        let page = if cursor.anchor.is_none() { rows.len() } else { page };
        let full = rows.len() > page;
        (rows.into_iter().take(page).collect(), full)
    }
}

trait Extract<T> {
    fn extract(&mut self, is_due: impl Fn(&T) -> bool) -> Vec<T>;
}

impl<T> Extract<T> for Vec<T> {
    fn extract(&mut self, is_due: impl Fn(&T) -> bool) -> Vec<T> {
        let (due, rest) = std::mem::take(self).into_iter().partition(is_due);
        *self = rest;
        due
    }
}

/// A poller that crashes and polls beside a platform that commits late: every row comes, none twice but that which a
/// crash interrupted, and the cursor stays as small as what is not complete.
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
                // Its time is one of few, so that some have the same.
                let (back, late) = (choices.below(3) as u32, choices.below(11) as u32);
                let mark = RowKey { at: platform.now.minus(TICK * back), id: format!("row-{made}").into() };
                let committed = mark.at.plus((TICK * late).min(LATE));
                platform.late.push((committed, mark.clone()));
                platform.pass(Duration::ZERO);
                rows.push(mark);
                made += 1;
            }
            4 => platform.pass(TICK * choices.below(30) as u32),
            _ => {
                let crash = choices.below(16);
                if let Some(interrupted) = poll(&platform, &mut cursor, &mut saved, &mut came, crash) {
                    // Of it nothing is known; what was saved is where it goes on.
                    *came.get_mut(&interrupted).unwrap() -= 1;
                    cursor = copy(&saved);
                }
            }
        }
        let acked = cursor.acked().count();
        assert!(acked <= rows.len());
    }
    platform.pass(LATE * 2);
    for _ in 0..2 {
        assert_eq!(poll(&platform, &mut cursor, &mut saved, &mut came, usize::MAX), None);
    }
    for row in &rows {
        assert_eq!(came.get(&row.id), Some(&1), "{row:?} of {rows:?}");
    }
}

/// One poll that goes on for as long as there is more. The row at which it crashed.
fn poll(
    platform: &Platform,
    cursor: &mut Cursor,
    saved: &mut Cursor,
    came: &mut HashMap<Arc<str>, usize>,
    crash: usize,
) -> Option<Arc<str>> {
    let (page, mut delivered) = (usize::MAX, 0);
    let (rows, full) = platform.list(cursor, page);
    let seen: Vec<Seen> = rows.into_iter().map(|mark| Seen { mark, timed: true }).collect();
    let extent = Extent { contiguous: true, full, settled: false, by_anchor: false, up_to: None };
    cursor.listed(&seen, Timestamp::LATEST);
    for (at, row) in seen.iter().enumerate() {
        if !cursor.is_acked(&row.mark.id) {
            let tries = cursor.tries(&row.mark.id) + 1;
            cursor.begin(&row.mark.id, tries);
            *saved = copy(cursor);
            *came.entry(row.mark.id.clone()).or_default() += 1;
            if delivered == crash {
                return Some(row.mark.id.clone());
            }
            delivered += 1;
        }
        cursor.pass(&seen, at, extent);
    }
    cursor.finish(extent);
    let (anchor, floor) = (cursor.anchor.as_ref().map(|anchor| anchor.at), cursor.floor);
    assert!(anchor <= floor || anchor.is_none(), "{anchor:?} above {floor:?}");
    *saved = copy(cursor);
    None
}

/// What a file would have of it.
fn copy(cursor: &Cursor) -> Cursor {
    let copy =
        Cursor::restore(cursor.anchor.clone(), cursor.floor, cursor.acked().cloned(), cursor.all_tries().to_vec());
    crate::inbox::store::fuzz::is_same(&copy, cursor);
    copy
}
