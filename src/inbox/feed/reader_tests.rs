//! Each listing alone, on a feed in memory.

use super::by_time::ByTimeReader;
use super::cursor::Cursor;
use super::cursor::saved::{Anchor, SavedCursor};
use super::fetcher::{Fetched, Page, PageEnd};
use super::memory::{MemoryFeed, RowKind, StoredRow};
use super::reader::{AfterLower, Reader, ReaderEnd, ReaderStep, Settled};
use super::start::{Start, StartReader};
use super::{RowKey, RowState};
use crate::inbox::verdict::DeadLetterReason;
use crate::platform::RowDetail;
use crate::util::clock::CoarseInstant;

const NOW: CoarseInstant = CoarseInstant::START;

fn row(micros: u64, seq: i64, id: &str) -> StoredRow {
    StoredRow::new(micros, seq, id)
}

/// Returns a cursor behind the row `anchor`.
fn cursor(anchor: StoredRow) -> Cursor {
    let saved = SavedCursor { anchor: Some(Anchor::Behind(anchor.key)), ..SavedCursor::default() };
    Cursor::from_saved(saved, None, NOW)
}

/// Lists to the end, and handles each row. Returns the ids, those of large rows with a `!`, and how the listing ended.
fn list(mut reader: Reader, feed: &mut MemoryFeed, cursor: &mut Cursor, page_size: usize) -> (Vec<String>, ReaderEnd) {
    let mut ids = Vec::new();
    while !reader.is_done() {
        let request = reader.request(cursor);
        let Fetched::Page(page) = feed.answer(&request, page_size, cursor.large_rows()) else { panic!("{request:?}") };
        let (step, batch) = reader.step(page, DeadLetterReason::TooLarge, cursor);
        assert_eq!(step, ReaderStep::Taken);
        for (key, row) in batch.rows {
            assert_eq!(cursor.list(&key, row.bytes as u64, NOW), RowState::Listed, "{key:?}");
            cursor.handle(&key, None);
            ids.push(row.id);
        }
        if let Some(unread) = batch.unread {
            ids.push(format!("{}!", unread.key.id));
            cursor.step_over(&unread.key, 1_000, NOW);
        }
    }
    (ids, reader.finish(cursor))
}

fn newest(end: ReaderEnd) -> String {
    if let ReaderEnd::Listed { newest } = end { newest.id.to_string() } else { panic!("no end of a range") }
}

fn head(feed: &mut MemoryFeed, cursor: &mut Cursor, from: RowKey, page_size: usize) -> (Vec<String>, String) {
    let (ids, end) = list(Reader::head(from), feed, cursor, page_size);
    (ids, newest(end))
}

#[test]
fn range_lists_everything_behind_a_row_whatever_the_page_size() {
    for page_size in [1, 2, 3, 500] {
        let mut feed = MemoryFeed::of((0..9).map(|n| row(n / 4, n as i64, &n.to_string())));
        let mut cursor = cursor(row(0, 1, "1"));
        let (ids, newest) = head(&mut feed, &mut cursor, row(0, 1, "1").key, page_size);
        assert_eq!((ids.concat(), newest.as_str()), ("2345678".to_owned(), "8"), "{page_size}");
        assert_eq!(head(&mut feed, &mut cursor, row(0, 1, "1").key, page_size).0, [""; 0], "all are known");
    }
}

#[test]
fn range_ends_before_a_time() {
    let mut feed = MemoryFeed::of((0..9).map(|n| row(n, n as i64, &n.to_string())));
    let mut cursor = cursor(row(0, 0, "0"));
    // Of so many bytes that the tail goes to the settled row only.
    cursor.list(&row(5, 5, "5").key, 1 << 20, NOW);
    assert!(Reader::tail(row(0, 0, "0").key, Settled::default(), &cursor).is_none());
    let tail = Reader::tail(row(0, 0, "0").key, Settled { row: Some(row(5, 5, "5").key), seq: None }, &cursor).unwrap();
    cursor.window.remove("5");
    let (ids, end) = list(tail, &mut feed, &mut cursor, 2);
    assert_eq!((ids.concat(), newest(end)), ("12345".to_owned(), "5".to_owned()));
    assert_eq!(cursor.anchor(), Some(&Anchor::Behind(row(5, 5, "5").key)));
}

/// The head goes on behind it, and the tail looks for rows of its microsecond on both sides.
#[test]
fn known_large_row_is_not_read_again() {
    let rows = [row(0, 0, "a"), row(1, 1, "b"), row(5, 5, "large").large(), row(6, 6, "c")];
    let mut feed = MemoryFeed::of(rows);
    let mut cursor = cursor(row(0, 0, "a"));
    assert_eq!(head(&mut feed, &mut cursor, row(0, 0, "a").key, 500).0, ["b", "large!", "c"]);
    feed.commit(row(5, 4, "lower"));
    feed.commit(row(5, 6, "higher"));
    assert_eq!(head(&mut feed, &mut cursor, row(0, 0, "a").key, 500).0, ["higher"]);
    let tail = Reader::tail(row(0, 0, "a").key, Settled::default(), &cursor).unwrap();
    let (ids, end) = list(tail, &mut feed, &mut cursor, 500);
    assert_eq!((ids, newest(end)), (vec!["lower".to_owned()], "c".to_owned()));
    assert!(cursor.is_known("large"));
    feed.prune("large");
    let tail = Reader::tail(row(0, 0, "a").key, Settled::default(), &cursor).unwrap();
    assert_eq!(list(tail, &mut feed, &mut cursor, 500).0, [""; 0]);
    assert!(!cursor.is_known("large"), "the tail shows that it is gone");
}

