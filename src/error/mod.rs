//! The one error of this crate: opaque, boxed, with a kind to act upon.

mod kind;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::util::panic::{self, Panicked};
pub use kind::{Delivery, ErrorKind};

/// The longest wait that a platform can ask us for: beyond a day it is no wait but a no.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// What went wrong, in a text that names the target: one line, but for what a peer's own words add.
///
/// Act upon [`kind`](Error::kind); print the whole. The text never holds the token: a platform that
/// echoes it has it cut out. The underlying cause, where there is one, is the
/// [`source`](std::error::Error::source) and is not repeated in the text.
///
/// ```
/// use a2a_blocking::{ErrorKind, PeerId};
///
/// let error = PeerId::parse("../../foo").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidPeerId);
/// assert!(error.to_string().starts_with(r#"not a peer id: "../../foo""#));
/// assert!(!error.is_transient());
/// ```
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    /// Method and URL of a request, where there was one.
    target: Option<String>,
    detail: String,
    status: Option<u16>,
    retry_after: Option<Duration>,
    excerpt: Option<String>,
    attempts: u32,
    delivery: Delivery,
    removed: Option<WorkspaceRemoved>,
    rpc_code: Option<i64>,
    /// Name by which httpx knows such a failure of the transport, such as `ReadTimeout`.
    httpx_name: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the platform says of a workspace that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkspaceRemoved {
    /// The workspace's id.
    pub id: String,
    /// When it was removed, as the platform writes it.
    pub removed_at: Option<String>,
    /// What to do about it.
    pub hint: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            target: None,
            detail: detail.into(),
            status: None,
            retry_after: None,
            excerpt: None,
            attempts: 0,
            delivery: Delivery::NotSent,
            removed: None,
            rpc_code: None,
            httpx_name: None,
            source: None,
        }))
    }

    /// The request that failed: its method and URL.
    pub(crate) fn at(mut self, target: impl Into<String>) -> Self {
        self.0.target = Some(target.into());
        self
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Config, message)
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    pub(crate) fn with_excerpt(mut self, excerpt: String) -> Self {
        self.0.excerpt = Some(excerpt).filter(|text| !text.is_empty());
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// What is known of the delivery, unless more is known already.
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

    /// The same failure in other words, which are the whole text.
    pub(crate) fn in_words(mut self, words: String) -> Self {
        self.0.target = None;
        self.0.detail = words;
        self
    }

    /// What went wrong, without the target.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The HTTP status, where an answer got that far.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// How long the platform asked us to wait (`Retry-After` in seconds; its date form is not read), a day at the most.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The start of the body that came with the failure: at most 200 characters, those that a terminal
    /// must not see escaped, the token cut out. `None` where there was no body.
    #[must_use]
    pub fn body_snippet(&self) -> Option<&str> {
        self.0.excerpt.as_deref()
    }

    /// How many attempts a send made. For all other calls zero.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// What is known of the message that was to be sent, over all attempts. For a call that sends none:
    /// [`NotSent`](Delivery::NotSent).
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The code of the agent's JSON-RPC error, where the kind is [`ErrorKind::Rpc`] and it is an integer.
    #[must_use]
    pub fn rpc_code(&self) -> Option<i64> {
        self.0.rpc_code
    }

    /// What the platform says of our workspace's removal, where the kind is [`ErrorKind::Removed`].
    #[must_use]
    pub fn removed(&self) -> Option<&WorkspaceRemoved> {
        self.0.removed.as_ref()
    }

    /// Whether the same call may succeed later without anybody changing anything: a connection that
    /// failed or broke, a bound that ran out, or a status of 429, 500, 502, 503 or 504.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.0.kind {
            ErrorKind::Connect | ErrorKind::Disconnected | ErrorKind::Timeout => true,
            _ => matches!(self.0.status, Some(429 | 500 | 502 | 503 | 504)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, target, detail, status, attempts, .. } = &*self.0;
        if let Some(target) = target {
            write!(f, "{target}: ")?;
        }
        f.write_str(detail)?;
        match (kind, status) {
            // The other kinds have it among their words.
            (ErrorKind::Rpc | ErrorKind::Agent, Some(status)) if *status != 200 => write!(f, ", HTTP {status}")?,
            _ => {}
        }
        if *attempts > 1 { write!(f, " (after {attempts} attempts)") } else { Ok(()) }
    }
}

/// The kind, the text and the causes on one line, since that is what `main` and `unwrap` print; `{:#?}` shows all fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.0.fmt(f);
        }
        write!(f, "{:?}: {self}", self.0.kind)?;
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
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

/// Runs a call so that no panic in it reaches the caller's thread: the HTTP client's where the system
/// refuses it a thread, a logger's, a token function's.
pub(crate) fn guard<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // Locks here are not poisoned, and nothing is left half written by an exchange.
    panic::catch(call).unwrap_or_else(|Panicked| {
        Err(Error::new(ErrorKind::Internal, "a panic below the call, in the HTTP client or a logger"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_panics_when_dropped_does_not_get_out() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Bomb);
            }
        }
        assert_eq!(
            guard(|| std::panic::panic_any(Bomb)).map_err(|e: Error| e.kind()),
            Err::<(), _>(ErrorKind::Internal)
        );
    }

    #[test]
    fn a_main_that_fails_prints_a_line_that_can_be_read() {
        let cause = std::io::Error::other("refused");
        let error = Error::new(ErrorKind::Connect, "no connection").at("GET http://h/p").with_source(cause);
        assert_eq!(format!("{error:?}"), "Connect: GET http://h/p: no connection: refused");
        assert!(format!("{error:#?}").contains("delivery: NotSent"));
    }

    #[test]
    fn only_what_time_can_mend_is_transient() {
        assert!(Error::new(ErrorKind::Timeout, "").is_transient());
        assert!(Error::new(ErrorKind::Status, "").with_status(503).is_transient());
        assert!(!Error::new(ErrorKind::Status, "").with_status(400).is_transient());
        assert!(!Error::new(ErrorKind::Tls, "").is_transient());
    }
}
