#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::fs;
use std::path::Path;

use super::CursorFile;
use super::disk::beside;
use crate::error::ErrorKind;
use crate::inbox::feed::cursor::{Cursor, RowKey};
use crate::test_util::{Scratch, halves};
use crate::wire::Timestamp;

/// A cursor's file of any bytes, the second one and the one that was synced: what is read of them is written as it
/// was, and what cannot be read is kept.
pub fn cursor_file(data: &[u8]) {
    Scratch::with(|dir| open(dir, data));
}

fn open(dir: &Path, data: &[u8]) {
    let path = dir.join("cursor");
    let (first, rest) = halves(data);
    let (second, synced) = halves(rest);
    for (name, contents) in [("acked", second), ("synced", synced)] {
        if contents.is_empty() {
            let _ = fs::remove_file(beside(&path, name));
        } else {
            fs::write(beside(&path, name), contents).unwrap();
        }
    }
    let _ = fs::remove_file(beside(&path, "unreadable"));
    fs::write(&path, first).unwrap();

    let (mut file, mut cursor) = match CursorFile::open(path.clone(), "w") {
        Ok(opened) => opened,
        Err(error) => {
            // Another's cursor is never taken, nor touched.
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("of the workspace"), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
            assert_eq!(fs::read(&path).unwrap(), first);
            return;
        }
    };
    assert!(!cursor.dirty);
    if fs::exists(beside(&path, "unreadable")).unwrap() {
        assert_eq!(fs::read(beside(&path, "unreadable")).unwrap(), first);
        assert!(!fs::exists(&path).unwrap());
    }
    let tries: Vec<_> = cursor.all_tries().to_vec();
    assert!(tries.iter().all(|(id, tries)| cursor.tries(id) == *tries));
    let from = cursor.anchor.as_ref().map(|anchor| anchor.at).or(cursor.floor).unwrap_or(Timestamp::EARLIEST);
    assert!(cursor.acked().all(|mark| mark.at >= from && cursor.is_acked(&mark.id)));

    // A change, since without one nothing is written.
    cursor.begin(&"\u{0}\"new\\".into(), 7);
    file.save(&mut cursor, false);
    assert!(!cursor.dirty);
    drop(file);
    let (mut file, again) = CursorFile::open(path.clone(), "w").unwrap();
    is_same(&again, &cursor);
    assert_eq!(again.tries("\u{0}\"new\\"), 7);
    let mut again = again;
    again.dirty = true;
    file.save(&mut again, true);
    drop(file);
    let (_file, again) = CursorFile::open(path, "w").unwrap();
    is_same(&again, &cursor);
}

pub(in crate::inbox) fn is_same(one: &Cursor, other: &Cursor) {
    assert_eq!((&one.anchor, one.floor), (&other.anchor, other.floor));
    let sorted = |cursor: &Cursor| {
        let mut tries = cursor.all_tries().to_vec();
        tries.sort();
        tries
    };
    assert_eq!(sorted(one), sorted(other));
    let acked = |cursor: &Cursor| cursor.acked().cloned().collect::<Vec<RowKey>>();
    assert_eq!(acked(one), acked(other));
}
