//! Requests as they are read, <https://www.rfc-editor.org/rfc/rfc9112>.

use std::io::{self, BufReader, ErrorKind, Read};

use super::body::{push_up_to, read_chunks, read_line, read_sized};

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 << 10;
/// The most lines of a head.
const MOST_LINES: usize = 1_000;
/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;
/// The longest body that the relay takes, in bytes.
pub(super) const LONGEST_BODY: usize = 16 << 20;
/// The longest body of most calls, in bytes.
const LONGEST_OTHER: usize = 1 << 20;
/// The longest upload, in bytes, with what surrounds the files.
pub(super) const LONGEST_UPLOAD: usize = 100 << 20;

/// A request.
#[derive(Debug, Default)]
pub(super) struct HttpRequest {
    pub(super) method: String,
    /// Path without the query, in its parts.
    pub(super) path: Vec<String>,
    /// Decoded, in the order of the query.
    pub(super) query: Vec<(String, String)>,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// True if the body was above its limit. Then `body` is its beginning.
    pub(super) is_too_large: bool,
    pub(super) keeps_alive: bool,
}

impl HttpRequest {
    /// Returns a header, or an empty text.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Returns the bearer token, if there is one.
    pub(super) fn bearer(&self) -> Option<&str> {
        self.header("authorization").strip_prefix("Bearer ").filter(|token| !token.is_empty())
    }

    /// Returns the first value of a name in the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads the body as JSON. Duplicate keys, numbers and depth are as `serde_json` has them.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Reads the body as a JSON object.
    pub(super) fn json_object(&self) -> Option<serde_json::Value> {
        self.json().filter(serde_json::Value::is_object)
    }
}

/// A connection with what was read from it and not used yet.
pub(super) struct RequestReader<R> {
    source: BufReader<R>,
}

impl<R: Read> RequestReader<R> {
    pub(super) fn new(source: R) -> Self {
        RequestReader { source: BufReader::with_capacity(BUFFER, source) }
    }

    /// Reads the next request. `None` at the end of the connection, and where the request cannot be read.
    ///
    /// `on_continue` is called where the client waits for a word before it sends the body.
    pub(super) fn next_request(&mut self, on_continue: impl FnOnce()) -> io::Result<Option<HttpRequest>> {
        match self.read_request(on_continue) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => Ok(None),
            read => read,
        }
    }

    fn read_request(&mut self, on_continue: impl FnOnce()) -> io::Result<Option<HttpRequest>> {
        let Some(mut request) = read_head(&self.read_lines()?) else { return Ok(None) };
        let is_chunked = request.header("transfer-encoding").eq_ignore_ascii_case("chunked");
        let length = request.header("content-length");
        let Ok(length) = (if length.is_empty() { Ok(0) } else { length.parse::<usize>() }) else { return Ok(None) };
        if request.header("expect").eq_ignore_ascii_case("100-continue") && (is_chunked || length > 0) {
            on_continue();
        }
        let limit = match request.path.last().map(String::as_str) {
            Some("uploads") => LONGEST_UPLOAD,
            Some("a2a" | "inbound" | "activity" | "notify" | "broadcast") => LONGEST_BODY,
            _ => LONGEST_OTHER,
        };
        // What is above the limit is read and dropped.
        let HttpRequest { body, is_too_large, .. } = &mut request;
        let keep = &mut |piece: &[u8]| {
            *is_too_large |= !push_up_to(body, piece, limit);
            true
        };
        if is_chunked {
            read_chunks(&mut self.source, keep)?;
            // Trailers, up to an empty line.
            self.read_lines()?;
        } else {
            read_sized(&mut self.source, length, keep)?;
        }
        Ok(Some(request))
    }

    /// Reads lines up to an empty one.
    fn read_lines(&mut self) -> io::Result<Vec<String>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let line = read_line(&mut self.source)?;
            bytes += line.len();
            if bytes > LONGEST_HEAD || lines.len() > MOST_LINES {
                return Err(ErrorKind::InvalidData.into());
            }
            if line.is_empty() {
                return Ok(lines);
            }
            lines.push(line);
        }
    }
}

/// Reads the request line and the headers.
fn read_head(lines: &[String]) -> Option<HttpRequest> {
    let mut lines = lines.iter();
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    });
    let mut request = HttpRequest {
        method: method.to_owned(),
        path: path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        query: query.collect(),
        headers,
        ..HttpRequest::default()
    };
    request.keeps_alive = version == "HTTP/1.1" && !request.header("connection").eq_ignore_ascii_case("close");
    Some(request)
}

/// Decodes a part of a query: `%xx`, and `+` as a space.
fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Option<HttpRequest> {
        RequestReader::new(text).next_request(|| {}).unwrap()
    }

    #[test]
    fn request_is_read_whatever_its_framing() {
        let plain = read(b"POST /a/b?x=1+2&y=%2B HTTP/1.1\r\nContent-Length: 2\r\nX-Y:  z\r\n\r\n{}rest").unwrap();
        assert_eq!((plain.path.join("/").as_str(), plain.parameter("x")), ("a/b", Some("1 2")));
        assert_eq!((plain.parameter("y"), plain.header("x-y"), plain.body.as_slice()), (Some("+"), "z", &b"{}"[..]));
        let chunked =
            read(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x\r\n}\r\n0\r\n\r\n").unwrap();
        assert_eq!(chunked.body, b"{}");
    }

    #[test]
    fn hostile_request_is_refused() {
        for text in ["", "GET", "GET /\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
        let chunk = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n";
        assert!(read(chunk).is_none());
    }
}
