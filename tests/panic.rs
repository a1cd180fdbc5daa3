//! A panic inside a lookup is a failed lookup. The one thing in a lookup that a user can make panic at
//! will is the logger, which is process-wide: hence a test binary of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Barrier;
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
    let server = Server::play([Act::reply(500, "boom").after(Duration::from_millis(200))]);
    // A waiter that was not released would wait for all of it.
    let bound = Duration::from_secs(60);
    let client = builder(&server).lookup_timeout(bound).build().unwrap();
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

    the_other_calls_answer_with_an_error();
}

/// In the same process, since there is one logger.
fn the_other_calls_answer_with_an_error() {
    let server = Server::play([Act::reply(200, "[7]"), Act::Close, Act::reply(200, r#"{"result":{}}"#)]);
    let client = builder(&server).build().unwrap();
    let error = client.peers().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "an entry that is no object is logged: {error}");
    let error = client.discover(PEER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "a lost pooled connection is logged: {error}");
    assert_eq!(error.delivery(), Delivery::NotSent, "there was nothing to deliver");
    // The answer's id is not the request's, which is logged; on a thread of its own, too.
    for options in [SendOptions::new(), SendOptions::new().cancel(&CancelToken::new())] {
        let error = client.send_with(PEER, &Message::from("hi"), &options).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Internal, Delivery::Unknown), "{error}");
    }
    assert_eq!(global::enrich_peer_metadata(PEER), None);
    assert_eq!(global::discover_peer(PEER), None);
}
