//! The journal: appending, compaction, and power failures.

use super::tests::{cursor_of, dir, handle, key, open, read_back, restored};
use super::*;
use crate::inbox::feed::cursor::fuzz::{assert_same, settle};

#[test]
fn save_appends_what_changed() {
    let dir = dir("append");
    let path = dir.join("c");
    let (mut file, mut cursor) = open(&path);
    cursor.record_attempt(&key(0).id, 1);
    file.save(&mut cursor, false);
    let (id, mut before) = (disk::FileId::of(&fs::metadata(&path).unwrap()), fs::read(&path).unwrap());
    for n in 0..200 {
        handle(&mut cursor, n..n + 1);
        cursor.record_attempt(&key(n + 1).id, 1);
        file.save(&mut cursor, n % 10 == 0);
        let after = fs::read(&path).unwrap();
        let added = after.strip_prefix(before.as_slice()).unwrap();
        assert_eq!(added.iter().filter(|byte| **byte == b'\n').count(), 2, "the row before, and the attempt");
        before = after;
    }
    assert!(id.is_at(&path), "it is the same file");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn long_journal_is_compacted() {
    let dir = dir("compact");
    let path = dir.join("c");
    let (mut file, mut cursor) = open(&path);
    let (mut longest, mut appended, mut snapshots, mut last) = (0, 0, 0, (0, None));
    for n in 0..20_000 {
        handle(&mut cursor, n..n + 1);
        if n % 100 == 0 {
            settle(&mut cursor, key(n - 50));
        }
        file.save(&mut cursor, false);
        let found = fs::metadata(&path).unwrap();
        longest = longest.max(found.len());
        let id = Some(disk::FileId::of(&found));
        if id == last.1 {
            appended += found.len() - last.0;
        } else {
            snapshots += 1;
        }
        last = (found.len(), id);
    }
    assert!((60_000..70_000).contains(&longest), "{longest}");
    // A snapshot has at most the 150 rows behind the anchor.
    assert!((appended / 65_000..=appended / 45_000).contains(&snapshots), "{snapshots} for {appended} bytes");
    // At a synced save a shorter one is, since what lies before the anchor goes.
    handle(&mut cursor, 20_000..20_100);
    settle(&mut cursor, key(20_099));
    file.save(&mut cursor, true);
    assert!(fs::metadata(&path).unwrap().len() < 1_000);
    drop(file);
    assert_same(&open(&path).1, &cursor);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn journal_of_a_large_cursor_grows_to_twice_its_snapshot() {
    let dir = dir("large");
    let path = dir.join("c");
    let (mut file, _) = open(&path);
    let mut cursor = cursor_of(5_000);
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, false);
    let mut snapshots = vec![fs::metadata(&path).unwrap().len()];
    let (mut last, mut length) = (disk::FileId::of(&fs::metadata(&path).unwrap()), 0);
    for n in 5_000..12_000 {
        handle(&mut cursor, n..n + 1);
        file.save(&mut cursor, n % 500 == 0);
        let found = fs::metadata(&path).unwrap();
        if disk::FileId::of(&found) != last {
            last = disk::FileId::of(&found);
            assert!(length >= 2 * snapshots[0] && length < 2 * snapshots[0] + 100, "{length}");
            snapshots.push(found.len());
        }
        length = found.len();
    }
    assert_eq!(snapshots.len(), 2);
    drop(file);
    assert_same(&open(&path).1, &cursor);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn power_failure_loses_nothing_that_was_synced() {
    let dir = dir("power");
    let (path, crashed) = (dir.join("c"), dir.join("crashed"));
    let (mut file, mut cursor) = open(&path);
    let mut synced = 0;
    for n in 0..10 {
        handle(&mut cursor, n..n + 1);
        file.save(&mut cursor, n == 4);
        if n == 4 {
            synced = fs::metadata(&path).unwrap().len() as usize;
        }
    }
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > synced + 200);
    for at in synced..whole.len() {
        let cut = whole[..at].to_vec();
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        let mut zeroed_to_the_end = whole.clone();
        zeroed_to_the_end[at..].fill(0);
        // Lines behind it may be good.
        let mut zeroed = whole.clone();
        zeroed[synced..=at].fill(0);
        let mut one_zero = whole.clone();
        one_zero[at] = 0;
        for bytes in [cut, flipped, zeroed_to_the_end, zeroed, one_zero] {
            fs::write(&crashed, &bytes).unwrap();
            let (mut file, mut after) = open(&crashed);
            assert!((0..5).all(|n| after.is_known(&key(n).id)), "{at}");
            assert!(after.to_saved().handled.len() <= 10);
            handle(&mut after, 100..101);
            file.save(&mut after, true);
            drop(file);
            // A second crash, right behind the row.
            let (_file, again) = open(&crashed);
            assert_same(&again, &after);
        }
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn end_that_cannot_be_read_is_measured() {
    let dir = dir("left");
    let path = dir.join("c");
    let (mut file, mut cursor) = open(&path);
    handle(&mut cursor, 0..3);
    file.save(&mut cursor, true);
    let good = fs::read(&path).unwrap();
    let torn = [&good, &b"40 00000000 {\"handled\""[..]].concat();
    fs::write(&path, &torn).unwrap();
    let Loaded { saved, left } = load(&path, "w").unwrap().unwrap();
    assert_eq!(left, Some(LeftBytes { from: good.len() as u64, length: 22 }));
    assert_same(&restored(saved), &cursor);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn unchanged_cursor_is_not_written() {
    let dir = dir("idle");
    let (mut file, mut cursor) = open(&dir.join("c"));
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
fn removed_or_replaced_file_is_written_again() {
    let dir = dir("removed");
    let path = dir.join("c");
    let (mut file, mut cursor) = open(&path);
    handle(&mut cursor, 0..3);
    file.save(&mut cursor, true);
    for (n, replaced) in [(3, false), (4, true)] {
        fs::remove_file(&path).unwrap();
        if replaced {
            fs::write(&path, "another's").unwrap();
        }
        handle(&mut cursor, n..n + 1);
        file.save(&mut cursor, true);
        assert_same(&read_back(&path), &cursor);
    }
    fs::remove_dir_all(dir).unwrap();
}
