//! Replies to replies, and the brake of a loop of them, against the embedded platform.

use std::time::Duration;

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{Client, Delivery, ErrorKind, InboxMessageKind, InboxPoller, PollerBuilder, PollerHandle, Verdict};

use crate::poll;
use crate::poller::fast_poller;
use crate::support::{Dir, eventually};

/// A platform without a rate limit, with two workspaces.
fn two_agents() -> (Platform, WorkspaceHandle, WorkspaceHandle) {
    let platform = Platform::start().unwrap();
    platform.rate_limit(None);
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    (platform, ops, dev)
}

fn answering_everything(client: Client, dir: &Dir) -> PollerHandle {
    let poller = fast_poller(client, dir).interval(Duration::from_millis(1));
    poller.spawn(|message| Verdict::after(message.reply("and you?"))).unwrap()
}

#[test]
fn two_pollers_that_answer_everything_are_braked() {
    let (platform, ops, dev) = two_agents();
    let (clients, dirs) = ([&ops, &dev].map(|it| it.client().build().unwrap()), [(); 2].map(|()| Dir::new("loops")));
    let pollers = [0, 1].map(|n| answering_everything(clients[n].clone(), &dirs[n]));
    platform.send(&dev, &ops, "how are you?").unwrap();
    let inbox = |n: usize| clients[n].stats().inbox;
    eventually("a reply is braked", || inbox(0).braked_replies + inbox(1).braked_replies == 1);
    let polls = [0, 1].map(|n| inbox(n).polls);
    eventually("both go on polling", || (0..2).all(|n| inbox(n).polls > polls[n] + 3));
    // The first reply to each side answers nothing that came after a reply.
    assert_eq!(platform.sent().len(), 62);
    assert_eq!((inbox(0).acked + inbox(1).acked, inbox(0).dead_lettered + inbox(1).dead_lettered), (63, 0));
    assert_eq!(inbox(0).failed_replies + inbox(1).failed_replies, 1);
    drop(pollers);
}

#[test]
fn braked_reply_is_not_sent_and_its_row_is_acked_with_a_warning() {
    let (platform, ops, dev) = two_agents();
    let dir = Dir::new("loops-braked");
    let client = ops.client().build().unwrap();
    let scripted = crate::support::Server::play([]);
    let _captured = poll::fast_poller(&scripted, &dir.file("log"));
    let mut poller = fast_poller(client, &dir).loop_brake(Some(2)).build().unwrap();
    let mut receive = |platform: &Platform| {
        platform.send(&dev, &ops, "hi").unwrap();
        let mut outcome = None;
        let polled = poller.poll_once(|message| {
            let result = message.reply("hi");
            let facts = |error: &a2a_blocking::Error| {
                (
                    error.kind(),
                    error.delivery(),
                    error.is_transient(),
                    error.to_string(),
                    message.activity_id().to_owned(),
                )
            };
            outcome = Some(result.as_ref().map(drop).map_err(facts));
            Verdict::after(result)
        });
        assert_eq!(polled.unwrap().delivered, 1);
        outcome.unwrap()
    };
    assert!((0..3).all(|_| receive(&platform).is_ok()));
    let (kind, delivery, is_transient, text, id) = receive(&platform).unwrap_err();
    assert_eq!((kind, delivery, is_transient), (ErrorKind::LoopBrake, Delivery::NotSent, false));
    assert!(text.starts_with("reply: not sent, since 2 replies to ") && text.contains(dev.id()), "{text}");
    assert!(poll::logged(&["WARN", &id, "is acknowledged in spite of: reply: not sent"]) == 1);
    assert_eq!(platform.sent().len(), 3);
    // The human is answered all the same.
    for _ in 0..5 {
        platform.human(&ops, "are you there?").unwrap();
    }
    let polled = poller.poll_once(|message| {
        assert_eq!(message.kind(), InboxMessageKind::Human);
        Verdict::after(message.reply("yes").map_err(|error| panic!("{error}")))
    });
    assert_eq!((polled.unwrap().delivered, platform.sent().len()), (5, 8));
}

#[test]
fn burst_is_answered_in_full_and_the_brake_can_be_turned_off() {
    let (platform, ops, dev) = two_agents();
    let answered = |build: fn(PollerBuilder) -> PollerBuilder, burst: usize, rounds: usize| {
        let dir = Dir::new("loops-burst");
        let client = ops.client().build().unwrap();
        let mut poller = build(fast_poller(client, &dir)).build().unwrap();
        while poller.poll_once(|_| Verdict::Ack).unwrap().has_more {}
        let mut replies = 0;
        for _ in 0..rounds {
            (0..burst).for_each(|_| drop(platform.send(&dev, &ops, "hi").unwrap()));
            let polled = |poller: &mut InboxPoller, replies: &mut usize| {
                poller.poll_once(|message| {
                    *replies += usize::from(message.reply("hi").is_ok());
                    Verdict::Ack
                })
            };
            while polled(&mut poller, &mut replies).unwrap().has_more {}
        }
        replies
    };
    assert_eq!(answered(|builder| builder, 150, 1), 150);
    assert_eq!(answered(|builder| builder.page_size(10), 150, 1), 150);
    assert_eq!(answered(|builder| builder.loop_brake(None), 1, 40), 40);
    assert_eq!(answered(|builder| builder.loop_brake(Some(3)), 1, 40), 4);
}

#[test]
fn reply_names_its_question_and_is_recognised() {
    let (platform, ops, dev) = two_agents();
    let (ours, theirs) = (Dir::new("loops-ours"), Dir::new("loops-theirs"));
    let mut poller = fast_poller(ops.client().build().unwrap(), &ours).build().unwrap();
    let question = platform.send(&dev, &ops, "how are you?").unwrap();
    let polled = poller.poll_once(|message| {
        assert!(!message.is_reply());
        Verdict::after(message.reply("well").map_err(|error| panic!("{error}")))
    });
    assert_eq!(polled.unwrap().delivered, 1);
    assert_eq!(platform.sent()[0].in_reply_to.as_deref(), Some(question.as_str()));
    let mut poller = fast_poller(dev.client().build().unwrap(), &theirs).build().unwrap();
    let polled = poller.poll_once(|message| {
        let sent = &message.row()["request_body"]["params"]["message"];
        assert_eq!((&sent["role"], &sent["metadata"]["in_reply_to"]), (&"agent".into(), &question.as_str().into()));
        assert!(message.is_reply());
        Verdict::Ack
    });
    assert_eq!(polled.unwrap().delivered, 1);
}
