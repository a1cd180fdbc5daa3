//! The health of a poller: what its handle reports, and what is counted.

use std::sync::Arc;
use std::time::Duration;

use super::feed::RowKey;
use crate::error::{Error, ErrorKind};
use crate::stats::{CircuitState, InboxCounters};
use crate::util::clock::CoarseInstant;
use crate::util::sync::Mutex;

/// The health of a poller: [`PollerHandle::health`](crate::PollerHandle::health).
///
/// A poller is in order while [`without_success`](PollerHealth::without_success) stays below some polls' time, such as
/// a minute or two. During an outage of the platform it grows, and restarting the program does not help. A callback that
/// hangs shows in [`in_callback`](PollerHealth::in_callback).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PollerHealth {
    /// Time since the poller was made.
    pub uptime: Duration,
    /// Time since the last success: a listing, a poll that ended, or a message that was acknowledged. `None` before the
    /// first.
    pub since_success: Option<Duration>,
    /// Number of polls that failed since the platform last listed the inbox. A listing counts before its messages are
    /// handled. Zero says that there is no outage now.
    pub consecutive_failures: u64,
    /// The last poll that failed. It stays after the recovery, so look at `consecutive_failures` or at its `ago` before
    /// you report it. `None` if none has failed.
    pub last_failure: Option<PollFailure>,
    /// Time for which the callback has been running with its current message. `None` while it does not run.
    pub in_callback: Option<Duration>,
    /// Position of the cursor. It trails the newest row by 60 to 70 s, also when all rows are acknowledged. So it is no
    /// measure of a backlog. `None` while it has none, as until the first row comes.
    pub cursor: Option<CursorPosition>,
    /// True while the cursor's file cannot be written. Messages are then delivered again after a restart.
    pub is_cursor_failing: bool,
    /// Time since the platform last took a heartbeat. `None` before the first, and without heartbeats.
    pub since_heartbeat: Option<Duration>,
    /// Number of heartbeats that failed since the last one that the platform took.
    pub heartbeat_failures: u64,
    /// Status of our workspace, as the platform last told it: `online`, `paused`, `hibernated` and others. `None` before its
    /// first answer, without a token, and for a poller that is not [spawned](crate::PollerBuilder::spawn).
    pub workspace_status: Option<String>,
    /// True while our workspace is paused or hibernated. Its messages then stay at the platform, unless
    /// [`deliver_paused`](crate::PollerBuilder::deliver_paused) is set, and each answer that says so counts as a success.
    pub is_paused: bool,
    /// State of the circuit for lookups of peers, as in [`Stats::circuit`](crate::Stats::circuit).
    pub circuit: CircuitState,
}

impl PollerHealth {
    /// Returns the time since the last success, or the [uptime](PollerHealth::uptime) before the first.
    #[must_use]
    pub fn without_success(&self) -> Duration {
        self.since_success.unwrap_or(self.uptime)
    }
}

/// A failed poll, in [`PollerHealth::last_failure`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollFailure {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// HTTP status, if an answer had one.
    pub status: Option<u16>,
    /// Text of the error, on one line.
    pub message: String,
    /// Time since the failure.
    pub ago: Duration,
}

/// Position of a cursor: a poller that starts again lists everything after it. All rows up to it are handled, but for the
/// oldest row of the inbox, which is where a poller begins.
///
/// It moves to a row 60 s after that was first listed ([`PollerBuilder::late`](crate::PollerBuilder::late)), because the
/// platform may commit rows before it until then. It does so also when all rows are acknowledged. Messages after it that
/// were handled are not delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorPosition {
    /// Id of the row.
    pub activity_id: String,
    /// Time of the row, in RFC 3339 (UTC).
    pub created_at: String,
}

/// Records what the threads of a poller see.
pub(super) struct HealthMonitor {
    started: CoarseInstant,
    state: Mutex<HealthState>,
    /// The same in numbers, for all pollers of the client.
    counters: Arc<InboxCounters>,
}

#[derive(Default)]
struct HealthState {
    success: Option<CoarseInstant>,
    failures: u64,
    last_failure: Option<(CoarseInstant, PollFailure)>,
    callback: Option<CoarseInstant>,
    cursor: Option<RowKey>,
    is_cursor_failing: bool,
    heartbeat: Option<CoarseInstant>,
    heartbeat_failures: u64,
    workspace_status: Option<String>,
    is_paused: bool,
}

impl HealthState {
    fn end_failures(&mut self) {
        self.success = Some(CoarseInstant::now());
        self.failures = 0;
    }
}

