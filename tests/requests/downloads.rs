//! Files that the platform keeps for us: fetched whole into a writer, and acknowledged only then.

use std::error::Error as _;
use std::io::{self, Write};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::testing::Platform;
use a2a_blocking::{Client, Error, ErrorKind, InboxMessageKind, InboxPoller, Message, Verdict};

use crate::poll::{capture_log, logged};
use crate::support::{Dir, Reaction, Request, Server, WORKSPACE, builder};

const FILE: &str = "5adfce0f-79b1-454a-9ada-0420e927f11a";
const ACK: &str = r#"{"acked":true}"#;

fn uri() -> String {
    format!("platform-pending:{WORKSPACE}/{FILE}")
}

fn path(end: &str) -> String {
    format!("/workspaces/{WORKSPACE}/pending-uploads/{FILE}/{end}")
}

/// A server whose content is this reaction.
fn content(reaction: Reaction) -> Server {
    Server::decide(move |_, request| match request.method.as_str() {
        "GET" => reaction.clone(),
        _ => Reaction::reply(200, ACK),
    })
}

fn client(server: &Server) -> Client {
    builder(server).token("tok-hush").build().unwrap()
}

/// Fetches the file. Returns the outcome, what was written, and the requests.
fn fetched(server: &Server) -> (Result<u64, Error>, Vec<u8>, Vec<Request>) {
    let mut written = Vec::new();
    let outcome = client(server).open_file(uri()).unwrap().write_to(&mut written);
    (outcome, written, server.requests())
}

fn is_acked(server: &Server) -> bool {
    server.requests().iter().any(|request| (request.method.as_str(), request.path.as_str()) == ("POST", &path("ack")))
}

#[test]
fn dropped_file_is_opened_from_its_message() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("download"));
    let uri = platform.upload(&ops, "a b.txt", "text/plain", "hello");
    let _empty = platform.upload(&ops, "empty", "text/plain", "");
    let client = ops.client().build().unwrap();
    let mut poller = InboxPoller::builder(client.clone()).cursor_file(dir.file("cursor")).build().unwrap();
    let mut files = Vec::new();
    let summary = poller.poll_once(|message| {
        assert_eq!(message.kind(), InboxMessageKind::Upload);
        let [file] = message.attachments() else { panic!("{message:?}") };
        let mut content = Vec::new();
        let opened = message.open(file).unwrap();
        assert_eq!((file.file_id(), file.size), (Some(opened.id()), opened.write_to(&mut content).ok()));
        files.push(String::from_utf8(content).unwrap());
        Verdict::Ack
    });
    assert_eq!((summary.unwrap().delivered, files), (2, vec!["hello".to_owned(), String::new()]));
    // Again, after the acknowledgement.
    let mut again = Vec::new();
    assert_eq!((client.open_file(uri).unwrap().write_to(&mut again).unwrap(), again), (5, b"hello".to_vec()));
}

#[test]
fn file_that_we_uploaded_and_a_later_message_that_names_it_can_be_opened() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("download-later"));
    let client = ops.client().build().unwrap();
    let file = client.upload("n", "text/plain", io::Cursor::new("ours")).unwrap();
    let dev = platform.workspace("dev").client().build().unwrap();
    dev.send_message(ops.id(), Message::from("see").file_uri("n", "text/plain", file.uri)).unwrap();
    let mut poller = InboxPoller::builder(client).cursor_file(dir.file("cursor")).build().unwrap();
    let mut content = Vec::new();
    let summary = poller.poll_once(|message| {
        Verdict::after(message.open(&message.attachments()[0]).and_then(|file| file.write_to(&mut content)))
    });
    assert_eq!((summary.unwrap().delivered, content), (1, b"ours".to_vec()));
}

#[test]
fn content_and_acknowledgement_are_asked_for_as_documented() {
    let server = content(Reaction::reply(200, "hello file").header("Content-Type", "text/plain"));
    let (outcome, written, requests) = fetched(&server);
    assert_eq!((outcome.unwrap(), written), (10, b"hello file".to_vec()));
    let made: Vec<_> = requests.iter().map(|request| (request.method.as_str(), request.path.clone())).collect();
    assert_eq!(made, [("GET", path("content")), ("POST", path("ack"))]);
    assert_eq!((requests[0].header("accept"), requests[0].body.len()), (Some("*/*"), 0));
    assert_eq!(requests[1].body, b"{}");
    assert!(requests.iter().all(|request| request.header("authorization") == Some("Bearer tok-hush")));
}

