//! Fuzz target of the cursor and of the reader: a poller that crashes, on a platform that commits rows late.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Cursor;
use super::saved::SavedCursor;
use crate::inbox::feed::memory::{
    Fate, Got, HEAD, LATE, MAX_ROW, MemoryFeed, MemoryPoller, RowKind, StoredRow, start_time,
};
use crate::inbox::feed::{RowKey, RowState};
use crate::test_util::Choices;
use crate::util::clock::CoarseInstant;
use crate::wire::Timestamp;

const SECOND: Duration = Duration::from_secs(1);

/// A poller, and a platform that commits rows late.
struct World {
    platform: MemoryFeed,
    poller: MemoryPoller,
    /// Rows that are not committed yet, each with the time of its commit.
    uncommitted: Vec<(Duration, StoredRow)>,
    /// Time since the start.
    time: Duration,
    /// What our own clock shows at the start, and the boot that it counts from.
    clock: (CoarseInstant, u128),
    backlog: Duration,
    /// Rows from this time on are to be delivered.
    floor: Timestamp,
    rows: Vec<MadeRow>,
    /// Number of deliveries by row.
    got: HashMap<Got, usize>,
}

/// A row that was made.
struct MadeRow {
    row: StoredRow,
    is_pruned: bool,
    /// True if it was pruned before it was delivered.
    is_lost: bool,
}

/// Runs a poller that stops, crashes and restarts, on a platform that commits rows up to 60 s late, some of them too large,
/// and that prunes rows. Asserts that each row is delivered once, but for deliveries that a crash interrupted.
pub fn cursor(data: &[u8]) {
    let mut choices = Choices(data);
    let mut world = World::new(choices.below(4) == 1, choices.below(8) == 1);
    while !choices.is_empty() && world.rows.len() < 96 {
        match choices.below(9) {
            0..=2 => world.make_row(&mut choices),
            3 => world.make_row_during_poll(&mut choices),
            4 | 5 => world.poll(choices.below(24), choices.below(9) == 1),
            6 => world.advance([1, 2, 5, 10, 11, 30, 59, 100][choices.below(8)]),
            7 => world.prune(choices.byte()),
            _ => match choices.below(4) {
                0 => world.poller.page_size = 1 + choices.below(5),
                // A snapshot takes the place of the journal.
                1 => world.poller.saved = world.poller.cursor.to_saved(),
                2 => world.restart(),
                _ => {
                    world.clock.1 += 1;
                    world.restart();
                }
            },
        }
    }
    world.finish();
}

impl World {
    fn new(has_short_backlog: bool, is_old: bool) -> Self {
        let clock = CoarseInstant::START.plus(1_000 * SECOND);
        let backlog = if has_short_backlog { 20 * SECOND } else { 1_000_000 * SECOND };
        let poller = MemoryPoller::start(SavedCursor::default(), backlog, Some(1), clock);
        let mut platform = MemoryFeed::of([]);
        platform.is_old = is_old;
        platform.now = Some(start_time());
        World {
            platform,
            poller,
            uncommitted: Vec::new(),
            time: Duration::ZERO,
            clock: (clock, 1),
            backlog,
            floor: Timestamp::EARLIEST,
            rows: Vec::new(),
            got: HashMap::new(),
        }
    }

    fn now(&self) -> CoarseInstant {
        self.clock.0.plus(self.time)
    }

    fn platform_now(&self) -> Timestamp {
        start_time().plus(self.time)
    }

