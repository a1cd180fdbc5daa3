//! `POST /workspaces/:id/a2a`: how a message gets to its agent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::agent::{AgentAnswer, LONGEST_ANSWER, ask_agent};
use super::answer::{HttpAnswer, JSON_TYPE, status_text};
use super::auth::{self, Caller};
use super::entities::{DeliveryMode, QueueItem};
use super::events;
use super::feed;
use super::http::{HttpRequest, LONGEST_BODY};
use super::json::{FieldOrder, escape_html, parse_json};
use super::message::RelayedMessage;
use super::row::{Announce, FeedRow, quote};
use super::state::{MOST, Shared, State};
use super::time::Micros;
use crate::util::clock::{Deadline, millis_up};
use crate::util::random::new_id;

/// Bytes of all bodies in the queue. The oldest go first.
const MOST_QUEUED: usize = 256 << 20;
/// Only so long does a sender wait for a row that is late.
const LONGEST_COMMIT: Duration = Duration::from_secs(600);

/// The next step for a message.
enum Path {
    Answered(HttpAnswer),
    /// To the agent at this URL.
    Push(String),
}

/// `POST /workspaces/:id/a2a`
pub(super) fn relay_request(shared: &Shared, request: &HttpRequest, target: &str) -> Result<HttpAnswer, HttpAnswer> {
    let caller = auth::caller(&mut shared.lock(), request, &shared.host())?;
    relay_from(shared, request, &caller, target)
}

/// `POST /workspaces/:id/a2a/inbound`: as the canvas sends, with the workspace's inbound secret.
pub(super) fn relay_inbound(shared: &Shared, request: &HttpRequest, target: &str) -> Result<HttpAnswer, HttpAnswer> {
    let secret = shared.lock().workspace(target).map(|workspace| workspace.inbound_secret.clone());
    match request.bearer() {
        None => Err(HttpAnswer::error(401, "missing Authorization header")),
        Some(sent) if Some(sent) == secret.as_deref() => relay_from(shared, request, &Caller::Inbound, target),
        Some(_) => Err(HttpAnswer::error(403, "invalid inbound secret")),
    }
}

fn relay_from(shared: &Shared, request: &HttpRequest, caller: &Caller, target: &str) -> Result<HttpAnswer, HttpAnswer> {
    if request.is_too_large {
        let error = format!("request body exceeds {LONGEST_BODY} byte limit: A2A body exceeds size limit");
        return Err(HttpAnswer::json(413, &json!({ "error": error, "max_bytes": LONGEST_BODY, "truncated": true })));
    }
    if let Caller::Agent(source) = caller {
        let state = shared.lock();
        if !auth::may_talk(&state, source, target) {
            let why = "access denied: workspaces cannot communicate per hierarchy rules";
            return Err(HttpAnswer::error(403, why));
        }
    }
    let message = RelayedMessage::read(&request.body, caller, target)?;
    let answer = relay_message(shared, &message, caller, target, true)?;
    if answer.status < 300 {
        shared.lock().record_sent(message.sent);
    }
    Ok(answer)
}

/// Brings a message to its target, and returns what its sender is answered. A sender waits until its row is committed.
pub(super) fn relay_message(
    shared: &Shared,
    message: &RelayedMessage,
    caller: &Caller,
    target: &str,
    waits: bool,
) -> Result<HttpAnswer, HttpAnswer> {
    let (path, row) = {
        let mut state = shared.lock();
        let found = choose_path(&mut state, message, caller, target)?;
        shared.notify();
        found
    };
    if let Some(row) = row.as_ref().filter(|_| waits) {
        wait_for_commit(shared, row);
    }
    let url = match path {
        Path::Answered(answer) => return Ok(answer),
        Path::Push(url) => url,
    };
    let start = millis_up();
    let answer = ask_agent(shared, &url, &message.agent_body);
    let mut state = shared.lock();
    let result = conclude(&mut state, message, caller, target, row.as_deref(), answer, millis_up() - start);
    shared.notify();
    result
}

fn wait_for_commit(shared: &Shared, row: &str) {
    let deadline = Deadline::after(LONGEST_COMMIT);
    let mut state = shared.lock();
    while feed::is_pending(&state, row) && !state.ended && !deadline.left().is_zero() {
        state = shared.wait(state, deadline);
    }
}

