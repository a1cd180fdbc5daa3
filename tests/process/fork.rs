//! After a fork the child starts its own background threads. What was under way goes on in the parent only.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use a2a_blocking::{CircuitState, LookupSource};

use crate::alone;
use crate::support::{PEER, RECORD, Reaction, Server, TIMEOUT, builder, client};

fn peer(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

/// Runs `test` in a forked child and returns its result. The caller makes sure that nobody holds a lock meanwhile.
fn holds_in_child(test: impl FnOnce() -> bool) -> bool {
    // SAFETY: nobody holds a lock at this moment, as the caller promises. The child uses nothing of the test harness
    // and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let ok = test();
        // SAFETY: this ends the process at once.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: this waits for our own child, and writes to one integer of ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status == 0
}

#[test]
fn child_refreshes_on_its_own_threads() {
    let _alone = alone();
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let client = builder(&server).build().unwrap();
    let fetched = |first: usize| {
        (first..first + 20).for_each(|n| drop(client.enrich_nonblocking(peer(n))));
        client.wait_until_idle(Duration::from_secs(20))
            && (first..first + 20).all(|n| client.enrich_nonblocking(peer(n)).is_some())
    };
    assert!(fetched(0));
    assert!(holds_in_child(|| fetched(100) && fetched(200)), "the child's refreshes did not come");
    assert!(fetched(300), "the parent goes on");
}

/// A lookup under way belongs to the parent, and so does the degraded circuit that admits it. The child makes its own
/// lookup and has its own circuit.
#[test]
fn child_does_not_wait_for_its_parents_lookup() {
    let _alone = alone();
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let server = Server::decide(move |n, request| {
        if !request.path.ends_with(PEER) {
            return Reaction::Close;
        }
        if n == 1 {
            reached.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(TIMEOUT).unwrap();
        }
        Reaction::reply(200, RECORD)
    });
    let client = builder(&server).background_threads(0).lookup_timeout(TIMEOUT).build().unwrap();
    assert_eq!(client.lookup(peer(0)).source, LookupSource::Failed);
    thread::scope(|scope| {
        let parents = scope.spawn(|| client.lookup(PEER));
        // The lookup reads from its socket now, and holds no lock.
        at_server.recv_timeout(TIMEOUT).unwrap();
        let in_child = || {
            let sources = [PEER.to_owned(), peer(1), peer(2), peer(3)].map(|peer| client.lookup(peer).source);
            sources == [LookupSource::Fetched, LookupSource::Failed, LookupSource::Failed, LookupSource::Failed]
                && client.stats().circuit == CircuitState::Open
        };
        assert!(holds_in_child(in_child), "the child waits for its parent, or has a closed circuit");
        release.send(()).unwrap();
        assert_eq!(parents.join().unwrap().source, LookupSource::Fetched);
    });
}

/// A peer that is queued in the parent is queued again in the child, if it is requested there.
#[test]
fn child_does_not_inherit_the_queue() {
    let _alone = alone();
    let (reached, at_server) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let server = Server::decide(move |n, _| {
        if n == 0 {
            reached.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(TIMEOUT).unwrap();
        }
        Reaction::reply(200, RECORD)
    });
    let client = builder(&server).background_threads(1).lookup_timeout(TIMEOUT).build().unwrap();
    assert_eq!(client.enrich_nonblocking(PEER), None);
    at_server.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(client.enrich_nonblocking(peer(1)), None);
    // The only thread reads from its socket now, and the other peer waits for it.
    let in_child = || {
        let idle = client.enrich_nonblocking(peer(1)).is_none() && client.wait_until_idle(TIMEOUT);
        idle && client.enrich_nonblocking(peer(1)).is_some()
    };
    assert!(holds_in_child(in_child), "the child does not look the peer up");
    release.send(()).unwrap();
    assert!(client.wait_until_idle(TIMEOUT) && client.enrich_nonblocking(peer(1)).is_some());
}

/// Other programs tell messages apart by their ids.
#[test]
fn child_gives_its_messages_ids_of_its_own() {
    let _alone = alone();
    let server = Server::play([Reaction::reply(200, r#"{"result":{"parts":[{"kind":"text","text":"hi"}]}}"#)]);
    let client = client(&server);
    let sends = || (0..3).all(|_| client.send(peer(1), "hi").is_ok());
    assert!(sends() && holds_in_child(sends) && sends());
    let sent = server.requests();
    let ids: BTreeSet<String> = sent
        .iter()
        .map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            assert_ne!(body["id"], body["params"]["message"]["messageId"]);
            body["params"]["message"]["messageId"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!((sent.len(), ids.len()), (9, 9), "{ids:?}");
    assert!(ids.iter().all(|id| id.len() == 36 && id.as_bytes()[14] == b'4'), "{ids:?}");
}
