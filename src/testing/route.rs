//! Which call answers a request.

use std::net::SocketAddr;

use serde_json::json;

use super::answer::{AnswerBody, HttpAnswer};
use super::gate;
use super::http::HttpRequest;
use super::queue::dispatch_queued;
use super::registry::platform_unavailable;
use super::relay::{relay_inbound, relay_request};
use super::state::{Shared, State};

/// Answers a request.
pub(super) fn answer(shared: &Shared, request: &HttpRequest, from: SocketAddr) -> HttpAnswer {
    let host = shared.host();
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
            let answer = shared.lock().registry_call(request, &["heartbeat"])?;
            dispatch_after_heartbeat(shared, request);
            Ok(answer)
        }
        (_, ["registry", rest @ ..]) => shared.lock().registry_call(request, rest),
        (_, ["workspaces", id, rest @ ..]) => {
            let found = shared.lock().workspace_call(request, id, rest, host);
            found.unwrap_or_else(|| Err(no_route(shared)))
        }
        (_, path) => {
            let found = shared.lock().other_call(request, path, host);
            found.unwrap_or_else(|| Err(no_route(shared)))
        }
    }
}

/// An agent that says that it is there gets the next send that waits for it.
fn dispatch_after_heartbeat(shared: &Shared, request: &HttpRequest) {
    let body = request.json().unwrap_or_default();
    let is_held = shared.lock().faults.holds_background;
    if let Some(id) = body["workspace_id"].as_str().filter(|_| !is_held) {
        if shared.lock().waits_for_agent(id) {
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

impl State {
    /// True if a queued send waits for an agent with a URL.
    fn waits_for_agent(&self, id: &str) -> bool {
        self.workspace(id).is_some_and(|workspace| !workspace.url.is_empty())
            && self.queue.iter().any(|item| item.workspace == id && item.status == "queued")
    }

    fn registry_call(&mut self, request: &HttpRequest, path: &[&str]) -> Result<HttpAnswer, HttpAnswer> {
        if self.faults.registry_down {
            return Err(platform_unavailable());
        }
        match (request.method.as_str(), path) {
            ("POST", ["register"]) => self.register(request),
            ("POST", ["heartbeat"]) => self.heartbeat(request),
            ("POST", ["update-card"]) => self.update_card(request),
            ("POST", ["check-access"]) => self.check_access(request),
            ("GET", ["discover", id]) => self.discover(request, id),
            ("GET", [id, "peers"]) => self.peers(request, id),
            _ => Err(HttpAnswer::text(404, "text/plain", "404 page not found")),
        }
    }

    /// Answers a call below `/workspaces/:id`. `None` where there is no such call.
    fn workspace_call(
        &mut self,
        request: &HttpRequest,
        id: &str,
        path: &[&str],
        host: &str,
    ) -> Option<Result<HttpAnswer, HttpAnswer>> {
        Some(match (request.method.as_str(), path) {
            ("GET", []) => self.workspace_details(request, id),
            ("DELETE", []) => self.delete_workspace(request, id, host),
            ("GET", ["state"]) => self.workspace_state(request, id),
            ("GET", ["activity"]) => self.list_activity(request, id, host),
            ("POST", ["activity"]) => self.report_activity(request, id),
            ("POST", ["activity", "ack"]) => self.ack_activity(request, id),
            ("GET", ["mail", "summary"]) => self.mail_summary(request, id),
            ("GET", ["events", "stream"]) => self.open_stream(request, id),
            ("GET", ["a2a", "queue", item]) => self.queued_send(request, item, host),
            ("POST", ["notify"]) => self.notify_user(request, id),
            ("POST", ["broadcast"]) => self.broadcast(request, id),
            ("GET", ["chat-history"]) => self.chat_history(request, id),
            ("POST", ["chat", "uploads"]) => self.upload_files(request, id),
            ("GET", ["pending-uploads", file, "content"]) => self.upload_content(request, id, file),
            ("POST", ["pending-uploads", file, "ack"]) => self.ack_upload(request, id, file),
            ("POST", ["delegate"]) => self.delegate(request, id),
            ("GET", ["delegations"]) => self.list_delegations(request, id),
            ("POST", ["delegations", delegation, "update"]) => self.update_delegation(request, id, delegation),
            ("POST", ["requests"]) => self.ask(request, id),
            ("GET", ["requests"]) => self.list_requests(request, id, false),
            ("GET", ["requests", "inbox"]) => self.list_requests(request, id, true),
            ("GET", ["requests", asked]) => self.request_details(request, id, asked),
            ("POST", ["requests", asked, "respond"]) => self.respond(request, id, asked),
            ("POST", ["requests", asked, "messages"]) => self.add_note(request, id, asked),
            ("POST", ["requests", asked, "cancel"]) => self.cancel_request(request, id, asked),
            ("GET", ["instructions", "resolve"]) => self.resolve_instructions(request, id),
            ("PATCH", ["abilities"]) => self.set_abilities(request, id),
            ("POST", ["pause"]) => self.pause_workspace(request, id, host),
            ("POST", ["resume"]) => self.resume_workspace(request, id),
            ("POST", ["hibernate"]) => self.hibernate_workspace(request, id),
            ("GET", ["tokens"]) => self.list_tokens(request, id),
            ("POST", ["tokens"]) => self.add_token(request, id),
            ("POST", ["external", "rotate"]) => self.rotate_by_request(request, id, host),
            ("GET", ["secrets", "values"]) => self.check_workspace(request, id).map(|()| HttpAnswer::ok(&json!({}))),
            _ => return None,
        })
    }

    fn other_call(
        &mut self,
        request: &HttpRequest,
        path: &[&str],
        host: &str,
    ) -> Option<Result<HttpAnswer, HttpAnswer>> {
        Some(match (request.method.as_str(), path) {
            ("POST", ["workspaces"]) => self.create_workspace(request, host),
            ("POST", ["org", "tokens"]) => self.add_org_token(request),
            ("POST", ["instructions"]) => self.add_instruction(request),
            ("POST", ["requests", asked, "respond"]) => self.respond_as_user(request, asked),
            ("POST", ["admin", "workspaces", id, "revoke-auth-tokens"]) => self.revoke_by_request(request, id),
            _ => return None,
        })
    }

    /// `GET /workspaces/:id/events/stream`
    fn open_stream(&mut self, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
        self.check_workspace(request, id)?;
        let headers = vec![
            ("Cache-Control", "no-cache".to_owned()),
            ("Connection", "keep-alive".to_owned()),
            ("Content-Type", "text/event-stream".to_owned()),
            ("X-Accel-Buffering", "no".to_owned()),
        ];
        Ok(HttpAnswer { status: 200, headers, body: AnswerBody::Events(id.to_owned()) })
    }
}
