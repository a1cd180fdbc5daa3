//! Calls whose other end is people: notices, broadcasts, the chat's history.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::HttpAnswer;
use super::auth;
use super::delivery::SentMessage;
use super::events;
use super::feed;
use super::http::HttpRequest;
use super::json::{FieldOrder, Json};
use super::registry::has_nul;
use super::row::{Announce, FeedRow, quote};
use super::state::State;
use crate::util::text::floor_char_boundary;

/// Characters of a broadcast in a row's summary.
const SHOWN: usize = 120;

/// `POST /workspaces/:id/notify`
pub(super) fn notify_user(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let body = request.json_object().unwrap_or_default();
    let message = body["message"].as_str().filter(|text| !text.is_empty());
    let message = message.ok_or_else(|| HttpAnswer::error(400, "message is required"))?;
    let attachments = body["attachments"].as_array().cloned().unwrap_or_default();
    for (at, attachment) in attachments.iter().enumerate() {
        let has = |key: &str| attachment[key].as_str().is_some_and(|text| !text.is_empty());
        if !has("uri") || !has("name") {
            return Err(HttpAnswer::error(400, &format!("attachment[{at}]: uri and name are required")));
        }
    }
    let Some(workspace) = state.workspace(id) else { return Err(HttpAnswer::error(404, "workspace not found")) };
    if !workspace.abilities.talk_to_user {
        let hint = "This workspace may not message its user. Ask a user or admin to enable it via PATCH \
                    /workspaces/:id/abilities.";
        return Err(HttpAnswer::json(403, &json!({ "error": "talk_to_user_disabled", "hint": hint })));
    }
    let name = workspace.name.clone();
    let sent = HttpAnswer::ok(&json!({ "status": "sent" }));
    if has_nul(&body) {
        // Postgres refuses it, and nobody is told.
        return Ok(sent);
    }
    let mut row = FeedRow::new(id, "a2a_receive", "notify", format!("Agent message: {}", shown(message)));
    row.response_body = notice_body(message, &attachments).map(Arc::from);
    feed::insert(state, row, Announce::Never);
    let mut event = json!({ "message": message, "name": name, "workspace_id": id });
    if !attachments.is_empty() {
        event["attachments"] = Value::Array(attachments);
    }
    events::emit(state, id, "AGENT_MESSAGE", &event.to_string());
    let message = message.to_owned();
    let record = SentMessage { from: Some(id.to_owned()), to: None, text: message, ..SentMessage::default() };
    state.record_sent(record);
    Ok(sent)
}

/// `POST /workspaces/:id/broadcast`
pub(super) fn broadcast(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let Some(workspace) = state.workspace(id) else { return Err(HttpAnswer::error(404, "workspace not found")) };
    if !workspace.abilities.broadcast {
        let hint = "This workspace does not have the broadcast ability. Ask a user or admin to enable it via PATCH \
                    /workspaces/:id/abilities.";
        return Err(HttpAnswer::json(403, &json!({ "error": "broadcast_disabled", "hint": hint })));
    }
    let name = workspace.name.clone();
    let body = request.json_object().unwrap_or_default();
    let message = body["message"].as_str().filter(|text| !text.is_empty());
    let message = message.ok_or_else(|| HttpAnswer::error(400, "message is required"))?;
    let others = state.workspaces.values().filter(|other| other.id != id && !other.is_removed());
    let others: Vec<String> = others.map(|other| other.id.clone()).collect();
    let event = json!({ "message": message, "sender": name, "sender_id": id }).to_string();
    for other in &others {
        let mut row =
            FeedRow::new(other, "broadcast_receive", "broadcast", format!("Broadcast from {name}: {}", shown(message)));
        row.source_id = Some(id.to_owned());
        if !has_nul(&body) {
            feed::insert(state, row, Announce::Never);
        }
        events::emit(state, other, "BROADCAST_MESSAGE", &event);
    }
    Ok(HttpAnswer::ok(&json!({ "delivered": others.len(), "status": "sent" })))
}

/// `GET /workspaces/:id/chat-history`: what the canvas said and was told, the oldest first.
pub(super) fn chat_history(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let rows = state.workspace(id).into_iter().flat_map(|workspace| workspace.rows.iter());
    let rows = rows.filter(|row| row.source_id.is_none() && row.activity_type == "a2a_receive");
    let message = |row: &Arc<FeedRow>| {
        let (role, content) = match row.method.as_deref()? {
            "message/send" => ("user", row.text.clone()),
            "notify" => ("agent", notice_text(row)?),
            _ => return None,
        };
        // In the order of the server's structure.
        Some(format!(
            "{{\"id\":\"{}:{role}\",\"role\":\"{role}\",\"content\":{},\"timestamp\":\"{}\"}}",
            row.id,
            quote(&content),
            row.created_at.rfc3339()
        ))
    };
    let messages: Vec<String> = rows.filter_map(message).collect();
    Ok(HttpAnswer::raw_json(200, &format!("{{\"messages\":[{}],\"reached_end\":true}}", messages.join(","))))
}

/// Returns a text's first 120 characters, with an ellipsis if there are more.
fn shown(text: &str) -> String {
    let cut = text.char_indices().nth(SHOWN).map(|(at, _)| at);
    cut.map_or_else(|| text.to_owned(), |at| format!("{}…", &text[..floor_char_boundary(text, at)]))
}

/// Returns the body of a notice's row, in the order of Postgres.
fn notice_body(message: &str, attachments: &[Value]) -> Option<String> {
    let part = |attachment: &Value| {
        let mut file = Json::Object(Vec::new());
        for key in ["uri", "name", "mimeType"] {
            if let Some(text) = attachment[key].as_str().filter(|text| !text.is_empty()) {
                file.set(key, Json::text(text));
            }
        }
        if let Some(size) = attachment["size"].as_f64().filter(|size| *size > 0.0) {
            file.set("size", Json::Number(size));
        }
        Json::object([("file", file), ("kind", Json::text("file"))])
    };
    let mut body = Json::object([("result", Json::text(message))]);
    if !attachments.is_empty() {
        body.set("parts", Json::Array(attachments.iter().map(part).collect()));
    }
    body.write(FieldOrder::Postgres)
}

fn notice_text(row: &FeedRow) -> Option<String> {
    let body: Value = serde_json::from_str(row.response_body.as_deref()?).ok()?;
    body["result"].as_str().map(str::to_owned)
}
