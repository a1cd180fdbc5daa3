//! File operations for the cursor file: lock, read whole, replace whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process;

use fs4::fs_std::FileExt;
use serde_json::Value;

use crate::error::Error;
use crate::util::log_safe::log_safe;
use crate::wire::{CALL_MEMORY, JsonError, MemoryBudget, parse_json};

/// Largest file that is read, in bytes. It fits as many acked rows as a cursor keeps, each with the longest id and each
/// byte of that escaped.
const MAX_BYTES: u64 = 160 * 1024 * 1024;

/// Returns the directory that a file is in: `.` for a bare file name.
pub(in crate::inbox) fn parent_dir(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the path of the file with `.suffix` appended to its name.
pub(in crate::inbox) fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Returns whether two paths name the same file, even by different directories or through links.
pub(in crate::inbox) fn is_same_file(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// Creates a directory that only its owner can use.
///
/// # Errors
///
/// It cannot be created.
pub(in crate::inbox) fn create_private_dir(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|why| {
        let path = path.display();
        Error::config(format!("CONFIGS_DIR: the default directory {path} cannot be created: {why}: set CONFIGS_DIR"))
            .with_source(why)
    })
}

/// The lock on a cursor file. It is released when this is dropped, and when the process that took it ends.
pub(in crate::inbox) struct CursorLock {
    file: File,
    /// Id of the process that took the lock.
    process: u32,
}

impl Drop for CursorLock {
    /// Unlocks explicitly: closing the file is not enough, since a child process may have a copy of it, and with it the
    /// lock (flock(2)). A child's copy of this must not release the parent's lock.
    fn drop(&mut self) {
        if self.process == process::id() {
            let _ = FileExt::unlock(&self.file);
        }
    }
}

/// Takes the lock on a cursor file, without waiting. The lock is on the file `.lock` beside it, since the cursor file
/// itself is replaced.
///
/// Returns `None`, and logs an error, where no lock file can be made or locked: the poller goes on without a lock.
///
/// # Errors
///
/// Another poller has the lock.
pub(in crate::inbox) fn lock_cursor(path: &Path) -> Result<Option<CursorLock>, Error> {
    let name = sibling_path(path, "lock");
    let failed = |why: io::Error| {
        log_safe!(error, "inbox: {} cannot be locked ({why}): two pollers might run", name.display());
        Ok(None)
    };
    let file = match File::options().create(true).write(true).truncate(false).open(&name) {
        Ok(file) => file,
        Err(why) => return failed(why),
    };
    match FileExt::try_lock_exclusive(&file) {
        Ok(true) => Ok(Some(CursorLock { file, process: process::id() })),
        Ok(false) => {
            let path = path.display();
            Err(Error::config(format!("cursor_file: another poller has locked {path}: run one poller per workspace")))
        }
        Err(why) => failed(why),
    }
}

/// Reads a file as JSON. Returns `None` if it does not exist.
///
/// # Errors
///
/// Says in words why the file cannot be read, or what is wrong with its JSON.
pub(in crate::inbox) fn read_json(path: &Path) -> Result<Option<Value>, String> {
    let failed = |why: io::Error| why.to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == IoKind::NotFound => return Ok(None),
        Err(why) => return Err(failed(why)),
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(failed)?;
    let budget = &mut MemoryBudget::new(text.len(), CALL_MEMORY);
    parse_json(&text, budget).map(Some).map_err(|why| match why {
        JsonError::TooLarge(_) => why.to_string(),
        JsonError::NotJson(why) => format!("it is not JSON: {why}"),
    })
}

/// Replaces a file atomically: a reader sees all of the old contents or all of the new ones.
///
/// Writes `.new` beside it and renames that. `sync` waits until the contents and the new name are on the disk. On Unix
/// the file is readable by its owner only.
pub(in crate::inbox) fn replace_file(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let new = sibling_path(path, "new");
    let mut options = File::options();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    if sync {
        file.sync_data()?;
    }
    drop(file);
    fs::rename(&new, path)?;
    if sync {
        sync_parent_dir(path)?;
    }
    Ok(())
}

/// Syncs the directory that a file is in, so that a rename in it survives a power failure.
#[cfg(unix)]
fn sync_parent_dir(path: &Path) -> io::Result<()> {
    File::open(parent_dir(path))?.sync_all()
}

/// Does nothing: other systems have no way to sync a directory.
#[cfg(not(unix))]
fn sync_parent_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_is_no_error() {
        let path = std::env::temp_dir().join(format!("a2a-disk-none-{}", std::process::id()));
        assert_eq!(read_json(&path), Ok(None));
    }

    /// A link to itself, not a file without permissions: root, which may run the tests, can open any file.
    #[cfg(unix)]
    #[test]
    fn file_that_cannot_be_opened_is_an_error() {
        let path = std::env::temp_dir().join(format!("a2a-disk-loop-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let read = read_json(&path);
        fs::remove_file(&path).unwrap();
        assert!(read.is_err(), "{read:?}");
    }
}
