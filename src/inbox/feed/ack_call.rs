//! The request that acknowledges rows, and the question of what was acknowledged before a poller began.

use std::sync::Arc;
use std::time::Duration;

use crate::cancel::{CancelToken, Registration};
use crate::error::{Error, ErrorKind};
use crate::http::{Http, Pool};
use crate::platform::{AckAnswer, acknowledge};
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;

/// Time for one request: so long does it delay a poll at most.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Failures in a row of the question after which a poller begins without an answer.
const MAX_FAILURES: u32 = 3;

/// Sends acks, until the poller is stopped.
pub(in crate::inbox) struct AckCall {
    http: Arc<Http>,
    pool: Pool,
    token: CancelToken,
    /// Shuts the connection down when the poller is stopped.
    _hook: Registration,
}

impl AckCall {
    pub(in crate::inbox) fn new(http: &Arc<Http>, token: &CancelToken) -> Self {
        let pool = http.one_shot_pool(TIMEOUT);
        let on_stop = pool.clone();
        AckCall { http: http.clone(), pool, token: token.clone(), _hook: token.register(move || on_stop.shut_down()) }
    }

    /// Acknowledges the rows up to a `seq`. Zero only asks. Blocks for at most 5 s. `None` if the poller was stopped.
    ///
    /// # Errors
    ///
    /// A failed request.
    pub(in crate::inbox) fn send(&self, seq: i64) -> Option<Result<AckAnswer, Error>> {
        let (http, pool, deadline) = (self.http.clone(), self.pool.clone(), Deadline::after(TIMEOUT));
        self.token.run("a2a-inbox-ack", move || acknowledge(&http, &pool, seq, deadline))
    }

    /// Returns whether little of the platform's rate limit is left, so that an ack has to wait.
    pub(in crate::inbox) fn is_held_back(&self) -> bool {
        !self.http.rate_limit().poll_wait().is_zero()
    }
}

/// Asks what was acknowledged before a poller without a cursor began.
pub(super) struct AckQuestion {
    call: AckCall,
    /// Number of failures in a row.
    failures: u32,
}

impl AckQuestion {
    pub(super) fn new(http: &Arc<Http>, token: &CancelToken) -> Self {
        AckQuestion { call: AckCall::new(http, token), failures: 0 }
    }

    /// Returns up to which `seq` rows were acknowledged. `None` if none was, or the platform has no acks.
    ///
    /// The platform has just listed a row, so it is not down.
    ///
    /// # Errors
    ///
    /// A failed request, and [`ErrorKind::Cancelled`] after a stop. The third failure in a row is `None`, with a warning, unless
    /// it is a 429, and so is an answer that cannot be read: the poller is to begin all the same.
    pub(super) fn ask(&mut self) -> Result<Option<i64>, Error> {
        let stopped = || Err(Error::new(ErrorKind::Cancelled, "the poller was stopped"));
        match self.call.send(0).unwrap_or_else(stopped) {
            Ok(AckAnswer::UpTo(seq @ 1..)) => {
                log_safe!(
                    info,
                    "inbox: there is no cursor: going on behind what was acknowledged before, up to seq {seq}"
                );
                Ok(Some(seq))
            }
            Ok(AckAnswer::UpTo(_) | AckAnswer::Unsupported) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Cancelled || error.status() == Some(429) => Err(error),
            Err(error) => {
                self.failures += 1;
                // An answer that is none of a platform with acks is the same the next time.
                let is_answer = matches!(error.kind(), ErrorKind::Malformed | ErrorKind::TooLarge);
                if self.failures < MAX_FAILURES && !is_answer {
                    return Err(error);
                }
                log_safe!(
                    warn,
                    "inbox: it is not known what was acknowledged before: {error}; starting from the backlog"
                );
                Ok(None)
            }
        }
    }
}
