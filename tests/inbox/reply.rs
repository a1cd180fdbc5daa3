//! Replies from a callback.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use a2a_blocking::{Delivery, ErrorKind, Reply, Verdict};
use serde_json::json;

use crate::poll;
use crate::poller::fast_poller;
use crate::support::platform::{Platform, SECOND};
use crate::support::{Dir, PEER, Reaction, Server, client};

/// Text of a message, and the result of the reply to it.
type Replied = (String, Result<Option<String>, (ErrorKind, String)>);

fn replying(platform: &Platform, name: &str, text: &'static str) -> Vec<Replied> {
    let dir = Dir::new(name);
    let server = platform.serve();
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let mut replies = Vec::new();
    let polled = poller.poll_once(|message| {
        let reply = message.reply(text);
        let reply = reply.map(|reply| reply.map(|reply| reply.text().into_owned()));
        replies.push((message.text().to_owned(), reply.map_err(|error| (error.kind(), error.to_string()))));
        Verdict::Ack
    });
    polled.unwrap();
    replies
}

#[test]
fn reply_goes_to_a_peer_as_a_message_and_to_a_human_as_a_notice() {
    let platform = Platform::new();
    platform.add(SECOND, PEER, "peer");
    platform.add_row(2 * SECOND, json!({ "summary": "human" }));
    platform.add_row(3 * SECOND, json!({ "summary": "result", "method": "delegate_result", "source_id": PEER }));
    platform.add_row(4 * SECOND, json!({ "summary": "who", "source_id": "nobody" }));
    let replies = replying(&platform, "inbox-reply", "on it");
    let refused = |why: &str| Err((ErrorKind::InvalidMessage, format!("reply: {why}")));
    assert_eq!(replies[0].1, Ok(Some("thanks".to_owned())));
    assert_eq!(replies[1].1, Ok(None));
    assert_eq!(replies[2].1, refused("a delegation's result takes no reply"));
    assert_eq!(replies[3].1, refused("the row names no sender that a reply could go to; see InboxMessage::row"));
    let state = platform.state();
    assert_eq!(state.notices, ["on it"]);
    let (to, request) = &state.messages[0];
    let message = &request["params"]["message"];
    assert_eq!((state.messages.len(), to.as_str(), &message["role"]), (1, PEER, &"agent".into()));
    assert_eq!(message["parts"], json!([{ "kind": "text", "text": "on it" }]));
    drop(state);
    for empty in ["", " \n", "\u{a0}\u{1c}"] {
        for (_, reply) in replying(&platform, "inbox-reply-empty", empty) {
            let words = "the text is empty: give it words".to_owned();
            assert_eq!(reply, Err((ErrorKind::InvalidMessage, words)));
        }
    }
    assert_eq!(platform.state().messages.len(), 1);
}

/// The peer finds the conversation by the context. Its task may have ended, so the reply only refers to it.
#[test]
fn reply_names_the_conversation_and_the_task_of_its_question() {
    let platform = Platform::new();
    let ids = json!({ "messageId": "m-1", "contextId": "ctx-77", "taskId": "task-9" });
    let names = json!({ "message_id": "m-2", "context_id": "ctx-78", "task_id": "task-8" });
    let empty = json!({ "messageId": "m-3", "contextId": "", "taskId": null });
    // Repeated, it would make the reply larger than the platform takes.
    let long = json!({ "messageId": "m-4", "contextId": "c".repeat(1_100_000), "taskId": "t".repeat(4_097) });
    for (at, ids) in [(1, ids), (2, names), (3, empty), (4, long)] {
        let mut message = ids;
        message["parts"] = json!([{ "text": "which node?" }]);
        platform
            .add_row(at * SECOND, json!({ "source_id": PEER, "request_body": { "params": { "message": message } } }));
    }
    assert!(replying(&platform, "inbox-reply-context", "node 7").iter().all(|(_, reply)| reply.is_ok()));
    let state = platform.state();
    let sent: Vec<_> = state.messages.iter().map(|(_, request)| &request["params"]["message"]).collect();
    let context_and_tasks = |n: usize| (&sent[n]["contextId"], &sent[n]["referenceTaskIds"]);
    assert_eq!(context_and_tasks(0), (&json!("ctx-77"), &json!(["task-9"])));
    assert_eq!(context_and_tasks(1), (&json!("ctx-78"), &json!(["task-8"])));
    assert_eq!(context_and_tasks(2), (&json!(null), &json!(null)));
    assert_eq!(context_and_tasks(3), (&json!(null), &json!(null)));
    assert!(sent.iter().all(|message| message.get("taskId").is_none()), "{sent:?}");
    let own: BTreeSet<_> = sent.iter().map(|message| message["messageId"].as_str().unwrap()).collect();
    assert!(own.len() == 4 && !own.contains("m-1"), "each has an id of its own: {own:?}");
}

