//! Entries that are no rows, rows without a time, and many rows of one time. The poller gets past them, repeats none,
//! and logs every gap.

use std::fs;
use std::time::Duration;

use a2a_blocking::{ErrorKind, Verdict};
use serde_json::json;

use crate::poll::{drain, fast_poller, logged, saved};
use crate::support::platform::{Platform, SECOND, param};
use crate::support::{Dir, PEER};

/// Two pages share a row, which counts once. The poller holds at most ten pages and nine rows.
#[test]
fn look_back_over_all_that_fits_takes_one_poll() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-held"));
    let server = platform.serve();
    platform.fill(0, 5_000, PEER);
    let mut poller = fast_poller(&server, &dir.file("c")).backlog(Duration::from_secs(86_400)).build().unwrap();
    let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
    assert_eq!((polled.delivered, polled.has_more, platform.state().polls.len()), (5_000, false, 11));
}

/// A longer look back delivers the oldest rows first, and the rest with the next polls.
#[test]
fn look_back_holds_a_limited_number_of_rows_and_bytes() {
    for (rows, bytes, page, most) in [(7_000, 1, 500, 5_000), (44, 1 << 20, 4, 32)] {
        let (platform, dir) = (Platform::new(), Dir::new("cursor-held-more"));
        let server = platform.serve();
        (0..rows).for_each(|n| drop(platform.add(n * SECOND, PEER, &"x".repeat(bytes))));
        let builder = fast_poller(&server, &dir.file("c")).backlog(Duration::from_secs(86_400)).page_size(page);
        let mut poller = builder.build().unwrap();
        let polled = poller.poll_once(|_| Verdict::Ack).unwrap();
        assert!(polled.has_more && (most - 3 * page..=most).contains(&polled.delivered), "{rows} rows: {polled:?}");
        assert_eq!(polled.delivered + drain(&mut poller).len(), rows as usize);
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

/// Rows later than five seconds need not be found, but this one is.
#[test]
fn row_too_late_for_a_look_back_is_found_by_since_id() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    platform.state().ignores_since_id = true;
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(100, 1, PEER);
    platform.fill(110, 1, PEER);
    platform.fill(119, 1, PEER);
    let mut poller = fast_poller(&server, &file).build().unwrap();
    assert_eq!(drain(&mut poller).len(), 3);
    platform.add(112 * SECOND, PEER, "seven late");
    assert!(drain(&mut poller).is_empty());
    drop(poller);
    platform.state().ignores_since_id = false;
    let mut poller = fast_poller(&server, &file).build().unwrap();
    assert_eq!(drain(&mut poller), ["seven late"]);
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
    let mut poller = fast_poller(&server, &file).build().unwrap();
    let mut got = drain(&mut poller);
    for n in 0..10 {
        platform.fill(100 + 10 * n, 5, PEER);
        got.extend(drain(&mut poller));
    }
    let anchor = saved(&file)["anchor"][0].as_str().unwrap().to_owned();
    platform.state().rows.retain(|entry| entry.id != anchor);
    got.extend(drain(&mut poller));
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
        let anchor = saved(&dir.file("c"))["anchor"][1].as_str().unwrap().to_owned();
        assert_eq!(anchor, "2026-05-01T00:03:24.000000000Z", "the anchor is past them: 204 of 209, and five seconds");
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

/// The cursor moves on over each of them, and only the missing zone is logged, once.
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
    platform.fill(200, 2, PEER);
    drain(&mut poller);
    drain(&mut poller);
    assert_eq!(saved(&file)["anchor"][1], "2026-05-01T00:02:40.000000000Z");
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

/// If the platform's times stand still, the cursor would grow without end. Instead it stops at a limit, logs that, and
/// goes on when the times do.
#[test]
fn cursor_stops_at_100_000_rows_while_times_stand_still() {
    for old in [false, true] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
        let (server, file) = (platform.serve(), dir.file("c"));
        platform.fill(90, 1, PEER);
        platform.fill(100, 4, PEER);
        platform.fill(106, 2, PEER);
        // Rows of one time.
        (0..6).for_each(|n| drop(platform.add(110 * SECOND, PEER, &format!("tied {n}"))));
        assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()).len(), 13);
        let mut cursor = saved(&file);
        let acked = cursor["acked"].as_array_mut().unwrap();
        // By time no more than a page of one time can be listed. In this case the extra rows have an older time.
        let at = if old { acked.first() } else { acked.last() }.unwrap()[1].as_i64().unwrap();
        acked.extend((acked.len()..100_000).map(|n| json!([format!("row {n}"), at])));
        fs::write(&file, cursor.to_string()).unwrap();
        platform.state().ignores_since_id = old;

        platform.add(110 * SECOND, PEER, "one more");
        // The new row is not on the first page.
        let mut poller = fast_poller(&server, &file).page_size(if old { 8 } else { 3 }).build().unwrap();
        let mut poll = || {
            let mut got = Vec::new();
            let polled = poller.poll_once(|message| {
                got.push(message.text().to_owned());
                Verdict::Ack
            });
            polled.map(|_| got)
        };
        for _ in 0..2 {
            let error = (0..4).find_map(|_| poll().err()).expect("it is full");
            assert!(error.kind() == ErrorKind::TooLarge && error.to_string().contains("stands still"), "{error}");
        }
        platform.add(200 * SECOND, PEER, "the time goes on");
        let got: Vec<String> = (0..9).flat_map(|_| poll().unwrap_or_default()).collect();
        assert_eq!(got, ["one more", "the time goes on"], "old: {old}");
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
    platform.fill(0, 2, PEER);
    (0..2).for_each(|n| drop(platform.add(10 * SECOND, PEER, &format!("tied {n}"))));
    assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()).len(), 4);
    let mut poller = fast_poller(&server, &file).page_size(1).build().unwrap();
    let mut limits = || {
        platform.state().polls.clear();
        let got = drain(&mut poller).len();
        let limit = |query: &String| param(query, "limit").unwrap();
        (got, platform.state().polls.iter().map(limit).collect::<Vec<String>>().concat())
    };
    assert_eq!(limits(), (0, "22".to_owned()));
    platform.fill(20, 2, PEER);
    let (got, requested) = limits();
    assert!(got == 2 && requested.starts_with("221") && !requested[2..].contains('2'), "{got}: {requested}");
}

