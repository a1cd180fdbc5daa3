//! [`RetryPolicy`]: when a send is tried again, and when it gives up.

use std::time::Duration;

/// Maximum budget: a longer one would hardly bound a send.
const MAX_BUDGET: Duration = Duration::from_secs(86_400);

/// When a send is tried again, and its budget. A small value, which can be a constant.
///
/// An attempt connects within 30 s and writes within 30 s. It ends where the peer sends no byte for 300 s
/// ([`silence`](Self::silence)), or at the end of the budget. Each attempt uses a new connection, and sends the
/// same request and message id, so that a receiver can recognise a repeat. After a 401 the token is read again, and the
/// request is repeated once if the token has changed.
///
/// By default only failures of the transport are tried again: neither a status nor an answer is.
///
/// ```
/// use std::time::Duration;
/// use a2a_blocking::RetryPolicy;
///
/// const PATIENT: RetryPolicy = RetryPolicy::new().honor_retry_after();
/// const ONCE: RetryPolicy = RetryPolicy::new().with_attempts(1).with_budget(Duration::from_secs(30));
///
/// let default = RetryPolicy::new();
/// assert_eq!(default, RetryPolicy::default());
/// assert_eq!(default.attempts(), 5);
/// assert_eq!(default.budget(), Duration::from_secs(600));
/// assert_eq!(default.silence(), Duration::from_secs(300));
/// assert!(!default.retries_only_undelivered() && !default.honors_retry_after());
/// // 1, 2, 4, 8 s, each ±25 %, and at most 16 s.
/// let secs = |attempt, random| default.backoff(attempt, random).as_secs_f64();
/// assert_eq!([secs(1, 0.5), secs(2, 0.5), secs(3, 0.5), secs(4, 0.5)], [1.0, 2.0, 4.0, 8.0]);
/// assert_eq!([secs(1, 0.0), secs(1, 1.0), secs(9, 1.0)], [0.75, 1.25, 16.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "each setter returns a new policy"]
pub struct RetryPolicy {
    attempts: u32,
    base: Duration,
    cap: Duration,
    jitter: f64,
    budget: Duration,
    silence: Duration,
    only_undelivered: bool,
    honor_retry_after: bool,
}

impl RetryPolicy {
    /// Returns the default policy, which is that of the Python module `a2a_client`.
    ///
    /// It makes five attempts in 600 s, with waits of 1, 2, 4 and 8 s between them (each ±25 %, at most 16 s). Only a
    /// failure of the transport leads to another attempt.
    pub const fn new() -> Self {
        RetryPolicy {
            attempts: 5,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(16),
            jitter: 0.25,
            budget: Duration::from_secs(600),
            silence: Duration::from_secs(300),
            only_undelivered: false,
            honor_retry_after: false,
        }
    }

    /// Sets the maximum number of attempts. Default: 5. Zero counts as one.
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// Sets the wait after the first attempt. Default: 1 s. Each later wait is twice the one before.
    pub const fn with_base(mut self, wait: Duration) -> Self {
        self.base = wait;
        self
    }

    /// Sets the longest wait between two attempts, jitter included. Default: 16 s.
    pub const fn with_cap(mut self, wait: Duration) -> Self {
        self.cap = wait;
        self
    }

    /// Sets the part of a wait by which it is shortened or lengthened at random, from 0 to 1. Default: 0.25.
    ///
    /// Values are clamped; a value that is not a number counts as 0.
    pub const fn with_jitter(mut self, fraction: f64) -> Self {
        self.jitter = if fraction >= 1.0 {
            1.0
        } else if fraction > 0.0 {
            fraction
        } else {
            0.0
        };
        self
    }

    /// Sets the time for all attempts and waits together. Default: 600 s. At most a day: a longer one is clamped.
    ///
    /// It is a hard bound: each timeout and each wait is cut to what is left of it.
    pub const fn with_budget(mut self, total: Duration) -> Self {
        self.budget = if total.as_secs() >= MAX_BUDGET.as_secs() { MAX_BUDGET } else { total };
        self
    }

    /// Sets the time that an attempt waits for the next byte from the peer. Default: 300 s, because agents think.
    pub const fn with_silence(mut self, time: Duration) -> Self {
        self.silence = time;
        self
    }

    /// Tries again only while nothing can have been delivered.
    ///
    /// Use it where a repeated task does harm: the platform finishes a task that it accepted, even after the connection
    /// is lost. Default: off, so a message that may have arrived is sent again.
    ///
    /// ```no_run
    /// use a2a_blocking::{Delivery, Message, RetryPolicy, SendOptions};
    ///
    /// # let client = a2a_blocking::Client::from_env()?;
    /// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    /// let once_only = SendOptions::new().retry(RetryPolicy::new().only_undelivered());
    /// match client.send_with(peer, &Message::from("restart node 7"), &once_only) {
    ///     Ok(reply) => println!("{}", reply.text()),
    ///     Err(error) if error.delivery() == Delivery::NotSent => println!("most likely not delivered: {error}"),
    ///     Err(error) => println!("it may have been restarted: {error}"),
    /// }
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    pub const fn only_undelivered(mut self) -> Self {
        self.only_undelivered = true;
        self
    }

