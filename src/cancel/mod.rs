//! Ending a send from another thread, and what else waits or is on the wire.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind, guard};
use crate::util::clock::Deadline;
use crate::util::sync::{Condvar, Mutex, wait_while};

/// Ends a send from another thread, at once, whatever it is doing.
///
/// Its clones are one token. It stays cancelled: a send that starts with a cancelled token ends before
/// anything is sent. One token may be given to several sends.
///
/// ```
/// use a2a_blocking::CancelToken;
///
/// let token = CancelToken::new();
/// let held_elsewhere = token.clone();
/// held_elsewhere.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Inner>);

type Hook = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    cancelled: Condvar,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    hooks: Vec<(u64, Hook)>,
    next: u64,
}

// What its lock guards is whole after each step, and hooks are called outside of it.
impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}

impl CancelToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// Ends the sends that have this token. It does not wait for them.
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

    /// Whether [`cancel`](CancelToken::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.state.lock().cancelled
    }

    /// Waits so long, or until the token is cancelled. Whether it is.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        // One that cannot be reckoned with is for ever.
        let deadline = Deadline::checked_after(time);
        wait_while(&self.0.cancelled, self.0.state.lock(), |state| !state.cancelled, deadline).cancelled
    }

    /// Has a `job` done on a thread of its own, so that nobody waits for it once the token is cancelled:
    /// `None`. Where no thread is to be had it is done here.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        name: &str,
        job: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        let (report, ended) = mpsc::channel();
        let cancelled = report.clone();
        // Nobody listens any more where the job ended first.
        let _hook = self.register(move || drop(cancelled.send(None)));
        // A thread that is refused would take the job with it.
        let job = Arc::new(Mutex::new(Some(job)));
        let taken = job.clone();
        let work = move || {
            let job = taken.lock().take();
            let outcome = job.map(guard);
            let _ = report.send(outcome);
        };
        if thread::Builder::new().name(name.to_owned()).spawn(work).is_err() {
            let job = job.lock().take();
            return job.map(guard);
        }
        let lost = || Err(Error::new(ErrorKind::Internal, "the thread that did it is gone"));
        ended.recv().unwrap_or_else(|_| Some(lost()))
    }

    /// Has `hook` called when the token is cancelled, or now if it is, until the registration is dropped.
    pub(crate) fn register(&self, hook: impl Fn() + Send + Sync + 'static) -> Registration {
        let mut state = self.0.state.lock();
        let id = state.next;
        state.next += 1;
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

/// A hook's stay with a token.
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

    use super::*;

    #[test]
    fn a_hook_is_called_once_and_not_after_its_registration() {
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
    fn a_wait_ends_with_the_token_and_so_does_a_job() {
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
