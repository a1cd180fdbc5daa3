//! Tests against agents on the official Python SDK.
//!
//! `tests/interop/run` starts an agent and sets `A2A_INTEROP_URL`. Plain `cargo test` leaves these tests out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, Delivery, ErrorKind, FileContent, Message, Part, Reply, RetryPolicy, SendOptions, Task};
use serde_json::json;

const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";

/// Returns a client for the agent, once it answers.
fn client() -> Client {
    let url = env::var("A2A_INTEROP_URL").expect("A2A_INTEROP_URL is not set: run tests/interop/run");
    let client = Client::builder().platform_url(url).workspace_id("interop").build().unwrap();
    let start = Instant::now();
    let once = SendOptions::new().retry(RetryPolicy::new().with_attempts(1));
    while client.send_with(PEER, &Message::from("echo"), &once).is_err_and(|error| error.kind() == ErrorKind::Connect) {
        assert!(start.elapsed() < Duration::from_secs(60), "no agent is listening");
        thread::sleep(Duration::from_millis(100));
    }
    client
}

/// Sends a text. Returns the task that it is answered with.
fn task(client: &Client, text: &str) -> Task {
    match client.send(PEER, text).unwrap() {
        Reply::Task(task) => task,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn message_reply() {
    let reply = client().send(PEER, "echo grüße 日本 \"x\"\nline two").unwrap();
    assert!(matches!(reply, Reply::Message(_)));
    assert_eq!(reply.text(), "echo: grüße 日本 \"x\"\nline two");
}

#[test]
fn completed_task_has_its_artifact() {
    let client = client();
    let done = task(&client, "complete");
    assert_eq!((done.state(), done.artifacts().len()), ("completed", 1));
    assert!(done.id().is_some() && done.context_id().is_some());
    let reply = client.send(PEER, "complete").unwrap();
    assert_eq!(reply.text(), "the artifact");
    // The SDK of protocol 1.0 returns an integer as a float.
    assert!(matches!(&reply.parts()[1], Part::Data(data) if data["n"].as_f64() == Some(7.0)), "{:?}", reply.parts());
}

#[test]
fn task_states_and_status_messages() {
    let client = client();
    for (text, state) in [("fail", "failed"), ("reject", "rejected"), ("ask", "input-required")] {
        let task = task(&client, text);
        assert_eq!((task.state(), task.artifacts().len()), (state, 0));
        assert_eq!(task.status_message(), [Part::Text(&format!("{text} it is"))]);
        assert_eq!(client.send(PEER, text).unwrap().text(), format!("{text} it is"));
    }
}

#[test]
fn answer_continues_a_task_that_asked() {
    let client = client();
    let asked = task(&client, "ask");
    let (id, context) = (asked.id().unwrap(), asked.context_id().unwrap());
    let answer = Message::from("complete").task_id(id).context_id(context);
    let Reply::Task(done) = client.send_message(PEER, answer).unwrap() else { panic!("no task") };
    assert_eq!((done.id(), done.context_id(), done.state()), (Some(id), Some(context), "completed"));
}

#[test]
fn reply_with_several_parts() {
    let reply = client().send(PEER, "parts").unwrap();
    assert_eq!(reply.text(), "see");
    let parts = reply.parts();
    let [Part::Text("see"), Part::Data(data), Part::File(bytes), Part::File(uri)] = parts.as_slice() else {
        panic!("{parts:?}");
    };
    // The SDK of protocol 1.0 returns some integers as floats.
    assert_eq!((data["a"][0].as_f64(), data["a"][1].as_f64(), data["a"][2].is_null()), (Some(1.0), Some(2.5), true));
    assert_eq!((bytes.name, bytes.media_type), (Some("hi.txt"), Some("text/plain")));
    assert_eq!(bytes.content, FileContent::Bytes(b"hi".to_vec()));
    assert_eq!((uri.media_type, &uri.content), (Some("image/png"), &FileContent::Uri("https://files.example/x")));
}

#[test]
fn agent_receives_every_part_and_its_metadata() {
    let message = Message::from("received")
        .data(json!({"a": 1}))
        .file_bytes("n", "text/plain", b"hi")
        .file_uri("n", "text/plain", "https://files.example/x")
        .context_id("c-7")
        .metadata("k", json!("v"));
    let reply = client().send_message(PEER, message).unwrap();
    assert_eq!(reply.text(), "text,data,file,file context=c-7 metadata={'k': 'v'}");
}

#[test]
fn json_rpc_error_is_delivered() {
    let error = client().send(PEER, "error").unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (ErrorKind::Rpc, Delivery::Delivered, 1));
    assert!(error.to_string().contains("/a2a: not this (code=-32004)"), "{error}");
}
