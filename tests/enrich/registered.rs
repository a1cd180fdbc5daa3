//! Lookups against the embedded platform: who is known, shown, removed or not available.

use std::time::{Duration, Instant};

use a2a_blocking::testing::Platform;
use a2a_blocking::{ErrorKind, LookupSource};

use crate::support::{PEER, Reaction, Server, client};

/// Its agent is away, which says nothing against what the list of peers said of it.
#[test]
fn peer_that_is_not_available_is_as_the_list_of_peers_said() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    dev.set_role(Some("sre"));
    let client = ops.client().ttl_spread(0.0).background_threads(0).build().unwrap();
    client.peers().unwrap();
    for status in ["awaiting_agent", "hibernated", "paused", "offline"] {
        dev.set_status(status);
        let error = client.discover(dev.id()).unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Status, Some(503)), "{status}: {error}");
    }
    let after = |secs| client.lookup_at(dev.id(), Instant::now() + Duration::from_secs(secs));
    for secs in [301, 302, 900, 3_800] {
        let lookup = after(secs);
        let peer = lookup.peer.unwrap();
        assert_eq!((lookup.source, peer.name(), peer.role()), (LookupSource::Stale, Some("dev"), Some("sre")));
    }
    dev.set_status("removed");
    assert_eq!((after(3_820).source, after(3_821).peer), (LookupSource::Absent, None));
}

#[test]
fn removed_and_unknown_peers_are_absent_at_once() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let client = ops.client().build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Absent);
    let error = client.discover(PEER).unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(403)), "{error}");
    dev.remove();
    assert_eq!(client.lookup(dev.id()).source, LookupSource::Absent);
    let error = client.discover(dev.id()).unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(503)), "{error}");
}

/// The server repeats the id as it was asked for it.
#[test]
fn record_with_its_id_in_upper_case_is_accepted() {
    let upper = PEER.to_uppercase();
    let server = Server::play([Reaction::reply(200, format!(r#"{{"id":"{upper}","name":"ops","url":""}}"#))]);
    let client = client(&server);
    let peer = client.enrich(&upper).unwrap();
    assert_eq!((peer.id(), peer.peer_id().unwrap().to_string().as_str()), (Some(upper.as_str()), PEER));
    assert_eq!(client.lookup(PEER).source, LookupSource::Fresh);
    assert!(server.requests()[0].path.ends_with(PEER), "it is asked for in lower case");
}
