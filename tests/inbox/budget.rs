//! A poller keeps a part of the platform's rate limit for replies and heartbeats.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use a2a_blocking::testing::Platform;
use a2a_blocking::{InboxPoller, Verdict};

use crate::support::{Dir, TIMEOUT, eventually};

/// All that talk to the agent are strangers, and each is looked up while a message waits for its reply.
#[test]
fn strangers_hold_back_no_reply_and_no_heartbeat() {
    let platform = Platform::start().unwrap();
    platform.rate_limit(60);
    let (ops, dev, dir) = (platform.workspace("ops"), platform.workspace("dev"), Dir::new("inbox-budget"));
    let client = ops.client().build().unwrap();
    let (asked, (replied, reply)) = (client.clone(), mpsc::channel());
    let poller = InboxPoller::builder(client.clone())
        .cursor_file(dir.file("cursor"))
        .interval(Duration::from_millis(500))
        .heartbeat(Some(Duration::from_millis(250)))
        .spawn(move |message| {
            thread::scope(|scope| {
                for n in 0..8 {
                    let asked = &asked;
                    scope.spawn(move || {
                        for m in 0..25 {
                            drop(asked.lookup(format!("{n:08x}-0000-4000-8000-{m:012x}")));
                        }
                    });
                }
            });
            let result = message.reply("yes");
            let _ = replied.send(result.as_ref().map(drop).map_err(ToString::to_string));
            Verdict::after(result)
        })
        .unwrap();
    platform.send(&dev, &ops, "are you there?").unwrap();
    assert_eq!(reply.recv_timeout(TIMEOUT).unwrap(), Ok(()));
    let beats = client.stats().inbox.heartbeats;
    eventually("two more heartbeats", || client.stats().inbox.heartbeats >= beats + 2);
    let stats = client.stats();
    assert_eq!((stats.inbox.failed_heartbeats, stats.inbox.failed_polls, stats.rate_limited), (0, 0, 0), "{stats}");
    assert!(stats.lookups < 60 && stats.rate_limit_shed > 100, "{stats}");
    assert_eq!(platform.sent().len(), 1);
    drop(poller);
}

/// Polls alone would use it up: the last ones are for sends and heartbeats.
#[test]
fn polls_leave_the_last_requests_to_sends_and_heartbeats() {
    let platform = Platform::start().unwrap();
    platform.rate_limit(20);
    let (ops, dev, dir) = (platform.workspace("ops"), platform.workspace("dev"), Dir::new("inbox-budget-polls"));
    let client = ops.client().build().unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let counted = seen.clone();
    let poller = InboxPoller::builder(client.clone())
        .cursor_file(dir.file("cursor"))
        .interval(Duration::from_millis(1))
        .heartbeat(None)
        // Both ask without regard to the account.
        .register(false)
        .deliver_paused(true)
        .spawn(move |_| {
            counted.fetch_add(1, SeqCst);
            Verdict::Ack
        })
        .unwrap();
    eventually("only the reserve is left", || client.stats().rate_limit_left == Some(3));
    // The poll that brought the account there ends.
    thread::sleep(Duration::from_millis(100));
    let polls = client.stats().inbox.polls;
    assert_eq!((0..3).filter(|_| client.send(dev.id(), "hi").is_ok()).count(), 3);
    let stats = client.stats();
    assert_eq!((stats.inbox.polls, stats.inbox.failed_polls, stats.rate_limited), (polls, 0, 0), "{stats}");
    assert!(polls <= 17 && seen.load(SeqCst) == 0, "{stats}");
    // It does not keep a poller from ending.
    poller.stop();
}
