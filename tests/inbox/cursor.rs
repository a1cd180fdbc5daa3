//! The cursor: which rows are delivered again, and which are not.
//!
//! Over restarts, late rows, platforms that prune rows or lack `since_id`, and files that cannot be read or written.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use a2a_blocking::{ErrorKind, InboxPoller, StopReason, Verdict};
use serde_json::{Value, json};

use crate::poll::{drain, fast_poller, logged, logged_by_any_thread, saved};
use crate::support::platform::{Platform, SECOND, id, param};
use crate::support::{self, Dir, PEER, Reaction, Server, WORKSPACE};

fn numbered(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|n| format!("message {n}")).collect()
}

#[test]
fn acked_rows_are_not_repeated_after_a_restart() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-restart"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(100, 20, PEER);
    assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()), numbered(100..120));
    platform.fill(120, 3, PEER);
    let mut poller = fast_poller(&server, &file).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(120..123));
    assert!(drain(&mut poller).is_empty());
    // The anchor is a row five seconds behind the newest one, and the cursor has the rows since.
    let poll = platform.state().polls.last().unwrap().clone();
    assert_eq!(param(&poll, "since_id"), Some(id(18)), "{poll}");
    let saved = saved(&file);
    assert_eq!(
        (&saved["version"], &saved["workspace"], &saved["anchor"][0]),
        (&1.into(), &WORKSPACE.into(), &id(18).into())
    );
    let acked: Vec<&Value> = saved["acked"].as_array().unwrap().iter().map(|mark| &mark[0]).collect();
    assert_eq!(acked, (18..=23).map(|n| Value::from(id(n))).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(saved["tries"], json!({}));
}

/// The file is complete, and names the row being delivered, whenever a callback runs.
#[test]
fn row_and_its_attempts_are_written_before_delivery() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-flight"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let ids = platform.fill(1, 9, PEER);
    let mut poller = fast_poller(&server, &file).build().unwrap();
    let mut acked_rows = 0;
    let polled = poller.poll_once(|message| {
        let saved = saved(&file);
        assert_eq!(saved["tries"], json!({ message.activity_id(): message.delivery_attempt() }));
        let acked = saved["acked"].as_array().unwrap();
        let is_acked = |id: &String| acked.iter().any(|mark| mark[0] == **id);
        let anchored = ids.iter().position(|id| saved["anchor"][0] == **id);
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(is_acked(id) || anchored.is_some_and(|at| n <= at), n < acked_rows, "{n}: {saved}");
        }
        if message.delivery_attempt() < 3 {
            return Verdict::Retry;
        }
        acked_rows += 1;
        Verdict::Ack
    });
    assert_eq!(polled.unwrap().delivered, 9);
    assert_eq!(saved(&file)["tries"], json!({}));
}

#[test]
fn rows_up_to_five_seconds_late_are_delivered_once() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-late"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let mut poller = fast_poller(&server, &file).build().unwrap();
    platform.add(100 * SECOND, PEER, "first");
    assert_eq!(drain(&mut poller), ["first"]);
    // A row before the first one, while there is no anchor yet.
    platform.add(96 * SECOND, PEER, "late");
    assert_eq!(drain(&mut poller), ["late"]);
    for n in 1..200 {
        let newest = (100 + n) * SECOND;
        platform.add(newest, PEER, &format!("row {n}"));
        let mut expected = vec![format!("row {n}")];
        if n % 3 == 0 {
            assert_eq!(drain(&mut poller), expected);
            platform.add(newest - 5 * SECOND, PEER, &format!("five late {n}"));
            platform.add(newest - 5 * SECOND, PEER, &format!("as late {n}"));
            platform.add(newest - 1, PEER, &format!("just late {n}"));
            platform.add(newest, PEER, &format!("tied {n}"));
            expected = ["five late", "as late", "just late", "tied"].map(|word| format!("{word} {n}")).to_vec();
        }
        if n % 7 == 0 {
            drop(poller);
            poller = fast_poller(&server, &file).build().unwrap();
        }
        assert_eq!(drain(&mut poller), expected);
        assert!(drain(&mut poller).is_empty());
    }
}

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
    // The second file has what the first cannot hold.
    assert!(saved(&file)["acked"].as_array().unwrap().len() <= 256 && saved(&file)["snapshot"] == true);
    drop(poller);
    let mut poller = fast_poller(&server, &file).page_size(10).build().unwrap();
    assert!(drain(&mut poller).is_empty());
    platform.add(30 * SECOND, PEER, "later");
    assert_eq!(drain(&mut poller), ["later"]);
    platform.add(60 * SECOND, PEER, "much later");
    assert_eq!(drain(&mut poller), ["much later"]);
    let acked = saved(&file)["acked"].as_array().unwrap().len();
    assert!(acked <= 2 && saved(&file)["snapshot"] == false, "{}", saved(&file));
    assert!(!dir.file("c.acked").exists());
}

