//! A send for each answer that was recorded from the real platform: whose error it is, what is known of the delivery,
//! whether the token is read again, and whether another attempt is made.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use a2a_blocking::Delivery::{self, Accepted, Delivered, NotSent, Unknown};
use a2a_blocking::ErrorKind::{self, Agent, Malformed, Platform, Rpc, Status, TooLarge, Unauthorized};
use a2a_blocking::{Message, QueuedOutcome, QueuedState, Reply, RetryPolicy, SendOptions};
use serde_json::Value;

use crate::support::{PEER, Reaction, Server, WORKSPACE, builder};

/// Expected outcome of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// A reply, which says so of the delivery.
    Answer(Delivery),
    /// An error. Neither is the token read again, nor another attempt made.
    Error(ErrorKind, Delivery),
    /// A refusal of the token, which is read again.
    Refused,
    /// An error of the platform, which asks to be called again in so many seconds.
    Asked(u64),
}

use Expected::{Answer, Asked, Error, Refused};

/// The lines of two files, in their order: every message that was sent.
const PUSH_AGENTS: &[(&str, Expected)] = &[
    ("f2: agent gone (connection refused)", Error(Platform, Accepted)),
    ("f2: the same, an admin", Error(Platform, Accepted)),
    ("f2: sent then", Answer(Accepted)),
    ("f2: through BASE", Answer(Accepted)),
    ("f3: send before it is up", Answer(Accepted)),
    ("f3: send, answered", Answer(Delivered)),
    ("f3: canvas, answered", Answer(Delivered)),
    ("f: agent does: message", Answer(Delivered)),
    ("f: agent does: task", Answer(Delivered)),
    ("f: agent does: rpc error", Error(Rpc, Delivered)),
    ("f: agent does: status 400 json", Error(Agent, Delivered)),
    ("f: agent does: status 400 object", Error(Agent, Delivered)),
    ("f: agent does: status 400 text", Error(Agent, Delivered)),
    ("f: agent does: status 401 json", Error(Agent, Delivered)),
    ("f: agent does: status 403 json", Error(Agent, Delivered)),
    ("f: agent does: status 404 json", Error(Agent, Delivered)),
    ("f: agent does: status 409 json", Error(Agent, Delivered)),
    ("f: agent does: status 422 json", Error(Agent, Delivered)),
    ("f: agent does: status 429 json", Error(Agent, Delivered)),
    ("f: agent does: status 500 json", Error(Agent, Delivered)),
    ("f: agent does: status 500 empty", Error(Agent, Delivered)),
    ("f: agent does: status 502 empty", Error(Agent, Delivered)),
    ("f: agent does: status 503 json", Error(Agent, Delivered)),
    ("f: agent does: status 504 text", Error(Agent, Delivered)),
    // A login page of the network looks the same.
    ("f: agent does: not json", Error(Malformed, Unknown)),
    ("f: agent does: empty", Error(Agent, Delivered)),
    ("f: agent does: 204", Error(Malformed, Unknown)),
    ("f: agent does: redirect", Error(Agent, Delivered)),
    ("f: agent does: close at once", Answer(Accepted)),
    ("f: agent does: close after the head", Error(Platform, Delivered)),
    ("f: agent does: size 12000000", Error(TooLarge, Unknown)),
    ("f: agent does: hang", Answer(Delivered)),
    ("f: X-Timeout 1, hang", Answer(Delivered)),
    ("f: same messageId to a push agent (1)", Answer(Delivered)),
    ("f: same messageId to a push agent (2)", Answer(Delivered)),
    ("f: agent gone (connection refused)", Answer(Delivered)),
    ("f: canvas caller, agent gone", Answer(Delivered)),
    ("f: production instance to a loopback url", Error(Platform, Accepted)),
];

const STATES: &[(&str, Expected)] = &[
    ("i: send then", Error(Platform, NotSent)),
    ("i: send message/stream then", Answer(Accepted)),
    ("i: send to it", Error(Platform, Accepted)),
    ("i: send to a push one that is hibernated", Asked(15)),
    ("i: send to a push one that is failed", Error(Platform, Accepted)),
    ("i: send to a push one that is removed", Error(Platform, Accepted)),
    ("i: send to a push one that is provisioning", Answer(Accepted)),
    ("i: send to one over its budget", Error(Platform, NotSent)),
    ("stale: send to it", Answer(Accepted)),
];

