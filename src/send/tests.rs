use std::sync::mpsc::Sender;

use super::attempt::AttemptEvent;
use super::*;
use crate::client::Client;
use crate::error::ErrorKind;
use crate::peer::PeerId;
use crate::platform::OutgoingMessage;
use crate::wire::{Message, MessageAnswer, Reply, read_answer};

fn pause(attempt: u32, hint: RetryHint, policy: RetryPolicy, delivery: Delivery) -> Option<Duration> {
    pause_after(attempt, hint, policy.with_jitter(0.0), delivery)
}

#[test]
fn pause_follows_the_hint_the_policy_and_the_delivery() {
    let (plain, second) = (RetryPolicy::new(), Duration::from_secs(1));
    let asked = RetryHint::Asked(Some(second * 7));
    let (not_sent, unknown) = (Delivery::NotSent, Delivery::Unknown);
    assert_eq!(pause(1, RetryHint::Transport, plain, unknown), Some(second));
    assert_eq!(pause(4, RetryHint::Transport, plain, unknown), Some(second * 8));
    assert_eq!(pause(5, RetryHint::Transport, plain, unknown), None);
    assert_eq!(pause(1, RetryHint::No, plain.honor_retry_after(), not_sent), None);
    assert_eq!(pause(1, RetryHint::Transport, plain.only_undelivered(), unknown), None);
    assert_eq!(pause(1, RetryHint::Transport, plain.only_undelivered(), not_sent), Some(second));
    assert_eq!(pause(1, asked, plain, not_sent), None);
    assert_eq!(pause(1, asked, plain.honor_retry_after(), not_sent), Some(second * 7));
    // A message that an earlier attempt may have delivered is sent again, as after a failure of the transport.
    assert_eq!(pause(1, asked, plain.honor_retry_after(), unknown), Some(second * 7));
    assert_eq!(pause(1, asked, plain.honor_retry_after().only_undelivered(), unknown), None);
    assert_eq!(pause(1, asked, plain.honor_retry_after().only_undelivered(), not_sent), Some(second * 7));
    assert_eq!(pause(1, asked, plain.honor_retry_after(), Delivery::Delivered), None);
    assert_eq!(pause(2, RetryHint::Asked(None), plain.honor_retry_after(), not_sent), Some(second * 2));
}

/// Runs a cancellable attempt that receives the events which `send_events` sends before it starts.
///
/// Nobody listens at the attempt's address, and the events end it before its own thread can.
fn run_with(
    token: &CancelToken,
    send_events: impl FnOnce(&Sender<AttemptEvent<Reply>>),
) -> Result<Reply, FailedAttempt> {
    let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id("w").build().unwrap();
    let peer = PeerId::parse("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c").unwrap();
    let bound = Duration::from_secs(20);
    let message = OutgoingMessage::new(client.http(), peer, &Message::from("hi"), bound).unwrap();
    let runner = AttemptRunner::new(client.http(), &message, Some(token), bound);
    let AttemptRunner::Cancellable(cancellable) = &runner else { panic!("a plain runner") };
    send_events(&cancellable.sender);
    runner.run(Deadline::after(bound))
}

fn failed(kind: ErrorKind, hint: RetryHint) -> AttemptEvent<Reply> {
    AttemptEvent::Ended(Err(FailedAttempt { error: Error::new(kind, "for the test"), hint }))
}

#[test]
fn reply_that_arrives_with_a_cancel_is_returned() {
    let body = br#"{"result":{"parts":[{"kind":"text","text":"done"}]}}"#;
    for cancel_first in [false, true] {
        let token = CancelToken::new();
        let outcome = run_with(&token, |sender| {
            if cancel_first {
                token.cancel();
            }
            let MessageAnswer::Reply(reply) = read_answer(200, body) else { panic!("no reply") };
            sender.send(AttemptEvent::Ended(Ok(reply))).unwrap();
            token.cancel();
        });
        assert_eq!(outcome.map(|reply| reply.text().into_owned()).ok().as_deref(), Some("done"));
    }
}

/// A cancel shuts the connections down, which fails them: that failure is the cancel's. An answer of the platform is not.
#[test]
fn broken_transport_counts_as_cancelled_but_an_answer_does_not() {
    for (kind, hint, is_cancelled, expected) in [
        (ErrorKind::Disconnected, RetryHint::Transport, true, ErrorKind::Cancelled),
        (ErrorKind::Disconnected, RetryHint::Transport, false, ErrorKind::Disconnected),
        (ErrorKind::Rpc, RetryHint::No, true, ErrorKind::Rpc),
        (ErrorKind::Platform, RetryHint::Asked(None), true, ErrorKind::Platform),
    ] {
        let token = CancelToken::new();
        let outcome = run_with(&token, |sender| {
            sender.send(failed(kind, hint)).unwrap();
            if is_cancelled {
                token.cancel();
            }
        });
        let Err(failure) = outcome else { panic!("a reply") };
        let hint = if expected == ErrorKind::Cancelled { RetryHint::No } else { hint };
        assert_eq!((failure.error.kind(), failure.hint), (expected, hint));
    }
}

#[test]
fn debug_of_options_shows_what_is_set() {
    let options = SendOptions::new().cancel(&CancelToken::new()).on_progress(|_| ());
    let shown = format!("{options:?}");
    assert!(shown.starts_with("SendOptions { retry: RetryPolicy {"), "{shown}");
    assert!(shown.ends_with(", cancel: Some(CancelToken(open)), on_progress: true }"), "{shown}");
}
