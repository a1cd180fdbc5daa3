//! The files of a message that the platform keeps for our workspace.

use super::InboxMessage;
use crate::client::PlatformFile;
use crate::error::{Error, ErrorKind};
use crate::wire::Attachment;

impl InboxMessage {
    /// Returns the files that came with the message.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.content.attachments
    }

    /// Opens a file of this message that the platform keeps for our workspace: one that the human dropped on the canvas,
    /// [`Attachment::file_id`] names it. Makes no request: [`PlatformFile::write_to`] does.
    ///
    /// The same file may come twice: as a message of kind [`Upload`](crate::InboxMessageKind::Upload), and as a part of what
    /// the human writes after it. Both can be opened.
    ///
    /// ```
    /// use a2a_blocking::{InboxPoller, Verdict, testing::Platform};
    ///
    /// # let dir = std::env::temp_dir().join(format!("a2a-doc-open-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir)?;
    /// let platform = Platform::start()?;
    /// let ops = platform.workspace("ops");
    /// platform.upload(&ops, "notes.txt", "text/plain", "buy milk");
    ///
    /// let poller = InboxPoller::builder(ops.client().build()?).cursor_file(dir.join("cursor"));
    /// let mut notes = Vec::new();
    /// let summary = poller.build()?.poll_once(|message| {
    ///     let file = message.open(&message.attachments()[0]);
    ///     Verdict::after(file.and_then(|file| file.write_to(&mut notes)))
    /// })?;
    /// assert_eq!((summary.delivered, notes.as_slice()), (1, b"buy milk".as_slice()));
    /// # std::fs::remove_dir_all(dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidMessage`](crate::ErrorKind::InvalidMessage), with what to do: a file whose contents are in
    /// [`Attachment::bytes`], one that has neither contents nor an address, and as [`Client::open_file`].
    ///
    /// [`Client::open_file`]: crate::Client::open_file
    pub fn open(&self, file: &Attachment) -> Result<PlatformFile, Error> {
        let refused = |why: &str| Err(Error::new(ErrorKind::InvalidMessage, format!("open: {why}")));
        match (&file.uri, &file.bytes) {
            (Some(uri), _) => self.content.client.open_file(uri),
            (None, Some(_)) => refused("the file came with the message: take Attachment::bytes"),
            (None, None) => {
                refused("the file has no address, and no contents that can be decoded: see InboxMessage::row")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::Client;
    use crate::wire::Row;

    #[test]
    fn file_that_is_not_on_the_platform_says_what_to_do() {
        let client = Client::builder().workspace_id("w").build().unwrap();
        let files = json!([
            { "kind": "file", "uri": "platform-pending:w/f" },
            { "kind": "file", "uri": "https://x.test/a" },
            { "kind": "file", "bytes": "aGk=" },
            { "kind": "file", "name": "a" },
        ]);
        let fields = json!({ "id": "r", "attachments": files }).as_object().unwrap().clone();
        let message = InboxMessage::new(&client, Row { id: "r".to_owned(), at: None, bytes: 0, fields });
        let opened: Vec<_> = message.attachments().iter().map(|file| message.open(file)).collect();
        assert_eq!(opened[0].as_ref().unwrap().id(), "f");
        for (at, words) in [(1, "fetch that address yourself"), (2, "take Attachment::bytes"), (3, "no address")] {
            let error = opened[at].as_ref().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidMessage);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