/// Late rows on earlier pages are found while the pages are full.
#[test]
fn late_rows_are_found_at_more_than_a_page_in_five_seconds() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-load"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.add(0, PEER, "start");
    platform.add(10 * SECOND, PEER, "start");
    let mut poller = fast_poller(&server, &file).page_size(10).build().unwrap();
    drain(&mut poller);
    // Ten rows a second are five pages in the time by which a row may be late.
    let mut at = 20 * SECOND;
    let (mut added, mut seen) = (Vec::new(), Vec::new());
    let inner = platform.clone();
    for n in 0..1_500 {
        at += SECOND / 10;
        let late = if n % 4 == 3 { 49 * SECOND / 10 } else { 0 };
        added.push(inner.add(at - late, PEER, "x"));
        if n % 6 == 0 {
            let polled = poller.poll_once(|message| {
                seen.push(message.activity_id().to_owned());
                Verdict::Ack
            });
            polled.unwrap();
        }
    }
    for _ in 0..1_000 {
        let polled = poller.poll_once(|message| {
            seen.push(message.activity_id().to_owned());
            Verdict::Ack
        });
        if !polled.unwrap().has_more {
            break;
        }
    }
    assert_eq!(seen.len(), added.len(), "none is missing or repeated");
    added.sort();
    seen.sort();
    assert_eq!(seen, added);
}

#[test]
fn without_a_cursor_the_last_600_seconds_are_delivered_in_order() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-backlog"));
    let server = platform.serve();
    platform.fill(0, 2_000, PEER);
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(100).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(1_399..2_000));
    let looks_back = |poll: &String| param(poll, "since_secs").is_some_and(|secs| secs.starts_with("60"));
    assert!(platform.state().polls.iter().take(7).all(looks_back));
    let mut poller = fast_poller(&server, &dir.file("d")).backlog(Duration::from_secs(30)).build().unwrap();
    assert_eq!(drain(&mut poller), numbered(1_969..2_000));
    // A look back over more rows than the poller holds.
    platform.state().now = 0;
    let mut poller =
        fast_poller(&server, &dir.file("e")).page_size(500).backlog(Duration::from_secs(86_400)).build().unwrap();
    platform.fill(2_000, 20_000, PEER);
    assert_eq!(drain(&mut poller), numbered(0..22_000));
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

#[test]
fn pruned_anchor_makes_the_poller_look_back_to_its_time() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-410"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(100, 50, PEER);
    let mut poller = fast_poller(&server, &file).page_size(7).build().unwrap();
    drain(&mut poller);
    let anchor = saved(&file)["anchor"][0].as_str().unwrap().to_owned();
    platform.state().rows.retain(|entry| entry.id != anchor);
    platform.fill(5_000, 60, PEER);
    assert_eq!(drain(&mut poller), numbered(5_000..5_060), "however long ago that was");
    let polls = platform.state().polls.len();
    assert!(drain(&mut poller).is_empty(), "the anchor is the newest row from before its time");
    assert_eq!(platform.state().polls.len(), polls + 1, "which exists");
    assert_eq!(logged(&["a gap", "05-01T00:02"]), 0, "the rows before it are still there");

    // The same where the platform has pruned all rows.
    platform.state().rows.clear();
    platform.fill(9_000, 30, PEER);
    assert_eq!(drain(&mut poller), numbered(9_000..9_030));
    assert_eq!(logged(&["a gap", "2026-05-01T01:24:14", "2026-05-01T02:30:00"]), 1);
    platform.state().rows.clear();
    for _ in 0..5 {
        assert!(drain(&mut poller).is_empty());
    }
    assert_eq!(logged(&["a gap", "2026-05-01T02:30:24"]), 1, "logged once");
    platform.fill(9_100, 3, PEER);
    assert_eq!(drain(&mut poller), numbered(9_100..9_103));
}

