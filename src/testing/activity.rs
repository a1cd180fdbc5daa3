//! The calls below `/workspaces/:id/activity`, and the summary of the mail.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{AnswerBody, HttpAnswer, JSON_TYPE};
use super::auth;
use super::feed::{self, ListQuery};
use super::http::HttpRequest;
use super::json::{FieldOrder, Json, parse_json};
use super::row::{Announce, FeedRow, PeerInfo};
use super::state::State;
use super::time::{Micros, parse_rfc3339};

/// The longest time back that can be listed.
const LONGEST_BACK: Duration = Duration::from_secs(30 * 86_400);
/// Rows that the summary of the mail names.
const SUMMARISED: usize = 25;

/// `GET /workspaces/:id/activity`
pub(super) fn list_activity(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    host: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let query = list_query(request)?;
    let rows = feed::list(state, id, &query).map_err(|_| {
        let why = "since_id cursor not found (row may have been pruned or belongs to a different workspace); omit \
                   since_id to reset";
        HttpAnswer::error(410, why)
    })?;
    let has_peers =
        request.parameter("include").is_some_and(|include| include.split(',').any(|one| one == "peer_info"));
    let with_peer = |row: Arc<FeedRow>| {
        let peer = has_peers.then(|| peer_info(state, row.source_id.as_deref(), host));
        (row, peer)
    };
    let rows = rows.into_iter().map(with_peer).collect();
    let headers = vec![("Content-Type", JSON_TYPE.to_owned())];
    Ok(HttpAnswer { status: 200, headers, body: AnswerBody::Rows(rows) })
}

fn peer_info(state: &State, source: Option<&str>, host: &str) -> PeerInfo {
    let peer = source.and_then(|source| state.workspace(source));
    PeerInfo {
        name: peer.map(|peer| peer.name.clone()),
        role: peer.and_then(|peer| peer.role.clone()),
        card_url: peer.map(|peer| format!("http://{host}/registry/discover/{}", peer.id)),
    }
}

/// `POST /workspaces/:id/activity`: a row of the agent's own making.
pub(super) fn report_activity(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let body = parse_json(&request.body).filter(|body| matches!(body, Json::Object(_)));
    let body = body.ok_or_else(|| HttpAnswer::error(400, "invalid request body"))?;
    let field = |key: &str| body.get(key).and_then(Json::as_str);
    let kind = field("activity_type").ok_or_else(|| HttpAnswer::error(400, "invalid request body"))?;
    if field("source_id").is_some_and(|source| !source.is_empty() && source != id) {
        return Err(HttpAnswer::error(403, "source_id must match authenticated workspace"));
    }
    let mut row = FeedRow::new(id, kind, "", field("summary").unwrap_or_default());
    row.method = field("method").map(str::to_owned);
    row.source_id = Some(id.to_owned());
    row.target_id = field("target_id").map(str::to_owned);
    let mut texts = [None, None];
    for (text, key) in texts.iter_mut().zip(["request_body", "response_body"]) {
        if let Some(value) = body.get(key).filter(|value| **value != Json::Null) {
            *text = Some(value.write(FieldOrder::Postgres).ok_or_else(|| HttpAnswer::error(500, "failed to log"))?);
        }
    }
    let [request_body, response_body] = texts;
    row.request_body = request_body.map(Arc::from);
    row.response_body = response_body.map(Arc::from);
    let announce = Announce::Once(row.request_body.clone());
    feed::insert(state, row, announce);
    Ok(HttpAnswer::ok(&json!({ "status": "logged" })))
}

/// `POST /workspaces/:id/activity/ack`
pub(super) fn ack_activity(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let acked = request.json_object().and_then(|body| body["acked_seq"].as_i64());
    let acked = acked.ok_or_else(|| HttpAnswer::error(400, "acked_seq is required"))?;
    if acked < 0 {
        return Err(HttpAnswer::error(400, "acked_seq must be >= 0"));
    }
    let workspace = state.workspace_mut(id).ok_or_else(|| HttpAnswer::error(404, "workspace not found"))?;
    let last = workspace.acked_seq.unwrap_or(0).max(acked);
    workspace.acked_seq = Some(last);
    Ok(HttpAnswer::ok(&json!({ "last_acked_seq": last })))
}