/// The rows at which the cursor stops have no time, and the rows after them are acked. The anchor stays before them all
/// the same.
#[test]
fn stopped_cursor_does_not_move_over_unacked_rows() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-odd"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let ids: Vec<String> = [99, 100, 105].into_iter().flat_map(|at| platform.fill(at, 1, PEER)).collect();
    assert_eq!(drain(&mut fast_poller(&server, &file).build().unwrap()).len(), 3);
    for n in 0..3 {
        platform.add_row(99 * SECOND + 1, json!({ "source_id": PEER, "summary": format!("u{n}"), "created_at": null }));
    }
    let mut cursor = saved(&file);
    let newest = cursor["acked"].as_array().unwrap().last().unwrap()[1].as_i64().unwrap();
    cursor["anchor"] = json!([ids[0], "2026-05-01T00:01:39Z"]);
    cursor["floor"] = json!("2026-05-01T00:01:45Z");
    let acked = ids[1..].iter().zip([newest - 5_000_000_000, newest]).map(|(id, at)| json!([id, at]));
    cursor["acked"] = acked.chain((2..100_000).map(|n| json!([format!("row {n}"), newest]))).collect();
    fs::write(&file, cursor.to_string()).unwrap();
    let mut poller = fast_poller(&server, &file).page_size(3).build().unwrap();
    let failed = (0..6).filter(|_| poller.poll_once(|message| panic!("{message:?} is one too many")).is_err()).count();
    assert_eq!((failed, &saved(&file)["anchor"][0]), (3, &json!(ids[0])));
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