/// No new row comes for an anchor. The newest earlier row becomes the anchor, so that none is repeated.
#[test]
fn pruned_anchor_is_replaced_by_the_row_before_it() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-410-calm"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(100, 50, PEER);
    let last = platform.add(143 * SECOND, PEER, "tied");
    let mut poller = fast_poller(&server, &file).page_size(20).build().unwrap();
    assert_eq!(drain(&mut poller).len(), 51);
    let anchor = saved(&file)["anchor"][0].as_str().unwrap().to_owned();
    platform.state().rows.retain(|entry| entry.id != anchor);
    assert!(drain(&mut poller).is_empty());
    let polls = platform.state().polls.len();
    assert!(drain(&mut poller).is_empty());
    let state = platform.state();
    assert_eq!(state.polls.len(), polls + 1, "it does not look back again");
    assert_eq!(param(state.polls.last().unwrap(), "since_id"), Some(last));
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
    for n in 0..30 {
        platform.add(90_100 * SECOND, PEER, &format!("tied {n}"));
    }
    platform.state().ignores_since_id = true;
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(10).build().unwrap();
    let texts = drain(&mut poller);
    assert_eq!((texts.len(), texts[0].as_str()), (11, "before"));
    assert!(logged(&["a gap", "a page does not take all rows of one time", "2026-05-02T01:01:40"]) >= 1);
}

#[test]
fn unreadable_cursor_is_logged_kept_and_replaced() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-bad"));
    let server = platform.serve();
    platform.fill(1, 3, PEER);
    for (n, bad) in [
        "not json",
        "",
        "[]",
        r#"{"version":2}"#,
        r#"{"version":1}"#,
        &format!(r#"{{"version":1,"workspace":"{WORKSPACE}","anchor":[1]}}"#),
        &format!(r#"{{"version":1,"workspace":"{WORKSPACE}","floor":"yesterday","acked":[]}}"#),
        &format!(r#"{{"version":1,"workspace":"{WORKSPACE}","acked":[["a"]]}}"#),
        &format!(r#"{{"version":1,"workspace":"{WORKSPACE}","acked":[],"snapshot":true}}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let file = dir.file(&format!("bad-{n}"));
        fs::write(&file, bad).unwrap();
        assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()).len(), 3, "{bad}");
        assert_eq!(logged(&["ERROR", "is unreadable", &format!("bad-{n} ")]), 1, "{bad}");
        assert_eq!(fs::read_to_string(dir.file(&format!("bad-{n}.unreadable"))).unwrap(), bad);
        assert!(drain(&mut fast_poller(&server, &file).build().unwrap()).is_empty());
    }
}

#[test]
fn cursor_file_serves_one_poller_of_one_workspace() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-lock"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(1, 3, PEER);
    let mut first = fast_poller(&server, &file).build().unwrap();
    let error = fast_poller(&server, &file).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("another poller has"), "{error}");
    drain(&mut first);
    let running = first.spawn(|_| Verdict::Ack).unwrap();
    assert!(fast_poller(&server, &file).build().is_err());
    running.stop();
    assert!(drain(&mut fast_poller(&server, &file).build().unwrap()).is_empty(), "free as soon as it was stopped");
    let other = support::builder(&server).workspace_id("other").build().unwrap();
    let error = InboxPoller::builder(other).cursor_file(&file).build().unwrap_err();
    assert!(error.to_string().contains(&format!("is of the workspace {WORKSPACE}")), "{error}");
}

