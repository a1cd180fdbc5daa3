//! A poller's registration, against the embedded platform: each way in which the platform can fool it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{AgentCard, Client, InboxPoller, PollerBuilder, PollerHandle, StopReason, Verdict};
use serde_json::{Value, json};

use crate::poll::{capture_log, logged_by_any_thread};
use crate::relay::{bodies, by_way_of, client_of, relay};
use crate::support::{Dir, Reaction, Server, TIMEOUT, eventually};

const REGISTER: &str = "/registry/register";
const HEARTBEAT: &str = "/registry/heartbeat";

/// Returns a builder of a poller with short waits.
fn quick(client: Client, dir: &Dir) -> PollerBuilder {
    capture_log();
    let builder = InboxPoller::builder(client).cursor_file(dir.file("cursor")).interval(Duration::from_millis(5));
    builder.heartbeat(Some(Duration::from_millis(20)))
}

/// Spawns the poller, and returns what it delivers.
fn spawned(builder: PollerBuilder) -> (PollerHandle, Receiver<String>) {
    let (sender, texts) = mpsc::channel();
    let poller = builder.spawn(move |message| {
        let _ = sender.send(message.text().to_owned());
        Verdict::Ack
    });
    (poller.unwrap(), texts)
}

fn spawn_with(client: Client, dir: &Dir) -> (PollerHandle, Receiver<String>) {
    spawned(quick(client, dir))
}

/// Waits for some heartbeats more, each of which would be followed by another registration if one were due.
fn wait_for_heartbeats(server: &Server) {
    let before = bodies(server, HEARTBEAT).len();
    eventually("heartbeats", || bodies(server, HEARTBEAT).len() > before + 5);
}

fn card_of(workspace: &WorkspaceHandle) -> Value {
    workspace.client().build().unwrap().workspace().unwrap().get("agent_card").cloned().unwrap_or_default()
}

/// Returns the body of a recorded request, with our id in place of the recorded one.
fn recorded(file: &str, what: &str, id: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platform/recorded").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut body = lines.find(|line| line["what"] == what).unwrap()["request"]["body"].clone();
    for field in ["id", "workspace_id"] {
        if body[field].is_string() {
            body[field] = id.into();
        } else {
            body.as_object_mut().unwrap().remove(field);
        }
    }
    body
}

#[test]
fn started_poller_registers_so_that_each_message_comes_once() {
    let platform = Platform::start().unwrap();
    let (ops, dev, dir) = (platform.unregistered("ops"), platform.workspace("dev"), Dir::new("register"));
    assert!(platform.send(&dev, &ops, "before").is_ok());
    let rows = |text: &str| platform.ledger().iter().filter(|row| row.text == text).count();
    assert_eq!(rows("before"), 2, "what a registration is for");
    let server = relay(&platform, |_| None);
    let card = AgentCard::new("c_one");
    let (poller, texts) = spawned(quick(client_of(&server, &ops), &dir).agent_card(card));
    eventually("a registration", || ops.status().as_deref() == Some("online") && card_of(&ops)["name"] == "c_one");
    platform.send(&dev, &ops, "after").unwrap();
    while texts.recv_timeout(TIMEOUT).unwrap() != "after" {}
    assert_eq!(rows("after"), 1);
    wait_for_heartbeats(&server);
    let expected = recorded("registration.jsonl", "c: register, right token", ops.id());
    assert_eq!(bodies(&server, REGISTER), [expected], "once, as the recorded one");
    let requests = server.requests();
    let of_register = requests.iter().find(|request| request.path == REGISTER).unwrap();
    let bearer = format!("Bearer {}", ops.token().unwrap());
    assert_eq!((of_register.method.as_str(), of_register.header("authorization")), ("POST", Some(bearer.as_str())));
    poller.stop();
}

#[test]
fn without_a_card_of_ours_the_one_that_is_there_goes_back_whole() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("register-card"));
    let client = ops.client().build().unwrap();
    let card = AgentCard::new("x").with_field("later", json!({ "a": [1, 2.5, null] })).with_skill("s");
    client.update_card(&card).unwrap();
    let server = relay(&platform, |_| None);
    let (poller, _) = spawn_with(client_of(&server, &ops), &dir);
    eventually("a registration", || !bodies(&server, REGISTER).is_empty());
    assert_eq!(bodies(&server, REGISTER)[0]["agent_card"], Value::from(card.as_json().clone()));
    poller.stop();

    let (nameless, other) = (platform.unregistered("nobody"), Dir::new("register-name"));
    let (poller, _) = spawn_with(client_of(&server, &nameless), &other);
    eventually("a registration", || bodies(&server, REGISTER).len() == 2);
    assert_eq!(bodies(&server, REGISTER)[1]["agent_card"], json!({ "name": "nobody" }));
    poller.stop();
}

