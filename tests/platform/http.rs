//! A client that sends what it is told, and a reader of event streams.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An answer as it came.
#[derive(Debug, Clone, Default)]
pub struct RawAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request on a new connection. `None` if no answer came in `patience`.
pub fn send(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
    patience: Duration,
) -> Option<RawAnswer> {
    let mut socket = TcpStream::connect(host).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(body) = body {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    socket.write_all((head + "\r\n").as_bytes()).unwrap();
    socket.write_all(body.unwrap_or_default()).unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).ok()?;
    Some(read_answer(&all, method == "HEAD"))
}

fn read_answer(all: &[u8], is_head: bool) -> RawAnswer {
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(':').unwrap());
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    let mut answer = RawAnswer { status, headers, body: all[end + 4..].to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") && !is_head {
        answer.body = unchunk(&answer.body);
    }
    answer
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return out;
        }
        out.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

/// An open event stream.
pub struct EventStream {
    socket: TcpStream,
    raw: Vec<u8>,
    /// Bytes of the body that were taken.
    taken: usize,
    pub is_closed: bool,
}

impl EventStream {
    pub fn open(host: &str, workspace: &str, token: &str, more: &str) -> EventStream {
        let mut socket = TcpStream::connect(host).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let head = format!("GET /workspaces/{workspace}/events/stream HTTP/1.1\r\nHost: {host}\r\n{token}{more}\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        EventStream { socket, raw: Vec::new(), taken: 0, is_closed: false }
    }

    /// Reads until `done` of all that came is true. Returns what came in all.
    pub fn read_until(&mut self, done: impl Fn(&str) -> bool) -> String {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let text = String::from_utf8_lossy(&self.raw).into_owned();
            if done(&text) || self.is_closed || Instant::now() > give_up {
                return text;
            }
            self.read_some();
        }
    }

    fn read_some(&mut self) {
        let mut piece = vec![0; 1 << 20];
        match self.socket.read(&mut piece) {
            Ok(0) => self.is_closed = true,
            Ok(count) => self.raw.extend_from_slice(&piece[..count]),
            Err(_) => {}
        }
    }

    /// Returns the text of the events that came since the last call: exactly `count`, as soon as they are there.
    ///
    /// With `count` 0 a heartbeat of the caller's is no help to know that nothing else comes: it waits 100 ms.
    pub fn events(&mut self, count: usize) -> Vec<String> {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let events = self.parse();
            let is_enough = count > 0 && events.len() >= count;
            if is_enough || Instant::now() > give_up {
                self.taken += events.len();
                return events;
            }
            let before = self.raw.len();
            self.read_some();
            if count == 0 && self.raw.len() == before {
                return events;
            }
        }
    }

    fn parse(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.raw).into_owned();
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let events = body.split("\r\n").filter(|line| line.starts_with("data: ") && line.ends_with("\n\n"));
        events.skip(self.taken).map(|event| event.trim_end().to_owned()).collect()
    }
}
