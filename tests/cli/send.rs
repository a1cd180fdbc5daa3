//! Tests of `send`.

use std::process::Stdio;

use serde_json::Value;

#[cfg(unix)]
use crate::interrupt;
use crate::schema::documents;
use crate::support::{Act, PEER, Server, WORKSPACE};
use crate::{CliOutput, command_line, decode, run};

#[test]
fn send_prints_the_reply_and_its_status_reports_the_delivery() {
    let reply =
        |text: &str| Act::reply(200, format!(r#"{{"result":{{"parts":[{{"kind":"text","text":"{text}"}}]}}}}"#));
    let server = Server::play([
        reply("grüße\\nline two"),
        reply("again"),
        Act::reply(202, r#"{"queued":true,"queue_id":"q-7"}"#),
        Act::reply(202, r#"{"queued":true,"queue_id":"q-8"}"#),
        Act::reply(403, r#"{"error":"access denied: workspaces cannot communicate per hierarchy rules"}"#),
        Act::reply(200, r#"{"result":{"status":{"state":"failed","message":{"parts":[{"text":"no disk"}]}}}}"#),
    ]);
    let base = ["--platform", &server.url(), "--workspace", WORKSPACE, "send", PEER];
    let with = |rest: &[&str]| run(&[&base[..], rest].concat());

    let CliOutput { code, out, err } = with(&["hello", "--context", "c-7", "--attempts", "1", "--timeout", "20"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "grüße\nline two\n", ""));
    let sent: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    let message = &sent["params"]["message"];
    assert_eq!((&message["parts"][0]["text"], &message["contextId"]), (&"hello".into(), &"c-7".into()));

    let CliOutput { code, out, .. } = with(&["hello", "--json"]);
    let line = &documents("send", &out)[0];
    assert_eq!((code, &line["text"], &line["peer"]), (Some(0), &"again".into(), &PEER.into()));
    assert_eq!((&line["delivery"], &line["state"]), (&"delivered".into(), &Value::Null));
    assert_eq!(line["reply"]["result"]["parts"][0]["kind"], "text");

    let CliOutput { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert_eq!(err, "a2a-peer: queued, queue id q-7: the platform delivers it later\n");
    let CliOutput { code, out, .. } = with(&["hello", "--json"]);
    let line = &documents("send", &out)[0];
    assert_eq!((code, &line["delivery"], &line["reply"]["queue_id"]), (Some(3), &"accepted".into(), &"q-8".into()));

    let CliOutput { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.starts_with("a2a-peer: not delivered: POST ") && err.contains(" per hierarchy rules (HTTP 403)\n  next: "),
        "{err}"
    );

    let CliOutput { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "no disk\n", "a2a-peer: the task is failed\n"));

    let empty = [&[""][..], &[" \n\u{a0}"], &["\u{1c}"], &["hello", "--context", " "]];
    for bad in [&["hello", "--attempts", "0"][..], &["hello", "--timeout", "0"], &[]].into_iter().chain(empty) {
        assert_eq!(with(bad).code, Some(2), "{bad:?}");
    }
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn send_reads_the_text_from_standard_input() {
    use std::io::Write;
    let server = Server::play([Act::reply(200, r#"{"result":{"parts":[]}}"#)]);
    let mut child = command_line(&["--platform", &server.url(), "--workspace", "w", "send", PEER, "-"])
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

#[test]
fn task_without_success_is_a_failure_in_the_words_of_each_protocol() {
    for (state, shown, expected) in [
        ("completed", "completed", 0),
        ("input-required", "input-required", 0),
        ("working", "working", 0),
        ("failed", "failed", 1),
        ("rejected", "rejected", 1),
        ("canceled", "canceled", 1),
        ("auth-required", "auth-required", 1),
        ("TASK_STATE_FAILED", "failed", 1),
        ("TASK_STATE_CANCELLED", "canceled", 1),
        ("TASK_STATE_AUTH_REQUIRED", "auth-required", 1),
    ] {
        let status = format!(r#"{{"state":"{state}","message":{{"parts":[{{"text":"model quota exceeded"}}]}}}}"#);
        let server = Server::play([Act::reply(200, format!(r#"{{"result":{{"id":"t","status":{status}}}}}"#))]);
        let args = ["--platform", &server.url(), "--workspace", "w", "send", PEER, "hello"];
        let CliOutput { code, out, err } = run(&args);
        assert_eq!((code, out.as_str()), (Some(expected), "model quota exceeded\n"), "{state}");
        assert_eq!(err, format!("a2a-peer: the task is {shown}\n"));
        let CliOutput { code, out, .. } = run(&[&args[..], &["--json"]].concat());
        assert_eq!((code, &documents("send", &out)[0]["state"]), (Some(expected), &shown.into()), "{state}");
    }
}

#[test]
fn send_prints_all_words_and_names_files_and_data() {
    let file =
        r#"{"kind":"file","file":{"name":"r.pdf","mimeType":"application/pdf","uri":"https://files.example/r.pdf"}}"#;
    let named = "a2a-peer: the answer has a file: r.pdf, application/pdf, https://files.example/r.pdf\n";
    let parts = |parts: &str| format!(r#"{{"kind":"message","parts":[{parts}]}}"#);
    let history = r#"[{"role":"user","parts":[{"text":"hello"}]},{"role":"agent","parts":[{"text":"42"}]}]"#;
    for (result, out, err) in [
        (parts(r#"{"text":"Berlin: 12 C."},{"text":"Take an umbrella."}"#), "Berlin: 12 C.\nTake an umbrella.\n", String::new()),
        (parts(file), "(no text: 1 file)\n", named.to_owned()),
        (parts(&format!(r#"{{"text":"see"}},{file}"#)), "see\n", named.to_owned()),
        (
            parts(r#"{"kind":"data","data":{"answer":42}},{"raw":"aGk=","filename":"\u001b[2J.txt"}"#),
            "(no text: 1 file, 1 data part)\n",
            "a2a-peer: the answer has data: {\"answer\":42}\na2a-peer: the answer has a file: \\u{1b}[2J.txt, 2 bytes\n".to_owned(),
        ),
        (
            parts(r#"{"kind":"later"}"#),
            "(no text: 1 other part)\n",
            "a2a-peer: the answer has a part of another kind: {\"kind\":\"later\"}\n".to_owned(),
        ),
        (
            format!(r#"{{"id":"t","status":{{"state":"completed"}},"artifacts":[{{"parts":[{file}]}}]}}"#),
            "(no text: 1 file)\n",
            format!("a2a-peer: the task is completed\n{named}"),
        ),
        (
            format!(r#"{{"id":"t","status":{{"state":"completed"}},"history":{history}}}"#),
            "42\n",
            "a2a-peer: the task is completed\n".to_owned(),
        ),
        (r#"{"role":"agent","content":"plain words"}"#.to_owned(), "plain words\n", String::new()),
        (r#"{"message":{"content":[{"text":"words of proto"}]}}"#.to_owned(), "words of proto\n", String::new()),
        (
            r#"{"kind":"artifact-update","taskId":"t","artifact":{"parts":[{"text":"words of an event"}]}}"#.to_owned(),
            "words of an event\n",
            "a2a-peer: the task's state is unknown\n".to_owned(),
        ),
    ] {
        let server = Server::play([Act::reply(200, format!(r#"{{"jsonrpc":"2.0","result":{result}}}"#))]);
        let sent = run(&["--platform", &server.url(), "--workspace", "w", "send", PEER, "hello"]);
        assert_eq!((sent.code, sent.out.as_str(), sent.err), (Some(0), out, err), "{result}");
    }
}

/// A hostile answer has more parts than anybody reads, or one that fills the screen.
#[test]
fn notes_on_the_parts_of_an_answer_are_bounded() {
    let large = format!(r#"{{"data":"{}"}}"#, "x".repeat(100_000));
    let parts = vec![large; 30].join(",");
    let server = Server::play([Act::reply(200, format!(r#"{{"result":{{"parts":[{parts}]}}}}"#))]);
    let CliOutput { code, out, err } = run(&["--platform", &server.url(), "--workspace", "w", "send", PEER, "hello"]);
    assert_eq!((code, out.as_str(), err.lines().count()), (Some(0), "(no text: 30 data parts)\n", 21));
    assert!(err.ends_with("a2a-peer: the answer has 10 more parts: --json prints them\n"), "{err}");
    assert!(err.lines().all(|line| line.chars().count() < 250));
}

#[test]
fn error_beside_an_empty_result_is_printed() {
    for result in ["{}", r#"{"kind":"message"}"#, r#"{"parts":[]}"#] {
        let body = format!(r#"{{"result":{result},"error":{{"code":-32603,"message":"agent crashed"}}}}"#);
        let server = Server::play([Act::reply(200, body)]);
        let CliOutput { code, out, err } =
            run(&["--platform", &server.url(), "--workspace", "w", "send", PEER, "hello"]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{result}");
        assert!(err.starts_with("a2a-peer: delivered: POST ") && err.contains("agent crashed (code=-32603)"), "{err}");
    }
}

/// A closed or full output does not change the delivery of the message.
#[cfg(unix)]
#[test]
fn unprinted_answer_is_reported_as_delivered() {
    let ok = Act::reply(200, r#"{"result":{"parts":[{"text":"hi"}]}}"#);
    let server = Server::play([ok, Act::reply(202, ""), Act::reply(202, "")]);
    let args = ["--platform", &server.url(), "--workspace", "w", "--json", "send", PEER, "hello"];
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let CliOutput { code, err, .. } = decode(command_line(&args).stdout(full()).output().unwrap());
    assert!(code == Some(0) && err.contains("delivered, but cannot write the answer"), "{code:?} {err}");
    let CliOutput { code, err, .. } = decode(command_line(&args).stdout(full()).output().unwrap());
    assert!(code == Some(3) && err.contains("a2a-peer: queued, but cannot write the answer"), "{code:?} {err}");
    assert!(!err.contains("delivered,"), "{err}");
    let mut child = command_line(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_send_and_reports_the_delivery() {
    let (reached, at_server) = std::sync::mpsc::channel();
    let server = Server::decide(move |_, _| {
        reached.send(()).unwrap();
        Act::Hang
    });
    let mut child = command_line(&["--platform", &server.url(), "--workspace", "w", "--json", "send", PEER, "hello"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    at_server.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    interrupt(&child);
    let CliOutput { code, out, err } = decode(child.wait_with_output().unwrap());
    let error = &documents("send", &out)[0]["error"];
    assert_eq!((code, &error["kind"], &error["delivery"]), (Some(130), &"cancelled".into(), &"unknown".into()));
    assert!(err.starts_with("a2a-peer: it may have been delivered: POST "), "{err}");
    assert!(err.ends_with("/a2a: cancelled on the wire\n"), "{err}");
}

#[test]
fn input_that_is_not_utf8_or_too_long_or_empty_is_not_sent() {
    use std::io::Write;
    let server = Server::play([Act::reply(200, "{}")]);
    for (input, why) in [
        (vec![0xff; 10], "is not UTF-8"),
        (vec![b'a'; 3 << 20], "is longer than the limit of 1 MiB"),
        (Vec::new(), "not delivered: the text is empty: give it words"),
        (b" \n\t\r\n\x1c".to_vec(), "the text is empty: give it words"),
    ] {
        let mut child = command_line(&["--platform", &server.url(), "--workspace", "w", "send", PEER, "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The binary stops reading at its limit, which breaks the pipe.
        let _ = child.stdin.take().unwrap().write_all(&input);
        let CliOutput { code, err, .. } = decode(child.wait_with_output().unwrap());
        assert!(code == Some(2) && err.contains(why), "{code:?} {err}");
    }
    assert_eq!(server.requests().len(), 0);
}
