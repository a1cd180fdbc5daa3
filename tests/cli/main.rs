//! The binary, as a user runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{Act, PEER, RECORD, Server, WORKSPACE};

const OTHER: &str = "deadbeef-0000-4000-8000-000000000404";

fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_a2a-peer"));
    for name in ["PLATFORM_URL", "WORKSPACE_ID", "MOLECULE_ORG_ID", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.args(args).env("CONFIGS_DIR", "/nonexistent").stdin(Stdio::null());
    command
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(args: &[&str]) -> Said {
    said(binary(args).output().unwrap())
}

/// A registry that knows [`PEER`] only.
fn registry() -> Server {
    Server::decide(|_, request| match request.path.ends_with(PEER) {
        true => Act::reply(200, RECORD),
        false => Act::reply(404, r#"{"error":"workspace not found"}"#),
    })
}

#[test]
fn enrich_prints_a_table_and_tells_by_its_status_whether_all_are_known() {
    let server = registry();
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE];
    let Said { code, out, err } = run(&[&base[..], &["enrich", PEER, &PEER.to_uppercase()]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            vec!["ID", "NAME", "ROLE", "STATUS"],
            vec![PEER, "ops-agent", "sre", "online"],
            vec![PEER, "ops-agent", "sre", "online"]
        ]
    );
    assert_eq!(server.requests().len(), 1, "the second is a hit");

    let Said { code, out, err } = run(&[&base[..], &["enrich", PEER, OTHER]].concat());
    assert_eq!(code, Some(1));
    assert_eq!(out.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(), [OTHER, "-", "-", "-"]);
    assert_eq!(
        err,
        format!("a2a-peer: {OTHER}: no record: the registry does not know it, or does not show it to this workspace\n")
    );
}

#[test]
fn enrich_with_json_prints_an_object_a_line() {
    let server = registry();
    let Said { code, out, .. } = said(
        binary(&["enrich", "--json", PEER, OTHER])
            .env("PLATFORM_URL", server.url())
            .env("WORKSPACE_ID", WORKSPACE)
            .output()
            .unwrap(),
    );
    assert_eq!(code, Some(1));
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["peer"], PEER);
    assert_eq!(lines[0]["record"], serde_json::from_str::<Value>(RECORD).unwrap());
    assert!(lines[0]["ms"].as_f64().unwrap() > 0.0);
    assert_eq!((&lines[1]["peer"], &lines[1]["record"]), (&Value::from(OTHER), &Value::Null));
    assert_eq!(lines[0].as_object().unwrap().len(), 3);
}

#[test]
fn discover_shows_the_record_or_the_typed_error() {
    let server = registry();
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE, "discover"];
    let Said { code, out, .. } = run(&[&base[..], &[PEER]].concat());
    assert_eq!(code, Some(0));
    assert!(out.contains("ops-agent"));
    let Said { code, out, err } = run(&[&base[..], &[OTHER]].concat());
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let target = format!("GET {}/registry/discover/{OTHER}", server.url());
    assert_eq!(err, format!("a2a-peer: {target}: answered 404 (workspace not found)\n"));
    let Said { code, out, .. } = run(&[&base[..], &[OTHER, "--json"]].concat());
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(
        (&line["record"], &line["error"]["kind"], &line["error"]["status"]),
        (&Value::Null, &"Absent".into(), &404.into())
    );
}

#[test]
fn the_token_file_is_used_and_verbose_says_why_without_showing_it() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-token-{}", std::process::id()));
    std::fs::write(&file, "hush-hush\n").unwrap();
    let server = Server::play([Act::reply(401, "{}")]);
    let args = [
        "--platform",
        &server.url(),
        "--workspace",
        WORKSPACE,
        "--token-file",
        file.to_str().unwrap(),
        "-v",
        "enrich",
        PEER,
    ];
    for level in [None, Some("trace")] {
        let mut command = binary(&args);
        if let Some(level) = level {
            command.env("RUST_LOG", level);
        }
        let Said { code, out, err } = said(command.output().unwrap());
        assert_eq!(code, Some(1));
        assert!(err.contains("answered 401; the token was refused"), "{err}");
        assert!(!err.contains("hush") && !out.contains("hush"), "{err}");
        assert!(!err.contains("6875 7368"), "not in hexadecimal either: {err}");
    }
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer hush-hush"));
}

