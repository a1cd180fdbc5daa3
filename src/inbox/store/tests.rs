use std::env::temp_dir;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::*;
use crate::inbox::feed::RowKey;
use crate::inbox::feed::cursor::fuzz::{assert_same, settle, settle_by_time};
use crate::inbox::feed::cursor::saved::{Anchor, HandledRow};
use crate::wire::Timestamp;

/// Makes an empty directory. It is in memory where the system has `/dev/shm`, since much is synced here.
pub(super) fn dir(name: &str) -> PathBuf {
    // Numbered, since tests run in parallel.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("a2a-file-{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let shared = Path::new("/dev/shm");
    let dir = if shared.is_dir() { shared.join(name) } else { temp_dir().join(name) };
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Returns the names of the files in a directory, sorted.
pub(super) fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

pub(super) fn open(path: &Path) -> (CursorFile, Cursor) {
    CursorFile::open(path.to_owned(), "w").unwrap()
}

pub(super) fn open_error(path: &Path) -> String {
    CursorFile::open(path.to_owned(), "w").err().unwrap().to_string()
}

/// Returns a key whose id needs to be escaped in JSON.
pub(super) fn key(n: i64) -> RowKey {
    RowKey { at: Timestamp::from_nanos(n), seq: 1_000 + n, id: format!("id \"{n}\"\\").into() }
}

/// Returns the key of a row as release 0.1 saved it.
fn key_of_version_1(n: i64) -> RowKey {
    RowKey { seq: 0, ..key(n) }
}

/// Lists the rows of these numbers, and records that they are handled. The anchor stays where it is.
pub(super) fn handle(cursor: &mut Cursor, rows: std::ops::Range<i64>) {
    for n in rows {
        cursor.list(&key(n), 100, CoarseInstant::now());
        cursor.handle(&key(n), None);
    }
}

/// Returns a cursor behind row -1, of which so many rows are handled.
pub(super) fn cursor_of(rows: i64) -> Cursor {
    let handled = (0..rows).map(key).map(HandledRow::new).collect();
    restored(SavedCursor { anchor: Some(Anchor::Behind(key(-1))), handled, ..SavedCursor::default() })
}

/// Returns the cursor that a saved state makes.
pub(super) fn restored(saved: SavedCursor) -> Cursor {
    Cursor::from_saved(saved, disk::boot_id(), CoarseInstant::now())
}

/// Returns the cursor that is saved at `path`.
pub(super) fn read_back(path: &Path) -> Cursor {
    restored(load(path, "w").unwrap().unwrap().saved)
}

/// Writes a cursor as release 0.1 wrote it, and returns it.
pub(super) fn write_version_1(path: &Path, rows: std::ops::Range<i64>) -> Value {
    let acked: Vec<Value> = rows.map(|n| json!([&*key(n).id, n])).collect();
    let anchor = json!([&*key(-1).id, key(-1).at.to_string()]);
    let saved = json!({ "version": 1, "workspace": "w", "anchor": anchor, "floor": key(-1).at.to_string(),
        "tries": { "t": 3 }, "snapshot": false, "acked": acked });
    fs::write(path, saved.to_string()).unwrap();
    saved
}

#[test]
fn saved_cursor_is_read_back() {
    let dir = dir("again");
    for rows in [0, 1, 256, 257, 20_000] {
        let path = dir.join(format!("c{rows}"));
        let (mut file, _) = open(&path);
        let mut cursor = cursor_of(rows);
        cursor.record_attempt(&key(9).id, 3);
        cursor.record_attempt(&key(8).id, 1);
        file.save(&mut cursor, true);
        assert!(cursor.pending.is_empty());
        // In the snapshot, and in lines behind it.
        for more in if rows < 1_000 { &[0, 1, 5][..] } else { &[5] } {
            handle(&mut cursor, rows..rows + *more);
            file.save(&mut cursor, false);
            let loaded = load(&path, "w").unwrap().unwrap();
            assert_eq!(loaded.left, None);
            assert_same(&restored(loaded.saved), &cursor);
        }
        assert_eq!(files(&dir), [format!("c{rows}"), format!("c{rows}.lock")]);
        drop(file);
        let (file, again) = open(&path);
        assert_same(&again, &cursor);
        drop(file);
        fs::remove_file(&path).unwrap();
        fs::remove_file(sibling_path(&path, "lock")).unwrap();
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_a_reader_does_not_use_is_saved_again() {
    use crate::inbox::feed::cursor::saved::tests::each_change;
    let dir = dir("unused");
    let path = dir.join("c");
    let mut saved = SavedCursor { hash_key: Some(77), ..SavedCursor::default() };
    each_change().into_iter().for_each(|change| saved.apply(change));
    Journal::create(&path, &load::header("w", &saved), &saved).unwrap();
    let (mut file, mut cursor) = open(&path);
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, true);
    let again = load(&path, "w").unwrap().unwrap().saved;
    assert_eq!((again.hash_key, &again.uploads, &again.stepped_over), (Some(77), &saved.uploads, &saved.stepped_over));
    assert_eq!(
        (again.acked_seq, again.last_listed, &again.broadcasts),
        (Some(-1), saved.last_listed, &saved.broadcasts)
    );
    assert_eq!(again.messages, saved.messages);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn hash_key_is_made_once_and_kept() {
    let dir = dir("key");
    let path = dir.join("c");
    let keys = [1, 2].map(|attempts| {
        let (mut file, mut cursor) = open(&path);
        cursor.record_attempt(&"a".into(), attempts);
        file.save(&mut cursor, true);
        load(&path, "w").unwrap().unwrap().saved.hash_key
    });
    assert!(keys[0].is_some() && keys[0] == keys[1]);
    fs::remove_dir_all(dir).unwrap();
}

/// As with 100,000 rows, of which the anchor moves over none.
/// After a power failure each byte that was not synced may be missing, a zero, or another.
/// Its meaning would be lost.
#[test]
fn cursor_of_another_release_is_refused_and_kept() {
    let dir = dir("release");
    let path = dir.join("c");
    let header = String::from_utf8(load::header("w", &SavedCursor::default())).unwrap();
    for (lines, what) in [
        ([header.as_str(), r#"{"moon":[1]}"#], "a record moon"),
        ([header.as_str(), r#"{"tries":["a"]}"#], r#"the record {"tries":["a"]}"#),
        ([header.as_str(), "no json"], "the line no json"),
        ([r#"{"version":3}"#, "{}"], "version 3"),
        ([r#"{"version":2,"workspace":"w","key":"00"}"#, "{}"], "the first line"),
    ] {
        let mut bytes = Vec::new();
        lines.iter().for_each(|line| line::write_line(&mut bytes, line.as_bytes()));
        fs::write(&path, &bytes).unwrap();
        let error = open_error(&path);
        assert!(error.contains("by another release") && error.contains(what), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    fs::remove_dir_all(dir).unwrap();
}

/// Lines that are appended to a removed file are gone.
#[test]
fn cursor_of_release_0_1_is_taken_over() {
    let dir = dir("old");
    let path = dir.join("c");
    let mut saved = write_version_1(&path, 0..300);
    saved["snapshot"] = true.into();
    let acked = std::mem::replace(&mut saved["acked"], json!([["late", 7]]));
    fs::write(&path, saved.to_string()).unwrap();
    fs::write(dir.join("c.acked"), json!({ "acked": acked }).to_string()).unwrap();
    fs::hard_link(&path, dir.join("c.synced")).unwrap();
    let (mut file, mut cursor) = open(&path);
    assert_eq!((cursor.anchor(), cursor.attempts_of("t")), (Some(&Anchor::Behind(key_of_version_1(-1))), 3));
    assert!((0..300).all(|n| cursor.is_known(&key(n).id)) && cursor.is_known("late"));
    file.save(&mut cursor, true);
    assert_eq!(files(&dir), ["c", "c.acked", "c.lock", "c.synced"], "it is read only, so far");
    handle(&mut cursor, 300..301);
    // Where the new file cannot be written, the old ones stay.
    fs::create_dir(dir.join("c.new")).unwrap();
    file.save(&mut cursor, true);
    assert!(file.is_failing());
    assert_eq!(files(&dir), ["c", "c.acked", "c.lock", "c.new", "c.synced"]);
    fs::remove_dir(dir.join("c.new")).unwrap();
    file.save(&mut cursor, true);
    assert!(!file.is_failing());
    assert_eq!(files(&dir), ["c", "c.lock"]);
    drop(file);
    assert_same(&open(&path).1, &cursor);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn synced_cursor_of_release_0_1_is_read_if_the_file_is_empty() {
    let dir = dir("synced");
    let path = dir.join("c");
    write_version_1(&path, 8..9);
    fs::rename(&path, dir.join("c.synced")).unwrap();
    fs::write(&path, "").unwrap();
    let (_file, again) = open(&path);
    assert_eq!((again.anchor(), again.attempts_of("t")), (Some(&Anchor::Behind(key_of_version_1(-1))), 3));
    assert!(again.is_known(&key(8).id));
    fs::remove_dir_all(dir).unwrap();
}

/// Anybody may have written the file, and the error is read in a terminal.
#[test]
fn file_contents_are_escaped_in_errors() {
    let dir = dir("words");
    let path = dir.join("c");
    for version in [1, 2] {
        let text = format!("{{\"version\":{version},\"workspace\":\"o\\n\\u001b[2J\"}}");
        let mut line = Vec::new();
        line::write_line(&mut line, text.as_bytes());
        fs::write(&path, if version == 1 { text.as_bytes() } else { &line }).unwrap();
        let error = open_error(&path);
        assert!(error.contains(r"of the workspace o\n\u{1b}[2J, and this is w"), "{error}");
    }
    fs::remove_dir_all(dir).unwrap();
}

/// A cursor of release 0.1 without an anchor has a time up to which everything was handled.
#[test]
fn floor_of_release_0_1_is_taken_over() {
    let dir = dir("floor");
    let path = dir.join("c");
    let mut saved = write_version_1(&path, 3..5);
    saved["anchor"] = Value::Null;
    fs::write(&path, saved.to_string()).unwrap();
    let (_file, cursor) = open(&path);
    let floor = RowKey { at: key(-1).at, seq: 0, id: "".into() };
    assert_eq!(cursor.anchor(), Some(&Anchor::Pruned(floor)));
    assert!(cursor.is_known(&key(3).id) && cursor.is_known(&key(4).id));
    fs::remove_dir_all(dir).unwrap();
}

/// A platform may list all rows of the anchor's time again.
#[test]
fn rows_of_the_anchors_time_are_kept() {
    let dir = dir("tied");
    let path = dir.join("c");
    let (mut file, _) = open(&path);
    let at = |n, id: String| RowKey { at: Timestamp::from_nanos(n), seq: 0, id: id.into() };
    let tied = (0..300).map(|n| at(7, format!("{n:03}")));
    let anchor = Some(Anchor::Behind(at(1, "first".to_owned())));
    let handled = tied.clone().map(HandledRow::new).collect();
    let mut cursor = restored(SavedCursor { anchor, handled, ..SavedCursor::default() });
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, true);
    settle_by_time(&mut cursor, at(7, "299".to_owned()));
    file.save(&mut cursor, true);
    drop(file);
    let (mut file, mut again) = open(&path);
    assert_same(&again, &cursor);
    assert!(tied.clone().all(|key| again.is_known(&key.id)));
    settle(&mut again, at(8, "later".to_owned()));
    file.save(&mut again, true);
    assert!(!tied.clone().any(|key| again.is_known(&key.id)));
    assert_same(&read_back(&path), &again);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn cursor_that_cannot_be_written_is_refused_where_it_is_required() {
    let dir = dir("required");
    let path = dir.join("c");
    let (mut file, mut cursor) = open(&path);
    fs::create_dir(dir.join("c.new")).unwrap();
    let error = file.require_writable(&mut cursor).unwrap_err().to_string();
    assert!(error.contains("c cannot be written (") && error.contains("set another path"), "{error}");
    fs::remove_dir(dir.join("c.new")).unwrap();
    file.require_writable(&mut cursor).unwrap();
    assert_eq!(files(&dir), ["c", "c.lock"]);
    fs::remove_dir_all(dir).unwrap();
}
