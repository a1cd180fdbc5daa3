//! Reads the parts of a message, in whichever form they are written. Replies and inbox rows have the same reader.
//!
//! Protocol 0.3 names a part's kind in `kind`, its drafts in `type`, and 1.0 not at all:
//! <https://a2a-protocol.org/latest/specification/>. The protocol buffers of 0.3 have other names for some fields. Some
//! Python agents write their models as they are: with underscores in the names, and with a part inside `root`.
//!
//! | field | names |
//! | --- | --- |
//! | parts of a message | `parts`, `content`: a list, one part, or a text |
//! | kind | `kind`, or else `type` |
//! | text | `text`; a part may be a text itself |
//! | address of a file | `uri`, `url`, `fileWithUri` |
//! | bytes of a file, in base64 | `bytes`, `raw`, `fileWithBytes` |
//! | name of a file | `name`, `filename` |
//! | media type of a file | `mimeType`, `mediaType` |
//! | size of a file | `size` |
//!
//! The fields of a file are in `file`, or else in the part. A field of a file that is an empty text counts as missing.

use std::slice;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

use super::{Attachment, File, FileContent, Part};
use crate::util::text::Untrusted;

/// Kinds of parts that are files. The protocol has only the first one. The platform also names the others.
const FILE_KINDS: [&str; 4] = ["file", "image", "audio", "video"];
/// Number of characters of a file's name, and of its media type, in a text in place of words.
const MAX_SHOWN: usize = 100;

/// Returns the parts of a message or an artifact, without reading them. A message that is a text is one part.
pub(in crate::wire) fn parts(message: &Value) -> &[Value] {
    if message.is_string() {
        return listed(message);
    }
    let found = ["parts", "content"].into_iter().map(|field| listed(&message[field]));
    found.into_iter().find(|parts| !parts.is_empty()).unwrap_or_default()
}

/// Returns the entries of a list of parts, or the one part that is there in its place.
fn listed(parts: &Value) -> &[Value] {
    match parts {
        Value::Array(parts) => parts,
        Value::String(text) if text.is_empty() => &[],
        Value::String(_) | Value::Object(_) => slice::from_ref(parts),
        _ => &[],
    }
}

/// Reads a part. One that is of no known kind, or lacks the fields of its kind, is [`Part::Other`].
pub(in crate::wire) fn part(part: &Value) -> Part<'_> {
    let read = match content(part) {
        Content::Text(text) => Some(Part::Text(text)),
        Content::Data(data) => Some(Part::Data(data)),
        Content::File(fields) => fields.into_file().map(Part::File),
        Content::Other => None,
    };
    read.unwrap_or(Part::Other(part))
}

/// Returns the text of a part, if it is a text.
pub(in crate::wire) fn text(part: &Value) -> Option<&str> {
    match content(part) {
        Content::Text(text) => Some(text),
        _ => None,
    }
}

/// Returns whether a part claims to be a text, but its `text` is no string.
///
/// `null` in a part without a kind is a field that is not set, as protocol 1.0 may write it.
pub(in crate::wire) fn is_broken_text(part: &Value) -> bool {
    let part = without_root(part);
    let broken = |text: &Value| match kind(part) {
        Some("text") => !text.is_string(),
        None => !text.is_string() && !text.is_null(),
        Some(_) => false,
    };
    part.get("text").is_some_and(broken)
}

/// Reads a part as an attachment. Returns `None` if it is no file.
pub(in crate::wire) fn file_attachment(part: &Value) -> Option<Attachment> {
    let Content::File(fields) = content(part) else { return None };
    let kind = kind(without_root(part)).unwrap_or_else(|| kind_of_media_type(fields.media_type));
    Some(fields.into_attachment(kind))
}

/// Reads the fields of an attachment, whichever of them there are.
pub(in crate::wire) fn attachment(kind: &str, file: &Value) -> Attachment {
    FileFields::read(file).into_attachment(kind)
}

/// Returns the kind of attachment for a file of this media type: `image`, `audio`, `video`, or else `file`.
pub(in crate::wire) fn kind_of_media_type(media_type: Option<&str>) -> &'static str {
    let class = media_type.and_then(|media_type| media_type.split('/').next());
    FILE_KINDS.into_iter().find(|kind| Some(*kind) == class).unwrap_or("file")
}

/// Returns a text in place of the words that a message lacks, such as `(no text: 1 file, 2 data parts)`.
///
/// Returns `None` if it has no parts, or only texts.
pub(in crate::wire) fn describe_kinds<'a>(parts: impl IntoIterator<Item = &'a Value>) -> Option<String> {
    let (mut files, mut data, mut others) = (0, 0, 0);
    for part in parts {
        match content(part) {
            Content::Text(_) => {}
            Content::File(_) => files += 1,
            Content::Data(_) => data += 1,
            Content::Other => others += 1,
        }
    }
    let counts = [(files, "file"), (data, "data part"), (others, "other part")];
    let shown = counts.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| {
        let plural = if *count == 1 { "" } else { "s" };
        format!("{count} {kind}{plural}")
    });
    let shown: Vec<String> = shown.collect();
    (!shown.is_empty()).then(|| format!("(no text: {})", shown.join(", ")))
}

