//! Tasks and approvals that somebody is asked for, and the platform's rules.

use serde_json::{Value, json};

use super::answer::HttpAnswer;
use super::auth;
use super::entities::{AgentRequest, CONCIERGE, RequestNote};
use super::events;
use super::http::HttpRequest;
use super::registry::has_nul;
use super::row::quote;
use super::state::{MOST, State, push_bounded};
use super::time::Micros;
use crate::util::random::new_id;

fn bad_body() -> HttpAnswer {
    HttpAnswer::error(400, "invalid request body")
}

/// `POST /workspaces/:id/requests`
pub(super) fn ask(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let body = request.json_object().ok_or_else(bad_body)?;
    let field = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    if field("title").is_empty() || field("kind").is_empty() || field("recipient_type").is_empty() {
        return Err(bad_body());
    }
    if !matches!(field("kind").as_str(), "task" | "approval") {
        return Err(HttpAnswer::error(400, "request: kind must be 'task' or 'approval'"));
    }
    if !matches!(field("recipient_type").as_str(), "user" | "agent") {
        return Err(HttpAnswer::error(400, "request: recipient_type must be 'user' or 'agent'"));
    }
    if has_nul(&body) {
        return Err(HttpAnswer::error(500, "failed to create request"));
    }
    let now = Micros::now();
    let asked = AgentRequest {
        id: new_id().to_string(),
        kind: field("kind"),
        requester: id.to_owned(),
        recipient_type: field("recipient_type"),
        recipient: field("recipient_id"),
        title: field("title"),
        detail: body["detail"].as_str().map(str::to_owned),
        status: "pending".to_owned(),
        responder: None,
        priority: body["priority"].as_i64(),
        created_at: now,
        updated_at: now,
        responded_at: None,
        notes: Vec::new(),
    };
    tell(state, &asked, "REQUEST_CREATED");
    let answer = json!({ "request_id": asked.id, "status": "pending" });
    // The newest is listed first.
    state.requests.push_front(asked);
    state.requests.truncate(MOST);
    Ok(HttpAnswer::json(201, &answer))
}

/// Tells the streams of both sides.
fn tell(state: &mut State, asked: &AgentRequest, event: &str) {
    let data = json!({ "request_id": asked.id, "kind": asked.kind, "status": asked.status, "title": asked.title });
    let sides = [asked.requester.clone(), asked.recipient.clone()];
    for side in sides {
        events::emit(state, &side, event, &data.to_string());
    }
}

/// `GET /workspaces/:id/requests`, or `…/requests/inbox`, the newest first
pub(super) fn list_requests(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    inbox: bool,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let status = request.parameter("status");
    let matches = |asked: &&AgentRequest| {
        let is_own =
            if inbox { asked.recipient == id && asked.recipient_type == "agent" } else { asked.requester == id };
        is_own && status.is_none_or(|status| asked.status == status)
    };
    let items: Vec<String> = state.requests.iter().filter(matches).map(request_json).collect();
    Ok(HttpAnswer::raw_json(200, &format!("[{}]", items.join(","))))
}

fn participant<'a>(state: &'a mut State, id: &str, asked: &str) -> Result<&'a mut AgentRequest, HttpAnswer> {
    let found = state.requests.iter_mut().find(|known| known.id == asked);
    let found = found.ok_or_else(|| HttpAnswer::error(404, "request not found"))?;
    if found.requester != id && found.recipient != id {
        return Err(HttpAnswer::error(403, "not a participant"));
    }
    Ok(found)
}

/// `GET /workspaces/:id/requests/:request_id`
pub(super) fn request_details(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    asked: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let found = participant(state, id, asked)?;
    let notes: Vec<String> = found.notes.iter().map(|note| note_json(asked, note)).collect();
    let body = format!("{{\"messages\":[{}],\"request\":{}}}", notes.join(","), request_json(found));
    Ok(HttpAnswer::raw_json(200, &body))
}

/// `POST /workspaces/:id/requests/:request_id/messages`
pub(super) fn add_note(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    asked: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let body = request.json_object().ok_or_else(bad_body)?;
    let text = body["body"].as_str().filter(|text| !text.is_empty()).ok_or_else(bad_body)?.to_owned();
    let found = participant(state, id, asked)?;
    if has_nul(&body) || found.notes.len() >= MOST {
        return Err(HttpAnswer::error(500, "failed to add message"));
    }
    let now = Micros::now();
    let note = RequestNote {
        id: new_id().to_string(),
        author_type: body["author_type"].as_str().unwrap_or("agent").to_owned(),
        author: id.to_owned(),
        body: text,
        created_at: now,
    };
    let answer = json!({ "message_id": note.id, "request_id": asked, "status": "created" });
    found.notes.push(note);
    // A question of the recipient's waits for its answer.
    if found.recipient == id && found.status == "pending" {
        "info_requested".clone_into(&mut found.status);
        found.updated_at = now;
    }
    tell_of(state, asked, "REQUEST_MESSAGE");
    Ok(HttpAnswer::json(201, &answer))
}

fn tell_of(state: &mut State, asked: &str, event: &str) {
    let Some(at) = state.requests.iter().position(|known| known.id == asked) else { return };
    let Some(found) = state.requests.remove(at) else { return };
    tell(state, &found, event);
    state.requests.insert(at, found);
}

