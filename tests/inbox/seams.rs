//! Seams of the feed: rows that are too large beside late ones and at the inbox's start, pages of which nothing comes, rows
//! that nest deep.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_blocking::{DeadLetterReason, InboxPoller, PollerBuilder, Verdict};
use serde_json::{Value, json};

use crate::cursor::numbered;
use crate::poll::drain;
use crate::support::platform::{self, SECOND, param};
use crate::support::{self, Dir, PEER, Reaction, Server};
use crate::world::World;

/// Largest row that the pollers read, in bytes.
const MAX_ROW: usize = 64 * 1024;

fn builder(world: &World) -> PollerBuilder {
    world.builder().max_row(MAX_ROW)
}

/// Sends a message whose row is too large.
fn send_large(world: &World) {
    world.send(&"<".repeat(100_000));
}

type Letters = Vec<(String, Option<DeadLetterReason>)>;

/// Polls until there is nothing more, and returns the texts of the messages and the ids and reasons of the dead letters.
fn drain_with_dead(builder: PollerBuilder) -> (Vec<String>, Letters) {
    let dead = Arc::<Mutex<Letters>>::default();
    let letters = dead.clone();
    let builder = builder.on_dead_letter(move |message| {
        let letter = (message.activity_id().to_owned(), message.dead_letter_reason());
        letters.lock().unwrap().push(letter);
    });
    let texts = drain(&mut builder.build().unwrap());
    let dead = dead.lock().unwrap().clone();
    (texts, dead)
}

fn nothing() -> (Vec<String>, Letters) {
    (Vec::new(), Vec::new())
}

#[test]
fn several_rows_that_are_too_large_are_given_up_once() {
    let world = World::new("seams");
    assert_eq!(drain_with_dead(builder(&world)), nothing());
    world.send("before");
    send_large(&world);
    world.send("between");
    (0..3).for_each(|_| send_large(&world));
    world.send("after");
    let ledger = world.platform.ledger();
    let large = ledger.iter().filter(|row| row.text.starts_with('<'));
    let expected: Letters = large.map(|row| (row.row_id.clone(), Some(DeadLetterReason::TooLarge))).collect();
    let (texts, dead) = drain_with_dead(builder(&world));
    assert_eq!(texts, ["before", "between", "after"]);
    assert_eq!(dead, expected, "in order");
    // Neither again after a restart, nor once they are settled.
    for late in [60, 0, 0] {
        assert_eq!(drain_with_dead(builder(&world).late(Duration::from_secs(late))), nothing());
    }
    world.send("later");
    send_large(&world);
    world.send("last");
    let (texts, dead) = drain_with_dead(builder(&world));
    assert_eq!((texts, dead.len()), (vec!["later".to_owned(), "last".to_owned()], 1));
}

/// A row that is too large may be late, too, and late rows may come beside it.
#[test]
fn late_rows_around_a_row_that_is_too_large_are_found() {
    let world = World::new("seams");
    world.send("first");
    assert_eq!(drain_with_dead(builder(&world)).0, ["first"]);
    world.platform.late_rows(3, Duration::from_secs(3_600));
    send_late_rows(&world);
    send_large(&world);
    world.send("on time");
    let (texts, dead) = drain_with_dead(builder(&world));
    assert_eq!((texts, dead.len()), (vec!["on time".to_owned()], 1));
    world.platform.commit_late_rows();
    // With so large a row only what is settled is listed again, at last.
    let (texts, dead) = drain_with_dead(builder(&world).late(Duration::ZERO));
    assert_eq!((texts, dead.len()), (vec!["late 1".to_owned(), "late 2".to_owned()], 1));
    assert_eq!(drain_with_dead(builder(&world).late(Duration::ZERO)), nothing());
}

/// Sends three messages whose rows are late, a large one between two small ones.
fn send_late_rows(world: &World) {
    world.send("late 1");
    send_large(world);
    world.send("late 2");
}

