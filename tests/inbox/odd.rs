//! Entries that are no rows, rows without a time, and many rows of one time. The poller gets past them, repeats none,
//! and logs every gap.

use std::fs;
use std::path::Path;
use std::time::Duration;

use a2a_blocking::{ErrorKind, Verdict};
use serde_json::json;

use crate::cursor::numbered;
use crate::poll::{drain, fast_poller, logged, saved};
use crate::support::platform::{Platform, SECOND, param};
use crate::support::{Dir, PEER};

/// Two pages share a row, which counts once. The poller holds at most ten pages and nine rows.
#[test]
fn listing_by_time_of_all_that_fits_takes_one_poll() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-held"));
    platform.state().ignores_since_id = true;
    let server = platform.serve();
    platform.fill(0, 5_000, PEER);
    let mut poller = fast_poller(&server, &dir.file("c")).backlog(Duration::from_secs(86_400)).build().unwrap();
    let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
    assert_eq!((polled.delivered, polled.has_more), (5_000, false));
}

/// A longer listing delivers the oldest rows first, and the rest with the next polls.
#[test]
fn listing_by_time_holds_a_limited_number_of_rows_and_bytes() {
    for (rows, bytes, page, most) in [(7_000, 1, 500, 5_000), (44, 1 << 20, 4, 32)] {
        let (platform, dir) = (Platform::new(), Dir::new("cursor-held-more"));
        platform.state().ignores_since_id = true;
        let server = platform.serve();
        let ids: Vec<String> = (0..rows).map(|n| platform.add(n * SECOND, PEER, &"x".repeat(bytes))).collect();
        let builder = fast_poller(&server, &dir.file("c")).backlog(Duration::from_secs(86_400)).page_size(page);
        let mut poller = builder.build().unwrap();
        let (mut got, mut largest) = (Vec::new(), 0);
        loop {
            let polled = poller.poll_once(|message| {
                got.push(message.activity_id().to_owned());
                Verdict::Ack
            });
            let polled = polled.unwrap();
            largest = largest.max(polled.delivered);
            if !polled.has_more {
                break;
            }
        }
        assert!((most - 3 * page..=most).contains(&largest), "{rows} rows: {largest}");
        assert_eq!(got, ids);
    }
}

/// A poll without new rows writes nothing to the disk.
#[test]
fn idle_polls_do_not_write_the_cursor() {
    for old in [false, true] {
        let (platform, dir) = (Platform::new(), Dir::new("cursor-idle"));
        platform.state().ignores_since_id = old;
        let (server, file) = (platform.serve(), dir.file("c"));
        let mut poller = fast_poller(&server, &file).build().unwrap();
        for rows in [0, 1, 20] {
            platform.fill(100, rows, PEER);
            drain(&mut poller);
            assert_eq!(file.exists(), rows > 0, "{rows} rows");
            let _ = fs::remove_file(&file);
            assert!(drain(&mut poller).is_empty());
            assert!(!file.exists(), "old: {old}, {rows} rows");
        }
    }
}

/// Also where the platform learns `since_id` meanwhile.
#[test]
fn late_row_is_found_by_time_and_not_repeated_by_since_id() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    platform.state().ignores_since_id = true;
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(100, 1, PEER);
    platform.fill(110, 1, PEER);
    platform.fill(119, 1, PEER);
    let mut poller = fast_poller(&server, &file).build().unwrap();
    assert_eq!(drain(&mut poller).len(), 3);
    platform.add(112 * SECOND, PEER, "seven late");
    assert_eq!(drain(&mut poller), ["seven late"]);
    drop(poller);
    platform.state().ignores_since_id = false;
    platform.add(111 * SECOND, PEER, "eight late");
    let mut poller = fast_poller(&server, &file).build().unwrap();
    assert_eq!(drain(&mut poller), ["eight late"]);
}

