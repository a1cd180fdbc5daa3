//! The feed, against the embedded platform: late rows, rows that are too large, pruned rows, and where a poller begins.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_blocking::{DeadLetterReason, ErrorKind, InboxMessageKind};

use crate::poll::drain;
use crate::world::World;

#[test]
fn messages_are_delivered_once_and_in_order_over_restarts() {
    let world = World::new("feed");
    let mut poller = world.builder().page_size(3).build().unwrap();
    assert_eq!(drain(&mut poller), [""; 0]);
    let texts: Vec<String> = (0..10).map(|n| format!("message {n}")).collect();
    texts.iter().for_each(|text| world.send(text));
    assert_eq!(drain(&mut poller), texts);
    assert_eq!(drain(&mut poller), [""; 0]);
    drop(poller);
    world.send("after");
    let mut poller = world.builder().build().unwrap();
    assert_eq!(drain(&mut poller), ["after"]);
}

#[test]
fn late_row_is_delivered_when_it_comes() {
    let world = World::new("feed");
    let mut poller = world.builder().build().unwrap();
    world.send("first");
    assert_eq!(drain(&mut poller), ["first"]);
    for n in 0..3 {
        world.platform.late_rows(1, Duration::from_secs(3_600));
        world.send(&format!("late {n}"));
        world.send(&format!("on time {n}"));
        assert_eq!(drain(&mut poller), [format!("on time {n}")]);
        world.platform.commit_late_rows();
        assert_eq!(drain(&mut poller), [format!("late {n}")], "the head looks back");
    }
}

/// A peer can send a message whose row no poller wants to read. It costs the others little.
#[test]
fn row_that_is_too_large_is_given_up_and_those_around_it_are_delivered() {
    let world = World::new("feed");
    let dead = Arc::new(Mutex::new(Vec::new()));
    let given_up = dead.clone();
    let builder = world.builder().max_row(64 * 1024).on_dead_letter(move |message| {
        let reply = message.reply("?").map_err(|error| error.kind());
        let sender = (message.kind(), message.peer(), reply.map(|_| ()));
        given_up.lock().unwrap().push((message.activity_id().to_owned(), message.dead_letter_reason(), sender));
    });
    let mut poller = builder.build().unwrap();
    assert_eq!(drain(&mut poller), [""; 0]);
    world.send("before");
    world.send(&"<".repeat(100_000));
    world.send("after");
    assert_eq!(drain(&mut poller), ["before", "after"]);
    let ledger = world.platform.ledger();
    // The head of the row ends before the name of its sender, and a reply must not go to the human instead.
    let nobody = (InboxMessageKind::System, None, Err(ErrorKind::InvalidMessage));
    let letter = (ledger[1].row_id.clone(), Some(DeadLetterReason::TooLarge), nobody);
    assert_eq!(*dead.lock().unwrap(), [letter]);
    // It is not read again, and not given up again.
    drop(poller);
    let dead = Arc::new(Mutex::new(0));
    let given_up = dead.clone();
    let builder = world.builder().max_row(64 * 1024).on_dead_letter(move |_| *given_up.lock().unwrap() += 1);
    let mut poller = builder.build().unwrap();
    world.send("after the restart");
    assert_eq!(drain(&mut poller), ["after the restart"]);
    assert_eq!(*dead.lock().unwrap(), 0);
}

#[test]
fn anchor_that_was_pruned_is_no_reason_to_lose_or_repeat_a_message() {
    let world = World::new("feed");
    let mut poller = world.builder().build().unwrap();
    world.send("first");
    assert_eq!(drain(&mut poller), ["first"]);
    // While it polls, and while it is down.
    for n in 0..2 {
        world.ops.prune();
        assert_eq!(drain(&mut poller), [""; 0], "{n}");
        world.send(&format!("after pruning {n}"));
        assert_eq!(drain(&mut poller), [format!("after pruning {n}")]);
        drop(poller);
        world.ops.prune();
        poller = world.builder().build().unwrap();
        world.send(&format!("after a restart {n}"));
        assert_eq!(drain(&mut poller), [format!("after a restart {n}")]);
    }
}

#[test]
fn late_row_before_the_first_one_of_an_inbox_is_delivered() {
    let world = World::new("feed");
    let mut poller = world.builder().build().unwrap();
    assert_eq!(drain(&mut poller), [""; 0]);
    world.platform.late_rows(1, Duration::from_secs(3_600));
    world.send("late");
    world.send("first that is listed");
    assert_eq!(drain(&mut poller), ["first that is listed"]);
    world.platform.commit_late_rows();
    // The tail begins below it.
    drop(poller);
    let mut poller = world.builder().build().unwrap();
    assert_eq!(drain(&mut poller), ["late"]);
}

/// Rows are settled by our own clock. A row whose time is ahead settles nothing, and one from behind is found.
#[test]
fn rows_whose_times_are_wrong_hide_no_other() {
    for skew in [90, 600, -90] {
        let world = World::new("feed");
        // A poller that has just begun lists everything that is not settled.
        let received = || drain(&mut world.builder().build().unwrap());
        world.send("first");
        assert_eq!(received(), ["first"], "{skew}");
        for n in 0..3 {
            world.platform.skew_rows(skew);
            world.send(&format!("skewed {n}"));
            assert_eq!(received(), [format!("skewed {n}")], "{skew}");
            world.platform.skew_rows(0);
            world.send(&format!("on time {n}"));
            assert_eq!(received(), [format!("on time {n}")], "{skew}");
        }
    }
}
