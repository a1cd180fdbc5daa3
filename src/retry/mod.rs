//! How often a send is tried, how long it waits between, and when it gives up.

use std::time::Duration;

/// When a send is tried again, and its budget: a small value that is made once, perhaps as a constant.
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
/// // 1, 2, 4, 8 s, each ±25 %, 16 s at the most.
/// let secs = |attempt, random| default.backoff(attempt, random).as_secs_f64();
/// assert_eq!([secs(1, 0.5), secs(2, 0.5), secs(3, 0.5), secs(4, 0.5)], [1.0, 2.0, 4.0, 8.0]);
/// assert_eq!([secs(1, 0.0), secs(1, 1.0), secs(9, 1.0)], [0.75, 1.25, 16.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "each setting makes a new policy"]
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

/// The longest budget that is kept to: beyond it a send is no longer bounded in a useful sense.
const MAX_BUDGET: Duration = Duration::from_secs(86_400);

impl RetryPolicy {
    /// The original's policy: five attempts, waits of 1, 2, 4 and 8 s (each ±25 %, 16 s at the most),
    /// 600 s in all; only failures of the transport are tried again.
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

    /// How many attempts there are at the most. Zero counts as one.
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// The wait after the first attempt; each later one is twice the one before.
    pub const fn with_base(mut self, wait: Duration) -> Self {
        self.base = wait;
        self
    }

    /// The longest wait between two attempts, jitter included.
    pub const fn with_cap(mut self, wait: Duration) -> Self {
        self.cap = wait;
        self
    }

    /// By how much a wait is shortened or lengthened at random, as a fraction of it: 0 to 1. What is
    /// outside, or no number, counts as the nearer end.
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

    /// The time for all attempts and waits together. It is hard: timeouts and waits are cut to what is
    /// left of it. At most a day.
    pub const fn with_budget(mut self, total: Duration) -> Self {
        self.budget = if total.as_secs() >= MAX_BUDGET.as_secs() { MAX_BUDGET } else { total };
        self
    }

    /// How long an attempt goes on without a byte from the peer. Default: 300 s, since agents think.
    pub const fn with_silence(mut self, time: Duration) -> Self {
        self.silence = time;
        self
    }

    /// Tries again only where nothing can have been delivered. Take it where a repeated task does harm:
    /// the platform finishes what it took, though the connection be lost.
    pub const fn only_undelivered(mut self) -> Self {
        self.only_undelivered = true;
        self
    }

    /// Also tries again after a 429, and after a 503 that says that the agent is restarting or waking,
    /// once the wait that it asks for is over. A wait past the budget ends the send at once.
    pub const fn honor_retry_after(mut self) -> Self {
        self.honor_retry_after = true;
        self
    }

    /// How many attempts there are at the most.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The time for all attempts and waits together.
    #[must_use]
    pub const fn budget(&self) -> Duration {
        self.budget
    }

    /// How long an attempt goes on without a byte from the peer.
    #[must_use]
    pub const fn silence(&self) -> Duration {
        self.silence
    }

    /// Whether it tries again only where nothing can have been delivered.
    #[must_use]
    pub const fn retries_only_undelivered(&self) -> bool {
        self.only_undelivered
    }

    /// Whether it waits where the platform asks for it.
    #[must_use]
    pub const fn honors_retry_after(&self) -> bool {
        self.honor_retry_after
    }

    /// The wait after the `attempt`th attempt (the first is 1), for a `random` number from 0 to 1: a pure
    /// function, so that a schedule can be tested without waiting for it.
    #[must_use]
    pub fn backoff(&self, attempt: u32, random: f64) -> Duration {
        let doubled = 2_f64.powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX).min(64));
        let spread = 1.0 + self.jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        let wait = self.base.as_secs_f64() * doubled * spread;
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
    fn the_waits_double_up_to_the_cap_and_keep_inside_the_jitter() {
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
    fn a_policy_is_what_was_set() {
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
    fn values_past_the_ends_count_as_the_ends() {
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
