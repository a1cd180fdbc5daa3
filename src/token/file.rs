//! The token's file: read whole and in time, or not at all; and a word on who else may read it.

use std::fs::{self, File, Metadata};
use std::io::{Error as IoError, ErrorKind as IoErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use super::MAX_BYTES;
use crate::error::Error;
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;
use crate::util::panic::{self, Panicked};
use crate::util::sync::{Condvar, Mutex, wait_while};

/// How many threads of a client may wait for a file system that does not answer.
const MAX_READERS: usize = 8;

/// The threads of a client that read its file.
#[derive(Debug, Default)]
pub(super) struct Readers {
    reading: Mutex<usize>,
    one_less: Condvar,
}

impl Readers {
    /// Whether there is one more by the deadline. Calls that are refused in the same moment may have to take turns.
    fn enter(&self, deadline: Deadline) -> bool {
        let full = |reading: &usize| *reading >= MAX_READERS;
        let mut reading = wait_while(&self.one_less, self.reading.lock(), full, Some(deadline));
        let enters = !full(&reading);
        *reading += usize::from(enters);
        enters
    }

    fn leave(&self) {
        *self.reading.lock() -= 1;
        self.one_less.notify_one();
    }
}

/// The text of a token file; `None` where there is no such file.
///
/// # Errors
///
/// What is no regular file, what is too long for a token, and what the system refuses.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    match read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == IoErrorKind::NotFound => Ok(None),
        Err(why) => {
            Err(Error::config(format!("the token file {} cannot be read: {why}", path.display())).with_source(why))
        }
    }
}

fn read_text(path: &Path) -> Result<String, IoError> {
    // Before it is opened, too: to open a pipe is to wait for somebody who writes to it.
    regular(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    let found = file.metadata()?;
    regular(&found)?;
    warn_of_others(path, &found);
    let mut text = String::new();
    let length = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if length as u64 > MAX_BYTES {
        return Err(IoError::other(format!("it is longer than {MAX_BYTES} bytes: is it the right file?")));
    }
    Ok(text)
}

/// A pipe or a device could not be read a second time, or would be waited for.
fn regular(found: &Metadata) -> Result<(), IoError> {
    if found.is_file() { Ok(()) } else { Err(IoError::other("it is no regular file")) }
}

/// Says, once for each path, that others than its owner may read the file: of a link, its target.
#[cfg(unix)]
fn warn_of_others(path: &Path, found: &Metadata) {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use parking_lot::RwLock;

    static SAID: RwLock<BTreeSet<PathBuf>> = RwLock::new(BTreeSet::new());

    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 && SAID.write().insert(path.to_owned()) {
        let path = path.display();
        log_safe!(warn, "others may use the token file {path} (mode {mode:04o}): chmod 600 {path}");
    }
}

#[cfg(not(unix))]
fn warn_of_others(_: &Path, _: &Metadata) {}

/// What `read` brings, if it does so by the deadline: a network's file system may take for ever. The thread that waits
/// for it then stays, and counts among the `readers`.
///
/// # Errors
///
/// `read`'s, or that it takes too long.
pub(super) fn in_time<T: Send + 'static>(
    deadline: Deadline,
    readers: &Arc<Readers>,
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let stuck = || Error::config("the token file was not read in time");
    if !readers.enter(deadline) {
        return Err(stuck());
    }
    let (report, outcome) = mpsc::channel();
    let reader = {
        let readers = readers.clone();
        move || {
            let read = panic::catch(read);
            readers.leave();
            // Nobody listens any more where it took too long.
            let _ = report.send(read);
        }
    };
    if let Err(why) = thread::Builder::new().name("a2a-token".to_owned()).spawn(reader) {
        readers.leave();
        return Err(Error::config(format!("no thread to read the token file: {why}")));
    }
    match outcome.recv_timeout(deadline.left()) {
        Ok(Ok(read)) => read,
        Ok(Err(Panicked)) => Err(Error::config("a panic while the token file was read")),
        Err(_) => Err(stuck()),
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
    fn a_file_system_that_does_not_answer_is_waited_for_no_longer_than_there_is_time() {
        let readers = Arc::new(Readers::default());
        let reading = || *readers.reading.lock();
        assert_eq!(in_time(soon(), &readers, || Ok(7)).unwrap(), 7);
        assert_eq!(reading(), 0);
        let (answer, file_system) = mpsc::channel::<()>();
        let file_system = Arc::new(std::sync::Mutex::new(file_system));
        let stuck = || {
            let file_system = file_system.clone();
            in_time(Deadline::after(Duration::from_millis(1)), &readers, move || Ok(file_system.lock().unwrap().recv()))
        };
        for n in 1..=MAX_READERS {
            assert!(stuck().unwrap_err().to_string().contains("not read in time"));
            assert_eq!(reading(), n);
        }
        assert!(stuck().is_err() && reading() == MAX_READERS, "no more threads than that");
        drop(answer);
        // One that comes while all are stuck, or a moment after, has its turn.
        assert_eq!(in_time(soon(), &readers, || Ok(7)).unwrap(), 7);
        while reading() > 0 {
            thread::yield_now();
        }
        let panics = in_time(soon(), &readers, || -> Result<(), Error> { panic!("in a reader") });
        assert!(panics.unwrap_err().to_string().contains("a panic"));
    }
}
