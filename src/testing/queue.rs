//! Queued sends: what the server tells of them, and how they are dispatched.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::agent::{AgentAnswer, ask_agent};
use super::answer::HttpAnswer;
use super::auth::{self, Caller};
use super::entities::{DeliveryMode, QueueItem};
use super::http::HttpRequest;
use super::json::parse_json;
use super::row::quote;
use super::state::{Shared, State};
use super::time::Micros;

/// `GET /workspaces/:id/a2a/queue/:queue_id`
pub(super) fn queued_send(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    host: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    let caller = auth::caller(state, request, host)?;
    if Uuid::try_parse(id).is_err() {
        return Err(HttpAnswer::error(500, "lookup failed"));
    }
    let item = state.queue.iter().find(|item| item.id.eq_ignore_ascii_case(id));
    let item =
        item.ok_or_else(|| HttpAnswer::json(404, &json!({ "error": "queue item not found", "retryable": true })))?;
    let is_allowed = match &caller {
        Caller::Agent(own) => *own == item.workspace || item.caller.as_ref() == Some(own),
        Caller::Canvas { .. } | Caller::Inbound => true,
    };
    if !is_allowed {
        return Err(HttpAnswer::error(403, "access denied"));
    }
    Ok(HttpAnswer::raw_json(200, &item_json(item)))
}

/// Takes the next send that can be dispatched, for each workspace. Returns their places with the agent's URL, if it
/// has one.
fn take_dispatchable(state: &mut State, only: Option<&str>) -> Vec<(String, Option<String>)> {
    let now = Micros::now();
    let mut found = Vec::<(String, String, Option<String>)>::new();
    for item in &state.queue {
        let is_due = item.status == "queued"
            && item.expires_at.is_none_or(|expiry| expiry > now)
            && only.is_none_or(|only| item.workspace == only)
            && !found.iter().any(|(_, workspace, _)| *workspace == item.workspace);
        let Some(workspace) = state.workspaces.get(&item.workspace).filter(|_| is_due) else { continue };
        let url = match workspace.mode {
            DeliveryMode::Poll if workspace.last_heartbeat.is_some() => None,
            DeliveryMode::Push if !workspace.url.is_empty() => Some(workspace.url.clone()),
            _ => continue,
        };
        found.push((item.id.clone(), item.workspace.clone(), url));
    }
    for (id, ..) in &found {
        if let Some(item) = state.queue.iter_mut().find(|item| item.id == *id) {
            item.status = "dispatched";
            item.attempts += 1;
            item.dispatched_at = Some(now);
        }
    }
    found.into_iter().map(|(id, _, url)| (id, url)).collect()
}

fn complete_item(state: &mut State, id: &str, response: Result<Option<String>, &str>) {
    let Some(item) = state.queue.iter_mut().find(|item| item.id == id) else { return };
    match response {
        Ok(response) => {
            item.status = "completed";
            item.completed_at = Some(Micros::now());
            item.response = response;
        }
        Err(why) => {
            item.status = "queued";
            item.last_error = Some(why.to_owned());
        }
    }
}

/// Dispatches one queued send for each workspace, or for one.
pub(super) fn dispatch_queued(shared: &Shared, only: Option<&str>) {
    let due = take_dispatchable(&mut shared.lock(), only);
    for (id, url) in due {
        let item =
            shared.lock().queue.iter().find(|item| item.id == id).map(|item| (item.body.clone(), item.method.clone()));
        let Some((body, method)) = item else { continue };
        let body: Arc<str> = body;
        let Some(url) = url else {
            // A poller has the row already.
            let method = quote(&method);
            let response = format!("{{\"method\":{method},\"status\":\"queued\",\"delivery_mode\":\"poll\"}}");
            complete_item(&mut shared.lock(), &id, Ok(Some(response)));
            continue;
        };
        let answer = ask_agent(shared, &url, &body);
        let response = match &answer {
            AgentAnswer::Answered { body, .. } => Ok(parse_json(body).map(|body| body.write_for_go())),
            AgentAnswer::ClosedWithin { .. } => Ok(None),
            AgentAnswer::ClosedBefore => Err("connection closed"),
            AgentAnswer::Unreachable(_) => Err("failed to reach workspace agent"),
        };
        complete_item(&mut shared.lock(), &id, response);
    }
    shared.notify();
}

/// Returns an item's JSON, in the order of the server's structure.
fn item_json(item: &QueueItem) -> String {
    let field = |key: &str, value: Value| format!("\"{key}\":{value}");
    let mut fields = vec![
        field("queue_id", item.id.as_str().into()),
        field("workspace_id", item.workspace.as_str().into()),
        field("status", item.status.into()),
        field("priority", 50.into()),
        field("attempts", item.attempts.into()),
    ];
    fields.extend(item.last_error.as_deref().map(|error| field("last_error", error.into())));
    fields.push(field("enqueued_at", item.enqueued_at.postgres().into()));
    let times =
        [("dispatched_at", item.dispatched_at), ("completed_at", item.completed_at), ("expires_at", item.expires_at)];
    fields.extend(times.into_iter().filter_map(|(key, time)| Some(field(key, time?.postgres().into()))));
    fields.extend(item.response.as_ref().map(|response| format!("\"response_body\":{response}")));
    format!("{{{}}}", fields.join(","))
}