/// A writer that counts, and keeps nothing.
#[derive(Default)]
struct Counter {
    bytes: u64,
    largest: usize,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.largest = self.largest.max(bytes.len());
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn large_file_is_streamed() {
    let length = 100 * 1024 * 1024;
    let server = Server::raw(move |connection, mut stream| {
        let _head = io::Read::read(&mut stream, &mut [0; 4096]);
        let (length, chunk) = if connection == 0 { (length, 64 * 1024) } else { (0, 1) };
        let _head = write!(stream, "HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n");
        for _ in 0..length / chunk {
            let _part = stream.write_all(&vec![7; chunk]);
        }
    });
    let mut counter = Counter::default();
    assert_eq!(client(&server).open_file(uri()).unwrap().write_to(&mut counter).unwrap(), length as u64);
    assert_eq!(counter.bytes, length as u64);
    assert!(counter.largest <= 64 * 1024, "{} bytes at once", counter.largest);
}

#[test]
fn file_above_the_maximum_is_refused() {
    let chunked = |text: &str| {
        let body =
            format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
        Reaction::Raw(body.into_bytes())
    };
    for (reaction, max_size, is_written) in [
        (Reaction::reply(200, "12345"), 5, true),
        (chunked("12345"), 5, true),
        (Reaction::reply(200, ""), 0, true),
        (Reaction::reply(200, "12345"), 4, false),
        (chunked("12345"), 4, false),
        // Nothing comes after the head.
        (Reaction::raw("HTTP/1.1 200 X\r\nContent-Length: 104857601\r\n\r\n"), 100 << 20, false),
    ] {
        let server = content(reaction.clone());
        let mut written = Vec::new();
        let outcome = client(&server).open_file(uri()).unwrap().max_size(max_size).write_to(&mut written);
        assert_eq!(
            (outcome.is_ok(), is_acked(&server)),
            (is_written, is_written),
            "{max_size} {reaction:?}: {outcome:?}"
        );
        if let Err(error) = outcome {
            assert_eq!((error.kind(), written.len()), (ErrorKind::TooLarge, 0), "{error}");
            assert!(
                error.to_string().contains(&format!("above {max_size} bytes, the limit of this client: `max_size`"))
            );
        }
    }
    let server = content(Reaction::raw("HTTP/1.1 200 X\r\nContent-Length: 104857601\r\n\r\n"));
    let error = fetched(&server).0.unwrap_err();
    assert!(error.kind() == ErrorKind::TooLarge && error.to_string().contains("above 104857600 bytes"), "{error}");
}

/// As where the platform or a proxy ends in the middle of a file.
#[test]
fn part_of_a_file_is_an_error_and_not_acknowledged() {
    let chunked = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, kind) in [
        ("HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nhello".to_owned(), ErrorKind::Disconnected),
        ("HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\n".to_owned(), ErrorKind::Disconnected),
        (format!("{chunked}a\r\nhello"), ErrorKind::Disconnected),
        (format!("{chunked}5\r\nhello\r\n"), ErrorKind::Disconnected),
        (chunked.to_owned(), ErrorKind::Disconnected),
        // It ends with its connection, so that nobody knows whether it is whole.
        ("HTTP/1.1 200 X\r\n\r\nhello".to_owned(), ErrorKind::Malformed),
        ("HTTP/1.0 200 X\r\n\r\nhello".to_owned(), ErrorKind::Malformed),
        ("HTTP/1.1 200 X\r\nTransfer-Encoding: gzip\r\n\r\nhello".to_owned(), ErrorKind::Malformed),
        ("HTTP/1.1 200 X\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello".to_owned(), ErrorKind::Malformed),
    ] {
        for reaction in [Reaction::raw(&head), Reaction::Reset(head.clone().into_bytes())] {
            let server = content(reaction.clone());
            let (outcome, written, requests) = fetched(&server);
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), kind, "{reaction:?}: {error}");
            assert!(b"hello".starts_with(&written) && requests.len() == 1, "{reaction:?}: {written:?} {requests:?}");
            assert!(error.to_string().starts_with(&format!("GET {}{}: ", server.url(), path("content"))), "{error}");
        }
    }
}

