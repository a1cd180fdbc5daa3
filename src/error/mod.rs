//! The error type of this crate: opaque, one pointer wide, with a kind to act upon.

mod cause;
pub(crate) mod failure_log;
mod kind;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::util::panic::{self, Panicked};
use crate::util::text::Untrusted;
pub(crate) use cause::ErrorCause;
pub use kind::{Delivery, ErrorKind, WorkspaceRemoved};

/// Maximum of a `Retry-After` that is reported: a longer one is no wait but a refusal.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// An error of a call, whose text names the target and says what to do.
///
/// Act upon [`kind`](Error::kind), and print the text. It is one line without characters that move a terminal's cursor:
/// those in the words of a peer or a platform are escaped, so that nobody else can forge a line of a log. `{:#}` keeps the
/// line breaks of a peer's own text. It never contains the token: where a platform echoes the token, it is cut out. The
/// cause, if there is one, is the [`source`](std::error::Error::source), and is not repeated in the text.
///
/// ```
/// use a2a_blocking::{ErrorKind, PeerId};
///
/// let error = PeerId::parse("../../foo").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidPeerId);
/// assert!(error.to_string().starts_with(r#"not a peer id: "../../foo""#));
/// assert!(!error.is_transient());
/// ```
pub struct Error(Box<ErrorInner>);

#[derive(Debug)]
struct ErrorInner {
    kind: ErrorKind,
    /// Method and URL of the request, if there was one.
    target: Option<String>,
    detail: String,
    status: Option<u16>,
    retry_after: Option<Duration>,
    body_snippet: Option<String>,
    attempts: u32,
    delivery: Delivery,
    removed: Option<WorkspaceRemoved>,
    rpc_code: Option<i64>,
    rpc_data: Option<Value>,
    /// Start of the JSON-RPC error's data, for the text.
    rpc_data_excerpt: Option<String>,
    /// Advice after the detail. The Python module's words have none of it.
    advice: Option<Cow<'static, str>>,
    /// Name by which httpx knows such a failure of the transport, such as `ReadTimeout`.
    httpx_name: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Returns the kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the HTTP status, if an answer had one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the wait that the platform asked for with `Retry-After`, at most a day.
    ///
    /// The header's form in seconds is read, and not its date form: RFC 9110, section 10.2.3,
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the start of the answer's body: at most 200 characters, or `None` where there was no body.
    ///
    /// Characters that could move a terminal's cursor are escaped, and the token is cut out.
    #[must_use]
    pub fn body_snippet(&self) -> Option<&str> {
        self.0.body_snippet.as_deref()
    }

    /// Returns the number of attempts that a send made, or zero for any other call.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns the state of the message that was to be sent, over all attempts.
    ///
    /// It is [`NotSent`](Delivery::NotSent) for a call that sends no message.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// Returns the code of the agent's JSON-RPC error, for [`ErrorKind::Rpc`] and a code that is an integer.
    #[must_use]
    pub fn rpc_code(&self) -> Option<i64> {
        self.0.rpc_code
    }

    /// Returns the `data` of the agent's JSON-RPC error, for [`ErrorKind::Rpc`] and an error that has any.
    ///
    /// Everything in it is the agent's word, with the token cut out. `None` where its JSON is longer than 64 KiB, or takes
    /// far more memory than that. The error's text has its first 200 characters in any case.
    #[must_use]
    pub fn rpc_data(&self) -> Option<&Value> {
        self.0.rpc_data.as_ref()
    }

    /// Returns the details of our workspace's removal, for [`ErrorKind::Removed`].
    #[must_use]
    pub fn removed(&self) -> Option<&WorkspaceRemoved> {
        self.0.removed.as_ref()
    }

