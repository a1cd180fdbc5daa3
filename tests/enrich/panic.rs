//! A panic inside a lookup is a failed lookup.
//!
//! The logger is the one part of a lookup that a user can make panic at will. It is process-wide, so the test runs in
//! a child process.

use std::env;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{CancelToken, Delivery, ErrorKind, Lookup, LookupSource, Message, SendOptions, global};

use crate::support::{PEER, Reaction, Server, builder};

struct Panicking;

impl log::Log for Panicking {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert!(!record.target().starts_with("a2a_blocking"), "a logger that panics");
    }

    fn flush(&self) {}
}

/// Runs in a child process, because a process has one logger.
#[test]
fn child() {
    if env::var_os("A2A_TEST_CHILD").is_none() {
        return;
    }
    log::set_logger(&Panicking).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let server = Server::play([Reaction::reply(500, "boom").after(Duration::from_millis(200))]);
    // A waiter that was not woken would wait for all of it.
    let bound = Duration::from_secs(60);
    let client = builder(&server).lookup_timeout(bound).build().unwrap();
    let (barrier, start) = (Barrier::new(8), Instant::now());
    let answers: Vec<Lookup> = thread::scope(|scope| {
        let look_up = || {
            barrier.wait();
            client.lookup(PEER)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(look_up)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.source == LookupSource::Failed));
    assert!(start.elapsed() < bound / 2, "{:?}", start.elapsed());
    assert!(client.lookup(PEER).from_cache);
    assert_eq!(server.requests().len(), 1);

    other_calls_return_an_internal_error();
    println!("all of it ran");
}

fn other_calls_return_an_internal_error() {
    let server = Server::play([Reaction::reply(200, "[7]"), Reaction::Close, Reaction::reply(200, r#"{"result":{}}"#)]);
    let client = builder(&server).build().unwrap();
    let error = client.peers().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "an entry that is no object is logged: {error}");
    let error = client.discover(PEER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "a lost pooled connection is logged: {error}");
    assert_eq!(error.delivery(), Delivery::NotSent, "there was nothing to deliver");
    // The answer's id is not that of the request, which is logged. The second send logs on another thread.
    for options in [SendOptions::new(), SendOptions::new().cancel(&CancelToken::new())] {
        let error = client.send_with(PEER, &Message::from("hi"), &options).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Internal, Delivery::Unknown), "{error}");
    }
    assert_eq!(global::enrich_peer_metadata(PEER), None);
    assert_eq!(global::discover_peer(PEER), None);
}

#[test]
fn panicking_lookup_is_a_failed_one_and_releases_its_waiters() {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "panic::child", "--nocapture"]).env("A2A_TEST_CHILD", "1");
    for name in ["PLATFORM_URL", "WORKSPACE_ID", "MOLECULE_ORG_ID"] {
        child.env_remove(name);
    }
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("all of it ran"), "{text}\n{why}");
}
