//! What the front hands out, and how it comes back.

use std::sync::Arc;

use crate::peer::record::{Peer, Record};
use crate::peer::state::Negative;
use crate::util::clock::CoarseInstant;

/// Where a handle goes when its caller is done with it: the number of a thread, and a ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home(pub(super) u64);

impl Home {
    /// Negative thread has that number.
    pub(crate) const NONE: Home = Home(u64::MAX);

    #[inline(always)]
    pub(super) fn new(thread: u64, ticket: u32) -> Self {
        Home(thread | u64::from(ticket))
    }

    #[inline(always)]
    pub(crate) fn is_some(self) -> bool {
        self != Home::NONE
    }
}

/// What the front says.
pub(crate) enum LocalAnswer {
    Found(Peer),
    Negative(Negative),
    /// Nothing, at this time.
    Miss(CoarseInstant),
}

/// The same in two registers: a handle and where it goes, or neither and why. Its size decides; the enum goes through
/// memory, and that costs half of a hit.
pub(crate) struct Raw {
    pub(super) record: Option<Arc<Record>>,
    pub(super) code: u64,
}

impl Raw {
    pub(super) const ABSENT: Raw = Raw { record: None, code: 0 };
    pub(super) const FAILED: Raw = Raw { record: None, code: 1 };
    /// Negative answer yet: the last client that this thread asked was another.
    pub(super) const AGAIN: Raw = Raw { record: None, code: 2 };

    #[inline(always)]
    pub(super) fn is_again(&self) -> bool {
        self.record.is_none() && self.code == 2
    }

    /// Nothing, at this time, which is not one of the codes above: those would be a machine's first nanosecond.
    #[inline(always)]
    pub(super) fn nothing(now: CoarseInstant) -> Self {
        Raw { record: None, code: now.units().max(3) }
    }

    #[inline(always)]
    pub(crate) fn recalled(self) -> LocalAnswer {
        match (self.record, self.code) {
            (Some(record), home) => LocalAnswer::Found(Peer::lent(record, Home(home))),
            (None, 0) => LocalAnswer::Negative(Negative::Absent),
            (None, 1) => LocalAnswer::Negative(Negative::Failed),
            (None, now) => LocalAnswer::Miss(CoarseInstant::of_units(now)),
        }
    }
}
