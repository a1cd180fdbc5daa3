use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::inbox::feed::cursor::{Extent, Seen};

fn dir(name: &str) -> PathBuf {
    // Numbered: two tests of one name run side by side.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("a2a-file-{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let dir = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// As after a power failure, on a file system that does not keep the old file until the new one is on the disk.
fn emptied(path: &Path) {
    let new = beside(path, "empty");
    fs::write(&new, "").unwrap();
    fs::rename(new, path).unwrap();
}

fn mark(n: i64) -> RowKey {
    RowKey { at: Timestamp::from_nanos(n), id: format!("id \"{n}\"\\").into() }
}

/// Whatever an id is made of, and whether or not there are more than one file takes.
#[test]
fn what_is_saved_is_read_again() {
    let dir = dir("again");
    for rows in [0, 1, 256, 257, 60_000] {
        let path = dir.join(format!("c{rows}"));
        let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
        let mut cursor =
            Cursor::restore(Some(mark(-1)), Some(Timestamp::from_nanos(-1)), (0..rows).map(mark), Vec::new());
        cursor.begin(&mark(9).id, 3);
        cursor.begin(&mark(8).id, 1);
        file.save(&mut cursor, true);
        assert!(!cursor.dirty);
        drop(file);
        let (_file, again) = CursorFile::open(path.clone(), "w").unwrap();
        assert_eq!((&again.anchor, again.floor), (&cursor.anchor, cursor.floor));
        assert_eq!((again.tries(&mark(9).id), again.tries(&mark(8).id)), (3, 1));
        assert!(again.acked().eq(cursor.acked()), "{rows}");
        assert_eq!(beside(&path, "acked").exists(), rows > 256);
    }
    fs::remove_dir_all(dir).unwrap();
}

#[cfg(unix)]
#[test]
fn it_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = dir("mode");
    let (mut file, mut cursor) = CursorFile::open(dir.join("c"), "w").unwrap();
    cursor.begin(&"a".into(), 1);
    file.save(&mut cursor, false);
    assert_eq!(fs::metadata(dir.join("c")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_dir_all(dir).unwrap();
}

/// One that has not changed is not written, and not synced twice.
#[test]
fn nothing_is_written_where_nothing_has_changed() {
    let dir = dir("idle");
    let (mut file, mut cursor) = CursorFile::open(dir.join("c"), "w").unwrap();
    file.save(&mut cursor, true);
    assert!(!dir.join("c").exists());
    cursor.begin(&"a".into(), 1);
    file.save(&mut cursor, true);
    fs::remove_file(dir.join("c")).unwrap();
    file.save(&mut cursor, true);
    assert!(!dir.join("c").exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_empty_file_is_no_loss_of_what_was_synced() {
    let dir = dir("power");
    let path = dir.join("c");
    let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
    let mut cursor = Cursor::restore(Some(mark(7)), None, [mark(8)], Vec::new());
    cursor.begin(&"a".into(), 1);
    file.save(&mut cursor, true);
    cursor.begin(&"b".into(), 1);
    file.save(&mut cursor, false);
    drop(file);
    emptied(&path);
    let (_file, again) = CursorFile::open(path, "w").unwrap();
    assert_eq!((&again.anchor, again.tries("a"), again.tries("b")), (&cursor.anchor, 1, 0));
    assert!(again.is_acked(&mark(8).id));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_was_synced_does_not_name_a_second_file_that_is_gone() {
    let dir = dir("second");
    let path = dir.join("c");
    let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
    let mut cursor = Cursor::restore(Some(mark(-1)), None, (0..300).map(mark), Vec::new());
    cursor.begin(&"a".into(), 1);
    file.save(&mut cursor, true);
    cursor.adopt(mark(1_000));
    file.save(&mut cursor, false);
    drop(file);
    emptied(&path);
    let (_file, again) = CursorFile::open(path, "w").unwrap();
    assert!(again.anchor.is_some(), "back at the backlog");
    fs::remove_dir_all(dir).unwrap();
}

/// What stands in a file may be anybody's: an error is read in a terminal.
#[test]
fn what_a_file_says_is_shown_without_what_moves_a_cursor() {
    let dir = dir("words");
    let path = dir.join("c");
    fs::write(&path, "{\"version\":1,\"workspace\":\"o\\n\\u001b[2J\"}").unwrap();
    let error = CursorFile::open(path, "w").err().unwrap().to_string();
    assert!(error.contains(r"of the workspace o\n\u{1b}[2J, and this is w"), "{error}");
    fs::remove_dir_all(dir).unwrap();
}

/// A platform may take all rows of one time for not after an anchor of that time: they are still listed.
#[test]
fn the_second_file_stays_while_rows_of_the_anchors_time_are_in_it() {
    let dir = dir("tied");
    let path = dir.join("c");
    let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
    let tied = (0..300).map(|n| RowKey { at: Timestamp::from_nanos(7), id: format!("{n:03}").into() });
    let mut cursor = Cursor::restore(None, Some(Timestamp::from_nanos(1)), tied.clone(), Vec::new());
    cursor.begin(&"a".into(), 1);
    file.save(&mut cursor, true);
    cursor.adopt(RowKey { at: Timestamp::from_nanos(7), id: "299".into() });
    file.save(&mut cursor, true);
    drop(file);
    let (mut file, mut again) = CursorFile::open(path.clone(), "w").unwrap();
    assert!(tied.clone().all(|mark| again.is_acked(&mark.id)));
    again.adopt(RowKey { at: Timestamp::from_nanos(8), id: "later".into() });
    file.save(&mut again, true);
    assert!(!tied.clone().any(|mark| again.is_acked(&mark.id)));
    fs::remove_dir_all(dir).unwrap();
}

/// What was synced names the second file, so that it is replaced only as both are synced.
#[test]
fn the_second_file_is_not_replaced_without_a_sync() {
    let dir = dir("both");
    let path = dir.join("c");
    let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
    let mut cursor = Cursor::restore(Some(mark(-1)), None, (0..300).map(mark), Vec::new());
    cursor.begin(&"a".into(), 1);
    file.save(&mut cursor, true);
    let batch: Vec<Seen> = (300..700).map(|n| Seen { mark: mark(n), timed: true }).collect();
    let extent = Extent { contiguous: false, full: true, settled: false, by_anchor: false, up_to: None };
    (0..batch.len()).for_each(|n| cursor.pass(&batch, n, extent));
    cursor.begin(&"b".into(), 1);
    file.save(&mut cursor, false);
    let synced = fs::read(beside(&path, "synced")).unwrap();
    assert!(synced == fs::read(&path).unwrap(), "what was synced is of before");
    drop(file);
    emptied(&path);
    let (_file, again) = CursorFile::open(path, "w").unwrap();
    assert!(batch.iter().all(|seen| again.is_acked(&seen.mark.id)) && again.tries("b") == 1);
    fs::remove_dir_all(dir).unwrap();
}
