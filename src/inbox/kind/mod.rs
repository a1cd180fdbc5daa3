//! The kind of a row: what its message is, and which peer it concerns.

pub(super) mod names;

use serde_json::{Map, Value};

use crate::peer::PeerId;
use crate::util::str_enum::str_enum;
use crate::util::text::strip;
use crate::wire::{self, RowSender};

/// The kind of an inbox message: what it is, and so who it comes from and whether it takes a reply.
///
/// The platform says who sent a row. A sender may write anything into its message, so a row with a sender is never that
/// of a human, of the platform or of a delegation.
///
/// | kind | reply |
/// | --- | --- |
/// | [`Peer`](InboxMessageKind::Peer) | a message to the peer |
/// | [`Human`](InboxMessageKind::Human), [`Upload`](InboxMessageKind::Upload) | a notice on the canvas |
/// | all others | none |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InboxMessageKind {
    /// A message from the agent of another workspace.
    Peer,
    /// A message from the human on the canvas.
    Human,
    /// A message from neither: the platform's own, such as an agent's first turn, that of a channel such as Telegram, or
    /// that of a sender which the row does not identify. [`InboxMessage::source`](crate::InboxMessage::source) may say
    /// which.
    System,
    /// A call of another method than those that send a message, such as `tasks/cancel`.
    /// [`InboxMessage::method`](crate::InboxMessage::method) says which.
    Call,
    /// The result of a task that we delegated to another workspace, or that it failed.
    Delegation,
    /// A file that the human dropped on the canvas: one attachment, and no words.
    Upload,
    /// A message from another workspace to all others.
    Broadcast,
}

str_enum!(InboxMessageKind {
    Peer: "peer",
    Human: "human",
    System: "system",
    Call: "call",
    Delegation: "delegation",
    Upload: "upload",
    Broadcast: "broadcast",
});

impl InboxMessageKind {
    /// Returns whether [`InboxMessage::reply`](crate::InboxMessage::reply) answers a message of this kind: true for
    /// `Peer`, `Human` and `Upload`.
    #[must_use]
    pub fn takes_reply(self) -> bool {
        matches!(self, InboxMessageKind::Peer | InboxMessageKind::Human | InboxMessageKind::Upload)
    }
}

/// Returns the kind of a row, and the peer that it concerns: the callee of a delegation, and else the sender.
///
/// `request` is the row's [request](wire::request_body), and `workspace_id` our own id. An id that is empty, blank or
/// otherwise not valid is nobody's: neither a peer's nor the human's.
pub(super) fn identify(
    fields: &Map<String, Value>,
    request: &Value,
    workspace_id: &str,
) -> (InboxMessageKind, Option<PeerId>) {
    let (sender, peer) = (wire::sender(fields), names::sender(fields));
    let kind = match method(fields) {
        _ if wire::text_field(fields, "activity_type") == Some("broadcast_receive") => InboxMessageKind::Broadcast,
        Some("delegate_result") if is_delegation(fields, workspace_id) => {
            return (InboxMessageKind::Delegation, callee(fields, workspace_id));
        }
        Some("chat_upload_receive") if sender == RowSender::Absent => InboxMessageKind::Upload,
        Some(method) if !sends_message(method) => InboxMessageKind::Call,
        _ if peer.is_some() => InboxMessageKind::Peer,
        _ if sender == RowSender::Absent && is_human(fields, request) => InboxMessageKind::Human,
        _ => InboxMessageKind::System,
    };
    (kind, peer)
}

/// Returns the kind of a row of which only the head was read, and the peer that it concerns.
///
/// The sender may come behind the head. So a head that names none is not taken for the human's or the platform's.
pub(super) fn identify_head(
    fields: &Map<String, Value>,
    request: &Value,
    workspace_id: &str,
) -> (InboxMessageKind, Option<PeerId>) {
    use InboxMessageKind::{Delegation, Human, System, Upload};
    match identify(fields, request, workspace_id) {
        (Human | Upload | Delegation, _) if wire::sender(fields) == RowSender::Absent => (System, None),
        identified => identified,
    }
}

/// Returns the method that the sender called. It is its own word: the platform passes on any.
pub(super) fn method(fields: &Map<String, Value>) -> Option<&str> {
    wire::text_field(fields, "method")
}

/// Returns whether a row names this workspace as its sender.
///
/// The id is trimmed and compared without case, as peer ids are read: an echo that is taken for another workspace's
/// message would be answered by ourselves.
pub(super) fn is_ours(fields: &Map<String, Value>, workspace_id: &str) -> bool {
    matches!(wire::sender(fields), RowSender::Named(id) if strip(id).eq_ignore_ascii_case(workspace_id))
}

/// Returns whether a row of method `delegate_result` is the platform's: its source is the workspace that delegated.
///
/// Any peer can call that method. Platforms that do not number their rows name the callee as the source, or nobody.
pub(super) fn is_delegation(fields: &Map<String, Value>, workspace_id: &str) -> bool {
    is_ours(fields, workspace_id) || !wire::is_numbered(fields)
}

/// Returns the workspace that a task was delegated to. The row of an update of the task does not name it.
fn callee(fields: &Map<String, Value>, workspace_id: &str) -> Option<PeerId> {
    match wire::sender(fields) {
        RowSender::Named(id) if !is_ours(fields, workspace_id) => PeerId::from_text(id),
        _ => wire::text_field(fields, "target_id").and_then(PeerId::from_text),
    }
}

/// Returns whether a method sends a message, in the words of protocol 0.3, its drafts and 1.0.
fn sends_message(method: &str) -> bool {
    method.starts_with("message/")
        || matches!(method, "SendMessage" | "SendStreamingMessage" | "tasks/send" | "tasks/sendSubscribe")
}

/// Returns whether a row without a sender is that of the human on the canvas.
///
/// The platform writes that into the request's metadata, over what the sender wrote there. An older one, which does not
/// [number](wire::is_numbered) its rows, does not: there a row is the human's unless its `data` or its metadata names
/// another origin.
fn is_human(fields: &Map<String, Value>, request: &Value) -> bool {
    if wire::is_numbered(fields) {
        return wire::request_metadata(request)["source"] == "canvas_user";
    }
    wire::claimed_kind(fields).or_else(|| wire::request_origin(request)).is_none_or(|origin| origin == "canvas_user")
}

#[cfg(test)]
mod tests;
