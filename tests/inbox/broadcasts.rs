//! Broadcasts, which the platform lists apart from the messages.

use std::time::Duration;

use a2a_blocking::{InboxMessageKind, InboxPoller, Verdict};

use crate::world::World;

fn world() -> World {
    let world = World::new("broadcasts");
    world.allow_broadcasts();
    world
}

/// Polls so often that the broadcasts are listed once.
fn received(world: &World, poller: &mut InboxPoller) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..12 {
        let polled = poller.poll_once(|message| {
            assert_eq!(message.kind(), InboxMessageKind::Broadcast);
            assert_eq!(message.peer().unwrap().to_string(), world.dev.id());
            texts.push(message.text().to_owned());
            Verdict::Ack
        });
        polled.unwrap();
    }
    texts
}

#[test]
fn broadcasts_are_delivered_once_over_restarts() {
    let world = world();
    for late in [Duration::from_secs(60), Duration::ZERO] {
        let text = |n: usize| format!("news {n} {}", late.as_secs());
        let shown = |n: usize| format!("Broadcast from dev: {}", text(n));
        world.broadcast(&text(0));
        let mut poller = world.builder().late(late).build().unwrap();
        assert_eq!(received(&world, &mut poller), [shown(0)]);
        world.broadcast(&text(1));
        world.broadcast(&text(2));
        assert_eq!(received(&world, &mut poller), [shown(1), shown(2)]);
        assert_eq!(received(&world, &mut poller), [""; 0]);
        drop(poller);
        world.broadcast(&text(3));
        let mut poller = world.builder().late(late).build().unwrap();
        assert_eq!(received(&world, &mut poller), [shown(3)]);
        // Pruned while it polls, and while it is down.
        world.ops.prune();
        world.broadcast(&text(4));
        assert_eq!(received(&world, &mut poller), [shown(4)]);
        drop(poller);
        world.ops.prune();
        world.broadcast(&text(5));
        let mut poller = world.builder().late(late).build().unwrap();
        assert_eq!(received(&world, &mut poller), [shown(5)]);
    }
}

#[test]
fn broadcast_is_tried_again_and_given_up_like_a_message() {
    let world = world();
    let retry = a2a_blocking::RetryPolicy::new().with_attempts(3).with_base(Duration::ZERO);
    let (report, reports) = std::sync::mpsc::channel();
    let dead = report.clone();
    let builder = world.builder().retry(retry).on_dead_letter(move |message| {
        dead.send(format!("dead {}", message.delivery_attempt())).unwrap();
    });
    let mut poller = builder.build().unwrap();
    world.broadcast("news");
    let mut summary = a2a_blocking::PollSummary::default();
    for _ in 0..24 {
        let polled = poller.poll_once(|message| {
            report.send(format!("attempt {}", message.delivery_attempt())).unwrap();
            Verdict::Retry
        });
        summary.dead_lettered += polled.unwrap().dead_lettered;
    }
    assert_eq!(summary.dead_lettered, 1);
    assert_eq!(reports.try_iter().collect::<Vec<_>>(), ["attempt 1", "attempt 2", "attempt 3", "dead 3"]);
}
