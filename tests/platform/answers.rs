//! Our client's messages: whom they are refused for, and whose error comes back. The agent counts what it got.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{Delivery, ErrorKind, LookupSource, Message, QueuedOutcome, Reply, RetryPolicy, SendOptions};
use serde_json::json;

use crate::agent::Agent;
use crate::http::send;
use crate::world::PATIENCE;

#[test]
fn agents_own_error_is_the_agents_and_it_ran_once() {
    let (platform, agent) = (Platform::start().unwrap(), Agent::start());
    let (dev, ops) = (platform.workspace("dev"), platform.push_agent("ops", &format!("http://{}/", agent.host)));
    let (token, reads) = (dev.token().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = reads.clone();
    let token = move || {
        count.fetch_add(1, SeqCst);
        Some(token.clone())
    };
    let client = dev.client().token_fn(token).build().unwrap();
    let options = SendOptions::new().retry(RetryPolicy::new().honor_retry_after());
    for status in [400, 401, 403, 404, 409, 422, 429, 500, 502, 503] {
        let (text, id) = (format!("status {status} json"), format!("message-{status}"));
        let error = client.send_with(ops.id(), &Message::from(text).message_id(&id), &options).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Agent, Delivery::Delivered), "{status} {error}");
        assert_eq!((error.status(), error.attempts(), agent.runs(&id)), (Some(status), 1, 1), "{status}");
        let text = error.to_string();
        assert!(text.ends_with(&format!("the agent says no (HTTP {status}); the agent answered so")), "{text}");
    }
    assert_eq!(reads.load(SeqCst), 1, "only to build the client");
    // The platform's own 401 is about the token.
    dev.revoke_tokens();
    let error = client.send(ops.id(), "hi").unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unauthorized, Delivery::NotSent), "{error}");
    assert_eq!(reads.load(SeqCst), 2);
}

#[test]
fn message_that_the_platform_keeps_for_an_agent_is_accepted() {
    let (platform, agent) = (Platform::start().unwrap(), Agent::start());
    let (dev, gone) = (platform.workspace("dev"), platform.push_agent("gone", "http://127.0.0.1:1/"));
    let ops = platform.push_agent("ops", &format!("http://{}/", agent.host));
    let client = dev.client().build().unwrap();
    let failure = |peer: &str, text: &str| {
        let error = client.send(peer, text).unwrap_err();
        (error.kind(), error.delivery())
    };
    assert_eq!(failure(gone.id(), "x"), (ErrorKind::Platform, Delivery::Accepted));
    let paused = platform.unregistered("paused");
    paused.pause();
    assert_eq!(failure(paused.id(), "x"), (ErrorKind::Platform, Delivery::Accepted));
    assert_eq!(failure(ops.id(), "close in the answer"), (ErrorKind::Platform, Delivery::Delivered));
    assert_eq!(failure(ops.id(), "empty"), (ErrorKind::Agent, Delivery::Delivered));
    ops.over_budget(true);
    assert_eq!(failure(ops.id(), "x"), (ErrorKind::Platform, Delivery::NotSent));
    let rows: Vec<_> = platform.ledger().into_iter().map(|row| row.workspace_id).collect();
    assert_eq!(rows, [gone.id(), paused.id(), ops.id(), ops.id()], "a row is left where the delivery says so");
}

#[test]
fn message_to_ourselves_is_sent_only_on_request() {
    let platform = Platform::start().unwrap();
    let dev = platform.workspace("dev");
    let client = dev.client().build().unwrap();
    for own in [dev.id().to_owned(), dev.id().to_uppercase()] {
        let error = client.send(&own, "to myself").unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidMessage, Delivery::NotSent), "{error}");
        assert!(error.to_string().contains("SendOptions::own(true)"), "{error}");
    }
    assert_eq!(platform.sent().len(), 0);
    let reply = client.send_with(dev.id(), &Message::from("to myself"), &SendOptions::new().own(true)).unwrap();
    assert!(matches!(reply, Reply::Queued(_)), "{reply:?}");
    assert_eq!(platform.sent().len(), 1);
}