    /// Returns whether the same call may succeed later without a change of its arguments or settings.
    ///
    /// True for a connection that failed or broke, a timeout, and a status of 429, 500, 502, 503 or 504.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.0.kind {
            ErrorKind::Connect | ErrorKind::Disconnected | ErrorKind::Timeout => true,
            _ => matches!(self.0.status, Some(429 | 500 | 502 | 503 | 504)),
        }
    }

    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Error(Box::new(ErrorInner {
            kind,
            target: None,
            detail: detail.into(),
            status: None,
            retry_after: None,
            body_snippet: None,
            attempts: 0,
            delivery: Delivery::NotSent,
            removed: None,
            rpc_code: None,
            rpc_data: None,
            rpc_data_excerpt: None,
            advice: None,
            httpx_name: None,
            source: None,
        }))
    }

    pub(crate) fn config(detail: impl Into<String>) -> Self {
        Error::new(ErrorKind::Config, detail)
    }

    /// Returns the error for a text without words, for every call that sends one. It has no target, because none is called.
    pub(crate) fn blank_text() -> Self {
        Error::new(ErrorKind::InvalidMessage, "the text is empty: give it words")
    }

    /// Returns the error for a system that gives no random numbers, as for [`fresh_id`](crate::util::random::fresh_id).
    pub(crate) fn no_random_numbers() -> Self {
        Error::new(ErrorKind::Internal, "the system gives no random numbers")
    }

    /// Sets the method and URL of the request that failed. The text begins with them.
    pub(crate) fn with_target(mut self, target: impl Into<String>) -> Self {
        self.0.target = Some(target.into());
        self
    }

    /// Sets the whole text, without a target.
    pub(crate) fn with_text(mut self, text: String) -> Self {
        self.0.target = None;
        self.0.detail = text;
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    /// Sets the snippet of the body. An empty one counts as none.
    pub(crate) fn with_body_snippet(mut self, snippet: String) -> Self {
        self.0.body_snippet = Some(snippet).filter(|text| !text.is_empty());
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Sets the delivery, unless a stronger one is set already.
    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = self.0.delivery.max(delivery);
        self
    }

    pub(crate) fn with_removed(mut self, removed: WorkspaceRemoved) -> Self {
        self.0.removed = Some(removed);
        self
    }

    pub(crate) fn with_rpc_code(mut self, code: Option<i64>) -> Self {
        self.0.rpc_code = code;
        self
    }

    /// Sets the data of a JSON-RPC error, if it is small enough to be kept, and the excerpt of it for the text.
    pub(crate) fn with_rpc_data(mut self, data: Option<Value>, excerpt: String) -> Self {
        self.0.rpc_data = data;
        self.0.rpc_data_excerpt = Some(excerpt);
        self
    }

    /// Sets the advice. The text has it after the [`detail`](Error::detail), which stays as it is.
    pub(crate) fn with_advice(mut self, advice: Option<impl Into<Cow<'static, str>>>) -> Self {
        self.0.advice = advice.map(Into::into);
        self
    }

    pub(crate) fn with_httpx_name(mut self, name: &'static str) -> Self {
        self.0.httpx_name = Some(name);
        self
    }

    /// Returns the error with httpx's name of it before its detail, as users of the Python module `a2a_client` know it.
    pub(crate) fn in_httpx_words(mut self) -> Self {
        if let Some(name) = self.0.httpx_name.take() {
            self.0.detail.insert_str(0, &format!("{name}: "));
        }
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns whether the registry says that a peer was removed: the one case in which a 503 means that it is not there.
    pub(crate) fn is_removed_peer(&self) -> bool {
        self.0.kind == ErrorKind::NotFound && self.0.status == Some(503)
    }

    /// Returns the text without the target.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }
}

/// Formats the text on one line. `{:#}` keeps the line breaks of a peer's own text.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Untrusted::line(ErrorText(&self.0));
        if f.alternate() { text.keep_lines().fmt(f) } else { text.fmt(f) }
    }
}

/// The text of an error, as its parts came.
struct ErrorText<'a>(&'a ErrorInner);

impl fmt::Display for ErrorText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorInner { kind, target, detail, status, attempts, rpc_data_excerpt, advice, .. } = self.0;
        if let Some(target) = target {
            write!(f, "{target}: ")?;
        }
        f.write_str(detail)?;
        match (kind, status) {
            // The texts of the other kinds contain the status.
            (ErrorKind::Rpc, Some(status)) if *status != 200 => write!(f, ", HTTP {status}")?,
            _ => {}
        }
        if let Some(data) = rpc_data_excerpt {
            write!(f, "; data: {data}")?;
        }
        if let Some(advice) = advice {
            write!(f, "; {advice}")?;
        }
        if *attempts > 1 { write!(f, " (after {attempts} attempts)") } else { Ok(()) }
    }
}

/// Formats the kind, the text and the causes on one line, because `main` and `unwrap` print it. `{:#?}` shows all
/// fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.0.fmt(f);
        }
        write!(f, "{:?}: {self}", self.0.kind)?;
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            write!(f, ": {}", Untrusted::line(error))?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Makes a call, and converts a panic in it to [`ErrorKind::Internal`].
///
/// The HTTP client panics where the system refuses it a thread. A logger and a token function are the user's code.
pub(crate) fn guard<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    panic::catch(call).unwrap_or_else(|Panicked| {
        Err(Error::new(ErrorKind::Internal, "a panic during the call, in the HTTP client or a logger: see its message"))
    })
}

/// Like [`guard`], for a call that delivers a message: a panic in it may come before, during or after the request.
pub(crate) fn guard_delivery<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    guard(|| Ok(call())).unwrap_or_else(|error| Err(error.with_delivery(Delivery::Unknown)))
}

#[cfg(test)]
mod tests;