/// The directory disappears in the middle of a poll. The error is logged and delivery goes on. The file is written
/// again once the directory is back.
#[test]
fn delivery_goes_on_while_the_cursor_cannot_be_written() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-gone"));
    let server = platform.serve();
    fs::create_dir(dir.file("sub")).unwrap();
    let file = dir.file("sub").join("c");
    platform.fill(1, 10, PEER);
    let mut poller = fast_poller(&server, &file).build().unwrap();
    let mut texts = Vec::new();
    let polled = poller.poll_once(|message| {
        if message.text() == "message 3" {
            fs::remove_dir_all(dir.file("sub")).unwrap();
        }
        texts.push(message.text().to_owned());
        Verdict::Ack
    });
    assert_eq!((polled.unwrap().delivered, texts.len()), (10, 10));
    assert_eq!(logged(&["ERROR", "cursor-gone", "cannot be written"]), 1);
    platform.fill(11, 5, PEER);
    assert_eq!(drain(&mut poller), numbered(11..16), "the acked rows are kept in memory");
    fs::create_dir(dir.file("sub")).unwrap();
    platform.fill(16, 1, PEER);
    drain(&mut poller);
    assert_eq!(logged(&["WARN", "cursor-gone", "can be written again"]), 1);
    drop(poller);
    assert!(drain(&mut fast_poller(&server, &file).build().unwrap()).is_empty());
}

/// `/dev/full` behaves like a full disk: see `man 4 full`.
#[cfg(target_os = "linux")]
#[test]
fn full_disk_is_logged_and_delivery_goes_on() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-full"));
    let (server, file) = (platform.serve(), dir.file("c"));
    std::os::unix::fs::symlink("/dev/full", dir.file("c.new")).unwrap();
    platform.fill(1, 600, PEER);
    let mut poller = fast_poller(&server, &file).build().unwrap();
    assert_eq!(drain(&mut poller).len(), 600);
    assert_eq!(logged(&["ERROR", "cursor-full", "cannot be written (No space left on device"]), 1);
    assert!(!file.exists());
}

#[test]
fn row_keeps_its_attempts_over_a_crash_although_another_comes_first() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-tries"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let ids = platform.fill(100, 1, PEER);
    // The file of a crash in the fourth attempt.
    let acked = json!({ "version": 1, "workspace": WORKSPACE, "anchor": null, "floor": null, "acked": [],
        "tries": { ids[0].clone(): 4 }, "snapshot": false });
    fs::write(&file, acked.to_string()).unwrap();
    platform.add(99 * SECOND, PEER, "another");
    let mut seen = Vec::new();
    let polled = fast_poller(&server, &file).build().unwrap().poll_once(|message| {
        seen.push((message.text().to_owned(), message.delivery_attempt()));
        if message.text() == "another" { Verdict::Ack } else { Verdict::Retry }
    });
    let polled = polled.unwrap();
    assert_eq!((polled.delivered, polled.dead_lettered), (1, 1));
    assert_eq!(seen, [("another".to_owned(), 1), ("message 100".to_owned(), 5)]);
}

/// An entry that is no row is listed again and again, and logged once.
#[test]
fn invalid_entry_is_logged_once() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-odd"));
    let server = platform.serve();
    platform.add_row(
        SECOND,
        json!({ "id": null, "a_mark": "odd-one-out", "echo": "hush-hush", "long": "x".repeat(9_000) }),
    );
    platform.fill(2, 2, PEER);
    let client = support::builder(&server).token("hush-hush").build().unwrap();
    let _logging = fast_poller(&server, &dir.file("other"));
    let mut poller = InboxPoller::builder(client).cursor_file(dir.file("c")).build().unwrap();
    for _ in 0..5 {
        drain(&mut poller);
    }
    assert_eq!(logged(&["WARN", "odd-one-out"]), 1);
    assert_eq!((logged(&["[token]"]), logged(&["hush-hush"])), (1, 0));
}