    /// Returns a new row, whose insert began so long ago.
    fn new_row(&mut self, age: Duration, choices: &mut Choices<'_>) -> StoredRow {
        if self.platform.is_old {
            // Rows of one time that do not fit into a page cannot be listed there.
            self.advance(1);
        }
        let n = self.rows.len();
        let key = RowKey {
            at: self.platform_now().minus(age + Duration::from_micros(choices.below(4) as u64)),
            seq: if self.platform.is_old { 0 } else { (choices.below(64) * 256 + n) as i64 },
            id: format!("{:02x}-{n}", choices.below(3)).into(),
        };
        let bytes = [50, 50, 50, 90, 300, 700, MAX_ROW, MAX_ROW + 1][choices.below(8)];
        let kind = [RowKind::Message, RowKind::Message, RowKind::LateId, RowKind::OtherType][choices.below(4)];
        // An old platform adds nothing to its rows.
        let kind = if self.platform.is_old && kind == RowKind::LateId { RowKind::Message } else { kind };
        let row = StoredRow { key, bytes, kind };
        self.rows.push(MadeRow { row: row.clone(), is_pruned: false, is_lost: false });
        row
    }

    /// Makes a row that is committed later.
    fn make_row(&mut self, choices: &mut Choices<'_>) {
        let late = [0, 0, 0, 1, 5, 20, 40, 59][choices.below(8)];
        // An old platform is not read again.
        let late = if self.platform.is_old { 0 } else { late };
        let row = self.new_row(Duration::ZERO, choices);
        self.uncommitted.push((self.time + late * SECOND, row));
        self.advance(0);
    }

    /// Makes a row that is committed between two requests of the next poll.
    fn make_row_during_poll(&mut self, choices: &mut Choices<'_>) {
        let age = [0, 0, 1, 5, 20, 59][choices.below(6)];
        let age = if self.platform.is_old { 0 } else { age };
        let age = (age * SECOND).min(self.time);
        let row = self.new_row(age, choices);
        self.platform.coming.push_back(row);
    }

    /// Lets time pass, and commits the rows that are due.
    fn advance(&mut self, seconds: u32) {
        if seconds > 0 {
            self.commit_coming();
        }
        self.time += seconds * SECOND;
        self.platform.now = Some(self.platform_now());
        let time = self.time;
        let (mut due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.uncommitted).into_iter().partition(|(at, _)| *at <= time);
        self.uncommitted = rest;
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().for_each(|(_, row)| self.platform.commit(row));
    }

    fn commit_coming(&mut self) {
        let coming = std::mem::take(&mut self.platform.coming);
        coming.into_iter().for_each(|row| self.platform.commit(row));
    }

    /// Polls. At the new row number `end` the poller is stopped, or crashes.
    fn poll(&mut self, end: usize, crashes: bool) {
        let (mut count, now) = (0, self.now());
        let World { platform, poller, got, .. } = self;
        let is_up = poller.poll(platform, now, &mut |row| {
            count += usize::from(matches!(row, Got::Row(_)));
            if count == end + 1 {
                return if crashes { Fate::Crashed } else { Fate::Stopped };
            }
            *got.entry(row).or_default() += 1;
            Fate::Handled
        });
        if !is_up {
            self.restart();
        }
    }

    /// Begins a new process with what is saved.
    fn restart(&mut self) {
        let saved = self.poller.saved.clone();
        if saved.anchor.is_none() {
            self.floor = self.platform_now().minus(self.backlog).plus(2 * SECOND);
        }
        let MemoryPoller { page_size, ref mut dead_ends, .. } = self.poller;
        let dead_ends = std::mem::take(dead_ends);
        let started = MemoryPoller::start(saved, self.backlog, Some(self.clock.1), self.now());
        self.poller = MemoryPoller { page_size, dead_ends, ..started };
    }

    /// Prunes one of the committed rows that are older than two minutes. The platform keeps them for days.
    fn prune(&mut self, place: u8) {
        let end = self.platform_now().minus(2 * LATE);
        let rows: Vec<&StoredRow> = self.platform.rows().iter().filter(|row| row.key.at < end).collect();
        let Some(row) = rows.get(usize::from(place) % rows.len().max(1)).copied().cloned() else { return };
        self.platform.prune(&row.key.id);
        let is_delivered = self.count(&row) > 0;
        let made = self.rows.iter_mut().find(|made| made.row.key == row.key).unwrap();
        made.is_pruned = true;
        made.is_lost = !is_delivered;
    }

