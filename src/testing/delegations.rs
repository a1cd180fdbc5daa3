//! Tasks that one workspace gives to another.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::HttpAnswer;
use super::auth::{self, Caller};
use super::entities::Delegation;
use super::events;
use super::feed;
use super::http::HttpRequest;
use super::message::RelayedMessage;
use super::registry::has_nul;
use super::relay::relay_message;
use super::row::{Announce, FeedRow};
use super::state::{Shared, State, push_bounded};
use crate::util::random::new_id;

/// `POST /workspaces/:id/delegate`
pub(super) fn delegate(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let bad = || HttpAnswer::error(400, "invalid delegation request");
    let body = request.json_object().filter(|body| !has_nul(body)).ok_or_else(bad)?;
    let field = |key: &str| body[key].as_str().filter(|text| !text.is_empty());
    let (target, task) = (field("target_id").ok_or_else(bad)?, field("task").ok_or_else(bad)?);
    if target == id {
        return Err(HttpAnswer::json(
            400,
            &json!({
                "error": "self-delegation not permitted",
                "hint": "do the work yourself, or pick a different peer via list_peers — retrying with the same \
                         target_id will fail every time",
                "reason": "the source workspace and target workspace are the same; you cannot delegate a task to \
                           yourself",
            }),
        ));
    }
    let key = field("idempotency_key").map(str::to_owned);
    let is_same = |other: &&Delegation| other.caller == id && key.is_some() && other.key == key;
    if let Some(known) = state.delegations.iter().find(is_same) {
        let body = json!({
            "delegation_id": known.id,
            "idempotent_hit": true,
            "status": known.status,
            "target_id": known.target,
        });
        return Ok(HttpAnswer::ok(&body));
    }
    let delegation_id = new_id().to_string();
    let mut row = FeedRow::new(id, "delegation", "delegate", format!("Delegating to {target}"));
    row.source_id = Some(id.to_owned());
    row.target_id = Some(target.to_owned());
    "dispatched".clone_into(&mut row.status);
    row.request_body = Some(jsonb(&[("task", task), ("delegation_id", &delegation_id)]).into());
    row.response_body = Some(jsonb(&[("delegation_id", &delegation_id)]).into());
    let row = feed::insert(state, row, Announce::Never);
    let delegation = Delegation {
        id: delegation_id.clone(),
        caller: id.to_owned(),
        target: target.to_owned(),
        task: task.to_owned(),
        key,
        status: "dispatched",
        is_dispatched: false,
        row,
    };
    push_bounded(&mut state.delegations, delegation);
    let event = json!({ "delegation_id": delegation_id, "status": "dispatched", "target_id": target });
    events::emit(state, id, "DELEGATION_STATUS", &event.to_string());
    let event = json!({ "delegation_id": delegation_id, "target_id": target, "task_preview": task });
    events::emit(state, id, "DELEGATION_SENT", &event.to_string());
    let body = json!({ "delegation_id": delegation_id, "status": "delegated", "target_id": target });
    Ok(HttpAnswer::json(202, &body))
}

/// `GET /workspaces/:id/delegations`: the rows that tell of those that the workspace gave, the newest first.
pub(super) fn list_delegations(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let rows = state.workspace(id).into_iter().flat_map(|workspace| workspace.rows.iter().rev());
    let own = rows.filter(|row| {
        let method = row.method.as_deref().unwrap_or_default();
        row.source_id.as_deref() == Some(id) && matches!(method, "delegate" | "delegate_result")
    });
    let item = |row: &Arc<FeedRow>| {
        let body: Value = serde_json::from_str(row.response_body.as_deref().unwrap_or("null")).unwrap_or_default();
        let preview = body["text"].as_str().map(str::to_owned).or_else(|| {
            row.response_body.as_deref().map(|body| body.replace("\":\"", "\": \"").replace("\",\"", "\", \""))
        });
        let mut item = json!({
            "created_at": row.created_at.rfc3339(),
            "delegation_id": body["delegation_id"],
            "direction": "sent",
            "id": row.id,
            "response_preview": preview,
            "source_id": row.source_id,
            "status": row.status,
            "summary": row.summary,
            "target_id": row.target_id,
            "type": row.activity_type,
        });
        if let Some(error) = &row.error_detail {
            item["error"] = error.as_str().into();
        }
        item
    };
    Ok(HttpAnswer::ok(&Value::Array(own.take(100).map(item).collect())))
}

/// `POST /workspaces/:id/delegations/:delegation_id/update`. Only the caller's reaches anybody.
pub(super) fn update_delegation(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    delegation: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let body = request.json_object().filter(|body| !has_nul(body));
    let body = body.ok_or_else(|| HttpAnswer::error(400, "invalid request body"))?;
    let status = match body["status"].as_str() {
        Some("completed") => "completed",
        Some("failed") => "failed",
        _ => return Err(HttpAnswer::error(400, "status must be one of: completed, failed")),
    };
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let outcome = if status == "completed" {
        DelegationOutcome::Completed(text("response_preview").to_owned())
    } else {
        DelegationOutcome::Failed { error: text("error").to_owned(), is_update: true }
    };
    if state.delegations.iter().any(|known| known.id == delegation && known.caller == id) {
        end_delegation(state, delegation, &outcome, true);
    }
    Ok(HttpAnswer::ok(&json!({ "delegation_id": delegation, "status": status })))
}

