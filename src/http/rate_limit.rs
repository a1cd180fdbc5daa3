//! The account of the platform's rate limit, kept from its answers, so that what matters is never refused.
//!
//! The platform admits so many requests of one identity in a window of time: of the organisation where one is sent, else of
//! the token. Heartbeats and polls count, too. Every answer says how many are left, and when the window ends:
//! `X-Ratelimit-Limit`, `X-Ratelimit-Remaining` and `X-Ratelimit-Reset`, in whole seconds.
//!
//! | left | waits |
//! | --- | --- |
//! | less than a fifth | lookups of peers, for the next window |
//! | less than a tenth | polls, so that they are spread over the rest of the window |
//! | at most 3, or 2 % | polls, for the next window |
//!
//! Sends and heartbeats never wait. Without the headers there is no account, and nothing waits.

use std::time::Duration;

use ureq::http::HeaderMap;

use crate::util::clock::CoarseInstant;
use crate::util::sync::Mutex;

/// The headers: the window's limit, what is left of it, and the time until its end.
const HEADERS: [&str; 3] = ["X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"];
/// Longest time until the end of a window that is believed. The platform's own is a minute.
///
/// A longer one is asked again after this time, which costs one request.
const MAX_RESET: Duration = Duration::from_secs(120);
/// `X-Ratelimit-Reset` is rounded down.
const ROUNDING: Duration = Duration::from_secs(1);
/// Two answers that say so much of one window's end are about the same window.
const SAME_END: Duration = Duration::from_secs(2);
/// Shortest wait between two polls while less than a tenth is left.
const MIN_POLL_WAIT: Duration = Duration::from_secs(5);
/// Fewest requests that are kept for sends and heartbeats.
const MIN_RESERVE: u64 = 3;

/// The account of one client's rate limit.
#[derive(Default)]
pub(crate) struct RateLimit {
    state: Mutex<RateLimitState>,
}

#[derive(Default)]
struct RateLimitState {
    /// The window that the last answer was about. It may be over.
    window: Option<Window>,
    /// Number of lookups under way. They are not in the window's account yet.
    lookups: u64,
    /// Number of answers with the status 429.
    refused: u64,
}

/// A window, as an answer told of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    limit: u64,
    left: u64,
    /// When the next window begins.
    ends: CoarseInstant,
    /// When the request began that told of it.
    as_of: CoarseInstant,
}

impl RateLimit {
    /// Records the headers of an answer to a request that began at `began`.
    pub(super) fn observe(&self, status: u16, headers: &HeaderMap, began: CoarseInstant) {
        let [limit, left, reset] = HEADERS.map(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        let mut state = self.state.lock();
        state.refused += u64::from(status == 429);
        match (limit.and_then(whole_number), left.and_then(whole_number), reset.and_then(whole_number)) {
            (Some(limit @ 1..), Some(left), Some(reset)) => {
                let reset = Duration::from_secs(reset).min(MAX_RESET);
                // From the beginning of the request: the answer to a send may come long after it was counted.
                let ends = began.plus(reset).plus(ROUNDING);
                state.note(Window { limit, left: left.min(limit), ends, as_of: began }, CoarseInstant::now());
            }
            _ if limit.is_some_and(|limit| limit.trim() == "unlimited") => state.window = None,
            // A gateway's answer, or no number.
            _ => {}
        }
    }

    /// Returns a permit for a lookup of a peer, or `None` where less than a fifth of the window is left.
    pub(crate) fn admit_lookup(&self) -> Option<LookupPermit<'_>> {
        let mut state = self.state.lock();
        if state.is_low(CoarseInstant::now()) {
            return None;
        }
        state.lookups += 1;
        Some(LookupPermit(self))
    }

    /// Returns the time until lookups may go on, or `None` where they may now.
    pub(crate) fn lookup_wait(&self) -> Option<Duration> {
        let now = CoarseInstant::now();
        let state = self.state.lock();
        state.is_low(now).then(|| state.current(now).map(|window| window.ends.since(now))).flatten()
    }

    /// Returns the shortest wait before the next poll. Zero where the poller's own interval is enough.
    pub(crate) fn poll_wait(&self) -> Duration {
        let now = CoarseInstant::now();
        self.state.lock().current(now).map_or(Duration::ZERO, |window| window.poll_wait(now))
    }

