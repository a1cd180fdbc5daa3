//! How long the poller did not list the inbox: where the platform has pruned the anchor, that decides whether it is a gap.

use std::time::Duration;

use super::position::RowKey;
use crate::util::clock::CoarseInstant;
use crate::util::log_safe::log_safe;
use crate::util::text::Untrusted;
use crate::wire::Timestamp;

/// Age from which on the platform prunes rows that were acknowledged. It keeps the others for 30 days.
const PRUNED_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// The time for which the inbox was not listed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Absence {
    For(Duration),
    /// The cursor does not say it, or the clock was never set.
    Unknown,
}

impl Absence {
    /// Returns the time from the last listing to `now`: that of this process, or else the one of the cursor, by our own clock.
    pub(super) fn of(
        in_this_process: Option<CoarseInstant>,
        now: CoarseInstant,
        in_cursor: Option<Timestamp>,
        now_by_wall: Option<Timestamp>,
    ) -> Self {
        if let Some(last) = in_this_process {
            return Absence::For(now.since(last));
        }
        match (in_cursor, now_by_wall) {
            // A clock that went back counts as no time.
            (Some(last), Some(now)) => {
                let nanos = now.nanos().saturating_sub(last.nanos());
                Absence::For(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
            }
            _ => Absence::Unknown,
        }
    }

    /// Logs that the platform has pruned the anchor. In an inbox that was listed within 7 days it is a row that was
    /// acknowledged, and nothing is missing.
    pub(super) fn log_pruned_anchor(self, anchor: &RowKey) {
        let id = Untrusted::new(&anchor.id);
        let at = anchor.at;
        match self {
            Absence::For(time) if time < PRUNED_AFTER => {
                log_safe!(debug, "inbox: the platform has pruned row {id} of {at}, behind which the inbox was listed");
            }
            Absence::For(time) => {
                let days = time.as_secs() / 86_400;
                log_safe!(
                    warn,
                    "inbox: perhaps a gap: the inbox was last listed {days} days ago, and the platform has pruned row {id} of \
                     {at}, behind which it was listed: messages of those days may be pruned, too"
                );
            }
            Absence::Unknown => log_safe!(
                warn,
                "inbox: perhaps a gap: it is not known when the inbox was last listed, and the platform has pruned row {id} of \
                 {at}, behind which it was listed: messages since then may be pruned, too"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_that_of_this_process_or_by_the_cursor() {
        let (start, day) = (CoarseInstant::now(), Duration::from_secs(86_400));
        let now = Timestamp::from_nanos(1_780_000_000_000_000_000);
        let of = |last| Absence::of(None, start, last, Some(now));
        assert_eq!(of(Some(now.minus(9 * day))), Absence::For(9 * day));
        assert_eq!(of(Some(now.plus(day))), Absence::For(Duration::ZERO), "the clock went back");
        assert_eq!(of(None), Absence::Unknown);
        assert_eq!(Absence::of(None, start, Some(now), None), Absence::Unknown, "the clock was never set");
        let old = Some(now.minus(9 * day));
        assert_eq!(Absence::of(Some(start), start.plus(day), old, Some(now)), Absence::For(day));
    }
}
