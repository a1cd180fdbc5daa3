//! Bounds each wait on a socket by the exchange's deadline.
//!
//! Behind a proxy `ureq` gives each of several steps all the time that there was for connecting: the lookup of the
//! proxy's name, the connection to it, and each read of its answer. [`cap_to_deadline`] takes off what the earlier
//! steps have used. A `ureq` that passes on what is left would make it unnecessary.
//!
//! Linux ends a socket's wait up to an eighth late, because its timer wheel has that granularity
//! (<https://lwn.net/Articles/646950/>; 1.6 s were seen at 30 s). [`call_in_slices`] waits in slices that end in time.
//! The waits are the socket options `SO_RCVTIMEO` and `SO_SNDTIMEO`: `socket(7)`,
//! <https://man7.org/linux/man-pages/man7/socket.7.html>.

use std::io::{self, ErrorKind as IoKind};
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::NextTimeout;

use super::exchange::{check_not_shut_down, current_exchange};
use crate::util::clock::Deadline;

/// Longest wait outside an exchange, where nothing should wait: a time that can be added to any instant.
const DAY: Duration = Duration::from_secs(86_400);
/// Longest wait that Linux ends at most a tick or two late.
const SHORT_WAIT: Duration = Duration::from_millis(50);
/// Longest time until a wait notices that its pool is shut down, where nothing wakes it.
const SHUTDOWN_CHECK: Duration = Duration::from_millis(100);

/// Returns the timeout, shortened to the time left to the exchange that this thread is in.
pub(super) fn cap_to_deadline(timeout: NextTimeout) -> NextTimeout {
    let left = current_exchange().map_or(DAY, |exchange| exchange.time_left());
    if left < *timeout.after { NextTimeout { after: left.into(), ..timeout } } else { timeout }
}

/// Calls `step` in slices until it is done or `timeout` has passed; a stopped clock cannot extend the wait.
///
/// `step` waits for at most the time that it is given, which is at most `max_slice`, and fails with `WouldBlock` where
/// that was not enough.
pub(super) fn call_in_slices<T>(
    timeout: NextTimeout,
    max_slice: Duration,
    mut step: impl FnMut(Duration) -> io::Result<T>,
) -> Result<T, Error> {
    let end = Deadline::after(*timeout.after);
    let mut left = *timeout.after;
    while !left.is_zero() {
        let slice = slice(left).min(max_slice);
        match step(slice) {
            // The slice counts even where the clock says that less time has passed.
            Err(why) if why.kind() == IoKind::WouldBlock => left = end.left().min(left - slice),
            Err(why) if why.kind() == IoKind::Interrupted => left = end.left().min(left),
            // On Windows the end of a slice. Elsewhere TCP gave up, because nothing that was sent arrives any more.
            Err(why) if why.kind() == IoKind::TimedOut => break,
            outcome => return Ok(outcome?),
        }
    }
    Err(Error::Timeout(timeout.reason))
}

/// Like [`call_in_slices`], for a step that a shutdown of the pool does not end: the wait ends within
/// [`SHUTDOWN_CHECK`] all the same, with an error.
pub(super) fn call_until_shut_down<T>(
    timeout: NextTimeout,
    mut step: impl FnMut(Duration) -> io::Result<T>,
) -> Result<T, Error> {
    call_in_slices(timeout, SHUTDOWN_CHECK, |slice| {
        check_not_shut_down()?;
        step(slice)
    })
}

/// Returns the next slice of the time left: a wait that ends before `left` has passed, though it end an eighth late.
fn slice(left: Duration) -> Duration {
    if cfg!(any(target_os = "linux", target_os = "android")) && left > SHORT_WAIT { left - left / 8 } else { left }
}

#[cfg(test)]
mod tests {
    use ureq::Timeout;

    use super::*;
    use crate::http::transport::exchange::{ExchangeGuard, ShutdownFlag};
    use crate::http::transport::test_socket::nine_seconds;

    fn exchange(left: u64) -> ExchangeGuard {
        ExchangeGuard::begin(None, None, Deadline::after(Duration::from_secs(left)), &ShutdownFlag::default())
    }

    fn within(millis: u64) -> NextTimeout {
        NextTimeout { after: Duration::from_millis(millis).into(), reason: Timeout::RecvBody, ..NextTimeout::default() }
    }

    #[test]
    fn timeout_is_capped_to_the_time_left_to_the_exchange() {
        assert_eq!(cap_to_deadline(nine_seconds()).after, nine_seconds().after, "outside an exchange");
        let endless = NextTimeout { after: Duration::MAX.into(), ..nine_seconds() };
        assert_eq!(*cap_to_deadline(endless).after, DAY);
        let _exchange = exchange(0);
        assert!(cap_to_deadline(nine_seconds()).after.is_zero());
        let _exchange = exchange(3_600);
        assert_eq!(cap_to_deadline(nine_seconds()).after, nine_seconds().after);
    }

    #[test]
    fn slices_that_end_an_eighth_late_end_in_time_even_if_the_clock_stands_still() {
        let mut slices = Vec::new();
        let outcome = call_in_slices(within(8_000), Duration::MAX, |slice| {
            slices.push(slice);
            Err::<(), _>(IoKind::WouldBlock.into())
        });
        assert!(matches!(outcome, Err(Error::Timeout(Timeout::RecvBody))));
        let mut left = Duration::from_secs(8);
        let sum: Duration = slices.iter().sum();
        assert_eq!(sum, left, "{slices:?}");
        for slice in slices {
            let late = if cfg!(target_os = "linux") && left > SHORT_WAIT { slice / 8 } else { Duration::ZERO };
            assert!(slice + late <= left, "{slice:?} of {left:?}");
            left -= slice;
        }
    }

    #[test]
    fn shutdown_ends_a_wait_in_the_next_slice() {
        let flag = ShutdownFlag::default();
        let _exchange = ExchangeGuard::begin(None, None, Deadline::after(Duration::from_secs(60)), &flag);
        let mut slices = Vec::new();
        let outcome = call_until_shut_down(within(60_000), |slice| {
            slices.push(slice);
            flag.set();
            Err::<(), _>(IoKind::WouldBlock.into())
        });
        assert!(matches!(outcome, Err(Error::Io(why)) if why.kind() == IoKind::NotConnected));
        assert_eq!(slices, [SHUTDOWN_CHECK]);
    }

    #[test]
    fn interrupted_wait_goes_on_and_a_failure_ends_it() {
        let mut outcomes = vec![Ok(3), Err(IoKind::Interrupted), Err(IoKind::WouldBlock), Err(IoKind::Interrupted)];
        let mut step = |_| outcomes.pop().unwrap().map_err(io::Error::from);
        assert_eq!(call_in_slices(within(60_000), Duration::MAX, &mut step).unwrap(), 3);
        let failure =
            |kind: IoKind| call_in_slices(within(60_000), Duration::MAX, |_| Err::<(), _>(kind.into())).unwrap_err();
        assert!(matches!(failure(IoKind::TimedOut), Error::Timeout(Timeout::RecvBody)));
        assert!(matches!(failure(IoKind::ConnectionReset), Error::Io(why) if why.kind() == IoKind::ConnectionReset));
        let no_time = call_in_slices::<()>(within(0), Duration::MAX, |_| panic!("no time"));
        assert!(matches!(no_time, Err(Error::Timeout(_))));
    }
}
