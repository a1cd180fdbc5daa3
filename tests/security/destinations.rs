//! Requests, and the token with them, go to the platform's address only. No redirect, header or body can send them
//! elsewhere.

use std::time::Duration;

use a2a_blocking::{Client, InboxPoller, Message, RetryPolicy, SendOptions, Verdict};
use serde_json::json;

use crate::support::platform::SECOND;
use crate::support::{self, Dir, PEER, Reaction, Server, WORKSPACE, builder};

/// Makes every call that sends a request, whatever its result.
fn every_call(client: &Client, dir: &Dir) {
    let policy = RetryPolicy::new().with_base(Duration::from_millis(1)).with_attempts(2).honor_retry_after();
    let _ = client.enrich(PEER);
    let _ = client.discover(PEER);
    let _ = client.peers();
    let _ = client.workspace();
    let _ = client.state();
    let _ = client.check_events(Duration::from_secs(2));
    let _ = client.send_with(PEER, &Message::from("hi"), &SendOptions::new().retry(policy));
    let _ = client.notify("hi");
    let cursor = dir.file("cursor.json");
    let _earlier = std::fs::remove_file(&cursor);
    let mut poller = InboxPoller::builder(client.clone()).cursor_file(cursor).retry(policy).build().unwrap();
    let _ = poller.poll_once(|message| {
        let _ = (message.enrich(), message.reply("on it"), message.envelope());
        Verdict::Ack
    });
}

/// Returns whether a path belongs to one of our calls.
fn is_ours(path: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let own =
        ["", "/state", "/events/stream", "/activity", "/notify"].map(|call| format!("/workspaces/{WORKSPACE}{call}"));
    own.contains(&path.to_owned())
        || path == format!("/registry/discover/{PEER}")
        || path == format!("/registry/{WORKSPACE}/peers")
        || path == format!("/workspaces/{PEER}/a2a")
}

/// Makes every call to a platform that answers so, and checks that all requests are ours.
fn only_the_platform_is_asked(what: &str, act: impl Fn(&support::Request) -> Reaction + Send + Sync + 'static) {
    let (server, dir) = (Server::decide(move |_, request| act(request)), Dir::new("elsewhere"));
    every_call(&builder(&server).token("hush-hush").build().unwrap(), &dir);
    let requests = server.requests();
    assert!(requests.len() >= 7, "{what}: {} requests", requests.len());
    for request in requests {
        assert!(is_ours(&request.path), "{what}: {} {}", request.method, request.path);
        assert_eq!(request.header("authorization"), Some("Bearer hush-hush"), "{what}");
        assert_eq!(request.header("referer"), None, "{what}");
    }
}

#[test]
fn no_redirect_is_followed() {
    let elsewhere = Server::play([Reaction::reply(200, "{}")]);
    let address = elsewhere.url().replace("http://", "");
    for to in [
        format!("http://{address}/x"),
        format!("https://{address}/x"),
        format!("//{address}/x"),
        format!("http://user:pass@{address}/x"),
        format!("ws://{address}/x"),
        "/elsewhere".to_owned(),
        "elsewhere?a=1".to_owned(),
        "../../elsewhere".to_owned(),
        "file:///etc/passwd".to_owned(),
        "\\\\elsewhere".to_owned(),
        String::new(),
    ] {
        for status in [300, 301, 302, 303, 305, 307, 308] {
            let to = to.clone();
            only_the_platform_is_asked(&format!("{status} {to}"), move |_| {
                Reaction::reply(status, "").header("Location", &to)
            });
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn no_header_of_an_answer_leads_elsewhere() {
    let elsewhere = Server::play([Reaction::reply(200, "{}")]);
    let (url, address) = (elsewhere.url(), elsewhere.url().replace("http://", ""));
    for (name, value) in [
        ("Location", url.clone()),
        ("Content-Location", url.clone()),
        ("Refresh", format!("0; url={url}")),
        ("Link", format!("<{url}>; rel=\"preload\", <{url}>; rel=\"alternate\"")),
        ("Alt-Svc", format!("h2=\"{address}\", http/1.1=\"{address}\"; ma=86400")),
        ("Alt-Used", address.clone()),
        ("WWW-Authenticate", format!("Bearer realm=\"{url}\", authorization_uri=\"{url}\"")),
        ("Proxy-Authenticate", format!("Basic realm=\"{url}\"")),
        ("Set-Cookie", format!("a=b; Domain={address}")),
        ("Upgrade", "h2c, websocket".to_owned()),
        ("Report-To", json!({ "endpoints": [{ "url": url }] }).to_string()),
    ] {
        for status in [200, 201, 202, 401, 402, 404, 407, 421, 426, 503] {
            let value = value.clone();
            only_the_platform_is_asked(&format!("{status} {name}"), move |_| {
                Reaction::reply(status, "{}").header(name, &value).header("Retry-After", "0")
            });
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// Records, cards, hints and rows contain addresses. Only the caller may use them.
#[test]
fn no_address_in_a_body_is_requested() {
    let elsewhere = Server::play([Reaction::reply(200, "{}")]);
    let url = elsewhere.url();
    let card = json!({ "url": url, "endpoint": url, "preferredTransport": "JSONRPC",
        "additionalInterfaces": [{ "url": url, "transport": "HTTP+JSON" }], "provider": { "url": url } });
    let record = json!({ "id": PEER, "name": "ops", "url": url, "agent_card": card, "agent_card_url": url,
        "platform_url": url, "redirect": url, "location": url, "next": url });
    let refusal = json!({ "error": format!("moved to {url}"), "hint": url, "redirect": url, "id": PEER,
        "restarting": true, "retry_after": 0 });
    let file = json!({ "kind": "file", "file": { "uri": url, "url": url, "name": url, "mimeType": "text/plain" } });
    let row = json!({ "id": url, "created_at": support::platform::time(SECOND), "source_id": PEER, "url": url,
        "agent_card_url": url, "peer_name": url, "callback_url": url, "method": "message/send",
        "request_body": { "params": { "message": { "parts": [file], "url": url, "pushNotificationConfig": { "url": url } } } } });
    let task = json!({ "result": { "status": { "state": "working" }, "url": url, "pushNotificationConfig": { "url": url },
        "artifacts": [{ "parts": [file] }] } });
    let answer = move |request: &support::Request| match request.path.split('?').next().unwrap() {
        path if path.ends_with("/activity") => Reaction::reply(200, json!([row]).to_string()),
        path if path.ends_with("/a2a") => Reaction::reply(200, task.to_string()),
        path if path.ends_with("/peers") => Reaction::reply(200, json!([record]).to_string()),
        _ => Reaction::reply(200, record.to_string()),
    };
    only_the_platform_is_asked("records", answer);
    for status in [403, 404, 409, 410, 429, 503] {
        let refusal = refusal.to_string();
        only_the_platform_is_asked("hints", move |_| Reaction::reply(status, &refusal));
    }
    assert_eq!(elsewhere.connections(), 0);
}
