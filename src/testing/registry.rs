//! The calls below `/registry`.

use std::net::IpAddr;

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::HttpAnswer;
use super::auth;
use super::entities::{DeliveryMode, WorkspaceEntry, new_secret};
use super::events;
use super::http::HttpRequest;
use super::row::quote;
use super::state::{MOST, State};
use super::time::Micros;

fn bad_body() -> HttpAnswer {
    HttpAnswer::error(400, "invalid request body")
}

/// True if a value has U+0000 in a text or a key.
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// `POST /registry/register`
pub(super) fn register(state: &mut State, request: &HttpRequest) -> Result<HttpAnswer, HttpAnswer> {
    let body = request.json_object().ok_or_else(bad_body)?;
    let id = body["id"].as_str().filter(|id| !id.is_empty()).ok_or_else(bad_body)?;
    let card = body.get("agent_card").ok_or_else(bad_body)?;
    let mode = match body["delivery_mode"].as_str() {
        None | Some("") => None,
        Some("push") => Some(DeliveryMode::Push),
        Some("poll") => Some(DeliveryMode::Poll),
        Some(_) => return Err(HttpAnswer::error(400, "delivery_mode must be 'push' or 'poll'")),
    };
    if body["kind"] == "platform" {
        let why = "kind='platform' may only be assigned by the platform-agent install path";
        return Err(HttpAnswer::error(403, why));
    }
    auth::check_registry(state, request, id)?;
    let failed = || HttpAnswer::error(500, "registration failed");
    if Uuid::try_parse(id).is_err() || has_nul(&body) {
        return Err(failed());
    }
    let url = body["url"].as_str().unwrap_or("");
    let known = state.workspace(id).map(|workspace| workspace.mode);
    let mode = mode.or(known).unwrap_or(DeliveryMode::Push);
    if mode == DeliveryMode::Push {
        check_agent_url(state, url)?;
    }
    if known.is_none() {
        if state.workspaces.len() >= MOST {
            return Err(failed());
        }
        // Whoever registers an id that never was gets a workspace of that name.
        let mut workspace = WorkspaceEntry::new(id, id, mode);
        workspace.parent = None;
        "hermes".clone_into(&mut workspace.runtime);
        workspace.tier = 1;
        state.workspaces.insert(id.to_owned(), workspace);
    }
    let token = (!state.has_token(id)).then(|| state.mint_token(id));
    let Some(workspace) = state.workspace_mut(id) else { return Err(failed()) };
    workspace.mode = mode;
    workspace.card = card_of(card, workspace);
    url.clone_into(&mut workspace.url);
    if !url.is_empty() {
        workspace.cached_url = Some(url.to_owned());
    }
    workspace.last_heartbeat = Some(Micros::now());
    if !matches!(workspace.status.as_str(), "removed" | "paused" | "hibernated") {
        "online".clone_into(&mut workspace.status);
    }
    let name = if mode == DeliveryMode::Poll { "poll" } else { "push" };
    let mut answer = json!({
        "status": "registered",
        "delivery_mode": name,
        "platform_inbound_secret": workspace.inbound_secret,
    });
    if let Some(token) = token {
        answer["auth_token"] = token.into();
    }
    let event = json!({ "agent_card": workspace.card, "delivery_mode": name, "url": workspace.url });
    events::emit(state, id, "WORKSPACE_ONLINE", &event.to_string());
    Ok(HttpAnswer::ok(&answer))
}

/// Refuses an agent's URL that the relay could not reach.
fn check_agent_url(state: &State, url: &str) -> Result<(), HttpAnswer> {
    let Ok(uri) = url.parse::<http::Uri>() else { return Err(HttpAnswer::error(400, "invalid url")) };
    let Some(host) = uri.host() else { return Err(HttpAnswer::error(400, "url is required for push delivery")) };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    if state.setup.public_agents_only && (host == "localhost" || address.as_ref().is_ok_and(IpAddr::is_loopback)) {
        return Err(HttpAnswer::error(400, "url targets a blocked address: loopback address"));
    }
    // It asks no resolver: a name that it cannot look up is one that the relay could not reach.
    if state.setup.public_agents_only && address.is_err() {
        return Err(HttpAnswer::error(400, &format!("hostname {} cannot be resolved (DNS error)", quote(host))));
    }
    Ok(())
}

/// `POST /registry/heartbeat`
pub(super) fn heartbeat(state: &mut State, request: &HttpRequest) -> Result<HttpAnswer, HttpAnswer> {
    let body = request.json_object().ok_or_else(bad_body)?;
    let id = body["workspace_id"].as_str().filter(|id| !id.is_empty()).ok_or_else(bad_body)?;
    auth::check_registry(state, request, id)?;
    if Uuid::try_parse(id).is_err() || has_nul(&body) {
        return Err(HttpAnswer::error(500, "failed to update"));
    }
    let answer =
        |secret: &str| HttpAnswer::ok(&json!({ "status": "ok", "generation": 0, "platform_inbound_secret": secret }));
    let Some(workspace) = state.workspace_mut(id) else { return Ok(answer(&new_secret())) };
    workspace.last_heartbeat = Some(Micros::now());
    if matches!(workspace.status.as_str(), "awaiting_agent" | "failed" | "offline" | "provisioning") {
        "online".clone_into(&mut workspace.status);
    }
    let tasks = body["active_tasks"].as_u64().unwrap_or(0);
    let task = body["current_task"].as_str().unwrap_or("");
    let is_changed = (workspace.active_tasks, workspace.current_task.as_str()) != (tasks, task);
    workspace.active_tasks = tasks;
    task.clone_into(&mut workspace.current_task);
    workspace.uptime_seconds = body["uptime_seconds"].as_u64().unwrap_or(0);
    workspace.error_rate = body["error_rate"].as_f64().unwrap_or(0.0);
    let (secret, uptime) = (workspace.inbound_secret.clone(), workspace.uptime_seconds);
    if is_changed {
        let event = json!({ "active_tasks": tasks, "current_task": task });
        events::emit(state, id, "TASK_UPDATED", &event.to_string());
    }
    let event = json!({ "active_tasks": tasks, "uptime_seconds": uptime });
    events::emit(state, id, "WORKSPACE_HEARTBEAT", &event.to_string());
    Ok(answer(&secret))
}

