//! The platform in process, for tests: an HTTP server on a loopback port that answers as the real one does.
//!
//! It keeps everything in memory and ends when its [`Platform`] is dropped. A callback's test in a few lines:
//!
//! ```
//! use a2a_blocking::{InboxPoller, Verdict, testing::Platform};
//!
//! let platform = Platform::start()?;
//! let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
//! platform.send(&dev, &ops, "are you there?")?;
//!
//! let cursor = std::env::temp_dir().join(format!("cursor-{}", ops.id()));
//! let mut poller = InboxPoller::builder(ops.client().build()?).cursor_file(&cursor).build()?;
//! poller.poll_once(|message| Verdict::after(message.reply("yes")))?;
//!
//! let sent = platform.sent();
//! assert_eq!((sent[0].to.as_deref(), sent[0].text.as_str()), (Some(dev.id()), "yes"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is
//!
//! The calls, their statuses, bodies and headers are those of Molecule's `workspace-server`, recorded from it. That includes
//! what it does badly: rows that are committed late, messages that it takes and stores nowhere, an event stream that drops
//! events. As on the real one, every answer has the headers of a rate limit, 600 requests a minute by default.
//!
//! Faults are switched on and off by methods of [`Platform`], and of [`WorkspaceHandle`] for one workspace.
//!
//! # Bounds
//!
//! | of what | at most | above that |
//! | --- | --- | --- |
//! | connections, event streams | 512, 256 of them | closed at once |
//! | workspaces, notes of a request | 10,000 each | refused |
//! | tokens | 100,000 | the new one is refused |
//! | rows | 100,000 of a workspace, 1,000,000 in all, 1 GiB of bodies | the oldest goes |
//! | queued sends, uploads | 10,000 each; 256 MiB, 512 MiB | the oldest goes |
//! | delegations, requests, rules, organisation tokens, messages in `sent` | 10,000 each | the oldest goes |
//! | entries of the ledger | 100,000, 256 MiB of texts | the oldest goes |
//! | events that wait for a stream | 64 | the newest is dropped |
//! | a message, an upload, any other body | 16 MiB, 100 MiB, 1 MiB | 413 |
//!
//! It never listens on an address that is not loopback.

mod activity;
mod agent;
mod answer;
mod auth;
mod background;
mod body;
mod delegations;
mod delivery;
mod entities;
mod events;
mod feed;
mod gate;
mod http;
mod json;
mod message;
mod people;
mod queue;
mod registry;
mod relay;
mod requests;
mod route;
mod row;
mod server;
mod state;
mod stream;
mod time;
mod uploads;
mod workspace;
mod workspaces;

use std::fmt;
use std::io;
use std::time::Duration;

use serde_json::json;

use self::auth::Caller;
use self::entities::DeliveryMode;
use self::message::RelayedMessage;
use self::relay::relay_message;
use self::server::TestServer;
use self::state::{RegistryFault, push_bounded};
use self::uploads::DroppedFile;
use crate::util::random::new_id;

pub use delivery::{LedgerEntry, SentMessage};
pub use workspace::WorkspaceHandle;

/// A platform in process.
///
/// Dropping it closes its connections and ends its threads.
pub struct Platform {
    server: TestServer,
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Platform {
    /// Starts a platform on a free loopback port.
    ///
    /// # Errors
    ///
    /// The system gives no port or no thread.
    pub fn start() -> io::Result<Platform> {
        Platform::start_at(0)
    }

    /// Starts a platform on this loopback port.
    ///
    /// # Errors
    ///
    /// The port is taken, or the system gives no thread.
    pub fn start_at(port: u16) -> io::Result<Platform> {
        Ok(Platform { server: TestServer::start(port)? })
    }

    /// Returns the platform's URL, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.shared.host())
    }

    /// Returns the token that may do what an admin may.
    #[must_use]
    pub fn admin_token(&self) -> String {
        self.server.shared.lock().admin_token.clone()
    }

