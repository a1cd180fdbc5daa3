//! The calls that make, change and end a workspace.

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::HttpAnswer;
use super::auth;
use super::entities::{CONCIERGE, DeliveryMode, WorkspaceEntry, new_secret};
use super::events;
use super::http::HttpRequest;
use super::state::{MOST, State, push_bounded};
use crate::util::random::new_id;

fn not_found() -> HttpAnswer {
    HttpAnswer::error(404, "workspace not found")
}

/// Refuses an id that is no UUID.
pub(super) fn check_id(id: &str) -> Result<(), HttpAnswer> {
    if Uuid::try_parse(id).is_ok() { Ok(()) } else { Err(HttpAnswer::error(400, "invalid workspace ID")) }
}

/// `POST /workspaces`
pub(super) fn create_workspace(state: &mut State, request: &HttpRequest, host: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_admin(state, request)?;
    let bad = || HttpAnswer::error(400, "invalid request body");
    let body = request.json_object().ok_or_else(bad)?;
    let name = body["name"].as_str().filter(|name| !name.is_empty()).ok_or_else(bad)?;
    if state.workspaces.len() >= MOST {
        return Err(HttpAnswer::error(500, "failed to create workspace"));
    }
    let mode = if body["delivery_mode"] == "poll" { DeliveryMode::Poll } else { DeliveryMode::Push };
    let id = add_workspace(state, name, mode);
    let token = state.mint_token(&id);
    let name = state.workspace(&id).map(|workspace| workspace.name.clone());
    let connection = connection(host, &id, &token);
    let answer = json!({ "id": id, "name": name, "status": "awaiting_agent", "connection": connection });
    Ok(HttpAnswer::json(201, &answer))
}

/// Adds a workspace that nobody registered yet. Returns its id.
pub(super) fn add_workspace(state: &mut State, name: &str, mode: DeliveryMode) -> String {
    let (id, name) = (new_id().to_string(), state.free_name(name));
    state.workspaces.insert(id.clone(), WorkspaceEntry::new(&id, &name, mode));
    id
}

/// `GET /workspaces/:id`
pub(super) fn workspace_details(state: &State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    check_id(id)?;
    let workspace = state.workspace(id).ok_or_else(not_found)?;
    if workspace.is_removed() && request.parameter("include_removed") != Some("true") {
        let hint = "Create a replacement workspace in Canvas, then open Settings → Workspace Tokens → + New Token";
        let body = json!({
            "error": "workspace removed",
            "hint": hint,
            "id": workspace.id,
            "removed_at": workspace.removed_at.map(|time| time.rfc3339()),
        });
        return Err(HttpAnswer::json(410, &body));
    }
    Ok(HttpAnswer::ok(&details(workspace)))
}

/// `GET /workspaces/:id/state`
pub(super) fn workspace_state(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let workspace = state.workspace(id).ok_or_else(not_found)?;
    let status = workspace.status.as_str();
    let body = json!({
        "workspace_id": workspace.id,
        "status": status,
        "paused": status == "paused",
        "deleted": workspace.is_removed(),
    });
    Ok(HttpAnswer::ok(&body))
}

/// `DELETE /workspaces/:id`. There is no container engine, so the answer is 500. The workspace is removed all the same.
pub(super) fn delete_workspace(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    host: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    check_id(id)?;
    auth::check_admin(state, request)?;
    let workspace = state.workspace(id).ok_or_else(not_found)?;
    if request.header("x-confirm-name") != workspace.name {
        return Err(HttpAnswer::error(400, "X-Confirm-Name must be the workspace's name"));
    }
    remove_workspace(state, id);
    let error = format!(
        "workspace marked removed, but 1 stop call(s) failed — please retry: stop {id}: {}",
        no_engine(id, host)
    );
    Err(HttpAnswer::json(500, &json!({ "error": error, "removed_count": 1, "stop_failures": 1 })))
}

/// Removes a workspace, and tells its streams.
pub(super) fn remove_workspace(state: &mut State, id: &str) {
    state.remove(id);
    events::emit(state, id, "WORKSPACE_REMOVED", "{\"cascade_deleted\":0}");
}

/// `POST /workspaces/:id/pause`. Without a container engine it fails, and changes nothing.
pub(super) fn pause_workspace(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    host: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let workspace = state.workspace(id).ok_or_else(not_found)?;
    let error = "no workspace reached the paused state (1 step(s) failed) — see failures[]: stage \"stop\" = the \
                 workload was never stopped; stage \"mark_paused\"/\"claim\" = it WAS stopped but its row does not \
                 say paused. Re-check status before retrying";
    let failure =
        json!({ "error": no_engine(id, host), "name": workspace.name, "stage": "stop", "workspace_id": workspace.id });
    let body = json!({
        "error": error,
        "failed_count": 1,
        "failures": [failure],
        "paused_count": 0,
        "status": "pause_failed",
    });
    Err(HttpAnswer::json(500, &body))
}

/// `POST /workspaces/:id/resume`. Without a container engine the workspace fails to start.
pub(super) fn resume_workspace(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    set_status(state, id, "failed");
    Ok(HttpAnswer::ok(&json!({ "resumed_count": 1, "status": "provisioning" })))
}

/// `POST /workspaces/:id/hibernate`
pub(super) fn hibernate_workspace(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    set_status(state, id, "hibernated");
    Ok(HttpAnswer::ok(&json!({ "status": "hibernated" })))
}

