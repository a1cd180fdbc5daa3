//! A notice to the human on the canvas of our workspace.

use std::sync::Arc;

use serde_json::{Value, json};

use super::post::{OutgoingPost, invalid};
use super::response::Call;
use super::uploads::UploadedFile;
use crate::error::Error;
use crate::http::Http;
use crate::util::text::strip;

/// A text for the human on the canvas, with files: [`Client::notify`](crate::Client::notify). A text is one without files.
///
/// ```
/// use std::io::Cursor;
/// use a2a_blocking::{Notice, testing::Platform};
///
/// let platform = Platform::start()?;
/// let client = platform.workspace("ops").client().build()?;
/// let report = client.upload("report.csv", "text/csv", Cursor::new("node,load\n7,0.3\n"))?;
/// client.notify(Notice::new("The report of today").attach(&report))?;
/// # assert_eq!(platform.sent().last().unwrap().text, "The report of today");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Notice {
    text: String,
    /// As they are sent.
    attachments: Vec<Value>,
}

impl Notice {
    /// Returns a notice of this text, without files.
    pub fn new(text: impl Into<String>) -> Self {
        Notice { text: text.into(), attachments: Vec::new() }
    }

    /// Adds a file that was [uploaded](crate::Client::upload).
    pub fn attach(mut self, file: &UploadedFile) -> Self {
        let mut attachment = json!({ "uri": file.uri, "name": file.name });
        if let Some(media_type) = &file.media_type {
            attachment["mimeType"] = media_type.as_str().into();
        }
        if let Some(size) = file.size {
            attachment["size"] = size.into();
        }
        self.attachments.push(attachment);
        self
    }

    /// Adds a file that is elsewhere, by its address. Neither the crate nor the platform fetches it.
    pub fn attach_link(mut self, uri: impl Into<String>, name: impl Into<String>) -> Self {
        self.attachments.push(json!({ "uri": uri.into(), "name": name.into() }));
        self
    }
}

impl<T: AsRef<str>> From<T> for Notice {
    fn from(text: T) -> Self {
        Notice::new(text.as_ref())
    }
}

/// Makes the call that shows a notice.
///
/// # Errors
///
/// A blank text, an attachment without address or name, a text with U+0000 in it, or more than 1 MiB.
pub(crate) fn outgoing_notice(http: &Arc<Http>, notice: &Notice) -> Result<OutgoingPost<()>, Error> {
    if strip(&notice.text).is_empty() {
        return Err(Error::blank_text());
    }
    let is_empty = |file: &Value| ["uri", "name"].iter().any(|field| file[field] == "");
    if notice.attachments.iter().any(is_empty) {
        return Err(invalid("notify: an attachment has an empty address or name: give both"));
    }
    let mut body = json!({ "message": notice.text });
    if !notice.attachments.is_empty() {
        body["attachments"] = notice.attachments.as_slice().into();
    }
    OutgoingPost::json(http, "notify", &body, Call::Notify, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::error::ErrorKind;

    #[test]
    fn notice_that_the_platform_would_not_take_is_refused() {
        let client = Client::builder().workspace_id("w").build().unwrap();
        let refused = |text: Notice| outgoing_notice(client.http(), &text).err().map(|error| error.kind());
        for empty in ["", " \n", "\u{a0}\u{1c}", "a\0b"] {
            assert_eq!(refused(empty.into()), Some(ErrorKind::InvalidMessage), "{empty:?}");
        }
        let longest = 1024 * 1024 - r#"{"message":""}"#.len();
        assert_eq!(refused("x".repeat(longest).into()), None);
        assert_eq!(refused("x".repeat(longest + 1).into()), Some(ErrorKind::TooLarge));
        assert_eq!(refused(Notice::new("see").attach_link("https://x.test/a.pdf", "a.pdf")), None);
        for (uri, name) in [("", "a"), ("a", ""), ("\0", "a")] {
            let link = Notice::new("see").attach_link(uri, name);
            assert_eq!(refused(link), Some(ErrorKind::InvalidMessage), "{uri:?} {name:?}");
        }
    }
}
