//! An answer of the platform's, and how much of it may be shown.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::time::Duration;

use crate::error::{Error, ErrorKind, MAX_RETRY_AFTER};
use crate::token::Token;
use crate::util::text::{escaped, excerpt};

/// How many characters of a peer's own words an error takes over.
const MAX_WORDS: usize = 4_000;
/// An answer, whatever its status.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) encoding: Option<String>,
    pub(crate) body: Vec<u8>,
    /// The request's method and URL.
    pub(crate) target: String,
    pub(super) token: Option<Token>,
}

impl Response {
    /// The start of the body for an error, without the token where the platform echoes it.
    pub(crate) fn excerpt(&self) -> String {
        self.shown(&String::from_utf8_lossy(&self.body))
    }

    /// Words from the answer as an error may show them: without the token, cut, and with escapes.
    pub(crate) fn shown(&self, words: &str) -> String {
        excerpt(&self.without_token(words))
    }

    /// Words from the answer with their line ends, but without the token and what is beyond a screen or two.
    pub(crate) fn words(&self, words: &str) -> String {
        escaped(self.without_token(words).chars().take(MAX_WORDS), |c| matches!(c, '\n' | '\t'))
    }

    fn without_token(&self, words: &str) -> String {
        self.token.as_ref().map_or_else(|| words.to_owned(), |token| token.cut_from(words))
    }

    pub(crate) fn sent_a_token(&self) -> bool {
        self.token.is_some()
    }

    /// An error that this answer is.
    pub(crate) fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> Error {
        let error = Error::new(kind, detail).with_target(self.target.as_str()).with_status(self.status);
        error.with_retry_after(self.retry_after).with_body_snippet(self.excerpt())
    }

    /// The body's encoding, if it is one that was not asked for and is not undone.
    pub(crate) fn foreign_encoding(&self) -> Option<String> {
        let encoding = self.encoding.as_deref().map(str::trim)?;
        (!encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity")).then(|| self.shown(encoding))
    }

    /// # Errors
    ///
    /// A body of an encoding that was not asked for and is not undone.
    pub(crate) fn check_encoding(&self) -> Result<(), Error> {
        let Some(encoding) = self.foreign_encoding() else { return Ok(()) };
        let detail = format!("the body has the encoding {encoding}, which was not asked for");
        Err(self.error(ErrorKind::Malformed, detail))
    }
}

/// The wait that a `Retry-After` asks for in seconds. Its date form is none.
pub(super) fn retry_after(header: &str) -> Option<Duration> {
    let digits = header.trim();
    // A sign is none of the header's; and more seconds than there are numbers for are still a wait.
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_digits_only_and_a_day_at_the_most() {
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
