//! One attempt at a call that may be repeated.

use std::time::Duration;

use crate::error::{Delivery, Error, ErrorKind};
use crate::http::{Pool, RequestBody};
use crate::util::clock::Deadline;

/// Largest request that the platform reads, in bytes. It cuts a longer one.
const MAX_REQUEST: usize = 1024 * 1024;

/// A call that is ready to be sent, and may be sent again.
///
/// Every attempt sends the same bytes, and so the same ids. Clones are the same call.
pub(crate) trait Attempt: Clone + Send + 'static {
    type Answer: Send + 'static;

    /// Returns the method and URL, for errors.
    fn target(&self) -> &str;

    /// Makes one attempt over `pool`.
    ///
    /// # Errors
    ///
    /// The failure, with the state of the delivery and a hint whether another attempt may succeed.
    fn run(&self, pool: &Pool, deadline: Deadline) -> Result<Self::Answer, FailedAttempt>;

    /// Returns the state of the delivery, as far as the last attempt's use of the request's body shows it.
    fn delivery(&self) -> Delivery;
}

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct FailedAttempt {
    pub(crate) error: Error,
    pub(crate) hint: RetryHint,
}

/// A classifier's answer to whether another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RetryHint {
    /// No: it would fail in the same way.
    No,
    /// Yes: the transport failed.
    Transport,
    /// Yes: the platform asks to be called again, after this time if it says one.
    Asked(Option<Duration>),
}

impl FailedAttempt {
    /// Returns a failure that another attempt cannot mend.
    pub(crate) fn permanent(error: Error) -> Self {
        FailedAttempt { error, hint: RetryHint::No }
    }
}

/// Returns the state of the delivery after an exchange that brought no answer.
pub(super) fn delivery_of(body: &RequestBody) -> Delivery {
    if body.may_be_sent() { Delivery::Unknown } else { Delivery::NotSent }
}

/// Returns the error of an attempt that brought no answer, with the state of the delivery.
///
/// A removal is an answer: the platform refused the token, and took nothing.
pub(super) fn lost(error: Error, body: &RequestBody) -> Error {
    match error.kind() {
        ErrorKind::Removed => error.with_delivery(Delivery::NotSent),
        _ => error.with_delivery(delivery_of(body)),
    }
}

/// # Errors
///
/// [`ErrorKind::TooLarge`] for a request above [`MAX_REQUEST`].
pub(super) fn check_request_size(bytes: usize, target: &str) -> Result<(), Error> {
    if bytes <= MAX_REQUEST {
        return Ok(());
    }
    let detail = format!("the request has {bytes} bytes; the platform takes {MAX_REQUEST}");
    Err(Error::new(ErrorKind::TooLarge, detail).with_target(target))
}
