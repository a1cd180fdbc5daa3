//! The platform's state, behind one lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::delivery::{LedgerEntry, SentMessage};
use super::entities::{
    AgentRequest, CONCIERGE, Delegation, DeliveryMode, PendingUpload, QueueItem, RateWindow, Subscriber, TokenEntry,
    WorkspaceEntry, new_secret,
};
use super::row::PendingRow;
use super::time::Micros;
use crate::util::clock::Deadline;
use crate::util::random::new_id;
use crate::util::sync::{Condvar, Mutex, MutexGuard, wait};

/// The most workspaces, queued sends, requests and uploads. The oldest go first, but for workspaces: no more are made.
pub(super) const MOST: usize = 10_000;
/// The most rows of a workspace, and of the ledger.
pub(super) const MOST_ROWS: usize = 100_000;

/// State that all threads of a platform share.
pub(super) struct Shared {
    pub(super) address: SocketAddr,
    state: Mutex<State>,
    /// Notified when something changed that a thread may wait for.
    changed: Condvar,
    /// Connections that are open, so that they can be ended. Both those that come in and those to agents.
    sockets: Mutex<OpenSockets>,
}

#[derive(Default)]
struct OpenSockets {
    next: u64,
    open: BTreeMap<u64, TcpStream>,
}

impl Shared {
    pub(super) fn new(address: SocketAddr) -> Self {
        Shared { address, state: Mutex::new(State::new()), changed: Condvar::new(), sockets: Mutex::default() }
    }

    /// Remembers a connection until [`forget_socket`](Self::forget_socket).
    ///
    /// # Errors
    ///
    /// The platform has ended or is offline. Its open connections may have been ended before this one was among them.
    pub(super) fn remember_socket(&self, socket: &TcpStream) -> io::Result<u64> {
        let socket = socket.try_clone()?;
        let id = {
            let mut sockets = self.sockets.lock();
            sockets.next += 1;
            let id = sockets.next;
            sockets.open.insert(id, socket);
            id
        };
        let is_closed = {
            let state = self.lock();
            state.ended || state.faults.offline
        };
        if is_closed {
            self.forget_socket(id);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(id)
    }

    pub(super) fn forget_socket(&self, id: u64) {
        self.sockets.lock().open.remove(&id);
    }

    /// Ends every open connection.
    pub(super) fn shut_down_sockets(&self) {
        for socket in self.sockets.lock().open.values() {
            // It may have ended by itself.
            let _ended = socket.shutdown(Shutdown::Both);
        }
    }

    /// Ends the platform: its threads return soon.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.notify();
        self.shut_down_sockets();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Wakes the threads that wait for a change.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change, until the deadline at the latest.
    pub(super) fn wait<'a>(&self, guard: MutexGuard<'a, State>, deadline: Deadline) -> MutexGuard<'a, State> {
        wait(&self.changed, guard, Some(deadline))
    }

    /// Waits for `time`, or until the platform ends. Returns false if it ended.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        let deadline = Deadline::after(time.min(Duration::from_secs(86_400)));
        let mut state = self.lock();
        while !state.ended && !deadline.left().is_zero() {
            state = self.wait(state, deadline);
        }
        !state.ended
    }

    /// Waits while the registry is silent, or until the platform ends.
    pub(super) fn wait_for_registry(&self) {
        let mut state = self.lock();
        while state.faults.registry == RegistryFault::Silent && !state.ended {
            state = self.wait(state, Deadline::after(Duration::from_secs(1)));
        }
    }

    /// Bytes of an answer per second, where that is bounded.
    pub(super) fn answer_rate(&self) -> Option<u64> {
        self.lock().faults.bytes_per_second
    }

    /// Host and port, as in `Host`.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }
}

/// Faults that are on.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) registry: RegistryFault,
    pub(super) offline: bool,
    /// True while queued sends and delegations stay as they are.
    pub(super) holds_background: bool,
    /// Wait before the first byte of each answer.
    pub(super) slow: Duration,
    /// Bytes of an answer per second.
    pub(super) bytes_per_second: Option<u64>,
    /// Rows that are to be late, and how late.
    pub(super) late: (usize, Duration),
    /// Seconds by which the database's clock is ahead.
    pub(super) skew: i64,
}

/// A fault of the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum RegistryFault {
    #[default]
    None,
    /// It answers 503.
    Down,
    /// It does not answer.
    Silent,
}

/// Set-up of the platform.
#[derive(Debug, Default)]
pub(super) struct Setup {
    /// True if one host serves canvas and server.
    pub(super) combined: bool,
    /// True if agents at loopback addresses are refused.
    pub(super) public_agents_only: bool,
    /// True while no event is sent.
    pub(super) mutes_events: bool,
    pub(super) tenant: Option<String>,
    /// Requests a minute, without a bound if `None`.
    pub(super) rate_limit: Option<u32>,
}

