//! `send`.

use std::process::Stdio;

use serde_json::Value;

#[cfg(unix)]
use crate::interrupt;
use crate::schema::documents;
use crate::support::{Act, PEER, Server, WORKSPACE};
use crate::{Said, binary, run, said};

#[test]
fn send_prints_the_reply_and_tells_by_its_status_what_came_of_it() {
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

    let Said { code, out, err } = with(&["hello", "--context", "c-7", "--attempts", "1", "--timeout", "20"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "grüße\nline two\n", ""));
    let sent: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    let message = &sent["params"]["message"];
    assert_eq!((&message["parts"][0]["text"], &message["contextId"]), (&"hello".into(), &"c-7".into()));

    let Said { code, out, .. } = with(&["hello", "--json"]);
    let line = &documents("send", &out)[0];
    assert_eq!((code, &line["text"], &line["peer"]), (Some(0), &"again".into(), &PEER.into()));
    assert_eq!(line["delivery"], "delivered");
    assert_eq!(line["reply"]["result"]["parts"][0]["kind"], "text");

    let Said { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert_eq!(err, "a2a-peer: queued, queue id q-7: the platform delivers it later\n");
    let Said { code, out, .. } = with(&["hello", "--json"]);
    let line = &documents("send", &out)[0];
    assert_eq!((code, &line["delivery"], &line["reply"]["queue_id"]), (Some(3), &"accepted".into(), &"q-8".into()));

    let Said { code, out, err } = with(&["hello"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.starts_with("a2a-peer: not delivered: POST ") && err.contains("/a2a: not your peer (HTTP 403)\n  next: "),
        "{err}"
    );

    let Said { code, out, err } = with(&["hello"]);
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

/// Whoever closes our output does not change what came of the message.
#[cfg(unix)]
#[test]
fn a_send_whose_answer_cannot_be_printed_says_that_it_was_delivered() {
    let ok = Act::reply(200, r#"{"result":{"parts":[{"text":"hi"}]}}"#);
    let server = Server::play([ok, Act::reply(202, ""), Act::reply(202, "")]);
    let args = ["--platform", &server.url(), "--workspace", "w", "--json", "send", PEER, "hello"];
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let Said { code, err, .. } = said(binary(&args).stdout(full()).output().unwrap());
    assert!(code == Some(0) && err.contains("delivered, but the answer cannot be written"), "{code:?} {err}");
    let Said { code, err, .. } = said(binary(&args).stdout(full()).output().unwrap());
    assert!(code == Some(3) && err.contains("a2a-peer: queued, but the answer cannot be written"), "{code:?} {err}");
    assert!(!err.contains("delivered,"), "{err}");
    let mut child = binary(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_send_with_what_is_known_of_the_delivery() {
    let (reached, at_server) = std::sync::mpsc::channel();
    let server = Server::decide(move |_, _| {
        reached.send(()).unwrap();
        Act::Hang
    });
    let mut child = binary(&["--platform", &server.url(), "--workspace", "w", "--json", "send", PEER, "hello"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    at_server.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    interrupt(&child);
    let Said { code, out, err } = said(child.wait_with_output().unwrap());
    let error = &documents("send", &out)[0]["error"];
    assert_eq!((code, &error["kind"], &error["delivery"]), (Some(130), &"cancelled".into(), &"unknown".into()));
    assert!(err.starts_with("a2a-peer: it may have been delivered: POST "), "{err}");
    assert!(err.ends_with("/a2a: cancelled on the wire\n"), "{err}");
}

#[test]
fn what_is_no_text_or_too_long_is_refused_before_anything_is_sent() {
    use std::io::Write;
    let server = Server::play([Act::reply(200, "{}")]);
    for (input, why) in [(vec![0xff; 10], "is no text in UTF-8"), (vec![b'a'; 3 << 20], "is longer than the 1 MiB")] {
        let mut child = binary(&["--platform", &server.url(), "--workspace", "w", "send", PEER, "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It does not read all of what is too long.
        let _ = child.stdin.take().unwrap().write_all(&input);
        let Said { code, err, .. } = said(child.wait_with_output().unwrap());
        assert!(code == Some(2) && err.contains(why), "{code:?} {err}");
    }
    assert_eq!(server.requests().len(), 0);
}
