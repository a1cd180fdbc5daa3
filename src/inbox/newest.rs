//! Since when the inbox has had nothing newer.

use std::time::Duration;

use crate::clock::Tick;
use crate::wire::Moment;

/// The newest row that is known, and since when.
#[derive(Default)]
pub(super) struct Newest(Option<(Moment, Tick)>);

impl Newest {
    /// For how long there has been no newer one than the `newest`, as of `now`.
    pub(super) fn stands_for(&mut self, newest: Option<Moment>, now: Tick) -> Duration {
        match (self.0, newest) {
            (Some((known, since)), Some(newest)) if known == newest => now.since(since),
            _ => {
                self.0 = newest.map(|newest| (newest, now));
                Duration::ZERO
            }
        }
    }
}
