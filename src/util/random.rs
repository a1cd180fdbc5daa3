//! Random numbers: ids that cannot be guessed, and jitter.

use uuid::{Builder, Uuid};

/// Returns a new random UUID (version 4), or `None` where the system gives no random numbers.
///
/// Not by `uuid`: where another crate of the program enabled its feature `fast-rng`, it keeps a generator in each thread.
/// The child of a fork has a copy of it, and would give its messages the ids of its parent's. A thread that ends has none.
pub(crate) fn fresh_id() -> Option<Uuid> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(Builder::from_random_bytes(bytes).into_uuid())
}

/// Returns a new id, unique in this process also where the system gives no random numbers.
#[cfg(feature = "testing")]
pub(crate) fn new_id() -> Uuid {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let count = || COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    fresh_id().unwrap_or_else(|| Uuid::from_u128(count().into()))
}

/// Returns a random number from 0 to 1, or 0.5 where the system gives no random numbers.
pub(crate) fn random() -> f64 {
    const BITS: u32 = 53;
    // The low 62 bits of a random UUID are random; a double holds 53.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fresh_id().map_or(0.5, |id| (id.as_u128() & ((1 << BITS) - 1)) as f64 / (1_u64 << BITS) as f64)
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
