//! The parts of a message that was received: texts, data and files.

pub(super) mod read;

use std::fmt;

use serde_json::Value;

/// The scheme of addresses of files that the platform keeps for a workspace.
const PENDING: &str = "platform-pending:";

/// One part of a message: of a reply, or of a message in the inbox.
///
/// ```
/// use a2a_blocking::{FileContent, Part, Reply};
///
/// fn describe(reply: &Reply) {
///     for part in reply.parts() {
///         match part {
///             Part::Text(text) => println!("text: {text}"),
///             Part::Data(data) => println!("data: {data}"),
///             Part::File(file) => match file.content {
///                 FileContent::Bytes(bytes) => println!("file {:?} of {} bytes", file.name, bytes.len()),
///                 FileContent::Uri(uri) => println!("file {:?} at {uri}", file.name),
///                 _ => println!("file {:?}", file.name),
///             },
///             other => println!("other: {other:?}"),
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part<'a> {
    /// A text.
    Text(&'a str),
    /// Structured data.
    Data(&'a Value),
    /// A file.
    File(File<'a>),
    /// Any other part, unchanged: a kind that this release does not know, or a known kind with unusable fields.
    Other(&'a Value),
}

/// A file in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct File<'a> {
    /// File name, if the peer gave one. Never use it as a path: the peer may have written `../`.
    pub name: Option<&'a str>,
    /// Media type, if the peer gave one.
    pub media_type: Option<&'a str>,
    /// Contents of the file, or its address.
    pub content: FileContent<'a>,
}

/// The contents of a file, or its address. `Debug` shows the number of bytes in place of the bytes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileContent<'a> {
    /// The decoded bytes.
    Bytes(Vec<u8>),
    /// The address. One that begins with `platform-pending:` is fetched by
    /// [`Client::open_file`](crate::Client::open_file), and no other.
    Uri(&'a str),
}

/// A file that came with an inbox message. Every field is the sender's word.
///
/// `Debug` shows the number of bytes in place of the bytes.
///
/// ```
/// use std::path::Path;
/// # use a2a_blocking::{Client, InboxPoller, Verdict};
/// # let dir = std::env::temp_dir().join(format!("a2a-doc-attachment-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let mut platform = mockito::Server::new();
/// # let inbox = platform.mock("GET", "/workspaces/my-team/activity").match_query(mockito::Matcher::Any);
/// # let row = r#"[{"id": "r-1", "source_id": "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", "attachments": [{"kind": "image",
/// #     "uri": "workspace:/tmp/df.png", "name": "../df.png", "mime_type": "image/png"}]}]"#;
/// # inbox.with_body(row).create();
/// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
/// # let mut poller = InboxPoller::builder(client).cursor_file(dir.join("cursor.json")).build()?;
/// let summary = poller.poll_once(|message| {
///     let file = &message.attachments()[0];
///     assert_eq!((file.kind.as_str(), file.media_type.as_deref()), ("image", Some("image/png")));
///     // Only the last component of "../df.png" is safe to use.
///     let name = file.name.as_deref().map(Path::new).and_then(Path::file_name);
///     assert_eq!(name, Some("df.png".as_ref()));
///     Verdict::Ack
/// })?;
/// # assert_eq!(summary.delivered, 1);
/// # drop(poller);
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// Kind of the file: `file`, `image`, `audio`, `video` or another word.
    pub kind: String,
    /// Address of the file. One that begins with `platform-pending:` is fetched by
    /// [`InboxMessage::open`](crate::InboxMessage::open), and no other.
    pub uri: Option<String>,
    /// Contents of the file, decoded, where the message has them in place of an address.
    ///
    /// `None` for a file without an address means that they could not be decoded, or that the message has only a name.
    pub bytes: Option<Vec<u8>>,
    /// File name. Never use it as a path: the sender may have written `../`.
    pub name: Option<String>,
    /// Media type.
    pub media_type: Option<String>,
    /// Size in bytes: that of [`bytes`](Attachment::bytes), or else the size that the sender or the platform gave.
    pub size: Option<u64>,
}

impl Attachment {
    /// Returns the id of a file that the platform keeps for a workspace: the last part of the address
    /// `platform-pending:WORKSPACE/FILE`. `None` for any other file.
    ///
    /// It is part of the sender's word, like the address. [`InboxMessage::open`](crate::InboxMessage::open) checks it.
    #[must_use]
    pub fn file_id(&self) -> Option<&str> {
        pending_file(self.uri.as_deref()?).map(|(_, id)| id)
    }
}

/// Reads the address of a file that the platform keeps for a workspace: the workspace, if it is named, and the file's id.
pub(crate) fn pending_file(uri: &str) -> Option<(Option<&str>, &str)> {
    let path = uri.strip_prefix(PENDING)?;
    Some(path.split_once('/').map_or((None, path), |(workspace, id)| (Some(workspace), id)))
}

impl fmt::Debug for FileContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileContent::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            FileContent::Uri(uri) => f.debug_tuple("Uri").field(uri).finish(),
        }
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attachment { kind, uri, bytes, name, media_type, size } = self;
        let mut shown = f.debug_struct("Attachment");
        shown.field("kind", kind).field("uri", uri);
        match bytes {
            Some(bytes) => shown.field("bytes", &format_args!("Some({} bytes)", bytes.len())),
            None => shown.field("bytes", &format_args!("None")),
        };
        shown.field("name", name).field("media_type", media_type).field("size", size).finish()
    }
}

#[cfg(test)]
mod tests;
