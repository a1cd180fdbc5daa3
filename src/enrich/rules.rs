//! The numbers that enrichment goes by, and when a record is due: pure functions of them.

use std::time::Duration;

use crate::cache::Filing;
use crate::clock::Tick;
use crate::peer::{Peer, PeerId};

/// How long answers are remembered, and how long a lookup may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) ttl: Duration,
    pub(crate) negative_ttl: Duration,
    /// How long past its TTL a record serves while lookups fail.
    pub(crate) stale_if_error: Duration,
    /// By how much a TTL is shortened at the most, as a fraction of it.
    pub(crate) ttl_spread: f64,
    pub(crate) lookup_timeout: Duration,
}

impl Rules {
    /// A record that was asked for at `now`: refreshed ahead from the last fifth of its TTL, which is
    /// shortened by a pure function of peer and time, so that a fleet started together does not refresh
    /// together.
    pub(crate) fn found(&self, peer: PeerId, record: Peer, now: Tick) -> Filing {
        let ttl = spread(self.ttl, self.ttl_spread, peer, now);
        let fresh_until = now.plus(ttl);
        Filing::Found {
            record,
            refresh_at: now.plus(ttl - ttl / 5),
            fresh_until,
            stale_until: fresh_until.plus(self.stale_if_error),
        }
    }
}

/// The sizes that enrichment keeps to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) capacity: usize,
    pub(crate) threads: usize,
    pub(crate) queue: usize,
}

/// The TTL less up to so much of it.
pub(crate) fn spread(ttl: Duration, by: f64, peer: PeerId, now: Tick) -> Duration {
    if by <= 0.0 {
        return ttl;
    }
    let [low, high] = [0, 8].map(|at| {
        let mut half = [0; 8];
        half.copy_from_slice(&peer.as_bytes()[at..at + 8]);
        u64::from_be_bytes(half)
    });
    let mixed = mix(mix(low ^ now.units()) ^ high);
    #[expect(clippy::cast_precision_loss, reason = "a fraction needs no 64 bits")]
    let fraction = mixed as f64 / u64::MAX as f64;
    Duration::try_from_secs_f64(ttl.as_secs_f64() * (1.0 - by * fraction)).unwrap_or(ttl)
}

/// One round of SplitMix64: neighbours come out far apart.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_shortened_by_up_to_the_spread_evenly_and_the_same_each_time() {
        let (ttl, now) = (Duration::from_secs(300), Tick::now());
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
}