/// Writes the row of a message, and decides how it gets to its target. Returns the row's id, too.
fn choose_path(
    state: &mut State,
    message: &RelayedMessage,
    caller: &Caller,
    target: &str,
) -> Result<(Path, Option<String>), HttpAnswer> {
    let workspace = state.workspace(target).ok_or_else(|| HttpAnswer::error(404, "workspace not found"))?;
    if workspace.over_budget {
        let body = json!({ "error": "workspace budget limit exceeded", "exceeded_periods": ["monthly"] });
        return Err(HttpAnswer::json(402, &body));
    }
    let may_send = |source: &str| state.workspace(source).is_none_or(|source| source.abilities.delegate);
    if matches!(caller, Caller::Agent(source) if message.method == "message/send" && !may_send(source)) {
        return Err(HttpAnswer::error(403, "tool call failed"));
    }
    let (id, name, status) = (workspace.id.clone(), workspace.name.clone(), workspace.status.clone());
    let (mode, url) = (workspace.mode, workspace.url.clone());
    if mode == DeliveryMode::Push && status == "hibernated" {
        let error = "workspace is waking from hibernation — retry in ~15 seconds";
        let body = json!({ "error": error, "retry_after": 15, "waking": true });
        return Err(HttpAnswer::json(503, &body).with_header("Retry-After", "15"));
    }
    if mode == DeliveryMode::Poll {
        let row = ingest_for_poller(state, message, (&id, &name), caller.source());
        let method = quote(&message.method);
        let body = format!("{{\"delivery_mode\":\"poll\",\"method\":{method},\"status\":\"queued\"}}");
        let mut escaped = Vec::new();
        escape_html(body.as_bytes(), &mut escaped);
        return Ok((Path::Answered(HttpAnswer::relayed(200, escaped)), row));
    }
    let row = ingest(state, message, (&id, &name), caller.source(), |body| Announce::Once(Some(body)));
    if !url.is_empty() {
        if state.setup.public_agents_only {
            return Err(HttpAnswer::error(502, "workspace URL is not publicly routable"));
        }
        return Ok((Path::Push(url), row));
    }
    if !matches!(status.as_str(), "awaiting_agent" | "provisioning" | "online" | "degraded") {
        return Err(HttpAnswer::json(503, &json!({ "error": "workspace has no URL", "status": status })));
    }
    Ok((Path::Answered(enqueue(state, message, (&id, &name), caller.source())), row))
}

/// Writes the row of a message to a poller. A message whose id was used has one already, whoever sent it.
fn ingest_for_poller(
    state: &mut State,
    message: &RelayedMessage,
    target: (&str, &str),
    source: Option<&str>,
) -> Option<String> {
    if message.method == "message/send" && message.message_id.is_some() {
        let row = ingest(state, message, target, source, Announce::Twice);
        // The second insert, for the queue, finds the first one's row.
        feed::take_seq(state);
        return row;
    }
    let row = message.row(target, source, "queued for poll")?;
    let known = message.message_id.as_deref().and_then(|id| feed::row_of_message(state, target.0, id));
    if known.is_some() {
        feed::take_seq(state);
        return known;
    }
    Some(feed::insert_message(state, row, Announce::Once(Some(message.agent_body.clone()))))
}

/// Writes the row `(ingest)`, once for each message id. Returns its id.
fn ingest(
    state: &mut State,
    message: &RelayedMessage,
    target: (&str, &str),
    source: Option<&str>,
    announce: impl FnOnce(Arc<str>) -> Announce,
) -> Option<String> {
    let row = message.row(target, source, "ingest")?;
    let announce = announce(message.agent_body.clone());
    let known = message.message_id.as_deref().and_then(|id| feed::row_of_message(state, target.0, id));
    if known.is_some() {
        events::announce(state, &row, &announce);
        feed::take_seq(state);
        return known;
    }
    Some(feed::insert_message(state, row, announce))
}

