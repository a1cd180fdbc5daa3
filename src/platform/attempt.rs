//! One attempt at a call that may be repeated.

use std::time::Duration;

use crate::error::{Delivery, Error, ErrorKind};
use crate::http::{Http, Pool, RequestBody};
use crate::util::clock::Deadline;

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
/// [`ErrorKind::TooLarge`] for a request above the setting `max_request`.
pub(super) fn check_request_size(bytes: usize, http: &Http, target: &str) -> Result<(), Error> {
    let most = http.max_request;
    if bytes <= most {
        return Ok(());
    }
    let detail = format!("the request has {bytes} bytes; the limit of this client is {most}: `max_request` sets it");
    Err(Error::new(ErrorKind::TooLarge, detail).with_target(target))
}