/// `GET /workspaces/:id/mail/summary`
pub(super) fn mail_summary(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let workspace = state.workspace(id).ok_or_else(|| HttpAnswer::error(404, "workspace not found"))?;
    let acked = workspace.acked_seq;
    let is_unread = |row: &&Arc<FeedRow>| {
        acked.is_some_and(|acked| i64::try_from(row.seq).unwrap_or(i64::MAX) > acked) && is_mail(row)
    };
    let mut unread: Vec<&Arc<FeedRow>> = workspace.rows.iter().filter(is_unread).collect();
    unread.sort_by_key(|row| std::cmp::Reverse(row.seq));
    let item = |row: &&Arc<FeedRow>| {
        json!({
            "id": row.id,
            "message_id": row.message_id,
            "sender_id": row.source_id,
            "method": row.method,
            "seq": row.seq,
        })
    };
    let received: Vec<Value> = unread.iter().take(SUMMARISED).map(item).collect();
    Ok(HttpAnswer::ok(&json!({
        "mode": if acked.is_some() { "acked_seq" } else { "queued_backlog" },
        "overdue": [],
        "overdue_after_seconds": 21_600,
        "overdue_count": 0,
        "received": received,
        "received_list_cap": SUMMARISED,
        "received_unread": unread.len(),
        "replies_unread": 0,
        "sent_awaiting_reply": 0,
    })))
}

/// True for a message that came through the relay.
fn is_mail(row: &FeedRow) -> bool {
    let method = row.method.as_deref().unwrap_or_default();
    row.activity_type == "a2a_receive" && !matches!(method, "notify" | "chat_upload_receive" | "delegate_result")
}

/// Reads the query of a list.
fn list_query(request: &HttpRequest) -> Result<ListQuery, HttpAnswer> {
    let refuse = |why: &str| HttpAnswer::error(400, why);
    let mut query = ListQuery {
        activity_type: request.parameter("type").filter(|kind| !kind.is_empty()).map(str::to_owned),
        // A limit that is no number above zero is none.
        limit: request.parameter("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0),
        ..ListQuery::default()
    };
    if let Some(source) = request.parameter("source").filter(|source| !source.is_empty()) {
        query.from_canvas = match source {
            "canvas" => Some(true),
            "agent" => Some(false),
            _ => return Err(refuse("source must be 'canvas' or 'agent'")),
        };
    }
    if let Some(peer) = request.parameter("peer_id").filter(|peer| !peer.is_empty()) {
        if Uuid::try_parse(peer).is_err() {
            return Err(refuse("peer_id must be a UUID"));
        }
        query.peer_id = Some(peer.to_owned());
    }
    if let Some(seconds) = request.parameter("since_secs") {
        let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0);
        let seconds: u64 = seconds.ok_or_else(|| refuse("since_secs must be a positive integer"))?;
        query.since = Some(Micros::now().minus(Duration::from_secs(seconds).min(LONGEST_BACK)));
    }
    if let Some(before) = request.parameter("before_ts") {
        let why = "before_ts must be an RFC3339 timestamp (e.g. 2026-05-01T00:00:00Z)";
        query.before = Some(parse_rfc3339(before).ok_or_else(|| refuse(why))?);
    }
    if let Some(cursor) = request.parameter("since_id").filter(|cursor| !cursor.is_empty()) {
        if Uuid::try_parse(cursor).is_err() {
            return Err(HttpAnswer::error(500, "cursor lookup failed"));
        }
        query.since_id = Some(cursor.to_owned());
    }
    Ok(query)
}
