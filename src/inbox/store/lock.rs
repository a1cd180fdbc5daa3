//! The lock on a cursor file, which keeps a second poller from using it.
//!
//! On Unix it is a POSIX record lock: it belongs to the process, so that a forked child neither has it nor keeps it, however
//! long it lives. Such a lock does not exclude a second poller of the same process, and closing *any* descriptor of the
//! file releases it (fcntl(2), <https://man7.org/linux/man-pages/man2/fcntl_locking.2.html>). So a set of the process has
//! the files that are locked, and no file of the set is opened again.
//!
//! Elsewhere the file is opened so that nobody can open it again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use super::disk::{FileId, open_plain, sibling_path};
use crate::error::Error;
use crate::util::log_safe::log_safe;

/// The lock on a cursor file. It is released when this is dropped, and when the process that took it ends.
pub(super) struct CursorLock {
    /// Path of the file that is locked.
    path: PathBuf,
    id: FileId,
    /// `None` once the lock is released.
    file: Option<File>,
    /// Id of the process that took the lock.
    process: u32,
}

impl CursorLock {
    /// Takes the lock on a cursor file, without waiting. The lock is on the file `.lock` beside it, since the cursor file
    /// itself is replaced.
    ///
    /// Returns `None`, and logs an error, where no lock file can be made or locked: the poller goes on without a lock.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): another poller has the lock, or there is something that is no
    /// plain file in its place.
    pub(super) fn take(cursor: &Path) -> Result<Option<Self>, Error> {
        let (shown, name) = (cursor.display(), sibling_path(cursor, "lock"));
        match lock_file(&name) {
            Ok(Some(file)) => Ok(Some(file)),
            Ok(None) => Err(Error::config(format!(
                "cursor_file: another poller has locked {shown}: run one poller per workspace"
            ))),
            Err(why) if why.kind() == io::ErrorKind::InvalidInput => {
                Err(Error::config(format!("cursor_file: {} cannot be locked ({why}): remove it", name.display())))
            }
            Err(why) => {
                log_safe!(error, "inbox: {} cannot be locked ({why}): two pollers might run", name.display());
                Ok(None)
            }
        }
    }

    /// Takes the lock again if its file was removed or replaced, as with the whole directory.
    ///
    /// # Errors
    ///
    /// Another poller has locked the new file, or there can be none.
    pub(super) fn retake(&mut self) -> io::Result<()> {
        if !self.id.is_at(&self.path) {
            let taken = lock_file(&self.path)?;
            *self = taken.ok_or_else(|| io::Error::other("another poller has locked the cursor in its directory"))?;
        }
        Ok(())
    }
}

impl Drop for CursorLock {
    /// Releases the lock. A forked child has none, and only closes its copy of the file.
    fn drop(&mut self) {
        if self.process == process::id() {
            release(self.file.take(), self.id);
        }
    }
}

#[cfg(unix)]
mod posix {
    use std::collections::BTreeSet;
    use std::fs::{self, Permissions};
    use std::mem;
    use std::os::unix::fs::PermissionsExt;

    use once_cell::sync::Lazy;
    use rustix::fs::{FlockOperation, fcntl_lock};
    use rustix::io::Errno;

    use super::{CursorLock, File, FileId, Path, io, open_plain, process};
    use crate::util::sync::Mutex;

    /// The files that this process has locked. A forked child has a copy, and the process's id tells it that.
    static LOCKED: Lazy<Mutex<BTreeSet<(u32, FileId)>>> = Lazy::new(Mutex::default);

    /// Makes, opens and locks a file. Returns `None` where it is locked already.
    pub(in crate::inbox::store) fn lock_file(path: &Path) -> io::Result<Option<CursorLock>> {
        let mut locked = LOCKED.lock();
        let process = process::id();
        if fs::symlink_metadata(path).is_ok_and(|found| locked.contains(&(process, FileId::of(&found)))) {
            return Ok(None);
        }
        let file = open_plain(path, File::options().create(true).write(true).truncate(false))?;
        let found = file.metadata()?;
        let id = FileId::of(&found);
        if locked.contains(&(process, id)) {
            // Somebody put it there a moment ago. To close it would release the lock.
            mem::forget(file);
            return Ok(None);
        }
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            // POSIX allows both: <https://pubs.opengroup.org/onlinepubs/9799919799/functions/fcntl.html>.
            Err(Errno::AGAIN | Errno::ACCESS) => return Ok(None),
            Err(why) => return Err(why.into()),
        }
        if found.permissions().mode() & 0o077 != 0 {
            // Whoever can open the file can lock it. One that is not ours stays as it is.
            let _ = file.set_permissions(Permissions::from_mode(0o600));
        }
        locked.insert((process, id));
        Ok(Some(CursorLock { path: path.to_owned(), id, file: Some(file), process }))
    }

    /// Closes a file, which releases the lock on it.
    pub(super) fn release(file: Option<File>, id: FileId) {
        // Both under the lock: another poller must not lock the file before it is closed.
        let mut locked = LOCKED.lock();
        drop(file);
        locked.remove(&(process::id(), id));
    }
}

#[cfg(unix)]
pub(super) use posix::lock_file;
#[cfg(unix)]
use posix::release;

/// Makes and opens a file so that nobody else can open it. Returns `None` where somebody has it open.
#[cfg(windows)]
pub(super) fn lock_file(path: &Path) -> io::Result<Option<CursorLock>> {
    use std::os::windows::fs::OpenOptionsExt;
    /// Another process has the file open: <https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499->.
    const ERROR_SHARING_VIOLATION: i32 = 32;
    match open_plain(path, File::options().create(true).write(true).truncate(false).share_mode(0)) {
        Ok(file) => {
            let id = FileId::of(&file.metadata()?);
            Ok(Some(CursorLock { path: path.to_owned(), id, file: Some(file), process: process::id() }))
        }
        Err(why) if why.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Locks nothing: this system has no locks that are known here.
#[cfg(not(any(unix, windows)))]
pub(super) fn lock_file(_path: &Path) -> io::Result<Option<CursorLock>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Closes a file, which releases the lock on it.
#[cfg(not(unix))]
fn release(file: Option<File>, _id: FileId) {
    drop(file);
}
