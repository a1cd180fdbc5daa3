//! The parts of a message, as they are read: in a reply, and in a row of the inbox.
//!
//! Protocol 0.3 names a part's kind in `kind`, its drafts in `type`, and 1.0 not at all:
//! <https://a2a-protocol.org/latest/specification/>. The two readers differ in what they accept:
//!
//! | | in a reply | in an inbox row |
//! | --- | --- | --- |
//! | text | `kind`, or else `type`, is `text`; without both, a `text` field | `kind` or `type` is `text` |
//! | file | `kind`, or else `type`, is `file`; without both, an address or bytes | the kind is `file`, `image`, `audio` or `video` |
//! | the file's fields are in | `file`, if there is such a field; else the part | `file`, if it is an object; else the part |
//! | address | `uri`, `url`, `fileWithUri` | `uri`, `url` |
//! | media type | `mimeType`, `mediaType`, `mime_type` | `mime_type`, `mimeType`, `mediaType` |
//! | bytes | decoded | not read |
//! | an empty string | counts | counts as missing |

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

/// One part of a reply.
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

/// A file in a reply.
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

/// The contents of a file, or its address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileContent<'a> {
    /// The decoded bytes.
    Bytes(Vec<u8>),
    /// The address. The crate does not fetch it.
    Uri(&'a str),
}

/// A file that came with an inbox message. Every field is the sender's word.
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// Kind of the file: `file`, `image`, `audio`, `video` or another word.
    pub kind: String,
    /// Address of the file. The crate does not fetch it.
    pub uri: Option<String>,
    /// File name. Never use it as a path: the sender may have written `../`.
    pub name: Option<String>,
    /// Media type.
    pub media_type: Option<String>,
}

/// Reads a part of a reply. A part that is of no known kind, or lacks the fields of its kind, is [`Part::Other`].
pub(super) fn part(part: &Value) -> Part<'_> {
    let typed = match kind(part) {
        Some("text") => part["text"].as_str().map(Part::Text),
        Some("data") => part.get("data").map(Part::Data),
        Some("file") => reply_file(part).map(Part::File),
        Some(_) => None,
        None => part["text"]
            .as_str()
            .map(Part::Text)
            .or_else(|| reply_file(part).map(Part::File))
            .or_else(|| part.get("data").filter(|data| !data.is_null()).map(Part::Data)),
    };
    typed.unwrap_or(Part::Other(part))
}

/// Returns whether a part of a reply claims to be a text, but its `text` is no string.
///
/// `null` in a part without a kind is a field that is not set, as protocol 1.0 may write it.
pub(super) fn is_broken_text(part: &Value) -> bool {
    let broken = |text: &Value| match kind(part) {
        Some("text") => !text.is_string(),
        None => !text.is_string() && !text.is_null(),
        Some(_) => false,
    };
    part.get("text").is_some_and(broken)
}

/// Returns the text of a part of an inbox row, if the part is a text.
pub(super) fn inbox_text(part: &Value) -> Option<&str> {
    let is_text = part["kind"] == "text" || part["type"] == "text";
    part["text"].as_str().filter(|_| is_text)
}

/// Reads a part of an inbox row as a file. Returns `None` if it is no file, or has neither an address nor a name.
pub(super) fn inbox_file(part: &Value) -> Option<Attachment> {
    let kind = kind(part).filter(|kind| matches!(*kind, "file" | "image" | "audio" | "video"))?;
    let fields = if part["file"].is_object() { &part["file"] } else { part };
    Some(attachment(kind, fields)).filter(Attachment::has_uri_or_name)
}

/// Reads the fields of an attachment, whichever of them there are.
pub(super) fn attachment(kind: &str, file: &Value) -> Attachment {
    let fields = FileFields::read(file, Direction::Inbox);
    Attachment {
        kind: kind.to_owned(),
        uri: fields.uri.map(str::to_owned),
        name: fields.name.map(str::to_owned),
        media_type: fields.media_type.map(str::to_owned),
    }
}

impl Attachment {
    pub(super) fn has_uri_or_name(&self) -> bool {
        self.uri.is_some() || self.name.is_some()
    }
}

/// Returns the kind that a part claims, under the name of protocol 0.3 or of its drafts.
fn kind(part: &Value) -> Option<&str> {
    part["kind"].as_str().or_else(|| part["type"].as_str())
}

/// Reads a part of a reply as a file. Returns `None` if it has neither an address nor bytes in base64.
fn reply_file(part: &Value) -> Option<File<'_>> {
    let fields = FileFields::read(part.get("file").unwrap_or(part), Direction::Reply);
    let content = match fields.uri {
        Some(uri) => FileContent::Uri(uri),
        None => FileContent::Bytes(decode(fields.bytes?)?),
    };
    Some(File { name: fields.name, media_type: fields.media_type, content })
}

/// The message that a part belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Direction {
    Reply,
    Inbox,
}

/// The fields of a file, as text.
struct FileFields<'a> {
    uri: Option<&'a str>,
    bytes: Option<&'a str>,
    name: Option<&'a str>,
    media_type: Option<&'a str>,
}

