//! Links, pipes, modes and locks.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::tests::{dir, files, handle, open, open_error, read_back, write_version_1};
use super::*;
use crate::inbox::feed::cursor::fuzz::assert_same;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn files_are_for_their_owner_only() {
    let dir = dir("mode");
    let path = dir.join("c");
    // A lock file of release 0.1: whoever can open it can lock it.
    fs::write(dir.join("c.lock"), "").unwrap();
    fs::set_permissions(dir.join("c.lock"), fs::Permissions::from_mode(0o644)).unwrap();
    let (mut file, mut cursor) = open(&path);
    cursor.record_attempt(&"a".into(), 1);
    file.save(&mut cursor, false);
    assert_eq!((mode(&path), mode(&dir.join("c.lock"))), (0o600, 0o600));
    drop(file);
    fs::remove_file(dir.join("c.lock")).unwrap();
    let _file = open(&path);
    assert_eq!(mode(&dir.join("c.lock")), 0o600);
    fs::remove_dir_all(dir).unwrap();
}

/// In a directory such as `/tmp` anybody can put a link there.
#[test]
fn new_file_is_not_written_through_a_link_or_a_pipe() {
    let dir = dir("evil");
    let (path, victim) = (dir.join("c"), dir.join("victim"));
    fs::write(&victim, "precious").unwrap();
    for kind in ["link", "hard link", "pipe"] {
        let (mut file, mut cursor) = open(&path);
        let new = dir.join("c.new");
        match kind {
            "link" => symlink(&victim, &new).unwrap(),
            "hard link" => fs::hard_link(&victim, &new).unwrap(),
            _ => make_pipe(&new),
        }
        handle(&mut cursor, 0..1);
        cursor.record_attempt(&"a".into(), 1);
        file.save(&mut cursor, true);
        assert!(!file.is_failing());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(files(&dir), ["c", "c.lock", "victim"]);
    }
    fs::remove_dir_all(dir).unwrap();
}

/// As in a directory with the sticky bit, with another user's link.
#[test]
fn save_fails_if_the_new_file_cannot_be_removed() {
    let dir = dir("sticky");
    let path = dir.join("c");
    let (mut file, mut cursor) = open(&path);
    handle(&mut cursor, 0..1);
    file.save(&mut cursor, true);
    // Nobody can unlink a directory.
    fs::create_dir(dir.join("c.new")).unwrap();
    handle(&mut cursor, 1..2_000);
    file.save(&mut cursor, true);
    assert!(file.is_failing());
    fs::remove_dir(dir.join("c.new")).unwrap();
    file.save(&mut cursor, true);
    assert!(!file.is_failing());
    drop(file);
    assert_same(&open(&path).1, &cursor);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn cursor_and_lock_must_be_plain_files() {
    let dir = dir("plain");
    let path = dir.join("c");
    fs::write(dir.join("victim"), "precious").unwrap();
    for name in ["c", "c.lock"] {
        let place = dir.join(name);
        symlink(dir.join("victim"), &place).unwrap();
        assert!(open_error(&path).contains("no plain file"), "a link at {name}");
        fs::remove_file(&place).unwrap();
        symlink(dir.join("none"), &place).unwrap();
        assert!(open_error(&path).contains("no plain file"), "a link to nothing at {name}");
        fs::remove_file(&place).unwrap();
        make_pipe(&place);
        assert!(open_error(&path).contains("no plain file"), "a pipe at {name}");
        fs::remove_file(&place).unwrap();
    }
    // The files of release 0.1 are read where the cursor is of it.
    write_version_1(&path, 0..1);
    fs::rename(&path, dir.join("c.old")).unwrap();
    fs::write(&path, "").unwrap();
    make_pipe(&dir.join("c.synced"));
    let (_file, cursor) = open(&path);
    assert!(cursor.anchor().is_none());
    assert_eq!(fs::read_to_string(dir.join("victim")).unwrap(), "precious");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn lock_excludes_a_second_poller_of_the_process_by_any_path() {
    let dir = dir("lock");
    let path = dir.join("c");
    symlink(&dir, dir.join("same")).unwrap();
    let file = open(&path);
    for _ in 0..3 {
        for again in [path.clone(), dir.join("same/c"), dir.join("../").join(dir.file_name().unwrap()).join("c")] {
            assert!(open_error(&again).contains("another poller has locked"));
        }
    }
    // None of those attempts released it: another process does not get it.
    let lock = dir.join("c.lock");
    let script = "import fcntl, sys\n\
        try: fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n\
        except OSError: sys.exit(3)";
    let try_lock = || Command::new("python3").args(["-c", script]).arg(&lock).status().map(|status| status.code());
    if let Ok(code) = try_lock() {
        assert_eq!(code, Some(3));
        drop(file);
        assert_eq!(try_lock().unwrap(), Some(0));
    } else {
        drop(file);
    }
    let _file = open(&dir.join("same/c"));
    fs::remove_dir_all(dir).unwrap();
}

/// The directory is removed and made again, and another poller begins in the new one.
#[test]
fn poller_whose_lock_is_gone_does_not_write_to_anothers_cursor() {
    let outer = dir("gone");
    let path = outer.join("sub").join("c");
    fs::create_dir(outer.join("sub")).unwrap();
    let (mut first, mut cursor) = open(&path);
    handle(&mut cursor, 0..3);
    first.save(&mut cursor, true);
    fs::remove_dir_all(outer.join("sub")).unwrap();
    fs::create_dir(outer.join("sub")).unwrap();
    let (mut second, mut other) = open(&path);
    handle(&mut other, 7..8);
    second.save(&mut other, true);
    handle(&mut cursor, 3..4);
    first.save(&mut cursor, true);
    assert!(first.is_failing());
    assert_same(&read_back(&path), &other);
    // The first goes on once the second has ended, with a lock.
    drop(second);
    first.save(&mut cursor, true);
    assert!(!first.is_failing() && open_error(&path).contains("another poller"));
    drop(first);
    assert_same(&open(&path).1, &cursor);
    fs::remove_dir_all(outer).unwrap();
}