/// Writes the rows that tell how a delegation went. An update's rows name no target.
fn end_delegation(state: &mut State, id: &str, outcome: &DelegationOutcome, is_update: bool) {
    let Some(known) = state.delegations.iter_mut().find(|known| known.id == id) else { return };
    known.status = outcome.status();
    let (caller, target, row) = (known.caller.clone(), known.target.clone(), known.row.clone());
    feed::update_row(state, &caller, &row, |row| {
        outcome.status().clone_into(&mut row.status);
        row.error_detail = outcome.error().map(str::to_owned).or(row.error_detail.take());
    });
    let new_row = |kind: &str, status: &str, summary: String, response: String| {
        let mut row = FeedRow::new(&caller, kind, "delegate_result", summary);
        row.source_id = Some(caller.clone());
        row.target_id = (!is_update).then(|| target.clone());
        status.clone_into(&mut row.status);
        row.error_detail = outcome.error().map(str::to_owned);
        row.response_body = Some(response.into());
        row
    };
    let ids: [(&str, &str); 1] = [("delegation_id", id)];
    let rows = match outcome {
        DelegationOutcome::Queued => {
            let response = format!("{{\"queued\":true,\"delegation_id\":\"{id}\"}}");
            let summary = "Delegation queued — target at capacity".to_owned();
            vec![new_row("delegation", "queued", summary, response)]
        }
        DelegationOutcome::Completed(text) => {
            let response = jsonb(&[("text", text), ("delegation_id", id)]);
            let mut result = new_row("a2a_receive", "ok", "Delegation result delivered".to_owned(), response.clone());
            result.request_body = Some(jsonb(&ids).into());
            vec![new_row("delegation", "completed", format!("Delegation completed ({text})"), response), result]
        }
        DelegationOutcome::Failed { error, is_update } => {
            let (summary, response) = if *is_update {
                (format!("Delegation failed ({error})"), jsonb(&[("error", error), ("delegation_id", id)]))
            } else {
                ("Delegation failed".to_owned(), jsonb(&ids))
            };
            let empty = jsonb(&[("text", ""), ("delegation_id", id)]);
            let mut result = new_row("a2a_receive", "error", "Delegation failed".to_owned(), empty);
            result.request_body = Some(jsonb(&ids).into());
            vec![new_row("delegation", "failed", summary, response), result]
        }
    };
    for row in rows {
        feed::insert(state, row, Announce::Never);
    }
    if let DelegationOutcome::Completed(text) = outcome {
        let event = json!({ "delegation_id": id, "response_preview": text, "target_id": target });
        events::emit(state, &caller, "DELEGATION_COMPLETE", &event.to_string());
    }
}

/// Outcome of a delegation.
enum DelegationOutcome {
    Queued,
    Completed(String),
    Failed { error: String, is_update: bool },
}

impl DelegationOutcome {
    fn status(&self) -> &'static str {
        match self {
            DelegationOutcome::Queued => "queued",
            DelegationOutcome::Completed(_) => "completed",
            DelegationOutcome::Failed { .. } => "failed",
        }
    }

    fn error(&self) -> Option<&str> {
        if let DelegationOutcome::Failed { error, .. } = self { Some(error) } else { None }
    }
}

/// Asks the target of each delegation that was not dispatched yet.
pub(super) fn dispatch_delegations(shared: &Shared) {
    loop {
        let next = {
            let mut state = shared.lock();
            let next = state.delegations.iter_mut().find(|known| !known.is_dispatched);
            next.map(|known| {
                known.is_dispatched = true;
                (known.id.clone(), known.caller.clone(), known.target.clone(), known.task.clone())
            })
        };
        let Some((id, caller, target, task)) = next else { return };
        let outcome = ask_target(shared, &id, &caller, &target, &task);
        end_delegation(&mut shared.lock(), &id, &outcome, false);
        shared.notify();
    }
}

fn ask_target(shared: &Shared, id: &str, caller: &str, target: &str, task: &str) -> DelegationOutcome {
    let failed = |error: &str| DelegationOutcome::Failed { error: error.to_owned(), is_update: false };
    if !auth::may_talk(&shared.lock(), caller, target) {
        return failed("access denied: workspaces cannot communicate per hierarchy rules");
    }
    let parts = json!([{ "kind": "text", "text": task }]);
    let body = json!({
        "jsonrpc": "2.0",
        "id": new_id().to_string(),
        "method": "message/send",
        "params": { "message": { "role": "user", "messageId": id, "parts": parts } },
    });
    let source = Caller::Agent(caller.to_owned());
    let message = RelayedMessage::read(body.to_string().as_bytes(), &source, target);
    let answer = message.and_then(|message| relay_message(shared, &message, &source, target, true));
    let (Ok(answer) | Err(answer)) = answer;
    let text = answer.body_text();
    match answer.status {
        202 => DelegationOutcome::Queued,
        200..300 => DelegationOutcome::Completed(reply_text(&text).unwrap_or(text)),
        _ => {
            let error: Value = serde_json::from_str(&text).unwrap_or_default();
            failed(error["error"].as_str().unwrap_or("delegation failed"))
        }
    }
}

/// Returns the text of an agent's message, if the answer is one.
fn reply_text(answer: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let parts = answer["result"]["parts"].as_array()?;
    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Returns an object of texts, in the order given.
fn jsonb(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{}", Value::from(*value))).collect();
    format!("{{{}}}", fields.join(","))
}