#[test]
fn two_pollers_leave_each_others_cards_alone() {
    let platform = Platform::start().unwrap();
    let ops = platform.unregistered("ops");
    let server = relay(&platform, |_| None);
    let (first, second) = (Dir::new("register-two-a"), Dir::new("register-two-b"));
    let card = AgentCard::new("first").with_field("later", json!(7));
    let (one, _) = spawned(quick(client_of(&server, &ops), &first).agent_card(card));
    eventually("the first registration", || card_of(&ops)["later"] == 7);
    let before = card_of(&ops);
    let (two, _) = spawn_with(client_of(&server, &ops), &second);
    eventually("the second registration", || bodies(&server, REGISTER).len() == 2);
    wait_for_heartbeats(&server);
    assert_eq!((card_of(&ops), bodies(&server, REGISTER).len()), (before, 2));
    one.stop();
    two.stop();
}

/// A registration would be answered 200, with a token that works nowhere.
#[test]
fn removed_workspace_is_not_registered_and_ends_the_poller() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("register-removed"));
    let server = relay(&platform, |_| None);
    let client = client_of(&server, &ops);
    ops.remove();
    let (poller, _) = spawn_with(client, &dir);
    let Some(StopReason::Removed(removed)) = poller.join() else { panic!("{poller:?}") };
    assert_eq!(removed.id, ops.id());
    assert_eq!(bodies(&server, REGISTER), [] as [Value; 0]);
}

/// A registration would make a new workspace without a name, which looks healthy.
#[test]
fn purged_or_mistyped_workspace_is_not_registered_and_ends_the_poller() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("register-purged"));
    let server = relay(&platform, |_| None);
    let (client, mistyped) = (client_of(&server, &ops), by_way_of(&server, &ops).workspace_id(crate::support::PEER));
    let other = Dir::new("register-mistyped");
    let (poller, _) = spawn_with(mistyped.build().unwrap(), &other);
    let Some(StopReason::Removed(removed)) = poller.join() else { panic!("{poller:?}") };
    assert!(removed.id == crate::support::PEER && removed.hint.contains("check the id"), "{removed:?}");
    ops.remove();
    ops.purge();
    let (poller, _) = spawn_with(client, &dir);
    assert!(matches!(poller.join(), Some(StopReason::Removed(_))), "{poller:?}");
    assert_eq!((bodies(&server, REGISTER), ops.status()), (Vec::new(), None));
}

/// A registration then brings a token of the workspace. Our old one would be answered 200, too.
#[test]
fn workspace_for_which_no_token_lives_is_not_registered() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("register-revoked"));
    let server = relay(&platform, |_| None);
    let client = client_of(&server, &ops);
    ops.revoke_tokens();
    let (poller, _) = spawn_with(client, &dir);
    let (url, id) = (server.url(), ops.id());
    let line = ["ERROR", "inbox: not registered", &url, id, "state: answered 401"];
    eventually("an error in the log", || logged_by_any_thread(&line) == 1);
    wait_for_heartbeats(&server);
    assert_eq!((bodies(&server, REGISTER), ops.token()), (Vec::new(), None));
    assert_eq!(poller.reason(), None, "it polls on");
    poller.stop();
}

/// The token can be revoked after it was proven.
#[test]
fn token_that_comes_back_is_refused_and_shown_nowhere() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("register-fooled"));
    let server = relay(&platform, |request| {
        request.path.ends_with("/state").then(|| Reaction::reply(200, r#"{"status":"online","paused":false}"#))
    });
    let client = client_of(&server, &ops);
    ops.revoke_tokens();
    let error = client.register(&AgentCard::new("x")).unwrap_err();
    assert!(error.to_string().contains("the platform issued a new token"), "{error}");
    let token = ops.token().unwrap();
    ops.revoke_tokens();
    let (poller, _) = spawn_with(client, &dir);
    let url = server.url();
    let line = ["ERROR", "inbox: not registered", &url, "issued a new token"];
    eventually("an error in the log", || logged_by_any_thread(&line) == 1);
    poller.stop();
    let secrets = [token, ops.token().unwrap(), ops.inbound_secret().unwrap()];
    for secret in secrets {
        assert!(!format!("{error} {error:?} {error:#?} {:?}", error.body_snippet()).contains(&secret));
        assert_eq!(logged_by_any_thread(&[&secret]), 0);
    }
}

#[test]
fn poller_without_a_token_registers_nothing() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.workspace("ops"), Dir::new("register-tokenless"));
    ops.revoke_tokens();
    let server = relay(&platform, |_| None);
    let client = by_way_of(&server, &ops).token("").build().unwrap();
    let (poller, _) = spawn_with(client, &dir);
    wait_for_heartbeats(&server);
    let asked = server.requests().iter().filter(|request| request.path.ends_with("/state")).count();
    assert_eq!((bodies(&server, REGISTER), asked, ops.token()), (Vec::new(), 0, None));
    poller.stop();
}

