//! The body of a message, as the relay passes it on.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::answer::HttpAnswer;
use super::auth::{Caller, HUMAN_EMAIL, HUMAN_ID};
use super::delivery::{SentMessage, text_of};
use super::json::{FieldOrder, Json, parse_json};
use super::row::{FeedRow, attachments_of};
use crate::util::random::new_id;

/// The longest id of a message for which Postgres keeps a row, in bytes: what an index entry holds.
const LONGEST_INDEXED: usize = 2_700;

/// A message as the relay passes it on.
pub(super) struct RelayedMessage {
    pub(super) method: String,
    /// The sender's id of it, if that is a text that is not empty.
    pub(super) message_id: Option<String>,
    /// For the row. `None` where Postgres refuses it, and no row is written.
    row_body: Option<Arc<str>>,
    /// For the agent and the event stream.
    pub(super) agent_body: Arc<str>,
    pub(super) attachments: Option<Arc<str>>,
    pub(super) text: String,
    pub(super) expires_in: Option<Duration>,
    pub(super) sent: SentMessage,
}

impl RelayedMessage {
    /// Reads a request's body, fills in what is missing, and marks it as the canvas's where it comes from there.
    pub(super) fn read(body: &[u8], caller: &Caller, target: &str) -> Result<Self, HttpAnswer> {
        let body = parse_json(body).filter(|body| matches!(body, Json::Object(_)));
        let mut body = body.ok_or_else(|| HttpAnswer::error(400, "invalid JSON"))?;
        if body.get("jsonrpc").is_none() {
            // What is beside method and params is lost.
            body = Json::object([
                ("jsonrpc", Json::text("2.0")),
                ("id", Json::text(new_id().to_string())),
                ("method", body.take("method").unwrap_or(Json::Null)),
                ("params", body.take("params").unwrap_or(Json::Null)),
            ]);
        } else if body.get("id").is_none() {
            body.set("id", Json::text(new_id().to_string()));
        }
        if let Some(message) = body.get_mut("params").and_then(|params| params.get_mut("message")) {
            fill_in(message)?;
        }
        stamp(&mut body, caller, target);
        let message = body.get("params").and_then(|params| params.get("message"));
        let message_id = message.and_then(|message| message.get("messageId")).and_then(Json::as_str);
        let message_id = message_id.filter(|id| !id.is_empty()).map(str::to_owned);
        let expiry = body.get("params").and_then(|params| params.get("expires_in_seconds"));
        let expires_in = match expiry {
            Some(Json::Number(seconds)) if *seconds > 0.0 => Some(Duration::from_secs_f64(seconds.min(1e9))),
            _ => None,
        };
        let is_indexed = message_id.as_ref().is_none_or(|id| id.len() <= LONGEST_INDEXED);
        let row_body = body.write(FieldOrder::Postgres).filter(|_| is_indexed);
        Ok(RelayedMessage {
            method: body.get("method").and_then(Json::as_str).unwrap_or_default().to_owned(),
            row_body: row_body.map(Arc::from),
            agent_body: body.write_for_go().into(),
            attachments: attachments_of(&body),
            text: text_of(&body),
            expires_in,
            sent: SentMessage::of_request(caller.source(), target, &body),
            message_id,
        })
    }

    /// Returns the message's row, or `None` where the server takes the message and writes none.
    pub(super) fn row(&self, target: (&str, &str), source: Option<&str>, state: &str) -> Option<FeedRow> {
        let body = self.row_body.clone().filter(|_| !self.method.contains('\0'))?;
        let (id, name) = target;
        let mut row = FeedRow::new(id, "a2a_receive", &self.method, format!("{} → {name} ({state})", self.method));
        row.source_id = source.map(str::to_owned);
        row.target_id = Some(id.to_owned());
        row.request_body = Some(body);
        row.attachments = self.attachments.clone();
        row.message_id = self.message_id.clone();
        row.text = self.text.clone();
        Some(row)
    }
}

/// Fills in what a message lacks: its id, its role, the `kind` of its parts, and parts for a `content`.
fn fill_in(message: &mut Json) -> Result<(), HttpAnswer> {
    if !matches!(message, Json::Object(_)) {
        return Ok(());
    }
    for (key, value) in [("messageId", None), ("role", Some("user"))] {
        if message.get(key).is_none() {
            message.set(key, Json::text(value.map_or_else(|| new_id().to_string(), str::to_owned)));
        }
    }
    if let Some(Json::Array(parts)) = message.get_mut("parts") {
        for part in parts {
            if part.get("kind").is_none() {
                if let Some(kind) = part.take("type") {
                    part.set("kind", kind);
                }
            }
        }
        return Ok(());
    }
    match message.take("content") {
        None => Err(HttpAnswer::json(
            400,
            &json!({
                "error": "params.message must contain either 'parts' (v0.3) or 'content' (v0.2 compat)",
                "hint": "v0.3 example: {\"parts\":[{\"kind\":\"text\",\"text\":\"...\"}]}",
            }),
        )),
        Some(Json::Text(ref text)) => {
            let part = Json::object([("kind", Json::text("text")), ("text", Json::text(text.as_str()))]);
            message.set("parts", Json::Array(vec![part]));
            Ok(())
        }
        Some(_) => Err(HttpAnswer::json(
            400,
            &json!({
                "error": "invalid params.message.content type",
                "hint": "content must be a string (v0.2 compat) or omitted in favour of parts (v0.3)",
            }),
        )),
    }
}

/// Writes who a human is, over what the sender says of that, and the conversation of the canvas.
fn stamp(body: &mut Json, caller: &Caller, target: &str) {
    let Some(params) = body.get_mut("params").filter(|params| matches!(params, Json::Object(_))) else { return };
    match caller {
        Caller::Agent(_) => return,
        Caller::Inbound => {}
        Caller::Canvas { is_known, .. } => {
            if !matches!(params.get("metadata"), Some(Json::Object(_))) {
                params.set("metadata", Json::Object(Vec::new()));
            }
            let Some(metadata) = params.get_mut("metadata") else { return };
            metadata.set("source", Json::text("canvas_user"));
            let status = if *is_known { "AUTHENTICATED" } else { "UNAUTHENTICATED" };
            metadata.set("user_identity_status", Json::text(status));
            if *is_known {
                metadata.set("user_id", Json::text(HUMAN_ID));
                metadata.set("email", Json::text(HUMAN_EMAIL));
                metadata.set("username", Json::text(HUMAN_EMAIL));
            }
        }
    }
    if let Some(message) = params.get_mut("message") {
        if message.get("contextId").is_none() {
            message.set("contextId", Json::text(format!("canvas-{target}")));
        }
    }
}
