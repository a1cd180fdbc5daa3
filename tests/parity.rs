//! What the original Python client answers and sends, replayed over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use a2a_blocking::{Client, Peer, global};
use serde_json::{Value, json};
use support::{Act, Server, WORKSPACE};

fn vectors(call: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("parity/vectors.json")).unwrap();
    assert_eq!(all["workspace"], WORKSPACE);
    let ours: Vec<Value> = all["vectors"].as_array().unwrap().iter().filter(|v| v["call"] == call).cloned().collect();
    assert!(!ours.is_empty(), "no vectors of {call}");
    ours
}

fn act(act: &Value) -> Act {
    let body = match &act["json"] {
        Value::Null if act.get("json").is_none() => act["body"].as_str().unwrap_or_default().to_owned(),
        json => json.to_string(),
    };
    match act["fault"].as_str() {
        None => {
            let delay = Duration::from_secs_f64(act["delay_s"].as_f64().unwrap_or(0.0));
            let mut reply = Act::reply(u16::try_from(act["status"].as_u64().unwrap()).unwrap(), body).after(delay);
            for (name, value) in act["headers"].as_object().into_iter().flatten() {
                reply = reply.header(name, value.as_str().unwrap());
            }
            reply
        }
        Some("close_before_reply") => Act::Close,
        Some("close_mid_headers") => Act::raw("HTTP/1.1 200 OK\r\nContent-Le"),
        Some("close_mid_body") => {
            let half = &body[..body.len() / 2];
            Act::raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{half}", body.len()))
        }
        Some("reset") => Act::Reset(Vec::new()),
        Some("hang") => Act::Hang,
        Some(other) => panic!("no such fault: {other}"),
    }
}

/// Plays a vector: the answers to its calls, and the requests that the server saw.
fn replay(vector: &Value, call: impl Fn(&Client, &str) -> Option<Peer>) {
    let name = vector["name"].as_str().unwrap();
    let acts: Vec<Act> = vector["acts"].as_array().unwrap().iter().map(act).collect();
    let server = Server::play(acts);
    let mut builder = support::builder(&server);
    // The bound itself is tested elsewhere; a vector that hangs need not wait for all of it.
    builder = builder.lookup_timeout(Duration::from_millis(500));
    if let Some(token) = vector["token"].as_str() {
        builder = builder.token(token);
    }
    let client = builder.build().unwrap();

    let times = usize::try_from(vector["times"].as_u64().unwrap()).unwrap();
    let mut expected = vec![vector["expect"]["exact"].clone()];
    expected.extend(vector["again"].as_array().into_iter().flatten().cloned());
    assert_eq!(expected.len(), times, "{name}");
    for expected in expected {
        // On purpose unlike the original: what is no object is no record.
        let expected = if expected.is_array() { Value::Null } else { expected };
        let peer = call(&client, vector["args"][0].as_str().unwrap());
        let answer = peer.map_or(Value::Null, |peer| Value::Object(peer.as_json().clone()));
        assert_eq!(answer, expected, "{name}");
    }
    let seen: Vec<Value> = server
        .requests()
        .iter()
        .map(|request| {
            json!({
                "method": request.method,
                "path": request.path,
                "x-workspace-id": request.header("x-workspace-id").map(|id| id.replace(WORKSPACE, "{WORKSPACE}")),
                "authorization": request.header("authorization"),
                "content-type": request.header("content-type"),
                "body": (!request.body.is_empty()).then(|| String::from_utf8_lossy(&request.body).into_owned()),
            })
        })
        .collect();
    assert_eq!(Value::from(seen), vector["requests"], "{name}");
}

#[test]
fn validate() {
    for vector in vectors("validate") {
        let answer = global::validate_peer_id(vector["args"][0].as_str().unwrap());
        assert_eq!(json!(answer), vector["expect"]["exact"], "{}", vector["name"]);
    }
}

#[test]
fn enrich() {
    for vector in vectors("enrich") {
        replay(&vector, |client, peer| client.enrich(peer));
    }
}

#[test]
fn discover() {
    for vector in vectors("discover") {
        replay(&vector, |client, peer| client.discover(peer).ok());
    }
}

/// The original has no vectors of its own for the card's address: the design gives its form.
#[test]
fn card_url() {
    let client = |url: &str| Client::builder().platform_url(url).workspace_id(WORKSPACE).build().unwrap();
    let card = |url, peer: &str| client(url).agent_card_url(peer).ok();
    for vector in vectors("validate") {
        let expected = vector["expect"]["exact"].as_str().map(|id| format!("http://p:1/x/registry/discover/{id}"));
        assert_eq!(card("http://p:1/x/", vector["args"][0].as_str().unwrap()), expected, "{}", vector["name"]);
    }
}
