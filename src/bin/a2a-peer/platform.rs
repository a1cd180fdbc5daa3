//! The embedded platform of the demo: a registry, and the inboxes of two workspaces, over real HTTP on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

/// The workspaces that the demo polls for.
pub(crate) const WORKSPACES: [&str; 2] =
    ["0f0e0d0c-0b0a-4908-8706-050403020100", "1f1e1d1c-1b1a-4918-9716-151413121110"];
/// The token that it takes.
pub(crate) const TOKEN: &str = "demo-token";
/// The longest head of a request, and the largest body, that is read, in bytes.
const MAX_HEAD: u64 = 16 * 1024;
const MAX_BODY: u64 = 1024 * 1024;

/// What the registry does when it is asked for a peer.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    Known { name: &'static str, role: &'static str },
    Unknown,
    Forbidden,
}

/// The peers of the demo, by id.
pub(crate) const PEERS: &[(&str, Manner)] = &[
    ("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", Manner::Known { name: "ops-agent", role: "sre" }),
    ("7c9e6679-7425-40de-944b-e07fc1f90ae7", Manner::Known { name: "lead", role: "team lead" }),
    ("9a3d2b10-1c4f-4e7b-8a55-0c6d7e8f9012", Manner::Known { name: "søren", role: "reviewer" }),
    ("c1d2e3f4-0516-4728-b94a-5b6c7d8e9fa0", Manner::Known { name: "billing", role: "finance" }),
    ("deadbeef-0000-4000-8000-000000000404", Manner::Unknown),
    ("deadbeef-0000-4000-8000-000000000403", Manner::Forbidden),
];

/// A platform that listens until the process ends. Its clones are one.
#[derive(Clone)]
pub(crate) struct Platform {
    pub(crate) url: String,
    ledger: Arc<Ledger>,
}

/// What the platform has, and has seen, by its own count.
struct Ledger {
    start: Instant,
    registry_is_dead: AtomicBool,
    lookups: AtomicU64,
    messages: AtomicU64,
    notices: AtomicU64,
    heartbeats: AtomicU64,
    /// Each workspace's rows, in their order.
    inboxes: [Mutex<Vec<Value>>; 2],
}

impl Platform {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let ledger = Arc::new(Ledger {
            start: Instant::now(),
            registry_is_dead: AtomicBool::new(false),
            lookups: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            notices: AtomicU64::new(0),
            heartbeats: AtomicU64::new(0),
            inboxes: Default::default(),
        });
        let shared = ledger.clone();
        thread::Builder::new().name("platform".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let ledger = shared.clone();
                // A connection that ends badly is the client's to notice.
                thread::spawn(move || drop(serve(&stream, &ledger)));
            }
        })?;
        Ok(Platform { url, ledger })
    }

    /// Somebody writes to a workspace; without a peer it is its human.
    pub(crate) fn write(&self, workspace: usize, peer: Option<&str>, text: &str) {
        let parts = json!([{ "kind": "text", "text": text }]);
        let request = json!({ "params": { "message": { "role": "user", "parts": parts } } });
        self.ledger.add(workspace, json!({ "source_id": peer, "method": "message/send", "request_body": request }));
    }

    /// A registry that is dead accepts connections and says nothing.
    pub(crate) fn set_registry(&self, alive: bool) {
        self.ledger.registry_is_dead.store(!alive, Relaxed);
    }

    /// The ids of the rows that others wrote to a workspace, in their order.
    pub(crate) fn ids(&self, workspace: usize) -> Vec<String> {
        let rows = self.ledger.rows(workspace);
        let others = rows.iter().filter(|row| row["method"] != "notify");
        others.filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
    }

    /// Lookups, messages, notices and heartbeats that it has read.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let Ledger { lookups, messages, notices, heartbeats, .. } = &*self.ledger;
        [lookups, messages, notices, heartbeats].map(|count| count.load(Relaxed))
    }
}

