//! The embedded platform of the demo: a registry and the inboxes of two workspaces, over HTTP on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

/// Ids of the workspaces that the demo polls for.
pub(super) const WORKSPACES: [&str; 2] =
    ["0f0e0d0c-0b0a-4908-8706-050403020100", "1f1e1d1c-1b1a-4918-9716-151413121110"];
/// The token that the platform accepts.
pub(super) const TOKEN: &str = "demo-token";
/// Maximum size of a request's head that is read, in bytes.
const MAX_HEAD: u64 = 16 * 1024;
/// Maximum size of a request's body that is read, in bytes.
const MAX_BODY: u64 = 1024 * 1024;

/// The registry's answer about a peer.
#[derive(Clone, Copy)]
pub(super) enum PeerEntry {
    Known { name: &'static str, role: &'static str },
    Unknown,
    Forbidden,
}

/// The peers of the demo, by id.
pub(super) const PEERS: &[(&str, PeerEntry)] = &[
    ("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", PeerEntry::Known { name: "ops-agent", role: "sre" }),
    ("7c9e6679-7425-40de-944b-e07fc1f90ae7", PeerEntry::Known { name: "lead", role: "team lead" }),
    ("9a3d2b10-1c4f-4e7b-8a55-0c6d7e8f9012", PeerEntry::Known { name: "søren", role: "reviewer" }),
    ("c1d2e3f4-0516-4728-b94a-5b6c7d8e9fa0", PeerEntry::Known { name: "billing", role: "finance" }),
    ("deadbeef-0000-4000-8000-000000000404", PeerEntry::Unknown),
    ("deadbeef-0000-4000-8000-000000000403", PeerEntry::Forbidden),
];

/// A platform that listens until the process ends. Clones share its state.
#[derive(Clone)]
pub(super) struct DemoPlatform {
    pub(super) url: String,
    state: Arc<PlatformState>,
}

/// Numbers of requests that the platform has read.
#[derive(Clone, Copy)]
pub(super) struct RequestCounts {
    pub(super) lookups: u64,
    pub(super) messages: u64,
    pub(super) notices: u64,
    pub(super) heartbeats: u64,
}

impl DemoPlatform {
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(PlatformState {
            start: Instant::now(),
            is_registry_up: AtomicBool::new(true),
            lookups: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            notices: AtomicU64::new(0),
            heartbeats: AtomicU64::new(0),
            inboxes: Default::default(),
        });
        let listener_state = state.clone();
        thread::Builder::new().name("platform".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = listener_state.clone();
                // The client reports a connection that breaks.
                thread::spawn(move || drop(serve(&stream, &state)));
            }
        })?;
        Ok(DemoPlatform { url, state })
    }

    /// Adds a message to a workspace's inbox. Without a peer it is the human's.
    pub(super) fn add_message(&self, workspace: usize, peer: Option<&str>, text: &str) {
        let parts = json!([{ "kind": "text", "text": text }]);
        let request = json!({ "params": { "message": { "role": "user", "parts": parts } } });
        self.state.add_row(workspace, json!({ "source_id": peer, "method": "message/send", "request_body": request }));
    }

    /// Turns the registry on or off. While it is off it accepts connections and does not answer.
    pub(super) fn set_registry_up(&self, is_up: bool) {
        self.state.is_registry_up.store(is_up, Relaxed);
    }

    /// Returns the ids of the messages that a workspace was sent, in their order. Its own notices are left out.
    pub(super) fn message_ids(&self, workspace: usize) -> Vec<String> {
        let rows = self.state.rows(workspace);
        let messages = rows.iter().filter(|row| row["method"] != "notify");
        messages.filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
    }

    pub(super) fn request_counts(&self) -> RequestCounts {
        let state = &self.state;
        RequestCounts {
            lookups: state.lookups.load(Relaxed),
            messages: state.messages.load(Relaxed),
            notices: state.notices.load(Relaxed),
            heartbeats: state.heartbeats.load(Relaxed),
        }
    }
}

/// The inboxes of the platform, and the numbers of requests that it has read.
struct PlatformState {
    start: Instant,
    is_registry_up: AtomicBool,
    lookups: AtomicU64,
    messages: AtomicU64,
    notices: AtomicU64,
    heartbeats: AtomicU64,
    /// Rows of each workspace, oldest first.
    inboxes: [Mutex<Vec<Value>>; 2],
}

