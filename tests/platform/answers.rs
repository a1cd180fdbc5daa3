//! Our client's messages: whom they are refused for, and whose error comes back. The agent counts what it got.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use a2a_blocking::testing::Platform;
use a2a_blocking::{Delivery, ErrorKind, LookupSource, Message, Reply, RetryPolicy, SendOptions};

use crate::agent::Agent;

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
