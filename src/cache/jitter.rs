//! Fractions that look random, but are a function of a peer and a time: the same question has the same answer.

use crate::peer::PeerId;
use crate::util::clock::CoarseInstant;

/// Returns a number from 0 to 1 that is a pure function of its arguments, and far from that of their neighbours.
///
/// `salt` distinguishes several fractions of one peer at one time.
pub(crate) fn fraction(peer: PeerId, at: CoarseInstant, salt: u64) -> f64 {
    let [low, high] = [0, 8].map(|start| {
        let mut half = [0; 8];
        half.copy_from_slice(&peer.as_bytes()[start..start + 8]);
        u64::from_be_bytes(half)
    });
    let mixed = mix(mix(mix(low ^ at.units()) ^ high) ^ salt);
    #[expect(clippy::cast_precision_loss, reason = "a fraction needs no 64 bits")]
    let fraction = mixed as f64 / u64::MAX as f64;
    fraction
}

/// Applies one round of SplitMix64, <https://prng.di.unimi.it/splitmix64.c>: neighbours come out far apart.
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
    fn fractions_of_neighbours_spread_evenly_over_the_whole_range() {
        let peer = |n: u32| PeerId::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap();
        let at = CoarseInstant::START.plus(std::time::Duration::from_secs(1));
        let mut fractions: Vec<f64> = (0..1_000).map(|n| fraction(peer(n), at, 0)).collect();
        assert_eq!(fractions[7], fraction(peer(7), at, 0));
        assert_ne!(fractions[7], fraction(peer(7), at, 1));
        fractions.sort_by(f64::total_cmp);
        assert!(fractions[0] >= 0.0 && fractions[0] < 0.02 && fractions[999] <= 1.0 && fractions[999] > 0.98);
        assert!((0.45..0.55).contains(&fractions[500]), "{}", fractions[500]);
    }
}
