//! What is held of a poller that runs.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

use crate::cancel::CancelToken;
use crate::error::{Error, WorkspaceRemoved};
use crate::util::log_safe::log_safe;
use crate::util::sync::{Condvar, Mutex, wait_while};

/// Why a poller ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It was told to, or its handle was dropped.
    Stopped,
    /// The platform has removed our workspace: there is nothing to poll any more.
    Removed(WorkspaceRemoved),
}

impl StopReason {
    pub(super) fn removed(error: &Error) -> Self {
        match error.removed() {
            Some(removed) => StopReason::Removed(removed.clone()),
            None => StopReason::Stopped,
        }
    }
}

/// What the poller's thread, its heartbeat and its handle have in common.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) token: CancelToken,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    reason: Option<StopReason>,
    ended: bool,
    /// The poller's own and its heartbeat's: they cannot wait for themselves.
    threads: Vec<ThreadId>,
}

impl Shared {
    /// Ends the poller, unless it has ended; the first reason counts.
    pub(super) fn stop(&self, reason: StopReason) {
        self.state.lock().reason.get_or_insert(reason);
        self.token.cancel();
    }

    /// That the poller's thread is about to end.
    pub(super) fn end(&self) {
        self.stop(StopReason::Stopped);
        self.state.lock().ended = true;
        self.ended.notify_all();
    }

    pub(super) fn run_by(&self, thread: ThreadId) {
        self.state.lock().threads.push(thread);
    }
}

/// A poller that runs. Dropping it ends the poller, and does not wait for that.
///
/// It may be shared by threads: all of its methods take `&self`. In a child by fork there is no poller: there they do
/// nothing, and do not wait; the parent's goes on.
///
/// ```
/// use a2a_blocking::{Client, InboxPoller, StopReason, Verdict};
///
/// # let dir = std::env::temp_dir().join(format!("a2a-doc-handle-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// # let cursor = dir.join("cursor.json");
/// let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id("my-team").build()?;
/// let poller = InboxPoller::builder(client).cursor_file(cursor).spawn(|_| Verdict::Ack)?;
/// assert!(!poller.is_finished(), "a platform that is down ends no poller");
/// std::thread::scope(|scope| {
///     scope.spawn(|| poller.stop());
///     match poller.join() {
///         Some(StopReason::Removed(removed)) => println!("{}", removed.hint),
///         reason => assert_eq!(reason, Some(StopReason::Stopped)),
///     }
/// });
/// assert!(poller.is_finished());
/// # std::fs::remove_dir_all(dir).unwrap();
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[must_use = "dropping it ends the poller"]
pub struct PollerHandle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The process that the thread is in.
    process: u32,
}

// What its locks guard is whole after each step.
impl UnwindSafe for PollerHandle {}
impl RefUnwindSafe for PollerHandle {}

impl PollerHandle {
    pub(super) fn new(shared: Arc<Shared>, thread: JoinHandle<()>) -> Self {
        PollerHandle { shared, thread: Mutex::new(Some(thread)), process: process::id() }
    }

    /// Ends the poller and waits until it has: a wait or a poll on the wire ends at once; a callback that is running is
    /// waited for. What it was about to deliver, or to try again, comes when a poller starts again.
    ///
    /// From inside the poller's own callback it does not wait: the poller ends once the callback has returned.
    pub fn stop(&self) {
        if self.is_here() {
            self.shared.stop(StopReason::Stopped);
            self.join();
        }
    }

    /// Waits until the poller ends by itself, or is stopped by another thread, and says why. From inside the
    /// poller's own callback, or from a logger in its threads, it does not wait: it says what
    /// [`reason`](PollerHandle::reason) says, `None` where the poller goes on.
    pub fn join(&self) -> Option<StopReason> {
        if !self.is_here() {
            return None;
        }
        let state = self.shared.state.lock();
        if state.threads.contains(&thread::current().id()) {
            return state.reason.clone();
        }
        let state = wait_while(&self.shared.ended, state, |state| !state.ended, None);
        let reason = state.reason.clone();
        drop(state);
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log_safe!(error, "inbox: the poller's thread panicked");
        }
        reason
    }

    /// Why the poller ended, or is about to; `None` while it runs.
    pub fn reason(&self) -> Option<StopReason> {
        self.is_here().then(|| self.shared.state.lock().reason.clone()).flatten()
    }

    /// Whether the poller's thread is through.
    pub fn is_finished(&self) -> bool {
        !self.is_here() || self.shared.state.lock().ended
    }

    /// Whether this is the process that the poller runs in: in another nobody would ever end what is waited for, and
    /// locks may be held that nobody gives back.
    fn is_here(&self) -> bool {
        self.process == process::id()
    }
}

impl Drop for PollerHandle {
    fn drop(&mut self) {
        // Elsewhere it would end the connections that the poller has.
        if self.is_here() {
            self.shared.stop(StopReason::Stopped);
        }
    }
}

impl fmt::Debug for PollerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollerHandle").field("reason", &self.reason()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn from_a_thread_of_the_pollers_own_it_does_not_wait() {
        let (shared, (go, wait)) = (Arc::<Shared>::default(), mpsc::channel::<()>());
        shared.run_by(thread::spawn(|| ()).thread().id());
        // As a heartbeat does whose logger stops the poller.
        shared.run_by(thread::current().id());
        let handle = PollerHandle::new(
            shared,
            thread::spawn(move || {
                let _ = wait.recv();
            }),
        );
        handle.stop();
        assert_eq!((handle.join(), handle.is_finished()), (Some(StopReason::Stopped), false));
        assert_eq!(format!("{handle:?}"), "PollerHandle { reason: Some(Stopped), .. }");
        drop(go);
    }
}