/// The platform answers `queued`, and nobody ever reads it.
#[test]
fn message_to_a_peer_that_is_known_to_be_removed_is_not_sent() {
    let platform = Platform::start().unwrap();
    let (dev, ops, other) = (platform.workspace("dev"), platform.workspace("ops"), platform.workspace("other"));
    let client = dev.client().build().unwrap();
    ops.remove();
    assert!(client.send(ops.id(), "not known yet").is_ok());
    assert_eq!(client.lookup(ops.id()).source, LookupSource::Absent);
    let error = client.send(ops.id(), "known").unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotSent), "{error}");
    assert!(error.to_string().contains("the peer was removed from the platform"), "{error}");
    assert_eq!(platform.sent().len(), 1);
    // A peer that is only not shown, or paused, is sent to.
    other.pause();
    assert!(client.lookup(other.id()).peer.is_none());
    assert!(client.send(other.id(), "paused").is_ok());
    client.forget(ops.id());
    assert!(client.send(ops.id(), "forgotten").is_ok());
    assert_eq!(platform.sent().len(), 3);
}

#[test]
fn queued_message_is_followed_until_its_agent_answers() {
    let (platform, agent) = (Platform::start().unwrap(), Agent::start());
    let (dev, ops) = (platform.workspace("dev"), platform.unregistered("ops"));
    let client = dev.client().build().unwrap();
    let Reply::Queued(queued) = client.send(ops.id(), "message").unwrap() else { panic!("not queued") };
    assert_eq!(queued.peer().map(|peer| peer.to_string()).as_deref(), Some(ops.id()));
    let state = client.queued(&queued).unwrap();
    assert_eq!((state.status(), state.attempts(), state.outcome()), (Some("queued"), Some(0), QueuedOutcome::Pending));
    assert!(state.enqueued_at().is_some() && state.expires_at().is_none() && !state.is_finished());
    // It ends in time, with the last state.
    assert!(!client.wait_queued(&queued, Duration::from_millis(1_500)).unwrap().is_finished());

    // Another workspace is not shown it.
    let other = platform.workspace("other").client().build().unwrap();
    let error = other.queued(&queued).unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(403)), "{error}");

    let waiter = std::thread::spawn({
        let (client, queued) = (client.clone(), queued.clone());
        move || client.wait_queued(&queued, Duration::from_secs(120)).unwrap()
    });
    register(&platform, &ops, &format!("http://{}/", agent.host), "push");
    let state = waiter.join().unwrap();
    assert_eq!(
        (state.outcome(), state.status(), state.attempts()),
        (QueuedOutcome::Answered, Some("completed"), Some(1))
    );
    assert_eq!(state.reply().unwrap().text(), "pong");
    assert!(state.dispatched_at().is_some() && state.completed_at().is_some());
}

#[test]
fn queued_message_of_a_peer_that_polls_then_is_in_its_inbox() {
    let platform = Platform::start().unwrap();
    let (dev, ops) = (platform.workspace("dev"), platform.unregistered("ops"));
    let client = dev.client().build().unwrap();
    let Reply::Queued(queued) = client.send(ops.id(), "message").unwrap() else { panic!("not queued") };
    register(&platform, &ops, "", "poll");
    let state = client.wait_queued(&queued, Duration::from_secs(120)).unwrap();
    assert_eq!((state.outcome(), state.reply()), (QueuedOutcome::InInbox, None));
    // There is no queue for a peer that polls already.
    let Reply::Queued(queued) = client.send(ops.id(), "again").unwrap() else { panic!("not queued") };
    let error = client.queued(&queued).unwrap_err();
    assert_eq!((queued.queue_id(), error.kind()), (None, ErrorKind::NotFound), "{error}");
}

/// Registers a workspace as its agent does, with a heartbeat.
fn register(platform: &Platform, of: &WorkspaceHandle, url: &str, mode: &str) {
    let host = platform.url().replace("http://", "");
    let token = [("Authorization".to_owned(), format!("Bearer {}", of.token().unwrap()))];
    let card = json!({ "id": of.id(), "url": url, "agent_card": { "name": "ops" }, "delivery_mode": mode });
    for (path, body) in [("/registry/register", card), ("/registry/heartbeat", json!({ "workspace_id": of.id() }))] {
        let body = body.to_string();
        let answer = send(&host, "POST", path, &token, Some(body.as_bytes()), PATIENCE).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}
