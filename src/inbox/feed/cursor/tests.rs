use super::*;

/// Returns the time `second` seconds after 1970.
fn at(second: i64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

/// Returns a row with its own time.
fn row(id: &str, second: i64) -> ListedRow {
    ListedRow { key: RowKey { at: at(second), id: id.into() }, has_own_time: true }
}

const PAGE: Coverage =
    Coverage { contiguous: true, has_more: false, is_settled: false, by_since_id: false, contiguous_until: None };

/// Lists all rows of a batch and acks them.
fn ack_all(cursor: &mut Cursor, batch: &[ListedRow], coverage: Coverage) {
    cursor.record_listed(batch, at(1_000));
    (0..batch.len()).for_each(|n| cursor.ack(batch, n, coverage));
    cursor.finish_batch(coverage);
}

/// Returns the id of the anchor.
fn anchor(cursor: &Cursor) -> Option<&str> {
    cursor.anchor.as_ref().map(|anchor| &*anchor.id)
}

/// Returns the ids of the acked rows, ordered by time.
fn acked(cursor: &Cursor) -> Vec<&str> {
    cursor.acked().map(|key| &*key.id).collect()
}

#[test]
fn anchor_is_the_last_row_five_seconds_behind_the_newest() {
    let mut cursor = Cursor::default();
    ack_all(&mut cursor, &[row("a", 10), row("b", 14)], PAGE);
    assert_eq!((anchor(&cursor), cursor.floor), (None, Some(at(9))), "none is far enough behind");
    ack_all(&mut cursor, &[row("c", 15)], PAGE);
    assert_eq!((anchor(&cursor), cursor.floor), (None, Some(at(10))), "it was not in this listing");
    ack_all(&mut cursor, &[row("a", 10), row("b", 14), row("c", 15)], PAGE);
    assert_eq!((anchor(&cursor), acked(&cursor)), (Some("a"), vec!["a", "b", "c"]));
    ack_all(&mut cursor, &[row("b", 14), row("c", 15), row("d", 19), row("e", 20)], PAGE);
    assert_eq!((anchor(&cursor), acked(&cursor)), (Some("c"), vec!["c", "d", "e"]), "to the second");
    assert_eq!((cursor.is_acked("b"), cursor.is_acked("c")), (false, true));
}

#[test]
fn anchor_does_not_move_over_unacked_rows() {
    let mut cursor = Cursor::default();
    let batch = [row("a", 10), row("b", 20), row("c", 30), row("d", 40)];
    cursor.record_listed(&batch, at(1_000));
    for (n, expected) in [Some("a"), Some("b"), Some("c"), Some("c")].into_iter().enumerate() {
        cursor.ack(&batch, n, PAGE);
        assert_eq!(anchor(&cursor), expected);
    }
    // A batch behind rows that were not listed, or among which late rows may come, does not move it.
    let ahead = Coverage { contiguous: false, has_more: true, ..PAGE };
    ack_all(&mut cursor, &[row("x", 50), row("y", 90)], ahead);
    assert_eq!((anchor(&cursor), cursor.floor), (Some("c"), Some(at(30))));
    assert!(cursor.is_acked("x") && cursor.is_acked("y"));
}

/// Rows of one time stay together: a platform may list none of them as a row after the anchor.
#[test]
fn anchor_stops_at_the_last_row_of_a_time_unless_a_page_has_no_other() {
    let mut cursor = Cursor::default();
    let full_page = Coverage { has_more: true, ..PAGE };
    ack_all(&mut cursor, &[row("a", 10), row("b", 11), row("c", 11), row("z", 90)], PAGE);
    assert_eq!(anchor(&cursor), Some("c"));
    ack_all(&mut cursor, &[row("d", 20), row("e", 30), row("f", 30)], full_page);
    assert_eq!(anchor(&cursor), Some("d"), "more rows of the time of f may follow");
    ack_all(&mut cursor, &[row("e", 30), row("f", 30), row("g", 30)], full_page);
    assert_eq!(anchor(&cursor), Some("g"), "else the anchor would never move again");
}

#[test]
fn settled_batch_is_complete_up_to_the_newest_row() {
    let mut cursor = Cursor::default();
    let settled = Coverage { is_settled: true, has_more: true, ..PAGE };
    ack_all(&mut cursor, &[row("a", 10), row("b", 11), row("c", 12)], settled);
    assert_eq!((anchor(&cursor), cursor.floor), (Some("b"), Some(at(11))));
}

#[test]
fn row_without_its_own_time_is_no_anchor() {
    let mut cursor = Cursor::default();
    let mut batch = [row("a", 10), row("b", 20), row("c", 90)];
    batch[1].has_own_time = false;
    ack_all(&mut cursor, &batch, PAGE);
    assert_eq!(anchor(&cursor), Some("a"));
    assert!(cursor.is_acked("b"), "and is not delivered again");
}

#[test]
fn acked_row_whose_time_changes_stays_known_while_it_is_listed() {
    let mut cursor = Cursor::default();
    let untimed = |second| ListedRow { has_own_time: false, ..row("untimed", second) };
    ack_all(&mut cursor, &[row("a", 10), untimed(10), row("b", 20)], PAGE);
    ack_all(&mut cursor, &[row("b", 20), untimed(20), row("c", 40)], PAGE);
    assert_eq!((anchor(&cursor), cursor.is_acked("untimed")), (Some("b"), true), "it is listed again");
    let batch = [row("c", 40), row("d", 60), row("e", 90), untimed(90)];
    cursor.record_listed(&batch, at(1_000));
    (0..3).for_each(|n| cursor.ack(&batch, n, PAGE));
    assert_eq!((anchor(&cursor), cursor.is_acked("untimed")), (Some("d"), true), "and it is at the end");
    assert!(cursor.acked().filter(|key| &*key.id == "untimed").count() == 1);
}

#[test]
fn row_far_ahead_of_our_clock_does_not_tell_the_time() {
    let mut cursor = Cursor::default();
    let mut batch = vec![row("a", 900), row("b", 950), row("far", 9_000)];
    assert_eq!(cursor.record_listed(&batch, at(1_000)), Some(at(9_000)));
    ack_all(&mut cursor, &batch, PAGE);
    assert_eq!((anchor(&cursor), cursor.newest(), cursor.is_acked("far")), (Some("a"), Some(at(950)), true));
    batch.remove(0);
    ack_all(&mut cursor, &batch, Coverage { is_settled: true, has_more: true, ..PAGE });
    assert_eq!((anchor(&cursor), cursor.floor), (Some("b"), Some(at(950))), "nor in a settled batch");
    let mut slow = Cursor::default();
    slow.record_listed(&batch[1..], at(8_000));
    assert_eq!(slow.newest(), Some(at(6_800)), "our own clock may be slow");
}

#[test]
fn row_at_the_limit_tells_the_time() {
    let mut cursor = Cursor::default();
    assert_eq!(cursor.record_listed(&[row("a", 1_000)], at(1_000)), None);
    assert_eq!(cursor.newest(), Some(at(1_000)));
}

#[test]
fn poll_without_news_leaves_the_cursor_clean() {
    let mut cursor = Cursor::default();
    let batch = [row("a", 10), row("b", 20)];
    ack_all(&mut cursor, &batch, PAGE);
    assert!(!cursor.pending.is_empty());
    cursor.pending.clear();
    ack_all(&mut cursor, &batch[1..], PAGE);
    ack_all(&mut cursor, &[], PAGE);
    assert!(cursor.pending.is_empty());
}

#[test]
fn dropped_anchor_leaves_its_time_as_the_floor() {
    let mut cursor = Cursor::default();
    ack_all(&mut cursor, &[row("a", 10), row("b", 20)], PAGE);
    cursor.drop_anchor();
    assert_eq!((anchor(&cursor), cursor.floor), (None, Some(at(15))));
    cursor.set_anchor(RowKey { at: at(14), id: "other".into() });
    assert_eq!((anchor(&cursor), cursor.floor, cursor.is_acked("b")), (Some("other"), Some(at(15)), true));
}

#[test]
fn attempts_are_kept_until_the_ack_and_for_64_rows_only() {
    let mut cursor = Cursor::default();
    cursor.record_attempt(&"a".into(), 1);
    cursor.record_attempt(&"a".into(), 2);
    assert_eq!((cursor.attempts_of("a"), cursor.attempts_of("b")), (2, 0));
    cursor.ack(&[row("a", 1)], 0, PAGE);
    assert_eq!(cursor.attempts_of("a"), 0);
    (0..1_000).for_each(|n| cursor.record_attempt(&n.to_string().into(), 1));
    assert_eq!((cursor.attempts().len(), cursor.attempts_of("999"), cursor.attempts_of("1")), (MAX_ATTEMPTS, 1, 0));
}

#[test]
fn acked_rows_before_the_anchor_are_not_restored() {
    let keys = [row("a", 10), row("b", 30), row("c", 35)].map(|row| row.key);
    let cursor = Cursor::restore(Some(row("x", 29).key), Some(at(29)), keys, vec![("d".into(), 3)]);
    assert_eq!((anchor(&cursor), acked(&cursor), cursor.attempts_of("d")), (Some("x"), vec!["b", "c"], 3));
    assert_eq!((cursor.newest(), cursor.pending.is_empty()), (Some(at(29)), true));
}

/// More rows have one time than are kept: those that the anchor has passed make room, if rows are listed by `since_id`.
#[test]
fn acked_rows_of_the_anchors_time_are_dropped_if_there_are_many() {
    let page: Vec<ListedRow> = (0..500).map(|n| row(&format!("{n}"), 10)).collect();
    for (kept, by_since_id, left) in [(49_000, true, 49_500), (99_500, true, 99_501), (99_500, false, 100_000)] {
        let others = (0..kept).map(|n| row(&format!("other {n}"), 10).key);
        let acked = page.iter().map(|row| row.key.clone()).chain(others);
        let mut cursor = Cursor::restore(None, Some(at(10)), acked, Vec::new());
        assert_eq!(cursor.is_full(), kept > 50_000);
        cursor.record_listed(&[row("z", 20)], at(1_000));
        ack_all(&mut cursor, &page, Coverage { has_more: true, by_since_id, ..PAGE });
        assert_eq!((anchor(&cursor), cursor.acked().count()), (Some("499"), left));
        assert_eq!((cursor.is_acked("499"), cursor.is_acked("other 7")), (true, true));
        assert_eq!(cursor.is_full(), !by_since_id);
    }
}

#[test]
fn acked_row_whose_time_changes_stays_known_while_the_anchor_passes_the_old_time() {
    let mut cursor = Cursor::default();
    ack_all(&mut cursor, &[row("a", 10), row("m", 12), row("z", 20)], PAGE);
    let batch = [row("b", 14), row("z", 20), row("m", 22), row("y", 40)];
    cursor.record_listed(&batch, at(1_000));
    cursor.ack(&batch, 0, PAGE);
    cursor.ack(&batch, 1, PAGE);
    assert_eq!(anchor(&cursor), Some("z"));
    assert!(cursor.is_acked("m"));
    assert!(cursor.keep_if_acked("m", Some(at(50))) && !cursor.keep_if_acked("n", Some(at(50))));
    cursor.set_anchor(RowKey { at: at(45), id: "q".into() });
    assert!(cursor.is_acked("m") && !cursor.is_acked("y"));
}
