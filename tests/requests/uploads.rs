//! Uploads of large, changing and broken files.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use a2a_blocking::testing::Platform;
use a2a_blocking::{Delivery, ErrorKind};

use crate::support::{Dir, Reaction, Server, builder};

const ANSWER: &str = r#"{"files":[{"uri":"u","name":"n"}]}"#;

/// A content of zeros that counts what is read, and ends early or fails where it is told to.
struct Zeros {
    length: u64,
    position: u64,
    /// Its end, which may be another.
    end: u64,
    fails: bool,
    largest_read: Arc<AtomicUsize>,
}

impl Zeros {
    fn new(length: u64) -> Zeros {
        Zeros { length, position: 0, end: length, fails: false, largest_read: Arc::default() }
    }
}

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.largest_read.fetch_max(buffer.len(), SeqCst);
        if self.position >= self.end && self.fails {
            return Err(io::Error::other("the disk is gone\nFORGED"));
        }
        let n = buffer.len().min(usize::try_from(self.end.saturating_sub(self.position)).unwrap());
        buffer[..n].fill(0);
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Zeros {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(_) => self.length,
            SeekFrom::Current(_) => self.position,
        };
        Ok(self.position)
    }
}

#[test]
fn large_file_is_streamed() {
    let platform = Platform::start().unwrap();
    let client = platform.workspace("ops").client().build().unwrap();
    let zeros = Zeros::new(100 * 1024 * 1024 - 1_024);
    let largest_read = zeros.largest_read.clone();
    let file = client.upload("large", "application/octet-stream", zeros).unwrap();
    assert_eq!(file.size, Some(100 * 1024 * 1024 - 1_024));
    assert!(largest_read.load(SeqCst) <= 1024 * 1024, "{} bytes at once", largest_read.load(SeqCst));
    let above = client.upload("above", "application/octet-stream", Zeros::new(100 * 1024 * 1024)).unwrap_err();
    assert_eq!((above.kind(), above.delivery()), (ErrorKind::TooLarge, Delivery::NotSent), "{above}");
}

#[test]
fn content_that_cannot_be_read_is_not_sent() {
    let server = Server::play([Reaction::reply(200, ANSWER)]);
    let client = builder(&server).build().unwrap();
    for fails in [false, true] {
        let zeros = Zeros { end: 500_000, fails, ..Zeros::new(1_000_000) };
        let error = client.upload("n", "text/plain", zeros).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidMessage, Delivery::NotSent), "{error}");
        let text = error.to_string();
        assert!(text.contains(if fails { "the disk is gone\\nFORGED" } else { "ended before its length" }), "{text}");
        assert_eq!(error.attempts(), 1);
    }
    assert_eq!(server.requests(), [], "no request was whole");
}

#[test]
fn file_that_grows_is_sent_as_long_as_it_was() {
    let server = Server::play([Reaction::reply(200, ANSWER)]);
    let zeros = Zeros { end: 2_000, ..Zeros::new(1_000) };
    builder(&server).build().unwrap().upload("n", "text/plain", zeros).unwrap();
    let body = server.requests()[0].body.clone();
    assert_eq!(body.iter().filter(|byte| **byte == 0).count(), 1_000);
}

/// The token is read again after a 401, and the file once more from its beginning.
#[test]
fn file_is_sent_again_from_its_beginning_with_the_new_token() {
    let dir = Dir::new("upload-token");
    let file = dir.file("token");
    std::fs::write(&file, "old").unwrap();
    let rewritten = file.clone();
    let server = Server::decide(move |n, _| {
        if n > 0 {
            return Reaction::reply(200, ANSWER);
        }
        std::fs::write(&rewritten, "new").unwrap();
        Reaction::reply(401, r#"{"error":"invalid workspace auth token"}"#)
    });
    let client = builder(&server).token_file(&file).build().unwrap();
    client.upload("n", "text/plain", Cursor::new("whole content")).unwrap();
    let requests = server.requests();
    assert_eq!((requests.len(), requests[1].header("authorization")), (2, Some("Bearer new")));
    assert_eq!(requests[0].body, requests[1].body);
    assert!(String::from_utf8_lossy(&requests[1].body).contains("whole content"));
}

/// As where the platform refuses a file by its length, and closes.
#[test]
fn answer_that_comes_before_the_file_was_sent_counts() {
    let server = Server::raw(|_, mut stream| {
        use std::io::Write;
        let _head = stream.read(&mut [0; 4096]);
        let body = r#"{"error":"malformed multipart body"}"#;
        let answer = format!("HTTP/1.1 400 X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _sent = stream.write_all(answer.as_bytes());
    });
    let client = builder(&server).build().unwrap();
    let error = client.upload("n", "text/plain", Zeros::new(50 * 1024 * 1024)).unwrap_err();
    assert_eq!((error.status(), error.delivery()), (Some(400), Delivery::NotSent), "{error}");
    assert!(error.to_string().contains("malformed multipart body"), "{error}");
}
