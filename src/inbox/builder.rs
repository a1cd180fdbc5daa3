//! How a poller goes about it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::deliver::Verdict;
use super::handle::PollerHandle;
use super::message::InboxMessage;
use super::poller::InboxPoller;
use super::store::disk::{beside, is_same};
use crate::client::Client;
use crate::config::Settings;
use crate::error::Error;
use crate::platform::MAX_PAGE;
use crate::retry::RetryPolicy;

/// The longest backlog.
const MAX_BACKLOG: Duration = Duration::from_secs(30 * 86_400);

/// What is told of a push that was tried as often as it may be.
pub(super) type DeadLetter = Box<dyn FnMut(&InboxMessage) + Send>;

/// Makes an [`InboxPoller`], by [`InboxPoller::builder`]. Its [`Debug`](fmt::Debug) shows what it is set to, by default:
///
/// ```
/// use std::time::Duration;
/// use a2a_blocking::{Client, InboxPoller, RetryPolicy};
///
/// let client = Client::builder().workspace_id("my-team").token_file("/configs/.auth_token").build()?;
/// let shown = format!("{:?}", InboxPoller::builder(client));
/// let retry = RetryPolicy::new().with_attempts(5).with_base(Duration::from_secs(1)).with_cap(Duration::from_secs(8));
/// assert!(shown.contains(&format!("retry: {retry:?}")));
/// for default in ["interval: 5s", "heartbeat: Some(30s)", "backlog: 600s", "page_size: 500", "on_dead_letter: false"] {
///     assert!(shown.contains(default), "{default} is not in {shown}");
/// }
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[must_use = "a builder does nothing until `spawn` or `build`"]
pub struct PollerBuilder {
    pub(super) client: Client,
    pub(super) interval: Duration,
    pub(super) cursor_file: Option<PathBuf>,
    pub(super) retry: RetryPolicy,
    pub(super) backlog: Duration,
    pub(super) page_size: usize,
    pub(super) heartbeat: Option<Duration>,
    pub(super) dead_letter: Option<DeadLetter>,
}

impl PollerBuilder {
    pub(super) fn new(client: Client) -> Self {
        PollerBuilder {
            client,
            interval: Duration::from_secs(5),
            cursor_file: None,
            retry: RetryPolicy::new()
                .with_attempts(5)
                .with_base(Duration::from_secs(1))
                .with_cap(Duration::from_secs(8)),
            backlog: Duration::from_secs(600),
            page_size: MAX_PAGE,
            heartbeat: Some(Duration::from_secs(30)),
            dead_letter: None,
        }
    }

    /// How long it waits between two polls. Default: 5 s; more than zero. After a full page it does not wait. A
    /// poll that fails is tried again after this time, then twice it, and so on up to 60 s (±25 %), and not before
    /// the platform's `Retry-After` (an hour at the most).
    pub fn interval(mut self, wait: Duration) -> Self {
        self.interval = wait;
        self
    }