/// Most rows come behind the anchor.
#[test]
fn unreadable_entries_behind_the_anchor_are_logged_and_counted() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-odd-later"));
    let server = platform.serve();
    let deep = (0..130).fold(json!("deep"), |value, _| json!([value]));
    let unread = || json!({ "source_id": PEER, "summary": "x", "extra": deep });
    let before = platform.add_row(SECOND, unread());
    platform.fill(2, 19, PEER);
    let mut poller = fast_poller(&server, &dir.file("c")).build().unwrap();
    drain(&mut poller);
    assert_eq!(logged(&["WARN", "cannot be read", &before]), 1);
    platform.add_row(21 * SECOND, json!({ "id": null, "a_mark": "odd-behind-the-anchor" }));
    let behind = platform.add_row(22 * SECOND, unread());
    let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
    assert!(platform.state().polls.last().unwrap().contains("since_id="));
    assert_eq!((polled.delivered, polled.skipped), (1, 1));
    assert_eq!(logged(&["WARN", "no row", "odd-behind-the-anchor"]), 1);
    assert_eq!(logged(&["WARN", "cannot be read", &behind]), 1);
    assert_eq!(logged(&[" 2 more beside these"]), 0, "there was one of each");
    // The first ten are logged, one of them earlier, and the others counted. Nothing is logged twice.
    (0..47).for_each(|n| drop(platform.add_row(23 * SECOND, json!({ "id": null, "many": n }))));
    (0..3).for_each(|_| drop(drain(&mut poller)));
    assert_eq!((logged(&["WARN", "no row", "\"many\""]), logged(&[" 38 more beside these"])), (9, 1));
    assert_eq!(logged(&[" 0 more beside these"]), 0);
}

/// A row without a time, or with an impossible one, takes its neighbour's, which changes from poll to poll.
#[test]
fn row_whose_time_changes_is_not_delivered_twice() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-moves"));
    for at in [json!(null), json!("9999-12-31T23:59:59Z")] {
        platform.add_row(20 * 86_400 * SECOND, json!({ "source_id": PEER, "summary": "odd", "created_at": at }));
    }
    platform.state().now = SECOND;
    let server = platform.serve();
    let mut poller = fast_poller(&server, &dir.file("c")).build().unwrap();
    let mut all = Vec::new();
    for n in 1..30 {
        platform.add(n * 7 * SECOND, PEER, "x");
        platform.state().now = n * 7 * SECOND;
        all.extend(drain(&mut poller));
    }
    assert_eq!((all.len(), all.iter().filter(|text| *text == "odd").count()), (31, 2), "{all:?}");
}

#[test]
fn row_far_in_the_future_does_not_hide_late_rows() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-future"));
    platform.add(100 * SECOND, PEER, "a");
    let far = json!({ "source_id": PEER, "summary": "far", "created_at": "2199-01-01T00:00:00Z" });
    platform.add_row(20 * 86_400 * SECOND, far);
    platform.state().now = 100 * SECOND;
    let server = platform.serve();
    let mut poller = fast_poller(&server, &dir.file("c")).build().unwrap();
    assert_eq!(drain(&mut poller), ["a", "far"]);
    for (at, text) in [(110, "b"), (107, "late"), (120, "c"), (116, "late again")] {
        platform.add(at * SECOND, PEER, text);
        assert_eq!(drain(&mut poller), [text]);
    }
    assert_eq!(logged(&["WARN", "2199-01-01", "ahead of this machine's clock"]), 1);
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
fn cursor_file_must_be_a_regular_file_and_not_the_token() {
    let dir = Dir::new("cursor-no-file");
    let server = Server::play([Reaction::reply(200, "[]")]);
    let (folder, token) = (dir.file("folder"), dir.file("c.synced"));
    fs::create_dir(&folder).unwrap();
    fs::write(&token, "secret").unwrap();
    let client = support::builder(&server).token_file(&token).build().unwrap();
    for path in [&folder, &token, &folder.join("../c.synced"), &dir.file("c")] {
        let refused = InboxPoller::builder(client.clone()).cursor_file(path).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains(path.to_str().unwrap()), "{refused}");
    }
    assert!(folder.is_dir() && fs::read_to_string(&token).unwrap() == "secret");
}

