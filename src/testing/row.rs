//! A row of a workspace's activity, and its JSON.

use std::sync::Arc;

use serde_json::Value;

use super::json::Json;
use super::time::Micros;
use crate::util::clock::Deadline;
use crate::util::random::new_id;

/// A row. Its bodies are JSON texts in the order of `jsonb`.
#[derive(Debug, Clone)]
pub(super) struct FeedRow {
    pub(super) id: String,
    pub(super) workspace_id: String,
    pub(super) activity_type: String,
    pub(super) method: Option<String>,
    pub(super) source_id: Option<String>,
    pub(super) target_id: Option<String>,
    pub(super) summary: String,
    pub(super) request_body: Option<Arc<str>>,
    pub(super) response_body: Option<Arc<str>>,
    /// With `include=peer_info`: the parts of the message that are files.
    pub(super) attachments: Option<Arc<str>>,
    pub(super) duration_ms: Option<u64>,
    pub(super) status: String,
    pub(super) error_detail: Option<String>,
    pub(super) created_at: Micros,
    pub(super) seq: u64,
    pub(super) message_id: Option<String>,
    /// Text of the message, for the ledger.
    pub(super) text: String,
}

impl FeedRow {
    /// A row without bodies whose time and number are still to be taken.
    pub(super) fn new(workspace: &str, activity_type: &str, method: &str, summary: impl Into<String>) -> Self {
        FeedRow {
            id: new_id().to_string(),
            workspace_id: workspace.to_owned(),
            activity_type: activity_type.to_owned(),
            method: Some(method.to_owned()),
            source_id: None,
            target_id: None,
            summary: summary.into(),
            request_body: None,
            response_body: None,
            attachments: None,
            duration_ms: None,
            status: "ok".to_owned(),
            error_detail: None,
            created_at: Micros(0),
            seq: 0,
            message_id: None,
            text: String::new(),
        }
    }

    pub(super) fn key(&self) -> (Micros, u64) {
        (self.created_at, self.seq)
    }

    /// Returns the row's JSON with sorted keys, in pieces: short ones of ours, and the bodies.
    pub(super) fn pieces(&self, peer: Option<&PeerInfo>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut text = format!("{{\"activity_type\":{}", quote(&self.activity_type));
        if let Some(url) = peer.and_then(|peer| peer.card_url.as_deref()) {
            text += &format!(",\"agent_card_url\":{}", quote(url));
        }
        if let Some(attachments) = self.attachments.as_ref().filter(|_| peer.is_some()) {
            pieces.push(Piece::Ours(text + ",\"attachments\":"));
            pieces.push(Piece::Body(attachments.clone()));
            text = String::new();
        }
        text += &format!(
            ",\"created_at\":\"{}\",\"duration_ms\":{},\"error_detail\":{},\"id\":\"{}\",\"method\":{}",
            self.created_at.rfc3339(),
            self.duration_ms.map_or("null".to_owned(), |ms| ms.to_string()),
            quote_or_null(self.error_detail.as_deref()),
            self.id,
            quote_or_null(self.method.as_deref()),
        );
        for (key, value) in [("peer_name", peer.map(|peer| &peer.name)), ("peer_role", peer.map(|peer| &peer.role))] {
            if let Some(value) = value.and_then(Option::as_deref) {
                text += &format!(",\"{key}\":{}", quote(value));
            }
        }
        for (key, body) in [("request_body", &self.request_body), ("response_body", &self.response_body)] {
            if let Some(body) = body {
                pieces.push(Piece::Ours(text + &format!(",\"{key}\":")));
                pieces.push(Piece::Body(body.clone()));
                text = String::new();
            }
        }
        text += &format!(
            ",\"seq\":{},\"source_id\":{},\"status\":{},\"summary\":{},\"target_id\":{},\"workspace_id\":{}}}",
            self.seq,
            quote_or_null(self.source_id.as_deref()),
            quote(&self.status),
            quote(&self.summary),
            quote_or_null(self.target_id.as_deref()),
            quote(&self.workspace_id),
        );
        pieces.push(Piece::Ours(text));
        pieces
    }

    /// Returns the data of the event that tells of the row.
    pub(super) fn event(&self, request_body: Option<&str>) -> String {
        let field = |key: &str, value: Option<&str>| format!(",\"{key}\":{}", quote_or_null(value));
        let mut text = format!("{{\"activity_type\":{}", quote(&self.activity_type));
        text += &format!(",\"duration_ms\":{}", self.duration_ms.map_or("null".to_owned(), |ms| ms.to_string()));
        if let Some(id) = &self.message_id {
            text += &field("message_id", Some(id));
        }
        text += &field("method", self.method.as_deref());
        if let Some(body) = request_body {
            text += &format!(",\"request_body\":{body}");
        }
        text += &field("source_id", self.source_id.as_deref());
        text += &field("status", Some(&self.status));
        text += &field("summary", Some(&self.summary));
        text += &field("target_id", self.target_id.as_deref());
        text.push('}');
        text
    }
}

/// A piece of a row's JSON.
pub(super) enum Piece {
    Ours(String),
    Body(Arc<str>),
}

impl Piece {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Piece::Ours(text) => text,
            Piece::Body(text) => text,
        }
    }
}

/// The fields that `include=peer_info` adds to a row.
pub(super) struct PeerInfo {
    pub(super) name: Option<String>,
    pub(super) role: Option<String>,
    pub(super) card_url: Option<String>,
}

/// A row that is being written, and when that is done.
pub(super) struct PendingRow {
    pub(super) row: FeedRow,
    pub(super) due: Deadline,
    pub(super) announce: Announce,
}

/// Number of events for a row, with the request's body in the order of Go.
#[derive(Debug, Clone)]
pub(super) enum Announce {
    Never,
    Once(Option<Arc<str>>),
    /// As the relay does with a message to a poller: as ingested, then as queued.
    Twice(Arc<str>),
}

/// Returns a JSON string.
pub(super) fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

fn quote_or_null(text: Option<&str>) -> String {
    text.map_or("null".to_owned(), quote)
}

/// Returns the attachments of a message with these parts, as `include=peer_info` lists them.
pub(super) fn attachments_of(body: &Json) -> Option<Arc<str>> {
    let parts = body.get("params")?.get("message")?.get("parts")?.items().iter();
    let files = parts.filter(|part| part.get("kind").and_then(Json::as_str) == Some("file"));
    let attachments = files.filter_map(|part| {
        let file = part.get("file")?;
        let field = |key: &str, name: &str| {
            let text = file.get(key).and_then(Json::as_str);
            text.map_or(String::new(), |text| format!(",\"{name}\":{}", quote(text)))
        };
        Some(format!(
            "{{\"kind\":\"file\"{}{}{}}}",
            field("mimeType", "mime_type"),
            field("name", "name"),
            field("uri", "uri")
        ))
    });
    let attachments: Vec<String> = attachments.collect();
    (!attachments.is_empty()).then(|| format!("[{}]", attachments.join(",")).into())
}
