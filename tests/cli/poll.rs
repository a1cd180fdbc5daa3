//! Tests of `poll`.

use std::process::Stdio;

use a2a_blocking::{InboxMessage, InboxPoller, Verdict};

#[cfg(unix)]
use crate::interrupt;
use crate::schema::documents;
use crate::support::{self, Act, PEER, Server, WORKSPACE};
use crate::{CliOutput, command_line, decode, run};

/// Returns a platform whose inbox has a message of a peer and one of the human, and a directory for cursors.
fn inbox() -> (support::platform::Platform, Server, support::Dir) {
    let platform = support::platform::Platform::new();
    platform.add(1_000_000, PEER, "disk is full\nand \u{1b}[2Jmore");
    platform.add_row(2_000_000, serde_json::json!({ "summary": "hello" }));
    let server = platform.serve();
    static DIRS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let n = DIRS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    (platform, server, support::Dir::new(&format!("cli-inbox-{n}")))
}

#[test]
fn poll_prints_each_message_once_and_answers_it() {
    let (platform, server, dir) = inbox();
    let cursor = dir.file("cursor");
    let base =
        ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--once", "--cursor", cursor.to_str().unwrap()];
    let CliOutput { code, out, err } = run(&[&base[..], &["--reply-with", "on it"]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let expected = format!(
        "2026-05-01T00:00:01.000000Z  {PEER}: disk is full\n    and \\u{{1b}}[2Jmore\n2026-05-01T00:00:02.000000Z  the human: hello\n"
    );
    assert_eq!(out, expected);
    let state = platform.state();
    assert_eq!((state.notices.as_slice(), state.messages.len()), (&["on it".to_owned()][..], 1));
    drop(state);
    platform.add(3_000_000, PEER, "again");
    let CliOutput { code, out, .. } = run(&[&base[..], &["--json"]].concat());
    let lines = documents("poll", &out);
    assert_eq!((code, lines.len(), &lines[0]["text"], &lines[0]["peer"]), (Some(0), 1, &"again".into(), &PEER.into()));
    assert_eq!((&lines[0]["kind"], &lines[0]["row"]["source_id"]), (&"peer".into(), &PEER.into()));
    for bad in [
        &["--interval", "0"][..],
        &["--interval", "x"],
        &["--cursor", "/nonexistent/c"],
        &["--reply-with", ""],
        &["--reply-with", " \n"],
    ] {
        let url = server.url();
        let args = [&["--platform", &url, "--workspace", WORKSPACE, "poll"][..], bad].concat();
        assert_eq!(run(&args).code, Some(2), "{bad:?}");
    }
}

/// Two of them would answer each other for ever.
#[test]
fn reply_is_printed_and_not_answered() {
    let (platform, server, dir) = inbox();
    let message = serde_json::json!({ "role": "agent", "parts": [{ "text": "on it, too" }] });
    let body = serde_json::json!({ "params": { "message": message } });
    platform.add_row(3_000_000, serde_json::json!({ "source_id": PEER, "request_body": body }));
    let (url, cursor) = (server.url(), dir.file("cursor"));
    let args = ["--platform", &url, "--workspace", WORKSPACE, "poll", "--once", "--cursor", cursor.to_str().unwrap()];
    let CliOutput { code, out, err } = run(&[&args[..], &["--reply-with", "on it"]].concat());
    assert_eq!((code, err.as_str(), out.matches("on it, too").count()), (Some(0), "", 1));
    let state = platform.state();
    assert_eq!((state.notices.len(), state.messages.len()), (1, 1), "the human and the peer's first message only");
}

/// An empty answer is refused before a message is read: else the messages would be acked without an answer.
#[test]
fn empty_reply_consumes_no_message() {
    let (_platform, server, dir) = inbox();
    let cursor = dir.file("cursor");
    let args =
        ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--once", "--cursor", cursor.to_str().unwrap()];
    let refused = run(&[&args[..], &["--reply-with", "", "--json"]].concat());
    let error = &documents("poll", &refused.out)[0]["error"];
    assert_eq!((refused.code, &error["kind"]), (Some(2), &"usage".into()));
    assert_eq!(server.requests().len(), 0);
    assert_eq!(run(&args).out.lines().count(), 3);
}

#[test]
fn poll_notes_a_reply_that_the_peer_did_not_take() {
    for (state, is_taken) in [
        ("completed", true),
        ("input-required", true),
        ("failed", false),
        ("rejected", false),
        ("canceled", false),
        ("auth-required", false),
        ("TASK_STATE_FAILED", false),
    ] {
        let (platform, _server, dir) = inbox();
        let status = format!(r#"{{"state":"{state}","message":{{"parts":[{{"text":"quota\nexceeded"}}]}}}}"#);
        let task = format!(r#"{{"result":{{"id":"t","status":{status}}}}}"#);
        let answered = platform.clone();
        let server = Server::decide(move |_, request| match request.path.ends_with("/a2a") {
            true => Act::reply(200, &task),
            false => answered.answer(request),
        });
        let cursor = dir.file("cursor");
        let args = [
            "--platform",
            &server.url(),
            "--workspace",
            WORKSPACE,
            "poll",
            "--once",
            "--cursor",
            cursor.to_str().unwrap(),
        ];
        let CliOutput { code, err, .. } = run(&[&args[..], &["--reply-with", "on it"]].concat());
        assert_eq!(code, Some(0));
        let shown = state.trim_start_matches("TASK_STATE_").to_lowercase();
        let id = support::platform::id(1);
        let note =
            format!("a2a-peer: reply to message {id}: delivered, but the peer's task is {shown}: quota\\nexceeded\n");
        let logged = format!("inbox: the reply to \"{id}\" was delivered, but the peer's task is {shown}\n");
        assert_eq!((err.contains(&note), err.contains(&logged)), (!is_taken, !is_taken), "{state}: {err}");
        assert_eq!(err.is_empty(), is_taken, "{err}");
        assert_eq!(run(&args).out, "", "it is acked: the peer has the reply");
    }
}

/// On some platforms a message that is sent again makes another row.
#[test]
fn repeated_message_is_shown_once_with_its_ids() {
    let (platform, dir) = (support::platform::Platform::new(), support::Dir::new("cli-ids"));
    let message =
        serde_json::json!({ "messageId": "m-1", "contextId": "c-7", "parts": [{ "text": "restart node 7" }] });
    for at in 1..=3 {
        let body = serde_json::json!({ "params": { "message": message } });
        platform.add_row(at * 1_000_000, serde_json::json!({ "source_id": PEER, "request_body": body }));
    }
    platform.add_row(4_000_000, serde_json::json!({ "summary": "hello" }));
    let (server, cursor) = (platform.serve(), dir.file("cursor"));
    let args = ["--json", "--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--once", "--cursor"];
    let lines = documents("poll", &run(&[&args[..], &[cursor.to_str().unwrap()]].concat()).out);
    let ids = |field: &str| lines.iter().map(|line| line[field].as_str()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!((lines.len(), ids("activity_id").len()), (2, 2), "three rows of one message, and one without an id");
    assert_eq!((ids("message_id"), ids("context_id")), ([None, Some("m-1")].into(), [None, Some("c-7")].into()));
    assert_eq!(ids("task_id"), [None].into());
}

#[test]
fn poll_counts_files_and_data_beside_the_text() {
    let (platform, dir) = (support::platform::Platform::new(), support::Dir::new("cli-beside"));
    for (at, parts) in [
        (1, serde_json::json!([{ "text": "see" }, { "raw": "aGk=" }, { "data": 1 }, { "data": 2 }])),
        (2, serde_json::json!([{ "data": { "ticket": 4211 } }])),
    ] {
        let body = serde_json::json!({ "params": { "message": { "parts": parts } } });
        platform.add_row(at * 1_000_000, serde_json::json!({ "source_id": PEER, "request_body": body }));
    }
    let (server, cursor) = (platform.serve(), dir.file("cursor"));
    let args =
        ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--once", "--cursor", cursor.to_str().unwrap()];
    let out = run(&args).out;
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].ends_with(&format!("{PEER}: [+1 files, +2 data] see")), "{out}");
    assert!(lines[1].ends_with(&format!("{PEER}: [+1 data] [data]")), "{out}");
}

/// The message already says what to do. Advice on tokens would be about another setting.
#[test]
fn cursor_that_is_the_token_file_is_refused_without_advice_on_tokens() {
    let (_platform, server, dir) = inbox();
    let token = dir.file("tok");
    std::fs::write(&token, "secret").unwrap();
    let (url, token) = (server.url(), token.to_str().unwrap());
    let args =
        ["--json", "--platform", &url, "--workspace", WORKSPACE, "--token-file", token, "poll", "--cursor", token];
    let CliOutput { code, out, .. } = run(&args);
    let error = &documents("poll", &out)[0]["error"];
    assert!(code == Some(2) && error["message"].as_str().unwrap().contains("is the token file"), "{code:?} {out}");
    assert_eq!(error["next"], serde_json::Value::Null);
}

/// The next run prints the messages that this one could not print.
#[cfg(unix)]
#[test]
fn unprinted_message_is_not_acked() {
    let (_platform, server, dir) = inbox();
    let cursor = dir.file("cursor");
    let args =
        ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--once", "--cursor", cursor.to_str().unwrap()];
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let CliOutput { code, err, .. } = decode(command_line(&args).stdout(full).output().unwrap());
    assert!(code == Some(1) && err.contains("cannot write the output"), "{code:?} {err}");
    assert_eq!(run(&args).out.lines().count(), 3);
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_a_removed_workspace_end_poll_with_their_status() {
    use std::io::{BufRead, BufReader};
    let (_platform, server, dir) = inbox();
    let cursor = dir.file("cursor");
    let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--cursor", cursor.to_str().unwrap()];
    let mut child = command_line(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!((0..3).all(|_| out.next().unwrap().is_ok()), "both messages");
    interrupt(&child);
    let ended = decode(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(run(&[&args[..], &["--once"]].concat()).out, "", "the cursor remembers");

    let gone = Server::play([Act::reply(410, r#"{"error":"removed","id":"w","hint":"make another"}"#)]);
    let args = ["--platform", &gone.url(), "--workspace", WORKSPACE, "poll", "--cursor", cursor.to_str().unwrap()];
    let CliOutput { code, out, err } = run(&[&args[..], &["--json"]].concat());
    let error = &documents("poll", &out)[0]["error"];
    assert_eq!((&error["kind"], &error["status"], &error["exit"]), (&"removed".into(), &410.into(), &7.into()));
    assert!(code == Some(7) && err.contains("the workspace was removed: make another"), "{code:?} {err}");
}

/// The platform answers 401 to each of them.
#[test]
fn removed_workspace_ends_each_command_with_status_7() {
    let (platform, dir) = (a2a_blocking::testing::Platform::start().unwrap(), support::Dir::new("cli-removed"));
    let ops = platform.workspace("ops");
    let (token, cursor) = (dir.file("token"), dir.file("cursor"));
    std::fs::write(&token, ops.token().unwrap()).unwrap();
    ops.remove();
    let (url, token, cursor) = (platform.url(), token.to_str().unwrap(), cursor.to_str().unwrap());
    for args in
        [&["poll", "--cursor", cursor][..], &["poll", "--cursor", cursor, "--once"], &["send", PEER, "text"], &["info"]]
    {
        let base = ["--json", "--platform", &url, "--workspace", ops.id(), "--token-file", token];
        let CliOutput { code, out, err } = run(&[&base[..], args].concat());
        let error = &documents(args[0], &out)[0]["error"];
        assert_eq!((&error["kind"], &error["exit"]), (&"removed".into(), &7.into()), "{args:?}: {out}");
        assert!(code == Some(7) && err.contains("Create a replacement workspace"), "{args:?}: {code:?} {err}");
    }
}

/// The message whose reply was cut off is printed again by the next run.
#[cfg(unix)]
#[test]
fn ctrl_c_does_not_wait_for_a_silent_peer_or_platform() {
    use std::io::{BufRead, BufReader};
    use std::sync::mpsc;
    let (platform, _server, dir) = inbox();
    let (reached, at_server) = mpsc::channel();
    let server = Server::decide(move |_, request| {
        let silent = request.path.ends_with("/a2a");
        if silent {
            reached.send(()).unwrap();
        }
        if silent { Act::Hang } else { platform.answer(request) }
    });
    let cursor = dir.file("cursor");
    let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--cursor", cursor.to_str().unwrap()];
    let mut child = command_line(&[&args[..], &["--reply-with", "on it"]].concat());
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    at_server.recv_timeout(support::SOON).unwrap();
    interrupt(&child);
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(err.next().unwrap().unwrap().ends_with("a reply is in progress and has 5 s; Ctrl-C again ends it now"));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let again = run(&[&args[..], &["--once"]].concat()).out;
    assert!(again.contains("disk is full") && again.contains("the human"), "{again}");

    let (reached, at_server) = mpsc::channel();
    let silent = Server::decide(move |_, _| {
        reached.send(()).unwrap();
        Act::Hang
    });
    let args = ["--platform", &silent.url(), "--workspace", WORKSPACE, "poll", "--cursor", cursor.to_str().unwrap()];
    let child = command_line(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    at_server.recv_timeout(support::SOON).unwrap();
    interrupt(&child);
    let CliOutput { code, out, err } = decode(child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
}

#[cfg(unix)]
#[test]
fn reader_that_leaves_ends_poll_quietly() {
    use std::io::{BufRead, BufReader};
    let (platform, server, dir) = inbox();
    let cursor = dir.file("cursor");
    let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--cursor", cursor.to_str().unwrap()];
    let mut child = command_line(&[&args[..], &["--interval", "0.02"]].concat());
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!((0..3).all(|_| out.next().unwrap().is_ok()), "both messages");
    drop(out);
    platform.add(3_000_000, PEER, "nobody reads this");
    let ended = decode(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(run(&[&args[..], &["--once"]].concat()).out.contains("nobody reads this"), "it was not acked");
}

/// Nobody reads the output, so that the first Ctrl-C cannot end the callback that writes it.
#[cfg(unix)]
#[test]
fn second_ctrl_c_ends_poll_while_output_is_blocked() {
    use std::io::Read;
    let (platform, server, dir) = inbox();
    platform.add(3_000_000, PEER, &"more than a pipe holds ".repeat(50_000));
    let cursor = dir.file("cursor");
    let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--cursor", cursor.to_str().unwrap()];
    let mut child = command_line(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    // Reads into the long message: between two messages the first Ctrl-C would end the poll.
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"more than a pipe holds") {
        out.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    let mut code = None;
    support::eventually("the second Ctrl-C ends it", || {
        interrupt(&child);
        code = child.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    });
    assert_eq!(code, Some(Some(130)));
}

/// `poll` does not share its cursor file, and sends no heartbeat.
#[test]
fn poll_takes_no_message_from_the_users_own_program() {
    let (platform, server, dir) = inbox();
    let token = dir.file("token");
    std::fs::write(&token, "hush").unwrap();
    let args = [
        "--platform",
        &server.url(),
        "--workspace",
        WORKSPACE,
        "--token-file",
        token.to_str().unwrap(),
        "poll",
        "--once",
    ];
    assert_eq!(run(&args).out.lines().count(), 3);
    assert_eq!(run(&args).out, "", "the cursor remembers");
    assert!(dir.file(&format!("a2a-peer-cursor-{WORKSPACE}.json")).is_file());

    let client = support::builder(&server).token_file(&token).build().unwrap();
    let mut program = InboxPoller::builder(client).build().unwrap();
    let mut got = Vec::new();
    let callback = |message: &InboxMessage| {
        got.push(message.text().to_owned());
        Verdict::Ack
    };
    assert!(!program.poll_once(callback).unwrap().has_more);
    assert_eq!(got, ["disk is full\nand \u{1b}[2Jmore", "hello"]);
    // The poller of the program still holds the lock of its cursor file.
    assert_eq!(run(&args).code, Some(0));
    assert_eq!(platform.state().heartbeats, Vec::<serde_json::Value>::new());
}

/// What was only printed is still to be handled by the user's own program, which may have lost its cursor.
#[test]
fn poll_acknowledges_only_what_it_answers() {
    let (platform, dir) = (a2a_blocking::testing::Platform::start().unwrap(), support::Dir::new("cli-acks"));
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let (url, token) = (platform.url(), dir.file("token"));
    std::fs::write(&token, ops.token().unwrap()).unwrap();
    for (n, options, mode) in [(0, &[][..], "queued_backlog"), (1, &["--reply-with", "on it"], "acked_seq")] {
        platform.send(&dev, &ops, &format!("message {n}")).unwrap();
        let cursor = dir.file(&format!("cursor-{n}"));
        let base = ["--platform", &url, "--workspace", ops.id(), "--token-file", token.to_str().unwrap()];
        let poll = ["poll", "--once", "--cursor", cursor.to_str().unwrap()];
        let CliOutput { code, err, .. } = run(&[&base[..], &poll, options].concat());
        assert_eq!(code, Some(0), "{err}");
        // A workspace that has never acknowledged anything is in the other mode.
        let request = ureq::get(format!("{url}/workspaces/{}/mail/summary", ops.id()));
        let request = request.header("Authorization", format!("Bearer {}", ops.token().unwrap()));
        let summary = request.call().unwrap().body_mut().read_to_string().unwrap();
        assert!(summary.contains(&format!(r#""mode":"{mode}""#)), "{options:?}: {summary}");
    }
}

#[cfg(unix)]
#[test]
fn heartbeat_is_sent_only_when_asked_for() {
    for (options, has_heartbeat) in [(&[][..], false), (&["--heartbeat"], true), (&["--reply-with", "on it"], true)] {
        let (platform, server, dir) = inbox();
        let cursor = dir.file("cursor");
        let base = ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--interval", "0.02", "--cursor"];
        let mut child = command_line(&[&base[..], &[cursor.to_str().unwrap()], options].concat());
        let child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        support::eventually("it polls, and sends heartbeats if it should", || {
            let state = platform.state();
            state.polls.len() > 20 && (!has_heartbeat || !state.heartbeats.is_empty())
        });
        interrupt(&child);
        let ended = decode(child.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert_eq!(platform.state().heartbeats.is_empty(), !has_heartbeat, "{options:?}");
    }
    // A single poll ends before a heartbeat is due.
    let CliOutput { code, err, .. } = run(&["--workspace", "w", "poll", "--once", "--heartbeat"]);
    assert!(code == Some(2) && err.contains("cannot be used with"), "{code:?} {err}");
}

/// A wrong token is said at once, although the poll goes on, and so is the end of it.
#[cfg(unix)]
#[test]
fn failed_polls_are_logged_and_counted_at_the_end() {
    use std::io::{BufRead, BufReader};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    let (platform, _server, dir) = inbox();
    let (refuses, cursor) = (Arc::new(AtomicBool::new(true)), dir.file("cursor"));
    let switch = refuses.clone();
    let server = Server::decide(move |_, request| match switch.load(SeqCst) {
        true => Act::reply(401, r#"{"error":"invalid workspace auth token"}"#),
        false => platform.answer(request),
    });
    let url = server.url();
    let args = ["--platform", &url, "--workspace", WORKSPACE, "poll", "--interval", "0.01", "--cursor"];
    let mut child = command_line(&[&args[..], &[cursor.to_str().unwrap()]].concat());
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = err.next().unwrap().unwrap();
    assert!(line.contains("ERROR") && line.contains("nothing is delivered") && line.contains("401"), "{line}");
    refuses.store(false, SeqCst);
    let line = err.next().unwrap().unwrap();
    assert!(line.contains("answers again, after"), "{line}");
    interrupt(&child);
    let line = err.next().unwrap().unwrap();
    assert!(line.contains(" polls failed, the last one so: GET") && line.contains("401"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(err.next().is_none());
}
