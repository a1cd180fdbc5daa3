//! The callbacks of a poller, besides the one for its messages.

use super::PollerBuilder;
use crate::error::Error;
use crate::inbox::message::InboxMessage;
use crate::platform::WorkspaceRequest;

/// Callbacks.
impl PollerBuilder {
    /// Sets a callback for messages that exhausted their delivery attempts.
    ///
    /// Runs on the poller's thread. The message counts as handled afterwards and is not delivered again. A panic in
    /// `callback` is caught and logged.
    ///
    /// Default: the message's id is logged as an error.
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
    /// #     "peer_name": "ops-agent", "request_body": {"params": {"message": {"parts": [{"text": "disk is full"}]}}}}]"#;
    /// # inbox.with_body(row).create();
    /// # let client = Client::builder().platform_url(platform.url()).workspace_id("my-team").build()?;
    ///
    /// let (sender, dead_letters) = mpsc::channel();
    /// let mut poller = InboxPoller::builder(client)
    ///     .retry(RetryPolicy::new().with_attempts(2).with_base(Duration::ZERO))
    ///     .on_dead_letter(move |message| drop(sender.send(message.clone())))
    /// #     .cursor_file(dir.join("cursor.json"))
    ///     .build()?;
    /// assert_eq!(poller.poll_once(|_| Verdict::Retry)?.dead_lettered, 1);
    /// let message = dead_letters.recv().unwrap();
    /// assert_eq!((message.text(), message.delivery_attempt()), ("disk is full", 2));
    /// # drop(poller);
    /// # std::fs::remove_dir_all(dir).unwrap();
    /// # Ok::<(), a2a_blocking::Error>(())
    /// ```
    pub fn on_dead_letter(mut self, callback: impl FnMut(&InboxMessage) + Send + 'static) -> Self {
        self.on_dead_letter = Some(Box::new(callback));
        self
    }

    /// Sets a callback for polls that fail.
    ///
    /// It gets the error of each failed poll, also of the one that finds that the workspace was removed. A stop is no
    /// failure. Runs on the poller's thread, before the wait for the next poll: while it blocks, nothing is polled and
    /// [`stop`](crate::PollerHandle::stop) waits. A panic in `callback` is caught and logged.
    ///
    /// Default: none. The first failure of a series is logged: as an error if the platform refuses us (400, 401, 403, 404), if
    /// TLS fails or if a limit is reached, and as a warning otherwise. A series that lasts is logged as an error after a minute, and then less and less
    /// often. Its end is logged, too.
    pub fn on_error(mut self, callback: impl FnMut(&Error) + Send + 'static) -> Self {
        self.on_error = Some(Box::new(callback));
        self
    }

    /// Sets a callback for the tasks and approvals that are put to our workspace and pending.
    ///
    /// The poller asks for them after its first poll that succeeds, and then once a minute. It reports each one once, the
    /// oldest first; a poller that starts again reports those that are still pending. Runs on the poller's thread, as
    /// [`on_error`](PollerBuilder::on_error) does. A panic in `callback` is caught and logged. Of more than 10,000 pending
    /// requests the newest wait. See [`Client::respond`](crate::Client::respond).
    ///
    /// Default: none, and the platform is not asked.
    pub fn on_request(mut self, callback: impl FnMut(&WorkspaceRequest) + Send + 'static) -> Self {
        self.on_request = Some(Box::new(callback));
        self
    }
}
