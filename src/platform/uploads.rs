//! Files that our workspace uploads, for notices to its human.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::post::{OutgoingPost, invalid};
use super::response::{Call, read_object, without_text};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, RequestBody, Response};
use crate::util::random::fresh_id;
use crate::util::text::strip;
use crate::wire::CALL_MEMORY;

/// Largest request that the platform takes for an upload, in bytes. It answers a larger one as a malformed one.
const MAX_UPLOAD: u64 = 100 * 1024 * 1024;
/// Longest name or media type of a file, in bytes. The platform cuts names at 100.
const MAX_NAME: usize = 1_024;

/// A file that the platform has for us: the answer to [`Client::upload`](crate::Client::upload).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadedFile {
    /// Address of the file on the platform, such as `platform-pending:WORKSPACE/FILE`.
    pub uri: String,
    /// Name that the platform gave it: without folders, at most 100 bytes, and `_` for what is neither letter nor digit.
    pub name: String,
    /// Media type, as it was uploaded.
    pub media_type: Option<String>,
    /// Number of bytes.
    pub size: Option<u64>,
}

/// Makes an upload of a file. `content` is read while it is sent, from its beginning.
///
/// # Errors
///
/// A name or a media type that cannot be sent, a content whose length cannot be found, or more than 100 MiB.
pub(crate) fn upload(
    http: &Arc<Http>,
    name: &str,
    media_type: &str,
    mut content: impl Read + Seek + Send + 'static,
) -> Result<OutgoingPost<UploadedFile>, Error> {
    check_name(name)?;
    check_media_type(media_type)?;
    let unreadable = |why| invalid(format!("upload: the content cannot be read: {why}")).with_source(why);
    let length = content.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let boundary = fresh_id().ok_or_else(Error::no_random_numbers)?.simple().to_string();
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{}\"\r\nContent-Type: {media_type}\r\n\r\n",
        quoted(name)
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let whole = length.saturating_add((head.len() + tail.len()) as u64);
    let bytes = usize::try_from(length).ok().filter(|_| whole <= MAX_UPLOAD);
    let bytes = bytes.ok_or_else(|| {
        let detail =
            format!("upload: the request has {whole} bytes; the platform takes {MAX_UPLOAD}: send a smaller file");
        Error::new(ErrorKind::TooLarge, detail)
    })?;
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let body = RequestBody::streamed(&content_type, head.into(), (Box::new(content), bytes), tail.into());
    Ok(OutgoingPost::new(http, "chat/uploads", body, Call::Own, uploaded))
}

fn uploaded(response: &Response) -> Result<UploadedFile, Error> {
    let files = read_object(response, CALL_MEMORY)?.remove("files");
    let Some(Value::Array(files)) = files else { return Err(without_text(response, "files[0].uri")) };
    let Some(Value::Object(mut file)) = files.into_iter().next() else {
        return Err(without_text(response, "files[0].uri"));
    };
    Ok(UploadedFile {
        uri: text(&mut file, "uri").ok_or_else(|| without_text(response, "files[0].uri"))?,
        name: text(&mut file, "name").ok_or_else(|| without_text(response, "files[0].name"))?,
        media_type: text(&mut file, "mimeType"),
        size: file.get("size").and_then(Value::as_u64),
    })
}

fn text(file: &mut Map<String, Value>, field: &str) -> Option<String> {
    let Some(Value::String(text)) = file.remove(field) else { return None };
    Some(text).filter(|text| !text.is_empty())
}

fn check_name(name: &str) -> Result<(), Error> {
    let fault = match name {
        _ if strip(name).is_empty() => "is empty",
        _ if name.len() > MAX_NAME => "is above 1,024 bytes",
        _ if name.contains(char::is_control) => "has a control character",
        _ => return Ok(()),
    };
    Err(invalid(format!("upload: the file's name {fault}: give another")))
}

fn check_media_type(media_type: &str) -> Result<(), Error> {
    let is_sent = |c: char| c.is_ascii_graphic() || c == ' ';
    let is_type = media_type.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    if is_type && media_type.len() <= MAX_NAME && media_type.chars().all(is_sent) {
        return Ok(());
    }
    Err(invalid("upload: the media type is none: give one such as text/plain, or application/octet-stream"))
}

/// Escapes a name inside the quotes of a header, as RFC 9110, section 5.6.4, has it and the platform's server reads it.
/// Browsers write `%22` instead, which it would keep.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.4>
fn quoted(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor};

    use super::*;
    use crate::client::Client;
    use crate::http::Response;

    fn refused(
        name: &str,
        media_type: &str,
        content: impl Read + Seek + Send + 'static,
    ) -> Option<(ErrorKind, String)> {
        let client = Client::builder().workspace_id("w").build().unwrap();
        let error = upload(client.http(), name, media_type, content).err()?;
        Some((error.kind(), error.to_string()))
    }

    /// A content of this length, which nobody reads.
    struct OfLength(u64);

    impl Read for OfLength {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }

    impl Seek for OfLength {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            if self.0 == 0 { Err(io::Error::other("a pipe")) } else { Ok(self.0) }
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let content = || Cursor::new(b"x");
        for (name, media_type) in
            [("a\"b\\c é.txt", "text/plain"), ("x", "text/plain; charset=utf-8"), (&"x".repeat(1_024), "a/b")]
        {
            assert_eq!(refused(name, media_type, content()), None);
        }
        for name in ["", " ", "a\r\nX: y", "a\0b", &"x".repeat(1_025)] {
            let (kind, text) = refused(name, "text/plain", content()).unwrap();
            assert!(kind == ErrorKind::InvalidMessage && text.contains("name"), "{name:?}: {text}");
        }
        for media_type in ["", "text", "/plain", "text/", "text/pl\r\nX: y", "text/é"] {
            let (kind, text) = refused("a", media_type, content()).unwrap();
            assert!(kind == ErrorKind::InvalidMessage && text.contains("media type"), "{media_type:?}: {text}");
        }
        assert_eq!(refused("a", "a/b", OfLength(0)).unwrap().0, ErrorKind::InvalidMessage);
        assert_eq!(refused("a", "a/b", OfLength(MAX_UPLOAD - 200)), None);
        for length in [MAX_UPLOAD - 100, u64::MAX] {
            assert_eq!(refused("a", "a/b", OfLength(length)).unwrap().0, ErrorKind::TooLarge);
        }
    }

    #[test]
    fn answer_has_at_least_an_address_and_a_name() {
        let answer = |body: &str| uploaded(&Response::for_test(200, body));
        let file = answer(r#"{"files":[{"uri":"u","name":"n","mimeType":7,"size":-1},{}]}"#).unwrap();
        assert_eq!((file.uri.as_str(), file.name.as_str(), file.media_type, file.size), ("u", "n", None, None));
        for body in
            ["{}", "[]", "", r#"{"files":[]}"#, r#"{"files":[{"uri":"","name":"n"}]}"#, r#"{"files":[{"uri":"u"}]}"#]
        {
            assert_eq!(answer(body).unwrap_err().kind(), ErrorKind::Malformed, "{body}");
        }
    }
}
