//! The token file: read whole, and by a deadline.

use std::fs::{self, File, Metadata};
use std::io::{Error as IoError, ErrorKind as IoErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, mpsc};

use crate::error::Error;
use crate::util::clock::Deadline;
use crate::util::panic::{self, Panicked};
use crate::util::sync::{Condvar, Mutex, wait_while};
use crate::util::thread_group::spawn_member;

/// Maximum length of a token and a token file in bytes: 16 KiB. Servers accept no longer header.
pub(super) const MAX_BYTES: u64 = 16 * 1024;
/// Maximum number of a client's threads that wait for a file system that does not answer.
const MAX_READERS: usize = 8;

/// Reads a token file. Returns `None` where it does not exist.
///
/// # Errors
///
/// A file that is not regular, is too long for a token, is no text in UTF-8, or cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    match read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == IoErrorKind::NotFound => Ok(None),
        Err(why) => {
            let reason = match path.parent() {
                Some(parent) if why.kind() == IoErrorKind::NotADirectory => {
                    format!("{} is not a directory: name the directory that has the file", parent.display())
                }
                _ => why.to_string(),
            };
            let detail = format!("the token file {} cannot be read: {reason}", path.display());
            Err(Error::config(detail).with_source(why))
        }
    }
}

fn read_text(path: &Path) -> Result<String, IoError> {
    // Checked before it is opened, too, because opening a pipe blocks until somebody writes to it.
    check_regular(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    check_regular(&metadata)?;
    warn_if_shared(path, &metadata);
    let mut bytes = Vec::new();
    let length = file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if length as u64 > MAX_BYTES {
        return Err(IoError::other(format!("it is longer than {MAX_BYTES} bytes: is it the right file?")));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(IoError::other("it is UTF-16: save it as plain text (ASCII), without a byte order mark"));
    }
    // Not the error of the conversion: it holds the bytes, and its `Debug` shows them.
    String::from_utf8(bytes).map_err(|_| IoError::other("it is no text in UTF-8: is it the right file?"))
}

/// # Errors
///
/// A file that is not regular. A pipe or a device may block, or cannot be read a second time.
fn check_regular(metadata: &Metadata) -> Result<(), IoError> {
    if metadata.is_file() { Ok(()) } else { Err(IoError::other("it is no regular file")) }
}

/// Logs a warning, once for each path, if others than the owner may use the file. For a link, its target counts.
#[cfg(unix)]
fn warn_if_shared(path: &Path, metadata: &Metadata) {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use parking_lot::RwLock;

    use crate::util::log_safe::log_safe;

    static WARNED: RwLock<BTreeSet<PathBuf>> = RwLock::new(BTreeSet::new());

    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 && WARNED.write().insert(path.to_owned()) {
        let path = path.display();
        log_safe!(warn, "others may use the token file {path} (mode {mode:04o}): chmod 600 {path}");
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path, _: &Metadata) {}

/// Calls `read` on another thread, and returns its result if it has one by the deadline.
///
/// A network file system may block for any time. The thread that reads from it then stays, and counts in `readers`.
///
/// # Errors
///
/// The error of `read`, a panic in it, a refused thread, or a read that is not done by the deadline.
pub(super) fn read_in_time<T: Send + 'static>(
    deadline: Deadline,
    readers: &Arc<ReaderCount>,
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let too_slow = || Error::config("the token file was not read in time; check that its file system answers");
    if !readers.enter(deadline) {
        return Err(too_slow());
    }
    let (report, outcome) = mpsc::channel();
    let reader = {
        let readers = readers.clone();
        move || {
            let read = panic::catch(read);
            readers.leave();
            // The receiver is gone if the deadline has passed.
            let _ = report.send(read);
        }
    };
    if let Err(why) = spawn_member("a2a-token", reader) {
        readers.leave();
        return Err(Error::config(format!("the token file was not read, because there is no thread for it: {why}")));
    }
    match outcome.recv_timeout(deadline.left()) {
        Ok(Ok(read)) => read,
        Ok(Err(Panicked)) => Err(Error::config("the token file was not read: a panic in the thread that reads it")),
        Err(_) => Err(too_slow()),
    }
}

/// The number of a client's threads that read its token file.
#[derive(Debug, Default)]
pub(super) struct ReaderCount {
    count: Mutex<usize>,
    /// Notified when a reader has left.
    left: Condvar,
}

impl ReaderCount {
    /// Adds a reader, once there is room for one. Returns `false` where there is none by the deadline.
    fn enter(&self, deadline: Deadline) -> bool {
        let is_full = |count: &usize| *count >= MAX_READERS;
        // Several calls may get a 401 at the same time. They take turns.
        let mut count = wait_while(&self.left, self.count.lock(), is_full, Some(deadline));
        let enters = !is_full(&count);
        *count += usize::from(enters);
        enters
    }

    fn leave(&self) {
        *self.count.lock() -= 1;
        self.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    #[test]
    fn reading_a_stuck_file_system_ends_at_the_deadline() {
        let readers = Arc::new(ReaderCount::default());
        let reading = || *readers.count.lock();
        assert_eq!(read_in_time(soon(), &readers, || Ok(7)).unwrap(), 7);
        assert_eq!(reading(), 0);
        let (answer, file_system) = mpsc::channel::<()>();
        let file_system = Arc::new(std::sync::Mutex::new(file_system));
        let stuck = || {
            let file_system = file_system.clone();
            read_in_time(Deadline::after(Duration::from_millis(1)), &readers, move || {
                Ok(file_system.lock().unwrap().recv())
            })
        };
        for n in 1..=MAX_READERS {
            assert!(stuck().unwrap_err().to_string().contains("not read in time"));
            assert_eq!(reading(), n);
        }
        assert!(stuck().is_err() && reading() == MAX_READERS, "no more threads than that");
        drop(answer);
        // A read that starts while all threads are stuck waits until one is free.
        assert_eq!(read_in_time(soon(), &readers, || Ok(7)).unwrap(), 7);
        while reading() > 0 {
            std::thread::yield_now();
        }
        let panics = read_in_time(soon(), &readers, || -> Result<(), Error> { panic!("in a reader") });
        assert!(panics.unwrap_err().to_string().contains("a panic"));
    }
}
