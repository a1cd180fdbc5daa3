//! The numbers that enrichment goes by, and when a record is due: pure functions of them.

use std::time::Duration;

use crate::cache::{CacheUpdate, fraction};
use crate::config::Settings;
use crate::peer::{Peer, PeerId};
use crate::util::clock::CoarseInstant;

/// What tells apart the fractions that are asked for of one peer at one time.
const SHORTEN: u64 = 0;
const FIRST: u64 = 1;

/// How long answers are from_cache, and how long a lookup may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpiryPolicy {
    pub(super) ttl: Duration,
    pub(super) negative_ttl: Duration,
    /// How long past its TTL a record serves while lookups fail.
    pub(super) stale_if_error: Duration,
    /// By how much a TTL is shortened at the most, as a fraction of it.
    pub(super) ttl_spread: f64,
    pub(super) lookup_timeout: Duration,
}

impl ExpiryPolicy {
    pub(super) fn from_settings(settings: &Settings) -> Self {
        let Settings { ttl, negative_ttl, stale_if_error, ttl_spread, lookup_timeout, .. } = *settings;
        ExpiryPolicy { ttl, negative_ttl, stale_if_error, ttl_spread, lookup_timeout }
    }

    /// A record that was asked for at `now`: refreshed ahead from the last fifth of its TTL, which is
    /// shortened by a pure function of peer and time.
    ///
    /// The `first` record of a peer is refreshed anywhere in the four fifths before. A fleet that is started
    /// together asks for everybody at once; only from a start that is spread over the whole time between two
    /// refreshes does an even load follow. Shortened TTLs alone take hours to get there.
    pub(super) fn found(&self, peer: PeerId, record: Peer, now: CoarseInstant, first: bool) -> CacheUpdate {
        let ttl = spread(self.ttl, self.ttl_spread, peer, now);
        let ahead = before_last_fifth(ttl);
        let is_spread = first && self.ttl_spread > 0.0;
        let refresh_after = if is_spread { ahead.mul_f64(fraction(peer, now, FIRST)) } else { ahead };
        let fresh_until = now.plus(ttl);
        CacheUpdate::Found {
            record,
            refresh_at: now.plus(refresh_after),
            fresh_until,
            stale_until: fresh_until.plus(self.stale_if_error),
        }
    }

    /// Over what time the refreshes that fell due in an outage are made up for. Over twice its length they are
    /// half of the load that there is anyway; and over the time between two refreshes even an outage that left
    /// nobody fresh adds nothing to it.
    pub(super) fn catch_up(&self, outage: Duration) -> Duration {
        if self.ttl_spread > 0.0 { outage.saturating_mul(2).min(before_last_fifth(self.ttl)) } else { Duration::ZERO }
    }
}

fn before_last_fifth(ttl: Duration) -> Duration {
    ttl - ttl / 5
}

/// The TTL less up to so much of it.
fn spread(ttl: Duration, by: f64, peer: PeerId, now: CoarseInstant) -> Duration {
    if by <= 0.0 {
        return ttl;
    }
    ttl.mul_f64(1.0 - by * fraction(peer, now, SHORTEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_shortened_by_up_to_the_spread_evenly_and_the_same_each_time() {
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

    fn rules(ttl_spread: f64) -> ExpiryPolicy {
        let (ttl, hour) = (Duration::from_secs(300), Duration::from_secs(3_600));
        ExpiryPolicy {
            ttl,
            negative_ttl: ttl,
            stale_if_error: hour,
            ttl_spread,
            lookup_timeout: Duration::from_secs(2),
        }
    }

    /// Seconds from now until a record is refreshed ahead.
    fn refreshed_after(rules: &ExpiryPolicy, n: u32, first: bool) -> f64 {
        let (peer, now) =
            (PeerId::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap(), CoarseInstant::START);
        match rules.found(peer, Peer::discovered(peer, serde_json::Map::new()), now, first) {
            CacheUpdate::Found { refresh_at, .. } => refresh_at.since(now).as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn first_records_are_refreshed_evenly_over_the_time_before_the_last_fifth() {
        let mut all: Vec<f64> = (0..10_000).map(|n| refreshed_after(&rules(0.1), n, true)).collect();
        all.sort_by(f64::total_cmp);
        // Four fifths of a TTL of 270 to 300 s: 228 s on the mean.
        assert!(all[0] < 1.0 && all[9_999] <= 240.0, "{} {}", all[0], all[9_999]);
        for (at, expected) in [(1_000, 22.8), (5_000, 114.0), (9_000, 205.2)] {
            assert!((all[at] - expected).abs() < 4.0, "{} is not near {expected}", all[at]);
        }
        assert!((0..1_000).all(|n| refreshed_after(&rules(0.1), n, false) >= 216.0), "later ones are not");
        assert!(
            (0..1_000).all(|n| (refreshed_after(&rules(0.0), n, true) - 240.0).abs() < 1e-6),
            "nor without a spread"
        );
    }

    #[test]
    fn a_short_outage_is_made_up_for_in_twice_its_length_and_a_long_one_between_two_refreshes() {
        let second = Duration::from_secs(1);
        let caught_up = |outage| rules(0.1).catch_up(outage);
        assert_eq!([caught_up(3 * second), caught_up(600 * second)], [6 * second, 240 * second]);
        assert_eq!(caught_up(Duration::MAX), 240 * second);
        assert_eq!(rules(0.0).catch_up(600 * second), Duration::ZERO);
    }
}
