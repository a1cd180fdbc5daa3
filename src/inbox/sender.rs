//! The sender of a row: which kind of sender it is, its name, and whether it is this workspace itself.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::client::Client;
use crate::peer::PeerId;
use crate::util::str_enum::str_enum;
use crate::util::text::{prefix, strip};
use crate::wire::{self, Row, RowSender};

/// Longest name or role that is taken from a row, in bytes.
const MAX_NAME: usize = 1_024;

/// The kind of sender that an inbox message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InboxMessageKind {
    /// The agent of another workspace.
    PeerAgent,
    /// The human on the canvas.
    CanvasUser,
    /// The platform, with the result of a task that was delegated to another workspace.
    DelegationResult,
    /// A sender that the row does not identify. Such a message cannot be answered.
    Unknown,
}

// The platform's words, as far as it has any.
str_enum!(InboxMessageKind {
    PeerAgent: "peer_agent",
    CanvasUser: "canvas_user",
    DelegationResult: "delegation_result",
    Unknown: "unknown",
});

/// Returns the kind of a row's sender, and its id if the row names a valid one.
///
/// A row that names no sender comes from the human, unless its `data` says otherwise. An id that is empty, blank or
/// otherwise not valid is nobody's: neither a peer's nor the human's.
pub(super) fn identify_sender(fields: &Map<String, Value>) -> (InboxMessageKind, Option<PeerId>) {
    let sender = wire::sender(fields);
    let peer = if let RowSender::Named(id) = sender { PeerId::from_text(id) } else { None };
    let kind = match sender {
        _ if wire::text_field(fields, "method") == Some("delegate_result") => InboxMessageKind::DelegationResult,
        _ if peer.is_some() => InboxMessageKind::PeerAgent,
        RowSender::Absent if wire::claimed_kind(fields).is_none_or(|kind| kind == "canvas_user") => {
            InboxMessageKind::CanvasUser
        }
        _ => InboxMessageKind::Unknown,
    };
    (kind, peer)
}

/// Returns the name and role of a row's sender in the fields of a record, as the platform had them when it listed the row.
///
/// Empty where the row has neither. Each has at most 1,024 bytes: a longer one is cut.
pub(super) fn names_in_row(fields: &Map<String, Value>) -> Map<String, Value> {
    let in_row = |field, name: &str| Some((field, prefix(wire::text_field(fields, name)?, MAX_NAME)));
    let names = [in_row("name", "peer_name"), in_row("role", "peer_role")];
    names.into_iter().flatten().map(|(field, text): (&str, _)| (field.to_owned(), text.into())).collect()
}

/// Puts the names and roles of a page's senders over those that the client has cached.
///
/// They are as of the listing, so this is to be done when a page arrives, and not when its messages are delivered.
pub(super) fn overlay_names(client: &Client, rows: &[Row]) {
    let mut newest = HashMap::new();
    for row in rows {
        if let (InboxMessageKind::PeerAgent, Some(peer)) = identify_sender(&row.fields) {
            newest.insert(peer, &row.fields);
        }
    }
    for (peer, fields) in newest {
        let names = names_in_row(fields);
        if !names.is_empty() {
            client.overlay(peer, &names);
        }
    }
}

/// Returns whether a row was made by this workspace: a notice to its human, or the echo of a message that it sent.
///
/// A delegation's result is never our own. The sender's id is trimmed and compared without case, as peer ids are read:
/// an echo that is taken for another workspace's message would be answered by ourselves.
pub(super) fn is_own(fields: &Map<String, Value>, workspace_id: &str) -> bool {
    let method = wire::text_field(fields, "method");
    match wire::sender(fields) {
        RowSender::Absent | RowSender::Blank => method == Some("notify"),
        RowSender::Named(id) => strip(id).eq_ignore_ascii_case(workspace_id) && method != Some("delegate_result"),
        RowSender::Unreadable => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
    const SELF: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

    fn fields(row: Value) -> Map<String, Value> {
        row.as_object().unwrap().clone()
    }

    #[test]
    fn sender_is_identified_by_source_and_method() {
        use InboxMessageKind::{CanvasUser, DelegationResult, PeerAgent, Unknown};
        for (row, kind, has_peer) in [
            (json!({ "source_id": PEER }), PeerAgent, true),
            (json!({ "source_id": PEER.to_uppercase() }), PeerAgent, true),
            (json!({ "data": { "peer_id": PEER } }), PeerAgent, true),
            (json!({ "source_id": null }), CanvasUser, false),
            (json!({ "source_id": null, "data": { "peer_id": "", "kind": "canvas_user" } }), CanvasUser, false),
            (json!({ "source_id": "", "data": { "peer_id": PEER } }), PeerAgent, true),
            (json!({ "source_id": "" }), Unknown, false),
            (json!({ "source_id": " \t\u{a0}" }), Unknown, false),
            (json!({ "source_id": "\u{1c}" }), Unknown, false),
            (json!({ "source_id": "\u{200b}" }), Unknown, false),
            (json!({ "source_id": "\u{feff}\u{2060}" }), Unknown, false),
            (json!({ "source_id": "", "data": { "kind": "canvas_user" } }), Unknown, false),
            (json!({ "source_id": "", "data": { "peer_id": "", "kind": "canvas_user" } }), Unknown, false),
            (json!({ "data": { "peer_id": "" } }), Unknown, false),
            (json!({ "data": { "peer_id": "\u{200b}", "kind": "canvas_user" } }), Unknown, false),
            (json!({ "data": { "kind": "canvas_user" } }), CanvasUser, false),
            (json!({ "source_id": PEER, "method": "delegate_result" }), DelegationResult, true),
            (json!({ "method": "delegate_result" }), DelegationResult, false),
            (json!({ "source_id": "../../etc" }), Unknown, false),
            (json!({ "data": { "source": "peer_agent" } }), Unknown, false),
            (json!({ "source_id": 7 }), Unknown, false),
            (json!({ "source_id": { "id": PEER } }), Unknown, false),
            (json!({ "source_id": false, "data": { "kind": "canvas_user" } }), Unknown, false),
            (json!({ "data": { "peer_id": [PEER] } }), Unknown, false),
        ] {
            let peer = PeerId::from_text(PEER).filter(|_| has_peer);
            assert_eq!(identify_sender(&fields(row.clone())), (kind, peer), "{row}");
        }
    }

    #[test]
    fn own_rows_are_recognised() {
        for (row, own) in [
            (json!({ "method": "notify" }), true),
            (json!({ "method": "notify", "source_id": "" }), true),
            (json!({ "method": "notify", "source_id": PEER }), false),
            (json!({ "method": "notify", "source_id": 7 }), false),
            (json!({ "method": "message/send", "source_id": SELF }), true),
            (json!({ "source_id": SELF.to_uppercase() }), true),
            (json!({ "source_id": format!("\n{SELF}\u{1f}") }), true),
            (json!({ "method": "delegate_result", "source_id": SELF }), false),
            (json!({ "method": "message/send" }), false),
            (json!({}), false),
        ] {
            assert_eq!(is_own(&fields(row.clone()), SELF), own, "{row}");
        }
    }
}
