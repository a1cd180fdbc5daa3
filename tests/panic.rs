//! Panics inside a call: of a token function, and of the logger.
//!
//! A token function's panic fails the call. A logger's panic is caught where it logs, and changes no answer. The logger is
//! process-wide, so the tests are one test in its own binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{CancelToken, Delivery, ErrorKind, Lookup, LookupSource, Message, SendOptions, global};
use support::{Act, PEER, Server, builder};

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

#[test]
fn a_panicking_lookup_is_a_failed_one_and_releases_its_waiters() {
    log::set_logger(&Panicking).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let server = Server::play([Act::reply(401, "boom").after(Duration::from_millis(200))]);
    // A waiter that was not released would wait for all of it.
    let bound = Duration::from_secs(60);
    let client = builder(&server).token_fn(panics_at_second_call()).lookup_timeout(bound).build().unwrap();
    let (barrier, start) = (Barrier::new(8), Instant::now());
    let answers: Vec<Lookup> = thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            client.lookup(PEER)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.source == LookupSource::Failed));
    assert!(start.elapsed() < bound / 2, "{:?}", start.elapsed());
    assert!(client.lookup(PEER).from_cache);
    assert_eq!(server.requests().len(), 1);

    panicking_token_function_is_an_internal_error();
    panicking_logger_changes_no_answer();
}

/// A token function that panics when the token is read again, after a 401.
fn panics_at_second_call() -> impl Fn() -> Option<String> + Send + Sync + 'static {
    let calls = AtomicUsize::new(0);
    move || {
        if calls.fetch_add(1, SeqCst) == 0 { Some("first".to_owned()) } else { panic!("a token function that panics") }
    }
}

fn panicking_token_function_is_an_internal_error() {
    let server = Server::play([Act::reply(401, "")]);
    let client = || builder(&server).token_fn(panics_at_second_call()).build().unwrap();
    let error = client().discover(PEER).unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Internal, Delivery::NotSent),
        "nothing was to be sent: {error}"
    );
    // On the caller's thread, and on the thread of an attempt that can be cancelled.
    for options in [SendOptions::new(), SendOptions::new().cancel(&CancelToken::new())] {
        let error = client().send_with(PEER, &Message::from("hi"), &options).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Internal, Delivery::Unknown), "{error}");
    }
    let error = client().notify("hi").unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Internal, Delivery::Unknown), "{error}");
    let options = SendOptions::new().on_progress(|_| panic!("a callback that panics"));
    let error = client().send_with(PEER, &Message::from("hi"), &options).unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Internal, Delivery::Unknown), "{error}");
}

fn panicking_logger_changes_no_answer() {
    let server = Server::play([Act::reply(200, "[7]"), Act::Close, Act::reply(200, r#"{"result":{}}"#)]);
    let client = builder(&server).build().unwrap();
    // Logs an entry of the list that is no object.
    drop(client.peers());
    assert!(client.discover(PEER).is_ok(), "a repeated request is logged");
    for options in [SendOptions::new(), SendOptions::new().cancel(&CancelToken::new())] {
        let reply = client.send_with(PEER, &Message::from("hi"), &options);
        assert!(reply.is_ok(), "an answer with another request's id is logged: {reply:?}");
    }
    assert_eq!(global::enrich_peer_metadata(PEER), None);
    assert_eq!(global::discover_peer(PEER), None);
}