impl PlatformState {
    fn rows(&self, workspace: usize) -> MutexGuard<'_, Vec<Value>> {
        // No code that holds the lock can panic and leave a row half written.
        self.inboxes[workspace].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_row(&self, workspace: usize, mut row: Value) {
        let mut rows = self.rows(workspace);
        let (n, at) = (rows.len(), self.start.elapsed());
        let (seconds, micros) = (at.as_secs(), at.subsec_micros());
        row["id"] = format!("{:08x}-0000-4000-8000-{n:012x}", 0xac71_0000_u32 + workspace as u32).into();
        row["created_at"] = format!("2026-05-01T12:{:02}:{:02}.{micros:06}Z", seconds / 60 % 60, seconds % 60).into();
        rows.push(row);
    }

    /// Answers a request for the activity feed as a real platform does.
    ///
    /// With `since_id` it lists what follows that row, oldest first. Otherwise it lists the newest rows first.
    fn activity(&self, workspace: usize, query: &str) -> (&'static str, Value) {
        let param = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let limit = param("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
        let rows = self.rows(workspace);
        if let Some(since) = param("since_id") {
            let Some(index) = rows.iter().position(|row| row["id"] == since) else {
                return ("410 Gone", json!({ "error": "since_id cursor not found" }));
            };
            return ("200 OK", rows[index + 1..].iter().take(limit).cloned().collect());
        }
        let before = param("before_ts").map(|time| time.replace("%3a", ":").to_ascii_uppercase());
        let is_before = |row: &&Value| {
            let at = row["created_at"].as_str().unwrap_or_default();
            before.as_deref().is_none_or(|before| at.trim_end_matches('Z') < before)
        };
        ("200 OK", rows.iter().rev().filter(is_before).take(limit).cloned().collect())
    }
}

/// Answers the requests of one connection.
fn serve(mut stream: &TcpStream, state: &PlatformState) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((line, headers)) = read_head(&mut reader)? {
        let header = |name: &str| headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let length: u64 = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        io::copy(&mut (&mut reader).take(length.min(MAX_BODY)), &mut io::sink())?;
        let Some((status, body)) = answer(&line, header("authorization"), state) else {
            // Waits for the client to close the connection.
            io::copy(&mut reader, &mut io::sink())?;
            return Ok(());
        };
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
    }
    Ok(())
}

/// Returns the request line and the header lines of the next request, in lower case, or `None` at the end.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Vec<String>)>> {
    let mut lines = reader.take(MAX_HEAD).lines().map(|line| line.map(|line| line.to_ascii_lowercase()));
    let Some(first) = lines.next().transpose()? else { return Ok(None) };
    let headers =
        lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).collect::<io::Result<_>>()?;
    Ok(Some((first, headers)))
}

/// Returns the status line and the body for a request, or `None` where the platform does not answer.
fn answer(line: &str, authorization: Option<&str>, state: &PlatformState) -> Option<(&'static str, Value)> {
    let error = |text: &str| json!({ "error": text });
    if authorization != Some(&format!("bearer {TOKEN}")) {
        return Some(("401 Unauthorized", error("missing or bad token")));
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let count = |counter: &AtomicU64| counter.fetch_add(1, Relaxed);
    let workspace = WORKSPACES.iter().position(|id| path.starts_with(&format!("/workspaces/{id}/")));
    match (workspace, path.rsplit('/').next().unwrap_or_default()) {
        (Some(workspace), "activity") => Some(state.activity(workspace, query)),
        (Some(workspace), "notify") => {
            count(&state.notices);
            // A real platform, too, lists a workspace's notices to its human in its own inbox.
            state.add_row(workspace, json!({ "source_id": null, "method": "notify", "summary": "our own notice" }));
            Some(("200 OK", json!({})))
        }
        (None, "a2a") => {
            count(&state.messages);
            let parts = json!([{ "kind": "text", "text": "thank you" }]);
            Some(("200 OK", json!({ "result": { "role": "agent", "parts": parts } })))
        }
        (None, "heartbeat") => {
            count(&state.heartbeats);
            Some(("200 OK", json!({})))
        }
        (None, id) if path.starts_with("/registry/discover/") => {
            count(&state.lookups);
            state.is_registry_up.load(Relaxed).then(|| discover(id))
        }
        _ => Some(("404 Not Found", error("no such endpoint"))),
    }
}

/// Returns the registry's answer about a peer.
fn discover(id: &str) -> (&'static str, Value) {
    match PEERS.iter().find(|(peer, _)| *peer == id).map(|(_, entry)| *entry) {
        Some(PeerEntry::Known { name, role }) => {
            ("200 OK", json!({ "id": id, "name": name, "role": role, "status": "online" }))
        }
        Some(PeerEntry::Forbidden) => ("403 Forbidden", json!({ "error": "not authorised to see this workspace" })),
        Some(PeerEntry::Unknown) | None => ("404 Not Found", json!({ "error": "workspace not found" })),
    }
}
