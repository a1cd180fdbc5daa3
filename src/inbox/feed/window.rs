//! The rows that were listed and are not settled: others may still be committed before them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::position::RowKey;
use crate::util::clock::CoarseInstant;
use crate::wire::Timestamp;

/// Most rows that are kept. At 200 rows a second, 60 s have 12,000.
pub(super) const MAX_ROWS: usize = 100_000;

/// Bytes of rows that the head lists again at most, and the tail without looking at what is settled.
pub(super) const OVERLAP_BYTES: u64 = 256 * 1024;

/// The rows that were listed and are not settled, in the feed's order.
///
/// A row is settled a while after it was first listed, by our own clock. The platform may commit a row with an earlier time
/// until then.
#[derive(Debug, Default)]
pub(in crate::inbox) struct RowWindow {
    rows: BTreeMap<RowKey, ListedRow>,
    keys: HashMap<Arc<str>, RowKey>,
    /// Bytes of the rows' JSON.
    bytes: u64,
}

/// A row that was listed.
#[derive(Debug, Clone, Copy)]
struct ListedRow {
    first_listed: CoarseInstant,
    bytes: u64,
    state: RowState,
}

/// The fate of a listed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inbox) enum RowState {
    /// It is to be delivered.
    Listed,
    /// It was acked or dead-lettered, or is none that is delivered.
    Handled,
    /// It was handled without its body, which is not to be read again.
    SteppedOver,
}

impl RowWindow {
    /// Adds a row that is listed at `now`. One that is there keeps the time of its first listing. Returns its state.
    pub(super) fn list(&mut self, key: RowKey, bytes: u64, now: CoarseInstant) -> RowState {
        if let Some(state) = self.state(&key.id) {
            self.note_bytes(&key.id, bytes);
            return state;
        }
        self.insert(key, ListedRow { first_listed: now, bytes, state: RowState::Listed });
        RowState::Listed
    }

    /// Notes that a row that was listed has so many bytes. The largest number counts.
    pub(super) fn note_bytes(&mut self, id: &str, bytes: u64) {
        if let Some(row) = self.keys.get(id).and_then(|known| self.rows.get_mut(known)) {
            self.bytes = self.bytes - row.bytes + bytes.max(row.bytes);
            row.bytes = row.bytes.max(bytes);
        }
    }

    /// Adds a row that an earlier run handled. Its size is not known before it is listed again; that of a row that was stepped
    /// over is large.
    pub(super) fn restore(&mut self, key: RowKey, first_listed: CoarseInstant, state: RowState) {
        self.remove(&key.id);
        let bytes = if state == RowState::SteppedOver { OVERLAP_BYTES } else { 0 };
        self.insert(key, ListedRow { first_listed, bytes, state });
    }

    fn insert(&mut self, key: RowKey, row: ListedRow) {
        self.bytes += row.bytes;
        self.keys.insert(key.id.clone(), key.clone());
        self.rows.insert(key, row);
    }

    /// Sets the state of a row that was listed.
    pub(super) fn set_state(&mut self, id: &str, state: RowState) {
        if let Some(row) = self.keys.get(id).and_then(|key| self.rows.get_mut(key)) {
            row.state = state;
        }
    }

    /// Returns the state of a row, or `None` if it was not listed or is forgotten.
    pub(in crate::inbox) fn state(&self, id: &str) -> Option<RowState> {
        self.keys.get(id).and_then(|key| self.rows.get(key)).map(|row| row.state)
    }

    /// Returns when a row was first listed.
    pub(super) fn first_listed(&self, id: &str) -> Option<CoarseInstant> {
        self.keys.get(id).and_then(|key| self.rows.get(key)).map(|row| row.first_listed)
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(row) = self.keys.remove(id).and_then(|key| self.rows.remove(&key)) {
            self.bytes -= row.bytes;
        }
    }

    /// Returns the newest row that was first listed at least `age` ago.
    pub(super) fn newest_of_age(&self, age: Duration, now: CoarseInstant) -> Option<&RowKey> {
        let mut newest_first = self.rows.iter().rev();
        newest_first.find(|(_, row)| now.since(row.first_listed) >= age).map(|(key, _)| key)
    }

