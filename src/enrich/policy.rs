//! Expiry and refresh times of answers, as pure functions of the settings.

use std::time::Duration;

use crate::cache::{CacheUpdate, fraction};
use crate::config::Settings;
use crate::peer::{Peer, PeerId};
use crate::util::circuit_breaker::CircuitPolicy;
use crate::util::clock::CoarseInstant;

/// Salts, so that two fractions for one peer at one time differ.
const SHORTEN: u64 = 0;
const FIRST: u64 = 1;

/// Returns the circuit's part of the settings.
pub(super) fn circuit_policy(settings: &Settings) -> CircuitPolicy {
    let (first_backoff, max_backoff) = settings.circuit_backoff;
    CircuitPolicy { threshold: settings.circuit_threshold, first_backoff, max_backoff }
}

/// The times for which answers are cached, and the timeout of a lookup.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpiryPolicy {
    pub(super) ttl: Duration,
    pub(super) negative_ttl: Duration,
    /// Time for which a failed lookup is cached, without a `Retry-After`. At most `negative_ttl`.
    pub(super) error_ttl: Duration,
    /// Time past its TTL for which a record is served while lookups fail.
    pub(super) stale_if_error: Duration,
    /// Largest part of a TTL by which it is shortened.
    pub(super) ttl_spread: f64,
    pub(super) lookup_timeout: Duration,
}

/// The cause of a failed lookup. The failure counts at most as long as its cause lasts.
#[derive(Debug, Clone, Copy)]
pub(super) enum FailureCause {
    /// An answer that cannot be used.
    Answer,
    /// No answer, in the outage with this id.
    Outage(u64),
    /// The token with this number was refused.
    Token(u64),
}

impl ExpiryPolicy {
    pub(super) fn from_settings(settings: &Settings) -> Self {
        let Settings { ttl, negative_ttl, error_ttl, stale_if_error, ttl_spread, lookup_timeout, .. } = *settings;
        ExpiryPolicy { ttl, negative_ttl, error_ttl, stale_if_error, ttl_spread, lookup_timeout }
    }

    /// Returns the update for a record whose lookup began at `now`.
    ///
    /// The record is refreshed ahead in the last fifth of its TTL, which is shortened by a pure function of peer and
    /// time. A peer's first record (`is_first`) is refreshed at some moment in the four fifths before. A fleet that
    /// starts together looks up all its peers at once. Its load becomes even only where the refreshes are spread over
    /// the whole time between two of them; shortened TTLs alone take hours to get there.
    pub(super) fn found(&self, peer: PeerId, record: Peer, now: CoarseInstant, is_first: bool) -> CacheUpdate {
        let ttl = spread(self.ttl, self.ttl_spread, peer, now);
        let ahead = before_last_fifth(ttl);
        let is_spread = is_first && self.ttl_spread > 0.0;
        let refresh_after = if is_spread { ahead.mul_f64(fraction(peer, now, FIRST)) } else { ahead };
        let fresh_until = now.plus(ttl);
        CacheUpdate::Found {
            record,
            refresh_at: now.plus(refresh_after),
            fresh_until,
            stale_until: fresh_until.plus(self.stale_if_error),
        }
    }

    /// Returns the update for an absent peer, or `None` where absent peers are not cached.
    pub(super) fn absent(&self, now: CoarseInstant, is_removed: bool) -> Option<CacheUpdate> {
        after(now, self.negative_ttl).map(|until| CacheUpdate::Absent { until, is_removed })
    }

    /// Returns the update for a failed lookup, or `None` where those are not cached.
    pub(super) fn failed(
        &self,
        now: CoarseInstant,
        retry_after: Option<Duration>,
        cause: FailureCause,
    ) -> Option<CacheUpdate> {
        let ttl = self.error_ttl.max(retry_after.unwrap_or_default()).min(self.negative_ttl);
        after(now, ttl).map(|until| match cause {
            FailureCause::Answer => CacheUpdate::Failed { until, outage: None },
            FailureCause::Outage(outage) => CacheUpdate::Failed { until, outage: Some(outage) },
            FailureCause::Token(token) => CacheUpdate::Refused { until, token },
        })
    }

    /// Returns the time over which refreshes that fell due in an outage are spread.
    ///
    /// Over twice the outage's length, they add half of the usual load. Over the time between two refreshes, even an
    /// outage that left no record fresh adds nothing.
    pub(super) fn catch_up(&self, outage: Duration) -> Duration {
        if self.ttl_spread > 0.0 { outage.saturating_mul(2).min(before_last_fifth(self.ttl)) } else { Duration::ZERO }
    }
}

/// Returns the expiry of an answer without a record, or `None` for a zero TTL: such an answer must not evict another peer.
fn after(now: CoarseInstant, ttl: Duration) -> Option<CoarseInstant> {
    (!ttl.is_zero()).then(|| now.plus(ttl))
}

fn before_last_fifth(ttl: Duration) -> Duration {
    ttl - ttl / 5
}