/// The URL may be that of another program with our token, and a registration wipes it.
#[test]
fn push_agent_is_left_alone_unless_told_otherwise() {
    let platform = Platform::start().unwrap();
    let agent = Server::play([Reaction::reply(200, "{}")]);
    let ops = platform.push_agent("ops", &agent.url());
    let (server, dir) = (relay(&platform, |_| None), Dir::new("register-push"));
    let url = || ops.client().build().unwrap().workspace().unwrap().get("url").cloned().unwrap();
    let (poller, _) = spawn_with(client_of(&server, &ops), &dir);
    let at = agent.url();
    let line = ["ERROR", "the workspace belongs to an agent at", &at, "not registered", "register(true)"];
    eventually("an error in the log", || logged_by_any_thread(&line) == 1);
    wait_for_heartbeats(&server);
    assert_eq!((url(), logged_by_any_thread(&line)), (at.clone().into(), 1));
    poller.stop();
    assert_eq!(bodies(&server, REGISTER), [] as [Value; 0]);
    let (poller, _) = spawned(quick(client_of(&server, &ops), &dir).register(true));
    eventually("no URL", || url() == "");
    poller.stop();
}

#[test]
fn registration_can_be_turned_off() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.unregistered("ops"), Dir::new("register-off"));
    let server = relay(&platform, |_| None);
    let (poller, _) = spawned(quick(client_of(&server, &ops), &dir).register(false));
    wait_for_heartbeats(&server);
    poller.stop();
    let mut once = quick(client_of(&server, &ops), &dir).build().unwrap();
    once.poll_once(|_| Verdict::Ack).unwrap();
    assert_eq!(bodies(&server, REGISTER), [] as [Value; 0], "nor does `poll_once` register");
    let asked = server.requests().iter().filter(|request| request.path == format!("/workspaces/{}", ops.id())).count();
    assert_eq!(asked, 0);
}