/// A row that was too slow may come whole later: it was given up, and is not to come as a message, too.
#[test]
fn row_that_was_stepped_over_and_comes_whole_stays_known() {
    let mut feed = MemoryFeed::of([row(0, 0, "a"), row(5, 5, "slow"), row(6, 6, "c")]);
    let mut cursor = cursor(row(0, 0, "a"));
    cursor.step_over(&row(5, 5, "slow").key, 1_000, NOW);
    let mut reader = Reader::tail(row(0, 0, "a").key, Settled::default(), &cursor).unwrap();
    while !reader.is_done() {
        let request = reader.request(&cursor);
        assert!(request.limit.is_none() || request.detail != RowDetail::Full, "its body is not wanted: {request:?}");
        let Fetched::Page(page) = feed.answer(&request, 500, &Default::default()) else { panic!("{request:?}") };
        let (_, batch) = reader.step(page, DeadLetterReason::TooLarge, &mut cursor);
        for (key, _) in batch.rows {
            assert_eq!(&*key.id, "c");
            cursor.list(&key, 50, NOW);
            cursor.handle(&key, None);
        }
    }
    assert_eq!(cursor.window.state("slow"), Some(RowState::SteppedOver));
}

/// The head alone cannot tell, where it begins at a row of that time.
#[test]
fn large_row_before_the_beginning_of_a_head_is_not_forgotten() {
    let mut feed = MemoryFeed::of([row(0, 0, "a"), row(5, 5, "large").large(), row(5, 6, "b")]);
    let mut cursor = cursor(row(0, 0, "a"));
    assert_eq!(head(&mut feed, &mut cursor, row(0, 0, "a").key, 500).0, ["large!", "b"]);
    assert_eq!(head(&mut feed, &mut cursor, row(5, 6, "b").key, 500).0, [""; 0]);
    assert_eq!(cursor.window.state("large"), Some(RowState::SteppedOver));
}

/// A row that was committed late stands where the large one was.
#[test]
fn row_that_comes_between_a_page_and_the_head_is_delivered() {
    let large = StoredRow { kind: RowKind::LateId, ..row(5, 5, "large").large() };
    for late in [row(4, 4, "late"), row(4, 4, "late").sized(900)] {
        let mut feed = MemoryFeed::of([row(0, 0, "a"), large.clone(), row(6, 6, "c")]);
        let mut cursor = cursor(row(0, 0, "a"));
        feed.coming = [row(6, 7, "d"), late].into();
        assert_eq!(head(&mut feed, &mut cursor, row(0, 0, "a").key, 500).0, ["late", "large!", "c", "d"]);
    }
}

#[test]
fn entries_without_ids_cannot_be_listed_behind() {
    let mut cursor = cursor(row(0, 0, "a"));
    let mut reader = Reader::head(row(0, 0, "a").key);
    let page = Page { end: PageEnd::Full, ..Page::default() };
    let (step, _) = reader.step(page, DeadLetterReason::TooLarge, &mut cursor);
    assert_eq!(step, ReaderStep::Unreadable);
}

/// Looks for a start, with rows committed between the requests.
fn start(mut reader: StartReader, mut feed: MemoryFeed, page_size: usize) -> Start {
    feed.now = Some(row(100_000_000, 0, "").key.at);
    while !reader.is_done() {
        let Fetched::Page(page) = feed.answer(&reader.request(), page_size, &Default::default()) else { panic!() };
        reader.step(&page);
    }
    reader.into_found()
}

#[test]
fn start_is_before_the_oldest_row_of_the_backlog() {
    let rows = || (90..100).map(|n| row(n * 1_000_000, n as i64, &n.to_string()));
    let of = |n: u64| row(n * 1_000_000, n as i64, &n.to_string()).key;
    for page_size in [1, 3, 500] {
        let begin = |backlog, feed| start(StartReader::new(backlog, false), feed, page_size);
        assert_eq!(begin(5, MemoryFeed::of(rows())), Start::Behind { row: of(94), is_older: true });
        assert_eq!(begin(50, MemoryFeed::of(rows())), Start::At(of(90)));
        let old = MemoryFeed::of([row(3, 3, "3"), row(4, 4, "4")]);
        assert_eq!(begin(5, old), Start::Behind { row: row(4, 4, "4").key, is_older: true });
        assert_eq!(begin(5, MemoryFeed::default()), Start::Empty);
        // Rows that are committed while the poller looks are not taken for older ones.
        for n in 0..6 {
            let mut feed = MemoryFeed::of([of(90), of(99)].map(|key| StoredRow { key, ..row(0, 0, "") }));
            feed.coming =
                (0..n).map(|n| StoredRow { kind: RowKind::OtherType, ..row(n, 0, &format!("o{n}")) }).collect();
            feed.coming.push_back(row(97_000_000, 97, "97"));
            let found = begin(5, feed);
            assert!(matches!(&found, Start::Behind { row, .. } if row.seq == 90), "{n}: {found:?}");
        }
    }
}

