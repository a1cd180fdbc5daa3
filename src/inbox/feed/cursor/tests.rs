use std::time::Duration;

use super::messages::MAX_MESSAGES;
use super::saved::MAX_ATTEMPTS;
use super::*;

const LATE: Duration = Duration::from_secs(60);
const BOOT: Option<u128> = Some(1);

fn row(n: i64) -> RowKey {
    RowKey { at: Timestamp::from_nanos(n * 1_000), seq: n, id: format!("r{n}").into() }
}

fn after(seconds: u64) -> CoarseInstant {
    CoarseInstant::START.plus(Duration::from_secs(seconds))
}

/// Returns a cursor behind row 0 that listed these rows after 1,000 s.
fn listed(rows: std::ops::RangeInclusive<i64>) -> Cursor {
    let saved = SavedCursor { anchor: Some(Anchor::Behind(row(0))), ..SavedCursor::default() };
    let mut cursor = Cursor::from_saved(saved, BOOT, after(1_000));
    for n in rows {
        assert_eq!(cursor.list(&row(n), 100, after(1_000)), RowState::Listed);
    }
    cursor
}

/// Returns the cursor as a process of this boot reads it back, from what it saved change by change.
fn restarted(cursor: &Cursor, boot: Option<u128>, now: CoarseInstant) -> Cursor {
    let mut saved = SavedCursor { anchor: Some(Anchor::Behind(row(0))), ..SavedCursor::default() };
    cursor.pending.get().unwrap().iter().for_each(|change| saved.apply(change.clone()));
    Cursor::from_saved(saved, boot, now)
}

fn anchor(cursor: &Cursor) -> Option<i64> {
    match cursor.anchor()? {
        Anchor::Behind(row) => Some(row.seq),
        Anchor::Open(_) | Anchor::Pruned(_) => None,
    }
}

#[test]
fn anchor_never_passes_a_row_that_is_to_be_delivered() {
    let mut cursor = listed(1..=5);
    for (n, expected) in [(4, 0), (2, 0), (1, 2), (5, 2), (3, 5)] {
        cursor.handle(&row(n), None);
        let settled = cursor.newest_settled(LATE, after(1_060)).unwrap();
        assert_eq!(settled, row(5));
        cursor.settle(settled);
        assert_eq!(anchor(&cursor), Some(expected), "row {n} is handled");
        assert_eq!(restarted(&cursor, BOOT, after(1_060)).anchor(), cursor.anchor());
    }
    assert!(cursor.window.is_empty());
}

#[test]
fn anchor_by_time_waits_for_all_rows_up_to_it() {
    let mut cursor = listed(1..=3);
    for n in [1, 3] {
        cursor.handle(&row(n), None);
    }
    cursor.settle_by_time(row(3));
    assert_eq!(anchor(&cursor), Some(0));
    cursor.handle(&row(2), None);
    cursor.settle_by_time(row(3));
    assert_eq!(anchor(&cursor), Some(3));
    assert!(cursor.is_known("r3") && !cursor.is_known("r2"), "rows of the anchor's time are listed again");
}

#[test]
fn row_that_is_pruned_before_it_is_delivered_does_not_hold_the_anchor() {
    let mut cursor = listed(1..=4);
    for n in [1, 4] {
        cursor.handle(&row(n), None);
    }
    cursor.forget_pruned(&row(4), &HashSet::from([row(3).id]));
    cursor.settle(row(4));
    assert_eq!(anchor(&cursor), Some(1), "row 3 is there, and row 2 is not");
    assert_eq!((cursor.window.state("r2"), cursor.window.state("r3")), (None, Some(RowState::Listed)));
}

#[test]
fn anchor_does_not_move_back_or_to_a_row_that_is_gone() {
    let mut cursor = listed(1..=3);
    for n in [1, 2, 3] {
        cursor.handle(&row(n), None);
    }
    cursor.settle(row(2));
    cursor.window.restore(row(1), after(1_000), RowState::Handled);
    cursor.settle(row(1));
    assert_eq!((anchor(&cursor), cursor.is_known("r1")), (Some(2), false));
    cursor.settle(row(7));
    assert_eq!((anchor(&cursor), cursor.is_known("r3")), (Some(2), true));
}

