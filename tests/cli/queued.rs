//! Tests of `send --wait`, `send --own` and `delegate`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use a2a_blocking::InboxMessageKind;
use a2a_blocking::testing::WorkspaceHandle;
use serde_json::{Value, json};

#[cfg(unix)]
use crate::interrupt;
use crate::requests::Setup;
use crate::schema::documents;
use crate::support::{Act, PEER, Server, eventually};
use crate::{CliOutput, decode, run};

const QUEUE_ID: &str = "8b7c9a52-2c9e-4d6b-9c55-2d3d5a1f0e77";

impl Setup {
    /// Starts `send --wait` to a peer whose agent is not there, and returns when the platform has queued the message.
    fn send_to_absent(&self, peer: &WorkspaceHandle, options: &[&str]) -> Child {
        let args = [&["send", "--wait", peer.id(), "ping"], options].concat();
        let sent = self.platform.sent().len();
        let child = self.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the message is queued", || self.platform.sent().len() > sent);
        child
    }

    /// Registers the peer's agent, and says that it is there. An agent without a URL polls.
    fn arrive(&self, peer: &WorkspaceHandle, url: &str) {
        let mode = if url.is_empty() { "poll" } else { "push" };
        let card = json!({ "name": "dev" });
        self.post(peer, "register", &json!({ "id": peer.id(), "url": url, "agent_card": card, "delivery_mode": mode }));
        self.post(peer, "heartbeat", &json!({ "workspace_id": peer.id() }));
    }

