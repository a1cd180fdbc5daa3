//! The handle of a running poller, and what it shares with the poller's threads.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::health::{HealthMonitor, PollerHealth};
use crate::cancel::CancelToken;
use crate::client::Client;
use crate::error::{Error, ErrorKind, WorkspaceRemoved};
use crate::util::log_safe::log_safe;
use crate::util::sync::{Condvar, Mutex, wait_while};
use crate::util::thread_group::ThreadGroup;

/// Longest text of [`PollerHandle::set_task`], in bytes.
const MAX_TASK: usize = 1_024;

/// Why a poller ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The program stopped it, or dropped its handle.
    Stopped,
    /// The platform removed our workspace: there is no inbox any more.
    Removed(WorkspaceRemoved),
}

impl StopReason {
    /// Returns the reason for an error of the kind [`Removed`](crate::ErrorKind::Removed): `Removed` with the error's
    /// details, or `Stopped` if it has none.
    pub(super) fn from_removal(error: &Error) -> Self {
        match error.removed() {
            Some(removed) => StopReason::Removed(removed.clone()),
            None => StopReason::Stopped,
        }
    }
}

/// State that the poller's thread, its heartbeat's thread and its handle share.
pub(super) struct PollerControl {
    /// Cancelled when the poller is to stop.
    pub(super) token: CancelToken,
    /// The poller's threads: its own, its heartbeat's, and those of their requests and replies. They must not wait for
    /// the poller's end: they would wait for themselves.
    pub(super) threads: ThreadGroup,
    pub(super) health: HealthMonitor,
    /// The text of [`PollerHandle::set_task`].
    pub(super) task: Mutex<String>,
    run: Mutex<RunState>,
    /// Notified when the poller's thread has ended.
    ended: Condvar,
}

/// The state of a poller's run, under one lock.
#[derive(Default)]
struct RunState {
    /// The first reason to stop. `None` while the poller is to go on.
    reason: Option<StopReason>,
    /// True once the poller's thread is about to end.
    ended: bool,
}

