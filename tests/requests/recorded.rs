//! Exchanges recorded from the real server: each call sends the same request, and reads the recorded answer.

use std::fmt::Debug;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use a2a_blocking::{Client, DelegatedTask, Error, ErrorKind, NewRequest, Notice, RequestAction};
use serde_json::{Value, json};

use crate::support::{PEER, Reaction, Request, Server, WORKSPACE, builder};

/// The id of the task that most lines are about.
const TASK: &str = "6cae6a3c-e23a-45fe-8aa0-e3f0f448b4b5";
const DELEGATION: &str = "e9fc72b0-a77c-4813-98fb-e4f7ad14ad54";

/// Returns the line with this `what`, with our id for that of the workspace in its path, and `PEER` for all others.
fn line(file: &str, what: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platform/recorded").join(format!("{file}.jsonl"));
    let text = fs::read_to_string(path).unwrap();
    let found = text.lines().find(|line| line.contains(&format!("\"what\": \"{what}\"")));
    let found = found.unwrap_or_else(|| panic!("{file} has no {what}"));
    let line: Value = serde_json::from_str(found).unwrap();
    let own = line["request"]["path"].as_str().unwrap().split('/').nth(2).unwrap().to_owned();
    let found = found.replace(&own, WORKSPACE);
    let mut out = String::new();
    let mut rest = found.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let end = after.find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_').unwrap_or(0);
        out += before;
        let is_mask = end > 0 && after[end..].starts_with('}');
        out += if is_mask { PEER } else { "{" };
        rest = if is_mask { &after[end + 1..] } else { after };
    }
    serde_json::from_str(&(out + rest)).unwrap()
}

/// Makes a call against the recorded answer, and checks its request. Returns the outcome and the request.
fn exchange<T: Debug>(
    file: &str,
    what: &str,
    call: impl FnOnce(&Client) -> Result<T, Error>,
) -> (Result<T, Error>, Request) {
    let line = line(file, what);
    let status = u16::try_from(line["status"].as_u64().unwrap()).unwrap();
    let server = Server::play([Reaction::reply(status, line["body"].to_string())]);
    let client = builder(&server).token("hush-hush").build().unwrap();
    let outcome = call(&client);
    // After a 401 the client asks whether its workspace was removed.
    let is_question = |request: &Request| request.path == format!("/workspaces/{WORKSPACE}");
    let requests: Vec<Request> = server.requests().into_iter().filter(|request| !is_question(request)).collect();
    assert_eq!(requests.len(), 1, "{what}: {outcome:?}");
    let (request, recorded) = (requests[0].clone(), &line["request"]);
    assert_eq!((json!(request.method), json!(request.path)), (recorded["method"].clone(), recorded["path"].clone()));
    assert_eq!(request.header("authorization"), Some("Bearer hush-hush"), "{what}");
    let is_success = (200..300).contains(&status);
    assert_eq!(outcome.is_ok(), is_success, "{what}: {outcome:?}");
    if let Err(error) = &outcome {
        let words = line["body"]["error"].as_str().unwrap();
        assert!(error.status() == Some(status) && error.to_string().contains(words), "{what}: {error}");
    }
    match &recorded["body"] {
        Value::Object(_) => {
            assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), recorded["body"], "{what}");
        }
        Value::Null if request.method == "POST" => assert_eq!(request.body, b"{}", "{what}"),
        _ => {}
    }
    (outcome, request)
}

fn requests<T: Debug>(what: &str, call: impl FnOnce(&Client) -> Result<T, Error>) -> Result<T, Error> {
    exchange("requests", what, call).0
}

#[test]
fn requests_are_made_as_recorded() {
    let approval = NewRequest::approval("Deploy?").detail("to production").priority(1);
    let id = requests("approval to a user", |client| client.request(&approval)).unwrap();
    assert_eq!(id, "0d3b6133-e12e-49e1-a9d4-08aaee6abf69");
    let task = NewRequest::task("Count").to_agent(PEER).unwrap().detail("to three");
    assert_eq!(requests("task to an agent", |client| client.request(&task)).unwrap(), TASK);
    let nobody = NewRequest::task("x").to_agent("4d05b574-45c4-40f2-a8c6-ca848ca326de").unwrap();
    requests("to nobody", |client| client.request(&nobody)).unwrap();
    let foreign = NewRequest::task("x").to_agent(PEER).unwrap();
    let refused = requests("with another's token", |client| client.request(&foreign)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthorized);
}

