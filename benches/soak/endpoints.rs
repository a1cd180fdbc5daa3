//! The platform's endpoints: it reads a request and returns the answer of a healthy platform.

use std::io::{self, BufRead};

use serde_json::{Value, json};

use super::script::Random;
use super::state::{self, PEERS, PlatformState, SENDERS, number, peer_id, row_id, row_number, sender};

/// A request as it was read.
pub struct Request {
    pub path: String,
    /// The number in a token such as `token-7`.
    pub token: Option<u64>,
    is_post: bool,
    pub body: Vec<u8>,
}

/// Returns the status and the body for a request. `seed` determines the senders of the rows.
pub fn answer(state: &PlatformState, seed: u64, request: &Request, random: &mut Random) -> (u16, Value) {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (parts.as_slice(), request.is_post) {
        (["registry", "discover", id], false) => match number(id).filter(|peer| *peer < PEERS) {
            Some(peer) => record(state, peer).map_or_else(
                || ([403, 404, 410][random.below(3) as usize], json!({ "error": "no such workspace" })),
                |record| (200, record),
            ),
            None => (404, json!({ "error": "no such workspace" })),
        },
        (["registry", id, "peers"], false) => {
            let workspace = number(id).unwrap_or_default();
            let peers = (0..SENDERS).filter_map(|n| record(state, (workspace * 4 + n) % PEERS));
            (200, peers.collect())
        }
        (["workspaces", id, "activity"], false) => list_rows(state, seed, number(id).unwrap_or_default(), query),
        (["workspaces", id], false) => (200, json!({ "id": id, "name": "soak" })),
        (["workspaces", id, "state"], false) => {
            (200, json!({ "workspace_id": id, "status": "online", "paused": false, "deleted": false }))
        }
        (["registry", "register"], true) => (200, json!({ "status": "registered", "delivery_mode": "poll" })),
        (["workspaces", _, "a2a"], true) => {
            let number = message_number(&request.body);
            let text = number.map_or("thanks".to_owned(), |number| format!("re soak:{number:016x}"));
            (200, json!({ "result": { "role": "agent", "parts": [{ "kind": "text", "text": text }] } }))
        }
        (["workspaces", _, "notify"] | ["registry", "heartbeat"], true) => (200, json!({})),
        _ => (400, json!({ "error": "no such endpoint" })),
    }
}

/// Returns a peer's record, which has its version in the name.
fn record(state: &PlatformState, peer: usize) -> Option<Value> {
    let version = state.version(peer)?;
    Some(json!({ "id": peer_id(peer), "name": format!("agent-{version}"), "role": "soak", "status": "online" }))
}

/// Lists rows in the real platform's order: after a row the oldest first, otherwise the newest first.
fn list_rows(state: &PlatformState, seed: u64, workspace: usize, query: &str) -> (u16, Value) {
    let param = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let limit = param("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
    let rows = match param("since_id") {
        Some(since) => match state.rows_after(workspace, row_number(since).unwrap_or_default(), limit) {
            Some(rows) => rows,
            None => return (410, json!({ "error": "since_id cursor not found" })),
        },
        None => {
            let before = param("before_ts").map(|time| time.replace("%3A", ":"));
            state.latest_rows(workspace, before.as_ref().and_then(|time| time.get(..26)), limit)
        }
    };
    let row = |(n, at): (u64, i64)| {
        let parts = json!([{ "kind": "text", "text": format!("row {n}") }]);
        json!({
            "id": row_id(workspace, n),
            "created_at": state::format_time(at) + "Z",
            "source_id": peer_id(sender(seed, workspace, n)),
            "method": "message/send",
            "request_body": { "params": { "message": { "role": "user", "parts": parts } } },
        })
    };
    (200, rows.into_iter().map(row).collect())
}

/// Reads the number of a message that the soak test sent.
pub fn message_number(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, number) = text.split_once("soak:")?;
    u64::from_str_radix(number.get(..16)?, 16).ok()
}

/// Reads the next request of a connection. Returns `None` at the end of the connection.
pub fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let is_post = words.next() == Some("POST");
    let path = words.next().unwrap_or_default().to_owned();
    let (mut token, mut length) = (None, 0);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => token = value.strip_prefix("Bearer token-").and_then(|token| token.parse().ok()),
            "content-length" => length = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { path, token, is_post, body }))
}