#[test]
fn row_behind_invalid_entries_of_its_time_is_delivered_or_logged() {
    for (old, tied, time) in [(false, 0, 41_000), (true, 0, 42_000), (false, 2, 43_000), (true, 2, 44_000)] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
        platform.state().ignores_since_id = old;
        let server = platform.serve();
        platform.add((time - 50) * SECOND, PEER, "older");
        platform.add(time * SECOND, PEER, "hidden");
        (0..5 - tied).for_each(|n| drop(platform.add_row(time * SECOND, json!({ "id": null, "n": n }))));
        (0..tied).for_each(|n| drop(platform.add(time * SECOND, PEER, &format!("tied {n}"))));
        platform.fill(time + 10, 5 - tied, PEER);
        let mut poller = fast_poller(&server, &dir.file("c")).page_size(5).build().unwrap();
        let mut got = drain(&mut poller);
        got.extend(drain(&mut poller));
        let at = format!("T{:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60);
        let gaps = logged(&["a gap", &at]);
        assert!(got.contains(&"hidden".to_owned()) || gaps > 0, "old {old}, tied {tied}: {got:?}");
    }
}

#[test]
fn many_rows_of_one_time_before_a_page_of_invalid_entries_are_delivered() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let server = platform.serve();
    platform.add(0, PEER, "before");
    (0..12).for_each(|n| drop(platform.add(100 * SECOND, PEER, &format!("tied {n}"))));
    (0..10).for_each(|n| drop(platform.add_row(101 * SECOND, json!({ "id": null, "n": n }))));
    platform.add(200 * SECOND, PEER, "after");
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(10).build().unwrap();
    let got = drain(&mut poller);
    assert_eq!(got.len(), 14, "{got:?}");
}

#[test]
fn row_without_a_time_is_not_repeated_after_a_look_back() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(10, 3, PEER);
    platform.add_row(20 * SECOND, json!({ "source_id": PEER, "summary": "untimed", "created_at": null }));
    let mut got = drain(&mut fast_poller(&server, &file).build().unwrap());
    for n in 0..10 {
        platform.fill(100 + 10 * n, 5, PEER);
        got.extend(drain(&mut fast_poller(&server, &file).build().unwrap()));
    }
    for late in [Duration::from_secs(60), Duration::ZERO] {
        let anchor = saved(&file)["anchor"][0].as_str().unwrap().to_owned();
        platform.state().rows.retain(|entry| entry.id != anchor);
        got.extend(drain(&mut fast_poller(&server, &file).late(late).build().unwrap()));
    }
    assert_eq!(got.iter().filter(|text| *text == "untimed").count(), 1, "{got:?}");
}

#[test]
fn rows_without_times_do_not_stall_the_poller() {
    for (round, untimed) in [4, 5, 16].into_iter().enumerate() {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
        let server = platform.serve();
        platform.fill(10, 3, PEER);
        platform.fill(20, 1, PEER);
        let mut poller = fast_poller(&server, &dir.file("c")).page_size(5).build().unwrap();
        let mut got = drain(&mut poller);
        let timed = platform.add(100 * SECOND, PEER, "X");
        let ids: Vec<String> = (0..untimed)
            .map(|n| {
                let row = json!({ "source_id": PEER, "summary": format!("u{n}"), "created_at": "2026-05-01 00:00" });
                platform.add_row((101 + n) * SECOND, row)
            })
            .collect();
        platform.fill(200, 10, PEER);
        for _ in 0..5 {
            got.extend(drain(&mut poller));
        }
        drop(poller);
        assert!(drain(&mut fast_poller(&server, &dir.file("c")).late(Duration::ZERO).build().unwrap()).is_empty());
        let anchor = saved(&dir.file("c"))["anchor"][1].as_str().unwrap().to_owned();
        assert_eq!(anchor, "2026-05-01T00:03:29.000000000Z", "the anchor is past them");
        let logged_for = |id: &String| logged(&[&format!("row {id} has no time of its own")]);
        assert_eq!(
            (logged_for(&ids[0]), logged_for(&ids[1]), logged_for(&timed)),
            (round + 1, 0, 0),
            "logged for the first one"
        );
        assert_eq!(got.len(), 4 + 1 + untimed as usize + 10, "{untimed}: {got:?}");
    }
}

/// The format of the times changes, and none can be read from then on.
#[test]
fn rows_with_unreadable_times_do_not_stall_the_poller() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let server = platform.serve();
    platform.fill(0, 20, PEER);
    let mut poller = fast_poller(&server, &dir.file("c")).page_size(10).build().unwrap();
    let mut got = drain(&mut poller).len();
    for n in 0..60 {
        let unread = format!("01.05.2026 00:{:02}:00", n % 60);
        platform.add_row((100 + n) * SECOND, json!({ "source_id": PEER, "summary": "x", "created_at": unread }));
        got += drain(&mut poller).len();
    }
    assert_eq!(got, 80);
}

