//! A system that was suspended for 8 h, which is longer than any record is served.
//!
//! No test can suspend the machine. The tests run in child processes whose clocks show what they would show:
//! `suspend.c` is preloaded.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use a2a_blocking::{CircuitState, Client, InboxPoller, LookupSource, PeerId, Verdict};

use crate::support::{Dir, PEER, Reaction, Server, TIMEOUT, builder, eventually};

const OTHER: &str = "9a3d2b10-1c4f-4e7b-8a55-0c6d7e8f9012";
const LONG: Duration = Duration::from_secs(600);

/// Builds the library that changes the clocks. A C compiler is needed for `ring`, too.
fn library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/suspend.c");
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("suspend-{}.so", std::process::id()));
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(built.unwrap().success());
        library
    };
    BUILT.get_or_init(build).clone()
}

/// Runs one part in a child process.
fn run_part(name: &str) {
    let dir = Dir::new("suspend");
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "suspend::child", "--nocapture", "--test-threads", "1"]);
    child.env("LD_PRELOAD", library()).env("A2A_TEST_SUSPENDED", dir.file("suspended")).env("A2A_TEST_PART", name);
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("all of it ran"), "{text}\n{why}");
}

/// Runs in a child process.
#[test]
fn child() {
    match env::var("A2A_TEST_PART").as_deref() {
        Ok("records") => check_records(),
        Ok("absences") => check_absences_and_failures(),
        Ok("probe") => check_probe(),
        Ok("connection") => check_connection(),
        Ok("inbox") => check_inbox(),
        Ok(part) => panic!("no part {part}"),
        Err(_) => return,
    }
    println!("all of it ran");
}

/// Suspends the system for 8 h.
fn suspend() {
    let path = env::var("A2A_TEST_SUSPENDED").unwrap();
    File::options().create(true).append(true).open(&path).unwrap().write_all(b".").unwrap();
    assert!(fs::metadata(path).unwrap().len() > 0);
}

/// A registry that numbers its records.
fn registry() -> Server {
    let records = AtomicUsize::new(0);
    Server::decide(move |_, _| Reaction::reply(200, format!(r#"{{"name":"record {}"}}"#, records.fetch_add(1, SeqCst))))
}

/// Asks often enough that this thread keeps the answer.
fn ask_often(client: &Client) {
    let id = PeerId::parse(PEER).unwrap();
    for _ in 0..100 {
        let peer = client.enrich(PEER).unwrap();
        assert_eq!(client.enrich(id).as_ref(), Some(&peer));
        assert_eq!(client.enrich(&peer).as_ref(), Some(&peer));
        assert_eq!(client.enrich_nonblocking(PEER).as_ref(), Some(&peer));
    }
}

fn check_records() {
    let server = registry();
    let client = builder(&server).build().unwrap();
    let id = PeerId::parse(PEER).unwrap();
    ask_often(&client);
    suspend();
    let lookup = client.lookup(PEER);
    assert_eq!((lookup.source, lookup.peer.unwrap().name()), (LookupSource::Fetched, Some("record 1")));
    assert_eq!(client.lookup(PEER).source, LookupSource::Fresh);

    ask_often(&client);
    suspend();
    assert_eq!(client.lookup(id).source, LookupSource::Fetched);
    ask_often(&client);
    suspend();
    // The caller's clock has stood still, too.
    assert_eq!(client.lookup_at(PEER, Instant::now()).source, LookupSource::Fetched);
    assert_eq!(client.lookup_at(PEER, Instant::now() + Duration::from_secs(200)).source, LookupSource::Fresh);
    ask_often(&client);
    suspend();
    assert_eq!(client.enrich_nonblocking(PEER), None, "too old to be served");
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!(client.enrich_nonblocking(PEER).unwrap().name(), Some("record 4"));
    assert_eq!(server.requests().len(), 5);
}

fn check_absences_and_failures() {
    for answer in [Reaction::reply(404, r#"{"error":"no such workspace"}"#), Reaction::reply(500, "{}")] {
        let server = Server::play([answer, Reaction::reply(200, "{}")]);
        let client = builder(&server).error_ttl(LONG).build().unwrap();
        (0..100).for_each(|_| assert_eq!(client.enrich(PEER), None));
        suspend();
        assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    }
}

/// The threads wait for the probe in time for which the system is not suspended: ten minutes here.
fn check_probe() {
    for answer in [Reaction::Close, Reaction::reply(429, "{}").header("Retry-After", "60")] {
        let server = Server::play([answer, Reaction::reply(200, "{}")]);
        let client = builder(&server).circuit_threshold(1).circuit_backoff(LONG, LONG).build().unwrap();
        client.lookup(PEER);
        // Another peer, so that the threads wait.
        assert_eq!((client.lookup(OTHER).source, client.stats().circuit), (LookupSource::Shed, CircuitState::Open));
        suspend();
        assert_eq!(client.lookup(OTHER).source, LookupSource::Shed);
        eventually("closed", || client.stats().circuit == CircuitState::Closed);
        eventually("its record", || client.lookup(OTHER).peer.is_some());
    }
}

/// A server closes a connection that it heard nothing of for 8 h, and the network may have forgotten it.
fn check_connection() {
    let server = registry();
    let client = builder(&server).build().unwrap();
    client.discover(PEER).unwrap();
    client.discover(PEER).unwrap();
    suspend();
    client.discover(PEER).unwrap();
    client.discover(PEER).unwrap();
    let connections: Vec<usize> = server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1]);
}

/// Until there is a first message, a poller looks back to its start.
fn check_inbox() {
    let row = r#"[{"id":"8c0f9f46-8a4f-4b5e-9d57-0d3f6e7b2c11","created_at":"2026-04-30T12:00:00Z"}]"#;
    // The first poll has two requests: for the newest row, and for broadcasts.
    let server = Server::decide(move |n, _| Reaction::reply(200, if n < 2 { "[]" } else { row }));
    let dir = Dir::new("suspend-inbox");
    let client = builder(&server).build().unwrap();
    let mut poller = InboxPoller::builder(client).cursor_file(dir.file("c.json")).build().unwrap();
    poller.poll_once(|_| Verdict::Ack).unwrap();
    suspend();
    poller.poll_once(|_| Verdict::Ack).unwrap();
    let asked = server.requests().into_iter().map(|request| request.path);
    let asked = asked.skip(2).find(|path| path.contains("since_secs=")).unwrap();
    let secs = asked.split("since_secs=").nth(1).unwrap().split('&').next().unwrap().parse::<u64>().unwrap();
    assert!(secs >= 8 * 3_600 + 600, "{asked}");
}

#[test]
fn no_record_is_fresh_after_a_suspend() {
    run_part("records");
}

#[test]
fn absences_and_failures_expire_in_a_suspend() {
    run_part("absences");
}

#[test]
fn probe_is_made_soon_after_a_suspend() {
    run_part("probe");
}

#[test]
fn connection_from_before_a_suspend_is_not_used() {
    run_part("connection");
}

#[test]
fn look_back_covers_a_suspend() {
    run_part("inbox");
}
