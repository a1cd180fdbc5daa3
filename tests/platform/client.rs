//! Our own client and poller against it, and the faults that a test can switch on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{Client, ErrorKind, InboxPoller, Reply, Verdict};
use serde_json::{Value, json};

use crate::http::{EventStream, send};
use crate::world::PATIENCE;

/// A folder for one test's files, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("a2a-platform-{}", crate::new_id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn poller(&self, client: Client) -> InboxPoller {
        InboxPoller::builder(client).cursor_file(self.0.join("cursor")).build().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

fn host(platform: &Platform) -> String {
    platform.url().replace("http://", "")
}

fn get(platform: &Platform, path: &str, token: &str) -> (u16, Value) {
    let token = ("Authorization".to_owned(), format!("Bearer {token}"));
    let answer = send(&host(platform), "GET", path, &[token], None, PATIENCE).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn activity(platform: &Platform, of: &WorkspaceHandle, query: &str) -> Vec<Value> {
    let path = format!("/workspaces/{}/activity?{query}", of.id());
    get(platform, &path, &of.token().unwrap()).1.as_array().unwrap().clone()
}

#[test]
fn message_comes_in_and_its_reply_goes_out() {
    let platform = Platform::start().unwrap();
    let (ops, dev, folder) = (platform.workspace("ops"), platform.workspace("dev"), Folder::new());
    platform.send(&dev, &ops, "are you there?").unwrap();
    platform.human(&ops, "and for me?").unwrap();
    let mut poller = folder.poller(ops.client().build().unwrap());
    let mut names = Vec::new();
    let mut answer = |message: &a2a_blocking::InboxMessage| {
        names.push((message.text().to_owned(), message.sender().and_then(|peer| peer.name().map(str::to_owned))));
        Verdict::after(message.reply("yes"))
    };
    poller.poll_once(&mut answer).unwrap();
    let dev_name = Some("dev".to_owned());
    assert_eq!(names, [("are you there?".to_owned(), dev_name), ("and for me?".to_owned(), None)]);
    let sent: Vec<_> = platform.sent().into_iter().map(|sent| (sent.from.unwrap(), sent.to, sent.text)).collect();
    let from = ops.id().to_owned();
    assert_eq!(sent, [(from.clone(), Some(dev.id().to_owned()), "yes".to_owned()), (from, None, "yes".to_owned())]);
    let arrived: Vec<_> = platform.ledger().into_iter().map(|row| (row.workspace_id, row.method)).collect();
    assert_eq!(arrived.len(), 4);
    assert_eq!(arrived[2], (dev.id().to_owned(), "message/send".to_owned()));
    assert_eq!(arrived[3], (ops.id().to_owned(), "notify".to_owned()));
}

#[test]
fn removed_and_purged_workspaces_are_told_apart() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let client = ops.client().build().unwrap();
    ops.remove();
    assert!(client.workspace().unwrap_err().removed().is_some());
    assert_eq!(client.send(dev.id(), "x").unwrap_err().status(), Some(410), "it asks whether it was removed");
    assert_eq!((ops.token(), ops.status().as_deref()), (None, Some("removed")));
    ops.purge();
    assert_eq!(client.workspace().unwrap_err().status(), Some(404));
    assert_eq!(ops.status(), None);
}

#[test]
fn rotated_token_is_refused_until_the_file_has_the_new_one() {
    let platform = Platform::start().unwrap();
    let (ops, dev, folder) = (platform.workspace("ops"), platform.workspace("dev"), Folder::new());
    let file = folder.0.join(".auth_token");
    let old = ops.token().unwrap();
    std::fs::write(&file, &old).unwrap();
    let client =
        Client::builder().platform_url(platform.url()).workspace_id(ops.id()).token_file(&file).build().unwrap();
    assert!(client.send(dev.id(), "before").is_ok());
    let new = ops.rotate_token();
    assert_ne!(old, new);
    assert_eq!(client.send(dev.id(), "between").unwrap_err().kind(), ErrorKind::Unauthorized);
    std::fs::write(&file, &new).unwrap();
    assert!(client.send(dev.id(), "after").is_ok());
    assert_eq!(platform.sent().len(), 2);
}