/// Returns the TTL shortened by up to `ttl_spread` of it.
fn spread(ttl: Duration, ttl_spread: f64, peer: PeerId, now: CoarseInstant) -> Duration {
    if ttl_spread <= 0.0 {
        return ttl;
    }
    ttl.mul_f64(1.0 - ttl_spread * fraction(peer, now, SHORTEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttls_are_shortened_evenly_up_to_the_spread_and_repeatably() {
        let (ttl, now) = (Duration::from_secs(300), CoarseInstant::now());
        let peer = |n: u32| PeerId::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap();
        let mut all: Vec<f64> = (0..10_000).map(|n| spread(ttl, 0.1, peer(n), now).as_secs_f64()).collect();
        assert_eq!(spread(ttl, 0.1, peer(7), now), spread(ttl, 0.1, peer(7), now));
        assert_ne!(spread(ttl, 0.1, peer(7), now), spread(ttl, 0.1, peer(7), now.plus(Duration::from_millis(1))));
        all.sort_by(f64::total_cmp);
        assert!(all[0] >= 270.0 && all[9_999] <= 300.0, "{} {}", all[0], all[9_999]);
        for (at, expected) in [(1_000, 273.0), (5_000, 285.0), (9_000, 297.0)] {
            assert!((all[at] - expected).abs() < 1.0, "{} is not near {expected}", all[at]);
        }
        assert_eq!(spread(ttl, 0.0, peer(7), now), ttl);
    }

    fn policy(ttl_spread: f64) -> ExpiryPolicy {
        let (ttl, hour) = (Duration::from_secs(300), Duration::from_secs(3_600));
        ExpiryPolicy {
            ttl,
            negative_ttl: ttl,
            error_ttl: Duration::from_secs(15),
            stale_if_error: hour,
            ttl_spread,
            lookup_timeout: Duration::from_secs(2),
        }
    }

    /// Returns the seconds until a record is refreshed ahead.
    fn refreshed_after(policy: &ExpiryPolicy, n: u32, is_first: bool) -> f64 {
        let peer = PeerId::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap();
        let now = CoarseInstant::START;
        match policy.found(peer, Peer::discovered(peer, serde_json::Map::new()), now, is_first) {
            CacheUpdate::Found { refresh_at, .. } => refresh_at.since(now).as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn first_records_are_refreshed_evenly_over_the_time_before_the_last_fifth() {
        let mut all: Vec<f64> = (0..10_000).map(|n| refreshed_after(&policy(0.1), n, true)).collect();
        all.sort_by(f64::total_cmp);
        // Four fifths of a TTL of 270 to 300 s: 228 s on average.
        assert!(all[0] < 1.0 && all[9_999] <= 240.0, "{} {}", all[0], all[9_999]);
        for (at, expected) in [(1_000, 22.8), (5_000, 114.0), (9_000, 205.2)] {
            assert!((all[at] - expected).abs() < 4.0, "{} is not near {expected}", all[at]);
        }
        assert!((0..1_000).all(|n| refreshed_after(&policy(0.1), n, false) >= 216.0), "later records are not");
        assert!(
            (0..1_000).all(|n| (refreshed_after(&policy(0.0), n, true) - 240.0).abs() < 1e-6),
            "nor are first records without a spread"
        );
    }

    #[test]
    fn failure_is_cached_for_its_ttl_or_retry_after_up_to_the_negative_ttl() {
        let (now, second) = (CoarseInstant::START, Duration::from_secs(1));
        let cached_for =
            |policy: &ExpiryPolicy, retry_after| match policy.failed(now, retry_after, FailureCause::Answer) {
                Some(CacheUpdate::Failed { until, outage: None }) => Some(until.since(now).as_secs()),
                None => None,
                other => panic!("{other:?}"),
            };
        let default = policy(0.1);
        for (retry_after, secs) in [(None, 15), (Some(1), 15), (Some(60), 60), (Some(301), 300), (Some(86_400), 300)] {
            assert_eq!(cached_for(&default, retry_after.map(Duration::from_secs)), Some(secs), "{retry_after:?}");
        }
        let no_errors = ExpiryPolicy { error_ttl: Duration::ZERO, ..default };
        assert_eq!((cached_for(&no_errors, None), cached_for(&no_errors, Some(9 * second))), (None, Some(9)));
        let nothing = ExpiryPolicy { negative_ttl: Duration::ZERO, ..default };
        assert_eq!(cached_for(&nothing, Some(9 * second)), None);
    }

    #[test]
    fn catch_up_takes_twice_the_outage_up_to_four_fifths_of_a_ttl() {
        let second = Duration::from_secs(1);
        let catch_up = |outage| policy(0.1).catch_up(outage);
        assert_eq!([catch_up(3 * second), catch_up(600 * second)], [6 * second, 240 * second]);
        assert_eq!(catch_up(Duration::MAX), 240 * second);
        assert_eq!(policy(0.0).catch_up(600 * second), Duration::ZERO);
    }
}