/// The cursor has them as they are meant, and only the missing zone is logged, once.
#[test]
fn row_times_are_read_as_others_write_them() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let mut poller = fast_poller(&server, &file).build().unwrap();
    let times = ["t00:01:40z", " 00:01:50.5Z", " 00:02:00+00", "T00:02:10.25+0000", "T02:02:20+02:00", " 00:02:30.125"];
    let mut ids = Vec::new();
    for (n, time) in (0..).zip(times.into_iter().chain(["T00:02:40"])) {
        let row = json!({ "source_id": PEER, "summary": time, "created_at": format!("2026-05-01{time}") });
        ids.push(platform.add_row((100 + 10 * n) * SECOND, row));
        assert_eq!(drain(&mut poller), [time]);
    }
    let times: Vec<i64> =
        saved(&file)["acked"].as_array().unwrap().iter().map(|row| row[1].as_i64().unwrap()).collect();
    let millis = times.iter().map(|at| at / 1_000_000 - 1_777_593_600_000).collect::<Vec<_>>();
    assert_eq!(millis, [100_000, 110_500, 120_000, 130_250, 140_000, 150_125, 160_000]);
    let logged_for = |id: &String| logged(&["WARN", &format!("row {id} has a time without a zone")]);
    assert_eq!((logged_for(&ids[4]), logged_for(&ids[5]), logged_for(&ids[6])), (0, 1, 0));
}

#[test]
fn page_of_invalid_entries_hides_no_row_silently() {
    for (old, time) in [(false, 45_000), (true, 46_000)] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
        platform.state().ignores_since_id = old;
        platform.fill(time, 20, PEER);
        for n in 0..5 {
            let at = if n == 2 { "2020-01-01T00:00:00Z" } else { "2026-05-01T13:00:00Z" };
            platform.add_row((time + 20) * SECOND, json!({ "id": null, "created_at": at, "n": n }));
        }
        let server = platform.serve();
        let mut poller = fast_poller(&server, &dir.file("c")).page_size(5).build().unwrap();
        let got = drain(&mut poller);
        platform.fill(time + 100, 1, PEER);
        let then = drain(&mut poller);
        // Only the entry's time shows where to go on, and it may be wrong: that is logged.
        let all = got.len() + then.len() == 21;
        assert!(all || logged(&["perhaps a gap", "2020-01-01"]) > 0, "old {old}: {got:?} {then:?}");
    }
}

/// The only older row has no time, so it is no anchor for long.
#[test]
fn many_rows_of_one_time_after_a_row_without_a_time_are_delivered() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let server = platform.serve();
    platform.add_row(50 * SECOND, json!({ "source_id": PEER, "summary": "untimed", "created_at": null }));
    for n in 0..35 {
        platform.add(60_000 * SECOND, PEER, &format!("tied {n}"));
    }
    platform.fill(60_100, 3, PEER);
    let mut poller =
        fast_poller(&server, &dir.file("c")).page_size(10).backlog(Duration::from_secs(86_400)).build().unwrap();
    let mut got = drain(&mut poller);
    for n in 0..3 {
        platform.fill(60_200 + 10 * n, 1, PEER);
        got.extend(drain(&mut poller));
    }
    assert!(got.contains(&"message 60102".to_owned()), "{} {got:?}", got.len());
    assert_eq!(got.len(), 1 + 35 + 6, "{got:?}");
}

/// Fills a cursor file with as many handled rows as a cursor keeps, all of this time.
fn fill_cursor(file: &Path, at: i64) {
    let mut cursor = saved(file);
    cursor["anchor"].as_array_mut().unwrap().truncate(2);
    let acked = cursor["acked"].as_array_mut().unwrap();
    // The anchor is among them, and is forgotten.
    acked.extend((acked.len()..=100_000).map(|n| json!([format!("row {n}"), at])));
    fs::write(file, cursor.to_string()).unwrap();
}

