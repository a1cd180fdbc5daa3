//! The settings of a poller.

mod callbacks;
mod reading;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cursor_path::cursor_path;
use super::deliver::{DeadLetterCallback, ErrorCallback};
use super::handle::PollerHandle;
use super::keeper::KeeperSettings;
use super::message::InboxMessage;
use super::poller::InboxPoller;
use super::request_watch::RequestCallback;
use super::store::CursorFile;
use super::verdict::Verdict;
use crate::client::{Client, PushAgent};
use crate::error::Error;
use crate::platform::MAX_PAGE;
use crate::retry::RetryPolicy;
use crate::wire::AgentCard;

/// Least bytes that are read of a row.
const MIN_ROW: usize = 64 * 1024;

/// Builds an [`InboxPoller`]. Made by [`InboxPoller::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use a2a_blocking::{Client, InboxPoller, Verdict};
///
/// let poller = InboxPoller::builder(Client::from_env()?)
///     .interval(Duration::from_secs(2))
///     .cursor_file("/var/lib/agent/inbox-cursor.json")
///     .on_dead_letter(|message| eprintln!("given up: {}", message.activity_id()))
///     .spawn(|message| Verdict::after(message.reply("on it")))?;
/// # poller.stop();
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
///
/// # Defaults
///
/// The [`Debug`](fmt::Debug) form shows all settings:
///
/// ```
/// use std::time::Duration;
/// use a2a_blocking::{Client, InboxPoller, RetryPolicy};
///
/// let client = Client::builder().workspace_id("my-team").token_file("/configs/.auth_token").build()?;
/// let shown = format!("{:?}", InboxPoller::builder(client));
/// let retry = RetryPolicy::new().with_attempts(5).with_base(Duration::from_secs(1)).with_cap(Duration::from_secs(8));
/// assert!(shown.contains(&format!("retry: {retry:?}")));
/// let defaults = ["interval: 5s", "heartbeat: Some(30s)", "backlog: 600s", "page_size: 500", "loop_brake: Some(30)"];
/// for default in defaults.into_iter().chain(["own: false", "ack: true", "register: Some(Keep)", "deliver_paused: false", "late: 60s"]) {
///     assert!(shown.contains(default), "{default} is not in {shown}");
/// }
/// assert!(shown.contains("require_cursor: false") && shown.contains("on_dead_letter: false, on_error: false, on_request: false"));
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[must_use = "a builder does nothing until `spawn` or `build`"]
pub struct PollerBuilder {
    pub(super) client: Client,
    pub(super) interval: Duration,
    pub(super) cursor_file: Option<PathBuf>,
    pub(super) require_cursor: bool,
    pub(super) retry: RetryPolicy,
    pub(super) backlog: Duration,
    pub(super) page_size: usize,
    pub(super) late: Duration,
    pub(super) max_row: usize,
    pub(super) heartbeat: Option<Duration>,
    pub(super) loop_brake: Option<u32>,
    pub(super) own: bool,
    pub(super) ack: bool,
    pub(super) keeper: KeeperSettings,
    pub(super) on_dead_letter: Option<DeadLetterCallback>,
    pub(super) on_error: Option<ErrorCallback>,
    pub(super) on_request: Option<RequestCallback>,
}

impl PollerBuilder {
    /// Creates a builder with the defaults.
    pub(super) fn new(client: Client) -> Self {
        let secs = Duration::from_secs;
        PollerBuilder {
            keeper: KeeperSettings::new(client.agent_card()),
            client,
            interval: secs(5),
            cursor_file: None,
            require_cursor: false,
            retry: RetryPolicy::new().with_attempts(5).with_base(secs(1)).with_cap(secs(8)),
            backlog: secs(600),
            page_size: MAX_PAGE,
            late: secs(60),
            max_row: 32 * 1024 * 1024,
            heartbeat: Some(secs(30)),
            loop_brake: Some(30),
            own: false,
            ack: true,
            on_dead_letter: None,
            on_error: None,
            on_request: None,
        }
    }

    /// Sets the time between two polls.
    ///
    /// After a full page the next poll follows at once. A failed poll is repeated after this time, then after twice this
    /// time, and so on, but after at most 3.2 s (each ±25 %), so that polls go on soon after an outage. The platform's
    /// `Retry-After` makes the wait longer, up to 60 s, and so does its rate limit while less than a tenth of it is left: at
    /// least 5 s, at most 121 s.
    ///
    /// Default: 5 s. Must be more than zero.
    pub fn interval(mut self, wait: Duration) -> Self {
        self.interval = wait;
        self
    }

