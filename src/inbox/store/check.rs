//! A check of the cursor file that changes nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use super::CursorFile;
use super::disk::{check_path, sibling_path};
use super::load::{load, unusable};
use super::lock::lock_file;
use crate::error::Error;

/// Bytes that a check writes: more than a file system keeps without a block.
const CHECKED_BYTES: usize = 4_096;

impl CursorFile {
    /// Checks that a poller could lock, read and write the cursor file at `path`. Changes nothing: what it writes is a file
    /// beside it, which it removes.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), but that a cursor which another poller has locked passes. Also a file that is
    /// unreadable or cannot be locked, and a directory that cannot be written, with which a poller would go on.
    pub(in crate::inbox) fn check(path: PathBuf, workspace: &str) -> Result<(), Error> {
        check_path(&path)?;
        let shown = path.display().to_string();
        check_write(&path).map_err(|why| {
            Error::config(format!(
                "cursor_file: {shown} cannot be written ({why}): messages would be delivered again after a restart. Let \
                 this user write its directory, or set another path"
            ))
        })?;
        check_lock(&path).map_err(|why| {
            Error::config(format!("cursor_file: {shown}.lock cannot be locked ({why}): let this user write it"))
        })?;
        load(&path, workspace).map(drop).map_err(|why| unusable(&path, workspace, &why))
    }
}

/// Tries the lock on a cursor file, without waiting, and releases it. A lock that another poller has passes.
///
/// It makes no file `.lock`: whoever can write the directory can make one.
///
/// # Errors
///
/// The file cannot be opened for writing, or its file system has no locks.
fn check_lock(path: &Path) -> io::Result<()> {
    let name = sibling_path(path, "lock");
    if fs::symlink_metadata(&name).is_err_and(|why| why.kind() == IoKind::NotFound) {
        return Ok(());
    }
    // Released at once. `None` where another poller has it.
    lock_file(&name).map(drop)
}

/// Writes, syncs and removes a file `.check` beside a cursor file. A file that is there is left alone: another check has it.
///
/// # Errors
///
/// A file cannot be made, written or removed in the directory, also because the disk is full.
fn check_write(path: &Path) -> io::Result<()> {
    let name = sibling_path(path, "check");
    let mut file = match File::options().create_new(true).write(true).open(&name) {
        Ok(file) => file,
        Err(why) if why.kind() == IoKind::AlreadyExists => return Ok(()),
        Err(why) => return Err(why),
    };
    let written = file.write_all(&[b' '; CHECKED_BYTES]).and_then(|()| file.sync_data());
    drop(file);
    fs::remove_file(&name).and(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::feed::cursor::Cursor;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("a2a-check-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn files(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn failure(path: &Path) -> String {
        CursorFile::check(path.to_owned(), "w").unwrap_err().to_string()
    }

    #[test]
    fn check_changes_nothing() {
        let dir = dir("nothing");
        let path = dir.join("c");
        CursorFile::check(path.clone(), "w").unwrap();
        assert_eq!(files(&dir), [""; 0]);
        let (mut file, _) = CursorFile::open(path.clone(), "w").unwrap();
        let mut cursor = Cursor::default();
        cursor.record_attempt(&"a".into(), 1);
        file.save(&mut cursor, true);
        let (names, saved) = (files(&dir), fs::read(&path).unwrap());
        CursorFile::check(path.clone(), "w").expect("another poller has it, which is in order");
        drop(file);
        CursorFile::check(path.clone(), "w").unwrap();
        assert_eq!((files(&dir), fs::read(&path).unwrap()), (names, saved));
        assert!(CursorFile::open(path, "w").is_ok(), "the lock is released");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn cursor_that_a_poller_could_not_use_fails_the_check() {
        let dir = dir("fails");
        let path = dir.join("c");
        fs::write(&path, "{").unwrap();
        assert!(failure(&path).contains("is unreadable (it is not JSON"));
        assert_eq!(files(&dir), ["c"], "the file stays where it is");
        fs::write(&path, r#"{"version":1,"workspace":"other"}"#).unwrap();
        assert!(failure(&path).contains("is of the workspace other"));
        fs::remove_file(&path).unwrap();
        // A directory in the place of a file, because root can write any file.
        fs::create_dir(dir.join("c.lock")).unwrap();
        assert!(failure(&path).contains("c.lock cannot be locked"));
        assert!(failure(&dir.join("none").join("c")).contains("does not exist"));
        assert!(failure(&dir).contains("is no plain file"));
        fs::remove_dir_all(&dir).unwrap();
    }

    /// Nobody can make a file there, root included.
    #[cfg(target_os = "linux")]
    #[test]
    fn directory_that_cannot_be_written_fails_the_check() {
        assert!(failure(Path::new("/proc/cursor")).contains("/proc/cursor cannot be written ("));
    }
}