/// If more rows come within the time in which rows may be late, the cursor would grow without end. Instead it stops at a
/// limit and logs that. It goes on once some are settled.
#[test]
fn cursor_stops_at_100_000_rows_until_some_are_settled() {
    for old in [false, true] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
        let (server, file) = (platform.serve(), dir.file("c"));
        platform.state().ignores_since_id = old;
        let ids = platform.fill(100, 10, PEER);
        drain(&mut fast_poller(&server, &file).build().unwrap());
        let newest = saved(&file)["acked"].as_array().unwrap().last().unwrap()[1].as_i64().unwrap();
        fill_cursor(&file, newest - 1_000_000);
        platform.add(110 * SECOND, PEER, "one more");
        platform.fill(111, 20, PEER);

        let mut poller = fast_poller(&server, &file).page_size(3).build().unwrap();
        let mut failed = 0;
        for _ in 0..6 {
            match poller.poll_once(|message| panic!("{message:?} is one too many")) {
                Ok(polled) => assert!(polled.has_more, "{polled:?}"),
                Err(error) => {
                    assert!(
                        error.kind() == ErrorKind::TooLarge && error.to_string().contains("stands still"),
                        "{error}"
                    );
                    failed += 1;
                }
            }
        }
        assert!(failed >= 2, "{failed}");
        assert_eq!(saved(&file)["anchor"][0], json!(ids[0]), "it does not move over rows that were not delivered");
        drop(poller);

        let mut poller = fast_poller(&server, &file).page_size(3).late(Duration::ZERO).build().unwrap();
        let mut got = Vec::new();
        for _ in 0..40 {
            let polled = poller.poll_once(|message| {
                got.push(message.text().to_owned());
                Verdict::Ack
            });
            if polled.is_ok_and(|polled| !polled.has_more) {
                break;
            }
        }
        let mut expected = numbered(111..131);
        expected.insert(0, "one more".to_owned());
        assert_eq!(got, expected, "old: {old}");
        assert!(saved(&file)["acked"].as_array().unwrap().len() < 100, "what is settled is forgotten");
    }
}

/// By time one row of each set cannot be listed where nothing older is an anchor. That gap is logged, and all others
/// come.
#[test]
fn two_sets_of_rows_of_one_time_are_delivered_or_logged() {
    for (old, page, time) in [(false, 5, 47_000), (true, 5, 48_000), (false, 2, 49_000), (true, 2, 50_000)] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
        platform.state().ignores_since_id = old;
        platform.state().now = time * SECOND;
        for at in [time, time + 60] {
            (0..=page).for_each(|n| drop(platform.add(at * SECOND, PEER, &format!("{at} {n}"))));
            platform.fill(at + 3, 8, PEER);
        }
        let server = platform.serve();
        let builder = fast_poller(&server, &dir.file("c")).page_size(page).backlog(Duration::from_secs(86_400));
        let mut poller = builder.build().unwrap();
        let mut got = drain(&mut poller);
        got.extend(drain(&mut poller));
        let first = format!("T{:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60);
        let other = format!("T{:02}:{:02}:{:02}", time / 3600, time / 60 % 60 + 1, time % 60);
        let of = |at: i64| got.iter().filter(|text| text.starts_with(&format!("{at} "))).count();
        assert!(of(time) == page + 1 || logged(&["a gap", &first]) > 0, "{old} {page}: {got:?}");
        assert!(of(time + 60) == page + 1 || logged(&["a gap", &other]) > 0, "{old} {page}: {got:?}");
        assert!(got.len() >= 2 * (page + 8), "{old} {page}: {} {got:?}", got.len());
    }
}

/// The platform knows no id. The poller does without one and does not loop. The first row is old in one case, and too
/// recent for an anchor in the other.
#[test]
fn platform_that_knows_no_id_causes_no_loop() {
    for (before, tied_at, gap_time) in [(51_000, 51_100, "T14:11:40"), (52_098, 52_100, "T14:28:20")] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
        platform.state().knows_no_id = true;
        let server = platform.serve();
        platform.add(before * SECOND, PEER, "before");
        (0..6).for_each(|n| drop(platform.add(tied_at * SECOND, PEER, &format!("tied {n}"))));
        let builder = fast_poller(&server, &dir.file("c")).page_size(5).backlog(Duration::from_secs(86_400));
        let mut poller = builder.build().unwrap();
        let mut got = drain(&mut poller);
        platform.fill(tied_at + 100, 12, PEER);
        got.extend(drain(&mut poller));
        assert!(got.len() == 19 || (got.len() == 18 && logged(&["a gap", gap_time]) > 0), "{} {got:?}", got.len());
    }
}