/// The reply was delivered, so that the result is the task. Nobody has to look at it to see that it failed.
#[test]
fn task_without_success_is_logged() {
    for (state, lines) in [("failed", 1), ("TASK_STATE_REJECTED", 1), ("auth-required", 1), ("completed", 0)] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-reply-failed"));
        let id = platform.add(SECOND, PEER, "peer");
        let task = json!({ "result": { "id": "t", "status": { "state": state } } }).to_string();
        let inner = platform.clone();
        let server = Server::decide(move |_, request| match request.method.as_str() {
            "POST" if !request.path.ends_with("/activity/ack") => Reaction::reply(200, &task),
            _ => inner.answer(request),
        });
        let mut poller = poll::fast_poller(&server, &dir.file("c")).build().unwrap();
        let shown = state.trim_start_matches("TASK_STATE_").to_lowercase();
        let words = ["WARN", "the reply to", id.as_str(), &format!("the peer's task is {shown}")];
        let before = poll::logged(&words);
        let mut is_task = false;
        let polled = poller.poll_once(|message| {
            is_task = matches!(message.reply("on it"), Ok(Some(Reply::Task(task))) if task.state() == shown);
            Verdict::Ack
        });
        assert_eq!(polled.unwrap().delivered, 1);
        assert!(is_task, "{state}");
        assert_eq!(poll::logged(&words) - before, lines, "{state}");
    }
}

/// A reply is repeated only where it cannot have been delivered.
#[test]
fn reply_that_may_have_arrived_is_not_repeated() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-reply-once"));
    platform.add(SECOND, PEER, "peer");
    platform.add_row(2 * SECOND, json!({ "summary": "human" }));
    let posts = Arc::new(AtomicUsize::new(0));
    let (inner, counted) = (platform.clone(), posts.clone());
    let server = Server::decide(move |_, request| match request.method.as_str() {
        "POST" if !request.path.ends_with("/activity/ack") => {
            counted.fetch_add(1, SeqCst);
            Reaction::Close
        }
        _ => inner.answer(request),
    });
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let mut deliveries = Vec::new();
    let polled = poller.poll_once(|message| {
        deliveries.push(message.reply("on it").unwrap_err().delivery());
        Verdict::Ack
    });
    polled.unwrap();
    assert_eq!((deliveries, posts.load(SeqCst)), (vec![Delivery::Unknown; 2], 2));
}

/// By the log and by the counter, whatever the callback does with the result.
#[test]
fn replies_that_fail_are_logged_and_counted() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-reply-counted"));
    let ids: Vec<String> = (1..=4).map(|n| platform.add(n * SECOND, PEER, "peer")).collect();
    let (inner, posts) = (platform.clone(), AtomicUsize::new(0));
    let server = Server::decide(move |_, request| match request.method.as_str() {
        "POST" if !request.path.ends_with("/activity/ack") => match posts.fetch_add(1, SeqCst) {
            0 => Reaction::reply(400, r#"{"error":"not so"}"#),
            1 => Reaction::reply(200, r#"{"result":{"id":"t","status":{"state":"failed"}}}"#),
            _ => Reaction::reply(200, r#"{"result":{"id":"t","status":{"state":"completed"}}}"#),
        },
        _ => inner.answer(request),
    });
    let _logging = poll::fast_poller(&server, &dir.file("other"));
    let client = client(&server);
    let mut poller = fast_poller(client.clone(), &dir).build().unwrap();
    let polled = poller.poll_once(|message| {
        let text = if message.activity_id() == ids[3] { " " } else { "on it" };
        drop(message.reply(text));
        Verdict::Ack
    });
    assert_eq!(polled.unwrap().delivered, 4);
    let page = client.stats().to_prometheus(&[]);
    assert!(page.contains("\na2a_blocking_inbox_replies_failed_total 3\n"), "{page}");
    let failed = |id: &str, why| poll::logged(&["the reply to", id, why]);
    assert_eq!((failed(&ids[0], "not so"), failed(&ids[1], "task is failed")), (1, 1));
    assert_eq!((failed(&ids[2], ""), failed(&ids[3], "the text is empty")), (0, 1));
}

/// A sender's id that is too long, or that the platform would store nowhere, is not repeated.
#[test]
fn reply_is_recognised_by_its_role_or_its_question_and_repeats_no_odd_id() {
    let platform = Platform::new();
    let metadata = |id: &str| json!({ "in_reply_to": id });
    let ids = ["m-1", "", "m\u{0}", &"m".repeat(4_097)];
    let messages = [
        (json!({ "role": "user", "messageId": ids[0] }), false),
        (json!({ "role": "agent", "messageId": ids[1] }), true),
        (json!({ "role": "ROLE_AGENT", "messageId": ids[2] }), true),
        (json!({ "role": "user", "messageId": ids[3], "metadata": metadata("m-0") }), true),
        (json!({ "metadata": metadata("") }), false),
        (json!({ "metadata": { "in_reply_to": 7 } }), false),
    ];
    for (at, (message, _)) in messages.iter().enumerate() {
        let mut message = message.clone();
        message["parts"] = json!([{ "text": "hi" }]);
        let body = json!({ "params": { "message": message } });
        platform.add_row((at as i64 + 1) * SECOND, json!({ "source_id": PEER, "request_body": body }));
    }
    let dir = Dir::new("inbox-is-reply");
    let server = platform.serve();
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let mut seen = Vec::new();
    let polled = poller.poll_once(|message| {
        seen.push(message.is_reply());
        Verdict::after(message.reply("on it"))
    });
    polled.unwrap();
    assert_eq!(seen, messages.map(|(_, is_reply)| is_reply));
    let state = platform.state();
    let named: Vec<_> =
        state.messages.iter().map(|(_, request)| &request["params"]["message"]["metadata"]["in_reply_to"]).collect();
    assert_eq!(named, [&json!("m-1"), &json!(null), &json!(null), &json!(null), &json!(null), &json!(null)]);
}
