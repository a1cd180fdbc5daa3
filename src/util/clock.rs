//! The only room that reads a clock.

use std::time::{Duration, Instant, SystemTime};

use once_cell::sync::Lazy;

/// A moment on the coarse monotonic clock, in units of 2⁻³² s.
///
/// Reading it costs a quarter of what [`Instant::now`] costs and lags it by a scheduler tick at the
/// most (1 to 16 ms), which is nothing beside a TTL of minutes. A nanosecond is four of its units, so
/// two instants a nanosecond apart stay in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CoarseInstant(u64);

impl CoarseInstant {
    /// Before any other.
    pub(crate) const START: CoarseInstant = CoarseInstant(0);

    /// The moment that it is now.
    #[inline]
    pub(crate) fn now() -> Self {
        // `Instant::now` of this crate also stores to a global, which threads would fight over.
        CoarseInstant(coarsetime::Instant::now_without_cache_update().as_ticks())
    }

    /// The same moment as a caller's own `instant`.
    pub(crate) fn at(instant: Instant) -> Self {
        static ANCHOR: Lazy<(Instant, CoarseInstant)> = Lazy::new(|| (Instant::now(), CoarseInstant::now()));
        let (anchor, tick) = *ANCHOR;
        match instant.checked_duration_since(anchor) {
            Some(later) => tick.plus(later),
            // Rounded down, as above, so that a TTL counts the same on both sides of the anchor.
            None => CoarseInstant(tick.0.saturating_sub(units(anchor.saturating_duration_since(instant)) + 1)),
        }
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    pub(crate) fn since(self, earlier: CoarseInstant) -> Duration {
        let units = self.0.saturating_sub(earlier.0);
        let nanos = ((units & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::from_secs(units >> 32) + Duration::from_nanos(nanos)
    }

    /// Its number of units.
    #[inline]
    pub(crate) fn units(self) -> u64 {
        self.0
    }

    /// This moment and `wait`, or the end of time.
    #[inline]
    pub(crate) fn plus(self, wait: Duration) -> Self {
        CoarseInstant(self.0.saturating_add(units(wait)))
    }
}

#[inline]
fn units(wait: Duration) -> u64 {
    let fraction = (u64::from(wait.subsec_nanos()) << 32) / 1_000_000_000;
    wait.as_secs().checked_shl(32).filter(|_| wait.as_secs() >> 32 == 0).map_or(u64::MAX, |s| s | fraction)
}

/// The moment by which a call must have answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(bound: Duration) -> Self {
        Deadline(Instant::now() + bound)
    }

    /// `None` where the clock does not reach so far.
    pub(crate) fn checked_after(bound: Duration) -> Option<Self> {
        Instant::now().checked_add(bound).map(Deadline)
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Nanoseconds since 1970 by the wall clock; `None` where it plainly was not set: before this was written.
pub(crate) fn wall_nanos() -> Option<i64> {
    const WRITTEN: Duration = Duration::from_secs(1_767_225_600); // 2026-01-01
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok().filter(|_| since >= WRITTEN)
}

/// Milliseconds since the first call of this, and one: never zero.
pub(crate) fn millis_up() -> u64 {
    static START: Lazy<Instant> = Lazy::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NANO: Duration = Duration::from_nanos(1);

    #[test]
    fn ticks_keep_the_order_of_instants_a_nanosecond_apart() {
        let _anchored = CoarseInstant::at(Instant::now());
        // On both sides of the anchor, and across it, where the machine has been up for two seconds.
        let start = Instant::now().checked_sub(2 * SECOND).unwrap_or_else(Instant::now);
        for nanos in (0..4_000_000_007).step_by(9_999_991) {
            let at = start + Duration::from_nanos(nanos);
            let expiry = CoarseInstant::at(at).plus(SECOND);
            assert!(CoarseInstant::at(at + SECOND) >= expiry, "{nanos}");
            assert!(CoarseInstant::at(at + SECOND - NANO) < expiry, "{nanos}");
        }
    }

    #[test]
    fn the_two_clocks_agree_to_a_scheduler_tick() {
        let (a, b) = (CoarseInstant::at(Instant::now()), CoarseInstant::now());
        assert!(a.plus(SECOND) > b && b.plus(SECOND) > a);
    }

    #[test]
    fn the_time_between_two_ticks_is_what_was_added() {
        let now = CoarseInstant::now();
        for wait in [Duration::ZERO, Duration::from_millis(1500), 300 * SECOND] {
            let measured = now.plus(wait).since(now);
            assert!(measured <= wait && wait - measured < Duration::from_nanos(2), "{measured:?}");
        }
        assert_eq!(now.since(now.plus(SECOND)), Duration::ZERO);
    }

    #[test]
    fn a_wait_without_end_saturates() {
        assert_eq!(CoarseInstant::now().plus(Duration::MAX), CoarseInstant(u64::MAX));
        assert_eq!(units(SECOND), 1 << 32);
        assert_eq!(units(Duration::from_secs(u64::from(u32::MAX) + 1)), u64::MAX);
    }

    #[test]
    fn instants_before_the_first_reading_are_kept_in_order() {
        let now = Instant::now();
        let _anchored = CoarseInstant::at(now);
        let Some(before) = now.checked_sub(SECOND) else { return };
        assert!(CoarseInstant::at(before) < CoarseInstant::at(now));
    }
}