#[test]
fn inbox_of_rows_that_are_too_large_is_begun() {
    let world = World::new("seams");
    (0..3).for_each(|_| send_large(&world));
    let (texts, dead) = drain_with_dead(builder(&world));
    assert_eq!((texts, dead.len()), (vec![], 3));
    world.send("after");
    assert_eq!(drain_with_dead(builder(&world)), (vec!["after".to_owned()], vec![]));
}

/// The list of attachments comes before the id, and is too large. The row's start is asked for without it.
#[test]
fn id_behind_large_attachments_is_found() {
    let (platform, dir) = (platform::Platform::new(), Dir::new("seams-attachments"));
    let inner = platform.clone();
    let server = Server::decide(move |_, request| {
        let Reaction::Reply { body, .. } = inner.answer(request) else { return Reaction::Close };
        let mut rows: Vec<Value> = serde_json::from_slice(&body).unwrap();
        if !request.path.contains("include=") {
            rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("attachments")));
        }
        Reaction::reply(200, serde_json::to_vec(&rows).unwrap())
    });
    platform.fill(1, 2, PEER);
    let row = json!({ "source_id": PEER, "attachments": ["x".repeat(100_000)], "request_body": { "params": "y".repeat(100_000) } });
    let id = platform.add_row(3 * SECOND, row);
    platform.fill(4, 2, PEER);
    let builder =
        || InboxPoller::builder(support::client(&server)).cursor_file(dir.file("cursor")).max_row(MAX_ROW).ack(false);
    let (texts, dead) = drain_with_dead(builder());
    assert_eq!(texts, ["message 1", "message 2", "message 4", "message 5"]);
    assert_eq!(dead, [(id, Some(DeadLetterReason::TooLarge))]);
    assert_eq!(drain_with_dead(builder()), nothing());
}

/// Down to a page of one row.
#[test]
fn page_of_which_nothing_comes_is_asked_for_in_smaller_pieces() {
    for most in [40, 1] {
        let (platform, dir) = (platform::Platform::new(), Dir::new("seams-pieces"));
        let inner = platform.clone();
        let server = Server::decide(move |_, request| {
            let limit = param(&request.path, "limit").map_or(0, |limit| limit.parse::<usize>().unwrap());
            let is_message = request.path.contains("include=peer_info") && !request.path.contains("broadcast");
            match is_message && limit > most {
                true => Reaction::reply(500, r#"{"error":"query failed"}"#),
                false => inner.answer(request),
            }
        });
        platform.fill(0, 100, PEER);
        let builder = InboxPoller::builder(support::client(&server)).cursor_file(dir.file("cursor"));
        let (mut poller, mut texts, mut failed) = (builder.build().unwrap(), Vec::new(), 0);
        for _ in 0..2_000 {
            let polled = poller.poll_once(|message| {
                texts.push(message.text().to_owned());
                Verdict::Ack
            });
            match polled {
                Ok(polled) if !polled.has_more => break,
                Ok(_) => {}
                Err(_) => failed += 1,
            }
        }
        assert_eq!(texts, numbered(0..100), "pages of {most} rows");
        assert!(failed > 0);
    }
}

#[test]
fn deeply_nested_row_is_delivered() {
    let (platform, dir) = (platform::Platform::new(), Dir::new("seams-deep"));
    let inner = platform.clone();
    let server = Server::decide(move |_, request| match inner.answer(request) {
        Reaction::Reply { body, .. } => {
            let deep = "[".repeat(9_900) + &"]".repeat(9_900);
            Reaction::reply(200, String::from_utf8(body).unwrap().replace("\"DEEP\"", &deep))
        }
        other => other,
    });
    platform.fill(1, 1, PEER);
    platform.add_row(2 * SECOND, json!({ "source_id": PEER, "summary": "deep", "metadata": "DEEP" }));
    platform.fill(3, 1, PEER);
    let builder = InboxPoller::builder(support::client(&server)).cursor_file(dir.file("cursor"));
    assert_eq!(drain(&mut builder.build().unwrap()), ["message 1", "deep", "message 3"]);
}