    /// Returns the number of requests that are left in this window, if the platform told it.
    pub(crate) fn left(&self) -> Option<u64> {
        self.state.lock().current(CoarseInstant::now()).map(|window| window.left)
    }

    /// Returns the number of answers with the status 429.
    pub(crate) fn refused(&self) -> u64 {
        self.state.lock().refused
    }

    /// In the child of a fork, forgets the lookups under way, which go on in the parent only.
    pub(crate) fn reset_after_fork(&self) {
        self.state.lock().lookups = 0;
    }
}

/// A permit for one lookup, which counts as under way until it is dropped.
#[must_use = "the lookup counts as long as it lives"]
pub(crate) struct LookupPermit<'a>(&'a RateLimit);

impl Drop for LookupPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        // Zero in the child of a fork that was made during the lookup.
        state.lookups = state.lookups.saturating_sub(1);
    }
}

impl RateLimitState {
    fn note(&mut self, told: Window, now: CoarseInstant) {
        if told.ends <= now {
            // Its window is over.
            return;
        }
        self.window = match self.current(now) {
            Some(known) if known.is_same(&told) => {
                let (ends, as_of) = (known.ends.min(told.ends), known.as_of.max(told.as_of));
                // Answers overtake each other: the smallest number is the newest.
                Some(Window { left: known.left.min(told.left), ends, as_of, ..told })
            }
            // An answer that was overtaken by one about a later window.
            Some(known) if told.as_of < known.as_of => Some(known),
            _ => Some(told),
        };
    }

    /// Returns the window, unless it is over.
    fn current(&self, now: CoarseInstant) -> Option<Window> {
        self.window.filter(|window| now < window.ends)
    }

    /// Returns whether less than a fifth is left for lookups.
    fn is_low(&self, now: CoarseInstant) -> bool {
        self.current(now).is_some_and(|window| {
            let left = window.left.saturating_sub(self.lookups);
            left.saturating_mul(5) < window.limit
        })
    }
}

impl Window {
    /// Returns whether both are the same window.
    fn is_same(&self, other: &Window) -> bool {
        let apart = self.ends.since(other.ends).max(other.ends.since(self.ends));
        self.limit == other.limit && apart <= SAME_END
    }

    fn poll_wait(&self, now: CoarseInstant) -> Duration {
        let rest = self.ends.since(now);
        let reserve = MIN_RESERVE.max(self.limit / 50);
        match self.left {
            left if left <= reserve => rest,
            left if left.saturating_mul(10) < self.limit => {
                let share = rest.saturating_mul(2) / u32::try_from(left).unwrap_or(u32::MAX);
                MIN_POLL_WAIT.max(share)
            }
            _ => Duration::ZERO,
        }
    }
}