#[test]
fn requests_are_listed_as_recorded() {
    let own = requests("outgoing", Client::requests).unwrap();
    let titles: Vec<_> = own.iter().map(|request| (request.title().unwrap(), request.status().unwrap())).collect();
    assert_eq!(titles, [("x", "pending"), ("Count", "pending"), ("Deploy?", "pending")]);
    assert_eq!((own[2].kind(), own[2].priority(), own[2].recipient_type()), (Some("approval"), Some(1), Some("user")));
    let inbox = requests("inbox of the doer", Client::request_inbox).unwrap();
    let pending = requests("inbox, pending", Client::pending_requests).unwrap();
    assert_eq!(inbox, pending);
    let [request] = &pending[..] else { panic!("{pending:?}") };
    assert_eq!((request.id(), request.kind(), request.detail()), (TASK, Some("task"), Some("to three")));
    assert_eq!((request.requester_type(), request.requester_id()), (Some("agent"), Some(PEER)));
    assert_eq!((request.recipient_id(), request.priority()), (Some(WORKSPACE), None));
    assert_eq!(request.created_at(), Some("2026-11-29T15:47:28.759723Z"));
    assert_eq!(request.as_json()["org_id"], "ea3cfcf1-cb9c-53b4-90fd-c53123569c4a");
    let after = requests("outgoing after", Client::requests).unwrap();
    let statuses: Vec<_> = after.iter().map(|request| request.status().unwrap()).collect();
    assert_eq!(statuses, ["pending", "rejected", "approved"]);
}

#[test]
fn request_and_its_messages_are_as_recorded() {
    let details = requests("get with messages", |client| client.request_details(TASK)).unwrap();
    assert_eq!(details.request.status(), Some("info_requested"));
    let bodies: Vec<_> = details.messages.iter().map(|message| message.body().unwrap()).collect();
    assert_eq!(bodies, ["from one?", "yes"]);
    let first = &details.messages[0];
    assert_eq!((first.author_type(), first.author_id()), (Some("agent"), Some(PEER)));
    assert_eq!(first.id(), Some("33c842be-d910-465d-9810-cad3a63f8e31"));
    assert_eq!(first.as_json()["request_id"], TASK);
    assert_eq!(requests("get as recipient", |client| client.request_details(TASK)).unwrap().messages, []);
    let third = requests("get as third", |client| client.request_details(TASK)).unwrap_err();
    assert_eq!(third.kind(), ErrorKind::Status, "not a refused token: {third}");
    let id = requests("ask back", |client| client.request_message(TASK, "from one?")).unwrap();
    assert_eq!(id, "33c842be-d910-465d-9810-cad3a63f8e31");
    requests("answer to that", |client| client.request_message(TASK, "yes")).unwrap();
}

#[test]
fn responses_and_cancels_are_as_recorded() {
    let respond = |what: &str, action| requests(what, |client| client.respond(TASK, action));
    respond("respond rejected", RequestAction::Rejected).unwrap();
    assert_eq!(respond("respond as third", RequestAction::Done).unwrap_err().kind(), ErrorKind::Status);
    assert_eq!(respond("respond approved", RequestAction::Approved).unwrap_err().status(), Some(400));
    let over = respond("respond done", RequestAction::Done).unwrap_err();
    assert_eq!(over.kind(), ErrorKind::NotFound, "{over}");
    let cancel = |what: &str| requests(what, |client| client.cancel_request("60480480-e97d-4937-b7d2-a7e0e507f730"));
    cancel("cancel").unwrap();
    let foreign = cancel("cancel as recipient").unwrap_err();
    assert_eq!((foreign.kind(), foreign.delivery().as_str()), (ErrorKind::Status, "not_sent"), "{foreign}");
}

#[test]
fn instructions_are_as_recorded() {
    let text = requests("instructions", Client::instructions).unwrap();
    assert!(text.starts_with("\n## Platform-Wide Rules\n\n### "), "{text:?}");
    let refused = requests("instructions with another's token", Client::instructions).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthorized);
}

