//! The parts of a reply: of protocol 0.3 (`kind`), of its drafts (`type`), of 1.0 (neither).

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

/// A part of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part<'a> {
    /// A text.
    Text(&'a str),
    /// Structured data.
    Data(&'a Value),
    /// A file.
    File(File<'a>),
    /// Anything else, as it came: a kind that this release does not know, or a known one out of shape.
    Other(&'a Value),
}

/// A file in a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct File<'a> {
    /// Its name, where the peer gave one. It is the peer's word: do not write to it as a path.
    pub name: Option<&'a str>,
    /// Its media type, where the peer gave one.
    pub media_type: Option<&'a str>,
    /// What is in it, or where.
    pub content: FileContent<'a>,
}

/// What is in a file, or where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileContent<'a> {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// Its address. Nothing is fetched from it.
    Uri(&'a str),
}

pub(super) fn part(part: &Value) -> Part<'_> {
    let typed = match kind(part) {
        Some("text") => part["text"].as_str().map(Part::Text),
        Some("data") => part.get("data").map(Part::Data),
        Some("file") => file(part.get("file").unwrap_or(part)).map(Part::File),
        Some(_) => None,
        None => part["text"]
            .as_str()
            .map(Part::Text)
            .or_else(|| file(part.get("file").unwrap_or(part)).map(Part::File))
            .or_else(|| part.get("data").filter(|data| !data.is_null()).map(Part::Data)),
    };
    typed.unwrap_or(Part::Other(part))
}

/// Whether a part that should be a text has one that is none. A field that is not set may come as null.
pub(super) fn is_broken_text(part: &Value) -> bool {
    let broken = |text: &Value| match kind(part) {
        Some("text") => !text.is_string(),
        None => !text.is_string() && !text.is_null(),
        Some(_) => false,
    };
    part.get("text").is_some_and(broken)
}

/// Base64 in either alphabet, padded or not: readers of protocol buffers' JSON take all of them.
fn decode(text: &str) -> Option<Vec<u8>> {
    let plain: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    STANDARD_NO_PAD.decode(plain).ok()
}

fn kind(part: &Value) -> Option<&str> {
    part["kind"].as_str().or_else(|| part["type"].as_str())
}

fn file(file: &Value) -> Option<File<'_>> {
    let field = |names: &[&str]| names.iter().find_map(|name| file[name].as_str());
    let content = match field(&["uri", "url", "fileWithUri"]) {
        Some(uri) => FileContent::Uri(uri),
        None => FileContent::Bytes(decode(field(&["bytes", "raw", "fileWithBytes"])?)?),
    };
    Some(File {
        name: field(&["name", "filename"]),
        media_type: field(&["mimeType", "mediaType", "mime_type"]),
        content,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_spelling_of_a_part_is_read() {
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
    fn what_is_none_of_them_comes_as_it_is() {
        for odd in [
            json!({"kind":"later","x":1}),
            json!({"kind":"file","file":{"bytes":"not base64!"}}),
            json!({"kind":"file"}),
            json!({"kind":"data"}),
            json!({"kind":"text"}),
            json!("text"),
            json!(null),
        ] {
            assert_eq!(part(&odd), Part::Other(&odd));
            assert!(!is_broken_text(&odd));
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
}