/// Reads a header that is a whole number. One that is too large is the largest.
fn whole_number(header: &str) -> Option<u64> {
    let digits = header.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn told(limit: &str, left: &str, reset: &str, began: CoarseInstant) -> RateLimit {
        let account = RateLimit::default();
        tell(&account, limit, left, reset, began);
        account
    }

    fn tell(account: &RateLimit, limit: &str, left: &str, reset: &str, began: CoarseInstant) {
        let mut headers = HeaderMap::new();
        for (name, value) in HEADERS.into_iter().zip([limit, left, reset]) {
            headers.insert(name, value.parse().unwrap());
        }
        account.observe(200, &headers, began);
    }

    fn now() -> CoarseInstant {
        CoarseInstant::now()
    }

    #[test]
    fn lookups_wait_below_a_fifth_for_the_next_window() {
        for (left, admits) in [("60", true), ("12", true), ("11", false), ("0", false)] {
            let account = told("60", left, "40", now());
            assert_eq!(account.lookup_wait().is_none(), admits, "{left}");
            assert_eq!(account.admit_lookup().is_some(), admits, "{left}");
            let wait = account.lookup_wait().unwrap_or(41 * SECOND);
            assert!(wait > 30 * SECOND && wait <= 41 * SECOND, "{wait:?}");
        }
        let account = RateLimit::default();
        assert!(account.admit_lookup().is_some() && account.left().is_none() && account.poll_wait().is_zero());
    }

    #[test]
    fn lookups_under_way_count() {
        let account = told("60", "14", "40", now());
        let permits = [account.admit_lookup(), account.admit_lookup(), account.admit_lookup()];
        assert!(permits.iter().all(Option::is_some));
        assert!(account.admit_lookup().is_none());
        drop(permits);
        assert!(account.admit_lookup().is_some());
        let held = account.admit_lookup();
        account.reset_after_fork();
        drop(held);
        assert_eq!(account.state.lock().lookups, 0);
    }

    #[test]
    fn polls_are_spread_below_a_tenth_and_leave_a_reserve() {
        let wait = |limit, left: u64| told(limit, &left.to_string(), "59", now()).poll_wait().as_secs_f64().round();
        assert_eq!([wait("600", 60), wait("600", 59), wait("600", 30), wait("600", 13)], [0.0, 5.0, 5.0, 9.0]);
        assert_eq!([wait("600", 12), wait("600", 0)], [60.0, 60.0], "2 % are for sends and heartbeats");
        assert_eq!([wait("60", 6), wait("60", 5), wait("60", 4), wait("60", 3)], [0.0, 24.0, 30.0, 60.0]);
        assert_eq!([wait("20", 4), wait("20", 3)], [0.0, 60.0]);
        assert_eq!([wait("1", 1), wait("1", 0)], [60.0, 60.0]);
    }

    #[test]
    fn smallest_number_of_a_window_counts_and_a_later_window_replaces_it() {
        let at = |secs: u64| CoarseInstant::START.plus(SECOND * u32::try_from(secs).unwrap());
        let mut state = RateLimitState::default();
        for (began, now, limit, left, reset, expected) in [
            (100, 100, 60, 20, 30, Some(20)),
            (100, 101, 60, 30, 30, Some(20)), // overtaken by the one before
            (101, 101, 60, 15, 29, Some(15)),
            (60, 110, 60, 50, 30, Some(15)), // the answer to a slow send, about a window that is over
            (60, 110, 60, 50, 59, Some(15)), // the same, about another one
            (120, 120, 90, 80, 10, Some(80)), // another limit
            (121, 121, 60, 59, 59, Some(59)), // another account, as after a new token
            (150, 182, 60, 3, 31, None),     // both are over
            (182, 182, 60, 59, 59, Some(59)),
        ] {
            let ends = at(began + reset + 1);
            state.note(Window { limit, left, ends, as_of: at(began) }, at(now));
            assert_eq!(state.current(at(now)).map(|window| window.left), expected, "{began} {now} {left} {reset}");
        }
        let account = told("60", "20", "30", now());
        tell(&account, "unlimited", "unlimited", "unlimited", now());
        assert_eq!(account.left(), None);
    }

    #[test]
    fn window_ends_a_second_after_its_reset() {
        let ago = |time| CoarseInstant::START.plus(now().since(CoarseInstant::START) - time);
        assert_eq!(told("60", "0", "30", ago(31 * SECOND)).left(), None);
        assert_eq!(told("60", "0", "30", ago(30 * SECOND)).left(), Some(0));
    }

    #[test]
    fn hostile_headers_are_clamped_or_ignored() {
        for (limit, left, reset, expected) in [
            ("60", "99999999999999999999999999", "5", Some(60)),
            ("99999999999999999999999999", "99999999999999999999999999", "99999999999999999999999999", Some(u64::MAX)),
            ("18446744073709551615", "0", "18446744073709551615", Some(0)),
            ("60", "-1", "5", None),
            ("-60", "1", "5", None),
            ("60", "1", "-5", None),
            ("0", "0", "5", None),
            ("60", "1.5", "5", None),
            ("60", "", "5", None),
            ("60, 60", "1", "5", None),
            ("inf", "NaN", "1e9", None),
        ] {
            let account = told(limit, left, reset, now());
            assert_eq!(account.left(), expected, "{limit} {left} {reset}");
            let waits = [account.poll_wait(), account.lookup_wait().unwrap_or_default()];
            assert!(waits.iter().all(|wait| *wait <= MAX_RESET + ROUNDING), "{waits:?}");
        }
    }
}
