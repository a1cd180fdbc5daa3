//! Waits for the end of a message that the platform queued.

use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::http::Http;
use crate::platform::{QueuedState, queued_state};
use crate::retry::RetryPolicy;
use crate::util::clock::Deadline;
use crate::util::random::random;
use crate::wire::Queued;

/// Waits between two requests: 0.25 s, doubling to 10 s, ±25 %. An hour of waiting makes some 360 requests.
const WAITS: RetryPolicy =
    RetryPolicy::new().with_base(Duration::from_millis(250)).with_cap(Duration::from_secs(10)).with_jitter(0.25);
/// Time that is kept for the last request.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// Number of 404s in a row that may be a database that lags.
const MAX_MISSING: u32 = 3;

/// Asks for the state of a queued message until it is finished or the deadline is near.
///
/// Returns the last state. A failure that may pass is no end: the next request may succeed.
///
/// # Errors
///
/// The last request's, where it will not pass, or where no request brought a state in the time.
pub(crate) fn wait_queued(
    http: &Http,
    queued: &Queued,
    deadline: Deadline,
    call_timeout: Duration,
) -> Result<QueuedState, Error> {
    let (mut requests, mut missing, mut last) = (0, 0, None);
    loop {
        let outcome = queued_state(http, queued, Deadline::after(call_timeout.min(deadline.left())));
        requests += 1;
        let mut pause = WAITS.backoff(requests, random());
        match &outcome {
            Ok(state) if state.is_finished() => return outcome,
            Ok(state) => {
                missing = 0;
                last = Some(state.clone());
            }
            Err(error)
                if error.kind() == ErrorKind::NotFound && error.status() == Some(404) && missing < MAX_MISSING =>
            {
                missing += 1;
            }
            Err(error) if error.is_transient() => pause = error.retry_after().unwrap_or(pause).max(pause),
            Err(_) => return outcome,
        }
        let left = deadline.left().saturating_sub(LAST_REQUEST);
        if left.is_zero() {
            return last.map_or(outcome, Ok);
        }
        thread::sleep(pause.min(left));
    }
}