    /// Returns the oldest row behind which the rows have at most `bytes` bytes together. `None` if all rows have no more.
    pub(super) fn oldest_within(&self, bytes: u64) -> Option<&RowKey> {
        let mut sum = 0;
        let mut newest_first = self.rows.iter().rev();
        let first_above = newest_first.find(|(_, row)| {
            sum += row.bytes;
            sum > bytes
        });
        first_above.map(|(key, _)| key)
    }

    /// Returns the first row in the feed's order that is to be delivered.
    pub(super) fn first_unhandled(&self) -> Option<&RowKey> {
        self.rows.iter().find(|(_, row)| row.state == RowState::Listed).map(|(key, _)| key)
    }

    /// Returns the rows up to `end`, itself included, that are to be delivered.
    pub(super) fn unhandled_up_to(&self, end: &RowKey) -> impl Iterator<Item = &RowKey> {
        let rows = self.rows.range((Bound::Unbounded, Bound::Included(end)));
        rows.filter(|(_, row)| row.state == RowState::Listed).map(|(key, _)| key)
    }

    /// Returns the largest `seq` of the handled rows that were first listed at least `age` ago.
    pub(super) fn largest_seq_of_age(&self, age: Duration, now: CoarseInstant) -> Option<i64> {
        let is_old = |row: &ListedRow| row.state != RowState::Listed && now.since(row.first_listed) >= age;
        self.rows.iter().filter(|(_, row)| is_old(row)).map(|(key, _)| key.seq).max()
    }

    /// Returns the lowest `seq` of the rows that are to be delivered.
    pub(super) fn lowest_unhandled_seq(&self) -> Option<i64> {
        self.rows.iter().filter(|(_, row)| row.state == RowState::Listed).map(|(key, _)| key.seq).min()
    }

    /// Returns whether the first row may come before the second one, or is it. The number of a row that was stepped over is
    /// not known.
    pub(super) fn may_precede(&self, first: &RowKey, second: &RowKey) -> bool {
        let is_unnumbered = self.state(&second.id) == Some(RowState::SteppedOver);
        first <= second || first.at == second.at && is_unnumbered
    }

    /// Returns the newest row before `end`. The number of a row that was stepped over is not known, so that those of the
    /// time of `end` may come behind it.
    pub(super) fn newest_before(&self, end: &RowKey) -> Option<&RowKey> {
        let mut newest_first = self.rows.range(..end).rev();
        newest_first.find(|(key, row)| row.state != RowState::SteppedOver || key.at < end.at).map(|(key, _)| key)
    }

    /// Returns the rows that were stepped over, from `from` on.
    pub(super) fn stepped_over_from(&self, from: &RowKey) -> impl Iterator<Item = &RowKey> {
        let rows = self.rows.range((Bound::Included(from), Bound::Unbounded));
        rows.filter(|(_, row)| row.state == RowState::SteppedOver).map(|(key, _)| key)
    }

    /// Forgets the rows up to `end`, itself included. Rows of its time that were stepped over stay, since they may come
    /// behind it.
    pub(super) fn forget_up_to(&mut self, end: &RowKey) {
        self.forget_before(end.at);
        let of_its_time = RowKey { at: end.at, seq: i64::MIN, id: "".into() };
        let of_its_time = self.rows.range(of_its_time..=end.clone());
        let forgotten = of_its_time.filter(|(key, row)| row.state != RowState::SteppedOver || *key == end);
        let ids: Vec<Arc<str>> = forgotten.map(|(key, _)| key.id.clone()).collect();
        ids.iter().for_each(|id| self.remove(id));
    }

    /// Forgets the rows before a time.
    pub(super) fn forget_before(&mut self, at: Timestamp) {
        while let Some(entry) = self.rows.first_entry() {
            if entry.key().at >= at {
                break;
            }
            let (key, row) = entry.remove_entry();
            self.bytes -= row.bytes;
            self.keys.remove(&key.id);
        }
    }

