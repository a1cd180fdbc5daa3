//! The look back by time: at the first start, after the anchor was pruned, and on platforms without `since_id`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use a2a_blocking::Verdict;
use serde_json::json;

use crate::cursor::numbered;
use crate::poll::{drain, fast_poller, logged, saved};
use crate::support::platform::{Platform, SECOND, param};
use crate::support::{Dir, PEER, Server};

#[test]
fn without_a_cursor_the_last_600_seconds_are_delivered_in_order() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-backlog"));
    let server = platform.serve();
    platform.fill(0, 2_000, PEER);
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(100).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(1_399..2_000));
    let looks_back = |poll: &String| poll.contains("limit=100&since_secs=60");
    assert_eq!(platform.state().polls.iter().filter(|poll| looks_back(poll)).count(), 7);
    let mut poller = fast_poller(&server, &dir.file("d")).backlog(Duration::from_secs(30)).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(1_969..2_000));
    // A look back over more rows than the poller holds.
    platform.state().now = 0;
    let mut poller =
        fast_poller(&server, &dir.file("e")).page_size(500).backlog(Duration::from_secs(86_400)).build().unwrap();
    platform.fill(2_000, 6_000, PEER);
    assert_eq!(drain(&mut poller), numbered(0..8_000));
}

/// An empty inbox has no row for an anchor. Later it has.
#[test]
fn empty_inbox_is_polled_by_time_until_there_is_an_anchor() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-empty"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let mut poller = fast_poller(&server, &file).build().unwrap();
    assert!(drain(&mut poller).is_empty());
    platform.fill(100, 1, PEER);
    assert_eq!(drain(&mut poller), numbered(100..101));
    drop(poller);
    // The poller was away for longer than the backlog.
    platform.fill(10_000, 3, PEER);
    platform.state().now = 20_000 * SECOND;
    let mut poller = fast_poller(&server, &file).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(10_000..10_003));
    platform.fill(20_001, 1, PEER);
    assert_eq!(drain(&mut poller), numbered(20_001..20_002));
    assert!(param(platform.state().polls.last().unwrap(), "since_id").is_some());
}

/// Settles all rows, so that the newest one is the anchor, and returns its id.
fn settle(server: &Server, file: &Path) -> String {
    let mut poller = fast_poller(server, file).late(Duration::ZERO).build().unwrap();
    assert!(drain(&mut poller).is_empty());
    saved(file)["anchor"][0].as_str().unwrap().to_owned()
}

#[test]
fn pruned_anchor_makes_the_poller_look_back_to_its_time() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-410"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(100, 50, PEER);
    drain(&mut fast_poller(&server, &file).page_size(7).build().unwrap());
    let anchor = settle(&server, &file);
    platform.state().rows.retain(|entry| entry.id != anchor);
    platform.fill(5_000, 60, PEER);
    let mut poller = fast_poller(&server, &file).page_size(7).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(5_000..5_060), "however long ago that was");
    let anchor = saved(&file)["anchor"][0].clone();
    assert!(platform.state().rows.iter().any(|entry| entry.id == anchor), "it is the row before the lost one");
    assert_eq!(logged(&["a gap", "05-01T00:02"]), 0, "the rows before it are still there");

    // The same where the platform prunes all rows, while the poller runs: no row is lost.
    platform.state().rows.clear();
    platform.fill(9_000, 30, PEER);
    assert_eq!(drain(&mut poller), numbered(9_000..9_030));
    assert_eq!(logged(&["a gap"]), 0);
    drop(poller);
    // A cursor of a release that did not save when it last listed: rows may have come and gone meanwhile.
    settle(&server, &file);
    let mut cursor = saved(&file);
    cursor["anchor"].as_array_mut().unwrap().truncate(2);
    fs::write(&file, cursor.to_string()).unwrap();
    platform.state().rows.clear();
    let mut poller = fast_poller(&server, &file).build().unwrap();
    for _ in 0..5 {
        assert!(drain(&mut poller).is_empty());
    }
    assert_eq!(logged(&["WARN", "perhaps a gap", "2026-05-01T02:30:29"]), 1, "logged once");
    platform.fill(9_100, 3, PEER);
    assert_eq!(drain(&mut poller), numbered(9_100..9_103));
}

