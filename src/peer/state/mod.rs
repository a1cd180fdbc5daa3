//! What an answer that threads keep is called back by: a write, a `forget`, an eviction or the end of a client is
//! seen by every thread at its next call.

use std::sync::atomic::Ordering::Relaxed;

use crate::util::sync::AtomicU8;

/// Why there is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Negative {
    /// The registry says so.
    Absent,
    /// A lookup brought no usable answer.
    Failed,
}

const LIVE: u8 = 1;
const VISITED: u8 = 2;
const ABSENT: u8 = 4;
const FAILED: u8 = 8;

/// The state of what a cache has filed.
///
/// Relaxed is enough for it: it guards nothing else, and who hears that a call has returned sees what it wrote.
#[derive(Debug)]
pub(crate) struct EntryState(AtomicU8);

impl EntryState {
    /// Of a record, where there is no reason for a no.
    pub(super) fn new(no: Option<Negative>) -> Self {
        let no = match no {
            None => 0,
            Some(Negative::Absent) => ABSENT,
            Some(Negative::Failed) => FAILED,
        };
        EntryState(AtomicU8::new(LIVE | no))
    }

    /// Why there is no record, if there is none.
    pub(crate) fn negative(&self) -> Option<Negative> {
        match self.0.load(Relaxed) & (ABSENT | FAILED) {
            0 => None,
            ABSENT => Some(Negative::Absent),
            _ => Some(Negative::Failed),
        }
    }

    /// Whether it is a record that counts, and marked as asked for: all that a hit has to know.
    #[inline(always)]
    pub(super) fn is_visited_record(&self) -> bool {
        self.0.load(Relaxed) == LIVE | VISITED
    }

    /// It was asked for. Whether it counts.
    pub(crate) fn visit(&self) -> bool {
        let state = self.0.load(Relaxed);
        // Only the first writes: the others would take the line from each other for nothing.
        let state = if state & VISITED == 0 { self.0.fetch_or(VISITED, Relaxed) } else { state };
        state & LIVE != 0
    }

    /// Whether it was asked for since this was last called.
    pub(crate) fn take_visited(&self) -> bool {
        self.0.fetch_and(!VISITED, Relaxed) & VISITED != 0
    }

    /// It no longer counts.
    pub(crate) fn invalidate(&self) {
        self.0.fetch_and(!LIVE, Relaxed);
    }

    pub(crate) fn is_live(&self) -> bool {
        self.0.load(Relaxed) & LIVE != 0
    }
}

#[cfg(all(test, a2a_loom))]
mod loom;