impl Ledger {
    fn rows(&self, workspace: usize) -> std::sync::MutexGuard<'_, Vec<Value>> {
        // Nothing that is done under it can panic half way.
        self.inboxes[workspace].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, workspace: usize, mut row: Value) {
        let mut rows = self.rows(workspace);
        let (n, at) = (rows.len(), self.start.elapsed());
        let (seconds, micros) = (at.as_secs(), at.subsec_micros());
        row["id"] = format!("{:08x}-0000-4000-8000-{n:012x}", 0xac71_0000_u32 + workspace as u32).into();
        row["created_at"] = format!("2026-05-01T12:{:02}:{:02}.{micros:06}Z", seconds / 60 % 60, seconds % 60).into();
        rows.push(row);
    }

    /// As the real one: after a row the oldest first, otherwise the newest first.
    fn list(&self, workspace: usize, query: &str) -> (&'static str, Value) {
        let param = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let limit = param("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
        let rows = self.rows(workspace);
        if let Some(since) = param("since_id") {
            let Some(place) = rows.iter().position(|row| row["id"] == since) else {
                return ("410 Gone", json!({ "error": "since_id cursor not found" }));
            };
            return ("200 OK", rows[place + 1..].iter().take(limit).cloned().collect());
        }
        let before = param("before_ts").map(|time| time.replace("%3a", ":").to_ascii_uppercase());
        let asked = |row: &&Value| {
            let at = row["created_at"].as_str().unwrap_or_default();
            before.as_deref().is_none_or(|before| at.trim_end_matches('Z') < before)
        };
        ("200 OK", rows.iter().rev().filter(asked).take(limit).cloned().collect())
    }
}

fn serve(mut stream: &TcpStream, ledger: &Ledger) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((line, headers)) = read_head(&mut reader)? {
        let header = |name: &str| headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let length: u64 = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        io::copy(&mut (&mut reader).take(length.min(MAX_BODY)), &mut io::sink())?;
        let Some((status, body)) = answer(&line, header("authorization"), ledger) else {
            // Until the client goes.
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

/// The request line and the header lines of the next request, in lower case; `None` at the end.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Vec<String>)>> {
    let mut lines = reader.take(MAX_HEAD).lines().map(|line| line.map(|line| line.to_ascii_lowercase()));
    let Some(first) = lines.next().transpose()? else { return Ok(None) };
    let headers =
        lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).collect::<io::Result<_>>()?;
    Ok(Some((first, headers)))
}

/// `None` is silence.
fn answer(line: &str, authorization: Option<&str>, ledger: &Ledger) -> Option<(&'static str, Value)> {
    let error = |words: &str| json!({ "error": words });
    if authorization != Some(&format!("bearer {TOKEN}")) {
        return Some(("401 Unauthorized", error("missing or bad token")));
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let count = |count: &AtomicU64| count.fetch_add(1, Relaxed);
    let own = WORKSPACES.iter().position(|id| path.starts_with(&format!("/workspaces/{id}/")));
    match (own, path.rsplit('/').next().unwrap_or_default()) {
        (Some(workspace), "activity") => Some(ledger.list(workspace, query)),
        (Some(workspace), "notify") => {
            count(&ledger.notices);
            // As the real one: what we say to our human comes up in our own inbox.
            ledger.add(workspace, json!({ "source_id": null, "method": "notify", "summary": "our own notice" }));
            Some(("200 OK", json!({})))
        }
        (None, "a2a") => {
            count(&ledger.messages);
            let parts = json!([{ "kind": "text", "text": "thank you" }]);
            Some(("200 OK", json!({ "result": { "role": "agent", "parts": parts } })))
        }
        (None, "heartbeat") => {
            count(&ledger.heartbeats);
            Some(("200 OK", json!({})))
        }
        (None, id) if path.starts_with("/registry/discover/") => {
            count(&ledger.lookups);
            (!ledger.registry_is_dead.load(Relaxed)).then(|| record(id))
        }
        _ => Some(("404 Not Found", error("no such endpoint"))),
    }
}

fn record(id: &str) -> (&'static str, Value) {
    match PEERS.iter().find(|(peer, _)| *peer == id).map(|(_, manner)| *manner) {
        Some(Manner::Known { name, role }) => {
            ("200 OK", json!({ "id": id, "name": name, "role": role, "status": "online" }))
        }
        Some(Manner::Forbidden) => ("403 Forbidden", json!({ "error": "not authorised to see this workspace" })),
        Some(Manner::Unknown) | None => ("404 Not Found", json!({ "error": "workspace not found" })),
    }
}
