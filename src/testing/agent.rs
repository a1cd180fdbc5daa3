//! The relay's request to an agent that has a URL.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::body::{push_up_to, read_chunks, read_line, read_sized};
use super::state::Shared;

/// The longest answer of an agent, in bytes.
pub(super) const LONGEST_ANSWER: usize = 64 << 20;
/// The most headers of an answer.
const MOST_HEADERS: usize = 256;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// So long does the relay wait for an agent.
const AGENT_TIMEOUT: Duration = Duration::from_secs(1_800);

/// The outcome of a request to an agent.
pub(super) enum AgentAnswer {
    /// Nobody took the connection, in the words of Go.
    Unreachable(String),
    /// The connection ended before a word of the answer.
    ClosedBefore,
    /// The connection ended within the answer, or the answer was too long. The agent had the message.
    ClosedWithin {
        is_truncated: bool,
    },
    Answered {
        status: u16,
        body: Vec<u8>,
    },
}

/// Posts a message to an agent.
pub(super) fn ask_agent(shared: &Shared, url: &str, body: &str) -> AgentAnswer {
    let unreachable = |why: &str| AgentAnswer::Unreachable(format!("Post \"{url}\": {why}"));
    let Some((host, path)) = split_url(url) else { return unreachable("unsupported URL") };
    let address = address_of(&host);
    let Some(address) = address else { return unreachable(&format!("dial tcp: lookup {host}: no such host")) };
    let Ok(socket) = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) else {
        return unreachable(&format!("dial tcp {address}: connect: connection refused"));
    };
    let Ok(id) = shared.remember_socket(&socket) else { return AgentAnswer::ClosedBefore };
    // The platform may have ended before the connection was remembered.
    let answer = if shared.lock().ended { AgentAnswer::ClosedBefore } else { exchange(&socket, &host, &path, body) };
    shared.forget_socket(id);
    answer
}

/// Splits an `http` URL into host and path.
fn split_url(url: &str) -> Option<(String, String)> {
    let uri = url.parse::<http::Uri>().ok()?;
    let host = uri.authority().filter(|_| uri.scheme_str() == Some("http"))?;
    let host = if host.port().is_some() { host.as_str().to_owned() } else { format!("{host}:80") };
    Some((host, uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()))
}

fn address_of(host: &str) -> Option<SocketAddr> {
    host.to_socket_addrs().ok()?.next()
}

fn exchange(socket: &TcpStream, host: &str, path: &str, body: &str) -> AgentAnswer {
    if post(socket, host, path, body).is_err() {
        return AgentAnswer::ClosedBefore;
    }
    let mut reader = BufReader::new(socket);
    let head = loop {
        match read_head(&mut reader) {
            // Interim answers come before the one that counts.
            Ok(head) if (100..200).contains(&head.status) => {}
            Ok(head) => break head,
            Err(_) => return AgentAnswer::ClosedBefore,
        }
    };
    if head.status == 204 {
        return AgentAnswer::Answered { status: 204, body: Vec::new() };
    }
    match read_body(&mut reader, &head) {
        Ok(Some(body)) => AgentAnswer::Answered { status: head.status, body },
        Ok(None) => AgentAnswer::ClosedWithin { is_truncated: true },
        Err(_) => AgentAnswer::ClosedWithin { is_truncated: false },
    }
}

fn post(mut socket: &TcpStream, host: &str, path: &str, body: &str) -> io::Result<()> {
    socket.set_read_timeout(Some(AGENT_TIMEOUT))?;
    socket.set_write_timeout(Some(AGENT_TIMEOUT))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\
         Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())
}

struct AgentHead {
    status: u16,
    length: Option<usize>,
    is_chunked: bool,
}

fn read_head(reader: &mut impl BufRead) -> io::Result<AgentHead> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let first = read_line(reader)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    let mut head = AgentHead { status, length: None, is_chunked: false };
    for _ in 0..MOST_HEADERS {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(head);
        }
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.trim().parse().ok(),
            "transfer-encoding" => head.is_chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    Err(bad())
}

/// Reads a body. `None` where it is above the limit.
fn read_body(reader: &mut impl BufRead, head: &AgentHead) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    let keep = &mut |piece: &[u8]| push_up_to(&mut body, piece, LONGEST_ANSWER);
    let is_whole = match head.length {
        _ if head.is_chunked => read_chunks(reader, keep)?,
        Some(length) => read_sized(reader, length, keep)?,
        // Up to the end of the connection.
        None => {
            let count = reader.take(LONGEST_ANSWER as u64 + 1).read_to_end(&mut body)?;
            count <= LONGEST_ANSWER
        }
    };
    Ok(is_whole.then_some(body))
}
