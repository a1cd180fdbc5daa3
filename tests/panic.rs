//! A panic inside a lookup is a failed lookup. The one thing in a lookup that a user can make panic at
//! will is the logger, which is process-wide: hence a test binary of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Lookup, Source};
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
    assert!(answers.iter().all(|answer| answer.source == Source::Failed));
    assert!(start.elapsed() < bound / 2, "{:?}", start.elapsed());
    assert!(client.lookup(PEER).remembered);
    assert_eq!(server.requests().len(), 1);
}