#[test]
fn time_until_a_row_is_settled_goes_on_over_restarts_of_one_boot() {
    let mut cursor = listed(1..=1);
    cursor.handle(&row(1), None);
    let settled = |cursor: &Cursor, seconds| cursor.newest_settled(LATE, after(seconds)).is_some();
    // A program that never lives for 60 s.
    let mut again = cursor;
    for start in [1_010, 1_020, 1_059] {
        again = restarted(&again, BOOT, after(start));
        assert!(again.is_known("r1") && !settled(&again, 1_059) && settled(&again, 1_061), "{start}");
        let saved = again.to_saved();
        again = Cursor::from_saved(saved.clone(), BOOT, after(start));
        assert_eq!(again.to_saved(), saved, "each restart keeps the time to the millisecond");
        again.pending.push(CursorChange::Handled(saved.handled[0].clone()));
    }
}

#[test]
fn time_until_a_row_is_settled_begins_again_on_another_boot() {
    let mut cursor = listed(1..=1);
    cursor.handle(&row(1), None);
    for boot in [Some(2), None] {
        let again = restarted(&cursor, boot, after(7));
        assert!(again.newest_settled(LATE, after(66)).is_none());
        assert_eq!(again.newest_settled(LATE, after(67)), Some(row(1)));
    }
    let ahead = restarted(&cursor, BOOT, after(500));
    assert!(ahead.newest_settled(LATE, after(560)).is_some(), "a time that is yet to come counts as now");
}

#[test]
fn row_that_was_stepped_over_is_known_until_the_anchor_passes_its_time() {
    let mut cursor = listed(1..=5);
    for n in [1, 2, 4, 5] {
        cursor.handle(&row(n), None);
    }
    cursor.step_over(&row(3), 1_000_000, after(1_000));
    assert_eq!(cursor.window.bytes(), 400 + 1_000_000, "it counts with the largest size");
    for end in [2, 3] {
        cursor.settle(row(end));
        let again = restarted(&cursor, BOOT, after(1_000));
        for cursor in [&cursor, &again] {
            assert!(cursor.is_known("r3") && cursor.large_rows().contains("r3"), "behind {end}");
        }
    }
    cursor.settle(row(4));
    assert!(!cursor.is_known("r3") && cursor.large_rows().is_empty());
    assert!(!restarted(&cursor, BOOT, after(1_000)).is_known("r3"));
}

#[test]
fn row_that_the_platform_no_longer_has_is_forgotten() {
    let mut cursor = listed(1..=2);
    cursor.step_over(&row(1), 1_000, after(1_000));
    cursor.pending.clear();
    cursor.forget("r1");
    assert!(!cursor.is_known("r1") && cursor.to_saved().stepped_over.is_empty());
    assert!(!cursor.pending.is_empty(), "and the file is written");
}

#[test]
fn attempts_are_counted_until_the_row_is_handled_and_for_64_rows() {
    let mut cursor = listed(1..=1);
    cursor.record_attempt(&row(1).id, 1);
    cursor.record_attempt(&row(1).id, 2);
    assert_eq!((cursor.attempts_of("r1"), cursor.attempts_of("r2")), (2, 0));
    assert_eq!(restarted(&cursor, BOOT, after(1_000)).attempts_of("r1"), 2);
    cursor.handle(&row(1), None);
    assert_eq!((cursor.attempts_of("r1"), restarted(&cursor, BOOT, after(1_000)).attempts_of("r1")), (0, 0));
    (0..1_000).for_each(|n| cursor.record_attempt(&row(n).id, 1));
    assert_eq!(
        (cursor.to_saved().attempts.len(), cursor.attempts_of("r999"), cursor.attempts_of("r1")),
        (MAX_ATTEMPTS, 1, 0)
    );
}

#[test]
fn handled_messages_are_remembered_and_bounded() {
    let mut cursor = listed(1..=1);
    let key = |n: i64| MessageKey(n.unsigned_abs().into());
    assert!(!cursor.is_handled(key(1)));
    cursor.handle(&row(1), Some(key(1)));
    assert!(cursor.is_handled(key(1)));
    assert!(restarted(&cursor, BOOT, after(1_000)).is_handled(key(1)));
    (2..=100_001).for_each(|n| cursor.handle(&row(n), Some(key(n))));
    assert!(!cursor.is_handled(key(1)) && cursor.is_handled(key(2)) && cursor.is_handled(key(100_001)));
    assert_eq!(cursor.to_saved().messages.len(), MAX_MESSAGES);
}
