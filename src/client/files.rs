//! Files that the platform keeps for our workspace.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use super::{Client, MAX_WAIT};
use crate::error::{Error, ErrorKind, guard};
use crate::platform::{ack_file, download, file_id};
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;

/// Default of [`PlatformFile::max_size`].
const MAX_SIZE: u64 = 100 * 1024 * 1024;
/// Default of [`PlatformFile::timeout`].
const TIMEOUT: Duration = Duration::from_secs(600);

/// A file that the platform keeps for our workspace, such as one that the human dropped on the canvas.
///
/// [`InboxMessage::open`](crate::InboxMessage::open) and [`Client::open_file`] make one, without a request.
/// [`write_to`](PlatformFile::write_to) fetches it.
///
/// ```
/// use a2a_blocking::testing::Platform;
///
/// let platform = Platform::start()?;
/// let ops = platform.workspace("ops");
/// let uri = platform.upload(&ops, "notes.txt", "text/plain", "buy milk");
///
/// let mut notes = Vec::new();
/// let file = ops.client().build()?.open_file(&uri)?.max_size(1024);
/// assert_eq!(file.write_to(&mut notes)?, 8);
/// assert_eq!(notes, b"buy milk");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "it is fetched by `write_to`"]
pub struct PlatformFile {
    client: Client,
    id: String,
    max_size: u64,
    timeout: Duration,
}

/// Files that the platform keeps for our workspace.
impl Client {
    /// Opens a file by its address, `platform-pending:WORKSPACE/FILE`. Makes no request: [`PlatformFile::write_to`] does.
    ///
    /// An attachment of a message has it in [`uri`](crate::Attachment::uri), a part in
    /// [`FileContent::Uri`](crate::FileContent::Uri), and an upload of ours in [`uri`](crate::UploadedFile::uri).
    ///
    /// # Errors
    ///
    /// [`InvalidMessage`](crate::ErrorKind::InvalidMessage) for any other address, a file of another workspace, or an id
    /// that could name another path.
    pub fn open_file(&self, uri: impl AsRef<str>) -> Result<PlatformFile, Error> {
        let id = file_id(uri.as_ref(), self.workspace_id())?.to_owned();
        Ok(PlatformFile { client: self.clone(), id, max_size: MAX_SIZE, timeout: TIMEOUT })
    }
}

impl PlatformFile {
    /// Sets the largest file to take, in bytes. Default: 100 MiB, which is the most that the platform takes for an upload.
    pub fn max_size(self, bytes: u64) -> Self {
        PlatformFile { max_size: bytes, ..self }
    }

    /// Sets the time for the whole file. Default: 600 s. More than a day is taken for a day.
    pub fn timeout(self, timeout: Duration) -> Self {
        PlatformFile { timeout: timeout.min(MAX_WAIT), ..self }
    }

    /// Returns the file's id on the platform.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Fetches the file and writes it to `writer` while it comes. Returns the number of its bytes.
    ///
    /// No more than a buffer of it is kept in memory. The call ends after the [`timeout`](PlatformFile::timeout), after 30 s
    /// of silence, and where less than 64 KiB a second came over 10 s. The writer's own time does not count as the
    /// platform's slowness; the time limit does not end a write that blocks.
    ///
    /// After the last byte the writer is flushed, which syncs no file to its disk. Then the platform is told that the file
    /// was fetched, in at most 10 s more. If that fails, the file is there all the same: the result is `Ok`, and a warning is
    /// in the log. The file can be fetched again, also after that, as long as the platform keeps it.
    ///
    /// # Errors
    ///
    /// The writer may have a part of the file then, and the platform is not told that it was fetched.
    ///
    /// - a file that the platform does not have, or not any more ([`NotFound`](crate::ErrorKind::NotFound)); a refused token
    ///   ([`Unauthorized`](crate::ErrorKind::Unauthorized)); any other status
    /// - a file above [`max_size`](PlatformFile::max_size) ([`TooLarge`](crate::ErrorKind::TooLarge)), of which nothing is
    ///   written if the platform gives its length
    /// - a connection that broke before the last byte ([`Disconnected`](crate::ErrorKind::Disconnected)), or too little of
    ///   it in the time ([`Timeout`](crate::ErrorKind::Timeout))
    /// - an answer that gives neither a length nor chunks, so that a part cannot be told from the whole, or with an encoding
    ///   that was not asked for ([`Malformed`](crate::ErrorKind::Malformed))
    /// - a failure or a panic of the writer ([`Internal`](crate::ErrorKind::Internal)); the
    ///   [`source`](std::error::Error::source) is the writer's [`io::Error`](std::io::Error)
    pub fn write_to(&self, mut writer: impl Write + Send) -> Result<u64, Error> {
        let inner = &self.client.inner;
        let deadline = Deadline::after(self.timeout);
        let bytes = guard(|| download(&inner.http, &self.id, self.max_size, &mut writer, deadline))?;
        match inner.post(inner.settings.call_timeout, || ack_file(&inner.http, &self.id)) {
            Ok(()) => {}
            // It expired in between, or another program was first.
            Err(error) if error.kind() == ErrorKind::NotFound => log_safe!(debug, "{error}; the file is written"),
            Err(error) => log_safe!(warn, "{error}; the file is written, but the platform does not know that"),
        }
        Ok(bytes)
    }
}

impl fmt::Debug for PlatformFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlatformFile { id, max_size, timeout, .. } = self;
        let mut shown = f.debug_struct("PlatformFile");
        shown.field("id", id).field("max_size", max_size).field("timeout", timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_docs_and_the_timeout_is_a_day_at_most() {
        let client = Client::builder().workspace_id("w").build().unwrap();
        let file = client.open_file("platform-pending:w/f").unwrap();
        assert_eq!((file.id(), file.max_size, file.timeout.as_secs()), ("f", 100 << 20, 600));
        assert_eq!(file.timeout(Duration::MAX).timeout.as_secs(), 86_400);
    }
}
