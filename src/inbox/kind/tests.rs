use serde_json::json;

use super::*;
use crate::inbox::row_filter::RowFilter;
use crate::stats::SkipReason;

const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
const SELF: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

fn kind_of(row: &Value) -> (InboxMessageKind, Option<PeerId>) {
    let fields = row.as_object().unwrap();
    identify(fields, &wire::request_body(fields), SELF)
}

/// Returns a row of the platform as it is now.
fn numbered(row: &Value) -> Value {
    let mut row = row.clone();
    row["seq"] = 7.into();
    row
}

#[test]
fn only_kinds_with_a_way_back_take_a_reply() {
    use InboxMessageKind::{Broadcast, Call, Delegation, Human, Peer, System, Upload};
    let all = [Peer, Human, System, Call, Delegation, Upload, Broadcast];
    assert_eq!(all.map(InboxMessageKind::takes_reply), [true, true, false, false, false, true, false]);
    assert_eq!(
        all.map(InboxMessageKind::as_str),
        ["peer", "human", "system", "call", "delegation", "upload", "broadcast"]
    );
}

#[test]
fn kind_follows_from_method_and_source() {
    use InboxMessageKind::{Broadcast, Call, Delegation, Human, Peer, System, Upload};
    let stamped = |source: &str| json!({ "params": { "metadata": { "source": source } } });
    for (row, kind, has_peer) in [
        (json!({ "source_id": PEER }), Peer, true),
        (json!({ "source_id": PEER.to_uppercase(), "method": "message/send" }), Peer, true),
        (json!({ "source_id": PEER, "method": "message/stream" }), Peer, true),
        (json!({ "source_id": PEER, "method": "SendMessage" }), Peer, true),
        (json!({ "source_id": PEER, "method": "SendStreamingMessage" }), Peer, true),
        (json!({ "source_id": PEER, "method": "tasks/send" }), Peer, true),
        (json!({ "source_id": PEER, "request_body": stamped("canvas_user") }), Peer, true),
        (json!({ "source_id": PEER, "method": "tasks/cancel" }), Call, true),
        (json!({ "source_id": PEER, "method": "tasks/get", "request_body": stamped("canvas_user") }), Call, true),
        (json!({ "source_id": PEER, "method": "messages" }), Call, true),
        (json!({ "source_id": null, "method": "tasks/get", "request_body": stamped("canvas_user") }), Call, false),
        // A peer can call any method.
        (json!({ "source_id": PEER, "method": "delegate_result" }), Call, true),
        (json!({ "source_id": PEER, "method": "chat_upload_receive" }), Call, true),
        (json!({ "source_id": PEER, "method": "notify" }), Call, true),
        (json!({ "source_id": null, "method": "delegate_result" }), Call, false),
        (json!({ "source_id": SELF, "method": "delegate_result", "target_id": PEER }), Delegation, true),
        (
            json!({ "source_id": SELF.to_uppercase(), "method": "delegate_result", "target_id": null }),
            Delegation,
            false,
        ),
        (json!({ "source_id": null, "method": "chat_upload_receive" }), Upload, false),
        (json!({ "source_id": "", "method": "chat_upload_receive" }), Call, false),
        (json!({ "source_id": PEER, "method": "broadcast", "activity_type": "broadcast_receive" }), Broadcast, true),
        (json!({ "source_id": PEER, "method": "broadcast", "activity_type": "a2a_receive" }), Call, true),
        (json!({ "source_id": null, "request_body": stamped("canvas_user") }), Human, false),
        (json!({ "source_id": null, "request_body": stamped("canvas_user").to_string() }), Human, false),
        (json!({ "source_id": null, "request_body": stamped("telegram") }), System, false),
        (json!({ "source_id": null, "request_body": stamped("Canvas_User") }), System, false),
        (json!({ "source_id": null }), System, false),
        (json!({}), System, false),
        (json!({ "source_id": null, "data": { "kind": "canvas_user" } }), System, false),
        (json!({ "source_id": null, "request_body": { "metadata": { "source": "canvas_user" } } }), System, false),
        (
            json!({ "source_id": null, "request_body": { "params": { "message": { "metadata": { "source_type": "canvas_user" } } } } }),
            System,
            false,
        ),
        (json!({ "source_id": "", "request_body": stamped("canvas_user") }), System, false),
        (json!({ "source_id": " \t\u{a0}", "request_body": stamped("canvas_user") }), System, false),
        (json!({ "source_id": "\u{200b}", "request_body": stamped("canvas_user") }), System, false),
        (json!({ "source_id": "../../etc", "request_body": stamped("canvas_user") }), System, false),
        (json!({ "source_id": 7, "request_body": stamped("canvas_user") }), System, false),
        (json!({ "source_id": { "id": PEER }, "request_body": stamped("canvas_user") }), System, false),
    ] {
        let peer = PeerId::from_text(PEER).filter(|_| has_peer);
        assert_eq!(kind_of(&numbered(&row)), (kind, peer), "{row}");
    }
}