#[test]
fn delegations_are_as_recorded() {
    let task = |key: &str| DelegatedTask::new("count to three").idempotency_key(key);
    let first = exchange("first", "delegate", |client| client.delegate(PEER, task("k1"))).0.unwrap();
    assert_eq!((first.status.as_str(), first.is_repeat), ("delegated", false));
    let again = exchange("first", "delegate again", |client| client.delegate(PEER, task("k1"))).0.unwrap();
    assert_eq!((again.status.as_str(), again.is_repeat), ("dispatched", true));
    assert_eq!(first.delegation_id, again.delegation_id);
    exchange("push-agents", "f3: delegate to it", |client| client.delegate(PEER, "message")).0.unwrap();
    let unknown = "9d2fabaf-2494-41b9-be68-638a17c36d03";
    exchange("rows", "h: delegate to an unknown", |client| client.delegate(unknown, "h")).0.unwrap();

    let listed = exchange("rows", "h: delegations", Client::delegations).0.unwrap();
    let steps: Vec<_> = listed.iter().map(|entry| entry.status().unwrap()).collect();
    assert_eq!(steps, ["ok", "completed", "completed"]);
    assert!(listed.iter().all(|entry| entry.delegation_id() == Some(DELEGATION) && entry.target_id() == Some(PEER)));
    assert_eq!(listed[0].summary(), Some("Delegation result delivered"));
    assert!(listed[0].response_preview().unwrap().contains("queued"));
    assert_eq!(listed[0].as_json()["type"], "a2a_receive");
    assert!(exchange("rows", "h: delegations of the callee", Client::delegations).0.unwrap().is_empty());

    let update = "h: update by the caller";
    exchange("rows", update, |client| client.complete_delegation(DELEGATION, "caller")).0.unwrap();
    exchange("rows", "h: update, failed", |client| client.fail_delegation(DELEGATION, "x")).0.unwrap();
}

#[test]
fn uploads_and_notices_are_as_recorded() {
    let upload = |what: &str, name: &str| {
        let (file, request) =
            exchange("queue", what, |client| client.upload(name, "text/plain", Cursor::new("hello file")));
        let kind = request.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let name = name.replace('"', "\\\"");
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: text/plain\r\n\r\nhello file\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(request.body).unwrap(), expected);
        file.unwrap()
    };
    let file = upload("q: upload", "note.txt");
    assert_eq!((file.name.as_str(), file.media_type.as_deref(), file.size), ("note.txt", Some("text/plain"), Some(10)));
    assert_eq!(file.uri, format!("platform-pending:{WORKSPACE}/5adfce0f-79b1-454a-9ada-0420e927f11a"));
    assert_eq!(upload("q: upload, odd name", "../../etc/pa sswd").name, "pa_sswd");
    upload("q: upload, long name", &("x".repeat(400) + "\".txt"));

    exchange("first", "notify", |client| client.notify("hello human")).0.unwrap();
    let link = Notice::new("note").attach_link("https://x.test/a", "a");
    exchange("rows", "h: notify", |client| client.notify(link)).0.unwrap();
    // As the recorded one, with an address of the platform's in the place of another.
    let server = Server::play([Reaction::reply(200, r#"{"status":"sent"}"#)]);
    builder(&server).build().unwrap().notify(Notice::new("see").attach(&file)).unwrap();
    let mut recorded = line("first", "notify with attachment")["request"]["body"].clone();
    recorded["attachments"][0] = json!({ "uri": file.uri, "name": "note.txt", "mimeType": "text/plain", "size": 10 });
    assert_eq!(serde_json::from_slice::<Value>(&server.requests()[0].body).unwrap(), recorded);
}

#[test]
fn content_of_a_file_is_as_recorded() {
    let fetch = |client: &Client, id: &str| {
        let mut content = Vec::new();
        let fetched = client.open_file(format!("platform-pending:{WORKSPACE}/{id}"))?.write_to(&mut content);
        fetched.map(|_| String::from_utf8(content).unwrap())
    };
    let file = "5adfce0f-79b1-454a-9ada-0420e927f11a";
    let unknown = "58afbc36-596c-45c3-80e2-a118ec49aaaf";
    for (what, id, kind) in [
        ("q: content, another's token", file, ErrorKind::Unauthorized),
        ("q: content under another's path", file, ErrorKind::NotFound),
        ("q: content, unknown", unknown, ErrorKind::NotFound),
        ("q: content, no UUID", "x", ErrorKind::Status),
    ] {
        let error = exchange("queue", what, |client| fetch(client, id)).0.unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
    let (content, ack) = (line("queue", "q: content"), line("queue", "q: ack"));
    for ack in [&ack, &line("queue", "q: ack again"), &line("queue", "q: ack unknown")] {
        let status = u16::try_from(ack["status"].as_u64().unwrap()).unwrap();
        let text = content["body"].as_str().unwrap();
        let server = Server::play([Reaction::reply(200, text), Reaction::reply(status, ack["body"].to_string())]);
        assert_eq!(fetch(&builder(&server).build().unwrap(), file).unwrap(), "hello file");
        let requests = server.requests();
        assert_eq!(json!(requests[0].path), content["request"]["path"]);
        assert_eq!(serde_json::from_slice::<Value>(&requests[1].body).unwrap(), ack["request"]["body"]);
    }
    assert_eq!(json!(format!("/workspaces/{WORKSPACE}/pending-uploads/{file}/ack")), ack["request"]["path"]);
}
