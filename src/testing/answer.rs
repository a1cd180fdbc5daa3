//! Answers, and how they are written.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use super::json::escape_html;
use super::row::{FeedRow, PeerInfo};

/// The longest body that Go sends with its length where the handler did not set it, in bytes.
const LONGEST_BUFFERED: usize = 2_048;
/// Bytes of one chunk.
const CHUNK: usize = 64 << 10;
pub(super) const JSON_TYPE: &str = "application/json; charset=utf-8";

/// An answer.
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: AnswerBody,
}

/// The body of an answer.
pub(super) enum AnswerBody {
    Empty,
    /// With its length as a header, whatever that is.
    Sized(Vec<u8>),
    /// Chunked where it is long.
    Bytes(Vec<u8>),
    /// Rows of activity, written one by one.
    Rows(Vec<(Arc<FeedRow>, Option<PeerInfo>)>),
    /// The event stream of a workspace.
    Events(String),
}

impl HttpAnswer {
    /// An answer of JSON with sorted keys.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        HttpAnswer::raw_json(status, &body.to_string())
    }

    /// An answer of JSON text.
    pub(super) fn raw_json(status: u16, body: &str) -> Self {
        let mut bytes = Vec::new();
        escape_html(body.as_bytes(), &mut bytes);
        HttpAnswer { status, headers: vec![("Content-Type", JSON_TYPE.to_owned())], body: AnswerBody::Bytes(bytes) }
    }

    /// An answer of the relay: JSON with its length.
    pub(super) fn relayed(status: u16, body: Vec<u8>) -> Self {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        HttpAnswer { status, headers, body: AnswerBody::Sized(body) }
    }

    pub(super) fn ok(body: &Value) -> Self {
        HttpAnswer::json(200, body)
    }

    pub(super) fn error(status: u16, text: &str) -> Self {
        HttpAnswer::json(status, &json!({ "error": text }))
    }

    pub(super) fn empty(status: u16) -> Self {
        HttpAnswer { status, headers: Vec::new(), body: AnswerBody::Empty }
    }

    pub(super) fn text(status: u16, content_type: &str, body: &str) -> Self {
        let headers = vec![("Content-Type", content_type.to_owned())];
        HttpAnswer { status, headers, body: AnswerBody::Bytes(body.as_bytes().to_vec()) }
    }

    /// Returns the body, where it is a text.
    pub(super) fn body_text(&self) -> String {
        match &self.body {
            AnswerBody::Bytes(bytes) | AnswerBody::Sized(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The words of a status, as Go has them.
pub(super) fn status_text(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}

/// Writes one answer. `pace` is called with each piece before it is sent.
pub(super) struct AnswerWriter<'a, W> {
    target: W,
    pace: &'a dyn Fn(usize) -> bool,
    head: String,
    buffer: Vec<u8>,
    is_chunked: bool,
}

impl<'a, W: Write> AnswerWriter<'a, W> {
    /// `pace` waits as long as that many bytes are to take, and returns false where the connection is to end.
    pub(super) fn new(target: W, pace: &'a dyn Fn(usize) -> bool) -> Self {
        AnswerWriter { target, pace, head: String::new(), buffer: Vec::new(), is_chunked: false }
    }

    /// Writes the answer. `is_head` leaves the body out.
    pub(super) fn write(mut self, answer: &HttpAnswer, keeps_alive: bool, is_head: bool) -> io::Result<()> {
        self.head = format!("HTTP/1.1 {} {}\r\n", answer.status, status_text(answer.status));
        for (name, value) in &answer.headers {
            // A line break in a value would begin another header.
            let value: String = value.chars().filter(|c| !c.is_control()).collect();
            self.head += &format!("{name}: {value}\r\n");
        }
        if !keeps_alive {
            self.head += "Connection: close\r\n";
        }
        match &answer.body {
            _ if is_head || answer.status == 204 => return self.target.write_all((self.head + "\r\n").as_bytes()),
            AnswerBody::Empty | AnswerBody::Events(_) => {}
            AnswerBody::Bytes(bytes) => self.push(bytes)?,
            AnswerBody::Sized(bytes) => {
                self.head += &format!("Content-Length: {}\r\n\r\n", bytes.len());
                self.target.write_all(self.head.as_bytes())?;
                return bytes.chunks(CHUNK).try_for_each(|piece| send(&mut self.target, piece, self.pace));
            }
            AnswerBody::Rows(rows) => self.push_rows(rows)?,
        }
        self.finish()
    }

    fn push_rows(&mut self, rows: &[(Arc<FeedRow>, Option<PeerInfo>)]) -> io::Result<()> {
        self.push(b"[")?;
        for (at, (row, peer)) in rows.iter().enumerate() {
            self.push(if at > 0 { b"," } else { b"" })?;
            for piece in row.pieces(peer.as_ref()) {
                for part in piece.as_str().as_bytes().chunks(CHUNK) {
                    let mut escaped = Vec::new();
                    escape_html(part, &mut escaped);
                    self.push(&escaped)?;
                }
            }
        }
        self.push(b"]")
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        let limit = if self.is_chunked { CHUNK } else { LONGEST_BUFFERED };
        if self.buffer.len() <= limit {
            return Ok(());
        }
        if !self.is_chunked {
            self.is_chunked = true;
            let head = std::mem::take(&mut self.head) + "Transfer-Encoding: chunked\r\n\r\n";
            self.target.write_all(head.as_bytes())?;
        }
        self.flush_chunk()
    }

    fn flush_chunk(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        for piece in buffer.chunks(CHUNK) {
            self.target.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            send(&mut self.target, piece, self.pace)?;
            self.target.write_all(b"\r\n")?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        if self.is_chunked {
            self.flush_chunk()?;
            return self.target.write_all(b"0\r\n\r\n");
        }
        self.head += &format!("Content-Length: {}\r\n\r\n", self.buffer.len());
        let mut whole = std::mem::take(&mut self.head).into_bytes();
        whole.append(&mut self.buffer);
        send(&mut self.target, &whole, self.pace)
    }
}

fn send(target: &mut impl Write, bytes: &[u8], pace: &dyn Fn(usize) -> bool) -> io::Result<()> {
    // In small pieces, so that a slow answer trickles.
    bytes.chunks(8 << 10).try_for_each(|piece| {
        if !pace(piece.len()) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        target.write_all(piece)
    })
}
