//! Pages of the feed: the look ahead over full pages, and pages that bring nothing new.

use std::time::Duration;

use a2a_blocking::Verdict;
use serde_json::{Value, json};

use crate::cursor::numbered;
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
    drop(poller);
    let mut poller = fast_poller(&server, &file).page_size(10).late(Duration::ZERO).build().unwrap();
    platform.add(60 * SECOND, PEER, "much later");
    assert_eq!(drain(&mut poller), ["much later"]);
    let acked = saved(&file)["acked"].as_array().unwrap().len();
    assert!(acked <= 2, "{}", saved(&file));
    drop(poller);
    // What is before the anchor went.
    drain(&mut fast_poller(&server, &file).late(Duration::ZERO).build().unwrap());
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

/// Each entry takes memory: of a list that is longer than it was asked for, so many bytes are read as a row may have.
#[test]
fn list_of_too_many_entries_is_not_read_to_its_end() {
    let dir = Dir::new("cursor-entries");
    let server = Server::play([Reaction::reply(200, json!((0..200_001).collect::<Vec<_>>()).to_string())]);
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(1).build().unwrap();
    let polled = poller.poll_once(|_| panic!("no row")).unwrap();
    assert_eq!((polled.skipped, polled.has_more), (100_000, false), "each once, though it is listed again and again");
    assert_eq!(poller.poll_once(|_| panic!("no row")).unwrap().skipped, 0);
}

/// A platform whose full pages lead to each other must not be polled without a pause for ever.
#[test]
fn pages_without_a_new_row_are_followed_by_a_pause() {
    let dir = Dir::new("cursor-barren");
    let row = |n: u64| json!({ "id": id(n), "created_at": "2026-05-01T00:00:10Z", "seq": n });
    let page = |ids: std::ops::Range<u64>| serde_json::to_vec(&ids.map(row).collect::<Vec<_>>()).unwrap();
    let first = serde_json::to_vec(&[json!({ "id": id(2), "created_at": "2026-05-01T00:00:09Z", "seq": 2 })]).unwrap();
    let (one, other) = (page(3..8), page(8..13));
    let server = Server::decide(move |_, request| match param(&request.path, "since_id") {
        None if request.path.contains("before_ts") => Reaction::reply(200, "[]"),
        None => Reaction::reply(200, &first),
        Some(after) if after == id(7) => Reaction::reply(200, &other),
        Some(_) => Reaction::reply(200, &one),
    });
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(5).ack(false).build().unwrap();
    let (mut messages, mut polls) = (0, 0);
    loop {
        let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
        (messages, polls) = (messages + polled.delivered, polls + 1);
        assert!(polls < 1_000);
        if !polled.has_more {
            break;
        }
    }
    assert_eq!(messages, 10, "in {polls} polls");
    let requests = server.requests().len();
    assert!((256..600).contains(&requests), "{requests}");
    assert!(!poller.poll_once(|_| panic!("nothing is new")).unwrap().has_more, "and each time again");
    assert!(server.requests().len() <= requests + 256);
}

/// A platform that ignores the query must not be polled without a pause.
#[test]
fn platform_that_repeats_a_page_is_not_polled_for_ever() {
    for (rows, entries) in [(5, json!({})), (0, json!({ "id": null }))] {
        let dir = Dir::new("cursor-round");
        let row = |n| json!({ "id": id(n), "created_at": "2026-05-01T00:00:00Z" });
        let page: Vec<Value> = (0..rows).map(row).chain((rows..5).map(|n| json!({ "n": n, "of": entries }))).collect();
        let page = serde_json::to_vec(&page).unwrap();
        let server = Server::decide(move |_, _| Reaction::reply(200, &page));
        let mut poller = fast_poller(&server, &dir.file("c")).page_size(5).build().unwrap();
        let (mut got, mut skipped) = (Vec::new(), 0);
        for _ in 0..5 {
            let mut polls = 0;
            loop {
                let polled = poller.poll_once(|message| {
                    got.push(message.activity_id().to_owned());
                    Verdict::Ack
                });
                let polled = polled.unwrap();
                skipped += polled.skipped;
                polls += 1;
                assert!(polls < 10, "it polls without a pause");
                if !polled.has_more {
                    break;
                }
            }
        }
        got.sort();
        let mut expected: Vec<String> = (0..rows).map(id).collect();
        expected.sort();
        assert_eq!((got, skipped as u64), (expected, 5 - rows), "each once");
        assert!(server.requests().len() < 100, "{} requests", server.requests().len());
    }
}

/// A platform that lists rows and then does not know them is not asked for what is behind them for ever.
#[test]
fn platform_that_forgets_what_it_lists_is_paged_by_time() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-forgets"));
    platform.state().knows_no_id = true;
    platform.fill(100, 30, PEER);
    let server = platform.serve();
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(7).build().unwrap();
    assert_eq!(drain(&mut poller), (100..130).map(|n| format!("message {n}")).collect::<Vec<_>>());
    assert_eq!(logged(&["WARN", &server.url(), "does not know the rows that it lists"]), 1);
    let behind = |platform: &Platform| platform.state().polls.iter().filter(|poll| poll.contains("since_id=")).count();
    assert_eq!(behind(&platform), 3);
    platform.fill(200, 10, PEER);
    assert_eq!(drain(&mut poller), (200..210).map(|n| format!("message {n}")).collect::<Vec<_>>());
    assert_eq!(behind(&platform), 3);
}

/// A row of the window may be pruned before the anchor is: the head begins at the anchor then.
#[test]
fn pruned_row_behind_the_anchor_hides_no_row() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-ahead-gone"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.add(0, PEER, "first");
    drain(&mut fast_poller(&server, &file).late(Duration::ZERO).build().unwrap());
    drain(&mut fast_poller(&server, &file).late(Duration::ZERO).build().unwrap());
    let ids: Vec<String> = (0..25).map(|n| platform.add(20 * SECOND + n, PEER, &format!("row {n}"))).collect();
    drain(&mut fast_poller(&server, &file).page_size(10).build().unwrap());
    assert_eq!(saved(&file)["anchor"][0], id(1));
    platform.state().rows.retain(|entry| !ids.contains(&entry.id));
    let mut poller = fast_poller(&server, &file).page_size(10).build().unwrap();
    for n in 25..40 {
        platform.add(20 * SECOND + n, PEER, &format!("row {n}"));
        assert_eq!(drain(&mut poller), [format!("row {n}")]);
    }
    assert_eq!(logged(&["WARN", &server.url(), "does not know"]), 0, "it is asked for ids all the time");
}

/// A row comes late on a full page, when later pages have been listed already.
#[test]
fn late_row_on_a_full_page_is_found() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-ahead"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(0, 2, PEER);
    platform.fill(20, 1, PEER);
    let start = || fast_poller(&server, &file).page_size(10).build().unwrap();
    let mut poller = start();
    drain(&mut poller);
    for n in 0..12 {
        platform.add(60 * SECOND + n * SECOND / 20, PEER, &format!("burst {n}"));
    }
    assert_eq!(drain(&mut poller).len(), 12);
    platform.add(60 * SECOND + SECOND / 100, PEER, "late");
    platform.fill(70, 5, PEER);
    drop(poller);
    poller = start();
    let mut texts = drain(&mut poller);
    texts.sort();
    let mut expected = numbered(70..75);
    expected.insert(0, "late".to_owned());
    assert_eq!(texts, expected);
}
