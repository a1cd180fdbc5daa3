//! Keeps our workspace registered while a poller runs, and watches whether it is paused.
//!
//! It has its own thread: the platform may be slow to answer, and neither polls nor heartbeats wait for that.

use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::handle::{PollerControl, StopReason};
use crate::client::{Client, PushAgent, Registrar, check_push_agent, present_card};
use crate::error::Error;
use crate::error::failure_log::{FailureLog, severity};
use crate::http::{Http, Pool, purge_details};
use crate::platform::{Workspace, WorkspaceAnswer, WorkspaceState, workspace, workspace_state};
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;
use crate::wire::AgentCard;

/// Time between two registrations that fail, in a poller without heartbeats.
const REGISTER_EVERY: Duration = Duration::from_secs(30);
/// Longest wait that the platform can ask for.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// Longest time for which the first poll waits for the first answer about the workspace's state.
///
/// A paused workspace's messages are not listed then. A platform that takes longer delays no message further.
const MAX_STATE_WAIT: Duration = Duration::from_secs(1);
/// Longest status of a workspace, in bytes. A longer one is none.
const MAX_STATUS: usize = 64;

/// Settings of a [`WorkspaceKeeper`].
#[derive(Debug, Clone)]
pub(super) struct KeeperSettings {
    /// `None` registers nothing.
    pub(super) registers: Option<PushAgent>,
    /// Card to register. `None` leaves the one that is there.
    pub(super) card: Option<AgentCard>,
    /// Time between two requests for the workspace's state.
    pub(super) state_every: Duration,
    /// True if the messages of a paused workspace are delivered.
    pub(super) delivers_paused: bool,
}

impl KeeperSettings {
    /// Returns the defaults, with this card.
    pub(super) fn new(card: Option<&AgentCard>) -> Self {
        let state_every = Duration::from_secs(60);
        KeeperSettings { registers: Some(PushAgent::Keep), card: card.cloned(), state_every, delivers_paused: false }
    }
}

/// Registers our workspace, and asks for its state now and then.
pub(super) struct WorkspaceKeeper {
    http: Arc<Http>,
    control: Arc<PollerControl>,
    settings: KeeperSettings,
    /// Time between two registrations that fail.
    register_every: Duration,
    /// Time for each request.
    timeout: Duration,
    gets: Pool,
    posts: Pool,
    log: FailureLog,
}

/// The thread of a [`WorkspaceKeeper`].
pub(super) struct KeeperThread {
    thread: Option<JoinHandle<()>>,
    /// Gets a value, or is closed, once the state is known or cannot be had.
    state_known: Receiver<()>,
}

impl KeeperThread {
    /// Blocks until the workspace's state is known, the poller is stopped, or [`MAX_STATE_WAIT`] has passed.
    pub(super) fn wait_for_state(&self) {
        let _ = self.state_known.recv_timeout(MAX_STATE_WAIT);
    }

    pub(super) fn join(self) {
        let _ = self.thread.map(JoinHandle::join);
    }
}

/// The poller is stopped.
struct Stopped;

/// The progress of the registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RegistrationStatus {
    /// It is not to be made: turned off, or the workspace belongs to a push agent.
    Off,
    Due(PushAgent),
    Done(PushAgent),
}

impl RegistrationStatus {
    /// Returns the status after a pause, which may have wiped the registration.
    fn renewed(self) -> Self {
        match self {
            RegistrationStatus::Done(push_agent) => RegistrationStatus::Due(push_agent),
            other => other,
        }
    }
}

