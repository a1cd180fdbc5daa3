//! POSTs about our own workspace that create or change something.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::attempt::{Attempt, FailedAttempt, check_request_size, delivery_of};
use super::response::{Call, post_answer, post_lost};
use crate::error::{Delivery, Error, ErrorKind};
use crate::http::{Http, Pool, Request, RequestBody, Response};
use crate::util::clock::Deadline;
use crate::wire::has_nul;

/// Longest response that is read, in bytes. The platform's own are below 1 KiB.
const MAX_RESPONSE: u64 = 64 * 1024;
/// Longest id that a path takes, in bytes. The platform's own have 36.
const MAX_ID: usize = 255;
/// Characters that need no escape in a path or a query, by RFC 3986, section 2.3.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-2.3>
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A POST that is ready to be sent. `T` is what its answer is read as.
#[derive(Clone)]
pub(crate) struct OutgoingPost<T> {
    http: Arc<Http>,
    path: String,
    target: String,
    body: RequestBody,
    call: Call,
    read: fn(&Response) -> Result<T, Error>,
}

impl<T> OutgoingPost<T> {
    /// Makes a POST of `body` to `path` below our own workspace. `read` reads the body of a 2xx.
    ///
    /// # Errors
    ///
    /// A text with U+0000 in it ([`ErrorKind::InvalidMessage`]), or a request above 1 MiB.
    pub(super) fn json(
        http: &Arc<Http>,
        path: &str,
        body: &Value,
        call: Call,
        read: fn(&Response) -> Result<T, Error>,
    ) -> Result<Self, Error> {
        let bytes = body.to_string().into_bytes();
        check_no_nul(body, &bytes)?;
        let post = OutgoingPost::new(http, path, RequestBody::new(bytes), call, read);
        check_request_size(post.body.len(), http, &post.target)?;
        Ok(post)
    }

    /// Makes a POST of any body.
    pub(super) fn new(
        http: &Arc<Http>,
        path: &str,
        body: RequestBody,
        call: Call,
        read: fn(&Response) -> Result<T, Error>,
    ) -> Self {
        let path = format!("/workspaces/{}/{path}", http.workspace_id());
        let target = format!("POST {}{path}", http.platform());
        OutgoingPost { http: http.clone(), path, target, body, call, read }
    }
}

impl<T: Clone + Send + 'static> Attempt for OutgoingPost<T> {
    type Answer = T;

    fn target(&self) -> &str {
        &self.target
    }

    fn run(&self, pool: &Pool, deadline: Deadline) -> Result<T, FailedAttempt> {
        let request = Request::post(&self.path, &self.body).deadline(deadline).max_response(MAX_RESPONSE);
        let response = self.http.execute(&request, pool).map_err(|error| post_lost(error, &self.body))?;
        post_answer(&response, self.call)?;
        // The platform has done what was asked for, or something else has answered.
        let unread = |error: Error| FailedAttempt::permanent(error.with_delivery(Delivery::Unknown));
        (self.read)(&response).map_err(unread)
    }

    fn delivery(&self) -> Delivery {
        delivery_of(&self.body)
    }
}

/// Refuses U+0000 in a body, whose JSON is `bytes`. The database cannot store it: the platform answers 500, or 200 and stores
/// nothing.
///
/// # Errors
///
/// [`ErrorKind::InvalidMessage`], with the name of the field.
fn check_no_nul(body: &Value, bytes: &[u8]) -> Result<(), Error> {
    if !has_nul(bytes) {
        return Ok(());
    }
    let in_field = |(_, value): &(&String, &Value)| has_nul(value.to_string().as_bytes());
    let field = body.as_object().and_then(|fields| fields.iter().find(in_field));
    let name = field.map_or("the request", |(name, _)| name.as_str());
    Err(invalid(format!("{name}: it contains U+0000, which the platform cannot store: remove it")))
}

/// Returns an id as a part of a path: all but letters, digits and `-_.~` are escaped.
///
/// # Errors
///
/// [`ErrorKind::InvalidMessage`] for an empty id, one above 255 bytes, and what could name another path: `.` and `..`, and
/// `/`, `\`, `?`, `#` and `%` in it, since servers and proxies decode them at different times. `what` names the id.
pub(super) fn path_segment(what: &str, id: &str) -> Result<String, Error> {
    let fault = match id {
        "" => "it is empty",
        "." | ".." => "it is no id",
        _ if id.len() > MAX_ID => "it is above 255 bytes",
        _ if id.contains(|c: char| !c.is_ascii_graphic() || "/\\?#%".contains(c)) => {
            "it has a character that no id has"
        }
        _ => return Ok(utf8_percent_encode(id, UNRESERVED).to_string()),
    };
    Err(invalid(format!("{what}: {fault}: give one as the platform lists it")))
}

pub(super) fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidMessage, why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn id_stays_inside_its_part_of_the_path() {
        let segment = |id: &str| path_segment("request id", id).map_err(|error| error.to_string());
        assert_eq!(segment("6cae6a3c-E_1.~").unwrap(), "6cae6a3c-E_1.~");
        assert_eq!(segment("urn:x;y=1&z+").unwrap(), "urn%3Ax%3By%3D1%26z%2B");
        assert_eq!(segment(&"x".repeat(255)).unwrap().len(), 255);
        for (id, fault) in [("", "empty"), (".", "no id"), ("..", "no id"), (&"x".repeat(256), "above 255")] {
            let error = segment(id).unwrap_err();
            assert!(error.starts_with("request id: ") && error.contains(fault), "{error}");
        }
        for (id, fault) in
            ["a/../b", "a\\b", "a?b", "a#b", "%2e%2e", "a b", "a\r\nb", "\0", "é"].map(|id| (id, "no id has"))
        {
            let error = segment(id).unwrap_err();
            assert!(error.starts_with("request id: ") && error.contains(fault), "{error}");
        }
    }

    #[test]
    fn nul_is_found_in_any_text_and_only_there() {
        let check = |body: &Value| check_no_nul(body, body.to_string().as_bytes());
        for fine in [json!({ "a": "\\u0000", "b": [1], "c": "x\u{1}" }), json!({})] {
            assert!(check(&fine).is_ok(), "{fine}");
        }
        for bad in [
            json!({ "a": "x", "title": "a\0b" }),
            json!({ "title": [{ "name": "\0" }] }),
            json!({ "a": 1, "title": { "\0": 1 } }),
        ] {
            assert!(check(&bad).unwrap_err().to_string().starts_with("title: "), "{bad}");
        }
    }
}
