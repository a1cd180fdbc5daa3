//! The workspace and its list of peers.

use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{ErrorKind, LookupSource, Peer, PeerId};
use serde_json::{Value, json};

use crate::support::{PEER, Reaction, Server, WORKSPACE, builder, client};

const TTL: Duration = Duration::from_secs(300);

fn list(entries: &Value) -> Reaction {
    Reaction::reply(200, entries.to_string())
}

#[test]
fn list_keeps_every_field_and_counts_entries_that_are_no_objects() {
    let other = "9a3d2b10-1c4f-4e7b-8a55-0c6d7e8f9012";
    let server = Server::play([list(&json!([
        {"id": PEER.to_uppercase(), "name": "ops-agent", "role": "sre", "later": [1]},
        "odd", null, 7, [{}],
        {"id": "no uuid", "name": "kept all the same"},
        {"name": "no id"},
        {"id": other, "name": "lead"},
    ]))]);
    let client = client(&server);
    let peers = client.peers().unwrap();
    let names: Vec<&str> = peers.iter().filter_map(Peer::name).collect();
    assert_eq!(names, ["ops-agent", "kept all the same", "no id", "lead"]);
    assert_eq!(peers[0].get("later"), Some(&json!([1])));
    assert_eq!((peers[0].peer_id(), peers[1].peer_id()), (Some(PeerId::parse(PEER).unwrap()), None));
    let stats = client.stats();
    assert_eq!((stats.skipped, stats.entries, stats.lookups), (4, 2, 0));
    // Entries with a valid id are in the cache now.
    for (id, name) in [(PEER, "ops-agent"), (other, "lead")] {
        let lookup = client.lookup(id);
        assert_eq!((lookup.source, lookup.peer.unwrap().name()), (LookupSource::Fresh, Some(name)));
    }
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, [format!("/registry/{WORKSPACE}/peers")]);
}

