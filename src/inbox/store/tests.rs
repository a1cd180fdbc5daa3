use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::inbox::feed::{Coverage, ListedRow};

/// Makes an empty directory.
fn dir(name: &str) -> PathBuf {
    // Numbered, since tests run in parallel.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("a2a-file-{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let dir = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Empties a file, as a power failure may on a file system that does not keep the old one until the new one is on disk.
fn empty(path: &Path) {
    let new = sibling_path(path, "empty");
    fs::write(&new, "").unwrap();
    fs::rename(new, path).unwrap();
}

/// Returns a key whose id needs to be escaped in JSON.
fn key(n: i64) -> RowKey {
    RowKey { at: Timestamp::from_nanos(n), id: format!("id \"{n}\"\\").into() }
}

#[test]
fn saved_cursor_is_read_back() {
    let dir = dir("again");
    for rows in [0, 1, 256, 257, 60_000] {
        let path = dir.join(format!("c{rows}"));
        let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
        let mut cursor =
            Cursor::restore(Some(key(-1)), Some(Timestamp::from_nanos(-1)), (0..rows).map(key), Vec::new());
        cursor.record_attempt(&key(9).id, 3);
        cursor.record_attempt(&key(8).id, 1);
        file.save(&mut cursor, true);
        assert!(!cursor.dirty);
        drop(file);
        let (_file, again) = CursorFile::open(path.clone(), "w").unwrap();
        assert_eq!((&again.anchor, again.floor), (&cursor.anchor, cursor.floor));
        assert_eq!((again.attempts_of(&key(9).id), again.attempts_of(&key(8).id)), (3, 1));
        assert!(again.acked().eq(cursor.acked()), "{rows}");
        assert_eq!(sibling_path(&path, "acked").exists(), rows > 256);
    }
    fs::remove_dir_all(dir).unwrap();
}

#[cfg(unix)]
#[test]
fn file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = dir("mode");
    let (mut file, mut cursor) = CursorFile::open(dir.join("c"), "w").unwrap();
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, false);
    assert_eq!(fs::metadata(dir.join("c")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn unchanged_cursor_is_not_written() {
    let dir = dir("idle");
    let (mut file, mut cursor) = CursorFile::open(dir.join("c"), "w").unwrap();
    file.save(&mut cursor, true);
    assert!(!dir.join("c").exists());
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, true);
    fs::remove_file(dir.join("c")).unwrap();
    file.save(&mut cursor, true);
    assert!(!dir.join("c").exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn synced_cursor_is_read_if_the_file_is_empty() {
    let dir = dir("power");
    let path = dir.join("c");
    let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
    let mut cursor = Cursor::restore(Some(key(7)), None, [key(8)], Vec::new());
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, true);
    cursor.record_attempt(&"b".into(), 1);
    file.save(&mut cursor, false);
    drop(file);
    empty(&path);
    let (_file, again) = CursorFile::open(path, "w").unwrap();
    assert_eq!((&again.anchor, again.attempts_of("a"), again.attempts_of("b")), (&cursor.anchor, 1, 0));
    assert!(again.is_acked(&key(8).id));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn synced_cursor_never_refers_to_a_removed_snapshot() {
    let dir = dir("second");
    let path = dir.join("c");
    let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
    let mut cursor = Cursor::restore(Some(key(-1)), None, (0..300).map(key), Vec::new());
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, true);
    cursor.set_anchor(key(1_000));
    file.save(&mut cursor, false);
    drop(file);
    empty(&path);
    let (_file, again) = CursorFile::open(path, "w").unwrap();
    assert!(again.anchor.is_some(), "starts from the backlog");
    fs::remove_dir_all(dir).unwrap();
}

/// Anybody may have written the file, and the error is read in a terminal.
#[test]
fn file_contents_are_escaped_in_errors() {
    let dir = dir("words");
    let path = dir.join("c");
    fs::write(&path, "{\"version\":1,\"workspace\":\"o\\n\\u001b[2J\"}").unwrap();
    let error = CursorFile::open(path, "w").err().unwrap().to_string();
    assert!(error.contains(r"of the workspace o\n\u{1b}[2J, and this is w"), "{error}");
    fs::remove_dir_all(dir).unwrap();
}

/// A platform may list all rows of the anchor's time again.
#[test]
fn snapshot_stays_while_it_has_rows_of_the_anchors_time() {
    let dir = dir("tied");
    let path = dir.join("c");
    let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
    let tied = (0..300).map(|n| RowKey { at: Timestamp::from_nanos(7), id: format!("{n:03}").into() });
    let mut cursor = Cursor::restore(None, Some(Timestamp::from_nanos(1)), tied.clone(), Vec::new());
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, true);
    cursor.set_anchor(RowKey { at: Timestamp::from_nanos(7), id: "299".into() });
    file.save(&mut cursor, true);
    drop(file);
    let (mut file, mut again) = CursorFile::open(path.clone(), "w").unwrap();
    assert!(tied.clone().all(|key| again.is_acked(&key.id)));
    again.set_anchor(RowKey { at: Timestamp::from_nanos(8), id: "later".into() });
    file.save(&mut again, true);
    assert!(!tied.clone().any(|key| again.is_acked(&key.id)));
    fs::remove_dir_all(dir).unwrap();
}

/// The synced cursor refers to the snapshot, so that this is replaced only where both are synced.
#[test]
fn snapshot_is_not_replaced_without_a_sync() {
    let dir = dir("both");
    let path = dir.join("c");
    let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
    let mut cursor = Cursor::restore(Some(key(-1)), None, (0..300).map(key), Vec::new());
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, true);
    let batch: Vec<ListedRow> = (300..700).map(|n| ListedRow { key: key(n), has_own_time: true }).collect();
    let coverage =
        Coverage { contiguous: false, has_more: true, is_settled: false, by_since_id: false, contiguous_until: None };
    (0..batch.len()).for_each(|n| cursor.ack(&batch, n, coverage));
    cursor.record_attempt(&"b".into(), 1);
    file.save(&mut cursor, false);
    let synced = fs::read(sibling_path(&path, "synced")).unwrap();
    assert!(synced == fs::read(&path).unwrap(), "the synced file is the version before");
    drop(file);
    empty(&path);
    let (_file, again) = CursorFile::open(path, "w").unwrap();
    assert!(batch.iter().all(|row| again.is_acked(&row.key.id)) && again.attempts_of("b") == 1);
    fs::remove_dir_all(dir).unwrap();
}
