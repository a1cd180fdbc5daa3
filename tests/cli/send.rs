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
        Act::reply(403, r#"{"error":"not your peer"}"#),
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
    assert_eq!(line["delivery"], "delivered");
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
        err.starts_with("a2a-peer: not delivered: POST ") && err.contains("/a2a: not your peer (HTTP 403)\n  next: "),
        "{err}"
    );

    let CliOutput { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "no disk\n", "a2a-peer: the task is failed\n"));

    for bad in [&["hello", "--attempts", "0"][..], &["hello", "--timeout", "0"], &[]] {
        assert_eq!(with(bad).code, Some(2));
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
fn input_that_is_not_utf8_or_too_long_is_not_sent() {
    use std::io::Write;
    let server = Server::play([Act::reply(200, "{}")]);
    for (input, why) in [(vec![0xff; 10], "is not UTF-8"), (vec![b'a'; 3 << 20], "is longer than the limit of 1 MiB")] {
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