impl WorkspaceKeeper {
    /// Makes the keeper of a poller of `client`, with `heartbeat` as the time between two heartbeats.
    pub(super) fn new(
        client: &Client,
        control: &Arc<PollerControl>,
        settings: KeeperSettings,
        heartbeat: Option<Duration>,
    ) -> Self {
        let register_every = heartbeat.unwrap_or(REGISTER_EVERY);
        let (http, timeout) = (client.http().clone(), client.settings().call_timeout);
        let (gets, posts) = (http.kept_alive_pool(timeout), http.one_shot_pool(timeout));
        let ended = format!("inbox: registered at {}", http.platform());
        let log = FailureLog::new("a2a_blocking::inbox", "inbox: not registered", ended);
        WorkspaceKeeper { http, control: control.clone(), settings, register_every, timeout, gets, posts, log }
    }

    /// Starts the keeper's thread, which ends when the poller is stopped.
    ///
    /// If the system refuses to start a thread, that is logged as an error, and the poller goes on.
    pub(super) fn spawn(self) -> KeeperThread {
        let (known, state_known) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("a2a-register".to_owned());
        let thread = thread.spawn(move || drop(self.run(&known)));
        if let Err(why) = &thread {
            log_safe!(error, "inbox: no thread for the registration ({why}): the workspace is not registered");
        }
        KeeperThread { thread: thread.ok(), state_known }
    }

    /// Registers and asks for the state, until the poller is stopped.
    ///
    /// Without a token it does neither. A token may come to the token file later.
    fn run(&self, known: &SyncSender<()>) -> Result<(), Stopped> {
        let WorkspaceKeeper { control, settings, .. } = self;
        control.threads.add_this_thread();
        let (gets, posts, wakes) = (self.gets.clone(), self.posts.clone(), known.clone());
        let _hook = control.token.register(move || {
            gets.shut_down();
            posts.shut_down();
            let _ = wakes.try_send(());
        });
        let mut registration = settings.registers.map_or(RegistrationStatus::Off, RegistrationStatus::Due);
        let mut has_said_no_token = false;
        loop {
            let wait = if self.http.tokens().current().is_some() {
                self.step(&mut registration, known)?
            } else {
                let _ = known.try_send(());
                if registration != RegistrationStatus::Off && !mem::replace(&mut has_said_no_token, true) {
                    log_safe!(debug, "inbox: not registered, since there is no token");
                }
                self.register_every
            };
            if control.token.wait(wait) {
                return Err(Stopped);
            }
        }
    }

    /// Asks for the state, and registers where that is due. Returns the wait before the next step.
    fn step(&self, registration: &mut RegistrationStatus, known: &SyncSender<()>) -> Result<Duration, Stopped> {
        let state = self.ask_state()?;
        let is_resumed = state.as_ref().is_ok_and(|state| self.note_state(state));
        let _ = known.try_send(());
        if is_resumed {
            *registration = registration.renewed();
        }
        let mut wait = self.settings.state_every;
        // In a pause the platform wipes a push agent's URL, by which the workspace is known to be its.
        if let (RegistrationStatus::Due(push_agent), false) = (*registration, self.control.health.is_paused()) {
            (*registration, wait) = self.register(push_agent, state)?;
        }
        Ok(wait)
    }

    /// Asks for the workspace's state.
    fn ask_state(&self) -> Result<Result<WorkspaceState, Error>, Stopped> {
        let (http, gets, deadline) = (self.http.clone(), self.gets.clone(), Deadline::after(self.timeout));
        let state = self.control.token.run("a2a-register-1", move || workspace_state(&http, &gets, None, deadline));
        let state = state.ok_or(Stopped)?;
        if let Err(error) = &state {
            log_safe!(debug, "inbox: the workspace's state is not known: {error}");
        }
        Ok(state)
    }

    /// Records the workspace's state, and logs when it is paused and when it is resumed. Returns whether it was resumed.
    fn note_state(&self, state: &WorkspaceState) -> bool {
        let is_paused = state.is_paused() || state.is_hibernated();
        // Only a word of letters is one of the platform's statuses.
        let is_word =
            |text: &&str| text.len() <= MAX_STATUS && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let status = state.status().filter(is_word).unwrap_or("unknown");
        let was_paused = self.control.health.workspace_answered(status.to_owned(), is_paused);
        if is_paused && !was_paused {
            let next = if self.settings.delivers_paused {
                "its messages are delivered all the same"
            } else {
                "its messages stay at the platform until it is resumed"
            };
            let what = if state.is_hibernated() { "hibernated" } else { "paused" };
            log_safe!(warn, "inbox: the workspace is {what}: {next}");
        } else if was_paused && !is_paused {
            log_safe!(info, "inbox: the workspace is paused no more");
        }
        was_paused && !is_paused
    }