#[test]
fn listed_peer_can_be_passed_to_a_call() {
    let server = Server::decide(|_, request| match request.path.ends_with("/peers") {
        true => list(&json!([{"id": PEER, "name": "ops-agent"}, {"id": "no uuid", "name": "odd"}])),
        false => Reaction::reply(200, r#"{"result":{"parts":[{"kind":"text","text":"yes"}]}}"#),
    });
    let client = client(&server);
    let peers = client.peers().unwrap();
    assert_eq!(client.send(&peers[0], "on call?").unwrap().text(), "yes");
    assert_eq!(server.requests()[1].path, format!("/workspaces/{PEER}/a2a"));
    let id = peers[0].peer_id().unwrap();
    let by_reference = [id, id].each_ref().map(|id| client.lookup(id));
    for lookup in by_reference.into_iter().chain([client.lookup(&peers[0]), client.lookup(id)]) {
        assert_eq!((lookup.source, lookup.peer.as_ref()), (LookupSource::Fresh, Some(&peers[0])));
    }
    client.forget(&peers[0]);
    assert_eq!(client.peer_name(&peers[0]), None);
    let error = client.send(&peers[1], "on call?").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPeerId);
    assert!(error.to_string().contains("no valid `id`"), "{error}");
    assert_eq!(client.lookup(&peers[1]).source, LookupSource::Invalid);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn discovered_record_overlays_the_listed_one_field_by_field() {
    let server = Server::decide(|n, request| match request.path.ends_with("/peers") {
        true => list(&json!([{"id": PEER, "name": "listed", "role": "sre", "status": "online", "take": n}])),
        false if n == 1 => {
            Reaction::reply(200, json!({"name": "record 1", "url": "http://u", "once": true}).to_string())
        }
        false => {
            Reaction::reply(200, json!({"id": PEER, "name": format!("record {n}"), "url": "http://u"}).to_string())
        }
    });
    let client = client(&server);
    let start = Instant::now();
    client.peers().unwrap();
    for (at, name) in [(TTL * 2, "record 1"), (TTL * 4, "record 2")] {
        let peer = client.enrich_at(PEER, start + at).unwrap();
        assert_eq!((peer.name(), peer.role(), peer.status()), (Some(name), Some("sre"), Some("online")));
        assert_eq!((peer.url(), peer.get("take")), (Some("http://u"), Some(&json!(0))));
        assert_eq!(peer.get("once").is_some(), at == TTL * 2, "an older discover no longer counts");
    }
    // A newer list replaces the fields that it contains.
    client.forget(PEER);
    client.peers().unwrap();
    assert_eq!(client.enrich(PEER).unwrap().get("take"), Some(&json!(3)));
    // A peer that was never listed has only the fields of its discover.
    client.forget(PEER);
    let plain = client.enrich(PEER).unwrap();
    assert_eq!((plain.name(), plain.role()), (Some("record 4"), None));
    let again = client.enrich_at(PEER, start + TTL * 9).unwrap();
    assert_eq!((again.name(), again.role()), (Some("record 5"), None));
}

/// A later list updates its own fields and keeps those that only the discover has.
#[test]
fn list_after_a_discover_keeps_the_other_fields() {
    let server = Server::decide(|n, request| match request.path.ends_with("/peers") {
        true => list(&json!([{"id": PEER, "name": "listed", "role": format!("record {n}")}])),
        false => Reaction::reply(200, json!({"id": PEER, "name": "discovered", "extra": n}).to_string()),
    });
    let client = client(&server);
    let start = Instant::now();
    client.enrich_at(PEER, start).unwrap();
    for role in ["record 1", "record 2"] {
        client.peers().unwrap();
        let peer = client.enrich_at(PEER, start).unwrap();
        assert_eq!((peer.name(), peer.role(), peer.get("extra")), (Some("listed"), Some(role), Some(&json!(0))));
    }
    let peer = client.enrich_at(PEER, start + TTL * 3).unwrap();
    assert_eq!((peer.name(), peer.role()), (Some("discovered"), Some("record 2")));
    assert_eq!(peer.get("extra"), Some(&json!(3)));
}

#[test]
fn listed_peers_are_fresh_until_the_ttl() {
    let server = Server::play([list(&json!([{"id": PEER, "name": "x"}])), Reaction::reply(500, "")]);
    let client = builder(&server).error_ttl(Duration::from_secs(1)).build().unwrap();
    client.peers().unwrap();
    assert!(client.enrich_at(PEER, Instant::now() + TTL / 2).is_some());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn listing_a_peer_ends_its_absence() {
    let server = Server::decide(|_, request| match request.path.ends_with("/peers") {
        true => list(&json!([{"id": PEER, "name": "new here"}])),
        false => Reaction::reply(404, r#"{"error":"workspace not found"}"#),
    });
    let client = client(&server);
    assert_eq!(client.lookup(PEER).source, LookupSource::Absent);
    client.peers().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Fresh);
}

#[test]
fn list_requested_before_forget_or_clear_is_not_cached() {
    for clear in [false, true] {
        let (reached, at_server) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let server = Server::decide(move |_, _| {
            reached.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(Duration::from_secs(5)).unwrap();
            list(&json!([{"id": PEER}]))
        });
        let client = client(&server);
        thread::scope(|scope| {
            let peers = scope.spawn(|| client.peers().unwrap());
            at_server.recv_timeout(Duration::from_secs(20)).unwrap();
            if clear {
                client.clear()
            } else {
                client.forget("9a3d2b10-1c4f-4e7b-8a55-0c6d7e8f9012")
            }
            release.send(()).unwrap();
            assert_eq!(peers.join().unwrap().len(), 1);
        });
        assert_eq!(client.stats().entries, 0);
    }
}

#[test]
fn each_failure_has_its_error_kind() {
    for (act, kind, status) in [
        (Reaction::reply(401, "{}"), ErrorKind::Unauthorized, Some(401)),
        (Reaction::reply(403, "{}"), ErrorKind::Unauthorized, Some(403)),
        (Reaction::reply(404, "{}"), ErrorKind::NotFound, Some(404)),
        (Reaction::reply(500, "{}"), ErrorKind::Status, Some(500)),
        (Reaction::reply(200, "{}"), ErrorKind::Malformed, Some(200)),
        (Reaction::reply(200, vec![b' '; 10_000_001]), ErrorKind::TooLarge, Some(200)),
        (Reaction::Close, ErrorKind::Disconnected, None),
    ] {
        let server = Server::play([act]);
        let error = client(&server).peers().unwrap_err();
        assert_eq!((error.kind(), error.status()), (kind, status), "{error}");
        let workspace = (error.kind() != ErrorKind::Malformed).then(|| client(&server).workspace().unwrap_err());
        assert!(workspace.is_none_or(|error| (error.kind(), error.status()) == (kind, status)));
    }
}

#[test]
fn workspace_keeps_every_field_as_sent() {
    let server =
        Server::play([Reaction::reply(200, r#"{"id":"w","name":"mine","later":{"a":1}}"#), Reaction::reply(200, "[]")]);
    let client = builder(&server).token("tok").build().unwrap();
    let workspace = client.workspace().unwrap();
    assert_eq!((workspace.id(), workspace.name()), (Some("w"), Some("mine")));
    assert_eq!(workspace.get("later"), Some(&json!({"a": 1})));
    assert_eq!(client.workspace().unwrap_err().kind(), ErrorKind::Malformed);
    let request = &server.requests()[0];
    assert_eq!(request.path, format!("/workspaces/{WORKSPACE}"));
    assert_eq!((request.header("authorization"), request.header("x-workspace-id")), (Some("Bearer tok"), None));
}

#[test]
fn removed_workspace_error_has_time_and_hint() {
    let gone = r#"{"error":"removed","id":"w-7","removed_at":"2026-04-30T12:00:00Z","hint":"make a new one"}"#;
    let server = Server::play([Reaction::reply(410, gone), Reaction::reply(410, "<html>")]);
    let client = client(&server);
    let error = client.workspace().unwrap_err();
    let removed = error.removed().unwrap();
    assert_eq!((error.kind(), removed.id.as_str()), (ErrorKind::Removed, "w-7"));
    assert_eq!(
        (removed.removed_at.as_deref(), removed.hint.as_str()),
        (Some("2026-04-30T12:00:00Z"), "make a new one")
    );
    assert!(error.to_string().ends_with("the workspace w-7 was removed at 2026-04-30T12:00:00Z: make a new one"));
    let bare = client.workspace().unwrap_err();
    assert_eq!(
        bare.removed().map(|removed| (removed.id.as_str(), removed.removed_at.is_none())),
        Some((WORKSPACE, true))
    );
}