/// Sets the status, as an operator does. An agent's URL is kept only while its workspace is online.
pub(super) fn set_status(state: &mut State, id: &str, status: &str) {
    let Some(workspace) = state.workspace_mut(id) else { return };
    status.clone_into(&mut workspace.status);
    if status != "online" {
        workspace.url.clear();
    }
    let event = match status {
        "paused" => "WORKSPACE_PAUSED",
        "hibernated" => "WORKSPACE_HIBERNATED",
        "online" => "WORKSPACE_ONLINE",
        _ => return,
    };
    events::emit(state, id, event, "{}");
}

/// `PATCH /workspaces/:id/abilities`
pub(super) fn set_abilities(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_admin(state, request)?;
    let body = request.json_object().ok_or_else(|| HttpAnswer::error(400, "invalid request body"))?;
    let abilities = &mut state.workspace_mut(id).ok_or_else(not_found)?.abilities;
    let set = |ability: &mut bool, key: &str| *ability = body[key].as_bool().unwrap_or(*ability);
    set(&mut abilities.broadcast, "broadcast_enabled");
    set(&mut abilities.talk_to_user, "talk_to_user_enabled");
    set(&mut abilities.delegate, "can_delegate");
    Ok(HttpAnswer::ok(&json!({ "status": "updated" })))
}

/// `GET /workspaces/:id/tokens`
pub(super) fn list_tokens(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let own = state.tokens.iter().filter(|(_, token)| token.workspace == id);
    let tokens: Vec<Value> = own
        .map(|(text, token)| {
            json!({
                "id": token.id,
                "prefix": text.get(..8),
                "created_at": token.created_at.rfc3339(),
                "last_used_at": token.last_used_at.map(|time| time.rfc3339()),
            })
        })
        .collect();
    Ok(HttpAnswer::ok(&json!({ "count": tokens.len(), "tokens": tokens })))
}

/// `POST /workspaces/:id/tokens`
pub(super) fn add_token(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let token = state.mint_token(id);
    let message = "Save this token now — it cannot be retrieved again.";
    Ok(HttpAnswer::json(201, &json!({ "auth_token": token, "message": message, "workspace_id": id })))
}

/// `POST /workspaces/:id/external/rotate`
pub(super) fn rotate_by_request(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    host: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    state.revoke_tokens(id);
    let token = state.mint_token(id);
    Ok(HttpAnswer::ok(&json!({ "connection": connection(host, id, &token) })))
}

/// `POST /admin/workspaces/:id/revoke-auth-tokens`
pub(super) fn revoke_by_request(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_admin(state, request)?;
    state.revoke_tokens(id);
    Ok(HttpAnswer::ok(&json!({ "status": "revoked", "workspace_id": id })))
}

/// `POST /org/tokens`. Only the people of a tenant may make one.
pub(super) fn add_org_token(state: &mut State, request: &HttpRequest) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_admin(state, request)?;
    if request.bearer().is_some() {
        let why = "no approval anchor for this caller class — set MOLECULE_PLATFORM_WORKSPACE_ID for admin-token \
                   callers, or call via an org-token with a valid org";
        return Err(HttpAnswer::error(400, why));
    }
    let (token, body) = (new_secret(), request.json().unwrap_or_default());
    push_bounded(&mut state.org_tokens, token.clone());
    Ok(HttpAnswer::ok(&json!({
        "id": new_id().to_string(),
        "prefix": token.get(..8),
        "name": body["name"],
        "auth_token": token,
        "warning": "copy this token now; it will not be shown again",
    })))
}

fn no_engine(id: &str, host: &str) -> String {
    format!("force-remove ws-{id}: Cannot connect to the Docker daemon at tcp://{host}. Is the docker daemon running?")
}

/// Returns what an agent needs to connect.
fn connection(host: &str, id: &str, token: &str) -> Value {
    json!({
        "auth_token": token,
        "heartbeat_endpoint": format!("http://{host}/registry/heartbeat"),
        "platform_url": format!("http://{host}"),
        "registry_endpoint": format!("http://{host}/registry/register"),
        "workspace_id": id,
    })
}

fn details(workspace: &WorkspaceEntry) -> Value {
    let error_rate = if workspace.error_rate == 0.0 { json!(0) } else { json!(workspace.error_rate) };
    json!({
        "active_tasks": workspace.active_tasks,
        "agent_card": workspace.card,
        "broadcast_enabled": workspace.abilities.broadcast,
        "collapsed": false,
        "compute": {},
        "id": workspace.id,
        "kind": if workspace.id == CONCIERGE { "platform" } else { "workspace" },
        "last_error_rate": error_rate,
        "last_heartbeat_at": workspace.last_heartbeat.map(|time| time.rfc3339()),
        "last_outbound_at": null,
        "last_sample_error": "",
        "loaded_mcp_tools": [],
        "max_concurrent_tasks": 1,
        "mcp_surface": null,
        "name": workspace.name,
        "parent_id": workspace.parent,
        "role": workspace.role,
        "runtime": workspace.runtime,
        "status": workspace.status,
        "talk_to_user_enabled": workspace.abilities.talk_to_user,
        "tier": workspace.tier,
        "uptime_seconds": workspace.uptime_seconds,
        "url": workspace.url,
        "wedged": false,
        "x": 0,
        "y": 0,
    })
}
