//! The acked rows that a listing may still contain.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::inbox::feed::batch::RowKey;
use crate::wire::Timestamp;

/// A set of acked rows, found by id and forgotten by time.
#[derive(Debug, Default)]
pub(super) struct AckedRows {
    /// The time under which each id is kept.
    times: HashMap<Arc<str>, Timestamp>,
    /// The same rows, ordered by time.
    by_time: BTreeSet<RowKey>,
}

impl AckedRows {
    /// Returns whether a row is in the set.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.times.contains_key(id)
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// Returns all rows, ordered by time.
    pub(super) fn iter(&self) -> impl Iterator<Item = &RowKey> {
        self.by_time.iter()
    }

    /// Adds a row, or moves a known one to a later time. Returns whether that changed anything.
    ///
    /// A known row keeps its time if `key` has an earlier one: the row must be known for as long as it is listed.
    pub(super) fn insert(&mut self, key: RowKey) -> bool {
        if let Some(old) = self.times.get(&key.id).filter(|old| **old < key.at) {
            self.by_time.remove(&RowKey { at: *old, id: key.id.clone() });
            self.times.remove(&key.id);
        }
        if self.times.contains_key(&key.id) {
            return false;
        }
        self.times.insert(key.id.clone(), key.at);
        self.by_time.insert(key);
        true
    }

    /// Removes a row, if it is kept under this very time.
    pub(super) fn remove(&mut self, key: &RowKey) {
        if self.by_time.remove(key) {
            self.times.remove(&key.id);
        }
    }

    /// Removes all rows before `time`.
    pub(super) fn remove_before(&mut self, time: Timestamp) {
        while self.by_time.first().is_some_and(|first| first.at < time) {
            if let Some(old) = self.by_time.pop_first() {
                self.times.remove(&old.id);
            }
        }
    }
}