    /// Returns the handled rows, in the feed's order, with the time of their first listing.
    pub(in crate::inbox) fn handled(&self) -> impl Iterator<Item = (&RowKey, CoarseInstant, RowState)> {
        let handled = self.rows.iter().filter(|(_, row)| row.state != RowState::Listed);
        handled.map(|(key, row)| (key, row.first_listed, row.state))
    }

    /// Returns the bytes of all rows' JSON.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(in crate::inbox) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(in crate::inbox) fn len(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: i64) -> RowKey {
        RowKey { at: Timestamp::from_nanos(n), seq: 0, id: n.to_string().into() }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn row_is_of_age_by_its_first_listing() {
        let (mut window, start) = (RowWindow::default(), CoarseInstant::now());
        for (n, after) in [(10, 0), (30, 1), (20, 5), (10, 6)] {
            window.list(key(n), 1, start.plus(seconds(after)));
        }
        let newest = |age, at| window.newest_of_age(seconds(age), start.plus(seconds(at))).cloned();
        assert_eq!(newest(0, 6), Some(key(30)));
        assert_eq!(newest(60, 59), None);
        assert_eq!(newest(60, 60), Some(key(10)));
        assert_eq!(newest(60, 61), Some(key(30)), "20 was listed late: it is settled with the row behind it");
        assert_eq!((window.len(), window.bytes()), (3, 3));
    }

    #[test]
    fn states_are_kept_until_the_row_is_forgotten() {
        let (mut window, now) = (RowWindow::default(), CoarseInstant::now());
        for n in 1..=5 {
            assert_eq!(window.list(key(n), 10, now), RowState::Listed);
        }
        window.set_state("1", RowState::Handled);
        window.set_state("3", RowState::SteppedOver);
        assert_eq!(window.list(key(1), 10, now), RowState::Handled);
        assert_eq!(window.first_unhandled(), Some(&key(2)));
        assert_eq!(window.stepped_over_from(&key(2)).collect::<Vec<_>>(), [&key(3)]);
        assert_eq!(window.stepped_over_from(&key(4)).count(), 0);
        assert_eq!(window.newest_before(&key(4)), Some(&key(3)));
        assert_eq!(window.oldest_within(20), Some(&key(3)), "30 bytes from there on, 20 behind it");
        assert_eq!(window.oldest_within(50), None, "all of them");
        let handled: Vec<_> = window.handled().map(|(key, _, state)| (key.clone(), state)).collect();
        assert_eq!(handled, [(key(1), RowState::Handled), (key(3), RowState::SteppedOver)]);
        window.forget_up_to(&key(3));
        assert_eq!(
            (window.state("3"), window.state("4"), window.len(), window.bytes()),
            (None, Some(RowState::Listed), 2, 20)
        );
        window.remove("4");
        assert_eq!((window.len(), window.bytes()), (1, 10));
    }

    /// Its number is not known.
    #[test]
    fn row_that_was_stepped_over_may_come_behind_all_rows_of_its_time() {
        let (mut window, now) = (RowWindow::default(), CoarseInstant::now());
        let keys = [1, 0, 2].map(|seq| RowKey { seq, id: seq.to_string().into(), ..key(7) });
        let [first, large, last] = &keys;
        for row in [&key(6), first, large, last] {
            window.list(row.clone(), 10, now);
            window.set_state(&row.id, RowState::Handled);
        }
        window.set_state("0", RowState::SteppedOver);
        assert_eq!(window.newest_before(first), Some(&key(6)));
        assert_eq!(window.newest_before(last), Some(first));
        assert!(window.may_precede(last, large) && !window.may_precede(last, first));
        window.forget_up_to(first);
        assert_eq!(["6", "1", "0", "2"].map(|id| window.state(id).is_some()), [false, false, true, true]);
        window.forget_up_to(large);
        assert_eq!((window.len(), window.bytes()), (1, 10));
    }

    #[test]
    fn largest_size_counts_for_a_row_that_is_listed_with_different_ones() {
        let (mut window, now) = (RowWindow::default(), CoarseInstant::now());
        for bytes in [5, 100, 7] {
            window.list(key(1), bytes, now);
        }
        assert_eq!(window.bytes(), 100);
    }
}
