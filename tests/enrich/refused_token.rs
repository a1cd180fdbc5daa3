//! A lookup that failed because of the token is repeated once the token was replaced.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use a2a_blocking::LookupSource;

use crate::support::{Dir, PEER, RECORD, Reaction, Server, TIMEOUT, builder};

/// Starts a registry that accepts one token, which can be replaced.
fn registry(token: &'static str) -> (Server, Arc<Mutex<&'static str>>) {
    let accepted = Arc::new(Mutex::new(token));
    let now = accepted.clone();
    let server = Server::decide(move |_, request| {
        let sent = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match sent == Some(*now.lock().unwrap()) {
            true => Reaction::reply(200, RECORD),
            false => Reaction::reply(401, r#"{"error":"missing or bad token"}"#),
        }
    });
    (server, accepted)
}

/// Without it, the peers that were looked up with the old token would be unknown for `error_ttl` after the rotation.
#[test]
fn failure_of_a_token_that_was_replaced_is_forgotten() {
    const LATER: Duration = Duration::from_secs(400);
    let (other, hour) = ("4f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c", Duration::from_secs(3_600));
    let dir = Dir::new("refused-token");
    let file = dir.file("token");
    fs::write(&file, "first\n").unwrap();
    let ((server, accepted), start) = (registry("first"), Instant::now());
    let client = builder(&server).token_file(&file).error_ttl(hour).negative_ttl(hour).build().unwrap();
    assert_eq!(client.lookup_at(other, start).source, LookupSource::Fetched);
    *accepted.lock().unwrap() = "third";
    fs::write(&file, "second\n").unwrap();
    let forgotten = client.lookup_at(PEER, start);
    assert_eq!((forgotten.source, forgotten.from_cache), (LookupSource::Failed, false));
    assert_eq!(client.lookup_at(other, start + LATER).source, LookupSource::Stale);
    let asked = server.requests().len();
    for (peer, source) in [(PEER, LookupSource::Failed), (other, LookupSource::Stale)] {
        let remembered = client.lookup_at(peer, start + LATER);
        assert_eq!((remembered.source, remembered.from_cache), (source, true), "the token is the one that was refused");
    }
    // Often enough for this thread's own cache.
    (0..100).for_each(|_| assert_eq!(client.lookup(PEER).source, LookupSource::Failed));
    assert_eq!(server.requests().len(), asked);

    // Another call finds out that there is a new token.
    fs::write(&file, "third\n").unwrap();
    client.discover(PEER).unwrap();
    for peer in [PEER, other] {
        let fetched = client.lookup_at(peer, start + LATER);
        assert_eq!((fetched.source, fetched.from_cache), (LookupSource::Fetched, false), "{peer}");
    }
    assert!(client.lookup(PEER).from_cache);
}

/// A call that does not wait has the lookup made in the background.
#[test]
fn failure_of_a_token_that_was_replaced_is_looked_up_in_the_background() {
    let dir = Dir::new("refused-token");
    let file = dir.file("token");
    fs::write(&file, "old\n").unwrap();
    let (server, _) = registry("new");
    let client = builder(&server).token_file(&file).build().unwrap();
    assert!(client.enrich(PEER).is_none());
    assert!(client.enrich_nonblocking(PEER).is_none());
    assert!(client.wait_until_idle(TIMEOUT));
    assert_eq!(server.requests().len(), 1, "the failure is remembered");
    fs::write(&file, "new\n").unwrap();
    client.discover(PEER).unwrap();
    assert!(client.enrich_nonblocking(PEER).is_none());
    assert!(client.wait_until_idle(TIMEOUT));
    assert!(client.enrich_nonblocking(PEER).is_some());
}

/// A function that makes a token for each call does not cost a lookup per message.
#[test]
fn refusal_is_remembered_where_each_token_is_a_new_one() {
    let (server, _) = registry("never");
    let calls = AtomicUsize::new(0);
    let token = move || Some(format!("token-{}", calls.fetch_add(1, SeqCst)));
    let client = builder(&server).token_fn(token).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    let again = client.lookup(PEER);
    assert_eq!((again.source, again.from_cache), (LookupSource::Failed, true));
    assert_eq!(server.requests().len(), 2);
}
