//! A row whose body comes too slowly: it is stepped over, but not at once.

use std::time::Duration;

use super::saved::{BootTime, CursorChange, SlowRow};
use super::{Cursor, first_listed_at};
use crate::util::clock::CoarseInstant;
use crate::wire::RowHead;

/// Polls that end at a slow row before it is stepped over.
const SLOW_POLLS: u32 = 3;
/// Time over which those polls are spread at least.
const SLOW_TIME: Duration = Duration::from_secs(60);

impl Cursor {
    /// Counts a poll that ended at `now` in this row, whose body did not come. Returns whether it may be stepped over: after
    /// three polls in 60 s, those of earlier processes among them. Without an id it never may.
    pub(in crate::inbox::feed) fn count_slow_row(&mut self, head: &RowHead, now: CoarseInstant) -> bool {
        let Some(id) = head.id.as_deref() else { return false };
        let of_this_boot = |first: &BootTime| Some(first.boot) == self.boot;
        let known = self.saved.slow_row.clone().filter(|row| *row.id == *id);
        let known = known.unwrap_or_else(|| SlowRow { id: id.into(), polls: 0, first: None });
        let first = known.first.filter(of_this_boot).or_else(|| self.boot_time(now));
        let polls = known.polls.saturating_add(1);
        let lasted = first.map_or(Duration::ZERO, |first| now.since(first_listed_at(first)));
        self.change(CursorChange::SlowRow(Some(SlowRow { first, polls, ..known })));
        polls >= SLOW_POLLS && lasted >= SLOW_TIME
    }

    /// Records that a page came.
    pub(in crate::inbox::feed) fn forget_slow_row(&mut self) {
        if self.saved.slow_row.is_some() {
            self.change(CursorChange::SlowRow(None));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::inbox::feed::cursor::saved::SavedCursor;

    fn after(secs: u64) -> CoarseInstant {
        CoarseInstant::START.plus(Duration::from_secs(1_000 + secs))
    }

    fn restarted(cursor: &Cursor, boot: u128, now: CoarseInstant) -> Cursor {
        Cursor::from_saved(cursor.to_saved(), Some(boot), now)
    }

    #[test]
    fn row_is_too_slow_after_three_polls_in_60_seconds_over_restarts() {
        let head = |id: &str| RowHead { id: Some(id.to_owned()), at: None, fields: Map::new() };
        let mut cursor = Cursor::from_saved(SavedCursor::default(), Some(1), after(0));
        let mut polls = |id: &str, times: &[u64]| -> Vec<bool> {
            let count = |secs: &u64| {
                cursor = restarted(&cursor, 1, after(*secs));
                cursor.count_slow_row(&head(id), after(*secs))
            };
            times.iter().map(count).collect()
        };
        assert_eq!(polls("a", &[0, 30, 59, 61]), [false, false, false, true]);
        assert_eq!(polls("b", &[70, 140]), [false, false], "two polls are too few");
        assert_eq!(polls("a", &[150]), [false], "it begins anew behind another row");
        let mut cursor = restarted(&cursor, 1, after(160));
        cursor.count_slow_row(&head("a"), after(160));
        let mut rebooted = restarted(&cursor, 2, after(300));
        assert!(!rebooted.count_slow_row(&head("a"), after(300)), "another boot has another clock");
        assert!(cursor.count_slow_row(&head("a"), after(300)));
        cursor.forget_slow_row();
        assert!(!cursor.count_slow_row(&head("a"), after(400)), "it came in between");
    }
}