    /// Registers the workspace once. Returns the new status, and the wait before the next step.
    ///
    /// Stops the poller where the platform says that there is no such workspace: a registration would make another one.
    fn register(
        &self,
        push_agent: PushAgent,
        state: Result<WorkspaceState, Error>,
    ) -> Result<(RegistrationStatus, Duration), Stopped> {
        let due = |error: &Error| {
            self.log_failure(error);
            let asked = error.retry_after().unwrap_or_default().min(MAX_RETRY_AFTER);
            (RegistrationStatus::Due(push_agent), self.register_every.max(asked))
        };
        // A platform that does not answer is not asked again at once.
        let state = match state {
            Err(error) if error.status().is_none() => return Ok(due(&error)),
            state => state,
        };
        let found = match self.find_workspace()? {
            Ok(found) => found,
            Err(error) => return Ok(due(&error)),
        };
        if let Err(error) = check_push_agent(&found, push_agent) {
            log_safe!(error, "inbox: {error}");
            return Ok((RegistrationStatus::Off, self.settings.state_every));
        }
        // A token that is not of this workspace would be answered 200, and with another token.
        if let Err(error) = state {
            return Ok(due(&error));
        }
        let card = match &self.settings.card {
            Some(card) => card.as_json().clone().into(),
            None => present_card(&found, self.http.workspace_id()),
        };
        match self.publish(card)? {
            Ok(()) => {
                self.log.succeeded();
                Ok((RegistrationStatus::Done(push_agent), self.settings.state_every))
            }
            Err(error) => Ok(due(&error)),
        }
    }

    /// Asks for our workspace. Stops the poller where there is none any more.
    fn find_workspace(&self) -> Result<Result<Workspace, Error>, Stopped> {
        let (http, gets, deadline) = (self.http.clone(), self.gets.clone(), Deadline::after(self.timeout));
        let answer = self.control.token.run("a2a-register-1", move || workspace(&http, &gets, deadline));
        let (error, reason) = match answer.ok_or(Stopped)? {
            Ok(WorkspaceAnswer::Found(found)) => return Ok(Ok(found)),
            Err(error) => return Ok(Err(error)),
            Ok(WorkspaceAnswer::Removed(error)) => {
                let reason = StopReason::from_removal(&error);
                (error, reason)
            }
            Ok(WorkspaceAnswer::Unknown(error)) => {
                let reason = StopReason::Removed(purge_details(self.http.workspace_id()));
                (error, reason)
            }
        };
        log_safe!(error, "inbox: {error}");
        self.control.stop(reason);
        Err(Stopped)
    }

    fn publish(&self, card: Value) -> Result<Result<(), Error>, Stopped> {
        let (http, gets, posts, timeout) = (self.http.clone(), self.gets.clone(), self.posts.clone(), self.timeout);
        let registered = self.control.token.run("a2a-register-1", move || {
            let registrar = Registrar { http: &http, gets: &gets, posts: &posts };
            registrar.register_with_token(&card, Deadline::after(timeout))
        });
        registered.ok_or(Stopped)
    }

    /// Logs a registration that failed, as [`FailureLog`] says. While polls fail, too, only the first is: the poller's own
    /// lines report the outage.
    fn log_failure(&self, error: &Error) {
        let line = self.log.add(severity(error));
        let line = line.filter(|line| line.failures == 1 || !self.control.health.is_poll_failing());
        self.log.log(line, error, format_args!("; messages are polled all the same"));
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
