use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

fn row(id: &str, second: i64) -> Seen {
    Seen { mark: RowKey { at: at(second), id: id.into() }, timed: true }
}

const PAGE: Extent = Extent { contiguous: true, full: false, settled: false, by_anchor: false, up_to: None };

/// That all of the rows are listed and through.
fn through(cursor: &mut Cursor, batch: &[Seen], extent: Extent) {
    cursor.listed(batch, at(1_000));
    (0..batch.len()).for_each(|n| cursor.pass(batch, n, extent));
    cursor.finish(extent);
}

fn anchor(cursor: &Cursor) -> Option<&str> {
    cursor.anchor.as_ref().map(|anchor| &*anchor.id)
}

fn acked(cursor: &Cursor) -> Vec<&str> {
    cursor.acked().map(|mark| &*mark.id).collect()
}

#[test]
fn the_anchor_is_the_last_row_five_seconds_behind_the_newest() {
    let mut cursor = Cursor::default();
    through(&mut cursor, &[row("a", 10), row("b", 14)], PAGE);
    assert_eq!((anchor(&cursor), cursor.floor), (None, Some(at(9))), "none is far enough behind");
    through(&mut cursor, &[row("c", 15)], PAGE);
    assert_eq!((anchor(&cursor), cursor.floor), (None, Some(at(10))), "it was not in this listing");
    through(&mut cursor, &[row("a", 10), row("b", 14), row("c", 15)], PAGE);
    assert_eq!((anchor(&cursor), acked(&cursor)), (Some("a"), vec!["a", "b", "c"]));
    through(&mut cursor, &[row("b", 14), row("c", 15), row("d", 19), row("e", 20)], PAGE);
    assert_eq!((anchor(&cursor), acked(&cursor)), (Some("c"), vec!["c", "d", "e"]), "to the second");
    assert_eq!((cursor.is_acked("b"), cursor.is_acked("c")), (false, true));
}

#[test]
fn it_moves_over_nothing_that_is_not_through() {
    let mut cursor = Cursor::default();
    let batch = [row("a", 10), row("b", 20), row("c", 30), row("d", 40)];
    cursor.listed(&batch, at(1_000));
    for (n, expected) in [Some("a"), Some("b"), Some("c"), Some("c")].into_iter().enumerate() {
        cursor.pass(&batch, n, PAGE);
        assert_eq!(anchor(&cursor), expected);
    }
    // What lies behind rows that were not listed, or that may come late, does not move it.
    let ahead = Extent { contiguous: false, full: true, settled: false, by_anchor: false, up_to: None };
    through(&mut cursor, &[row("x", 50), row("y", 90)], ahead);
    assert_eq!((anchor(&cursor), cursor.floor), (Some("c"), Some(at(30))));
    assert!(cursor.is_acked("x") && cursor.is_acked("y"));
}

/// Rows of one time stay together: a platform may take all of them for not after the anchor.
#[test]
fn it_stops_at_the_last_row_of_a_time_unless_a_page_has_no_other() {
    let mut cursor = Cursor::default();
    let full = Extent { full: true, ..PAGE };
    through(&mut cursor, &[row("a", 10), row("b", 11), row("c", 11), row("z", 90)], PAGE);
    assert_eq!(anchor(&cursor), Some("c"));
    through(&mut cursor, &[row("d", 20), row("e", 30), row("f", 30)], full);
    assert_eq!(anchor(&cursor), Some("d"), "more rows of the time of f may follow");
    through(&mut cursor, &[row("e", 30), row("f", 30), row("g", 30)], full);
    assert_eq!(anchor(&cursor), Some("g"), "else it would stay for ever");
}

#[test]
fn settled_rows_are_complete_up_to_the_newest() {
    let mut cursor = Cursor::default();
    let settled = Extent { settled: true, full: true, contiguous: true, by_anchor: false, up_to: None };
    through(&mut cursor, &[row("a", 10), row("b", 11), row("c", 12)], settled);
    assert_eq!((anchor(&cursor), cursor.floor), (Some("b"), Some(at(11))));
}

#[test]
fn a_row_without_a_time_of_its_own_is_no_anchor() {
    let mut cursor = Cursor::default();
    let mut batch = [row("a", 10), row("b", 20), row("c", 90)];
    batch[1].timed = false;
    through(&mut cursor, &batch, PAGE);
    assert_eq!(anchor(&cursor), Some("a"));
    assert!(cursor.is_acked("b"), "and does not come again");
}

#[test]
fn a_row_whose_time_moves_is_known_for_as_long_as_it_is_listed() {
    let mut cursor = Cursor::default();
    let odd = |second| Seen { timed: false, ..row("odd", second) };
    through(&mut cursor, &[row("a", 10), odd(10), row("b", 20)], PAGE);
    through(&mut cursor, &[row("b", 20), odd(20), row("c", 40)], PAGE);
    assert_eq!((anchor(&cursor), cursor.is_acked("odd")), (Some("b"), true), "it is listed again");
    let batch = [row("c", 40), row("d", 60), row("e", 90), odd(90)];
    cursor.listed(&batch, at(1_000));
    (0..3).for_each(|n| cursor.pass(&batch, n, PAGE));
    assert_eq!((anchor(&cursor), cursor.is_acked("odd")), (Some("d"), true), "and it is at the end");
    assert!(cursor.fresh().iter().filter(|mark| &*mark.id == "odd").count() == 1);
}