#[test]
fn bad_usage_is_2_and_says_what_to_do() {
    for (args, why) in [
        (&["enrich"][..], "<PEER>"),
        (&["enrich", "../../foo"], r#"not a peer id: "../../foo" (it takes 8-4-4-4-12 hex digits"#),
        (&["discover", PEER], "WORKSPACE_ID: not set"),
        (&["--workspace", "a b", "discover", PEER], "workspace_id: \"a b\" has ' '"),
        (
            &["--workspace", "w", "--platform", "localhost", "discover", PEER],
            "has no scheme; for example http://localhost:8080",
        ),
        (&["--platform", "http://h", "demo"], "demo brings its own platform"),
        (&["--workspace", "w", "--token-file", "/nonexistent/t", "poll"], "is in no directory that is there"),
        (&["--workspace", "w", "--token-file", "/", "discover", PEER], "the token file / cannot be read"),
        (&["--token", "secret", "demo"], "unexpected argument '--token'"),
        (&[], "Usage"),
    ] {
        let Said { code, out, err } = run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(why), "{args:?}: {err}");
    }
}

#[test]
fn help_names_every_command_and_its_exit_status() {
    let Said { code, out, .. } = run(&["--help"]);
    assert_eq!(code, Some(0));
    for word in [
        "enrich",
        "discover",
        "poll",
        "demo",
        "--platform",
        "--workspace",
        "--token-file",
        "--json",
        "WORKSPACE_ID",
        "Exit status",
    ] {
        assert!(out.contains(word), "{word} is not in\n{out}");
    }
}