/// Lines of other files, with the answers that those two have not.
const OTHERS: &[(&str, &str, Expected)] = &[
    ("first", "send with another's id", Refused),
    ("first", "send without a token", Refused),
    ("first", "send unknown workspace", Error(Platform, NotSent)),
    ("first", "send 17000000 bytes", Error(Platform, NotSent)),
    ("first", "send to a deleted", Answer(Accepted)),
    ("organisation", "o: a wrong org: send", Error(Status, NotSent)),
    ("organisation", "o: an empty org: send", Error(Platform, NotSent)),
    ("queue", "q: send by the removed", Refused),
    ("queue", "q: send, no parts", Error(Platform, NotSent)),
    ("rate-limit", "k: ", Asked(59)),
    ("who", "g: X-Workspace-ID system:x", Error(Platform, NotSent)),
];

fn lines(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platform/recorded").join(format!("{file}.jsonl"));
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the lines that are messages with an answer.
fn sends(file: &str) -> Vec<Value> {
    let is_send = |line: &Value| {
        let request = &line["request"];
        request["method"] == "POST" && request["path"].as_str().unwrap().ends_with("/a2a") && line["status"].is_u64()
    };
    lines(file).into_iter().filter(|line| line["request"].is_object() && is_send(line)).collect()
}

/// Returns the recorded answer. The file has JSON in place of a body that is some, and long bodies are cut.
fn reaction(line: &Value) -> Reaction {
    let headers = &line["headers"];
    let body = match &line["body"] {
        Value::String(text) if text.contains("…(") => " ".repeat(12_000_000),
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let mut answer = Reaction::reply(line["status"].as_u64().unwrap().try_into().unwrap(), body);
    for name in ["Content-Type", "Retry-After"] {
        if let Some(value) = headers[name].as_str() {
            answer = answer.header(name, value);
        }
    }
    answer
}

/// Sends a message that is answered so, with a budget in which nobody waits for a second.
fn check(what: &str, line: &Value, expected: Expected) {
    let answer = reaction(line);
    // After a refusal the client asks whether its workspace was removed.
    let server = Server::decide(move |_, request| match request.method.as_str() {
        "POST" => answer.clone(),
        _ => Reaction::reply(200, "{}"),
    });
    let reads = Arc::new(AtomicUsize::new(0));
    let count = reads.clone();
    // Each token is another one, so that a refused one is replaced.
    let client = builder(&server).token_fn(move || Some(format!("token-{}", count.fetch_add(1, SeqCst))));
    let client = client.build().unwrap();
    let policy = RetryPolicy::new().honor_retry_after().with_budget(Duration::from_millis(900)).with_attempts(2);
    // The test's own time is no part of it.
    let policy = if matches!(expected, Asked(_)) { policy } else { policy.with_budget(Duration::from_secs(60)) };
    let outcome = client.send_with(PEER, &Message::from("x"), &SendOptions::new().retry(policy));
    let reads_again = reads.load(SeqCst) - 1;
    let tries = server.requests().iter().filter(|request| request.method == "POST").count();
    let seen = match &outcome {
        Ok(reply) => Answer(reply.delivery()),
        Err(error) if error.kind() == Unauthorized => {
            assert_eq!(error.delivery(), NotSent, "{what}");
            Refused
        }
        Err(error) => match (expected, error.retry_after()) {
            (Asked(_), Some(wait)) => {
                assert_eq!((error.kind(), error.delivery()), (Platform, NotSent), "{what}");
                Asked(wait.as_secs())
            }
            _ => Error(error.kind(), error.delivery()),
        },
    };
    assert_eq!(seen, expected, "{what}: {outcome:?}");
    // A refused token is read again, and the request made once more. Nothing else leads to another request.
    let once_more = usize::from(expected == Refused);
    assert_eq!((reads_again, tries), (once_more, 1 + once_more), "{what}: {outcome:?}");
}

#[test]
fn each_answer_to_a_message_is_classified() {
    for (file, expected) in [("push-agents", PUSH_AGENTS), ("states", STATES)] {
        let lines = sends(file);
        let names: Vec<&str> = lines.iter().map(|line| line["what"].as_str().unwrap()).collect();
        let known: Vec<&str> = expected.iter().map(|(what, _)| *what).collect();
        assert_eq!(names, known, "{file}");
        for (line, (what, expected)) in lines.iter().zip(expected) {
            check(what, line, *expected);
        }
    }
}

/// The recorded states of queued messages, over the call that asks for one.
#[test]
fn each_state_of_a_queued_message_is_read() {
    use QueuedOutcome::{Answered, Expired, InInbox, Pending};
    let queued = {
        let body = r#"{"queued":true,"queue_id":"2f20c6ec-f2e4-44fa-a326-3b763a7af033"}"#;
        let server = Server::play([Reaction::reply(202, body)]);
        let Reply::Queued(queued) = builder(&server).build().unwrap().send(PEER, "x").unwrap() else { panic!() };
        queued
    };
    let mut seen = 0;
    for (file, what, expected) in [
        ("queue", "e: as the sender, no X-Workspace-ID", Ok(Pending)),
        ("queue", "e: as a third", Err((ErrorKind::NotFound, 403))),
        ("queue", "e: bad token", Err((Unauthorized, 401))),
        ("queue", "e: under another workspace's path", Ok(Pending)),
        ("queue", "e: unknown id", Err((ErrorKind::NotFound, 404))),
        ("queue", "e: no UUID", Err((Status, 500))),
        ("queue", "e: after expiry", Ok(Expired)),
        ("queue", "e: after dispatch", Ok(InInbox)),
        ("queue", "e: expired one, after the drain", Ok(Expired)),
        ("push-agents", "f3: queue item", Ok(Answered)),
    ] {
        let line = lines(file).into_iter().find(|line| line["what"] == what).unwrap();
        let answer = reaction(&line);
        let server = Server::decide(move |_, request| match request.path.contains("/a2a/queue/") {
            true => answer.clone(),
            false => Reaction::reply(200, "{}"),
        });
        let outcome = builder(&server).token("t").build().unwrap().queued(&queued);
        let found = outcome.as_ref().map(QueuedState::outcome).map_err(|error| (error.kind(), error.status().unwrap()));
        assert_eq!(found, expected, "{what}: {outcome:?}");
        let request = &server.requests()[0];
        assert_eq!(request.path, format!("/workspaces/{PEER}/a2a/queue/2f20c6ec-f2e4-44fa-a326-3b763a7af033"));
        assert_eq!(request.header("x-workspace-id"), Some(WORKSPACE));
        if let Ok(state) = outcome {
            let text = |field: &str| line["body"][field].as_str().map(str::to_owned);
            assert_eq!(state.status().map(str::to_owned), text("status"), "{what}");
            assert_eq!(state.enqueued_at().map(str::to_owned), text("enqueued_at"), "{what}");
            assert_eq!(state.completed_at().map(str::to_owned), text("completed_at"), "{what}");
            assert_eq!(state.expires_at().map(str::to_owned), text("expires_at"), "{what}");
            assert_eq!(state.attempts(), line["body"]["attempts"].as_u64(), "{what}");
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

/// A failure that may pass ends no wait; a 404 may be a database that lags; a refusal ends it.
#[test]
fn waiting_for_a_queued_message_outlasts_failures_that_pass() {
    let queue = r#"{"queued":true,"queue_id":"2f20c6ec-f2e4-44fa-a326-3b763a7af033"}"#;
    let missing = Reaction::reply(404, r#"{"error":"queue item not found","retryable":true}"#);
    let done = Reaction::reply(200, r#"{"status":"completed"}"#);
    let pending = Reaction::reply(200, r#"{"status":"queued"}"#);
    let wait = |reactions: &[Reaction], time: u64| {
        let all: Vec<Reaction> = [&[Reaction::reply(202, queue)], reactions].concat();
        let server = Server::play(all);
        let client = builder(&server).build().unwrap();
        let Reply::Queued(queued) = client.send(PEER, "x").unwrap() else { panic!() };
        let outcome = client.wait_queued(&queued, Duration::from_millis(time));
        let outcome = outcome.map(|state| state.outcome()).map_err(|error| error.status());
        (outcome, server.requests().len() - 1)
    };
    let (outcome, requests) = wait(&[missing.clone(), Reaction::Close, pending.clone(), done], 60_000);
    assert_eq!(outcome, Ok(QueuedOutcome::Lost));
    assert!(requests >= 4, "{requests}");
    assert_eq!(wait(&[missing], 60_000), (Err(Some(404)), 4), "three more times");
    assert_eq!(wait(&[Reaction::reply(403, r#"{"error":"access denied"}"#)], 60_000), (Err(Some(403)), 1));
    // At the end of the time the last state counts, whatever came after it.
    assert_eq!(wait(std::slice::from_ref(&pending), 1_500).0, Ok(QueuedOutcome::Pending));
    assert_eq!(wait(&[pending, Reaction::reply(503, "")], 2_500).0, Ok(QueuedOutcome::Pending));
    // The id goes into a path.
    let server = Server::play([Reaction::reply(202, r#"{"queued":true,"queue_id":"../../../x"}"#)]);
    let client = builder(&server).build().unwrap();
    let Reply::Queued(queued) = client.send(PEER, "x").unwrap() else { panic!() };
    assert_eq!(client.queued(&queued).unwrap_err().kind(), Malformed);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn answers_that_only_other_recordings_have_are_classified() {
    for (file, what, expected) in OTHERS {
        let line = match *file {
            // The answer is the same to every call.
            "rate-limit" => lines(file).into_iter().find(|line| line["status"] == 429),
            _ => sends(file).into_iter().find(|line| line["what"] == *what),
        };
        check(what, &line.unwrap_or_else(|| panic!("{file}: {what}")), *expected);
    }
}
