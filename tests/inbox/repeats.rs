//! One message is handled once, although the platform keeps several rows of it.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_blocking::{InboxMessage, InboxPoller, PollSummary, RetryPolicy, Verdict};

use crate::support::eventually;
use crate::world::World;

/// Returns the ids of the rows, in the order of the feed.
fn rows(world: &World) -> Vec<String> {
    world.platform.ledger().into_iter().map(|entry| entry.row_id).collect()
}

/// Polls until there is nothing more. Returns the texts, and how many rows were repeats.
fn drain(poller: &mut InboxPoller, verdict: impl Fn(&InboxMessage) -> Verdict) -> (Vec<String>, PollSummary) {
    let (mut texts, mut all) = (Vec::new(), PollSummary::default());
    for _ in 0..200 {
        let polled = poller.poll_once(|message| {
            texts.push(message.text().to_owned());
            verdict(message)
        });
        let polled = polled.unwrap();
        all.delivered += polled.delivered;
        all.dead_lettered += polled.dead_lettered;
        all.skipped += polled.skipped;
        all.skipped_by.repeats += polled.skipped_by.repeats;
        if !polled.has_more {
            return (texts, all);
        }
    }
    panic!("it polls for ever: {texts:?}");
}

fn ack(_: &InboxMessage) -> Verdict {
    Verdict::Ack
}

#[test]
fn further_rows_of_a_handled_message_are_counted_and_not_delivered() {
    let world = World::unregistered("repeats");
    let client = world.ops.client().build().unwrap();
    let mut poller = InboxPoller::builder(client.clone()).cursor_file(world.cursor()).build().unwrap();
    world.send("from a peer");
    world.platform.human(&world.ops, "from a human").unwrap();
    world.send("from a peer");
    assert_eq!(rows(&world).len(), 6, "two rows a message");
    let (texts, all) = drain(&mut poller, ack);
    assert_eq!(texts, ["from a peer", "from a human", "from a peer"], "the third has an id of its own");
    assert_eq!((all.delivered, all.skipped, all.skipped_by.repeats), (3, 3, 3));
    assert_eq!(drain(&mut poller, ack), (Vec::new(), PollSummary::default()), "they are handled, too");
    assert_eq!(client.stats().inbox.skipped_by.repeats, 3);
    let metrics = client.stats().to_prometheus(&[]);
    assert!(metrics.contains("a2a_blocking_inbox_rows_skipped_total{reason=\"repeats\"} 3"), "{metrics}");
}

#[test]
fn dead_lettered_message_is_handled() {
    let world = World::unregistered("repeats");
    let retry = RetryPolicy::new().with_attempts(2).with_base(Duration::from_millis(1));
    let mut poller = world.builder().heartbeat(None).retry(retry).build().unwrap();
    world.send("poison");
    let (texts, all) = drain(&mut poller, |_| Verdict::Retry);
    assert_eq!((texts.len(), all.dead_lettered, all.skipped_by.repeats), (2, 1, 1));
}

/// The row that the platform lists first is tried in three runs, and its twin waits behind it.
#[test]
fn twin_of_a_message_that_is_being_tried_waits_over_restarts() {
    let world = World::unregistered("repeats");
    world.send("again and again");
    let rows = rows(&world);
    let tried: Arc<Mutex<Vec<(String, u32)>>> = Arc::default();
    let run = |verdict: Verdict| {
        let retry = RetryPolicy::new().with_attempts(5).with_base(Duration::from_secs(3_600));
        let (seen, calls) = (tried.clone(), tried.lock().unwrap().len());
        let client = world.ops.client().build().unwrap();
        let builder = InboxPoller::builder(client.clone()).cursor_file(world.cursor()).heartbeat(None).register(false);
        let builder = builder.retry(retry.with_cap(Duration::from_secs(3_600))).interval(Duration::from_millis(5));
        let poller = builder.spawn(move |message| {
            seen.lock().unwrap().push((message.activity_id().to_owned(), message.delivery_attempt()));
            verdict
        });
        let poller = poller.unwrap();
        eventually("the delivery", || tried.lock().unwrap().len() > calls);
        if verdict == Verdict::Ack {
            eventually("the twin is skipped", || client.stats().inbox.skipped_by.repeats == 1);
        }
        poller.stop();
    };
    run(Verdict::Retry);
    run(Verdict::Retry);
    run(Verdict::Ack);
    let attempts: Vec<(String, u32)> = (1..=3).map(|attempt| (rows[0].clone(), attempt)).collect();
    assert_eq!(*tried.lock().unwrap(), attempts);
    world.send("another");
    let (texts, all) = drain(&mut world.builder().heartbeat(None).build().unwrap(), ack);
    assert_eq!((texts, all.skipped_by.repeats), (vec!["another".to_owned()], 1));
}

#[test]
fn handled_message_is_known_after_a_restart() {
    let world = World::unregistered("repeats");
    let mut poller = world.builder().heartbeat(None).build().unwrap();
    assert_eq!(drain(&mut poller, ack).0.len(), 0);
    for n in 0..3 {
        world.platform.late_rows(1, Duration::from_secs(3_600));
        world.send(&format!("message {n}"));
        let (texts, all) = drain(&mut poller, ack);
        assert_eq!((texts, all.skipped_by.repeats), (vec![format!("message {n}")], 0), "the second row of it");
        drop(poller);
        world.platform.commit_late_rows();
        poller = world.builder().heartbeat(None).build().unwrap();
        let (texts, all) = drain(&mut poller, ack);
        assert_eq!((texts, all.skipped_by.repeats), (Vec::new(), 1), "its first row comes late");
    }
}

/// The cursor file of release 0.1 has no key, and gets one that stays.
#[test]
fn key_of_the_hashes_is_made_once() {
    let world = World::unregistered("repeats");
    let old = format!(
        r#"{{"version":1,"workspace":"{}","anchor":null,"floor":null,"tries":{{}},"snapshot":false,"acked":[]}}"#,
        world.ops.id()
    );
    fs::write(world.cursor(), old).unwrap();
    let mut keys = Vec::new();
    for n in 0..3 {
        let mut poller = world.builder().heartbeat(None).build().unwrap();
        world.send(&format!("message {n}"));
        assert_eq!(drain(&mut poller, ack).1.skipped_by.repeats, 1);
        drop(poller);
        let file = fs::read_to_string(world.cursor()).unwrap();
        let header = file.lines().next().unwrap();
        let (_, key) = header.split_once(r#""key":""#).unwrap();
        keys.push(key.chars().take(32).collect::<String>());
    }
    assert_eq!((keys[0].len(), &keys[1], &keys[2]), (32, &keys[0], &keys[0]));
    assert!(u128::from_str_radix(&keys[0], 16).unwrap() != 0);
}