    /// Sets the file that records which messages were handled, so that a restarted poller goes on where it was.
    ///
    /// The directory must exist, and the path must not name anything but a plain file: no link, and no pipe. Files with
    /// the suffixes `.lock`, `.new` and `.unreadable` may appear beside it; `.synced` and `.acked` of older ones go.
    ///
    /// Default: `inbox-cursor-WORKSPACE.json` beside the token file that a setter named, or else in the folder of the
    /// environment ([`ClientBuilder::from_env`](crate::ClientBuilder::from_env)); that in the user's home is made, mode
    /// 0700, where it does not exist. Required for a client with neither.
    pub fn cursor_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.cursor_file = Some(path.into());
        self
    }

    /// Sets whether the poller refuses to start where its cursor file cannot be written.
    ///
    /// Without a cursor it delivers the same messages at each start: set it where the callback answers. Default: false, the
    /// first write that fails is logged as an error. So is one that fails later, in either case.
    pub fn require_cursor(mut self, require: bool) -> Self {
        self.require_cursor = require;
        self
    }

    /// Sets how often a message is delivered to the callback until it is acknowledged, and the waits in between.
    ///
    /// Uses the policy's attempts, base, cap and jitter. Its other settings concern sending only. A message that
    /// exhausts its attempts goes to [`on_dead_letter`](PollerBuilder::on_dead_letter).
    /// Default: five attempts, with waits of 1, 2, 4 and 8 s (each ±25 %, at most 8 s).
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how often a heartbeat tells the platform that the workspace is alive. It is sent from its own thread.
    ///
    /// `None` turns it off. Without heartbeats the platform shows a workspace as offline after 90 s. Only
    /// [`spawn`](PollerBuilder::spawn) sends them, [`InboxPoller::poll_once`] does not.
    ///
    /// Default: every 30 s. Must be more than zero.
    pub fn heartbeat(mut self, every: Option<Duration>) -> Self {
        self.heartbeat = every;
        self
    }

    /// Sets how many replies to one peer in a minute may each answer what the peer wrote after the reply before.
    ///
    /// Two agents that answer everything exchange such replies for ever. Above the limit
    /// [`InboxMessage::reply`] sends nothing and returns [`ErrorKind::LoopBrake`](crate::ErrorKind::LoopBrake). A burst does
    /// not count, however long it is, and neither do replies to the human. The last 1,024 peers are counted, in memory.
    ///
    /// Default: 30. Must be at least 1. `None` turns it off.
    pub fn loop_brake(mut self, replies: Option<u32>) -> Self {
        self.loop_brake = replies;
        self
    }

    /// Sets whether the poller registers the workspace in poll mode when it starts, as [`Client::register`] does.
    ///
    /// `true` does so also where the workspace belongs to an agent with a URL, which it wipes. A registration that fails is
    /// tried again with each heartbeat, and made anew after a pause; the poller polls meanwhile. It needs a token. A workspace
    /// that the platform removed or does not know ends the poller. [`InboxPoller::poll_once`] registers nothing.
    ///
    /// Default: registers, but for an agent with a URL, which is left alone with an error in the log.
    pub fn register(mut self, registers: bool) -> Self {
        self.keeper.registers = registers.then_some(PushAgent::Replace);
        self
    }

    /// Sets the card that the poller registers, in place of the one that the platform has.
    ///
    /// Default: that of the environment ([`Client::agent_card`]), else the platform's, else the workspace's name.
    pub fn agent_card(mut self, card: AgentCard) -> Self {
        self.keeper.card = Some(card);
        self
    }

    /// Sets whether messages are delivered while the workspace is paused or hibernated.
    ///
    /// With a token the state is asked at the start, for which the first poll waits at most 1 s, and once a minute.
    ///
    /// Default: `false`. They stay at the platform, and [`PollerHealth::is_paused`](crate::PollerHealth::is_paused) says so.
    pub fn deliver_paused(mut self, delivers: bool) -> Self {
        self.keeper.delivers_paused = delivers;
        self
    }

    /// Builds a poller for programs with their own loop, which call [`InboxPoller::poll_once`]. Sends no request.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidMessage`](crate::ErrorKind::InvalidMessage) for a card that cannot be sent, and
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a setting is out of its bounds, or for the cursor file:
    ///
    /// - It is not set, and the client has no token file to put it beside; its directory does not exist; it is no file.
    /// - Another poller has locked it, it belongs to another workspace, or a newer release wrote it.
    /// - It cannot be written, and [`require_cursor`](PollerBuilder::require_cursor) is set.
    /// - It is the token file, or the token file is one of the files beside it.
    pub fn build(self) -> Result<InboxPoller, Error> {
        InboxPoller::new(self)
    }

    /// Checks that the poller could lock, read and write its cursor file, and returns its path. A file beside it is written
    /// and removed, nothing is changed, no request is sent. A cursor that another poller has locked passes.
    ///
    /// # Errors
    ///
    /// Those of [`build`](PollerBuilder::build) but for the lock, and [`ErrorKind::Config`](crate::ErrorKind::Config) where
    /// a poller would go on and repeat messages: the file is unreadable or cannot be locked, or its directory not written.
    pub fn check_cursor(&self) -> Result<PathBuf, Error> {
        let path = self.validate()?;
        CursorFile::check(path.clone(), self.client.workspace_id())?;
        Ok(path)
    }

    /// Builds a poller and starts it on its own thread. It calls `callback` for each message, in order.
    ///
    /// # Errors
    ///
    /// Those of [`build`](PollerBuilder::build), and [`ErrorKind::Internal`](crate::ErrorKind::Internal) if the system
    /// refuses to start a thread.
    pub fn spawn(self, callback: impl FnMut(&InboxMessage) -> Verdict + Send + 'static) -> Result<PollerHandle, Error> {
        self.build()?.spawn(callback)
    }

    /// Checks the settings, and returns the path of the cursor file: the one that was set, or else the default.
    pub(super) fn validate(&self) -> Result<PathBuf, Error> {
        self.keeper.card.as_ref().map_or(Ok(()), AgentCard::check)?;
        let (backlog, page_size) = (self.backlog, self.page_size);
        let detail = if self.interval.is_zero() {
            "interval: zero would poll without a pause: set more than zero".to_owned()
        } else if self.heartbeat.is_some_and(|every| every.is_zero()) {
            let advice = "set more than zero, or None for no heartbeat";
            format!("heartbeat: zero would send heartbeats without a pause: {advice}")
        } else if self.loop_brake == Some(0) {
            "loop_brake: zero would refuse replies: set at least 1, or None for no brake".to_owned()
        } else if backlog < Duration::from_secs(1) {
            format!("backlog: {backlog:?} is too short: set at least 1 s")
        } else if !(1..=MAX_PAGE).contains(&page_size) {
            format!("page_size: {page_size} is out of range: set 1 to {MAX_PAGE}")
        } else if self.max_row < MIN_ROW {
            format!("max_row: {} bytes are too few: set at least {MIN_ROW}", self.max_row)
        } else {
            return cursor_path(self.client.settings(), self.cursor_file.as_deref());
        };
        Err(Error::config(detail))
    }
}

/// Shows all settings, and of a callback only whether there is one.
impl fmt::Debug for PollerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PollerBuilder { client, interval, cursor_file, retry, backlog, page_size, heartbeat, .. } = self;
        let PollerBuilder { late, max_row, ack, .. } = self;
        let PollerBuilder { require_cursor, keeper, loop_brake, own, on_dead_letter, on_error, on_request, .. } = self;
        let mut shown = f.debug_struct("PollerBuilder");
        shown.field("client", client).field("interval", interval).field("cursor_file", cursor_file);
        shown.field("require_cursor", require_cursor).field("retry", retry).field("backlog", backlog);
        shown
            .field("page_size", page_size)
            .field("late", late)
            .field("max_row", max_row)
            .field("heartbeat", heartbeat)
            .field("loop_brake", loop_brake);
        shown
            .field("own", own)
            .field("ack", ack)
            .field("register", &keeper.registers)
            .field("agent_card", &keeper.card);
        shown.field("deliver_paused", &keeper.delivers_paused).field("on_dead_letter", &on_dead_letter.is_some());
        shown.field("on_error", &on_error.is_some()).field("on_request", &on_request.is_some()).finish()
    }
}

#[cfg(test)]
mod tests;