/// A reader that trusts `since_id` never sees a row that is committed after a newer one was listed.
#[test]
fn late_row_is_listed_by_time_and_not_behind_a_newer_one() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    platform.late_rows(1, Duration::from_secs(3_600));
    platform.send(&dev, &ops, "late").unwrap();
    platform.send(&dev, &ops, "on time").unwrap();
    let listed = activity(&platform, &ops, "type=a2a_receive");
    assert_eq!(listed.len(), 1, "{listed:?}");
    let newest = listed[0]["id"].as_str().unwrap();
    platform.commit_late_rows();
    assert_eq!(activity(&platform, &ops, &format!("since_id={newest}")), [] as [Value; 0]);
    let all = activity(&platform, &ops, "");
    assert_eq!(all[1]["request_body"]["params"]["message"]["parts"][0]["text"], "late");
    assert!(all[1]["seq"].as_u64() < all[0]["seq"].as_u64());
}

/// The sender of a late row is answered when the row is there, as its event comes then.
#[test]
fn sender_of_a_late_row_waits_for_it() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let mut stream = EventStream::open(&host(&platform), ops.id(), &ops.token().unwrap(), "");
    stream.read_until(|text| text.contains(": ping"));
    platform.late_rows(1, Duration::from_millis(200));
    dev.client().build().unwrap().send(ops.id(), "late").unwrap();
    assert_eq!(activity(&platform, &ops, "").len(), 1);
    assert_eq!(stream.events(2).len(), 2);
}

#[test]
fn registry_and_the_whole_platform_can_be_away() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let client = ops.client().build().unwrap();
    platform.registry_down(true);
    assert_eq!(client.discover(dev.id()).unwrap_err().status(), Some(503));
    platform.registry_down(false);
    assert_eq!(client.discover(dev.id()).unwrap().name(), Some("dev"));
    platform.offline(true);
    assert!(client.discover(dev.id()).is_err());
    platform.offline(false);
    platform.restart();
    assert!(client.discover(dev.id()).is_ok());
}

#[test]
fn clock_can_be_ahead_and_events_can_be_muted() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let mut stream = EventStream::open(&host(&platform), ops.id(), &ops.token().unwrap(), "");
    stream.read_until(|text| text.contains(": ping"));
    platform.mute_events(true);
    platform.skew_rows(600);
    platform.send(&dev, &ops, "ahead").unwrap();
    platform.mute_events(false);
    platform.skew_rows(0);
    platform.send(&dev, &ops, "now").unwrap();
    assert!(stream.events(2).iter().all(|event| event.contains("\"text\":\"now\"")));
    let texts: Vec<Value> = activity(&platform, &ops, "")
        .iter()
        .map(|row| row["request_body"]["params"]["message"]["parts"][0]["text"].clone())
        .collect();
    assert_eq!(texts, ["ahead", "now"], "the newest first");
}

#[test]
fn limits_and_slowness_are_as_set() {
    let platform = Platform::start().unwrap();
    let ops = platform.workspace("ops");
    platform.rate_limit(2);
    let path = format!("/workspaces/{}/state", ops.id());
    let statuses: Vec<u16> = (0..3).map(|_| get(&platform, &path, &ops.token().unwrap()).0).collect();
    assert_eq!(statuses, [200, 200, 429]);
    platform.rate_limit(None);
    platform.slow(Duration::from_millis(200));
    let start = Instant::now();
    assert_eq!(get(&platform, &path, &ops.token().unwrap()).0, 200);
    assert!(start.elapsed() >= Duration::from_millis(200));
    platform.slow(Duration::ZERO);
    platform.throttle(2_000);
    let start = Instant::now();
    get(&platform, &path, &ops.token().unwrap());
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
}

#[test]
fn send_waits_in_the_queue_until_its_agent_registers() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.unregistered("ops"), platform.workspace("dev"));
    let reply = dev.client().build().unwrap().send(ops.id(), "early").unwrap();
    assert!(matches!(reply, Reply::Queued(_)), "{reply:?}");
    let rows = activity(&platform, &ops, "");
    let summaries: Vec<&str> = rows.iter().map(|row| row["summary"].as_str().unwrap()).collect();
    assert_eq!(summaries, ["message/send → ops (queued: target busy)", "message/send → ops (ingest)"]);
    ops.prune();
    assert_eq!(activity(&platform, &ops, ""), [] as [Value; 0]);
}

