//! Rows of the inbox that are not delivered, by reason.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers of entries of the inbox that were not delivered, by reason.
///
/// In [`PollSummary::skipped_by`](crate::PollSummary::skipped_by) they are those of one poll, and in
/// [`InboxStats::skipped_by`](crate::InboxStats::skipped_by) those of all polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SkippedRows {
    /// Entries that are no rows: no object, or without an id.
    pub malformed: u64,
    /// Notices that were sent to our own human.
    pub notices: u64,
    /// Messages that this workspace sent to itself, unless [`own`](crate::PollerBuilder::own) delivers them.
    pub own: u64,
    /// Files that this client uploaded for a notice.
    pub own_uploads: u64,
    /// Messages that a push agent of this workspace answered.
    pub answered: u64,
    /// First results of delegations, which say that the task waits for a callee that polls.
    pub queued_delegations: u64,
    /// Further rows of messages that were handled before.
    pub repeats: u64,
}

/// Why an entry of the inbox is not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkipReason {
    Malformed,
    Notice,
    Own,
    OwnUpload,
    Answered,
    QueuedDelegation,
    Repeat,
}

impl SkipReason {
    /// Returns the reason in words, for a log line.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            SkipReason::Malformed => "it is no row",
            SkipReason::Notice => "it is a notice to our own human",
            SkipReason::Own => "we sent it ourselves",
            SkipReason::OwnUpload => "we uploaded it ourselves",
            SkipReason::Answered => "a push agent of this workspace answered it",
            SkipReason::QueuedDelegation => "it says that a delegated task is queued",
            SkipReason::Repeat => "its message was handled before, in another row",
        }
    }
}

impl SkippedRows {
    /// Returns the number of all of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn add(&mut self, reason: SkipReason, count: u64) {
        let counted = match reason {
            SkipReason::Malformed => &mut self.malformed,
            SkipReason::Notice => &mut self.notices,
            SkipReason::Own => &mut self.own,
            SkipReason::OwnUpload => &mut self.own_uploads,
            SkipReason::Answered => &mut self.answered,
            SkipReason::QueuedDelegation => &mut self.queued_delegations,
            SkipReason::Repeat => &mut self.repeats,
        };
        *counted += count;
    }

    /// Returns the numbers under their names, as labels and JSON have them.
    pub(crate) fn by_reason(&self) -> [(&'static str, u64); 7] {
        // Every field by name, so that the compiler refuses a new one that is not added here.
        let SkippedRows { malformed, notices, own, own_uploads, answered, queued_delegations, repeats } = *self;
        [
            ("malformed", malformed),
            ("notices", notices),
            ("own", own),
            ("own_uploads", own_uploads),
            ("answered", answered),
            ("queued_delegations", queued_delegations),
            ("repeats", repeats),
        ]
    }
}

/// The counters behind [`SkippedRows`].
#[derive(Debug, Default)]
pub(crate) struct SkippedCounters {
    malformed: AtomicU64,
    notices: AtomicU64,
    own: AtomicU64,
    own_uploads: AtomicU64,
    answered: AtomicU64,
    queued_delegations: AtomicU64,
    repeats: AtomicU64,
}

impl SkippedCounters {
    pub(crate) fn add(&self, reason: SkipReason, count: u64) {
        let counter = match reason {
            SkipReason::Malformed => &self.malformed,
            SkipReason::Notice => &self.notices,
            SkipReason::Own => &self.own,
            SkipReason::OwnUpload => &self.own_uploads,
            SkipReason::Answered => &self.answered,
            SkipReason::QueuedDelegation => &self.queued_delegations,
            SkipReason::Repeat => &self.repeats,
        };
        counter.fetch_add(count, Relaxed);
    }

    pub(super) fn snapshot(&self) -> SkippedRows {
        SkippedRows {
            malformed: self.malformed.load(Relaxed),
            notices: self.notices.load(Relaxed),
            own: self.own.load(Relaxed),
            own_uploads: self.own_uploads.load(Relaxed),
            answered: self.answered.load(Relaxed),
            queued_delegations: self.queued_delegations.load(Relaxed),
            repeats: self.repeats.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_apart() {
        let counters = SkippedCounters::default();
        let mut rows = SkippedRows::default();
        assert_eq!(rows.total(), 0);
        for (reason, count) in [
            (SkipReason::Malformed, 1),
            (SkipReason::Notice, 2),
            (SkipReason::Own, 4),
            (SkipReason::OwnUpload, 8),
            (SkipReason::Answered, 16),
            (SkipReason::QueuedDelegation, 32),
            (SkipReason::Repeat, 64),
        ] {
            rows.add(reason, count);
            counters.add(reason, count);
            assert!(!reason.describe().is_empty());
        }
        assert_eq!((rows.by_reason().map(|(_, count)| count), rows.total()), ([1, 2, 4, 8, 16, 32, 64], 127));
        assert_eq!(counters.snapshot(), rows);
    }
}
