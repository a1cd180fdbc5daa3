//! Files as the cursor needs them: locked, read whole, replaced whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process;

use fs4::fs_std::FileExt;
use serde_json::Value;

use crate::error::Error;
use crate::util::log_safe::log_safe;
use crate::wire::{CALL_MEMORY, JsonError, MemoryBudget, parse_json};

/// The largest file that is read, in bytes: as many acked rows as a cursor holds, each with the longest id, of which each
/// byte is escaped.
const MAX_BYTES: u64 = 160 * 1024 * 1024;

/// The directory that a file is in.
pub(in crate::inbox) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(in crate::inbox) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Whether the two names are of one file, though they be spelt differently.
pub(in crate::inbox) fn is_same(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// A lock that goes with this, and with the process that took it.
pub(in crate::inbox) struct Lock {
    file: File,
    process: u32,
}

impl Drop for Lock {
    /// Not by closing the file alone: a child by fork, or one that is just being started, has the same lock, which a close
    /// would leave to it. And such a child's own copy must not give up ours.
    fn drop(&mut self) {
        if self.process == process::id() {
            let _ = FileExt::unlock(&self.file);
        }
    }
}

/// The lock on a file beside, since the cursor's own is replaced.
pub(in crate::inbox) fn lock(path: &Path) -> Result<Option<Lock>, Error> {
    let name = beside(path, "lock");
    let failed = |why: io::Error| {
        log_safe!(error, "inbox: {} cannot be locked ({why}): two pollers might run", name.display());
        Ok(None)
    };
    let file = match File::options().create(true).write(true).truncate(false).open(&name) {
        Ok(file) => file,
        Err(why) => return failed(why),
    };
    match FileExt::try_lock_exclusive(&file) {
        Ok(true) => Ok(Some(Lock { file, process: process::id() })),
        Ok(false) => {
            let path = path.display();
            Err(Error::config(format!("cursor_file: another poller has {path}; one workspace takes one poller")))
        }
        Err(why) => failed(why),
    }
}

pub(in crate::inbox) fn read(path: &Path) -> Result<Option<Value>, String> {
    let failed = |why: io::Error| why.to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == IoKind::NotFound => return Ok(None),
        Err(why) => return Err(failed(why)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    let allowance = &mut MemoryBudget::new(text.len(), CALL_MEMORY);
    parse_json(text.as_bytes(), allowance).map(Some).map_err(|why| match why {
        JsonError::TooLarge(_) => why.to_string(),
        JsonError::NotJson(why) => format!("it is not JSON: {why}"),
    })
}

/// Puts a new file in the place of the old one: whoever reads sees all of the one or all of the other.
pub(in crate::inbox) fn write(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let new = beside(path, "new");
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
        sync_directory(path)?;
    }
    Ok(())
}

/// So that the new name outlasts a power failure, too.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_no_fault() {
        let path = std::env::temp_dir().join(format!("a2a-disk-none-{}", std::process::id()));
        assert_eq!(read(&path), Ok(None));
    }

    /// Nobody's rights matter here: whoever runs the tests may open anything.
    #[cfg(unix)]
    #[test]
    fn what_is_there_and_cannot_be_opened_is_one() {
        let path = std::env::temp_dir().join(format!("a2a-disk-loop-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let read = read(&path);
        fs::remove_file(&path).unwrap();
        assert!(read.is_err(), "{read:?}");
    }
}
