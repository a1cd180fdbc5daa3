//! The things that the platform keeps.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::row::FeedRow;
use super::time::Micros;
use crate::util::clock::Deadline;
use crate::util::random::new_id;

/// Id of the workspace above all others, which every platform has.
pub(super) const CONCIERGE: &str = "ea3cfcf1-cb9c-53b4-90fd-c53123569c4a";

/// The way in which messages reach an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeliveryMode {
    Push,
    Poll,
}

/// One workspace.
pub(super) struct WorkspaceEntry {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) parent: Option<String>,
    pub(super) role: Option<String>,
    pub(super) runtime: String,
    pub(super) tier: u32,
    pub(super) status: String,
    pub(super) mode: DeliveryMode,
    pub(super) url: String,
    /// The last URL that was not empty: discover answers with it.
    pub(super) cached_url: Option<String>,
    pub(super) card: Value,
    pub(super) inbound_secret: String,
    pub(super) removed_at: Option<Micros>,
    pub(super) last_heartbeat: Option<Micros>,
    pub(super) abilities: Abilities,
    pub(super) over_budget: bool,
    pub(super) active_tasks: u64,
    pub(super) current_task: String,
    pub(super) uptime_seconds: u64,
    pub(super) error_rate: f64,
    pub(super) acked_seq: Option<i64>,
    /// By `created_at`, then by `seq`.
    pub(super) rows: VecDeque<Arc<FeedRow>>,
    /// Id of the row of each message, by the message's id.
    pub(super) messages: HashMap<String, String>,
}

/// Abilities that an admin gives to a workspace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abilities {
    pub(super) broadcast: bool,
    pub(super) talk_to_user: bool,
    pub(super) delegate: bool,
}

impl WorkspaceEntry {
    pub(super) fn new(id: &str, name: &str, mode: DeliveryMode) -> Self {
        WorkspaceEntry {
            id: id.to_owned(),
            name: name.to_owned(),
            parent: Some(CONCIERGE.to_owned()),
            role: None,
            runtime: "external".to_owned(),
            tier: 3,
            status: "awaiting_agent".to_owned(),
            mode,
            url: String::new(),
            cached_url: None,
            card: Value::Null,
            inbound_secret: new_secret(),
            removed_at: None,
            last_heartbeat: None,
            abilities: Abilities { broadcast: false, talk_to_user: true, delegate: true },
            over_budget: false,
            active_tasks: 0,
            current_task: String::new(),
            uptime_seconds: 0,
            error_rate: 0.0,
            acked_seq: None,
            rows: VecDeque::new(),
            messages: HashMap::new(),
        }
    }

    pub(super) fn is_removed(&self) -> bool {
        self.status == "removed"
    }
}

/// A token that lives.
pub(super) struct TokenEntry {
    pub(super) id: String,
    pub(super) workspace: String,
    pub(super) created_at: Micros,
    pub(super) last_used_at: Option<Micros>,
}

/// A file that was dropped into a workspace.
pub(super) struct PendingUpload {
    pub(super) workspace: String,
    pub(super) name: String,
    pub(super) mime_type: String,
    pub(super) content: Arc<[u8]>,
}

/// An open event stream.
pub(super) struct Subscriber {
    pub(super) id: u64,
    pub(super) workspace: String,
    pub(super) waiting: VecDeque<Arc<[u8]>>,
}

/// Requests of one identity in the present minute.
pub(super) struct RateWindow {
    pub(super) ends: Deadline,
    pub(super) requests: u32,
}

/// A send that waits for its agent.
pub(super) struct QueueItem {
    pub(super) id: String,
    pub(super) workspace: String,
    /// Workspace that sent it. `None` for a human.
    pub(super) caller: Option<String>,
    pub(super) message_id: Option<String>,
    /// Body of the request, as the agent gets it.
    pub(super) body: Arc<str>,
    pub(super) method: String,
    pub(super) status: &'static str,
    pub(super) attempts: u32,
    pub(super) last_error: Option<String>,
    pub(super) enqueued_at: Micros,
    pub(super) dispatched_at: Option<Micros>,
    pub(super) completed_at: Option<Micros>,
    pub(super) expires_at: Option<Micros>,
    /// JSON.
    pub(super) response: Option<String>,
}

/// A task that one workspace gave to another.
pub(super) struct Delegation {
    pub(super) id: String,
    pub(super) caller: String,
    pub(super) target: String,
    pub(super) task: String,
    pub(super) key: Option<String>,
    pub(super) status: &'static str,
    /// False until the target was asked.
    pub(super) is_dispatched: bool,
    /// Id of the row in the caller's activity that tells its status.
    pub(super) row: String,
}

/// A task or an approval that somebody is asked for.
pub(super) struct AgentRequest {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) requester: String,
    pub(super) recipient_type: String,
    pub(super) recipient: String,
    pub(super) title: String,
    pub(super) detail: Option<String>,
    pub(super) status: String,
    /// Type and id of who responded.
    pub(super) responder: Option<(String, String)>,
    pub(super) priority: Option<i64>,
    pub(super) created_at: Micros,
    pub(super) updated_at: Micros,
    pub(super) responded_at: Option<Micros>,
    pub(super) notes: Vec<RequestNote>,
}

/// A message about a request.
pub(super) struct RequestNote {
    pub(super) id: String,
    pub(super) author_type: String,
    pub(super) author: String,
    pub(super) body: String,
    pub(super) created_at: Micros,
}

/// A random text of 43 characters, as the server's tokens.
pub(super) fn new_secret() -> String {
    let random = || new_id().simple().to_string();
    let mut text = random() + &random();
    text.truncate(43);
    text
}