    fn post(&self, peer: &WorkspaceHandle, call: &str, body: &Value) {
        let url = self.platform.url();
        let host = url.strip_prefix("http://").unwrap();
        let (token, body) = (peer.token().unwrap(), body.to_string());
        let mut socket = TcpStream::connect(host).unwrap();
        let head = format!("POST /registry/{call} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n");
        let rest = format!("Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        socket.write_all((head + &rest).as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// Returns what the notes say after the one that the platform has queued the message.
fn notes(err: &str) -> &str {
    let (first, rest) = err.split_once('\n').unwrap();
    assert!(first.starts_with("a2a-peer: queued, queue id ") && first.ends_with(": waiting for its end"), "{err}");
    rest
}

#[test]
fn wait_ends_with_what_the_agent_did() {
    let setup = Setup::new();
    let result = |result: &str| Act::reply(200, format!(r#"{{"jsonrpc":"2.0","result":{result}}}"#));
    let task = r#"{"id":"t","status":{"state":"failed","message":{"parts":[{"text":"no disk"}]}}}"#;
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    let lost = "a2a-peer: handed over, but the platform has no answer: ask the peer whether the message arrived\n";
    for (name, answer, outcome, code, out, note) in [
        ("a", result(r#"{"parts":[{"text":"pong"}]}"#), "answered", 0, "pong\n", ""),
        ("b", result(task), "answered", 1, "no disk\n", "a2a-peer: the task is failed\n"),
        (
            "c",
            Act::reply(200, r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"no such\u001b task"}}"#),
            "failed",
            1,
            "",
            "a2a-peer: failed: no such\\u{1b} task\n",
        ),
        ("d", Act::Raw(cut.into()), "lost", 8, "", lost),
    ] {
        let agent = Server::decide(move |_, _| answer.clone());
        for as_json in [false, true] {
            let peer = setup.platform.unregistered(&format!("{name}{as_json}"));
            let child = setup.send_to_absent(&peer, if as_json { &["--json"] } else { &[] });
            setup.arrive(&peer, &agent.url());
            let sent = decode(child.wait_with_output().unwrap());
            assert_eq!((sent.code, notes(&sent.err)), (Some(code), note), "{name}: {}", sent.out);
            if as_json {
                let line = &documents("send", &sent.out)[0];
                let is_answered = outcome == "answered";
                assert_eq!((&line["outcome"], &line["queued"]["status"]), (&outcome.into(), &"completed".into()));
                assert_eq!(line["delivery"], if is_answered { "delivered" } else { "accepted" });
                assert_eq!((line["reply"]["result"].is_object(), &line["peer"]), (is_answered, &peer.id().into()));
            } else {
                assert_eq!(sent.out, out, "{name}");
            }
        }
    }
}

/// Both where the peer polls from the beginning, and where it comes later.
#[test]
fn wait_ends_when_the_message_is_in_the_inbox() {
    let setup = Setup::new();
    let note = "a2a-peer: in the peer's inbox: it polls, and an answer comes as a message\n";
    let peer = setup.platform.unregistered("later");
    let child = setup.send_to_absent(&peer, &[]);
    setup.arrive(&peer, "");
    let CliOutput { code, out, err } = decode(child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str(), notes(&err)), (Some(0), "", note));

    let dev = setup.platform.workspace("dev");
    let CliOutput { code, out, err } = setup.run(&["send", "--wait", dev.id(), "ping"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", note));
    let line = &documents("send", &setup.run(&["send", "--wait", "--json", dev.id(), "ping"]).out)[0];
    assert_eq!((&line["outcome"], &line["queued"]), (&"in_inbox".into(), &Value::Null));
    let without = setup.run(&["send", "--json", dev.id(), "ping"]);
    assert_eq!((without.code, &documents("send", &without.out)[0]["outcome"]), (Some(3), &Value::Null));
}

#[test]
fn wait_is_bounded_by_the_timeout() {
    let setup = Setup::new();
    let peer = setup.platform.unregistered("away");
    let sent = setup.run(&["send", "--wait", "--timeout", "2", peer.id(), "ping"]);
    assert_eq!((sent.code, sent.out.as_str()), (Some(3), ""));
    assert_eq!(notes(&sent.err), "a2a-peer: still queued: the platform delivers it later\n");
    let sent = setup.run(&["send", "--wait", "--timeout", "2", "--json", peer.id(), "ping"]);
    let line = &documents("send", &sent.out)[0];
    assert_eq!((sent.code, &line["outcome"], &line["delivery"]), (Some(3), &"pending".into(), &"accepted".into()));
    assert_eq!(line["queued"]["queue_id"], line["reply"]["queue_id"]);
    let limit = crate::support::TIMEOUT.as_millis();
    assert!(line["ms"].as_f64().unwrap() < limit as f64, "the default would be ten minutes: {}", sent.out);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_wait() {
    let (asked, is_asked) = std::sync::mpsc::channel();
    let server = Server::decide(move |_, request| {
        if request.method == "POST" {
            return Act::reply(202, format!(r#"{{"queued":true,"queue_id":"{QUEUE_ID}"}}"#));
        }
        asked.send(()).unwrap();
        Act::Hang
    });
    let args = ["--platform", &server.url(), "--workspace", "w", "--json", "send", "--wait", PEER, "hello"];
    let child = crate::command_line(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    is_asked.recv_timeout(crate::support::TIMEOUT).unwrap();
    interrupt(&child);
    let CliOutput { code, out, err } = decode(child.wait_with_output().unwrap());
    let line = &documents("send", &out)[0];
    assert_eq!((code, &line["outcome"], &line["delivery"]), (Some(130), &"pending".into(), &"accepted".into()));
    assert_eq!(notes(&err), "a2a-peer: still queued: the platform delivers it later\n");
}

#[test]
fn end_that_the_platform_does_not_tell_is_no_failed_delivery() {
    let queued = |body: &str| {
        let body = body.to_owned();
        let server = Server::decide(move |_, request| match request.method.as_str() {
            "POST" => Act::reply(202, format!(r#"{{"queued":true,"queue_id":"{QUEUE_ID}"}}"#)),
            _ if body.is_empty() => Act::reply(403, r#"{"error":"access denied"}"#),
            _ => Act::reply(200, &body),
        });
        let base = ["--platform", &server.url(), "--workspace", "w", "--json", "send", "--wait", PEER, "hello"];
        run(&base)
    };
    let CliOutput { code, out, err } = queued("");
    let error = &documents("send", &out)[0]["error"];
    assert_eq!((code, &error["exit"], &error["delivery"]), (Some(8), &8.into(), &"accepted".into()));
    assert!(notes(&err).starts_with("a2a-peer: queued, but its end is not known: GET "), "{err}");
    assert!(err.ends_with("next: ask the peer whether the message arrived\n"), "{err}");

    let CliOutput { code, out, err } = queued(r#"{"status":"expired","last_error":"agent busy"}"#);
    assert_eq!((code, &documents("send", &out)[0]["outcome"]), (Some(1), &"expired".into()));
    assert!(notes(&err).starts_with("a2a-peer: expired: "), "{err}");

    let CliOutput { code, err, .. } = queued(r#"{"status":"dropped","last_error":"agent\nbusy"}"#);
    assert_eq!((code, notes(&err)), (Some(1), "a2a-peer: failed: agent\\nbusy\n"));
    let CliOutput { err, .. } = queued(r#"{"status":"dropped"}"#);
    assert_eq!(notes(&err), "a2a-peer: failed: dropped\n");

    // A platform that gives no id cannot be asked.
    let server = Server::play([Act::reply(202, "")]);
    let CliOutput { code, out, err } =
        run(&["--platform", &server.url(), "--workspace", "w", "send", "--wait", PEER, "hello"]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert_eq!(err, "a2a-peer: queued without an id: the platform cannot be asked what becomes of it\n");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn message_to_oneself_needs_the_option() {
    let setup = Setup::new();
    let own = setup.own.id();
    let refused = setup.run(&["send", own, "note to self"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.ends_with("\n  next: --own sends it to your own inbox\n"), "{}", refused.err);
    assert!(setup.platform.sent().is_empty());
    assert_eq!(setup.run(&["send", "--own", own, "note to self"]).code, Some(3));
    assert_eq!(setup.platform.sent()[0].to.as_deref(), Some(own));
}

#[test]
fn delegation_is_made_once_for_each_key() {
    let setup = Setup::new();
    let dev = setup.platform.workspace("dev");
    let CliOutput { code, out, err } = setup.run(&["delegate", dev.id(), "count", "--key", "k-1"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let again = setup.run(&["delegate", "--json", dev.id(), "count", "--key", "k-1"]);
    let line = &documents("delegate", &again.out)[0];
    assert_eq!((&line["delegation_id"], &line["is_repeat"]), (&out.trim_end().into(), &true.into()));
    assert_eq!(again.err, "a2a-peer: the platform knows the key: nothing new was delegated\n");
    let other = setup.run(&["delegate", "--json", dev.id(), "count"]);
    let line = &documents("delegate", &other.out)[0];
    assert_eq!((&line["is_repeat"], &line["status"]), (&false.into(), &"delegated".into()));
    assert_ne!(line["delegation_id"], out.trim_end());

    for (args, why) in [
        (&["delegate", setup.own.id(), "count"][..], "the target is our own workspace"),
        (&["delegate", dev.id(), "count", "--key", ""], "it has 0 bytes: give 1 to 255"),
        (&["delegate", dev.id(), " "], "it is empty"),
    ] {
        let CliOutput { code, err, .. } = setup.run(args);
        assert!(code == Some(2) && err.contains(why), "{code:?} {err}");
    }
    let server = Server::play([Act::reply(500, "{}")]);
    let base = ["--platform", &server.url(), "--workspace", "w", "delegate", PEER, "count"];
    let CliOutput { code, err, .. } = run(&base);
    assert!(code == Some(8) && err.contains("it may have been delivered"), "{code:?} {err}");
}

/// The id that `delegate` prints is that of the result, which `poll` prints.
#[test]
fn result_of_a_delegation_has_the_id_that_was_printed() {
    let setup = Setup::new();
    let agent = Server::decide(|_, _| Act::reply(200, r#"{"result":{"parts":[{"kind":"text","text":"42"}]}}"#));
    let dev = setup.platform.push_agent("dev", &agent.url());
    let mut child = setup.command(&["delegate", dev.id(), "-"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"count\nto 42").unwrap();
    let CliOutput { code, out, .. } = decode(child.wait_with_output().unwrap());
    assert_eq!(code, Some(0));
    let mut results = Vec::new();
    eventually("the result is in the inbox", || {
        results.extend(documents("poll", &setup.run(&["poll", "--once", "--json"]).out));
        !results.is_empty()
    });
    let kind = InboxMessageKind::Delegation.as_str();
    let result = &results[0];
    assert_eq!((&result["kind"], &result["text"]), (&kind.into(), &"42".into()));
    assert_eq!(result["delegation_id"], out.trim_end());
    let asked: Value = serde_json::from_slice(&agent.requests()[0].body).unwrap();
    assert_eq!(asked["params"]["message"]["parts"][0]["text"], "count\nto 42");
}
