//! Since when the inbox has had nothing newer.

use std::time::Duration;

use crate::util::clock::CoarseInstant;
use crate::wire::Timestamp;

/// The newest row that is known, and since when.
#[derive(Default)]
pub(in crate::inbox) struct Newest(Option<(Timestamp, CoarseInstant)>);

impl Newest {
    /// For how long there has been no newer one than the `newest`, as of `now`.
    pub(in crate::inbox) fn stands_for(&mut self, newest: Option<Timestamp>, now: CoarseInstant) -> Duration {
        match (self.0, newest) {
            (Some((known, since)), Some(newest)) if known == newest => now.since(since),
            _ => {
                self.0 = newest.map(|newest| (newest, now));
                Duration::ZERO
            }
        }
    }
}