/// The oldest row of the inbox is an anchor before which rows may come late. They do so also where it is pruned.
#[test]
fn late_row_before_a_pruned_first_row_is_delivered() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-410-open"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let first = platform.fill(100, 3, PEER).remove(0);
    drain(&mut fast_poller(&server, &file).build().unwrap());
    platform.state().rows.retain(|entry| entry.id != first);
    platform.fill(90, 2, PEER);
    assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()), numbered(90..92));
}

/// No new row comes for an anchor. The newest earlier row becomes the anchor, so that none is repeated.
#[test]
fn pruned_anchor_is_replaced_by_the_row_before_it() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-410-calm"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let before = platform.fill(100, 50, PEER).pop().unwrap();
    let last = platform.add(149 * SECOND, PEER, "tied");
    assert_eq!(drain(&mut fast_poller(&server, &file).page_size(20).build().unwrap()).len(), 51);
    assert_eq!(settle(&server, &file), last);
    platform.state().rows.retain(|entry| entry.id != last);
    let mut poller = fast_poller(&server, &file).page_size(20).build().unwrap();
    assert!(drain(&mut poller).is_empty());
    assert_eq!(saved(&file)["anchor"][0], before);
    let polls = platform.state().polls.len();
    assert!(drain(&mut poller).is_empty());
    let state = platform.state();
    assert!(
        state.polls[polls..].iter().all(|poll| param(poll, "since_id").as_ref() == Some(&before)),
        "it does not look back again"
    );
}

#[test]
fn platform_without_since_id_is_paged_by_time_and_logged_once() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-old"));
    platform.state().ignores_since_id = true;
    let (server, file) = (platform.serve(), dir.file("c"));
    let mut expected = Vec::new();
    let mut poller = fast_poller(&server, &file).page_size(20).build().unwrap();
    let mut all = Vec::new();
    for round in 0..30 {
        let from = round * 1_000;
        platform.fill(from, 7 + round * 9, PEER);
        expected.extend(numbered(from..from + 7 + round * 9));
        all.extend(drain(&mut poller));
        assert_eq!(all.len(), expected.len(), "round {round}");
        // A late row at the time of another.
        platform.add((from + 4 + round * 9) * SECOND, PEER, "late");
        expected.push("late".to_owned());
        all.extend(drain(&mut poller));
        assert!(drain(&mut poller).is_empty());
    }
    assert_eq!(all, expected);
    assert_eq!(logged(&["WARN", &server.url(), "does not know since_id"]), 1);
    assert_eq!(logged(&["a gap", "T08:0"]), 0);
}

#[test]
fn look_back_by_time_finds_rows_five_seconds_late() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-old-late"));
    platform.state().ignores_since_id = true;
    let server = platform.serve();
    platform.fill(100, 20, PEER);
    let mut poller = fast_poller(&server, &dir.file("c")).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(100..120));
    platform.add(114 * SECOND, PEER, "five late");
    assert_eq!(drain(&mut poller), ["five late"]);
    assert!(drain(&mut poller).is_empty());
}

/// The poller holds a limited number of bytes of a look back. A page of acked rows does not count, and must not be all
/// that fits: then nothing new would ever come.
#[test]
fn large_rows_are_delivered_without_since_id() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-old-large"));
    platform.state().ignores_since_id = true;
    let (server, file) = (platform.serve(), dir.file("c"));
    let mut poller = fast_poller(&server, &file).page_size(2).build().unwrap();
    for (round, text) in ["x".to_owned(), "x".repeat(15_000_000)].into_iter().enumerate() {
        for n in 0..2 {
            platform.add((round as i64 * 100 + n * 10) * SECOND, PEER, &text);
        }
        let (mut delivered, mut polls) = (0, 0);
        while delivered < 2 && polls < 10 {
            delivered += poller
                .poll_once(|message| {
                    assert_eq!(message.text().len(), text.len());
                    Verdict::Ack
                })
                .unwrap()
                .delivered;
            polls += 1;
        }
        assert_eq!(delivered, 2, "round {round}");
    }
}