#[test]
fn dropped_file_is_an_upload() {
    let platform = Platform::start().unwrap();
    let ops = platform.workspace("ops");
    let uri = platform.upload(&ops, "a b.txt", "text/plain", "hello");
    let row = &activity(&platform, &ops, "include=peer_info")[0];
    assert_eq!((&row["method"], &row["request_body"]["uri"]), (&json!("chat_upload_receive"), &json!(uri)));
    assert_eq!(row["attachments"][0]["name"], "a_b.txt");
    let file = uri.rsplit('/').next().unwrap();
    let token = ("Authorization".to_owned(), format!("Bearer {}", ops.token().unwrap()));
    let path = format!("/workspaces/{}/pending-uploads/{file}/content", ops.id());
    let answer = send(&host(&platform), "GET", &path, &[token], None, PATIENCE).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
}

#[test]
fn hostile_bytes_change_nothing() {
    let platform = Platform::start().unwrap();
    let ops = platform.workspace("ops");
    let auth = format!("Authorization: Bearer {}", platform.admin_token());
    let deep = "[".repeat(100_000);
    let bodies =
        ["", "{", "[]", "null", "7", "\"x\"", "{\"a\":", "{\"params\":{\"message\":7}}", deep.as_str(), "\u{0}"];
    let calls = ["a2a", "a2a/inbound", "notify", "delegate", "requests", "activity", "activity/ack", "chat/uploads"];
    for call in calls {
        for body in bodies {
            let path = format!("/workspaces/{}/{call}", ops.id());
            let headers = [("Authorization".to_owned(), format!("Bearer {}", platform.admin_token()))];
            let answer = send(&host(&platform), "POST", &path, &headers, Some(body.as_bytes()), PATIENCE).unwrap();
            assert!(answer.status < 500, "{call} {body:.30}: {} {}", answer.status, answer.text());
        }
    }
    for bytes in [
        "\r\n\r\n".to_owned(),
        "GET".to_owned(),
        "GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n".to_owned(),
        format!(
            "GET /workspaces/{}/activity?limit=%&since_secs=99999999999999999999 HTTP/1.1\r\n{auth}\r\n\r\n",
            ops.id()
        ),
        "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n".to_owned(),
        "\u{0}".repeat(70_000),
    ] {
        let mut socket = TcpStream::connect(host(&platform)).unwrap();
        // It may close while it is being sent to.
        let _sent = socket.write_all(bytes.as_bytes());
        let _half = socket.shutdown(std::net::Shutdown::Write);
        let _read = socket.read_to_end(&mut Vec::new());
    }
    assert_eq!(get(&platform, "/health", "x"), (200, json!({ "status": "ok" })));
    assert_eq!(ops.status().as_deref(), Some("online"));
}

/// Open streams and connections, a slow answer and a late row end with the platform.
#[test]
fn dropping_it_ends_its_threads() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let host = host(&platform);
    let mut stream = EventStream::open(&host, ops.id(), &ops.token().unwrap(), "");
    stream.read_until(|text| text.contains(": ping"));
    platform.late_rows(1, Duration::from_secs(3_600));
    platform.slow(Duration::from_secs(3_600));
    let client = dev.client().build().unwrap();
    let id = ops.id().to_owned();
    let sender = std::thread::spawn(move || client.discover(&id));
    platform.send(&dev, &ops, "late").unwrap();
    let idle = TcpStream::connect(&host).unwrap();
    let start = Instant::now();
    drop(platform);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(sender.join().unwrap().is_err());
    assert!(stream.read_until(|_| false).contains(": ping") && stream.is_closed);
    drop(idle);
    assert!(TcpStream::connect(&host).is_err());
}

/// A connection that was accepted and has no thread yet is closed, too.
#[test]
fn dropping_it_ends_although_somebody_connects() {
    for _ in 0..400 {
        let platform = Platform::start().unwrap();
        let host = host(&platform);
        let connections: Vec<_> = (0..8).map(|_| TcpStream::connect(&host).unwrap()).collect();
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(platform);
            ended.send(()).unwrap();
        });
        end.recv_timeout(PATIENCE).expect("a connection holds it up");
        drop(connections);
    }
}