/// Or else all that comes until then would be taken for late.
#[test]
fn a_row_that_is_far_ahead_does_not_show_what_time_it_is() {
    let mut cursor = Cursor::default();
    let mut batch = vec![row("a", 900), row("b", 950), row("far", 9_000)];
    assert_eq!(cursor.listed(&batch, at(1_000)), Some(at(9_000)));
    through(&mut cursor, &batch, PAGE);
    assert_eq!((anchor(&cursor), cursor.newest(), cursor.is_acked("far")), (Some("a"), Some(at(950)), true));
    batch.remove(0);
    through(&mut cursor, &batch, Extent { settled: true, full: true, ..PAGE });
    assert_eq!((anchor(&cursor), cursor.floor), (Some("b"), Some(at(950))), "nor where the clock has to tell");
    let mut slow = Cursor::default();
    slow.listed(&batch[1..], at(8_000));
    assert_eq!(slow.newest(), Some(at(6_800)), "or our own clock is slow");
}

#[test]
fn a_row_as_far_ahead_as_it_may_be_shows_what_time_it_is() {
    let mut cursor = Cursor::default();
    assert_eq!(cursor.listed(&[row("a", 1_000)], at(1_000)), None);
    assert_eq!(cursor.newest(), Some(at(1_000)));
}

#[test]
fn a_poll_that_brings_nothing_new_leaves_nothing_to_save() {
    let mut cursor = Cursor::default();
    let batch = [row("a", 10), row("b", 20)];
    through(&mut cursor, &batch, PAGE);
    assert!(std::mem::take(&mut cursor.dirty));
    through(&mut cursor, &batch[1..], PAGE);
    through(&mut cursor, &[], PAGE);
    assert!(!cursor.dirty);
}

#[test]
fn a_lost_anchor_leaves_its_time() {
    let mut cursor = Cursor::default();
    through(&mut cursor, &[row("a", 10), row("b", 20)], PAGE);
    cursor.lose_anchor();
    assert_eq!((anchor(&cursor), cursor.floor), (None, Some(at(15))));
    cursor.adopt(RowKey { at: at(14), id: "other".into() });
    assert_eq!((anchor(&cursor), cursor.floor, cursor.is_acked("b")), (Some("other"), Some(at(15)), true));
}

#[test]
fn tries_are_kept_until_a_row_is_through_and_those_of_few_rows_only() {
    let mut cursor = Cursor::default();
    cursor.begin(&"a".into(), 1);
    cursor.begin(&"a".into(), 2);
    assert_eq!((cursor.tries("a"), cursor.tries("b")), (2, 0));
    cursor.pass(&[row("a", 1)], 0, PAGE);
    assert_eq!(cursor.tries("a"), 0);
    (0..1_000).for_each(|n| cursor.begin(&n.to_string().into(), 1));
    assert_eq!((cursor.all_tries().len(), cursor.tries("999"), cursor.tries("1")), (MAX_TRIES_KEPT, 1, 0));
}

#[test]
fn what_was_saved_is_restored_without_what_lies_before_the_anchor() {
    let marks = [row("a", 10), row("b", 30), row("c", 35)].map(|seen| seen.mark);
    let cursor = Cursor::restore(Some(row("x", 29).mark), Some(at(29)), marks, vec![("d".into(), 3)]);
    assert_eq!((anchor(&cursor), acked(&cursor), cursor.tries("d")), (Some("x"), vec!["b", "c"], 3));
    assert_eq!((cursor.newest(), cursor.dirty), (Some(at(29)), false));
}

/// More of one time than are kept: those that the anchor is past make room, where it is asked by it.
#[test]
fn what_is_of_the_anchors_time_and_before_it_goes_where_there_are_many() {
    let page: Vec<Seen> = (0..500).map(|n| row(&format!("{n}"), 10)).collect();
    for (kept, by_anchor, left) in [(49_000, true, 49_500), (99_500, true, 99_501), (99_500, false, 100_000)] {
        let others = (0..kept).map(|n| row(&format!("other {n}"), 10).mark);
        let acked = page.iter().map(|seen| seen.mark.clone()).chain(others);
        let mut cursor = Cursor::restore(None, Some(at(10)), acked, Vec::new());
        assert_eq!(cursor.is_full(), kept > 50_000);
        cursor.listed(&[row("z", 20)], at(1_000));
        through(&mut cursor, &page, Extent { full: true, by_anchor, ..PAGE });
        assert_eq!((anchor(&cursor), cursor.acked().count()), (Some("499"), left));
        assert_eq!((cursor.is_acked("499"), cursor.is_acked("other 7")), (true, true));
        assert_eq!(cursor.is_full(), !by_anchor);
    }
}

/// A row is not forgotten by the time that it had while it is listed with another.
#[test]
fn a_row_whose_time_moves_is_known_while_the_anchor_moves_over_the_old_one() {
    let mut cursor = Cursor::default();
    through(&mut cursor, &[row("a", 10), row("m", 12), row("z", 20)], PAGE);
    let batch = [row("b", 14), row("z", 20), row("m", 22), row("y", 40)];
    cursor.listed(&batch, at(1_000));
    cursor.pass(&batch, 0, PAGE);
    cursor.pass(&batch, 1, PAGE);
    assert_eq!(anchor(&cursor), Some("z"));
    assert!(cursor.is_acked("m"));
    assert!(cursor.is_through("m", Some(at(50))) && !cursor.is_through("n", Some(at(50))));
    cursor.adopt(RowKey { at: at(45), id: "q".into() });
    assert!(cursor.is_acked("m") && !cursor.is_acked("y"));
}
