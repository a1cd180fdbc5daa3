//! The rows that may be acknowledged to the platform: up to a `seq` below which every row is handled.
//!
//! The platform numbers a row while it inserts it, and commits it later. So a row with a lower `seq` than that of a handled one
//! may still come. A poller that lost its cursor goes on behind what was acknowledged: it would not deliver such a row. A
//! handled row's `seq` may be acknowledged in two cases, in which every row with a lower one was listed:
//!
//! - Its time is `late` before the anchor's. A row with a lower `seq` began before this row was committed, so its time is
//!   before the anchor's, too, and the anchor moves only behind what is listed to the end.
//! - It was settled, and everything behind the anchor was listed after that. A row with a lower `seq` was committed by then.

use std::collections::BTreeMap;
use std::time::Duration;

use super::position::RowKey;
use crate::wire::Timestamp;

/// Most seconds whose rows are told apart. Beyond it the rows of the oldest second count as those of the next.
const MAX_SECONDS: usize = 1_000;

/// How far the rows may be acknowledged.
#[derive(Debug, Default)]
pub(super) struct AckProgress {
    /// The largest `seq` of the handled rows of each second, of those that may not be acknowledged yet.
    handled: BTreeMap<i64, i64>,
    /// The largest `seq` that may be acknowledged. Zero if there is none.
    confirmed: i64,
}

impl AckProgress {
    /// Adds a row that was handled. One without a `seq`, or without a time, says nothing.
    pub(super) fn add(&mut self, row: &RowKey) {
        if row.seq <= 0 || row.at == Timestamp::EARLIEST {
            return;
        }
        let largest = self.handled.entry(second(row.at)).or_default();
        *largest = row.seq.max(*largest);
        if self.handled.len() > MAX_SECONDS {
            if let Some((_, seq)) = self.handled.pop_first() {
                if let Some(mut next) = self.handled.first_entry() {
                    *next.get_mut() = seq.max(*next.get());
                }
            }
        }
    }

    /// Confirms the rows that are `late` before the anchor, which has this time.
    pub(super) fn pass(&mut self, anchor: Timestamp, late: Duration) {
        let end = second(anchor.minus(late));
        while let Some(oldest) = self.handled.first_entry().filter(|oldest| *oldest.key() < end) {
            self.confirmed = self.confirmed.max(oldest.remove());
        }
    }

    /// Confirms the rows up to a `seq`.
    pub(super) fn confirm(&mut self, seq: i64) {
        self.confirmed = self.confirmed.max(seq);
    }

    /// Returns the largest `seq` of all handled rows. `None` if there is none.
    pub(super) fn largest(&self) -> Option<i64> {
        self.handled.values().copied().chain([self.confirmed]).max().filter(|seq| *seq > 0)
    }

    /// Returns the `seq` to acknowledge: below the lowest one of the rows that are to be delivered. `None` if there is none.
    pub(super) fn seq(&self, lowest_unhandled: Option<i64>) -> Option<i64> {
        let seq = lowest_unhandled.map_or(self.confirmed, |lowest| self.confirmed.min(lowest.saturating_sub(1)));
        (seq > 0).then_some(seq)
    }
}

