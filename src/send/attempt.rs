//! Runs the attempts of a send and waits between them, so that a [`CancelToken`] can end both at once.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::cancel::{CancelToken, Registration};
use crate::error::{Error, ErrorKind, guard};
use crate::http::{Http, Pool, timed_out};
use crate::platform::{Attempt, FailedAttempt, RetryHint};
use crate::util::clock::Deadline;
use crate::util::thread_group::spawn_member;

/// Runs the attempts of one call.
pub(super) enum AttemptRunner<'a, A: Attempt> {
    /// On the caller's thread.
    Plain { call: &'a A, pool: &'a Pool },
    /// Each on its own thread, over a pool that a cancel shuts down.
    Cancellable(Cancellable<'a, A>),
}

/// A call that a token can cancel.
pub(super) struct Cancellable<'a, A: Attempt> {
    call: &'a A,
    token: CancelToken,
    pool: Pool,
    events: Receiver<AttemptEvent<A::Answer>>,
    pub(super) sender: Sender<AttemptEvent<A::Answer>>,
    _hook: Registration,
}

/// An event that ends an attempt or a pause.
pub(super) enum AttemptEvent<T> {
    Ended(Result<T, FailedAttempt>),
    Cancelled,
}

/// The end of a pause.
#[derive(Debug, PartialEq)]
pub(super) enum Wait {
    Elapsed,
    Cancelled,
}

impl<'a, A: Attempt> AttemptRunner<'a, A> {
    pub(super) fn new(http: &'a Http, call: &'a A, cancel: Option<&CancelToken>, budget: Duration) -> Self {
        match cancel {
            None => AttemptRunner::Plain { call, pool: http.messages() },
            Some(token) => AttemptRunner::Cancellable(Cancellable::new(call, token, http.one_shot_pool(budget))),
        }
    }

    /// Makes one attempt.
    pub(super) fn run(&self, deadline: Deadline) -> Result<A::Answer, FailedAttempt> {
        match self {
            AttemptRunner::Plain { call, pool } => call.run(pool, deadline),
            AttemptRunner::Cancellable(cancellable) => cancellable.run(deadline),
        }
    }

    /// Waits for `pause`, or until the send is cancelled.
    pub(super) fn wait(&self, pause: Duration) -> Wait {
        let AttemptRunner::Cancellable(Cancellable { events, .. }) = self else {
            thread::sleep(pause);
            return Wait::Elapsed;
        };
        match events.recv_timeout(pause) {
            Ok(_) => Wait::Cancelled,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Wait::Elapsed,
        }
    }
}

impl<'a, A: Attempt> Cancellable<'a, A> {
    fn new(call: &'a A, token: &CancelToken, pool: Pool) -> Self {
        let (sender, events) = mpsc::channel();
        let hook = {
            let (pool, sender) = (pool.clone(), sender.clone());
            move || {
                pool.shut_down();
                // Fails only after the send has ended.
                let _ = sender.send(AttemptEvent::Cancelled);
            }
        };
        Cancellable { call, token: token.clone(), pool, events, sender, _hook: token.register(hook) }
    }

    fn run(&self, deadline: Deadline) -> Result<A::Answer, FailedAttempt> {
        if self.spawn(deadline).is_err() {
            // The system has no thread to give. A cancel then ends the attempt by the pool, within a tenth of a second.
            return self.call.run(&self.pool, deadline).map_err(|failure| match self.token.is_cancelled() {
                true => {
                    let delivery = failure.error.delivery();
                    FailedAttempt::permanent(cancelled(self.call, "on the wire").with_delivery(delivery))
                }
                false => failure,
            });
        }
        match self.events.recv_timeout(deadline.left()) {
            Ok(AttemptEvent::Ended(Err(failure)))
                if failure.hint == RetryHint::Transport && self.token.is_cancelled() =>
            {
                Err(self.cancelled_on_the_wire())
            }
            // An outcome counts even where a cancel comes at the same time.
            Ok(AttemptEvent::Ended(outcome)) => outcome,
            Ok(AttemptEvent::Cancelled) => match self.events.try_recv() {
                Ok(AttemptEvent::Ended(Ok(answer))) => Ok(answer),
                // The hook has shut the pool down: what was not handed over by now is never sent.
                _ => Err(self.cancelled_on_the_wire()),
            },
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.pool.shut_down();
                Err(FailedAttempt::permanent(timed_out(self.call.target()).with_delivery(self.call.delivery())))
            }
        }
    }

    /// Starts an attempt on its own thread, which sends its outcome as an event.
    fn spawn(&self, deadline: Deadline) -> std::io::Result<()> {
        let (call, pool, sender) = (self.call.clone(), self.pool.clone(), self.sender.clone());
        let attempt = move || {
            let outcome = guard(|| Ok(call.run(&pool, deadline))).unwrap_or_else(|panic| {
                Err(FailedAttempt::permanent(panic.with_target(call.target()).with_delivery(call.delivery())))
            });
            // Fails only after the send has ended.
            let _ = sender.send(AttemptEvent::Ended(outcome));
        };
        spawn_member("a2a-send", attempt).map(drop)
    }

    fn cancelled_on_the_wire(&self) -> FailedAttempt {
        FailedAttempt::permanent(cancelled(self.call, "on the wire").with_delivery(self.call.delivery()))
    }
}

/// Returns the error of a cancelled call. `when` says how far it was.
pub(super) fn cancelled<A: Attempt>(call: &A, when: &str) -> Error {
    Error::new(ErrorKind::Cancelled, format!("cancelled {when}")).with_target(call.target())
}
