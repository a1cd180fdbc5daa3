//! A workspace that the platform removed, and a token that it refuses: which of the two it is, in every call.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use a2a_blocking::testing::Platform;
use a2a_blocking::{Client, Delivery, Error, ErrorKind, LookupSource, StopReason, Verdict};

use crate::poll::{capture_log, logged};
use crate::poller::{eventually, fast_poller, recorder};
use crate::support::{Dir, PEER, Reaction, Server, WORKSPACE, client};

const REFUSED: &str = r#"{"error":"invalid caller auth token"}"#;

/// Longer than [`eventually`] waits, with the backoff's quarter less.
const LONG: Duration = Duration::from_secs(60);

/// A call that fails.
type FailingCall = fn(&Client, &Dir) -> Error;

/// Each call that proves our token.
const CALLS: &[(&str, FailingCall)] = &[
    ("activity", |client, dir| {
        fast_poller(client.clone(), dir).build().unwrap().poll_once(|_| Verdict::Ack).unwrap_err()
    }),
    ("state", |client, _| client.state().unwrap_err()),
    ("notify", |client, _| client.notify("text").unwrap_err()),
    ("send", |client, _| client.send(PEER, "text").unwrap_err()),
];

/// Asserts that an error is the removal of this workspace, and that nothing was sent.
fn assert_removed(error: &Error, id: &str, call: &str) {
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Removed, Delivery::NotSent), "{call}: {error}");
    let removed = error.removed().unwrap();
    assert_eq!(removed.id, id, "{call}");
    assert!(!error.is_transient() && removed.hint.contains("Create a"), "{call}: {error}");
}

#[test]
fn poller_of_a_removed_workspace_ends_and_every_later_call_says_so() {
    let (platform, dir) = (Platform::start().unwrap(), Dir::new("removal-poller"));
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let client = ops.client().build().unwrap();
    let (texts, callback) = recorder();
    // A registration that is under way at the removal would make the platform issue a token, and refuse ours in lookups, too.
    let builder = fast_poller(client.clone(), &dir).register(false);
    let poller = builder.heartbeat(Some(Duration::from_millis(20))).spawn(callback).unwrap();
    platform.send(&dev, &ops, "before").unwrap();
    eventually("a message", || texts.lock().unwrap().len() == 1);
    ops.remove();
    let Some(StopReason::Removed(removed)) = poller.join() else { panic!("{poller:?}") };
    assert!(removed.id == ops.id() && removed.removed_at.is_some() && removed.hint.contains("Create a replacement"));
    for (name, call) in CALLS {
        assert_removed(&call(&client, &dir), ops.id(), name);
    }
    // The platform answers these two with 200 all the same.
    assert_removed(&client.peers().unwrap_err(), ops.id(), "peers");
    assert_removed(&client.discover(dev.id()).unwrap_err(), ops.id(), "discover");
    // No lookup is held up, and no other workspace concerned.
    assert_eq!(client.lookup(dev.id()).source, LookupSource::Fetched);
    dev.client().build().unwrap().state().unwrap();
}

#[test]
fn each_call_finds_the_removal_by_itself() {
    let (platform, dir) = (Platform::start().unwrap(), Dir::new("removal-calls"));
    let ops = platform.workspace("ops");
    let builder = ops.client();
    ops.remove();
    for (name, call) in CALLS {
        let error = call(&builder.clone().build().unwrap(), &dir);
        assert_removed(&error, ops.id(), name);
        assert_eq!(error.status(), Some(410), "{name}");
    }
}