/// Queues a message for an agent that cannot be reached, and writes a row of that.
fn enqueue(state: &mut State, message: &RelayedMessage, target: (&str, &str), source: Option<&str>) -> HttpAnswer {
    let (id, _) = target;
    let waits = |item: &QueueItem| item.workspace == id && item.status == "queued";
    let is_same =
        |item: &QueueItem| waits(item) && message.message_id.is_some() && item.message_id == message.message_id;
    let known = state.queue.iter().find(|item| is_same(item)).map(|item| item.id.clone());
    let queue_id = known.unwrap_or_else(|| {
        let now = Micros::now();
        let item = QueueItem {
            id: new_id().to_string(),
            workspace: id.to_owned(),
            caller: source.map(str::to_owned),
            message_id: message.message_id.clone(),
            body: message.agent_body.clone(),
            method: message.method.clone(),
            status: "queued",
            attempts: 0,
            last_error: None,
            enqueued_at: now,
            dispatched_at: None,
            completed_at: None,
            expires_at: message.expires_in.map(|time| now.plus(time)),
            response: None,
        };
        let queue_id = item.id.clone();
        state.queue.push_back(item);
        while state.queue.len() > MOST || state.queue.iter().map(|item| item.body.len()).sum::<usize>() > MOST_QUEUED {
            state.queue.pop_front();
        }
        queue_id
    });
    let depth = state.queue.iter().filter(|item| waits(item)).count();
    if let Some(mut row) = message.row(target, source, "queued: target busy") {
        row.duration_ms = Some(0);
        feed::insert(state, row, Announce::Once(Some(message.agent_body.clone())));
    }
    let words = "workspace agent busy — request queued, will dispatch when capacity available";
    let body = json!({ "message": words, "queue_depth": depth, "queue_id": queue_id, "queued": true });
    HttpAnswer::relayed(202, body.to_string().into_bytes())
}

/// Writes what an agent answered into the message's row, and returns what the sender is answered.
fn conclude(
    state: &mut State,
    message: &RelayedMessage,
    caller: &Caller,
    target: &str,
    row: Option<&str>,
    answer: AgentAnswer,
    millis: u64,
) -> Result<HttpAnswer, HttpAnswer> {
    let target = state.workspace(target).map(|workspace| (workspace.id.clone(), workspace.name.clone()));
    let (id, name) = target.unwrap_or_default();
    let change = |state: &mut State, change: &dyn Fn(&mut FeedRow)| {
        if let Some(row) = row {
            feed::update_row(state, &id, row, |row| {
                row.duration_ms = Some(millis);
                change(row);
            });
        }
    };
    match answer {
        AgentAnswer::Unreachable(why) => {
            change(state, &|row| {
                "error".clone_into(&mut row.status);
                row.error_detail = Some(why.clone());
            });
            Err(HttpAnswer::error(502, "failed to reach workspace agent"))
        }
        AgentAnswer::ClosedBefore => Ok(enqueue(state, message, (&id, &name), caller.source())),
        AgentAnswer::ClosedWithin { is_truncated } => {
            change(state, &|_| {});
            let body = json!({
                "delivery_confirmed": true,
                "error": "failed to read agent response",
                "max_bytes": LONGEST_ANSWER,
                "truncated": is_truncated,
            });
            Err(HttpAnswer::json(502, &body))
        }
        AgentAnswer::Answered { status, body } => {
            if status == 200 && body.is_empty() {
                return Ok(HttpAnswer::error(200, "agent returned empty response body"));
            }
            let stored = parse_json(&body);
            let error = stored.as_ref().and_then(|body| body.get("error")).and_then(|error| error.as_str());
            let error = error.map_or_else(|| status_text(status).to_owned(), str::to_owned);
            let stored = stored.as_ref().and_then(|body| body.write(FieldOrder::Postgres));
            change(state, &|row| {
                (if status < 400 { "ok" } else { "error" }).clone_into(&mut row.status);
                row.response_body = stored.as_deref().map(Arc::from);
            });
            match status {
                204 => Ok(HttpAnswer::empty(204).with_header("Content-Type", JSON_TYPE)),
                200..300 => Ok(HttpAnswer::relayed(status, body)),
                _ => Err(HttpAnswer::error(status, &error)),
            }
        }
    }
}