    /// Returns whether it cannot be told which rows of a row's time come before which, since the number of one of them is
    /// not read: two are too large, or one is too large for a head, and one was pruned. Such a row may come again.
    fn has_unknown_order(&self, row: &StoredRow) -> bool {
        let of_its_time = || self.rows.iter().filter(|made| made.row.key.at == row.key.at);
        let is_beside_pruned =
            of_its_time().any(|made| made.is_pruned) && of_its_time().any(|made| made.row.bytes > HEAD);
        is_beside_pruned || of_its_time().filter(|made| made.row.bytes > MAX_ROW).count() >= 2
    }

    fn count(&self, row: &StoredRow) -> usize {
        self.got.get(&expected(row)).copied().unwrap_or_default()
    }

    /// Commits everything, polls until it is settled, and asserts what was delivered.
    fn finish(&mut self) {
        self.commit_coming();
        for _ in 0..40 {
            self.advance(5);
            self.poll(usize::MAX - 1, false);
        }
        for MadeRow { row, is_lost, .. } in &self.rows {
            let is_unreachable = self.poller.dead_ends.contains(&row.key.at);
            let is_optional = *is_lost || is_unreachable || row.key.at < self.floor;
            match (row.kind, self.count(row)) {
                (RowKind::OtherType, 0) | (_, 1) => {}
                (_, 0) if is_optional => {}
                (_, 2..) if self.has_unknown_order(row) => {}
                (_, count) => panic!("{row:?} came {count} times: {:?}", self.poller.cursor),
            }
        }
        let total: usize = self.got.values().sum();
        let known: usize = self.rows.iter().map(|made| self.count(&made.row)).sum();
        assert_eq!(total, known, "a row came as what it is not: {:?}", self.got);
        let before = self.platform.requests;
        self.poll(usize::MAX - 1, false);
        // Rows beside a large one are settled with the next later row.
        let is_beside_large =
            self.poller.cursor.window.handled().any(|(row, ..)| self.poller.cursor.is_beside_anchor(row));
        assert!(self.platform.requests <= before + 3 || is_beside_large, "a quiet inbox takes few requests");
        self.restart();
        for _ in 0..20 {
            self.poll(usize::MAX - 1, false);
            self.advance(5);
        }
        assert_eq!(self.got.values().sum::<usize>(), total, "a restart brings nothing new");
    }
}

/// Returns how a row is to come.
fn expected(row: &StoredRow) -> Got {
    let id: Arc<str> = row.key.id.clone();
    if row.bytes > MAX_ROW { Got::Large(id) } else { Got::Row(id) }
}

/// Moves the anchor to a row, as a settled listing that contains it does.
pub(in crate::inbox) fn settle(cursor: &mut Cursor, row: RowKey) {
    cursor.list(&row, 0, CoarseInstant::START);
    cursor.window.set_state(&row.id, RowState::Handled);
    cursor.settle(row);
}

/// Moves the anchor to a row, as a settled listing by time does.
pub(in crate::inbox) fn settle_by_time(cursor: &mut Cursor, row: RowKey) {
    cursor.settle_by_time(row);
}

/// Asserts that two cursors have the same state, but for the hash key and the times of the first listings: a cursor that is
/// made in a test has no key, and no boot.
pub(in crate::inbox) fn assert_same(one: &Cursor, other: &Cursor) {
    let state = |cursor: &Cursor| {
        let mut saved = cursor.to_saved();
        saved.handled.iter_mut().for_each(|handled| handled.first_listed = None);
        SavedCursor { hash_key: None, ..saved }
    };
    assert_eq!(state(one), state(other));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns bytes that a seed makes.
    fn bytes(seed: u64) -> Vec<u8> {
        // https://prng.di.unimi.it/splitmix64.c
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        (0..128).flat_map(|_| next().to_le_bytes()).collect()
    }

    #[test]
    fn each_row_comes_once_whatever_happens() {
        for seed in 0..300 {
            let held = std::panic::catch_unwind(|| cursor(&bytes(seed)));
            assert!(held.is_ok(), "it does not hold for the seed {seed}");
        }
    }
}
