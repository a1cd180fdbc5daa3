//! Random numbers: ids that nobody can guess, and jitter.

use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::util::panic;

/// A random UUID.
///
/// # Errors
///
/// Where the system has no random numbers to give, which `uuid` panics at.
pub(crate) fn fresh_id() -> Result<Uuid, Error> {
    panic::catch(Uuid::new_v4).map_err(|_| Error::new(ErrorKind::Internal, "the system has no random numbers to give"))
}

/// A number from 0 to 1, or the middle where the system has none to give.
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