#[test]
fn request_that_a_closed_connection_lost_is_repeated_and_nothing_is_written_twice() {
    let server = Server::decide(|n, _| match n {
        0 => Reaction::reply(200, r#"{"id":"w"}"#),
        1 => Reaction::Close,
        2 => Reaction::reply(200, "hello"),
        _ => Reaction::reply(200, ACK),
    });
    let client = client(&server);
    client.workspace().unwrap();
    let mut written = Vec::new();
    client.open_file(uri()).unwrap().write_to(&mut written).unwrap();
    assert_eq!((written, server.requests().len()), (b"hello".to_vec(), 4));
}

#[test]
fn silence_ends_with_the_files_time() {
    let head = "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nhel";
    for reaction in [
        Reaction::Hang,
        Reaction::Trickle { head: head.into(), slow: b"lo file".to_vec(), pause: Duration::from_millis(100) },
    ] {
        let server = content(reaction.clone());
        let file = client(&server).open_file(uri()).unwrap().timeout(Duration::from_millis(300));
        let (start, mut written) = (Instant::now(), Vec::new());
        let error = file.write_to(&mut written).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert_eq!(
            (error.kind(), error.is_transient(), is_acked(&server)),
            (ErrorKind::Timeout, true, false),
            "{error}"
        );
    }
}

#[test]
fn trickle_ends_after_ten_seconds() {
    let slow = vec![b'x'; 300];
    let head = "HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n";
    let server = content(Reaction::Trickle { head: head.into(), slow, pause: Duration::from_millis(50) });
    let start = Instant::now();
    let error = fetched(&server).0.unwrap_err();
    assert!((9..14).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(error.kind() == ErrorKind::Timeout && error.to_string().contains("64 KiB a second"), "{error}");
    assert!(!is_acked(&server));
}

/// As a pipe to a program that is busy.
struct SlowAtFirst(Counter);

impl Write for SlowAtFirst {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.bytes == 0 {
            thread::sleep(Duration::from_millis(10_500));
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn slow_writer_is_no_slow_platform() {
    let server = content(Reaction::reply(200, vec![7; 300_000]));
    let mut writer = SlowAtFirst(Counter::default());
    assert_eq!(client(&server).open_file(uri()).unwrap().write_to(&mut writer).unwrap(), 300_000);
    assert!(is_acked(&server));
}

/// A writer that fails at a call.
struct Failing {
    writes: usize,
    fails_at: Option<usize>,
    panics: bool,
}

impl Failing {
    fn fail(&self) -> io::Result<()> {
        assert!(!self.panics, "a panic of the test");
        Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full\nFORGED"))
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.fails_at == Some(self.writes) {
            self.fail()?;
        }
        self.writes += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.fails_at.is_none() { self.fail() } else { Ok(()) }
    }
}

#[test]
fn failure_of_the_writer_is_named_and_the_file_not_acknowledged() {
    for (fails_at, panics) in [(Some(0), false), (Some(1), false), (None, false), (Some(1), true), (None, true)] {
        let server = content(Reaction::reply(200, vec![7; 1_000_000]));
        let mut writer = Failing { writes: 0, fails_at, panics };
        let error = client(&server).open_file(uri()).unwrap().write_to(&mut writer).unwrap_err();
        let text = error.to_string();
        assert_eq!(
            (error.kind(), error.is_transient(), is_acked(&server)),
            (ErrorKind::Internal, false, false),
            "{text}"
        );
        assert!(
            text.starts_with(&format!("GET {}{}: the writer failed after ", server.url(), path("content"))),
            "{text}"
        );
        assert!(text.contains(if panics { "it panicked" } else { "the disk is full\\nFORGED" }), "{text}");
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), (!panics).then_some(io::ErrorKind::StorageFull));
    }
}

#[test]
fn status_is_named_and_nothing_is_written() {
    let said = |words: &str| format!(r#"{{"error":"{words}"}}"#);
    for (status, body, kind) in [
        (404, said("pending upload not found or expired"), ErrorKind::NotFound),
        (410, said("expired"), ErrorKind::NotFound),
        (410, said("removed"), ErrorKind::Removed),
        (404, String::new(), ErrorKind::Status),
        (404, "<html>".to_owned(), ErrorKind::Status),
        (400, said("invalid file_id"), ErrorKind::Status),
        (403, said("no"), ErrorKind::Unauthorized),
        (401, said("invalid workspace auth token"), ErrorKind::Unauthorized),
        (302, String::new(), ErrorKind::Status),
        (206, "hel".to_owned(), ErrorKind::Status),
        (204, String::new(), ErrorKind::Status),
        (500, said("the words of tok-hush"), ErrorKind::Status),
        (503, String::new(), ErrorKind::Status),
    ] {
        let server = content(Reaction::reply(status, &body));
        let (outcome, written, _) = fetched(&server);
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{body}: {error}");
        assert!(written.is_empty() && !is_acked(&server), "{status} {body}");
        assert!(!format!("{error:?} {error:#?}").contains("tok-hush"), "{error:?}");
        let is_advised = error.to_string().contains("ask its sender to send it again");
        assert_eq!(is_advised, kind == ErrorKind::NotFound, "{error}");
    }
}

#[test]
fn file_is_fetched_with_the_new_token_after_a_401() {
    let dir = Dir::new("download-token");
    let token = dir.file("token");
    std::fs::write(&token, "old").unwrap();
    let rewritten = token.clone();
    let server = Server::decide(move |n, _| match n {
        0 => {
            std::fs::write(&rewritten, "new").unwrap();
            Reaction::reply(401, r#"{"error":"invalid workspace auth token"}"#)
        }
        1 => Reaction::reply(200, "hello"),
        _ => Reaction::reply(200, ACK),
    });
    let mut written = Vec::new();
    let client = builder(&server).token_file(&token).build().unwrap();
    client.open_file(uri()).unwrap().write_to(&mut written).unwrap();
    let requests = server.requests();
    let tokens: Vec<_> = requests.iter().map(|request| request.header("authorization").unwrap()).collect();
    assert_eq!((written, tokens), (b"hello".to_vec(), vec!["Bearer old", "Bearer new", "Bearer new"]));
}

#[test]
fn removal_is_found_after_a_401() {
    let server = Server::decide(|_, request| match request.path.ends_with(WORKSPACE) {
        true => Reaction::reply(410, format!(r#"{{"error":"workspace removed","id":"{WORKSPACE}"}}"#)),
        false => Reaction::reply(401, r#"{"error":"invalid workspace auth token"}"#),
    });
    let (outcome, written, _) = fetched(&server);
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.removed().is_some(), written.len()), (ErrorKind::Removed, true, 0), "{error}");
}

#[test]
fn failed_acknowledgement_is_logged_and_no_failure() {
    capture_log();
    for (ack, warnings) in [
        // It expired in between, or was acknowledged before.
        (Reaction::reply(404, r#"{"error":"pending upload not found, expired, or already acked"}"#), 0),
        (Reaction::reply(500, r#"{"error":"no"}"#), 1),
        (Reaction::reply(401, r#"{"error":"invalid workspace auth token"}"#), 1),
        (Reaction::Close, 1),
    ] {
        let server = Server::decide(move |_, request| match request.method.as_str() {
            "GET" if request.path.ends_with(WORKSPACE) => Reaction::reply(200, "{}"),
            "GET" => Reaction::reply(200, "hello"),
            _ => ack.clone(),
        });
        let (outcome, written, _) = fetched(&server);
        assert_eq!((outcome.unwrap(), written), (5, b"hello".to_vec()));
        let lines = logged(&["WARN", "POST", &server.url(), "the file is written"]);
        assert_eq!(lines, warnings, "{:?}", server.requests());
    }
}

#[test]
fn address_that_is_no_file_of_ours_makes_no_request() {
    let server = content(Reaction::reply(200, "hello"));
    let client = client(&server);
    for address in [
        "",
        "https://x.test/a",
        "workspace:/tmp/a",
        "platform-pending:",
        "platform-pending:3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c/f",
        &format!("platform-pending:{WORKSPACE}/../state"),
        &format!("platform-pending:{WORKSPACE}/..%2f..%2fstate"),
        &format!("platform-pending:{WORKSPACE}/x?y"),
        &format!("platform-pending:{WORKSPACE}/x\r\nX: y"),
    ] {
        let error = client.open_file(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidMessage, "{address}: {error}");
    }
    assert_eq!(server.requests(), []);
}

/// Threads that fetch one file each get all of it.
#[test]
fn files_are_fetched_side_by_side() {
    let server = content(Reaction::reply(200, vec![7; 500_000]));
    let (client, whole) = (client(&server), Mutex::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut counter = Counter::default();
                client.open_file(uri()).unwrap().write_to(&mut counter).unwrap();
                *whole.lock().unwrap() += counter.bytes;
            });
        }
    });
    assert_eq!((*whole.lock().unwrap(), server.requests().len()), (4_000_000, 16));
}