    /// Returns the workspace of this name. If there is none, makes one whose agent polls and is registered.
    ///
    /// ```
    /// # use a2a_blocking::testing::Platform;
    /// let platform = Platform::start()?;
    /// let ops = platform.workspace("ops");
    /// assert_eq!(ops.status().as_deref(), Some("online"));
    /// assert_eq!(platform.workspace("ops").id(), ops.id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn workspace(&self, name: &str) -> WorkspaceHandle {
        let mut state = self.server.shared.lock();
        let known = state.workspaces.values().find(|known| known.name == name && !known.is_removed());
        if let Some(id) = known.map(|known| known.id.clone()) {
            return WorkspaceHandle::new(&self.server.shared, id);
        }
        let id = workspaces::add_workspace(&mut state, name, DeliveryMode::Poll);
        state.mint_token(&id);
        workspace::register_in_process(&mut state, &id, None);
        WorkspaceHandle::new(&self.server.shared, id)
    }

    /// Makes a workspace that nobody registered: senders are told that its agent is busy.
    #[must_use]
    pub fn unregistered(&self, name: &str) -> WorkspaceHandle {
        let mut state = self.server.shared.lock();
        let id = workspaces::add_workspace(&mut state, name, DeliveryMode::Push);
        state.mint_token(&id);
        WorkspaceHandle::new(&self.server.shared, id)
    }

    /// Makes a workspace whose agent is at this `http` URL. The platform posts each message to it.
    #[must_use]
    pub fn push_agent(&self, name: &str, url: &str) -> WorkspaceHandle {
        let workspace = self.unregistered(name);
        workspace::register_in_process(&mut self.server.shared.lock(), workspace.id(), Some(url));
        workspace
    }

    /// Sends a text from one workspace to another, and returns the message's id.
    ///
    /// It uses no connection and counts against no rate limit. It waits for no late row.
    ///
    /// # Errors
    ///
    /// The platform refuses the message. The text has the status and the platform's words.
    pub fn send(&self, from: &WorkspaceHandle, to: &WorkspaceHandle, text: &str) -> io::Result<String> {
        self.deliver(&Caller::Agent(from.id().to_owned()), to, text)
    }

    /// Sends a text as a human does on the canvas of a workspace, and returns the message's id.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn human(&self, to: &WorkspaceHandle, text: &str) -> io::Result<String> {
        let is_known = self.server.shared.lock().setup.tenant.is_some();
        self.deliver(&Caller::Canvas { source: None, is_known }, to, text)
    }

    fn deliver(&self, caller: &Caller, to: &WorkspaceHandle, text: &str) -> io::Result<String> {
        let message_id = new_id().to_string();
        let parts = json!([{ "kind": "text", "text": text }]);
        let body = json!({
            "jsonrpc": "2.0",
            "id": new_id().to_string(),
            "method": "message/send",
            "params": { "message": { "role": "user", "messageId": message_id, "parts": parts } },
        });
        let message = RelayedMessage::read(body.to_string().as_bytes(), caller, to.id());
        let answer = message.and_then(|message| relay_message(&self.server.shared, &message, caller, to.id(), false));
        answer
            .map(|_| message_id)
            .map_err(|refused| io::Error::other(format!("{} {}", refused.status, refused.body_text())))
    }

    /// Drops a file into a workspace as a human does on its canvas, and returns the file's URI.
    #[must_use]
    pub fn upload(&self, to: &WorkspaceHandle, name: &str, mime_type: &str, content: impl Into<Vec<u8>>) -> String {
        let file = DroppedFile { name: name.to_owned(), mime_type: mime_type.to_owned(), content: content.into() };
        let added = uploads::add_uploads(&mut self.server.shared.lock(), to.id(), vec![file]);
        self.server.shared.notify();
        let added = added.first().and_then(|file| serde_json::from_str::<serde_json::Value>(file).ok());
        added.and_then(|file| file["uri"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Adds a rule that the platform gives to its agents. At most the last 10,000 are kept.
    pub fn instruct(&self, title: &str, content: &str) {
        push_bounded(&mut self.server.shared.lock().instructions, (title.to_owned(), content.to_owned()));
    }

    /// Returns what programs sent over HTTP and the platform accepted, the oldest first: at most the last 10,000.
    #[must_use]
    pub fn sent(&self) -> Vec<SentMessage> {
        self.server.shared.lock().sent.iter().cloned().collect()
    }

    /// Returns the rows that were written, in the order of writing: at most the last 100,000.
    #[must_use]
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.server.shared.lock().ledger.iter().cloned().collect()
    }
}

/// Faults and set-up of the whole platform.
impl Platform {
    /// While true, the calls below `/registry` answer 503.
    pub fn registry_down(&self, is_down: bool) {
        self.set_registry(is_down.then_some(RegistryFault::Down));
    }

    /// While true, the calls below `/registry` are not answered. They are once it is false, unless the client is gone.
    pub fn registry_silent(&self, is_silent: bool) {
        self.set_registry(is_silent.then_some(RegistryFault::Silent));
    }

    fn set_registry(&self, fault: Option<RegistryFault>) {
        self.server.shared.lock().faults.registry = fault.unwrap_or_default();
        self.server.shared.notify();
    }

    /// While true, connections are closed as soon as they are accepted, and open ones are dropped.
    pub fn offline(&self, is_offline: bool) {
        self.server.shared.lock().faults.offline = is_offline;
        if is_offline {
            self.server.shared.shut_down_sockets();
        }
    }

    /// Drops all connections and keeps what the platform knows, as a restart does.
    pub fn restart(&self) {
        self.server.shared.shut_down_sockets();
    }

    /// Sets the wait before the first byte of each answer. Default: none.
    pub fn slow(&self, wait: Duration) {
        self.server.shared.lock().faults.slow = wait;
    }

    /// Sets how many bytes of its answers a connection gets per second. Default: `None`, without a bound.
    pub fn throttle(&self, bytes_per_second: impl Into<Option<u64>>) {
        self.server.shared.lock().faults.bytes_per_second = bytes_per_second.into();
    }

    /// Commits the next `rows` rows of inboxes so much later, a day at most. Their times and numbers are taken at once, so
    /// that rows that come after them are listed before them. A sender gets its answer when its row is committed.
    ///
    /// ```
    /// # use {a2a_blocking::testing::Platform, std::time::Duration};
    /// let platform = Platform::start()?;
    /// let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    /// platform.late_rows(1, Duration::from_secs(3_600));
    /// platform.send(&dev, &ops, "late")?;
    /// platform.send(&dev, &ops, "on time")?;
    /// platform.commit_late_rows();
    /// let ledger = platform.ledger();
    /// assert_eq!((ledger[0].text.as_str(), ledger[1].text.as_str()), ("on time", "late"));
    /// assert!(ledger[0].seq > ledger[1].seq);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn late_rows(&self, rows: usize, delay: Duration) {
        self.server.shared.lock().faults.late = (rows, delay.min(Duration::from_secs(86_400)));
    }

    /// Commits all late rows now.
    pub fn commit_late_rows(&self) {
        feed::commit_all(&mut self.server.shared.lock());
        self.server.shared.notify();
    }

    /// Sets by how many seconds the database's clock, which gives rows their times, is ahead. Default: 0.
    pub fn skew_rows(&self, seconds: i64) {
        self.server.shared.lock().faults.skew = seconds;
    }

    /// While true, open event streams stay open and get no events.
    pub fn mute_events(&self, mutes: bool) {
        self.server.shared.lock().setup.mutes_events = mutes;
    }

    /// While true, queued sends and delegations stay as they are.
    pub fn hold_background(&self, holds: bool) {
        self.server.shared.lock().faults.holds_background = holds;
        self.server.shared.notify();
    }

    /// Sets how many requests a minute one identity may make: an organisation, else a token, else an address. `None` for no
    /// bound. Default: 600. Counting begins anew.
    pub fn rate_limit(&self, requests: impl Into<Option<u32>>) {
        let mut state = self.server.shared.lock();
        state.setup.rate_limit = requests.into();
        state.windows.clear();
    }

    /// While true, canvas and server are one host: an `Origin` or `Referer` of that host is the canvas user, whatever the
    /// token. Default: false.
    pub fn combined(&self, is_combined: bool) {
        self.server.shared.lock().setup.combined = is_combined;
    }

    /// Makes the platform one of an organisation, or of none. Requests without its id in `X-Molecule-Org-Id` are refused. The
    /// cookie `session=good` is a known human's. Default: `None`.
    pub fn tenant(&self, organisation: Option<&str>) {
        self.server.shared.lock().setup.tenant = organisation.map(str::to_owned);
    }

    /// While true, agents at loopback addresses are refused, as on a platform in production. Default: false.
    pub fn public_agents_only(&self, only: bool) {
        self.server.shared.lock().setup.public_agents_only = only;
    }
}
