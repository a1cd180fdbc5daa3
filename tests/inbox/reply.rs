//! Replies from a callback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use a2a_blocking::{Delivery, ErrorKind, Verdict};
use serde_json::json;

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
    for (_, reply) in replying(&platform, "inbox-reply-empty", " \n") {
        assert_eq!(reply, refused("the text is empty"));
    }
    assert_eq!(platform.state().messages.len(), 1);
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
        "POST" => {
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