/// `POST /workspaces/:id/requests/:request_id/respond`, by the recipient
pub(super) fn respond(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    asked: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let found = state.requests.iter().find(|known| known.id == asked);
    if found.is_some_and(|found| found.recipient != id) {
        return Err(HttpAnswer::error(403, "not the recipient"));
    }
    let action = request.json().unwrap_or_default()["action"].as_str().unwrap_or_default().to_owned();
    settle(state, asked, &action, ("agent", id))
}

/// `POST /requests/:request_id/respond`, by a person
pub(super) fn respond_as_user(state: &mut State, request: &HttpRequest, asked: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_admin(state, request)?;
    let body = request.json_object().ok_or_else(bad_body)?;
    let field = |key: &str| body[key].as_str().unwrap_or_default();
    settle(state, asked, field("action"), ("user", field("responder_id")))
}

fn settle(state: &mut State, asked: &str, action: &str, responder: (&str, &str)) -> Result<HttpAnswer, HttpAnswer> {
    let gone = || HttpAnswer::error(404, "request not found or already resolved");
    let found = state.requests.iter_mut().find(|known| known.id == asked).ok_or_else(gone)?;
    let is_action =
        matches!((found.kind.as_str(), action), (_, "rejected") | ("task", "done") | ("approval", "approved"));
    if !is_action {
        return Err(HttpAnswer::error(400, "request: invalid action for this request kind"));
    }
    if !matches!(found.status.as_str(), "pending" | "info_requested") {
        return Err(gone());
    }
    let now = Micros::now();
    action.clone_into(&mut found.status);
    found.responder = Some((responder.0.to_owned(), responder.1.to_owned()));
    (found.updated_at, found.responded_at) = (now, Some(now));
    tell_of(state, asked, "REQUEST_RESPONDED");
    Ok(HttpAnswer::ok(&json!({ "request_id": asked, "status": action })))
}

/// `POST /workspaces/:id/requests/:request_id/cancel`, by the requester
pub(super) fn cancel_request(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    asked: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let found = state.requests.iter_mut().find(|known| known.id == asked);
    let found = found.ok_or_else(|| HttpAnswer::error(404, "request not found or already resolved"))?;
    if found.requester != id {
        return Err(HttpAnswer::error(403, "not the requester"));
    }
    if !matches!(found.status.as_str(), "pending" | "info_requested") {
        return Err(HttpAnswer::error(404, "request not found or already resolved"));
    }
    "cancelled".clone_into(&mut found.status);
    found.updated_at = Micros::now();
    Ok(HttpAnswer::ok(&json!({ "request_id": asked, "status": "cancelled" })))
}

/// `GET /workspaces/:id/instructions/resolve`
pub(super) fn resolve_instructions(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let rules: Vec<String> =
        state.instructions.iter().map(|(title, content)| format!("\n\n### {title}\n{content}")).collect();
    let text = if rules.is_empty() { String::new() } else { format!("\n## Platform-Wide Rules{}", rules.concat()) };
    Ok(HttpAnswer::ok(&json!({ "instructions": text })))
}

/// `POST /instructions`
pub(super) fn add_instruction(state: &mut State, request: &HttpRequest) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_admin(state, request)?;
    let body: Value = request.json_object().ok_or_else(bad_body)?;
    let field = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    push_bounded(&mut state.instructions, (field("title"), field("content")));
    Ok(HttpAnswer::json(201, &json!({ "id": new_id().to_string() })))
}

/// Returns a request's JSON, in the order of the server's structure.
fn request_json(asked: &AgentRequest) -> String {
    let text = |text: Option<&str>| text.map_or("null".to_owned(), quote);
    let (responder_type, responder) = asked.responder.as_ref().map(|(kind, id)| (kind.as_str(), id.as_str())).unzip();
    format!(
        "{{\"id\":\"{}\",\"kind\":{},\"requester_type\":\"agent\",\"requester_id\":\"{}\",\"org_id\":\"{CONCIERGE}\",\
         \"recipient_type\":{},\"recipient_id\":{},\"title\":{},\"detail\":{},\"status\":{},\"responder_type\":{},\
         \"responder_id\":{},\"priority\":{},\"created_at\":\"{}\",\"updated_at\":\"{}\",\"responded_at\":{}}}",
        asked.id,
        quote(&asked.kind),
        asked.requester,
        quote(&asked.recipient_type),
        quote(&asked.recipient),
        quote(&asked.title),
        text(asked.detail.as_deref()),
        quote(&asked.status),
        text(responder_type),
        text(responder),
        asked.priority.map_or("null".to_owned(), |priority| priority.to_string()),
        asked.created_at.rfc3339(),
        asked.updated_at.rfc3339(),
        text(asked.responded_at.map(Micros::rfc3339).as_deref()),
    )
}

fn note_json(asked: &str, note: &RequestNote) -> String {
    format!(
        "{{\"id\":\"{}\",\"request_id\":\"{asked}\",\"author_type\":{},\"author_id\":\"{}\",\"body\":{},\"created_at\":\"{}\"}}",
        note.id,
        quote(&note.author_type),
        note.author,
        quote(&note.body),
        note.created_at.rfc3339(),
    )
}
