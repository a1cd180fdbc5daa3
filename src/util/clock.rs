//! The clocks. Only this module reads them.
//!
//! Ages are counted with the time for which the system was suspended: [`CoarseInstant`]. Waits and deadlines are not:
//! [`Deadline`]. While the system is suspended no thread runs, and what it waits for does not come.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use once_cell::sync::Lazy;

/// Difference of the clocks above which [`CoarseInstant::at`] takes the system to have been suspended.
const SUSPENDED: u64 = 1 << 32; // 1 s

/// A point in time, in units of 2⁻³² s. It advances while the system is suspended, unlike [`Instant`] on most systems.
///
/// A nanosecond is about four units, so two instants a nanosecond apart stay in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CoarseInstant(u64);

impl CoarseInstant {
    /// The earliest reading.
    pub(crate) const START: CoarseInstant = CoarseInstant(0);
    /// The latest reading, which does not come.
    pub(crate) const NEVER: CoarseInstant = CoarseInstant(u64::MAX);

    /// Reads the clock.
    ///
    /// Linux and Android: `CLOCK_BOOTTIME`, <https://man7.org/linux/man-pages/man2/clock_gettime.2.html>. Elsewhere the
    /// clock of [`Tick`].
    #[inline]
    pub(crate) fn now() -> Self {
        CoarseInstant(since_boot().unwrap_or_else(|| Tick::now().0))
    }

    /// Converts a caller's `instant`.
    ///
    /// It counts from the present: if the system was suspended since, an instant of before becomes later by that.
    pub(crate) fn at(instant: Instant) -> Self {
        static ANCHOR: Lazy<(Instant, CoarseInstant)> = Lazy::new(|| (Instant::now(), CoarseInstant::now()));
        // The time for which the system was suspended since then, in units.
        static SUSPENDED_FOR: AtomicU64 = AtomicU64::new(0);
        let (anchor, reading) = *ANCHOR;
        // In this order: a thread that is stopped in between does not take that for a suspended system.
        let passed = CoarseInstant::now().0.saturating_sub(reading.0);
        let apart = passed.saturating_sub(units(anchor.elapsed()));
        let known = SUSPENDED_FOR.load(Relaxed);
        let suspended_for = if apart > known.saturating_add(SUSPENDED) {
            SUSPENDED_FOR.fetch_max(apart, Relaxed);
            apart
        } else {
            // Not the difference itself: two instants keep their distance to the nanosecond.
            known
        };
        let reading = CoarseInstant(reading.0.saturating_add(suspended_for));
        match instant.checked_duration_since(anchor) {
            Some(later) => reading.plus(later),
            // Rounded down, as `plus` does, so that a TTL is as long before the anchor as after it.
            None => CoarseInstant(reading.0.saturating_sub(units(anchor.saturating_duration_since(instant)) + 1)),
        }
    }

    /// Returns the time since `earlier`, or zero where `earlier` is later.
    pub(crate) fn since(self, earlier: CoarseInstant) -> Duration {
        let units = self.0.saturating_sub(earlier.0);
        let nanos = ((units & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::from_secs(units >> 32) + Duration::from_nanos(nanos)
    }

    /// Returns the reading as a number of units.
    #[inline]
    pub(crate) fn units(self) -> u64 {
        self.0
    }

    /// Returns the reading at `wait` later. Saturates at the largest one.
    #[inline]
    pub(crate) fn plus(self, wait: Duration) -> Self {
        CoarseInstant(self.0.saturating_add(units(wait)))
    }
}

/// A reading of the clock that costs the least, a quarter of [`Instant::now`]: to tell whether time has passed.
///
/// It lags by at most a scheduler tick (1 to 16 ms). Two equal readings have no suspended time between them: the system
/// brings the clock up to date before it is suspended and again after that.
///
/// Linux: `CLOCK_MONOTONIC_COARSE`. macOS (`CLOCK_MONOTONIC_RAW_APPROX`) and Windows (`GetTickCount64`) have a coarse
/// clock that itself advances while the system is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick(u64);

impl Tick {
    /// A reading that no call returns.
    pub(crate) const NEVER: Tick = Tick(u64::MAX);

    /// Reads the clock.
    #[inline]
    pub(crate) fn now() -> Self {
        // `Instant::now` of this crate also stores to a global, whose cache line all threads would contend for.
        Tick(coarsetime::Instant::now_without_cache_update().as_ticks())
    }

    /// Returns the present, as of this reading or a little later.
    #[inline]
    pub(crate) fn instant(self) -> CoarseInstant {
        CoarseInstant(since_boot().unwrap_or(self.0))
    }
}

/// Returns the reading of the clock that advances while the system is suspended, where the coarse one does not.
///
/// Linux has it since 2.6.39. Where a sandbox has none, the coarse clock stands in for it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> Option<u64> {
    let time = rustix::time::clock_gettime_dynamic(rustix::time::DynamicClockId::Boottime).ok()?;
    Some(units(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?)))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> Option<u64> {
    None
}

/// Converts a duration to units, rounded down. Saturates at `u64::MAX`.
#[inline]
fn units(wait: Duration) -> u64 {
    let fraction = (u64::from(wait.subsec_nanos()) << 32) / 1_000_000_000;
    wait.as_secs().checked_shl(32).filter(|_| wait.as_secs() >> 32 == 0).map_or(u64::MAX, |s| s | fraction)
}

/// The instant by which a call returns, in time for which the system is not suspended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline `timeout` from now. Panics where the clock cannot hold it: see
    /// [`checked_after`](Self::checked_after) for timeouts that a user sets without a bound.
    pub(crate) fn after(timeout: Duration) -> Self {
        Deadline(Instant::now() + timeout)
    }

