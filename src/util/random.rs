//! Random numbers: ids that cannot be guessed, jitter, and fractions that look random and are not.

use uuid::Uuid;

use crate::peer::PeerId;
use crate::util::clock::CoarseInstant;
use crate::util::panic;

/// Returns a new random UUID (version 4), or `None` where the system gives no random numbers.
pub(crate) fn fresh_id() -> Option<Uuid> {
    // `uuid` panics where the system call fails.
    panic::catch(Uuid::new_v4).ok()
}

/// Returns a random number from 0 to 1, or 0.5 where the system gives no random numbers.
pub(crate) fn random() -> f64 {
    const BITS: u32 = 53;
    // The low 62 bits of a random UUID are random; a double holds 53.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fresh_id().map_or(0.5, |id| (id.as_u128() & ((1 << BITS) - 1)) as f64 / (1_u64 << BITS) as f64)
}

/// A number from 0 to 1 that is a pure function of its arguments, and far from that of their neighbours.
/// What asks for several of a peer at a time tells them apart by `salt`.
pub(crate) fn fraction(peer: PeerId, at: CoarseInstant, salt: u64) -> f64 {
    let [low, high] = [0, 8].map(|at| {
        let mut half = [0; 8];
        half.copy_from_slice(&peer.as_bytes()[at..at + 8]);
        u64::from_be_bytes(half)
    });
    let mixed = mix(mix(mix(low ^ at.units()) ^ high) ^ salt);
    #[expect(clippy::cast_precision_loss, reason = "a fraction needs no 64 bits")]
    let fraction = mixed as f64 / u64::MAX as f64;
    fraction
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
    fn random_numbers_spread_over_the_whole_range() {
        let mut all: Vec<f64> = (0..1000).map(|_| random()).collect();
        all.sort_by(f64::total_cmp);
        assert!(all[0] >= 0.0 && all[0] < 0.1 && all[999] <= 1.0 && all[999] > 0.9);
        assert!((0.4..0.6).contains(&all[500]));
    }
}