pub(super) struct State {
    pub(super) ended: bool,
    pub(super) setup: Setup,
    pub(super) faults: Faults,
    pub(super) workspaces: BTreeMap<String, WorkspaceEntry>,
    /// By their text.
    pub(super) tokens: HashMap<String, TokenEntry>,
    pub(super) admin_token: String,
    pub(super) org_tokens: VecDeque<String>,
    pub(super) next_seq: u64,
    pub(super) pending: Vec<PendingRow>,
    pub(super) queue: VecDeque<QueueItem>,
    pub(super) delegations: VecDeque<Delegation>,
    pub(super) requests: VecDeque<AgentRequest>,
    /// Title and text of each of the platform's rules.
    pub(super) instructions: VecDeque<(String, String)>,
    pub(super) uploads: BTreeMap<String, PendingUpload>,
    /// Ids of the uploads, the oldest first.
    pub(super) upload_order: VecDeque<String>,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) next_subscriber: u64,
    pub(super) windows: HashMap<String, RateWindow>,
    /// Workspace, id and bytes of each row, in the order of writing. Rows that are gone stay until their turn.
    pub(super) row_order: VecDeque<(String, String, usize)>,
    pub(super) row_bytes: usize,
    pub(super) ledger: VecDeque<LedgerEntry>,
    pub(super) ledger_bytes: usize,
    pub(super) sent: VecDeque<SentMessage>,
}

impl State {
    fn new() -> Self {
        let mut concierge = WorkspaceEntry::new(CONCIERGE, "Org Concierge", DeliveryMode::Push);
        concierge.parent = None;
        concierge.tier = 0;
        concierge.status = "failed".to_owned();
        State {
            ended: false,
            setup: Setup { rate_limit: Some(600), ..Setup::default() },
            faults: Faults::default(),
            workspaces: BTreeMap::from([(CONCIERGE.to_owned(), concierge)]),
            tokens: HashMap::new(),
            admin_token: new_secret(),
            org_tokens: VecDeque::new(),
            next_seq: 1,
            pending: Vec::new(),
            queue: VecDeque::new(),
            delegations: VecDeque::new(),
            requests: VecDeque::new(),
            instructions: VecDeque::new(),
            uploads: BTreeMap::new(),
            upload_order: VecDeque::new(),
            subscribers: Vec::new(),
            next_subscriber: 0,
            windows: HashMap::new(),
            row_order: VecDeque::new(),
            row_bytes: 0,
            ledger: VecDeque::new(),
            ledger_bytes: 0,
            sent: VecDeque::new(),
        }
    }

    /// Returns a workspace by its id, which Postgres reads in either case.
    pub(super) fn workspace(&self, id: &str) -> Option<&WorkspaceEntry> {
        self.workspaces.get(&id.to_ascii_lowercase())
    }

    pub(super) fn workspace_mut(&mut self, id: &str) -> Option<&mut WorkspaceEntry> {
        self.workspaces.get_mut(&id.to_ascii_lowercase())
    }

    /// Records what a program sent, for [`Platform::sent`](super::Platform::sent).
    pub(super) fn record_sent(&mut self, message: SentMessage) {
        push_bounded(&mut self.sent, message);
    }

    /// Returns a name that no other workspace has: `ops (2)` where there is an `ops`.
    pub(super) fn free_name(&self, name: &str) -> String {
        let is_taken = |name: &str| self.workspaces.values().any(|other| !other.is_removed() && other.name == name);
        if !is_taken(name) {
            return name.to_owned();
        }
        (2..=MOST + 2).map(|n| format!("{name} ({n})")).find(|name| !is_taken(name)).unwrap_or(name.to_owned())
    }

    /// Makes a token for a workspace and returns it.
    pub(super) fn mint_token(&mut self, workspace: &str) -> String {
        let token = new_secret();
        let entry = TokenEntry {
            id: new_id().to_string(),
            workspace: workspace.to_owned(),
            created_at: Micros::now(),
            last_used_at: None,
        };
        if self.tokens.len() < 10 * MOST {
            self.tokens.insert(token.clone(), entry);
        }
        token
    }

    pub(super) fn revoke_tokens(&mut self, workspace: &str) {
        self.tokens.retain(|_, token| token.workspace != workspace);
    }

    /// True if a token of the workspace lives, whether or not the workspace was removed.
    pub(super) fn has_token(&self, workspace: &str) -> bool {
        self.tokens.values().any(|token| token.workspace.eq_ignore_ascii_case(workspace))
    }

    /// Marks a workspace as removed, as DELETE does: its tokens are revoked, its rows stay.
    pub(super) fn remove(&mut self, id: &str) {
        if let Some(workspace) = self.workspace_mut(id) {
            "removed".clone_into(&mut workspace.status);
            workspace.removed_at = Some(Micros::now());
            workspace.url.clear();
        }
        self.revoke_tokens(id);
    }

    /// Forgets a workspace, its tokens and its rows.
    pub(super) fn purge(&mut self, id: &str) {
        self.workspaces.remove(id);
        self.revoke_tokens(id);
    }
}

/// Adds an item to those of one kind. Above [`MOST`] the oldest goes.
pub(super) fn push_bounded<T>(items: &mut VecDeque<T>, item: T) {
    items.push_back(item);
    if items.len() > MOST {
        items.pop_front();
    }
}