/// By time alone not all rows of one time can be listed if a page does not hold them. The gap is logged.
#[test]
fn gap_that_cannot_be_closed_is_logged() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-gap"));
    let server = platform.serve();
    platform.add(90_000 * SECOND, PEER, "before");
    platform.state().ignores_since_id = true;
    for n in 0..600 {
        platform.add(90_100 * SECOND, PEER, &format!("tied {n}"));
    }
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(10).build().unwrap();
    let texts = drain(&mut poller);
    assert_eq!((texts.len(), texts[0].as_str()), (501, "before"), "as many as the platform lists");
    assert!(logged(&["a gap", "a page does not take all rows of one time", "2026-05-02T01:01:40"]) >= 1);
}

#[test]
fn backlog_is_clamped_to_thirty_days() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-backlog-end"));
    let server = platform.serve();
    let mut poller = fast_poller(&server, &dir.file("c")).backlog(Duration::MAX).build().unwrap();
    drain(&mut poller);
    platform.fill(100, 1, PEER);
    drain(&mut poller);
    let secs: Vec<String> = platform.state().polls.iter().filter_map(|poll| param(poll, "since_secs")).collect();
    assert!(!secs.is_empty() && secs.iter().all(|secs| secs == "2592000"), "{secs:?}");
}

/// All rows of the answer are newer than the anchor, with many between. Only their order shows that.
#[test]
fn page_of_the_newest_rows_is_not_taken_for_the_next_page() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-newest"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(0, 20, PEER);
    let mut poller = fast_poller(&server, &file).page_size(20).build().unwrap();
    drain(&mut poller);
    platform.state().ignores_since_id = true;
    platform.fill(100, 70, PEER);
    assert_eq!(drain(&mut poller), numbered(100..170));
}

/// By time alone not all rows of one time can be listed. After an older row they can.
#[test]
fn look_back_over_many_rows_of_one_time_continues_by_since_id() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-flood"));
    let server = platform.serve();
    platform.add(200_000 * SECOND, PEER, "before");
    for n in 0..35 {
        platform.add(200_100 * SECOND, PEER, &format!("tied {n}"));
    }
    let expected: Vec<String> =
        std::iter::once("before".to_owned()).chain((0..35).map(|n| format!("tied {n}"))).collect();
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(10).build().unwrap();
    assert_eq!(drain(&mut poller), expected);
    assert_eq!(logged(&["a gap", "2026-05-03T07:35:00"]), 0);
    // Also where the older row is too recent for an anchor.
    platform.state().rows.retain(|entry| entry.at > 200_000 * SECOND);
    platform.add(200_099 * SECOND, PEER, "just before");
    let mut poller = fast_poller(&server, &dir.file("d")).page_size(10).build().unwrap();
    assert_eq!(drain(&mut poller).len(), 36);
    assert!(drain(&mut poller).is_empty());
    assert_eq!(logged(&["a gap", "2026-05-03T07:35:00"]), 0);
    // Also without an older row.
    platform.state().rows.retain(|entry| entry.at > 200_099 * SECOND);
    let mut poller = fast_poller(&server, &dir.file("e")).page_size(10).build().unwrap();
    assert_eq!(drain(&mut poller).len(), 35);
    assert_eq!(logged(&["a gap", "2026-05-03T07:35:00"]), 0);
}

/// The time of an entry that is no row must not count as the end of a page.
#[test]
fn time_of_an_invalid_entry_hides_no_row() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-odd-time"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(0, 20, PEER);
    platform.add_row(18 * SECOND, json!({ "id": null, "created_at": "2020-01-01T00:00:00Z" }));
    platform.state().ignores_since_id = true;
    let mut poller = fast_poller(&server, &file).page_size(5).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(0..20));
}
