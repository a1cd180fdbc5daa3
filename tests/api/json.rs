//! Public data as JSON. These forms are pinned: a change is a breaking change.

use a2a_blocking::{
    AgentCard, Boundary, CircuitState, Client, InboxMessageKind, InboxPoller, LookupSource, Message, PeerId,
    PollerHealth, Reply, Stats, StopReason, Verdict,
};
use serde_json::{Value, json, to_value};

use crate::support::platform::Platform;
use crate::support::{Dir, PEER, RECORD, Reaction, Server, WORKSPACE, builder, client};

fn record() -> Value {
    serde_json::from_str(RECORD).unwrap()
}

#[test]
fn peer_id_is_its_text_in_both_directions() {
    let id = PeerId::parse(PEER).unwrap();
    assert_eq!(to_value(id).unwrap(), PEER);
    assert_eq!(serde_json::from_value::<PeerId>(json!(format!(" {} ", PEER.to_uppercase()))).unwrap(), id);
    let error = serde_json::from_value::<PeerId>(json!("ops")).unwrap_err().to_string();
    assert!(error.starts_with("not a peer id: \"ops\""), "{error}");
}

#[test]
fn data_of_the_platform_is_unchanged() {
    let sent = r#"{"result":{"parts":[{"type":"text","text":"x"},{"raw":"aGk","filename":"n"},{"data":[1]},{"a":1}]}}"#;
    let task = r#"{"result":{"id":"t","status":{"state":"completed"}}}"#;
    let server = Server::play([
        Reaction::reply(200, RECORD),
        Reaction::reply(200, json!({ "id": WORKSPACE, "later": [1] }).to_string()),
        Reaction::reply(200, sent),
        Reaction::reply(200, task),
        Reaction::reply(202, r#"{"status":"queued"}"#),
        Reaction::reply(202, json!({ "queued": true, "queue_id": PEER }).to_string()),
        Reaction::reply(200, json!({ "status": "queued", "attempts": 2 }).to_string()),
        Reaction::reply(200, json!({ "status": "paused", "paused": true }).to_string()),
    ]);
    let client = client(&server);
    assert_eq!(to_value(client.discover(PEER).unwrap()).unwrap(), record());
    assert_eq!(to_value(client.workspace().unwrap()).unwrap(), json!({ "id": WORKSPACE, "later": [1] }));
    let reply = client.send(PEER, "hi").unwrap();
    assert_eq!(to_value(&reply).unwrap(), serde_json::from_str::<Value>(sent).unwrap());
    // Parts have one form, whichever they were sent in.
    let parts = json!([
        { "kind": "text", "text": "x" },
        { "kind": "file", "file": { "name": "n", "mimeType": null, "bytes": "aGk=" } },
        { "kind": "data", "data": [1] },
        { "a": 1 },
    ]);
    assert_eq!(to_value(reply.parts()).unwrap(), parts);
    assert_eq!(to_value(client.send(PEER, "hi").unwrap()).unwrap(), serde_json::from_str::<Value>(task).unwrap());
    assert_eq!(to_value(client.send(PEER, "hi").unwrap()).unwrap(), json!({ "status": "queued" }));
    let Reply::Queued(queued) = client.send(PEER, "hi").unwrap() else { panic!("it is queued") };
    let state = client.queued(&queued).unwrap();
    assert_eq!(to_value(&state).unwrap(), json!({ "status": "queued", "attempts": 2 }));
    assert_eq!(to_value(state.outcome()).unwrap(), json!("pending"));
    assert_eq!(to_value(client.state().unwrap()).unwrap(), json!({ "status": "paused", "paused": true }));
}

#[test]
fn lookup_and_error_have_the_names_of_the_api() {
    let server = Server::play([Reaction::reply(200, RECORD), Reaction::reply(503, "down").header("Retry-After", "7")]);
    let client = client(&server);
    let lookup = json!({ "peer": record(), "source": "fetched", "from_cache": false });
    assert_eq!(to_value(client.lookup(PEER)).unwrap(), lookup);
    let error = client.discover(PEER).unwrap_err();
    let expected = json!({ "kind": "status", "message": error.to_string(), "status": 503, "retry_after_seconds": 7.0,
        "body_snippet": "down", "attempts": 0, "delivery": "not_sent", "rpc_code": null, "rpc_data": null,
        "removed": null, "is_transient": true });
    assert_eq!(to_value(&error).unwrap(), expected);
    assert_eq!(to_value([LookupSource::Shed, LookupSource::Invalid]).unwrap(), json!(["shed", "invalid"]));
}

#[test]
fn settings_are_numbers_and_durations_are_seconds() {
    let client = Client::builder().platform_url("http://p.example/").workspace_id("w").token_file("/t/.auth_token");
    let expected = json!({ "platform_url": "http://p.example", "workspace_id": "w", "org_id": null, "origin": null,
        "token_file": "/t/.auth_token", "cursor_dir": "/t", "ttl_seconds": 300.0,
        "negative_ttl_seconds": 300.0, "error_ttl_seconds": 15.0,
        "stale_if_error_seconds": 3600.0, "ttl_spread": 0.1, "lookup_timeout_seconds": 2.0,
        "call_timeout_seconds": 10.0, "circuit_threshold": 3, "circuit_backoff_seconds": [1.0, 30.0],
        "background_threads": 2, "queue": 1024, "capacity": 10_000, "max_request": 1_048_576,
        "max_answer": 10_000_000 });
    assert_eq!(to_value(client.build().unwrap().settings()).unwrap(), expected);
}

/// Returns the numbers of rows that were not delivered, where there were none.
fn no_rows() -> Value {
    json!({
        "malformed": 0, "notices": 0, "own": 0, "own_uploads": 0, "answered": 0, "queued_delegations": 0, "repeats": 0,
    })
}

#[test]
fn stats_are_numbers_and_the_state_is_a_word() {
    let empty = json!({ "fresh": 0, "stale": 0, "absent": 0, "unknown": 0, "lookups": 0, "found": 0,
        "failed_connect": 0, "failed_timeout": 0, "failed_broken": 0, "failed_status": 0, "failed_body": 0,
        "failed_internal": 0, "coalesced": 0, "refreshes": 0, "shed": 0, "rate_limit_shed": 0,
        "rate_limited": 0, "rate_limit_left": null, "dropped": 0, "circuit": "closed",
        "circuit_opened": 0, "longest_wait_seconds": 0.0, "skipped": 0, "entries": 0, "bytes": 0, "evictions": 0,
        "inbox": { "polls": 0, "failed_polls": 0, "consecutive_failures": 0, "deliveries": 0, "acked": 0,
            "dead_lettered": 0, "skipped": 0, "skipped_by": no_rows(), "failed_replies": 0, "braked_replies": 0, "heartbeats": 0,
            "failed_heartbeats": 0,
            "since_success_seconds": null, "last_success_timestamp_seconds": null } });
    assert_eq!(to_value(Stats::default()).unwrap(), empty);
    assert_eq!(to_value(CircuitState::Degraded).unwrap(), "degraded");
}

#[test]
fn requests_delegations_and_uploads() {
    let request = json!({ "id": "r", "title": "x", "later": [1] });
    let message = json!({ "id": "m", "body": "y", "later": 1 });
    let (row, receipt) = (json!({ "delegation_id": "d", "later": 1 }), json!({ "delegation_id": "d", "status": "s" }));
    let file = json!({ "files": [{ "uri": "u", "name": "n", "mimeType": "a/b", "size": 3 }] });
    let server = Server::play([
        Reaction::reply(200, json!([request]).to_string()),
        Reaction::reply(200, json!({ "request": request, "messages": [message] }).to_string()),
        Reaction::reply(200, json!([row]).to_string()),
        Reaction::reply(202, receipt.to_string()),
        Reaction::reply(200, file.to_string()),
    ]);
    let client = client(&server);
    assert_eq!(to_value(client.requests().unwrap()).unwrap(), json!([request]));
    let details = json!({ "request": request, "messages": [message] });
    assert_eq!(to_value(client.request_details("r").unwrap()).unwrap(), details);
    assert_eq!(to_value(client.delegations().unwrap()).unwrap(), json!([row]));
    let expected = json!({ "delegation_id": "d", "status": "s", "is_repeat": false });
    assert_eq!(to_value(client.delegate(PEER, "x").unwrap()).unwrap(), expected);
    let uploaded = client.upload("n", "a/b", std::io::Cursor::new("abc")).unwrap();
    assert_eq!(to_value(uploaded).unwrap(), json!({ "uri": "u", "name": "n", "media_type": "a/b", "size": 3 }));
    assert_eq!(to_value(a2a_blocking::RequestAction::Done).unwrap(), "done");
}

#[test]
fn message_is_its_wire_form() {
    let message = Message::from("hi").context_id("c");
    let expected = json!({ "role": "user", "parts": [{ "kind": "text", "text": "hi" }], "contextId": "c" });
    assert_eq!(to_value(&message).unwrap(), expected);
    assert_eq!(to_value(message.message_id("m")).unwrap()["messageId"], "m");
}

#[test]
fn inbox_message_envelope_and_poll_summary() {
    let (platform, dir) = (Platform::new(), Dir::new("json-message"));
    let uri = "workspace:/a.txt";
    let file = json!({ "kind": "file", "file": { "uri": uri, "name": "a.txt" } });
    let parts = json!([{ "kind": "text", "text": "see" }, file, { "raw": "aGk", "mediaType": "image/png" }]);
    let id = platform.add_row(
        1,
        json!({ "source_id": PEER, "method": "message/send", "peer_name": "ops-agent",
            "request_body": { "params": { "message": { "messageId": "m", "contextId": "c", "parts": parts } } } }),
    );
    let server = platform.serve();
    let client: Client = builder(&server).background_threads(0).build().unwrap();
    let mut poller = InboxPoller::builder(client).cursor_file(dir.file("cursor")).heartbeat(None).build().unwrap();
    let mut shown = Vec::new();
    let polled = poller
        .poll_once(|message| {
            assert_eq!(message.kind(), InboxMessageKind::Peer);
            shown.push((to_value(message).unwrap(), to_value(message.envelope()).unwrap()));
            let boundary = Boundary::random().unwrap();
            let fenced = to_value(message.envelope_with(boundary.clone())).unwrap();
            let content = format!("[from ops-agent · peer_id={PEER}]\n--{boundary}\nsee\n--{boundary}--");
            assert_eq!((&fenced["content"], &fenced["meta"]["boundary"]), (&json!(content), &json!(boundary.as_str())));
            Verdict::Ack
        })
        .unwrap();
    let (message, envelope) = &shown[0];
    let row = message["row"].clone();
    assert_eq!((&row["id"], &row["peer_name"]), (&json!(id), &json!("ops-agent")));
    let expected = json!({ "activity_id": id, "message_id": "m", "context_id": "c", "task_id": null, "kind": "peer", "peer": PEER,
        "user": null, "source": null, "delegation_id": null, "error_detail": null, "text": "see",
        "method": "message/send", "created_at": row["created_at"], "delivery_attempt": 1, "row": row,
        "attachments": [
            { "kind": "file", "uri": uri, "bytes": null, "name": "a.txt", "media_type": null, "size": null },
            { "kind": "image", "uri": null, "bytes": "aGk=", "name": null, "media_type": "image/png", "size": 2 },
        ] });
    assert_eq!(message, &expected);
    let content = format!("[from ops-agent · peer_id={PEER}]\nsee");
    assert_eq!((&envelope["content"], &envelope["meta"]["kind"]), (&json!(content), &json!("peer")));
    assert_eq!(envelope["meta"].get("boundary"), None);
    assert_eq!(
        to_value(polled).unwrap(),
        json!({ "delivered": 1, "dead_lettered": 0, "skipped": 0, "skipped_by": no_rows(), "has_more": false })
    );
    platform.state().rows.clear();
}

#[test]
fn health_of_a_poller_is_numbers_and_its_last_failure() {
    let (server, dir) = (Server::play([Reaction::reply(401, "{}")]), Dir::new("json-health"));
    let builder = InboxPoller::builder(client(&server)).cursor_file(dir.file("cursor"));
    let mut poller = builder.build().unwrap();
    let expected = json!({ "uptime_seconds": 0.0, "since_success_seconds": null, "consecutive_failures": 0,
        "last_failure": null, "in_callback_seconds": null, "cursor": null, "is_cursor_failing": false,
        "since_heartbeat_seconds": null, "heartbeat_failures": 0, "workspace_status": null, "is_paused": false, "circuit": "closed" });
    assert_eq!(to_value(PollerHealth::default()).unwrap(), expected);
    let error = poller.poll_once(|_| Verdict::Ack).unwrap_err();
    let mut failure = to_value(poller.health()).unwrap()["last_failure"].take();
    assert!(failure["ago_seconds"].take().as_f64().unwrap() < 60.0);
    let expected = json!({ "kind": "unauthorized", "status": 401, "message": error.to_string(), "ago_seconds": null });
    assert_eq!(failure, expected);
}

#[test]
fn stop_reason_is_a_word_and_the_answer_of_the_platform() {
    let gone = r#"{"error":"removed","id":"w","hint":"make another"}"#;
    let (server, dir) = (Server::play([Reaction::reply(410, gone)]), Dir::new("json-stop"));
    let builder = InboxPoller::builder(client(&server)).cursor_file(dir.file("cursor"));
    let reason = builder.spawn(|_| Verdict::Ack).unwrap().join();
    let removed = json!({ "id": "w", "removed_at": null, "hint": "make another" });
    assert_eq!(to_value(reason).unwrap(), json!({ "reason": "removed", "removed": removed }));
    assert_eq!(to_value(StopReason::Stopped).unwrap(), json!({ "reason": "stopped", "removed": null }));
}

#[test]
fn card_is_the_object_that_is_published() {
    let card = AgentCard::new("ops").with_skill("rota");
    assert_eq!(to_value(card).unwrap(), json!({ "name": "ops", "skills": [{ "name": "rota" }] }));
}