/// Older platforms do not number their rows, and write little of who a human is.
#[test]
fn kind_of_a_row_of_an_older_platform_follows_from_its_data() {
    use InboxMessageKind::{Delegation, Human, Peer, System};
    for (row, kind, has_peer) in [
        (json!({ "source_id": PEER }), Peer, true),
        (json!({ "data": { "peer_id": PEER } }), Peer, true),
        (json!({ "source_id": null }), Human, false),
        (json!({ "source_id": null, "data": { "peer_id": "", "kind": "canvas_user" } }), Human, false),
        (json!({ "source_id": "", "data": { "peer_id": PEER } }), Peer, true),
        (json!({ "source_id": "" }), System, false),
        (json!({ "source_id": "\u{1c}" }), System, false),
        (json!({ "source_id": "\u{feff}\u{2060}" }), System, false),
        (json!({ "source_id": "", "data": { "kind": "canvas_user" } }), System, false),
        (json!({ "source_id": "", "data": { "peer_id": "", "kind": "canvas_user" } }), System, false),
        (json!({ "data": { "peer_id": "" } }), System, false),
        (json!({ "data": { "peer_id": "\u{200b}", "kind": "canvas_user" } }), System, false),
        (json!({ "data": { "kind": "canvas_user" } }), Human, false),
        (json!({ "source_id": PEER, "method": "delegate_result" }), Delegation, true),
        (json!({ "source_id": SELF, "method": "delegate_result" }), Delegation, false),
        (json!({ "method": "delegate_result" }), Delegation, false),
        (json!({ "data": { "source": "peer_agent" } }), System, false),
        (json!({ "source_id": false, "data": { "kind": "canvas_user" } }), System, false),
        (json!({ "data": { "peer_id": [PEER] } }), System, false),
        (json!({ "request_body": { "params": { "metadata": { "source": "telegram" } } } }), System, false),
        (json!({ "request_body": { "params": { "metadata": { "source": "canvas_user" } } } }), Human, false),
    ] {
        let peer = PeerId::from_text(PEER).filter(|_| has_peer);
        assert_eq!(kind_of(&row), (kind, peer), "{row}");
    }
}

/// Fate of a recorded row: its kind, or why it is not delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Delivered(InboxMessageKind),
    Skipped(SkipReason),
}

/// Returns the rows that were recorded under a name: whole ones, or made whole again of what the recorder kept of them.
fn recorded(file: &str, what: &str) -> Vec<Value> {
    let mut lines = file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.find(|line| line["what"] == what).unwrap_or_else(|| panic!("{what}"));
    let rows = line.get("rows").unwrap_or(&line["body"]).as_array().unwrap().clone();
    rows.into_iter().map(|row| if row.get("text").is_some() { whole(row) } else { row }).collect()
}

fn whole(mut row: Value) -> Value {
    let parts: Vec<Value> = row["text"].as_array().unwrap().iter().map(|text| json!({ "text": text })).collect();
    row["request_body"] = json!({ "params": { "message": { "messageId": row["messageId"], "parts": parts },
        "metadata": row["metadata"] } });
    if let Some(response) = row.get("response").cloned() {
        // A long one was cut, and is no JSON.
        row["response_body"] = serde_json::from_str(response.as_str().unwrap()).unwrap_or(response);
    }
    row
}

/// Returns the fate of each row in the inbox of `workspace`, with the method or the text that tells them apart.
fn fates(rows: &[Value], workspace: &str) -> Vec<(String, Fate)> {
    let filter =
        RowFilter { workspace_id: workspace.to_owned(), delivers_own: false, own_uploads: std::sync::Arc::default() };
    let fate = |row: &Value| {
        let fields = row.as_object().unwrap();
        let text = row["request_body"]["params"]["message"]["parts"][0]["text"].as_str();
        let name = text.unwrap_or_else(|| row["method"].as_str().unwrap()).to_owned();
        let fate = match filter.skip_reason(fields) {
            Some(reason) => Fate::Skipped(reason),
            None => Fate::Delivered(identify(fields, &wire::request_body(fields), workspace).0),
        };
        (name, fate)
    };
    // Ids are masked, and a name in braces is no id.
    let unmask = |row: &Value| {
        let mut row = row.clone();
        if row["source_id"].as_str().is_some_and(|id| id.starts_with('{') && id != workspace) {
            row["source_id"] = PEER.into();
        }
        row
    };
    rows.iter().map(unmask).map(|row| fate(&row)).collect()
}