    /// Tries again also after a 429, and after a 503 that says that the agent is restarting or waking up.
    ///
    /// The next attempt is made after the time in `Retry-After`. Where that is past the budget, the send ends at once.
    /// Default: off.
    pub const fn honor_retry_after(mut self) -> Self {
        self.honor_retry_after = true;
        self
    }

    /// Returns the maximum number of attempts.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the time for all attempts and waits together.
    #[must_use]
    pub const fn budget(&self) -> Duration {
        self.budget
    }

    /// Returns the time that an attempt waits for the next byte from the peer.
    #[must_use]
    pub const fn silence(&self) -> Duration {
        self.silence
    }

    /// Returns whether [`only_undelivered`](Self::only_undelivered) is on.
    #[must_use]
    pub const fn retries_only_undelivered(&self) -> bool {
        self.only_undelivered
    }

    /// Returns whether [`honor_retry_after`](Self::honor_retry_after) is on.
    #[must_use]
    pub const fn honors_retry_after(&self) -> bool {
        self.honor_retry_after
    }

    /// Returns the wait after an attempt, which is counted from 1. `random` is from 0 to 1 and sets the jitter.
    ///
    /// It is a pure function, so that a test can check a schedule without waiting for it.
    #[must_use]
    pub fn backoff(&self, attempt: u32, random: f64) -> Duration {
        let factor = 2_f64.powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX).min(64));
        let jitter = 1.0 + self.jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        let wait = self.base.as_secs_f64() * factor * jitter;
        Duration::try_from_secs_f64(wait).map_or(self.cap, |wait| wait.min(self.cap))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_the_cap_within_the_jitter() {
        let policy = RetryPolicy::new();
        for attempt in 1..200 {
            let middle = (1_u64 << (attempt - 1).min(40)) as f64;
            for random in [0.0, 0.1, 0.5, 0.9, 1.0] {
                let wait = policy.backoff(attempt, random).as_secs_f64();
                let (low, high) = ((middle * 0.75).min(16.0), (middle * 1.25).min(16.0));
                assert!((low..=high).contains(&wait), "{attempt} {random}: {wait}");
            }
        }
    }

    #[test]
    fn getters_return_what_was_set() {
        let ms = Duration::from_millis;
        let policy = RetryPolicy::new()
            .with_attempts(3)
            .with_base(ms(100))
            .with_cap(ms(250))
            .with_jitter(0.5)
            .with_budget(ms(900))
            .with_silence(ms(7));
        assert_eq!((policy.attempts(), policy.budget(), policy.silence()), (3, ms(900), ms(7)));
        assert_eq!([0.0, 0.5, 1.0].map(|random| policy.backoff(1, random)), [ms(50), ms(100), ms(150)]);
        assert_eq!(policy.backoff(3, 1.0), ms(250));
        assert!(!policy.retries_only_undelivered() && !policy.honors_retry_after());
        let careful = policy.only_undelivered();
        assert!(careful.retries_only_undelivered() && !careful.honors_retry_after());
        let patient = policy.honor_retry_after();
        assert!(patient.honors_retry_after() && !patient.retries_only_undelivered());
    }

    #[test]
    fn values_out_of_range_are_clamped() {
        let odd = RetryPolicy::new().with_jitter(f64::NAN).with_attempts(0).with_budget(Duration::MAX);
        assert_eq!((odd.backoff(1, 0.0), odd.backoff(1, 1.0)), (Duration::from_secs(1), Duration::from_secs(1)));
        assert_eq!((odd.attempts(), odd.budget()), (1, MAX_BUDGET));
        let day_and_more = RetryPolicy::new().with_budget(MAX_BUDGET + Duration::from_millis(500));
        assert_eq!(day_and_more.budget(), MAX_BUDGET);
        let negative = RetryPolicy::new().with_jitter(-0.5);
        assert_eq!(
            (negative.backoff(1, 0.0), negative.backoff(1, 1.0)),
            (Duration::from_secs(1), Duration::from_secs(1))
        );
        let full = RetryPolicy::new().with_jitter(7.0);
        assert_eq!((full.backoff(1, 0.0), full.backoff(1, 2.0)), (Duration::ZERO, Duration::from_secs(2)));
        let endless = RetryPolicy::new().with_base(Duration::MAX).with_cap(Duration::MAX);
        assert_eq!(endless.backoff(u32::MAX, 1.0), Duration::MAX);
        assert_eq!(RetryPolicy::new().with_base(Duration::ZERO).backoff(5, 1.0), Duration::ZERO);
    }
}
