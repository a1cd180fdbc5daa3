//! The cursor: which rows are delivered again, and which are not.
//!
//! Over restarts, late rows, platforms that prune rows or lack `since_id`, and files that cannot be read or written.

use std::fs;
use std::time::Duration;

use a2a_blocking::{ErrorKind, InboxPoller, Verdict};
use serde_json::{Value, json};

use crate::poll::{drain, fast_poller, logged, saved};
use crate::support::platform::{Platform, SECOND, id, param};
use crate::support::{self, Dir, PEER, Reaction, Server, WORKSPACE};

pub(crate) fn numbered(range: std::ops::Range<i64>) -> Vec<String> {
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
    drop(poller);
    // The oldest row is the anchor, and the cursor has all rows since: others may still be committed among them.
    let unsettled = saved(&file);
    assert_eq!((&unsettled["workspace"], &unsettled["anchor"][0]), (&WORKSPACE.into(), &id(1).into()));
    let acked: Vec<&Value> = unsettled["acked"].as_array().unwrap().iter().map(|mark| &mark[0]).collect();
    assert_eq!(acked, (1..=23).map(|n| Value::from(id(n))).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(unsettled["tries"], json!({}));
    // Once they are settled, the newest one is the anchor, and none is remembered.
    let mut poller = fast_poller(&server, &file).late(Duration::ZERO).build().unwrap();
    assert!(drain(&mut poller).is_empty());
    let settled = saved(&file);
    assert_eq!((&settled["anchor"][0], &settled["acked"]), (&id(23).into(), &json!([])));
    platform.fill(123, 1, PEER);
    assert_eq!(drain(&mut poller), numbered(123..124));
    assert!(platform.state().polls.iter().any(|poll| param(poll, "since_id") == Some(id(23))));
    drop(poller);
    assert!(drain(&mut fast_poller(&server, &file).build().unwrap()).is_empty());
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
        assert_eq!((&saved["anchor"][0], &saved["anchor"][3]), (&json!(ids[0]), &json!("open")));
        let acked = saved["acked"].as_array().unwrap();
        let is_acked = |id: &String| acked.iter().any(|mark| mark[0] == **id);
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(is_acked(id), n < acked_rows, "{n}: {saved}");
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

/// A poller that starts lists everything that is not settled, however late a row is by its own time.
#[test]
fn late_rows_are_delivered_once() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-late"));
    let (server, file) = (platform.serve(), dir.file("c"));
    let start = || fast_poller(&server, &file).build().unwrap();
    let mut poller = start();
    platform.add(100 * SECOND, PEER, "first");
    assert_eq!(drain(&mut poller), ["first"]);
    // A row before the first one: the oldest row of the inbox is no end.
    platform.add(96 * SECOND, PEER, "late");
    drop(poller);
    poller = start();
    assert_eq!(drain(&mut poller), ["late"]);
    for n in 1..100 {
        let newest = (100 + n) * SECOND;
        platform.add(newest, PEER, &format!("row {n}"));
        assert_eq!(drain(&mut poller), [format!("row {n}")]);
        if n % 3 == 0 {
            platform.add(newest - 5 * SECOND, PEER, &format!("five late {n}"));
            platform.add(newest - 5 * SECOND, PEER, &format!("as late {n}"));
            platform.add(60 * SECOND + n, PEER, &format!("very late {n}"));
            platform.add(newest - 1, PEER, &format!("just late {n}"));
            platform.add(newest, PEER, &format!("tied {n}"));
            drop(poller);
            poller = start();
            let mut found = drain(&mut poller);
            found.sort();
            let expected = ["as late", "five late", "just late", "tied", "very late"];
            assert_eq!(found, expected.map(|word| format!("{word} {n}")));
        }
        assert!(drain(&mut poller).is_empty());
    }
}

/// Late rows on earlier pages are found while the pages are full: by the head, and at last by the tail.
#[test]
fn late_rows_are_found_on_earlier_pages() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-load"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.add(0, PEER, "start");
    platform.add(10 * SECOND, PEER, "start");
    let mut poller = fast_poller(&server, &file).page_size(10).build().unwrap();
    drain(&mut poller);
    // A late row is some five pages before the newest one.
    let mut at = 20 * SECOND;
    let (mut added, mut seen) = (Vec::new(), Vec::new());
    let mut poll = |poller: &mut InboxPoller| {
        let polled = poller.poll_once(|message| {
            seen.push(message.activity_id().to_owned());
            Verdict::Ack
        });
        polled.unwrap().has_more
    };
    for n in 0..1_500 {
        at += SECOND / 10;
        let late = if n % 4 == 3 { 49 * SECOND / 10 } else { 0 };
        added.push(platform.add(at - late, PEER, "x"));
        if n % 6 == 0 {
            poll(&mut poller);
        }
    }
    while poll(&mut poller) {}
    drop(poller);
    // They are too many bytes to be listed to the end. What is settled is listed once more before the anchor moves there.
    let mut poller = fast_poller(&server, &file).late(Duration::ZERO).build().unwrap();
    while poll(&mut poller) {}
    assert_eq!(saved(&file)["acked"].as_array().unwrap().len(), 0, "all are settled");
    assert_eq!(seen.len(), added.len(), "none is missing or repeated");
    added.sort();
    seen.sort();
    assert_eq!(seen, added);
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

/// Another user may put a link or a pipe there, as in `/tmp`: a link would make us write to its target, and a pipe would
/// make the poller wait for a reader.
#[cfg(unix)]
#[test]
fn links_and_pipes_beside_the_cursor_are_not_followed() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-evil"));
    let (server, victim) = (platform.serve(), dir.file("victim"));
    platform.fill(1, 3, PEER);
    fs::write(&victim, "precious").unwrap();
    let make_pipe = |path: &std::path::Path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    for (n, suffix) in ["new", "acked", "synced", "unreadable"].into_iter().enumerate() {
        let files = [dir.file(&format!("link-{n}")), dir.file(&format!("pipe-{n}"))];
        std::os::unix::fs::symlink(&victim, format!("{}.{suffix}", files[0].display())).unwrap();
        make_pipe(format!("{}.{suffix}", files[1].display()).as_ref());
        for file in files {
            let poller = fast_poller(&server, &file).spawn(|_| Verdict::Ack).unwrap();
            support::eventually("all are acked", || {
                saved_if_any(&file).is_some_and(|saved| saved["acked"][2] != Value::Null)
            });
            poller.stop();
            assert!(drain(&mut fast_poller(&server, &file).build().unwrap()).is_empty());
        }
    }
    for suffix in ["", ".lock"] {
        let file = dir.file("refused");
        let place: std::path::PathBuf = format!("{}{suffix}", file.display()).into();
        std::os::unix::fs::symlink(&victim, &place).unwrap();
        let refused = fast_poller(&server, &file).build().unwrap_err();
        assert!(refused.kind() == ErrorKind::Config && refused.to_string().contains("no plain file"), "{refused}");
        fs::remove_file(&place).unwrap();
        make_pipe(&place);
        let refused = fast_poller(&server, &file).build().unwrap_err();
        assert!(refused.kind() == ErrorKind::Config && refused.to_string().contains("no plain file"), "{refused}");
        fs::remove_file(&place).unwrap();
    }
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

/// Reads the cursor file, if there is one yet.
fn saved_if_any(file: &std::path::Path) -> Option<Value> {
    file.exists().then(|| saved(file))
}

#[test]
fn end_that_was_not_written_whole_is_logged_and_comes_again() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-torn"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(1, 3, PEER);
    drain(&mut fast_poller(&server, &file).build().unwrap());
    let whole = fs::read_to_string(&file).unwrap();
    let last = whole.find("\n").unwrap() + 1;
    let torn = &whole[..whole.len() - 3];
    fs::write(&file, torn).unwrap();
    let good = torn.rfind('\n').unwrap() + 1;
    assert!(good > last);
    let mut poller = fast_poller(&server, &file).build().unwrap();
    let words = format!("{} bytes, from byte {good} to its end", torn.len() - good);
    assert_eq!(logged(&["WARN", "cursor-torn", &words]), 1);
    drain(&mut poller);
    drop(poller);
    assert!(drain(&mut fast_poller(&server, &file).build().unwrap()).is_empty());
    assert_eq!(logged(&["WARN", "cursor-torn"]), 1, "the end is gone");
}