#[test]
fn backlog_is_clamped_to_thirty_days() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-backlog-end"));
    let server = platform.serve();
    let mut poller = fast_poller(&server, &dir.file("c")).backlog(Duration::MAX).build().unwrap();
    drain(&mut poller);
    assert_eq!(param(&platform.state().polls[0], "since_secs").as_deref(), Some("2592000"));
}

#[test]
fn list_of_too_many_entries_is_refused() {
    let dir = Dir::new("cursor-entries");
    let server = Server::play([Reaction::reply(200, json!(vec![7; 100_001]).to_string())]);
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(1).build().unwrap();
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn removal_found_by_the_heartbeat_is_logged() {
    let dir = Dir::new("cursor-removed");
    let server = Server::decide(|_, request| match request.path.starts_with("/registry") {
        true => Reaction::reply(410, r#"{"error":"removed","hint":"found by the heartbeat"}"#),
        false => Reaction::reply(200, "[]"),
    });
    let poller = fast_poller(&server, &dir.file("c")).spawn(|_| Verdict::Ack).unwrap();
    assert!(matches!(poller.join(), Some(StopReason::Removed(_))));
    assert_eq!(logged_by_any_thread(&["ERROR", "found by the heartbeat"]), 1);
}

#[test]
fn outage_and_recovery_of_the_platform_are_logged_once() {
    let (dir, polls) = (Dir::new("cursor-again"), Arc::new(AtomicUsize::new(0)));
    let counted = polls.clone();
    let server = Server::decide(move |_, _| match counted.fetch_add(1, SeqCst) {
        0..3 => Reaction::reply(500, r#"{"error":"not yet"}"#),
        _ => Reaction::reply(200, "[]"),
    });
    let poller = fast_poller(&server, &dir.file("c")).heartbeat(None).interval(Duration::from_millis(5));
    let poller = poller.spawn(|_| Verdict::Ack).unwrap();
    support::eventually("more polls", || polls.load(SeqCst) >= 8);
    poller.stop();
    assert_eq!(logged_by_any_thread(&["WARN", "not yet", &server.url()]), 1, "the others are at debug level");
    assert_eq!(logged_by_any_thread(&["INFO", "answers again", &server.url()]), 1);
}

/// The heartbeat goes on, so that a platform that is back gets it at once. The failure is logged once.
#[test]
fn failed_heartbeat_is_logged_once_and_ends_nothing() {
    let (dir, beats) = (Dir::new("cursor-heartless"), Arc::new(AtomicUsize::new(0)));
    let counted = beats.clone();
    let server = Server::decide(move |_, request| match request.path.starts_with("/registry") {
        true => {
            counted.fetch_add(1, SeqCst);
            Reaction::reply(500, r#"{"error":"heartless"}"#)
        }
        false => Reaction::reply(200, "[]"),
    });
    let poller = fast_poller(&server, &dir.file("c")).heartbeat(Some(Duration::from_millis(5)));
    let poller = poller.spawn(|_| Verdict::Ack).unwrap();
    support::eventually("more beats", || beats.load(SeqCst) >= 4);
    assert_eq!((poller.reason(), poller.is_finished()), (None, false));
    poller.stop();
    assert_eq!(logged_by_any_thread(&["WARN", "no heartbeat", &server.url()]), 1);
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
    // Without an older row the gap is logged.
    platform.state().rows.retain(|entry| entry.at > 200_099 * SECOND);
    let mut poller = fast_poller(&server, &dir.file("e")).page_size(10).build().unwrap();
    assert_eq!(drain(&mut poller).len(), 10);
    assert_eq!(logged(&["a gap", "2026-05-03T07:35:00"]), 1);
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
