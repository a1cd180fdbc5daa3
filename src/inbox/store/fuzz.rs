//! Fuzz target of the cursor file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::fs;
use std::path::Path;

use super::CursorFile;
use super::disk::sibling_path;
use super::line::write_line;
use crate::error::ErrorKind;
use crate::inbox::feed::cursor::fuzz::assert_same;
use crate::inbox::feed::cursor::saved::Anchor;
use crate::test_util::{Scratch, halves};

/// Opens a cursor file of any bytes, or of any lines with their checksums. Beside it are the two other files of release 0.1,
/// of any bytes, too. Asserts that a cursor that was read is written and
/// read again unchanged, and that an unreadable file is kept.
pub fn cursor_file(data: &[u8]) {
    Scratch::with(|dir| open_any(dir, data));
}

/// Gives each line a length and a checksum, if the bytes begin with `#`, since no fuzzer finds those.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let Some(lines) = bytes.strip_prefix(b"#") else { return bytes.to_vec() };
    let mut out = Vec::new();
    lines.split(|byte| *byte == b'\n').for_each(|line| write_line(&mut out, line));
    out
}

/// Does what [`cursor_file`] says, in the directory `dir`.
fn open_any(dir: &Path, data: &[u8]) {
    let path = dir.join("cursor");
    let (first, rest) = halves(data);
    let first = &with_checksums(first);
    let (second, synced) = halves(rest);
    for (name, contents) in [("acked", second), ("synced", synced)] {
        if contents.is_empty() {
            let _ = fs::remove_file(sibling_path(&path, name));
        } else {
            fs::write(sibling_path(&path, name), contents).unwrap();
        }
    }
    let _ = fs::remove_file(sibling_path(&path, "unreadable"));
    fs::write(&path, first).unwrap();

    let (mut file, mut cursor) = match CursorFile::open(path.clone(), "w") {
        Ok(opened) => opened,
        Err(error) => {
            // The cursor of another workspace or release is neither used nor changed.
            assert_eq!(error.kind(), ErrorKind::Config);
            let is_expected =
                ["of the workspace", "by another release"].iter().any(|why| error.to_string().contains(why));
            assert!(is_expected, "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
            assert_eq!(&fs::read(&path).unwrap(), first);
            return;
        }
    };
    assert!(cursor.pending.is_empty());
    if fs::exists(sibling_path(&path, "unreadable")).unwrap() {
        assert_eq!(&fs::read(sibling_path(&path, "unreadable")).unwrap(), first);
        assert!(!fs::exists(&path).unwrap());
    }
    let saved = cursor.to_saved();
    assert!(saved.attempts.iter().all(|(id, attempts)| cursor.attempts_of(id) == *attempts));
    let known = || saved.handled.iter().map(|handled| &handled.row).chain(&saved.stepped_over);
    assert!(known().all(|row| cursor.is_known(&row.id)));
    if let Some(Anchor::Behind(anchor)) = cursor.anchor() {
        assert!(saved.handled.iter().all(|handled| handled.row.at >= anchor.at));
    }
    assert!(cursor.saved_len() >= known().count() + saved.attempts.len());

    // Without a change nothing is written.
    cursor.record_attempt(&"\u{0}\"new\\".into(), 7);
    file.save(&mut cursor, false);
    assert!(cursor.pending.is_empty());
    drop(file);
    let (mut file, again) = CursorFile::open(path.clone(), "w").unwrap();
    assert_same(&again, &cursor);
    assert_eq!(again.attempts_of("\u{0}\"new\\"), 7);
    // Lines behind that snapshot.
    let mut again = again;
    again.record_attempt(&"\u{0}\"new\\".into(), 8);
    file.save(&mut again, false);
    cursor.record_attempt(&"\u{0}\"new\\".into(), 9);
    again.record_attempt(&"\u{0}\"new\\".into(), 9);
    file.save(&mut again, true);
    drop(file);
    let (_file, again) = CursorFile::open(path, "w").unwrap();
    assert_same(&again, &cursor);
}