#[test]
fn cursor_of_a_newer_release_is_refused() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-newer"));
    let (server, file) = (platform.serve(), dir.file("c"));
    // Its checksum is right.
    let text = "13 4306f8b1 {\"version\":3}\n";
    fs::write(&file, text).unwrap();
    let refused = fast_poller(&server, &file).build().unwrap_err();
    assert!(refused.kind() == ErrorKind::Config && refused.to_string().contains("it has version 3"), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

/// A poller that answers would answer the same messages at each start.
#[test]
fn required_cursor_that_cannot_be_written_is_refused_before_the_first_message() {
    let (platform, dir) = (Platform::new(), Dir::new("cursor-required"));
    let (server, file) = (platform.serve(), dir.file("c"));
    platform.fill(1, 3, PEER);
    // Nobody can unlink a directory, root included.
    fs::create_dir(dir.file("c.new")).unwrap();
    for _ in 0..3 {
        let refused = fast_poller(&server, &file).require_cursor(true).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("cannot be written ("), "{refused}");
        assert!(fast_poller(&server, &file).require_cursor(true).spawn(|_| panic!("no message")).is_err());
    }
    assert!(platform.state().polls.is_empty() && !file.exists());
    fs::remove_dir(dir.file("c.new")).unwrap();
    let mut poller = fast_poller(&server, &file).require_cursor(true).build().unwrap();
    assert!(file.exists());
    assert_eq!(drain(&mut poller).len(), 3);
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
