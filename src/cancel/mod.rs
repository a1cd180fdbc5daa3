//! Cancellation: ends a send, a wait or a request from another thread.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use crate::error::{Error, guard};
use crate::util::clock::Deadline;
use crate::util::sync::{Condvar, Mutex, wait_while};
use crate::util::thread_group::spawn_member;

/// A token that ends sends from another thread, at once, whatever they do.
///
/// Clones share their state. A cancelled token stays cancelled: a send with it ends before anything is sent. Several
/// sends may have the same token.
///
/// ```
/// use a2a_blocking::CancelToken;
///
/// let token = CancelToken::new();
/// let clone = token.clone();
/// clone.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<CancelInner>);

type Hook = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct CancelInner {
    state: Mutex<CancelState>,
    cancelled: Condvar,
}

#[derive(Default)]
struct CancelState {
    cancelled: bool,
    /// Hooks by the id of their registration.
    hooks: Vec<(u64, Hook)>,
    next_id: u64,
}

// The state is consistent after each statement that changes it, and hooks are called without the lock.
impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}

impl CancelToken {
    /// Returns a token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// Cancels the token. Does not wait for the sends that have it.
    pub fn cancel(&self) {
        let hooks = {
            let mut state = self.0.state.lock();
            state.cancelled = true;
            std::mem::take(&mut state.hooks)
        };
        self.0.cancelled.notify_all();
        for (_, hook) in hooks {
            hook();
        }
    }

    /// Returns whether the token is cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.state.lock().cancelled
    }

    /// Blocks until the token is cancelled or `timeout` has passed. Returns whether it is cancelled.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        // A timeout that the clock cannot add is no bound.
        let deadline = Deadline::checked_after(timeout);
        wait_while(&self.0.cancelled, self.0.state.lock(), |state| !state.cancelled, deadline).cancelled
    }

    /// Runs `job` on another thread and returns its result, or `None` as soon as the token is cancelled.
    ///
    /// The job belongs to the groups of the caller's thread ([`spawn_member`]). A cancelled job goes on, and nobody waits for it. Where the system refuses a thread, the job runs on this one.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        name: &str,
        job: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        let (send_result, results) = mpsc::channel();
        let send_cancelled = send_result.clone();
        // The receiver is gone if the job ended first.
        let _registration = self.register(move || drop(send_cancelled.send(None)));
        // The job is sent to the thread once it has started. A refused thread would drop it.
        let (send_job, jobs) = mpsc::channel();
        let worker = move || {
            if let Ok(job) = jobs.recv() {
                let _ = send_result.send(Some(guard(job)));
            }
        };
        if spawn_member(name, worker).is_err() {
            return Some(guard(job));
        }
        let _ = send_job.send(job);
        // It receives the result or the cancellation: `guard` lets no panic end the worker without one.
        results.recv().ok().flatten()
    }

    /// Registers `hook`, which is called when the token is cancelled, or now if it is, until the registration is dropped.
    pub(crate) fn register(&self, hook: impl Fn() + Send + Sync + 'static) -> Registration {
        let mut state = self.0.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        if state.cancelled {
            drop(state);
            hook();
        } else {
            state.hooks.push((id, Arc::new(hook)));
        }
        Registration { token: self.clone(), id }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelToken({})", if self.is_cancelled() { "cancelled" } else { "open" })
    }
}

/// The registration of a hook. Dropping it removes the hook.
pub(crate) struct Registration {
    token: CancelToken,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.token.0.state.lock().hooks.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use std::thread;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn hook_is_called_once_and_not_after_its_registration() {
        let (token, calls) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
        let hook = || {
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, SeqCst);
            }
        };
        let _kept = token.register(hook());
        drop(token.register(hook()));
        token.cancel();
        token.cancel();
        assert_eq!(calls.load(SeqCst), 1);
        let _late = token.register(hook());
        assert_eq!(calls.load(SeqCst), 2, "a cancelled token calls at once");
    }

    #[test]
    fn cancelling_ends_a_wait_and_a_job() {
        let token = CancelToken::new();
        assert!(!token.wait(Duration::ZERO));
        assert_eq!(token.run("job", || Ok(7)).unwrap().unwrap(), 7);
        let panicked = token.run("job", || -> Result<(), Error> { panic!("in a job") });
        assert_eq!(panicked.unwrap().unwrap_err().kind(), ErrorKind::Internal);
        let (held, hold) = mpsc::channel::<()>();
        let (other, done) = (token.clone(), thread::spawn(move || hold.recv()));
        let canceller = thread::spawn(move || other.cancel());
        assert!(token.wait(Duration::MAX));
        let endless = token.run("job", move || Ok(done.join().is_ok()));
        assert!(endless.is_none(), "nobody waits for it");
        canceller.join().unwrap();
        drop(held);
    }
}

#[cfg(all(test, a2a_loom))]
mod loom;