fn second(at: Timestamp) -> i64 {
    at.nanos().div_euclid(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::feed::cursor::Cursor;
    use crate::util::clock::CoarseInstant;

    const LATE: Duration = Duration::from_secs(60);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_nanos(1_780_000_000_000_000_000 + millis * 1_000_000)
    }

    fn row(millis: i64, seq: i64) -> RowKey {
        RowKey { at: at(millis), seq, id: format!("{millis}-{seq}").into() }
    }

    #[test]
    fn row_is_confirmed_once_the_anchor_is_late_behind_it() {
        let mut acks = AckProgress::default();
        for (millis, seq) in [(500, 7), (999, 5), (1_000, 8), (2_000, 6)] {
            acks.add(&row(millis, seq));
        }
        let mut after = |anchor| {
            acks.pass(at(anchor), LATE);
            acks.seq(None)
        };
        assert_eq!([60_000, 60_999].map(&mut after), [None; 2], "a second is confirmed as a whole");
        assert_eq!([61_000, 61_999].map(&mut after), [Some(7); 2]);
        assert_eq!([62_000, 63_000, 0].map(&mut after), [Some(8); 3], "a lower number does not take it back");
    }

    #[test]
    fn nothing_is_acknowledged_from_the_first_unhandled_row_on() {
        let mut acks = AckProgress::default();
        assert_eq!(acks.seq(None), None);
        acks.confirm(9);
        acks.confirm(4);
        assert_eq!([None, Some(12), Some(9), Some(3)].map(|lowest| acks.seq(lowest)), [9, 9, 8, 2].map(Some));
        assert_eq!([1, 0, i64::MIN].map(|lowest| acks.seq(Some(lowest))), [None; 3]);
    }

    #[test]
    fn cursor_acknowledges_what_is_far_before_its_anchor_and_what_was_settled_before_a_whole_listing() {
        let (mut cursor, start) = (Cursor::default(), CoarseInstant::now());
        let rows = [row(0, 3), row(1_000, 2), row(90_000, 6), row(91_000, 5)];
        for row in &rows {
            cursor.list(row, 1, start);
            cursor.handle(row, None);
        }
        assert_eq!((cursor.ack_due(LATE), cursor.settled_seq(LATE, start.plus(LATE))), (None, Some(6)));
        cursor.settle(rows[2].clone());
        assert_eq!(cursor.ack_due(LATE), Some(3), "6 is not far before the anchor");
        let unhandled = row(92_000, 4);
        cursor.list(&unhandled, 1, start);
        cursor.confirm_seq(6);
        assert_eq!(cursor.ack_due(LATE), Some(3), "4 is to be delivered");
        cursor.record_ack(3);
        assert_eq!(cursor.ack_due(LATE), None, "it does not move");
        cursor.handle(&unhandled, None);
        assert_eq!(cursor.ack_due(LATE), Some(6));
        assert_eq!(cursor.settled_seq(LATE, start.plus(LATE)), Some(5), "of what is behind the anchor");
        // After a restart, of which the boot is not known, rows count as listed now.
        let restarted = Cursor::from_saved(cursor.to_saved(), None, start);
        assert_eq!(restarted.settled_seq(LATE, start), None);
        assert_eq!(restarted.settled_seq(LATE, start.plus(LATE)), Some(5));
    }

    #[test]
    fn everything_is_settled_where_nothing_came_for_so_long() {
        let (mut cursor, start) = (Cursor::default(), CoarseInstant::now());
        for row in [row(0, 3), row(1_000, 2)] {
            cursor.list(&row, 1, start);
            cursor.handle(&row, None);
        }
        let late_row = row(500, 7);
        let then = start.plus(LATE);
        cursor.list(&late_row, 1, then);
        cursor.handle(&late_row, None);
        cursor.settle(row(1_000, 2));
        assert_eq!(cursor.settled_seq(LATE, then), None, "the late row is known since now");
        assert_eq!(cursor.settled_seq(LATE, then.plus(LATE)), Some(7));
        assert_eq!(cursor.ack_due(LATE), None, "not before everything was listed");
        cursor.list(&row(200_000, 9), 1, then.plus(LATE));
        assert_eq!(cursor.settled_seq(LATE, then.plus(LATE)), None);
    }

    #[test]
    fn rows_without_a_number_or_a_time_say_nothing() {
        let mut acks = AckProgress::default();
        acks.add(&row(0, 0));
        acks.add(&row(0, -4));
        acks.add(&RowKey { at: Timestamp::EARLIEST, seq: 3, id: "x".into() });
        acks.pass(at(1_000_000), LATE);
        assert_eq!(acks.seq(None), None);
    }

    #[test]
    fn old_seconds_are_merged_into_later_ones() {
        let mut acks = AckProgress::default();
        let many = i64::try_from(MAX_SECONDS).unwrap() + 5;
        (0..many).for_each(|n| acks.add(&row(n * 1_000, many - n)));
        assert_eq!(acks.handled.len(), MAX_SECONDS);
        acks.pass(at(64_000), LATE);
        assert_eq!(acks.seq(None), None, "they count as those of second 5");
        acks.pass(at(66_000), LATE);
        assert_eq!(acks.seq(None), Some(many));
    }
}
