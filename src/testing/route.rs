//! Which call answers a request.

use std::net::SocketAddr;

use serde_json::json;

use super::activity;
use super::answer::{AnswerBody, HttpAnswer};
use super::auth;
use super::delegations;
use super::gate;
use super::http::HttpRequest;
use super::people;
use super::queue::{self, dispatch_queued};
use super::registry::{self, platform_unavailable};
use super::relay::{relay_inbound, relay_request};
use super::requests;
use super::state::{RegistryFault, Shared, State};
use super::uploads;
use super::workspaces;

/// Answers a request.
pub(super) fn answer(shared: &Shared, request: &HttpRequest, from: SocketAddr) -> HttpAnswer {
    // As Go has it: the host that the client asked for, which a proxy may have passed on.
    let host =
        Some(request.header("host")).filter(|host| !host.is_empty()).map_or_else(|| shared.host(), str::to_owned);
    let passed = gate::pass(&mut shared.lock(), request, from, &host);
    let headers = match passed {
        Ok(headers) => headers,
        Err(answer) => return answer,
    };
    let takes_more = request.path.last().is_some_and(|last| matches!(last.as_str(), "a2a" | "inbound" | "uploads"));
    let answered = if request.is_too_large && !takes_more {
        Err(HttpAnswer::error(413, "request body too large"))
    } else {
        call(shared, request, &host)
    };
    shared.notify();
    let mut answer = answered.unwrap_or_else(|refused| refused);
    answer.headers.extend(headers);
    answer
}

fn call(shared: &Shared, request: &HttpRequest, host: &str) -> Result<HttpAnswer, HttpAnswer> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["health"]) => Ok(HttpAnswer::ok(&json!({ "status": "ok" }))),
        ("GET", ["buildinfo"]) => Ok(HttpAnswer::ok(&json!({ "git_sha": "dev" }))),
        ("POST", ["workspaces", id, "a2a"]) => relay_request(shared, request, id),
        ("POST", ["workspaces", id, "a2a", "inbound"]) => relay_inbound(shared, request, id),
        ("POST", ["registry", "heartbeat"]) => {
            let answer = registry_call(&mut shared.lock(), request, &["heartbeat"])?;
            dispatch_after_heartbeat(shared, request);
            Ok(answer)
        }
        (_, ["registry", rest @ ..]) => registry_call(&mut shared.lock(), request, rest),
        (_, ["workspaces", id, rest @ ..]) => {
            let found = workspace_call(&mut shared.lock(), request, id, rest, host);
            found.unwrap_or_else(|| Err(no_route(shared)))
        }
        (_, path) => {
            let found = other_call(&mut shared.lock(), request, path, host);
            found.unwrap_or_else(|| Err(no_route(shared)))
        }
    }
}

/// An agent that says that it is there gets the next send that waits for it.
fn dispatch_after_heartbeat(shared: &Shared, request: &HttpRequest) {
    let body = request.json().unwrap_or_default();
    let is_held = shared.lock().faults.holds_background;
    if let Some(id) = body["workspace_id"].as_str().filter(|_| !is_held) {
        if waits_for_agent(&shared.lock(), id) {
            dispatch_queued(shared, Some(id));
        }
    }
}

fn no_route(shared: &Shared) -> HttpAnswer {
    if shared.lock().setup.tenant.is_some() {
        // What the server has no route for is the canvas's, which is not there.
        return HttpAnswer::text(502, "text/plain; charset=utf-8", "canvas unavailable");
    }
    HttpAnswer::text(404, "text/plain", "404 page not found")
}

/// True if a queued send waits for an agent with a URL.
fn waits_for_agent(state: &State, id: &str) -> bool {
    state.workspace(id).is_some_and(|workspace| !workspace.url.is_empty())
        && state.queue.iter().any(|item| item.workspace == id && item.status == "queued")
}

fn registry_call(state: &mut State, request: &HttpRequest, path: &[&str]) -> Result<HttpAnswer, HttpAnswer> {
    if state.faults.registry == RegistryFault::Down {
        return Err(platform_unavailable());
    }
    match (request.method.as_str(), path) {
        ("POST", ["register"]) => registry::register(state, request),
        ("POST", ["heartbeat"]) => registry::heartbeat(state, request),
        ("POST", ["update-card"]) => registry::update_card(state, request),
        ("POST", ["check-access"]) => registry::check_access(state, request),
        ("GET", ["discover", id]) => registry::discover(state, request, id),
        ("GET", [id, "peers"]) => registry::peers(state, request, id),
        _ => Err(HttpAnswer::text(404, "text/plain", "404 page not found")),
    }
}

