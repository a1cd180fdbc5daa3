//! The embedded platform of the demo: a registry of a handful of peers, over real HTTP on loopback.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The workspace that the demo's client speaks for.
pub(crate) const WORKSPACE: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
/// The token that it takes.
pub(crate) const TOKEN: &str = "demo-token";
/// How long the slow peer's record takes: longer than any lookup waits.
const SLOW: Duration = Duration::from_secs(5);
/// The longest head of a request that is read, in bytes.
const MAX_HEAD: u64 = 16 * 1024;

/// What a peer does with a message.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Answers {
    AtOnce,
    /// The first attempt ends in a reset connection.
    AfterAReset,
    Queued,
    Refused,
}

/// Whom the demo writes to.
pub(crate) const ANSWERS: &[(&str, Answers)] = &[
    ("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", Answers::AtOnce),
    ("7c9e6679-7425-40de-944b-e07fc1f90ae7", Answers::AfterAReset),
    ("9a3d2b10-1c4f-4e7b-8a55-0c6d7e8f9012", Answers::Queued),
    ("c1d2e3f4-0516-4728-b94a-5b6c7d8e9fa0", Answers::Refused),
];

/// What the registry does when it is asked for a peer.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    Known { name: &'static str, role: &'static str },
    Unknown,
    Forbidden,
    Slow,
}

/// The peers of the demo, by id.
pub(crate) const PEERS: &[(&str, Manner)] = &[
    ("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", Manner::Known { name: "ops-agent", role: "sre" }),
    ("7c9e6679-7425-40de-944b-e07fc1f90ae7", Manner::Known { name: "lead", role: "team lead" }),
    ("9a3d2b10-1c4f-4e7b-8a55-0c6d7e8f9012", Manner::Known { name: "søren", role: "reviewer" }),
    ("c1d2e3f4-0516-4728-b94a-5b6c7d8e9fa0", Manner::Known { name: "billing", role: "finance" }),
    ("deadbeef-0000-4000-8000-000000000404", Manner::Unknown),
    ("deadbeef-0000-4000-8000-000000000403", Manner::Forbidden),
    ("deadbeef-0000-4000-8000-0000000051ee", Manner::Slow),
];

/// A platform that listens until the process ends.
pub(crate) struct Platform {
    pub(crate) url: String,
    ledger: Arc<Ledger>,
}

/// What the platform has seen, by its own count.
#[derive(Default)]
struct Ledger {
    lookups: AtomicU64,
    messages: AtomicU64,
    resets: AtomicU64,
}

impl Platform {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let ledger = Arc::new(Ledger::default());
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

    /// How many lookups it was asked, by its own count.
    pub(crate) fn lookups(&self) -> u64 {
        self.ledger.lookups.load(Relaxed)
    }

    /// How many messages it read, by its own count.
    pub(crate) fn messages(&self) -> u64 {
        self.ledger.messages.load(Relaxed)
    }
}

fn serve(mut stream: &TcpStream, ledger: &Ledger) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((line, headers)) = read_head(&mut reader)? {
        let (status, body) = match post_to(&line) {
            Some(peer) => {
                if peer == Answers::AfterAReset && ledger.resets.fetch_add(1, Relaxed) == 0 {
                    // Closed with the body unread: the system sends a reset.
                    return Ok(());
                }
                let length = header(&headers, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
                io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
                ledger.messages.fetch_add(1, Relaxed);
                reply(peer)
            }
            None => answer(&line, &headers, ledger),
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

fn header<'a>(headers: &'a [String], name: &str) -> Option<&'a str> {
    headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Whom a request line sends a message to.
fn post_to(line: &str) -> Option<Answers> {
    let id = line.strip_prefix("post /workspaces/")?.split("/a2a ").next()?;
    ANSWERS.iter().find(|(peer, _)| *peer == id).map(|(_, answers)| *answers)
}

fn reply(peer: Answers) -> (&'static str, Value) {
    let text = |text: &str| json!({ "result": { "role": "agent", "parts": [{ "kind": "text", "text": text }] } });
    match peer {
        Answers::AtOnce => ("200 OK", text("on it")),
        Answers::AfterAReset => ("200 OK", text("here again; what did I miss?")),
        Answers::Queued => ("202 Accepted", json!({ "status": "queued", "delivery_mode": "poll" })),
        Answers::Refused => {
            let words = "access denied: workspaces cannot communicate per hierarchy rules";
            ("403 Forbidden", json!({ "error": words }))
        }
    }
}

fn answer(line: &str, headers: &[String], ledger: &Ledger) -> (&'static str, Value) {
    let error = |words: &str| json!({ "error": words });
    let Some(id) = line.strip_prefix("get /registry/discover/").and_then(|rest| rest.split(' ').next()) else {
        return ("404 Not Found", error("no such endpoint"));
    };
    ledger.lookups.fetch_add(1, Relaxed);
    if !headers.contains(&format!("authorization: bearer {TOKEN}")) {
        return ("401 Unauthorized", error("missing or bad token"));
    }
    if !headers.contains(&format!("x-workspace-id: {WORKSPACE}")) {
        return ("400 Bad Request", error("X-Workspace-ID is missing"));
    }
    let record = |name: &str, role: &str| {
        let url = format!("http://ws-{}:8000", &id[..8]);
        json!({ "id": id, "name": name, "role": role, "status": "online", "url": url })
    };
    match PEERS.iter().find(|(peer, _)| *peer == id).map(|(_, manner)| *manner) {
        Some(Manner::Known { name, role }) => ("200 OK", record(name, role)),
        Some(Manner::Forbidden) => ("403 Forbidden", error("not authorised to see this workspace")),
        Some(Manner::Slow) => {
            thread::sleep(SLOW);
            ("200 OK", record("slowpoke", "archive"))
        }
        Some(Manner::Unknown) | None => ("404 Not Found", error("workspace not found")),
    }
}