const ROWS: &str = include_str!("../../../tests/platform/recorded/rows.jsonl");
const WHO: &str = include_str!("../../../tests/platform/recorded/who.jsonl");
const DUPLICATES: &str = include_str!("../../../tests/platform/recorded/duplicates.jsonl");
const PUSH_AGENTS: &str = include_str!("../../../tests/platform/recorded/push-agents.jsonl");

#[test]
fn recorded_rows_of_every_kind_are_told_apart() {
    use Fate::{Delivered, Skipped};
    let found = fates(&recorded(ROWS, "h: inbox rows of ours"), "{H_SELF}");
    let expected = [
        ("delegate_result", Delivered(InboxMessageKind::Delegation)),
        ("delegate_result", Delivered(InboxMessageKind::Delegation)),
        ("delegate_result", Delivered(InboxMessageKind::Delegation)),
        ("delegate_result", Skipped(SkipReason::QueuedDelegation)),
        ("chat_upload_receive", Delivered(InboxMessageKind::Upload)),
        ("notify", Skipped(SkipReason::Notice)),
    ];
    assert_eq!(found, expected.map(|(name, fate)| (name.to_owned(), fate)));
    let failed = recorded(ROWS, "h: inbox rows of ours").remove(0);
    let callee = identify(failed.as_object().unwrap(), &Value::Null, "{H_SELF}").1;
    assert_eq!(callee, PeerId::from_text("9d2fabaf-2494-41b9-be68-638a17c36d03"));
    let broadcast = fates(&recorded(ROWS, "h: type=broadcast_receive"), "{H_SELF}");
    assert_eq!(broadcast, [("broadcast".to_owned(), Delivered(InboxMessageKind::Broadcast))]);
}

#[test]
fn recorded_forgeries_are_the_peers_and_only_the_stamped_are_the_humans() {
    use Fate::{Delivered, Skipped};
    for (what, workspace) in
        [("g: rows", "{G_TARGET}"), ("g: tenant: rows", "{G_TENANT}"), ("g: combined: rows", "{G_COMB}")]
    {
        let rows = recorded(WHO, what);
        for (row, (name, fate)) in rows.iter().zip(fates(&rows, workspace)) {
            let expected = match name.as_str() {
                "chat_upload_receive" => Delivered(InboxMessageKind::Upload),
                // The row that a workspace made itself, and what it sent to itself.
                "g self-made" | "g self forged" => Skipped(SkipReason::Own),
                // The holder of the inbound secret can forge a human, and does so here.
                "g inbound" | "g inbound header" => Delivered(InboxMessageKind::System),
                name if row["source_id"].is_string() => {
                    assert!(name.starts_with("g peer") || name.contains("as peer") || name.contains("token"), "{name}");
                    Delivered(InboxMessageKind::Peer)
                }
                _ => {
                    assert_eq!(row["metadata"]["source"], "canvas_user", "{row}");
                    Delivered(InboxMessageKind::Human)
                }
            };
            assert_eq!(fate, expected, "{name}");
        }
        assert!(rows.len() >= 5, "{what}");
    }
}

#[test]
fn recorded_rows_with_an_answer_are_the_push_agents() {
    let delivered = |what: &str| {
        let fates = fates(&recorded(PUSH_AGENTS, what), "{F_AGENT}");
        fates.iter().map(|(_, fate)| *fate == Fate::Delivered(InboxMessageKind::Peer)).collect::<Vec<_>>()
    };
    for what in ["message", "task", "working", "rpc error", "status 400 object", "status 404 json", "hang"] {
        assert_eq!(delivered(&format!("f: rows of the agent after: {what}")), [false], "{what}");
    }
    // It had no JSON to say, or its answer was lost. The row does not tell whether it has the message.
    for what in ["status 400 text", "status 500 empty", "not json", "empty", "close in the answer"] {
        assert_eq!(delivered(&format!("f: rows of the agent after: {what}")), [true], "{what}");
    }
    assert_eq!(delivered("f: rows of the agent after: close at once"), [true, true]);
}

#[test]
fn recorded_duplicates_are_each_a_peers() {
    let poller = fates(&recorded(DUPLICATES, "d: rows of the poller"), "{D_POLL}");
    let late = fates(&recorded(DUPLICATES, "d: rows after the queue has drained"), "{D_LATE}");
    assert_eq!((poller.len(), late.len()), (6, 7));
    for (name, fate) in poller.iter().chain(&late) {
        assert_eq!(*fate, Fate::Delivered(InboxMessageKind::Peer), "{name}");
    }
}