/// `POST /registry/update-card`
pub(super) fn update_card(state: &mut State, request: &HttpRequest) -> Result<HttpAnswer, HttpAnswer> {
    let body = request.json_object().ok_or_else(bad_body)?;
    let id = body["workspace_id"].as_str().filter(|id| !id.is_empty()).ok_or_else(bad_body)?;
    let card = body.get("agent_card").ok_or_else(bad_body)?;
    auth::check_registry(state, request, id)?;
    if Uuid::try_parse(id).is_err() || has_nul(&body) {
        return Err(HttpAnswer::error(500, "failed to update card"));
    }
    if let Some(workspace) = state.workspace_mut(id) {
        workspace.card = card.clone();
    }
    events::emit(state, id, "AGENT_CARD_UPDATED", &json!({ "agent_card": card }).to_string());
    Ok(HttpAnswer::ok(&json!({ "status": "updated" })))
}

/// `GET /registry/discover/:id`
pub(super) fn discover(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    let caller = request.header("x-workspace-id");
    if caller.is_empty() {
        return Err(HttpAnswer::error(400, "X-Workspace-ID header is required"));
    }
    auth::check_registry(state, request, caller)?;
    let found = state.workspace(id).filter(|_| auth::may_talk(state, caller, id));
    let Some(found) = found else {
        return Err(HttpAnswer::error(403, "not authorized to discover this workspace"));
    };
    let url = match &found.cached_url {
        Some(url) if !found.is_removed() => url.clone(),
        _ if matches!(found.status.as_str(), "online" | "degraded") => format!("http://ws-{id}:8000"),
        _ => {
            let body = json!({ "error": "workspace not available", "status": found.status });
            return Err(HttpAnswer::json(503, &body));
        }
    };
    Ok(HttpAnswer::ok(&json!({ "id": id, "name": found.name, "url": url })))
}

/// `GET /registry/:id/peers`
pub(super) fn peers(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    if Uuid::try_parse(id).is_err() {
        return Err(platform_unavailable());
    }
    auth::check_registry(state, request, id)?;
    let Some(own) = state.workspace(id) else { return Err(HttpAnswer::error(404, "workspace not found")) };
    let wanted = request.parameter("q").unwrap_or("").to_lowercase();
    let is_peer = |other: &&WorkspaceEntry| {
        other.id != own.id
            && !other.is_removed()
            && auth::may_talk(state, &own.id, &other.id)
            && other.name.to_lowercase().contains(&wanted)
    };
    let peers: Vec<Value> = state.workspaces.values().filter(is_peer).map(peer_json).collect();
    Ok(HttpAnswer::ok(&Value::Array(peers)))
}

/// `POST /registry/check-access`
pub(super) fn check_access(state: &State, request: &HttpRequest) -> Result<HttpAnswer, HttpAnswer> {
    let body = request.json_object().ok_or_else(bad_body)?;
    let id = |key: &str| body[key].as_str().unwrap_or("");
    Ok(HttpAnswer::ok(&json!({ "allowed": auth::may_talk(state, id("caller_id"), id("target_id")) })))
}

/// The answer while the registry's database is away.
pub(super) fn platform_unavailable() -> HttpAnswer {
    let body = json!({ "code": "platform_unavailable", "error": "platform datastore unavailable — retry shortly" });
    HttpAnswer::json(503, &body)
}

fn peer_json(peer: &WorkspaceEntry) -> Value {
    json!({
        "active_tasks": peer.active_tasks,
        "agent_card": peer.card,
        "id": peer.id,
        "name": peer.name,
        "parent_id": peer.parent,
        "role": peer.role,
        "status": peer.status,
        "tier": peer.tier,
        "url": peer.url,
    })
}

/// Returns the card as it is kept: without a name it gets the workspace's, without a description its name. A workspace
/// that has no name yet changes no card.
fn card_of(card: &Value, workspace: &WorkspaceEntry) -> Value {
    let mut card = card.clone();
    let Some(fields) = card.as_object_mut().filter(|_| workspace.name != workspace.id) else { return card };
    let is_blank = |value: Option<&Value>| value.is_none_or(|value| value.as_str() == Some("") || value.is_null());
    if is_blank(fields.get("name")) {
        fields.insert("name".to_owned(), workspace.name.as_str().into());
    }
    if is_blank(fields.get("description")) {
        let name = fields.get("name").cloned().unwrap_or_default();
        fields.insert("description".to_owned(), name);
    }
    card
}