impl PollerControl {
    /// Makes the state of a poller of `client` that is to go on.
    pub(super) fn new(client: &Client) -> Arc<Self> {
        Arc::new(PollerControl {
            token: CancelToken::new(),
            threads: ThreadGroup::default(),
            health: HealthMonitor::new(client.inbox_counters().clone()),
            task: Mutex::default(),
            run: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// Tells the poller's threads to stop, and keeps `reason` if it is the first one. Does not wait.
    pub(super) fn stop(&self, reason: StopReason) {
        self.run.lock().reason.get_or_insert(reason);
        self.token.cancel();
    }

    /// Marks the poller as ended, with the reason `Stopped` if there is no other, and wakes those who wait for it.
    pub(super) fn mark_ended(&self) {
        self.stop(StopReason::Stopped);
        self.run.lock().ended = true;
        self.ended.notify_all();
    }
}

/// Marks the poller as ended when it is dropped, also by a panic.
pub(super) struct EndOnDrop(pub(super) Arc<PollerControl>);

impl Drop for EndOnDrop {
    /// Wakes the threads that wait for the poller's end.
    fn drop(&mut self) {
        self.0.mark_ended();
    }
}

/// A running poller. Dropping the handle stops the poller without waiting for its end.
///
/// All methods take `&self`, so that threads can share the handle. In a process made by `fork` the poller does not
/// exist: there all methods return at once and do nothing, and the parent's poller goes on.
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
    control: Arc<PollerControl>,
    client: Client,
    /// The poller's thread, until somebody has joined it.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Id of the process that the thread runs in.
    process: u32,
}

// The values under its locks are consistent after each statement, so a panic in between does no harm.
impl UnwindSafe for PollerHandle {}
impl RefUnwindSafe for PollerHandle {}

impl PollerHandle {
    /// Makes the handle of a poller of `client` that runs on `thread`, in the current process.
    pub(super) fn new(control: Arc<PollerControl>, client: Client, thread: JoinHandle<()>) -> Self {
        PollerHandle { control, client, thread: Mutex::new(Some(thread)), process: process::id() }
    }

    /// Stops the poller and blocks until it has ended.
    ///
    /// A wait or a request of the poller ends at once. A callback that is running is waited for. A message that was not
    /// acknowledged is delivered when a poller starts again.
    ///
    /// On one of the poller's own threads, as in its callback, it does not block: see [`join`](PollerHandle::join). The
    /// poller ends once the callback has returned.
    pub fn stop(&self) {
        if self.is_own_process() {
            self.control.stop(StopReason::Stopped);
            self.join();
        }
    }

    /// Blocks until the poller has ended, by itself or because another thread stopped it, and returns why.
    ///
    /// On one of the poller's own threads it does not block, since the poller would wait for itself. It then returns the
    /// same as [`reason`](PollerHandle::reason): `None` if the poller is to go on. That is so in every function of yours
    /// that the poller calls: the callback, those for dead letters and errors, and a logger or token function during a
    /// poll, a heartbeat, or a reply that the callback waits for.
    pub fn join(&self) -> Option<StopReason> {
        if !self.is_own_process() {
            return None;
        }
        if self.control.threads.contains_this_thread() {
            return self.reason();
        }
        let run = wait_while(&self.control.ended, self.control.run.lock(), |run| !run.ended, None);
        let reason = run.reason.clone();
        drop(run);
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log_safe!(error, "inbox: the poller's thread panicked");
        }
        reason
    }

    /// Returns why the poller has ended or is about to end, and `None` while it is to go on.
    pub fn reason(&self) -> Option<StopReason> {
        self.is_own_process().then(|| self.control.run.lock().reason.clone()).flatten()
    }

    /// Returns the poller's health: when it last succeeded, what failed since, and where its cursor is.
    ///
    /// It waits for nothing and takes microseconds. Any thread may call it, that of the callback included.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use a2a_blocking::{Client, ErrorKind, InboxPoller, Verdict};
    /// # let dir = std::env::temp_dir().join(format!("a2a-doc-health-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir).unwrap();
    /// # let cursor = dir.join("cursor.json");
    /// # // Nothing listens there.
    /// # let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id("my-team").build()?;
    /// let poller = InboxPoller::builder(client).cursor_file(cursor).spawn(|_| Verdict::Ack)?;
    /// # while poller.health().consecutive_failures == 0 {}
    /// let health = poller.health();
    /// println!("no success for {:?}", health.without_success());
    /// // The last failure stays known after the recovery.
    /// if let (1.., Some(failure)) = (health.consecutive_failures, &health.last_failure) {
    ///     println!("{} polls failed in a row, the last {:?} ago: {}", health.consecutive_failures, failure.ago, failure.message);
    ///     assert_eq!(failure.kind, ErrorKind::Connect);
    /// }
    /// # poller.stop();
    /// # std::fs::remove_dir_all(dir).unwrap();
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    #[must_use]
    pub fn health(&self) -> PollerHealth {
        match self.is_own_process() {
            true => self.control.health.health(self.client.stats().circuit),
            false => PollerHealth::default(),
        }
    }

    /// Sets what the heartbeats say that this program does, from the next one on. People see it on the platform's pages.
    ///
    /// Default: an empty text, which says nothing.
    ///
    /// # Errors
    ///
    /// A text with U+0000 in it ([`InvalidMessage`](ErrorKind::InvalidMessage)), or above 1,024 bytes
    /// ([`TooLarge`](ErrorKind::TooLarge)). The text that was set before stays.
    pub fn set_task(&self, text: impl Into<String>) -> Result<(), Error> {
        let text = text.into();
        if text.contains('\0') {
            let why = "set_task: the text contains U+0000, which the platform cannot store: remove it";
            return Err(Error::new(ErrorKind::InvalidMessage, why));
        }
        if text.len() > MAX_TASK {
            let why = format!("set_task: the text has {} bytes, above {MAX_TASK}: give a shorter one", text.len());
            return Err(Error::new(ErrorKind::TooLarge, why));
        }
        if self.is_own_process() {
            *self.control.task.lock() = text;
        }
        Ok(())
    }

    /// Returns whether the poller's thread has ended.
    pub fn is_finished(&self) -> bool {
        !self.is_own_process() || self.control.run.lock().ended
    }

    /// Returns whether this is the process that started the poller, and not a child by `fork`.
    ///
    /// In a child the poller's thread does not exist, so that a wait for it would not end. A lock that another thread
    /// held during the fork is never released there.
    fn is_own_process(&self) -> bool {
        self.process == process::id()
    }
}

impl Drop for PollerHandle {
    /// Stops the poller, without waiting.
    fn drop(&mut self) {
        // In a child by fork it would shut down the connections of the parent's poller.
        if self.is_own_process() {
            self.control.stop(StopReason::Stopped);
        }
    }
}

/// Shows the reason for which the poller ended.
impl fmt::Debug for PollerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollerHandle").field("reason", &self.reason()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn stop_and_join_do_not_block_in_the_pollers_own_threads() {
        let client = Client::builder().workspace_id("w").build().unwrap();
        let (control, (go, wait)) = (PollerControl::new(&client), mpsc::channel::<()>());
        // Like a heartbeat's thread whose logger stops the poller.
        control.threads.add_this_thread();
        let thread = thread::spawn(move || {
            let _ = wait.recv();
        });
        let handle = PollerHandle::new(control, client, thread);
        handle.stop();
        assert_eq!((handle.join(), handle.is_finished()), (Some(StopReason::Stopped), false));
        assert_eq!(format!("{handle:?}"), "PollerHandle { reason: Some(Stopped), .. }");
        drop(go);
    }
}