    /// Returns the deadline `timeout` from now, or `None` where the clock cannot hold it.
    pub(crate) fn checked_after(timeout: Duration) -> Option<Self> {
        Instant::now().checked_add(timeout).map(Deadline)
    }

    /// Returns this deadline, or the one `timeout` from now where that is sooner.
    pub(crate) fn at_most(self, timeout: Duration) -> Self {
        Deadline::checked_after(timeout).map_or(self, |other| Deadline(self.0.min(other.0)))
    }

    /// Returns the time until the deadline, or zero once it has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Returns the wall clock's nanoseconds since 1970, or `None` where the clock shows a time before 2026.
///
/// This code was written in 2026: an earlier time means that the clock was never set.
pub(crate) fn wall_nanos() -> Option<i64> {
    const WRITTEN: Duration = Duration::from_secs(1_767_225_600); // 2026-01-01
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok().filter(|_| since >= WRITTEN)
}

/// Returns a wall clock's time as seconds since 1970, or zero for an earlier one.
pub(crate) fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Returns the milliseconds since its first call in this process, plus one, suspended time included.
///
/// It is never zero, so that an atomic can hold zero for "none".
pub(crate) fn millis_up() -> u64 {
    static START: Lazy<CoarseInstant> = Lazy::new(CoarseInstant::now);
    let since = CoarseInstant::now().since(*START);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NANO: Duration = Duration::from_nanos(1);

    #[test]
    fn readings_keep_the_order_of_instants_a_nanosecond_apart() {
        let _anchored = CoarseInstant::at(Instant::now());
        // On both sides of the anchor and across it, if the machine has been up for two seconds.
        let start = Instant::now().checked_sub(2 * SECOND).unwrap_or_else(Instant::now);
        for nanos in (0..4_000_000_007).step_by(9_999_991) {
            let at = start + Duration::from_nanos(nanos);
            let expiry = CoarseInstant::at(at).plus(SECOND);
            assert!(CoarseInstant::at(at + SECOND) >= expiry, "{nanos}");
            assert!(CoarseInstant::at(at + SECOND - NANO) < expiry, "{nanos}");
        }
    }

    #[test]
    fn coarse_clock_agrees_with_instant_to_a_scheduler_tick() {
        let (a, b) = (CoarseInstant::at(Instant::now()), CoarseInstant::now());
        assert!(a.plus(SECOND) > b && b.plus(SECOND) > a);
    }

    #[test]
    fn tick_is_never_later_than_the_present_by_more_than_itself() {
        let (tick, now) = (Tick::now(), CoarseInstant::now());
        let of_tick = tick.instant();
        assert!(of_tick >= now && of_tick.since(now) < 60 * SECOND, "{of_tick:?} {now:?}");
    }

    #[test]
    fn since_returns_what_plus_added() {
        let now = CoarseInstant::now();
        for wait in [Duration::ZERO, Duration::from_millis(1500), 300 * SECOND] {
            let measured = now.plus(wait).since(now);
            assert!(measured <= wait && wait - measured < Duration::from_nanos(2), "{measured:?}");
        }
        assert_eq!(now.since(now.plus(SECOND)), Duration::ZERO);
    }

    #[test]
    fn endless_wait_saturates() {
        assert_eq!(CoarseInstant::now().plus(Duration::MAX), CoarseInstant(u64::MAX));
        assert_eq!(units(SECOND), 1 << 32);
        assert_eq!(units(Duration::from_secs(u64::from(u32::MAX) + 1)), u64::MAX);
    }

    #[test]
    fn instants_before_the_anchor_stay_in_order() {
        let now = Instant::now();
        let _anchored = CoarseInstant::at(now);
        let Some(before) = now.checked_sub(SECOND) else { return };
        assert!(CoarseInstant::at(before) < CoarseInstant::at(now));
    }
}