/// Returns a part that is no text in few words: `[data]`, `[file: a.txt, text/plain]` or `[part]`.
pub(in crate::wire) fn describe(part: &Value) -> Option<String> {
    match content(part) {
        Content::Text(_) => None,
        Content::Data(_) => Some("[data]".to_owned()),
        Content::File(file) => Some(describe_file(file.name, file.media_type)),
        Content::Other => Some("[part]".to_owned()),
    }
}

/// Returns a file in few words, with as much of its name and media type as fits on a line.
pub(in crate::wire) fn describe_file(name: Option<&str>, media_type: Option<&str>) -> String {
    let shown = [name, media_type].into_iter().flatten().map(|text| Untrusted::new(text).up_to(MAX_SHOWN).to_string());
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "[file]".to_owned() } else { format!("[file: {}]", shown.join(", ")) }
}

/// The content of a part, by its kind.
enum Content<'a> {
    Text(&'a str),
    Data(&'a Value),
    File(FileFields<'a>),
    /// The part is of no known kind, or lacks the fields of its kind.
    Other,
}

fn content(part: &Value) -> Content<'_> {
    let part = without_root(part);
    if let Value::String(text) = part {
        return Content::Text(text);
    }
    let text = part["text"].as_str();
    let read = match kind(part) {
        Some("text") => text.map(Content::Text),
        Some("data") => part.get("data").map(Content::Data),
        Some(kind) if FILE_KINDS.contains(&kind) => {
            Some(FileFields::read(part)).filter(FileFields::is_any).map(Content::File)
        }
        Some(_) => None,
        None => text.filter(|text| !text.is_empty()).map(Content::Text).or_else(|| untyped_content(part)),
    };
    read.unwrap_or(Content::Other)
}

/// Returns the content of a part without a kind and without words. A field that is not set may be there, but empty.
fn untyped_content(part: &Value) -> Option<Content<'_>> {
    let file = FileFields::read(part);
    if file.has_content() || (part["file"].is_object() && file.is_any()) {
        return Some(Content::File(file));
    }
    let data = part.get("data").filter(|data| !data.is_null()).map(Content::Data);
    data.or_else(|| part["text"].as_str().map(Content::Text))
}

/// Returns a part without the objects around it whose field `root` it is.
fn without_root(mut part: &Value) -> &Value {
    while kind(part).is_none() && part["root"].is_object() {
        part = &part["root"];
    }
    part
}

/// Returns the kind that a part claims, under the name of protocol 0.3 or of its drafts.
fn kind(part: &Value) -> Option<&str> {
    let mut claimed = ["kind", "type"].into_iter().filter_map(|field| part[field].as_str());
    claimed.find(|kind| !kind.is_empty())
}

/// The fields of a file, as text. None of them is empty.
struct FileFields<'a> {
    uri: Option<&'a str>,
    bytes: Option<&'a str>,
    name: Option<&'a str>,
    media_type: Option<&'a str>,
    size: Option<u64>,
}

impl<'a> FileFields<'a> {
    /// Reads each field from the first of its names that has a text.
    fn read(part: &'a Value) -> Self {
        let places = [&part["file"], part];
        let field = |names: &[&str]| {
            let mut texts = places.iter().flat_map(|place| names.iter().filter_map(|name| place[*name].as_str()));
            texts.find(|text| !text.is_empty())
        };
        FileFields {
            uri: field(&["uri", "url", "fileWithUri", "file_with_uri"]),
            bytes: field(&["bytes", "raw", "fileWithBytes", "file_with_bytes"]),
            name: field(&["name", "filename"]),
            media_type: field(&["mimeType", "mediaType", "mime_type", "media_type"]),
            size: places.iter().find_map(|place| place["size"].as_u64()),
        }
    }

    /// Returns whether there is an address or bytes.
    fn has_content(&self) -> bool {
        self.uri.is_some() || self.bytes.is_some()
    }

    /// Returns whether there is an address, bytes or a name.
    fn is_any(&self) -> bool {
        self.has_content() || self.name.is_some()
    }

    /// Returns the file, or `None` if it has neither an address nor bytes in base64.
    fn into_file(self) -> Option<File<'a>> {
        let content = match self.uri {
            Some(uri) => FileContent::Uri(uri),
            None => FileContent::Bytes(decode(self.bytes?)?),
        };
        Some(File { name: self.name, media_type: self.media_type, content })
    }

    fn into_attachment(self, kind: &str) -> Attachment {
        let bytes = self.bytes.filter(|_| self.uri.is_none()).and_then(decode);
        Attachment {
            kind: kind.to_owned(),
            uri: self.uri.map(str::to_owned),
            size: bytes.as_ref().map(|bytes| bytes.len() as u64).or(self.size),
            bytes,
            name: self.name.map(str::to_owned),
            media_type: self.media_type.map(str::to_owned),
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
