//! A response of the platform, and texts from it that are safe to show.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::fmt::Display;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, ErrorKind, MAX_RETRY_AFTER};
use crate::token::Token;
use crate::util::text::{EXCERPT_CHARS, Untrusted, prefix};

/// Longest text of a peer that an error takes over, in characters.
const MAX_TEXT: usize = 4_000;
/// Length of the longest character in UTF-8, in bytes.
const MAX_UTF8: usize = 4;

/// A response, whatever its status.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Wait that the `Retry-After` header asks for.
    pub(crate) retry_after: Option<Duration>,
    /// The `Content-Encoding` that the body still has. `ureq` takes the header away when it decodes a body.
    pub(crate) encoding: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Method and URL of the request.
    pub(crate) target: String,
    /// Token of the request, which is cut out of every text that is shown.
    pub(super) token: Option<Token>,
}

impl Response {
    /// Returns the start of the body for an error: at most 200 characters, escaped, without the token.
    pub(crate) fn excerpt(&self) -> String {
        let start = &self.body[..self.body.len().min(self.window(EXCERPT_CHARS))];
        self.excerpt_of(String::from_utf8_lossy(start))
    }

    /// Returns the start of a text from the response: at most 200 characters, escaped, without the token.
    pub(crate) fn excerpt_of(&self, text: impl Display) -> String {
        Untrusted::new(self.without_token(text, EXCERPT_CHARS)).to_string()
    }

    /// Returns a text from the response with its line ends: at most 4,000 characters, escaped, without the token.
    pub(crate) fn safe_text(&self, text: impl Display) -> String {
        Untrusted::new(self.without_token(text, MAX_TEXT)).up_to(MAX_TEXT).keep_lines().to_string()
    }

    /// Returns a value's JSON without the token, if it has at most `max_bytes` bytes.
    pub(crate) fn json_without_token(&self, value: &Value, max_bytes: usize) -> Option<String> {
        let text = prefix(value, max_bytes.saturating_add(1));
        match &self.token {
            _ if text.len() > max_bytes => None,
            Some(token) => Some(token.cut_from(&text, text.len())),
            None => Some(text),
        }
    }

    /// Returns the first `max_chars` characters of a text without the token, or some more. The rest is not looked at.
    fn without_token(&self, text: impl Display, max_chars: usize) -> String {
        let start = prefix(text, self.window(max_chars));
        match &self.token {
            Some(token) => token.cut_from(&start, MAX_UTF8 * max_chars),
            None => start,
        }
    }

    /// Returns the number of bytes that decide what is shown of a text: the characters, and the longest form of the token.
    fn window(&self, max_chars: usize) -> usize {
        MAX_UTF8 * max_chars + self.token.as_ref().map_or(0, Token::longest_form)
    }

    /// Returns whether the request carried a token.
    pub(crate) fn had_token(&self) -> bool {
        self.token.is_some()
    }

    /// Returns an error with this response's target, status, wait and start of its body.
    pub(crate) fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> Error {
        let error = Error::new(kind, detail).with_target(self.target.as_str()).with_status(self.status);
        error.with_retry_after(self.retry_after).with_body_snippet(self.excerpt())
    }

    /// Returns the body's encoding, if it is another than `identity`. None was asked for.
    ///
    /// `ureq` decodes gzip and brotli where another crate of the program enabled its features for them. Such a body is
    /// read like any other, unless it could not be decoded.
    pub(crate) fn foreign_encoding(&self) -> Option<String> {
        let encoding = self.encoding.as_deref().map(str::trim)?;
        (!encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity")).then(|| self.excerpt_of(encoding))
    }

    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] where the body has another encoding than `identity`.
    pub(crate) fn check_encoding(&self) -> Result<(), Error> {
        let Some(encoding) = self.foreign_encoding() else { return Ok(()) };
        let detail = format!("the body has the encoding {encoding}, which was not asked for");
        Err(self.error(ErrorKind::Malformed, detail))
    }

    /// Returns a response to a POST, without headers.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn for_test(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let target = "POST http://p".to_owned();
        Response { status, retry_after: None, encoding: None, body: body.into(), target, token: None }
    }
}

/// Reads a `Retry-After` header in seconds; at most a day. Its date form is ignored, since it needs a clock that is right.
///
/// See RFC 9110, section 10.2.3, <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>.
pub(super) fn retry_after(header: &str) -> Option<Duration> {
    let digits = header.trim();
    // The header has no sign. A number that is too large for `u64` is still a wait.
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_digits_only_and_at_most_a_day() {
        let day = Duration::from_secs(86_400);
        for (header, wait) in [
            (" 7 ", Some(Duration::from_secs(7))),
            ("0", Some(Duration::ZERO)),
            ("86401", Some(day)),
            ("99999999999999999999999", Some(day)),
            ("+7", None),
            ("-7", None),
            ("7.5", None),
            ("", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ] {
            assert_eq!(retry_after(header), wait, "{header:?}");
        }
    }
}
