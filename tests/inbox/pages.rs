//! Pages of the feed: the look ahead over full pages, and pages that bring nothing new.

use a2a_blocking::{ErrorKind, Verdict};
use serde_json::{Value, json};

use crate::poll::{drain, fast_poller, logged, saved};
use crate::support::platform::{Platform, SECOND, id, param};
use crate::support::{Dir, PEER, Reaction, Server};

/// More rows of one time than a page holds: the poller goes on past them, and ends.
#[test]
fn pages_of_acked_rows_do_not_loop() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-ties"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let mut poller = fast_poller(&server, &file).page_size(10).build().unwrap();
    platform.add(0, PEER, "the first");
    platform.add(9 * SECOND, PEER, "the second");
    assert_eq!(drain(&mut poller), ["the first", "the second"]);
    for n in 0..333 {
        platform.add(10 * SECOND, PEER, &format!("tied {n}"));
    }
    let expected: Vec<String> = (0..333).map(|n| format!("tied {n}")).collect();
    assert_eq!(drain(&mut poller), expected);
    let polls = platform.state().polls.len();
    assert!(drain(&mut poller).is_empty());
    assert!(platform.state().polls.len() - polls < 40);
    // A late row among them, on the first of the pages.
    platform.add(10 * SECOND - 1, PEER, "late");
    assert_eq!(drain(&mut poller), ["late"]);
    assert!(saved(&file)["acked"].as_array().unwrap().len() > 333);
    drop(poller);
    let mut poller = fast_poller(&server, &file).page_size(10).build().unwrap();
    assert!(drain(&mut poller).is_empty());
    platform.add(30 * SECOND, PEER, "later");
    assert_eq!(drain(&mut poller), ["later"]);
    platform.add(60 * SECOND, PEER, "much later");
    assert_eq!(drain(&mut poller), ["much later"]);
    let acked = saved(&file)["acked"].as_array().unwrap().len();
    assert!(acked <= 2, "{}", saved(&file));
    // What is before the anchor went.
    assert!(std::fs::metadata(&file).unwrap().len() < 1_000);
}

#[test]
fn page_without_a_usable_id_is_skipped() {
    for rows in [10, 25] {
        let (platform, dir) = (Platform::new(), Dir::new("cursor-no-ids"));
        platform.fill(50, 2, PEER);
        let server = platform.serve();
        let mut poller = fast_poller(&server, &dir.file("c")).page_size(10).build().unwrap();
        drain(&mut poller);
        for n in 0..rows {
            platform.add_row((100 + n) * SECOND, json!({ "id": null, "mark": format!("no-id-{rows}") }));
        }
        let mut got = Vec::new();
        for n in 0..4 {
            platform.add((2_000 + 100 * n) * SECOND, PEER, &format!("behind {n}"));
            (0..4).for_each(|_| got.extend(drain(&mut poller)));
        }
        assert_eq!(got, ["behind 0", "behind 1", "behind 2", "behind 3"]);
        assert!(logged(&["no row is skipped", &format!("no-id-{rows}")]) > 0);
    }
}

#[test]
fn list_of_too_many_entries_is_refused() {
    let dir = Dir::new("cursor-entries");
    let server = Server::play([Reaction::reply(200, json!(vec![7; 100_001]).to_string())]);
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(1).build().unwrap();
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap_err().kind(), ErrorKind::TooLarge);
}

/// A platform whose full pages lead to each other must not be polled without a pause for ever.
#[test]
fn pages_without_a_new_row_are_followed_by_a_pause() {
    let dir = Dir::new("cursor-barren");
    let row = |n: u64, second: u64| json!({ "id": id(n), "created_at": format!("2026-05-01T00:00:{second:02}Z") });
    let page = |ids: std::ops::Range<u64>| serde_json::to_vec(&ids.map(|n| row(n, 10)).collect::<Vec<_>>()).unwrap();
    let first = serde_json::to_vec(&[row(2, 9), row(1, 1)]).unwrap();
    let (one, other) = (page(3..8), page(8..13));
    let server = Server::decide(move |_, request| match param(&request.path, "since_id") {
        None => Reaction::reply(200, &first),
        Some(after) if after == id(7) => Reaction::reply(200, &other),
        Some(_) => Reaction::reply(200, &one),
    });
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(5).build().unwrap();
    poller.poll_once(|_| Verdict::Ack).unwrap();
    let (mut messages, mut polls) = (0, 0);
    loop {
        let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
        (messages, polls) = (messages + polled.delivered, polls + 1);
        assert!(polls < 1_000);
        if !polled.has_more {
            break;
        }
    }
    assert!(messages == 10 && polls > 10, "{messages} messages in {polls} polls");
    assert_eq!(server.requests().len(), polls + 1, "each is one page");
}

/// A platform that ignores the query must not be polled without a pause.
#[test]
fn platform_that_repeats_a_page_is_not_polled_for_ever() {
    let dir = Dir::new("cursor-round");
    let rows: Vec<Value> = (0..5).map(|n| json!({ "id": id(n), "created_at": "2026-05-01T00:00:00Z" })).collect();
    let page = serde_json::to_vec(&rows).unwrap();
    let server = Server::decide(move |_, _| Reaction::reply(200, &page));
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(5).build().unwrap();
    let mut polls = 0;
    while poller.poll_once(|_| Verdict::Ack).unwrap().has_more {
        polls += 1;
        assert!(polls < 1_000);
    }
    assert!(server.requests().len() <= 8 * (polls + 1), "{} requests in {polls} polls", server.requests().len());
}

/// The look ahead starts after a row that may be pruned sooner than the anchor.
#[test]
fn look_ahead_restarts_at_the_anchor_when_its_row_is_pruned() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-ahead-gone"));
    let server = platform.serve();
    platform.add(0, PEER, "first");
    platform.add(20 * SECOND, PEER, "second");
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(10).build().unwrap();
    drain(&mut poller);
    let ids: Vec<String> = (0..25).map(|n| platform.add(20 * SECOND + n, PEER, &format!("row {n}"))).collect();
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap().delivered, 9);
    platform.state().rows.retain(|entry| entry.id != ids[8]);
    let polls = platform.state().polls.len();
    assert_eq!(drain(&mut poller), (9..25).map(|n| format!("row {n}")).collect::<Vec<_>>());
    assert!(platform.state().polls[polls..].iter().all(|poll| poll.contains("since_id=")), "it did not go back");
}

/// A row comes late on a full page, when later pages have been listed already.
#[test]
fn look_ahead_misses_no_late_row() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-ahead"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(0, 2, PEER);
    platform.fill(20, 1, PEER);
    let mut poller = fast_poller(&server, &file).page_size(10).build().unwrap();
    drain(&mut poller);
    // A full page in half a second is not complete, so the anchor cannot move over it.
    for n in 0..12 {
        platform.add(60 * SECOND + n * SECOND / 20, PEER, &format!("burst {n}"));
    }
    let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
    assert_eq!((polled.delivered, polled.has_more), (9, true), "all but the row on the next page");
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap().delivered, 1);
    // A late row comes before them, and then time goes on.
    platform.add(60 * SECOND + SECOND / 100, PEER, "late");
    platform.fill(70, 5, PEER);
    let mut texts = Vec::new();
    for _ in 0..3 {
        texts.extend(drain(&mut poller));
    }
    assert!(texts.contains(&"late".to_owned()), "{texts:?}");
    assert_eq!(texts.len(), 2 + 1 + 5, "{texts:?}");
}