#[test]
fn start_after_a_loss_is_the_newest_row_up_to_the_lost_one() {
    let lost = row(5, 50, "lost");
    let begin = |rows: &[StoredRow], page_size| {
        start(StartReader::after_loss(lost.key.clone()), MemoryFeed::of(rows.to_vec()), page_size)
    };
    let behind = |row: &StoredRow| Start::Behind { row: row.key.clone(), is_older: false };
    for page_size in [1, 3, 500] {
        let (before, of_its_time, after) = (row(4, 1, "before"), row(5, 40, "of its time"), row(5, 60, "after"));
        assert_eq!(begin(&[before.clone(), after.clone()], page_size), behind(&before));
        assert_eq!(begin(&[before.clone(), of_its_time.clone(), after.clone()], page_size), behind(&of_its_time));
        // More rows of its time than one page of heads has.
        let mut many: Vec<_> = (0..30).map(|n| row(5, 51 + n, &n.to_string())).collect();
        many.push(before.clone());
        let found = begin(&many, 500);
        assert_eq!(found, behind(&before));
        assert_eq!(begin(&[after.clone(), row(7, 1, "z")], page_size), Start::At(after.key.clone()));
        assert_eq!(begin(&[], page_size), Start::Empty);
        let other = StoredRow { kind: RowKind::OtherType, ..row(3, 1, "other") };
        assert_eq!(begin(&[other.clone(), after], page_size), behind(&other));
    }
}

#[test]
fn lower_finds_late_rows_before_the_oldest_one() {
    for page_size in [1, 3, 500] {
        let hidden = StoredRow { kind: RowKind::LateId, ..row(7, 1, "hidden").large() };
        let rows = [row(9, 5, "oldest"), row(9, 4, "of its time"), row(8, 9, "late"), hidden, row(6, 1, "first")];
        let mut feed = MemoryFeed::of(rows);
        let mut cursor = Cursor::default();
        cursor.set_anchor(Anchor::Open(row(9, 5, "oldest").key));
        let lower = Reader::lower(row(9, 5, "oldest").key, AfterLower::Head);
        let (mut ids, end) = list(lower, &mut feed, &mut cursor, page_size);
        ids.sort();
        assert_eq!(ids, ["first", "hidden!", "late", "of its time", "oldest"]);
        assert_eq!(newest(end), "first");
        assert_eq!(cursor.anchor(), Some(&Anchor::Open(row(6, 1, "first").key)));
    }
}

#[test]
fn lower_is_followed_by_the_tail() {
    let mut feed = MemoryFeed::of([row(9, 5, "a")]);
    let mut cursor = Cursor::default();
    let lower =
        Reader::lower(row(9, 5, "a").key, AfterLower::Tail(Settled { row: Some(row(9, 5, "a").key), seq: None }));
    let (ids, end) = list(lower, &mut feed, &mut cursor, 500);
    let ReaderEnd::Next(tail) = end else { panic!("no tail") };
    assert_eq!((ids, list(tail, &mut feed, &mut cursor, 500).0), (vec!["a".to_owned()], vec![]));
    assert_eq!(cursor.anchor(), Some(&Anchor::Behind(row(9, 5, "a").key)), "the anchor closes");
}

#[test]
fn listing_by_time_returns_the_rows_since_a_time_in_order() {
    let mut feed = MemoryFeed::of((0..20).map(|n| row(n / 2, n as i64, &n.to_string())));
    feed.commit(row(4, 99, "large").large());
    for page_size in [3, 4, 500] {
        let (mut reader, mut ids, mut large) = (ByTimeReader::new(Some(row(4, 0, "").key.at), 1), Vec::new(), 0);
        while !reader.is_done() {
            let Fetched::Page(page) = feed.answer(&reader.request(), page_size, &Default::default()) else { panic!() };
            large += usize::from(reader.step(page, |row| row.id == "12").is_some());
            ids.extend(reader.take_rows().into_iter().map(|(_, row)| row.id));
        }
        assert!(large >= 1);
        let expected: Vec<String> = (10..20).filter(|n| *n != 12).map(|n| n.to_string()).collect();
        assert_eq!(ids, expected, "rows of the large one's time stand behind it: {page_size}");
    }
    let mut above = ByTimeReader::new(Some(row(5, 0, "").key.at), 1);
    while !above.is_done() {
        let Fetched::Page(page) = feed.answer(&above.request(), 500, &Default::default()) else { panic!() };
        assert!(above.step(page, |_| false).is_none(), "the large row is before the floor");
    }
}