/// There is an earlier row, although it is too recent for an anchor, or the anchor's row is gone.
#[test]
fn many_rows_of_one_time_are_complete_after_idle_polls_and_after_a_pruned_anchor() {
    for lost in [false, true] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
        let (server, file) = (platform.serve(), dir.file("c"));
        let rows = platform.fill(100, if lost { 10 } else { 1 }, PEER);
        let mut poller = fast_poller(&server, &file).page_size(5).build().unwrap();
        assert_eq!(drain(&mut poller).len(), rows.len());
        if lost {
            let anchor = saved(&file)["anchor"][0].as_str().unwrap().to_owned();
            platform.state().rows.retain(|entry| entry.id != anchor);
        }
        (0..2).for_each(|_| assert!(drain(&mut poller).is_empty()));
        if lost {
            let anchor = saved(&file)["anchor"][0].as_str().unwrap().to_owned();
            platform.state().rows.retain(|entry| entry.id != anchor);
        }
        (0..12).for_each(|n| drop(platform.add(120 * SECOND, PEER, &format!("tied {n}"))));
        assert_eq!(drain(&mut poller).len(), 12, "lost: {lost}");
    }
}

/// A page of one row does not show whether it is the next row or the newest one.
#[test]
fn platform_without_since_id_is_detected_with_a_page_size_of_one() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(0, 2, PEER);
    platform.fill(10, 1, PEER);
    assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()).len(), 3);
    platform.state().ignores_since_id = true;
    let mut ids = vec!["message 20", "message 40", "message 60"];
    [20, 40, 60].into_iter().for_each(|at| drop(platform.fill(at, 1, PEER)));
    let mut poller = fast_poller(&server, &file).page_size(1).build().unwrap();
    let mut got = drain(&mut poller);
    platform.fill(80, 1, PEER);
    ids.push("message 80");
    got.extend(drain(&mut poller));
    assert_eq!(got, ids);
}

/// Rows of one time do not show their order.
#[test]
fn page_size_of_one_requests_two_rows_until_they_show_their_order() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let (server, file) = (platform.serve(), dir.file("c"));
    // Not numbered: a platform that numbers its rows knows `since_id`.
    platform.state().ignores_since_id = true;
    platform.fill(0, 2, PEER);
    (0..2).for_each(|n| drop(platform.add(10 * SECOND, PEER, &format!("tied {n}"))));
    platform.state().ignores_since_id = false;
    assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()).len(), 4);
    let mut poller = fast_poller(&server, &file).page_size(1).build().unwrap();
    let mut limits = || {
        platform.state().polls.clear();
        let got = drain(&mut poller).len();
        let behind = |query: &&String| query.contains("since_id=");
        let limit = |query: &String| param(query, "limit").unwrap();
        (got, platform.state().polls.iter().filter(behind).map(limit).collect::<Vec<String>>().concat())
    };
    let (got, requested) = limits();
    assert!(got == 0 && requested.starts_with('2'), "{got}: {requested}");
    platform.fill(20, 2, PEER);
    let (got, requested) = limits();
    assert!(got == 2 && requested.ends_with("11"), "{got}: {requested}");
    platform.fill(30, 2, PEER);
    let (got, requested) = limits();
    assert!(got == 2 && !requested.contains('2'), "{got}: {requested}");
}

/// Two of these rows are larger than a poll accepts.
#[test]
fn one_row_is_requested_where_two_are_too_large() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(0, 2, PEER);
    // Rows of one time, which do not show their order.
    (0..2).for_each(|n| drop(platform.add(10 * SECOND, PEER, &format!("tied {n}"))));
    assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()).len(), 4);
    let large = "x".repeat(17 << 20);
    [20, 21].into_iter().for_each(|at| drop(platform.add(at * SECOND, PEER, &large)));
    assert_eq!(drain(&mut fast_poller(&server, &file).page_size(1).build().unwrap()), [large.clone(), large]);
}