    /// Where the cursor is kept. Default: `inbox-cursor-WORKSPACE.json` beside the token file; required where the
    /// client has none. The directory must be there, and what is of that name a plain file. Files of this name with `.lock`, `.new`, `.synced`,
    /// `.acked` and `.unreadable` behind it may appear.
    pub fn cursor_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.cursor_file = Some(path.into());
        self
    }

    /// How often a push is tried, and the waits between: the policy's attempts, base, cap and jitter; the rest of it
    /// is for sends. Default: five tries, waits of 1, 2, 4 and 8 s (±25 %, 8 s at the most).
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How far it looks back from its start where there is no cursor, by the platform's clock, in whole seconds.
    /// Default: 600 s; at least a second, and 30 days at the most: more is taken for that.
    pub fn backlog(mut self, age: Duration) -> Self {
        self.backlog = age.min(MAX_BACKLOG);
        self
    }

    /// How many rows a poll asks for. Default: 500, which is also the most that the platform gives; at least 1.
    pub fn page_size(mut self, rows: usize) -> Self {
        self.page_size = rows;
        self
    }

    /// How often it says that the workspace is alive, on a thread of its own. Default: every 30 s. `None`
    /// leaves it out: without a sign of life the platform takes a workspace for offline after 90 s.
    pub fn heartbeat(mut self, every: Option<Duration>) -> Self {
        self.heartbeat = every;
        self
    }

    /// What is told of a push that was tried as often as the policy says, in the poller's thread; then it counts as
    /// through. Default: its id is logged as an error. A panic in it is caught and logged.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// # use a2a_blocking::{Client, InboxPoller, RetryPolicy, Verdict};
    /// # let dir = std::env::temp_dir().join(format!("a2a-doc-dead-letter-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir).unwrap();
    /// # let mut platform = mockito::Server::new();
    /// # let inbox = platform.mock("GET", "/workspaces/my-team/activity").match_query(mockito::Matcher::Any);
    /// # let row = r#"[{"id": "r-1", "source_id": "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", "priority": 2,
    /// #     "peer_name": "ops-agent", "summary": "disk is full"}]"#;
    /// # inbox.with_body(row).create();
    /// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
    ///
    /// let (letters, dead) = mpsc::channel();
    /// let mut poller = InboxPoller::builder(client)
    ///     .retry(RetryPolicy::new().with_attempts(2).with_base(Duration::ZERO))
    ///     .on_dead_letter(move |push| drop(letters.send(push.clone())))
    /// #     .cursor_file(dir.join("cursor.json"))
    ///     .build()?;
    /// assert_eq!(poller.poll_once(|_| Verdict::Retry)?.dead_lettered, 1);
    /// let push = dead.recv().unwrap();
    /// assert_eq!((push.text(), push.delivery_attempt()), ("disk is full", 2));
    /// # drop(poller);
    /// # std::fs::remove_dir_all(dir).unwrap();
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    pub fn on_dead_letter(mut self, tell: impl FnMut(&InboxMessage) + Send + 'static) -> Self {
        self.dead_letter = Some(Box::new(tell));
        self
    }

    /// The poller, for those who have a loop of their own and call [`InboxPoller::poll_once`]. It locks and reads
    /// the cursor, and asks the platform for nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): a value that makes no sense, no cursor file where one is
    /// required, one that another poller has, that is of another workspace, no plain file, or the token's own.
    pub fn build(self) -> Result<InboxPoller, Error> {
        InboxPoller::new(self)
    }

    /// Starts the poller on a thread of its own, which calls `callback` for each push, in order.
    ///
    /// # Errors
    ///
    /// As [`build`](PollerBuilder::build), or [`ErrorKind::Internal`](crate::ErrorKind::Internal) where the system
    /// has no thread to give.
    pub fn spawn(self, callback: impl FnMut(&InboxMessage) -> Verdict + Send + 'static) -> Result<PollerHandle, Error> {
        self.build()?.spawn(callback)
    }

    pub(super) fn check(&self) -> Result<PathBuf, Error> {
        if self.interval.is_zero() {
            return Err(Error::config("interval: zero would ask the platform without a pause; it takes more"));
        }
        if self.heartbeat.is_some_and(|every| every.is_zero()) {
            return Err(Error::config("heartbeat: zero would be one without a pause; it takes more, or None"));
        }
        if self.backlog < Duration::from_secs(1) {
            return Err(Error::config(format!("backlog: {:?}; it takes at least 1 s", self.backlog)));
        }
        if !(1..=MAX_PAGE).contains(&self.page_size) {
            return Err(Error::config(format!("page_size: {}; it takes 1 to {MAX_PAGE}", self.page_size)));
        }
        let beside_token = || {
            let Settings { token_file, workspace_id, .. } = self.client.settings();
            Some(token_file.as_ref()?.with_file_name(format!("inbox-cursor-{workspace_id}.json")))
        };
        let path = self.cursor_file.clone().or_else(beside_token);
        let path = path.ok_or_else(|| {
            Error::config("cursor_file: required where the client has no token file to put it beside")
        })?;
        // Those beside it are replaced and removed, too.
        let ours = ["lock", "new", "synced", "acked", "unreadable"].map(|suffix| beside(&path, suffix));
        let is_ours = |token: &Path| ours.iter().chain([&path]).any(|our| is_same(token, our));
        if self.client.settings().token_file.as_deref().is_some_and(is_ours) {
            let path = path.display();
            return Err(Error::config(format!("cursor_file: {path}, or a file beside it, is the token file")));
        }
        Ok(path)
    }
}

impl fmt::Debug for PollerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PollerBuilder { client, interval, cursor_file, retry, backlog, page_size, heartbeat, dead_letter } = self;
        let mut shown = f.debug_struct("PollerBuilder");
        shown.field("client", client).field("interval", interval).field("cursor_file", cursor_file);
        shown.field("retry", retry).field("backlog", backlog).field("page_size", page_size);
        shown.field("heartbeat", heartbeat).field("on_dead_letter", &dead_letter.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_tells_the_defaults() {
        let client = Client::builder().workspace_id("w").build().unwrap();
        let PollerBuilder { interval, heartbeat, backlog, page_size, retry, .. } = PollerBuilder::new(client);
        let secs = |attempt| retry.backoff(attempt, 0.5).as_secs();
        assert_eq!((retry.attempts(), [1, 2, 3, 4].map(secs)), (5, [1, 2, 4, 8]));
        let rows = [
            format!("`interval`, `heartbeat` | {} s, {} s |", interval.as_secs(), heartbeat.unwrap().as_secs()),
            format!("`retry` | five tries, {} to {} s between |", secs(1), secs(4)),
            format!("`backlog`, `page_size` | {} s, {page_size} rows |", backlog.as_secs()),
        ];
        for row in rows {
            assert!(include_str!("../guide/settings.md").contains(&row), "the guide does not say: {row}");
        }
    }
}
