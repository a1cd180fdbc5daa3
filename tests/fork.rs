//! After a fork the background threads are started anew: the child has none of its parent's.
#![cfg(unix)]
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use support::{Act, RECORD, Server, builder};

fn other(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

#[test]
fn a_child_refreshes_on_threads_of_its_own() {
    let server = Server::play([Act::reply(200, RECORD)]);
    let client = builder(&server).build().unwrap();
    let fetched = |first: usize| {
        (first..first + 20).for_each(|n| drop(client.enrich_nonblocking(other(n))));
        client.wait_idle(Duration::from_secs(20))
            && (first..first + 20).all(|n| client.enrich_nonblocking(other(n)).is_some())
    };
    assert!(fetched(0));
    // SAFETY: nobody holds a lock at this moment: the client is idle, as `wait_idle` said. The child touches
    // nothing of the test harness and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let ok = fetched(100) && fetched(200);
        // SAFETY: it ends the process, at once.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: it waits for our own child, and writes to the one integer that it is given.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child's refreshes did not come");
    assert!(fetched(300), "the parent goes on");
}