#[test]
fn a_hostile_name_cannot_move_the_cursor() {
    let server = Server::play([Act::reply(200, r#"{"name":"\u001b[2Jroot\n\u202egpj","role":"\u009b31m"}"#)]);
    let Said { out, .. } = run(&["--platform", &server.url(), "--workspace", "w", "enrich", PEER]);
    assert!(out.contains(r"\u{1b}[2Jroot\n\u{202e}gpj") && out.contains(r"\u{9b}31m"), "{out}");
    assert_eq!(out.lines().count(), 2);
    let Said { out, .. } = run(&["--platform", &server.url(), "--workspace", "w", "enrich", PEER, "--json"]);
    assert!(out.contains(r"\u202egpj") && out.contains(r"\u009b31m") && !out.contains('\u{9b}'), "{out}");
}

/// Whoever closes our output does not change what came of the message.
#[cfg(unix)]
#[test]
fn a_send_whose_answer_cannot_be_printed_says_that_it_was_delivered() {
    let ok = Act::reply(200, r#"{"result":{"parts":[{"text":"hi"}]}}"#);
    let server = Server::play([ok, Act::reply(202, "")]);
    let args = ["--platform", &server.url(), "--workspace", "w", "--json", "send", PEER, "hello"];
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let Said { code, err, .. } = said(binary(&args).stdout(full()).output().unwrap());
    assert!(code == Some(0) && err.contains("delivered, but the answer cannot be written"), "{code:?} {err}");
    let mut child = binary(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn peers_and_info_show_what_the_platform_lists() {
    let server = Server::decide(|_, request| match request.path.as_str() {
        path if path.ends_with("/peers") => {
            Act::reply(200, format!(r#"[{RECORD},7,{{"name":"no id","status":"offline"}}]"#))
        }
        _ => Act::reply(200, r#"{"id":"w","name":"mine","tier":3}"#),
    });
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE];
    let Said { code, out, err } = run(&[&base[..], &["peers"]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1..], [vec![PEER, "ops-agent", "sre", "online"], vec!["-", "no", "id", "-", "offline"]]);
    let Said { out, .. } = run(&[&base[..], &["peers", "--json"]].concat());
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["peer"], &lines[1]["peer"]), (2, &PEER.into(), &Value::Null));
    assert_eq!(lines[0]["record"]["name"], "ops-agent");

    let Said { code, out, .. } = run(&[&base[..], &["info"]].concat());
    assert_eq!(code, Some(0));
    assert!(out.contains("name                  mine\n") && out.contains("tier                  3\n"), "{out}");
    let Said { out, .. } = run(&[&base[..], &["info", "--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["name"], "mine");

    let gone = Server::play([Act::reply(410, "{}"), Act::reply(404, "{}")]);
    let base = ["--platform", &gone.url(), "--workspace", WORKSPACE];
    let Said { code, err, .. } = run(&[&base[..], &["info"]].concat());
    assert!(code == Some(1) && err.contains("was removed: Workspace was deleted on the platform."), "{err}");
    let Said { code, err, .. } = run(&[&base[..], &["peers"]].concat());
    assert!(code == Some(1) && err.contains("is not registered with the platform (HTTP 404)"), "{err}");
}

#[test]
fn send_prints_the_reply_and_tells_by_its_status_what_came_of_it() {
    let reply =
        |text: &str| Act::reply(200, format!(r#"{{"result":{{"parts":[{{"kind":"text","text":"{text}"}}]}}}}"#));
    let server = Server::play([
        reply("grüße\\nline two"),
        reply("again"),
        Act::reply(202, r#"{"queued":true,"queue_id":"q-7"}"#),
        Act::reply(403, r#"{"error":"not your peer"}"#),
        Act::reply(200, r#"{"result":{"status":{"state":"failed","message":{"parts":[{"text":"no disk"}]}}}}"#),
    ]);
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE, "send", PEER];
    let with = |rest: &[&str]| run(&[&base[..], rest].concat());

    let Said { code, out, err } = with(&["hello", "--context", "c-7", "--attempts", "1", "--timeout", "20"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "grüße\nline two\n", ""));
    let sent: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    let message = &sent["params"]["message"];
    assert_eq!((&message["parts"][0]["text"], &message["contextId"]), (&"hello".into(), &"c-7".into()));

    let Said { code, out, .. } = with(&["hello", "--json"]);
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &line["text"], &line["peer"]), (Some(0), &"again".into(), &PEER.into()));
    assert_eq!(line["reply"]["result"]["parts"][0]["kind"], "text");

    let Said { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert_eq!(err, "a2a-peer: queued, queue id q-7: the platform delivers it later\n");

    let Said { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.starts_with("a2a-peer: not delivered: POST ") && err.ends_with("/a2a: not your peer (HTTP 403)\n"),
        "{err}"
    );

    let Said { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "no disk\n", "a2a-peer: the task is failed\n"));

    for bad in [&["hello", "--attempts", "0"][..], &["hello", "--timeout", "0"], &[]] {
        assert_eq!(with(bad).code, Some(2));
    }
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn send_reads_the_text_from_standard_input() {
    use std::io::Write;
    let server = Server::play([Act::reply(200, r#"{"result":{"parts":[]}}"#)]);
    let mut child = binary(&["--platform", &server.url(), "--workspace", "w", "send", PEER, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all("two\nlines".as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"(no response)\n");
    let sent: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    assert_eq!(sent["params"]["message"]["parts"][0]["text"], "two\nlines");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_send_with_what_is_known_of_the_delivery() {
    let (reached, at_server) = std::sync::mpsc::channel();
    let server = Server::decide(move |_, _| {
        reached.send(()).unwrap();
        Act::Hang
    });
    let mut child = binary(&["--platform", &server.url(), "--workspace", "w", "send", PEER, "hello"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    at_server.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let Said { code, out, err } = said(child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("a2a-peer: it may have been delivered: POST "), "{err}");
    assert!(err.ends_with("/a2a: cancelled on the wire\n"), "{err}");
}

/// The main job, to its end, and what the platform's own ledger says of it.
#[test]
fn the_demo_ends_by_itself_and_its_summary_accounts_for_every_row() {
    let Said { code, out, err } = run(&["demo", "--json"]);
    assert_eq!((code, err.lines().count()), (Some(0), 1), "{err}");
    assert!(err.contains("the callback panicked at"), "{err}");
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap();
    let count = |done: &[&str]| lines.iter().filter(|line| done.iter().any(|done| line["done"] == *done)).count();
    assert_eq!((&summary["rows"], &summary["lost"], &summary["twice"]), (&240.into(), &0.into(), &0.into()));
    assert_eq!(summary["garbled"], 0);
    assert_eq!((&summary["delivered"], &summary["dead_lettered"]), (&239.into(), &1.into()));
    assert_eq!(count(&["acked", "answered"]), 239);
    // One fails once, one panics once, one fails five times.
    assert_eq!((&summary["retried"], count(&["failed"]), count(&["panicked"])), (&7.into(), 6, 1));
    assert_eq!((&summary["notices"], count(&["given up"])), (&4.into(), 1));
    assert_eq!(summary["messages"].as_u64().unwrap() + 4, count(&["answered"]) as u64);
    assert!(summary["heartbeats"].as_u64().unwrap() >= 2, "{summary}");
    let ids: std::collections::HashSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 240);
    let Said { code, out, .. } = run(&["demo"]);
    assert_eq!(code, Some(0));
    for words in
        ["delivered: 239, retried: 7, dead-lettered: 1, twice: 0, lost: 0", "ops-agent (sre)", "the registry dies"]
    {
        assert!(out.contains(words), "{words} is not in\n{out}");
    }
}

/// A platform whose inbox has one message of a peer and one of the human.
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
fn poll_prints_what_arrives_once_and_answers_it() {
    let (platform, server, dir) = inbox();
    let cursor = dir.file("cursor");
    let base =
        ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--once", "--cursor", cursor.to_str().unwrap()];
    let Said { code, out, err } = run(&[&base[..], &["--reply-with", "on it"]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let expected = format!(
        "2026-05-01T00:00:01.000000Z  {PEER}: disk is full\n    and \\u{{1b}}[2Jmore\n2026-05-01T00:00:02.000000Z  the human: hello\n"
    );
    assert_eq!(out, expected);
    let state = platform.state();
    assert_eq!((state.notices.as_slice(), state.messages.len()), (&["on it".to_owned()][..], 1));
    drop(state);
    platform.add(3_000_000, PEER, "again");
    let Said { code, out, .. } = run(&[&base[..], &["--json"]].concat());
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len(), &lines[0]["text"], &lines[0]["peer"]), (Some(0), 1, &"again".into(), &PEER.into()));
    assert_eq!((&lines[0]["kind"], &lines[0]["row"]["source_id"]), (&"peer_agent".into(), &PEER.into()));
    for bad in [&["--interval", "0"][..], &["--interval", "x"], &["--cursor", "/nonexistent/c"]] {
        let url = server.url();
        let args = [&["--platform", &url, "--workspace", WORKSPACE, "poll"][..], bad].concat();
        assert_eq!(run(&args).code, Some(2), "{bad:?}");
    }
}

/// What could not be printed comes again.
#[cfg(unix)]
#[test]
fn poll_acknowledges_nothing_that_could_not_be_printed() {
    let (_platform, server, dir) = inbox();
    let cursor = dir.file("cursor");
    let args =
        ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--once", "--cursor", cursor.to_str().unwrap()];
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let Said { code, err, .. } = said(binary(&args).stdout(full).output().unwrap());
    assert!(code == Some(1) && err.contains("the output cannot be written"), "{code:?} {err}");
    assert_eq!(run(&args).out.lines().count(), 3);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_poll_cleanly_and_a_removed_workspace_ends_it_with_the_reason() {
    use std::io::{BufRead, BufReader};
    let (_platform, server, dir) = inbox();
    let cursor = dir.file("cursor");
    let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "poll", "--cursor", cursor.to_str().unwrap()];
    let mut child = binary(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!((0..3).all(|_| out.next().unwrap().is_ok()), "both messages");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ended = said(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(run(&[&args[..], &["--once"]].concat()).out, "", "it remembers");

    let gone = Server::play([Act::reply(410, r#"{"error":"removed","id":"w","hint":"make another"}"#)]);
    let args = ["--platform", &gone.url(), "--workspace", WORKSPACE, "poll", "--cursor", cursor.to_str().unwrap()];
    let Said { code, err, .. } = run(&args);
    assert!(code == Some(1) && err.contains("the workspace was removed: make another"), "{code:?} {err}");
}

#[cfg(unix)]
#[test]
fn a_broken_pipe_is_quiet() {
    let mut child = binary(&["demo"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