impl<'a> FileFields<'a> {
    /// Reads each field from the first of its names that has a text.
    fn read(file: &'a Value, direction: Direction) -> Self {
        let field = |names: &[&str]| {
            let mut texts = names.iter().filter_map(|name| file[*name].as_str());
            texts.find(|text| direction == Direction::Reply || !text.is_empty())
        };
        let (uri, media_type): (&[&str], &[&str]) = match direction {
            Direction::Reply => (&["uri", "url", "fileWithUri"], &["mimeType", "mediaType", "mime_type"]),
            Direction::Inbox => (&["uri", "url"], &["mime_type", "mimeType", "mediaType"]),
        };
        FileFields {
            uri: field(uri),
            bytes: field(&["bytes", "raw", "fileWithBytes"]),
            name: field(&["name", "filename"]),
            media_type: field(media_type),
        }
    }
}

/// Decodes base64 in either alphabet, with or without padding.
///
/// The JSON format of protocol buffers asks readers to accept all four:
/// <https://protobuf.dev/programming-guides/json/>.
fn decode(text: &str) -> Option<Vec<u8>> {
    let standard: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    STANDARD_NO_PAD.decode(standard).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_of_all_protocol_versions_are_read() {
        for text in [json!({"kind":"text","text":"x"}), json!({"type":"text","text":"x"}), json!({"text":"x"})] {
            assert_eq!(part(&text), Part::Text("x"));
        }
        let data = json!({"a":1});
        for value in [json!({"kind":"data","data":data}), json!({"type":"data","data":data}), json!({"data":data})] {
            assert_eq!(part(&value), Part::Data(&data));
        }
        let bytes = FileContent::Bytes(b"hi".to_vec());
        for value in [
            json!({"kind":"file","file":{"bytes":"aGk=","name":"n","mimeType":"m"}}),
            json!({"type":"file","file":{"bytes":"aGk=","name":"n","mimeType":"m"}}),
            json!({"raw":"aGk=","filename":"n","mediaType":"m"}),
            json!({"file":{"fileWithBytes":"aGk=","name":"n","mediaType":"m"}}),
        ] {
            assert_eq!(
                part(&value),
                Part::File(File { name: Some("n"), media_type: Some("m"), content: bytes.clone() })
            );
        }
        let uri = FileContent::Uri("https://h/f");
        for value in [json!({"kind":"file","file":{"uri":"https://h/f"}}), json!({"url":"https://h/f"})] {
            assert_eq!(part(&value), Part::File(File { name: None, media_type: None, content: uri.clone() }));
        }
    }

    #[test]
    fn unknown_or_unusable_part_is_other() {
        for other in [
            json!({"kind":"later","x":1}),
            json!({"kind":"file","file":{"bytes":"not base64!"}}),
            json!({"kind":"file"}),
            json!({"kind":"data"}),
            json!({"kind":"text"}),
            json!("text"),
            json!(null),
        ] {
            assert_eq!(part(&other), Part::Other(&other));
            assert!(!is_broken_text(&other));
        }
        for broken in [json!({"kind":"text","text":5}), json!({"kind":"text","text":null}), json!({"text":5})] {
            assert!(is_broken_text(&broken), "{broken}");
        }
        let unset = json!({"text":null,"data":{"a":1},"url":null});
        assert!(!is_broken_text(&unset));
        assert_eq!(part(&unset), Part::Data(&json!({"a":1})));
        for text in ["-_-_", "+/+/", "aGk", "aGk="] {
            assert!(matches!(part(&json!({"raw": text})), Part::File(_)), "{text}");
        }
    }

    /// The differences of the table at the top of this file.
    #[test]
    fn reply_and_inbox_differ_in_what_they_accept() {
        let attachment_uri = |part: &Value| inbox_file(part).and_then(|file| file.uri);
        for untyped in [json!({"text":"x"}), json!({"kind":"data","type":"text","text":"x"})] {
            assert_eq!(part(&untyped) == Part::Text("x"), inbox_text(&untyped).is_none(), "{untyped}");
        }
        let no_object = json!({"kind":"file","file":null,"uri":"u"});
        assert_eq!((part(&no_object), attachment_uri(&no_object)), (Part::Other(&no_object), Some("u".to_owned())));
        let image = json!({"kind":"image","uri":"u"});
        assert_eq!((part(&image), attachment_uri(&image)), (Part::Other(&image), Some("u".to_owned())));
        let later = json!({"kind":"file","fileWithUri":"u"});
        assert!(matches!(part(&later), Part::File(_)) && inbox_file(&later).is_none());
        let empty = json!({"kind":"file","uri":"","url":"u","name":"","mimeType":"a","mime_type":"b"});
        let file = File { name: Some(""), media_type: Some("a"), content: FileContent::Uri("") };
        assert_eq!(part(&empty), Part::File(file));
        let file = inbox_file(&empty).unwrap();
        assert_eq!((file.uri.as_deref(), file.name, file.media_type.as_deref()), (Some("u"), None, Some("b")));
    }
}
