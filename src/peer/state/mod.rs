//! The state of a cache's value, shared by all threads that keep the value.
//!
//! It is how a thread notices a write, a `forget`, an eviction or the end of a client at its next call.

use std::sync::atomic::Ordering::Relaxed;

use crate::util::sync::AtomicU8;

/// The reason why there is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Negative {
    /// The registry says that there is no such peer.
    Absent,
    /// A lookup brought no usable answer.
    Failed,
}

const LIVE: u8 = 1;
const VISITED: u8 = 2;
const ABSENT: u8 = 4;
const FAILED: u8 = 8;

/// The state of a cache's value: live until it is invalidated, visited or not, and the reason if it is negative.
///
/// Relaxed ordering is enough. The state guards no other memory, and a thread that learns that a call has returned also
/// sees what the call wrote.
#[derive(Debug)]
pub(crate) struct EntryState(AtomicU8);

impl EntryState {
    /// Creates the live state of a record, or of a negative value for that reason.
    pub(super) fn new(negative: Option<Negative>) -> Self {
        let reason = match negative {
            None => 0,
            Some(Negative::Absent) => ABSENT,
            Some(Negative::Failed) => FAILED,
        };
        EntryState(AtomicU8::new(LIVE | reason))
    }

    /// Returns the reason why there is no record, or `None` if there is one.
    pub(crate) fn negative(&self) -> Option<Negative> {
        match self.0.load(Relaxed) & (ABSENT | FAILED) {
            0 => None,
            ABSENT => Some(Negative::Absent),
            _ => Some(Negative::Failed),
        }
    }

    /// Returns whether it is the state of a record, live and visited: all that a hit has to know.
    #[inline(always)]
    pub(crate) fn is_visited_record(&self) -> bool {
        self.0.load(Relaxed) == LIVE | VISITED
    }

    /// Sets SIEVE's visited bit. Returns whether the value is live.
    pub(crate) fn visit(&self) -> bool {
        let state = self.0.load(Relaxed);
        // Only the first visit writes. Further writes would only move the cache line from core to core.
        let state = if state & VISITED == 0 { self.0.fetch_or(VISITED, Relaxed) } else { state };
        state & LIVE != 0
    }

    /// Clears SIEVE's visited bit. Returns whether it was set.
    pub(crate) fn take_visited(&self) -> bool {
        self.0.fetch_and(!VISITED, Relaxed) & VISITED != 0
    }

    /// Marks the value as out of date. It is never live again.
    pub(crate) fn invalidate(&self) {
        self.0.fetch_and(!LIVE, Relaxed);
    }

    pub(crate) fn is_live(&self) -> bool {
        self.0.load(Relaxed) & LIVE != 0
    }
}

#[cfg(all(test, a2a_loom))]
mod loom;
