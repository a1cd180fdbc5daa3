//! Sending: attempts at a call until one succeeds, within a policy and a budget.

mod attempt;
mod queued;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::error::{Delivery, Error};
use crate::http::Http;
use crate::platform::{Attempt, FailedAttempt, RetryHint};
use crate::retry::RetryPolicy;
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;
use crate::util::random::random;
use attempt::{AttemptRunner, Wait, cancelled};
pub(crate) use queued::wait_queued;

/// Options of one send.
///
/// Default: [`RetryPolicy::new`] with its silence, no token, no callback, and no message to our own workspace:
///
/// ```
/// use a2a_blocking::{RetryPolicy, SendOptions};
///
/// let shown = format!("{:?}", SendOptions::new());
/// let rest = "silence: OfPolicy, own: false, cancel: None, on_progress: false";
/// assert_eq!(shown, format!("SendOptions {{ retry: {:?}, {rest} }}", RetryPolicy::new()));
/// ```
///
/// ```no_run
/// use a2a_blocking::{CancelToken, Client, Message, SendOptions};
///
/// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// let token = CancelToken::new();
/// let options = SendOptions::new().cancel(&token).on_progress(|now| eprintln!("attempt {}", now.attempt));
/// std::thread::spawn(move || token.cancel());
/// let outcome = Client::from_env()?.send_with(peer, &Message::from("hello"), &options);
/// println!("{outcome:?}");
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct SendOptions {
    retry: RetryPolicy,
    silence: SilenceLimit,
    own: bool,
    cancel: Option<CancelToken>,
    on_progress: Option<Arc<dyn Fn(SendProgress) + Send + Sync>>,
}

/// Longest wait of an attempt for the next byte of the answer.
#[derive(Debug, Clone, Copy, Default)]
enum SilenceLimit {
    /// That of the retry policy.
    #[default]
    OfPolicy,
    Limit(Duration),
    /// The rest of the budget.
    Budget,
}

/// Progress of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SendProgress {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Largest number of attempts that the policy allows.
    pub max_attempts: u32,
    /// Length of the pause before the next attempt; `None` at the start of an attempt.
    pub pause: Option<Duration>,
}

impl SendOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        SendOptions::default()
    }

    /// Sets when a failed attempt is repeated, and the budget.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how long an attempt waits for the next byte of the answer: `None` waits as long as the budget lasts.
    ///
    /// Default: the policy's [`silence`](RetryPolicy::silence), 300 s. The platform waits up to half an hour for an agent, and
    /// goes on when we have hung up. So silence is no sign of a failure, and an agent that has a URL runs a repeated message
    /// twice. Use `None` for such an agent, with a budget for its longest task.
    ///
    /// ```
    /// use std::time::Duration;
    /// use a2a_blocking::{RetryPolicy, SendOptions};
    ///
    /// let hour = RetryPolicy::new().with_budget(Duration::from_secs(3_600)).only_undelivered();
    /// let options = SendOptions::new().retry(hour).silence(None);
    /// # let _ = options;
    /// ```
    pub fn silence(mut self, time: Option<Duration>) -> Self {
        self.silence = time.map_or(SilenceLimit::Budget, SilenceLimit::Limit);
        self
    }

    /// Sets whether a message to our own workspace is sent. Default: false, and it is refused.
    ///
    /// The platform takes it and puts it into our own inbox.
    pub fn own(mut self, sends: bool) -> Self {
        self.own = sends;
        self
    }

    /// Sets the token that ends the send from another thread.
    ///
    /// Each attempt then runs on a thread of the crate, so that the send ends at once even while it connects.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Sets a callback for the start of each attempt and of each pause.
    ///
    /// It runs on the sending thread, and its time counts against the budget: it must not block.
    pub fn on_progress(mut self, callback: impl Fn(SendProgress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(callback));
        self
    }

    /// Returns the longest wait of an attempt for the next byte of the answer.
    pub(crate) fn silence_limit(&self) -> Duration {
        match self.silence {
            SilenceLimit::OfPolicy => self.retry.silence(),
            SilenceLimit::Limit(time) => time,
            SilenceLimit::Budget => self.retry.budget(),
        }
    }

    /// Returns whether a message to our own workspace is sent.
    pub(crate) fn sends_to_own(&self) -> bool {
        self.own
    }

    fn report(&self, progress: SendProgress) {
        if let Some(callback) = &self.on_progress {
            callback(progress);
        }
    }
}

impl fmt::Debug for SendOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SendOptions { retry, silence, own, cancel, on_progress } = self;
        let mut shown = f.debug_struct("SendOptions");
        shown.field("retry", retry).field("silence", silence).field("own", own);
        shown.field("cancel", cancel).field("on_progress", &on_progress.is_some()).finish()
    }
}

/// Makes a call, in as many attempts as the policy allows, inside its budget.
///
/// # Errors
///
/// The last attempt's error, with the state of the delivery over all of them.
pub(crate) fn send<A: Attempt>(http: &Http, call: &A, options: &SendOptions) -> Result<A::Answer, Error> {
    let policy = options.retry;
    let deadline = Deadline::after(policy.budget());
    let runner = AttemptRunner::new(http, call, options.cancel.as_ref(), policy.budget());
    if options.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
        return Err(cancelled(call, "before it was sent"));
    }
    let mut delivery = Delivery::NotSent;
    let mut attempt = 1;
    loop {
        let progress = |pause| SendProgress { attempt, max_attempts: policy.attempts(), pause };
        options.report(progress(None));
        let FailedAttempt { error, hint } = match runner.run(deadline) {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let error = error.with_delivery(delivery).with_attempts(attempt);
        delivery = error.delivery();

        let pause = pause_after(attempt, hint, policy, delivery);
        // An attempt after the budget would have no time.
        let Some(pause) = pause.filter(|pause| *pause < deadline.left()) else { return Err(error) };
        log_safe!(debug, "{error}; next attempt in {pause:?}");
        options.report(progress(Some(pause)));
        if runner.wait(pause) == Wait::Cancelled {
            return Err(cancelled(call, "before the next attempt").with_delivery(delivery).with_attempts(attempt));
        }
        attempt += 1;
    }
}

/// Returns the pause after a failed attempt, or `None` where no other attempt is to be made.
fn pause_after(attempt: u32, hint: RetryHint, policy: RetryPolicy, delivery: Delivery) -> Option<Duration> {
    let may_be_delivered = delivery != Delivery::NotSent;
    if attempt >= policy.attempts() || (policy.retries_only_undelivered() && may_be_delivered) {
        return None;
    }
    let backoff = || policy.backoff(attempt, random());
    match hint {
        RetryHint::No => None,
        RetryHint::Transport => Some(backoff()),
        RetryHint::Asked(_) if !policy.honors_retry_after() || delivery > Delivery::Unknown => None,
        RetryHint::Asked(wait) => Some(wait.unwrap_or_else(backoff)),
    }
}

#[cfg(test)]
mod tests;