#[test]
fn registration_that_fails_stops_no_poll_and_is_tried_again() {
    let platform = Platform::start().unwrap();
    let (ops, dev, dir) = (platform.unregistered("ops"), platform.workspace("dev"), Dir::new("register-again"));
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let server = relay(&platform, move |request| {
        let fails = request.path == REGISTER && counted.fetch_add(1, SeqCst) < 3;
        fails.then(|| Reaction::reply(500, r#"{"error":"registration failed"}"#))
    });
    let (poller, texts) = spawn_with(client_of(&server, &ops), &dir);
    platform.send(&dev, &ops, "meanwhile").unwrap();
    assert_eq!(texts.recv_timeout(TIMEOUT).unwrap(), "meanwhile");
    eventually("a registration", || tries.load(SeqCst) == 4);
    let url = server.url();
    eventually("its end in the log", || logged_by_any_thread(&[&format!("inbox: registered at {url}, after 3")]) == 1);
    let line = ["WARN", "inbox: not registered", &url, "registration failed", "messages are polled all the same"];
    assert_eq!(logged_by_any_thread(&line), 1, "the series is said once");
    poller.stop();
}

/// Something before the platform does not know the origin or the organisation: that says nothing of the workspace.
#[test]
fn answer_without_a_body_ends_no_poller() {
    for status in [403, 404] {
        let platform = Platform::start().unwrap();
        let (ops, dev, dir) = (platform.unregistered("ops"), platform.workspace("dev"), Dir::new("register-edge"));
        let own = format!("/workspaces/{}", ops.id());
        let server = relay(&platform, move |request| (request.path == own).then(|| Reaction::reply(status, "")));
        let (poller, texts) = spawn_with(client_of(&server, &ops), &dir);
        platform.send(&dev, &ops, "x").unwrap();
        assert_eq!(texts.recv_timeout(TIMEOUT).unwrap(), "x");
        let (url, status) = (server.url(), format!("answered {status} without a body"));
        let line = ["ERROR", "inbox: not registered", &url, &status, "check the origin and the org id"];
        eventually("an error in the log", || logged_by_any_thread(&line) == 1);
        wait_for_heartbeats(&server);
        assert_eq!((poller.reason(), bodies(&server, REGISTER).len()), (None, 0));
        poller.stop();
    }
}

/// Older platforms do not know these calls. No answer, or a late one, holds no message back for long.
#[test]
fn platform_that_does_not_answer_delays_no_message() {
    for reaction in [
        Reaction::reply(404, r#"{"error":"no such endpoint"}"#),
        Reaction::reply(501, ""),
        Reaction::reply(200, "{"),
        Reaction::reply(503, "{}").header("Retry-After", "3600"),
        Reaction::Close,
        Reaction::Hang,
    ] {
        let platform = Platform::start().unwrap();
        let (ops, dev, dir) = (platform.workspace("ops"), platform.workspace("dev"), Dir::new("register-silent"));
        platform.send(&dev, &ops, "waits").unwrap();
        let (own, what) = (format!("/workspaces/{}", ops.id()), format!("{reaction:?}"));
        let server = relay(&platform, move |request| {
            let is_new = [own.as_str(), REGISTER].contains(&request.path.as_str()) || request.path.ends_with("/state");
            is_new.then(|| reaction.clone())
        });
        let start = Instant::now();
        let (poller, texts) = spawn_with(client_of(&server, &ops), &dir);
        assert_eq!(texts.recv_timeout(TIMEOUT).as_deref(), Ok("waits"), "{what}");
        assert!(start.elapsed() < Duration::from_secs(8), "{what}: {:?}", start.elapsed());
        platform.send(&dev, &ops, "later").unwrap();
        assert_eq!(texts.recv_timeout(TIMEOUT).as_deref(), Ok("later"), "{what}");
        assert_eq!(poller.reason(), None, "{what}");
        let start = Instant::now();
        poller.stop();
        assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?} to stop", start.elapsed());
    }
}

#[test]
fn messages_of_a_paused_workspace_stay_unless_told_otherwise() {
    for status in ["paused", "hibernated"] {
        let platform = Platform::start().unwrap();
        let (ops, dev, dir) = (platform.workspace("ops"), platform.workspace("dev"), Dir::new("register-paused"));
        platform.send(&dev, &ops, "x").unwrap();
        ops.set_status(status);
        let server = relay(&platform, |_| None);
        let (poller, texts) = spawn_with(client_of(&server, &ops), &dir);
        eventually("a paused poller", || poller.health().is_paused);
        wait_for_heartbeats(&server);
        let listed = server.requests().iter().filter(|request| request.path.contains("/activity?")).count();
        assert_eq!((listed, texts.try_recv().ok()), (0, None), "{status}");
        let health = poller.health();
        assert_eq!(health.workspace_status.as_deref(), Some(status));
        assert!(health.since_success.is_some() && health.since_heartbeat.is_some(), "{health:?}");
        assert_eq!((bodies(&server, REGISTER).len(), ops.status().as_deref()), (0, Some(status)), "not now");
        poller.stop();
        let id = &ops.id()[..8];
        assert!(
            id.len() == 8 && logged_by_any_thread(&["WARN", "the workspace is", status, "stay at the platform"]) > 0
        );
        let (poller, texts) = spawned(quick(client_of(&server, &ops), &dir).deliver_paused(true));
        assert_eq!(texts.recv_timeout(TIMEOUT).as_deref(), Ok("x"), "{status}");
        eventually("its state", || poller.health().is_paused);
        poller.stop();
    }
}

/// An agent that was gone for 180 s needs no registration: its next heartbeat is enough.
#[test]
fn heartbeat_alone_brings_an_agent_back() {
    let platform = Platform::start().unwrap();
    let (ops, dir) = (platform.unregistered("ops"), Dir::new("register-gone"));
    let server = relay(&platform, |_| None);
    let (poller, _) = spawn_with(client_of(&server, &ops), &dir);
    eventually("a registration", || ops.status().as_deref() == Some("online"));
    ops.set_status("awaiting_agent");
    eventually("a heartbeat", || ops.status().as_deref() == Some("online"));
    wait_for_heartbeats(&server);
    assert_eq!(bodies(&server, REGISTER).len(), 1);
    poller.stop();
}