impl HealthMonitor {
    pub(super) fn new(counters: Arc<InboxCounters>) -> Self {
        HealthMonitor { started: CoarseInstant::now(), state: Mutex::default(), counters }
    }

    pub(super) fn counters(&self) -> &InboxCounters {
        &self.counters
    }

    pub(super) fn poll_succeeded(&self) {
        self.counters.poll_succeeded();
        self.state.lock().end_failures();
    }

    /// Records the success of a poll that goes on with its messages.
    pub(super) fn listing_succeeded(&self) {
        self.counters.listing_succeeded();
        self.state.lock().end_failures();
    }

    pub(super) fn poll_failed(&self, error: &Error) {
        self.counters.poll_failed();
        let (kind, status, message) = (error.kind(), error.status(), error.to_string());
        let failure = PollFailure { kind, status, message, ago: Duration::ZERO };
        let mut state = self.state.lock();
        state.failures += 1;
        state.last_failure = Some((CoarseInstant::now(), failure));
    }

    /// Returns whether the last poll failed.
    pub(super) fn is_poll_failing(&self) -> bool {
        self.state.lock().failures > 0
    }

    pub(super) fn message_acked(&self) {
        self.counters.message_acked();
        self.state.lock().success = Some(CoarseInstant::now());
    }

    /// Records that the callback runs, until the returned guard is dropped.
    pub(super) fn start_callback(&self) -> RunningDelivery<'_> {
        self.counters.deliveries.add(1);
        self.state.lock().callback = Some(CoarseInstant::now());
        RunningDelivery(self)
    }

    pub(super) fn is_callback_running(&self) -> bool {
        self.state.lock().callback.is_some()
    }

    /// Records the cursor's position, and whether its file could be written.
    pub(super) fn cursor_saved(&self, position: Option<&RowKey>, is_failing: bool) {
        let mut state = self.state.lock();
        state.is_cursor_failing = is_failing;
        if state.cursor.as_ref() != position {
            state.cursor = position.cloned();
        }
    }

    /// Records the outcome of a heartbeat.
    pub(super) fn heartbeat_ended(&self, is_ok: bool) {
        self.counters.heartbeats.add(1);
        self.counters.failed_heartbeats.add(u64::from(!is_ok));
        let mut state = self.state.lock();
        if is_ok {
            state.heartbeat = Some(CoarseInstant::now());
            state.heartbeat_failures = 0;
        } else {
            state.heartbeat_failures += 1;
        }
    }

    /// Records what the platform says of our workspace. Returns whether it was paused before.
    ///
    /// A pause is a success: nothing is to be polled.
    pub(super) fn workspace_answered(&self, status: String, is_paused: bool) -> bool {
        let mut state = self.state.lock();
        if is_paused {
            self.counters.note_success();
            state.success = Some(CoarseInstant::now());
        }
        state.workspace_status = Some(status);
        std::mem::replace(&mut state.is_paused, is_paused)
    }

    /// Returns whether our workspace is paused, as far as is known.
    pub(super) fn is_paused(&self) -> bool {
        self.state.lock().is_paused
    }

    /// Returns the health as of now. `circuit` is the state of the client's circuit.
    pub(super) fn health(&self, circuit: CircuitState) -> PollerHealth {
        let now = CoarseInstant::now();
        let since = |at: Option<CoarseInstant>| at.map(|at| now.since(at));
        let state = self.state.lock();
        PollerHealth {
            uptime: now.since(self.started),
            since_success: since(state.success),
            consecutive_failures: state.failures,
            last_failure: state
                .last_failure
                .as_ref()
                .map(|(at, failure)| PollFailure { ago: now.since(*at), ..failure.clone() }),
            in_callback: since(state.callback),
            cursor: state
                .cursor
                .as_ref()
                .map(|row| CursorPosition { activity_id: row.id.to_string(), created_at: row.at.to_string() }),
            is_cursor_failing: state.is_cursor_failing,
            since_heartbeat: since(state.heartbeat),
            heartbeat_failures: state.heartbeat_failures,
            workspace_status: state.workspace_status.clone(),
            is_paused: state.is_paused,
            circuit,
        }
    }
}

/// A callback that is running. It counts as running until this is dropped.
pub(super) struct RunningDelivery<'a>(&'a HealthMonitor);

impl Drop for RunningDelivery<'_> {
    fn drop(&mut self) {
        self.0.state.lock().callback = None;
    }
}