#[test]
fn heartbeat_finds_the_removal_while_the_callback_runs() {
    let dir = Dir::new("removal-heartbeat");
    // As a platform answers where somebody registered the removed workspace again.
    let gone = format!(r#"{{"error":"workspace removed","hint":"Create another","id":"{WORKSPACE}"}}"#);
    let is_removed = AtomicBool::new(false);
    let server = Server::decide(move |_, request| match request.path.as_str() {
        "/registry/heartbeat" => {
            is_removed.store(true, SeqCst);
            Reaction::reply(401, REFUSED)
        }
        path if path.starts_with("/workspaces") && path.ends_with(WORKSPACE) => Reaction::reply(410, gone.as_bytes()),
        _ => Reaction::reply(200, r#"[{"id":"r-1","summary":"text"}]"#),
    });
    let (ended, wait) = std::sync::mpsc::channel::<()>();
    let builder = fast_poller(client(&server), &dir).heartbeat(Some(Duration::from_millis(20)));
    let poller = builder.spawn(move |_| {
        let _ = wait.recv();
        Verdict::Ack
    });
    let poller = poller.unwrap();
    eventually("the reason", || poller.reason().is_some());
    drop(ended);
    assert!(matches!(poller.join(), Some(StopReason::Removed(removed)) if removed.id == WORKSPACE));
}

/// The platform answers 401 also while its database is down.
#[test]
fn a_401_alone_ends_nothing() {
    let present = format!(r#"{{"id":"{WORKSPACE}"}}"#);
    for (status, body) in [
        (200, present.as_str()),
        (401, REFUSED),
        (403, ""),
        (404, ""),
        (404, "<html>"),
        (410, r#"{"error":"gone","id":"3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c"}"#),
        (500, r#"{"error":"lookup failed"}"#),
    ] {
        let (body, dir) = (body.to_owned(), Dir::new("removal-undecided"));
        let server = Server::decide(move |_, request| match request.path.ends_with(WORKSPACE) {
            true => Reaction::reply(status, &body),
            false => Reaction::reply(401, REFUSED),
        });
        let client = client(&server);
        for (name, call) in CALLS {
            let error = call(&client, &dir);
            assert_eq!(
                (error.kind(), error.status(), error.delivery()),
                (ErrorKind::Unauthorized, Some(401), Delivery::NotSent),
                "{name}: {status}: {error}"
            );
        }
        let (_, callback) = recorder();
        let poller = fast_poller(client, &dir).spawn(callback).unwrap();
        eventually("some polls", || poller.health().consecutive_failures > 2);
        assert_eq!(poller.reason(), None);
    }
}

#[test]
fn platform_is_asked_once_for_many_calls_and_not_by_a_lookup() {
    let dir = Dir::new("removal-asked");
    let server = Server::play([Reaction::reply(401, REFUSED)]);
    let client = client(&server);
    let asked = || server.requests().iter().filter(|request| request.path.ends_with(WORKSPACE)).count();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert_eq!(asked(), 0);
    for _ in 0..3 {
        for (_, call) in CALLS {
            call(&client, &dir);
        }
    }
    assert_eq!(asked(), 1);
}

#[test]
fn refused_token_of_a_workspace_that_is_there_is_logged_once_as_an_error() {
    capture_log();
    let platform = Platform::start().unwrap();
    let client = platform.workspace("ops").client().token("not-the-token").build().unwrap();
    for call in [Client::state, Client::state] {
        assert_eq!(call(&client).unwrap_err().kind(), ErrorKind::Unauthorized);
        assert_eq!(logged(&["ERROR", &platform.url(), "refuses our token, and has our workspace"]), 1);
    }
    assert_eq!(logged(&["not-the-token"]), 0);
}

/// It takes the ten seconds that two answers must be apart.
#[test]
fn purged_workspace_ends_the_poller_by_its_second_poll() {
    let (platform, dir) = (Platform::start().unwrap(), Dir::new("removal-purge"));
    let ops = platform.workspace("ops");
    let builder = ops.client();
    ops.purge();
    let client = builder.clone().build().unwrap();
    let error = client.state().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "one answer says nothing");
    let (_, callback) = recorder();
    // A longer interval would miss the time limit.
    // A registration finds it at the start.
    let builder = fast_poller(client.clone(), &dir).register(false);
    let poller = builder.interval(LONG).spawn(callback).unwrap();
    eventually("its end", || poller.is_finished());
    let Some(StopReason::Removed(removed)) = poller.join() else { panic!("{poller:?}") };
    assert!(removed.id == ops.id() && removed.hint.contains("purged"), "{removed:?}");
    let error = client.state().unwrap_err();
    assert_removed(&error, ops.id(), "state");
    assert_eq!(error.status(), Some(404));
}

/// The platform's edge answers a wrong organisation with an empty 404, whatever became of the workspace.
#[test]
fn purged_workspace_and_a_wrong_organisation_are_told_apart() {
    let (platform, dir) = (Platform::start().unwrap(), Dir::new("removal-organisation"));
    platform.tenant(Some("org-1"));
    let ops = platform.workspace("ops");
    let builder = ops.client().org_id("org-2");
    for is_purged in [false, true] {
        if is_purged {
            ops.purge();
        }
        for (name, call) in CALLS {
            let error = call(&builder.clone().build().unwrap(), &dir);
            assert_eq!((error.kind(), error.status()), (ErrorKind::Status, Some(404)), "{name}: {error}");
            assert!(error.to_string().contains("check the origin and the org id"), "{name}: {error}");
        }
    }
}

#[test]
fn poll_and_heartbeat_go_on_when_the_token_file_changes() {
    let (platform, dir) = (Platform::start().unwrap(), Dir::new("rotation"));
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let file = dir.file("token");
    fs::write(&file, ops.token().unwrap()).unwrap();
    let client = Client::builder().platform_url(platform.url()).workspace_id(ops.id()).token_file(&file);
    let client = client.build().unwrap();
    let token = ops.rotate_token();
    platform.send(&dev, &ops, "after").unwrap();
    let (texts, callback) = recorder();
    // Neither the backoff nor the interval ends in the time of the test.
    let builder = fast_poller(client.clone(), &dir).interval(LONG).heartbeat(Some(LONG));
    let poller = builder.spawn(callback).unwrap();
    eventually("a refused poll and heartbeat", || {
        let health = poller.health();
        health.consecutive_failures == 1 && health.heartbeat_failures == 1
    });
    assert!(texts.lock().unwrap().is_empty());
    // In the middle of a rotation the file is empty, or gone.
    fs::write(&file, "").unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, token).unwrap();
    eventually("the message", || texts.lock().unwrap().len() == 1);
    eventually("a heartbeat", || poller.health().since_heartbeat.is_some());
    assert_eq!((poller.health().consecutive_failures, poller.reason()), (0, None));
}

#[test]
fn stop_ends_the_wait_for_a_new_token_at_once() {
    let (platform, dir) = (Platform::start().unwrap(), Dir::new("rotation-stop"));
    let ops = platform.workspace("ops");
    let file = dir.file("token");
    fs::write(&file, "refused").unwrap();
    let client = Client::builder().platform_url(platform.url()).workspace_id(ops.id()).token_file(&file);
    let (_, callback) = recorder();
    let poller = fast_poller(client.build().unwrap(), &dir).interval(LONG).spawn(callback).unwrap();
    eventually("a refused poll", || poller.health().consecutive_failures == 1);
    crate::poller::promptly(|| poller.stop());
}