/// Answers a call below `/workspaces/:id`. `None` where there is no such call.
fn workspace_call(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    path: &[&str],
    host: &str,
) -> Option<Result<HttpAnswer, HttpAnswer>> {
    Some(match (request.method.as_str(), path) {
        ("GET", []) => workspaces::workspace_details(state, request, id),
        ("DELETE", []) => workspaces::delete_workspace(state, request, id, host),
        ("GET", ["state"]) => workspaces::workspace_state(state, request, id),
        ("GET", ["activity"]) => activity::list_activity(state, request, id, host),
        ("POST", ["activity"]) => activity::report_activity(state, request, id),
        ("POST", ["activity", "ack"]) => activity::ack_activity(state, request, id),
        ("GET", ["mail", "summary"]) => activity::mail_summary(state, request, id),
        ("GET", ["events", "stream"]) => open_stream(state, request, id),
        ("GET", ["a2a", "queue", item]) => queue::queued_send(state, request, item, host),
        ("POST", ["notify"]) => people::notify_user(state, request, id),
        ("POST", ["broadcast"]) => people::broadcast(state, request, id),
        ("GET", ["chat-history"]) => people::chat_history(state, request, id),
        ("POST", ["chat", "uploads"]) => uploads::upload_files(state, request, id),
        ("GET", ["pending-uploads", file, "content"]) => uploads::upload_content(state, request, id, file),
        ("POST", ["pending-uploads", file, "ack"]) => uploads::ack_upload(state, request, id, file),
        ("POST", ["delegate"]) => delegations::delegate(state, request, id),
        ("GET", ["delegations"]) => delegations::list_delegations(state, request, id),
        ("POST", ["delegations", delegation, "update"]) => {
            delegations::update_delegation(state, request, id, delegation)
        }
        ("POST", ["requests"]) => requests::ask(state, request, id),
        ("GET", ["requests"]) => requests::list_requests(state, request, id, false),
        ("GET", ["requests", "inbox"]) => requests::list_requests(state, request, id, true),
        ("GET", ["requests", asked]) => requests::request_details(state, request, id, asked),
        ("POST", ["requests", asked, "respond"]) => requests::respond(state, request, id, asked),
        ("POST", ["requests", asked, "messages"]) => requests::add_note(state, request, id, asked),
        ("POST", ["requests", asked, "cancel"]) => requests::cancel_request(state, request, id, asked),
        ("GET", ["instructions", "resolve"]) => requests::resolve_instructions(state, request, id),
        ("PATCH", ["abilities"]) => workspaces::set_abilities(state, request, id),
        ("POST", ["pause"]) => workspaces::pause_workspace(state, request, id, host),
        ("POST", ["resume"]) => workspaces::resume_workspace(state, request, id),
        ("POST", ["hibernate"]) => workspaces::hibernate_workspace(state, request, id),
        ("GET", ["tokens"]) => workspaces::list_tokens(state, request, id),
        ("POST", ["tokens"]) => workspaces::add_token(state, request, id),
        ("POST", ["external", "rotate"]) => workspaces::rotate_by_request(state, request, id, host),
        ("GET", ["secrets", "values"]) => {
            auth::check_workspace(state, request, id).map(|()| HttpAnswer::ok(&json!({})))
        }
        _ => return None,
    })
}

fn other_call(
    state: &mut State,
    request: &HttpRequest,
    path: &[&str],
    host: &str,
) -> Option<Result<HttpAnswer, HttpAnswer>> {
    Some(match (request.method.as_str(), path) {
        ("POST", ["workspaces"]) => workspaces::create_workspace(state, request, host),
        ("POST", ["org", "tokens"]) => workspaces::add_org_token(state, request),
        ("POST", ["instructions"]) => requests::add_instruction(state, request),
        ("POST", ["requests", asked, "respond"]) => requests::respond_as_user(state, request, asked),
        ("POST", ["admin", "workspaces", id, "revoke-auth-tokens"]) => {
            workspaces::revoke_by_request(state, request, id)
        }
        _ => return None,
    })
}

/// `GET /workspaces/:id/events/stream`
fn open_stream(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let headers = vec![
        ("Cache-Control", "no-cache".to_owned()),
        ("Connection", "keep-alive".to_owned()),
        ("Content-Type", "text/event-stream".to_owned()),
        ("X-Accel-Buffering", "no".to_owned()),
    ];
    Ok(HttpAnswer { status: 200, headers, body: AnswerBody::Events(id.to_owned()) })
}
