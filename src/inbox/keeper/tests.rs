//! A pause while the poller runs. The state is asked every few milliseconds here, and once a minute otherwise.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::RegistrationStatus;
use crate::client::PushAgent;
use crate::inbox::{InboxPoller, PollerBuilder, PollerHandle, Verdict};
use crate::test_util::Scratch;
use crate::testing::{Platform, WorkspaceHandle};
use crate::wire::AgentCard;

const SHORT: Duration = Duration::from_millis(5);
const TIMEOUT: Duration = Duration::from_secs(20);

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "did not happen in time: {what}");
        std::thread::sleep(SHORT);
    }
}

fn poller(workspace: &WorkspaceHandle, name: &str) -> PollerBuilder {
    let file = Scratch::with(|dir| dir.join(name));
    let builder = InboxPoller::builder(workspace.client().build().unwrap()).cursor_file(file).interval(SHORT);
    let mut builder = builder.heartbeat(Some(SHORT));
    builder.keeper.state_every = SHORT;
    builder
}

fn is_paused(poller: &PollerHandle) -> bool {
    poller.health().is_paused
}

#[test]
fn messages_of_a_pause_come_after_it_in_order_and_the_registration_is_made_anew() {
    let platform = Platform::start().unwrap();
    platform.rate_limit(None);
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let (sender, texts) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let builder = poller(&ops, "pause").agent_card(AgentCard::new("ours"));
    let poller = builder.spawn(move |message| {
        sender.send(message.text().to_owned()).unwrap();
        let _ = wait.recv();
        Verdict::Ack
    });
    let poller = poller.unwrap();
    for text in ["1", "2", "3"] {
        platform.send(&dev, &ops, text).unwrap();
    }
    assert_eq!(texts.recv_timeout(TIMEOUT).unwrap(), "1");
    // The callback has a message, and the page has more.
    ops.pause();
    eventually("a pause", || is_paused(&poller));
    go_on.send(()).unwrap();
    platform.send(&dev, &ops, "4").unwrap();
    assert!(texts.recv_timeout(Duration::from_millis(100)).is_err(), "the page's other rows stay at the platform");
    let client = ops.client().build().unwrap();
    client.update_card(&AgentCard::new("another's")).unwrap();
    ops.resume();
    eventually("the end of the pause", || !is_paused(&poller));
    drop(go_on);
    let after: Vec<String> = (0..3).map(|_| texts.recv_timeout(TIMEOUT).unwrap()).collect();
    assert_eq!(after, ["2", "3", "4"]);
    let card = || client.workspace().unwrap().get("agent_card").cloned().unwrap();
    eventually("another registration", || card()["name"] == "ours");
    assert_eq!(poller.health().workspace_status.as_deref(), Some("online"));
    poller.stop();
    assert!(texts.try_recv().is_err(), "each came once");
}

/// The platform wipes a push agent's URL in a pause, so that the workspace looks like nobody's afterwards.
#[test]
fn only_what_was_registered_is_registered_anew() {
    let keep = PushAgent::Keep;
    assert_eq!(RegistrationStatus::Done(keep).renewed(), RegistrationStatus::Due(keep));
    for other in [RegistrationStatus::Off, RegistrationStatus::Due(keep)] {
        assert_eq!(other.renewed(), other);
    }
}

#[test]
fn workspace_that_is_paused_at_the_start_is_registered_after_it() {
    let platform = Platform::start().unwrap();
    platform.rate_limit(None);
    let ops = platform.unregistered("ops");
    ops.pause();
    let poller = poller(&ops, "paused").agent_card(AgentCard::new("ours")).spawn(|_| Verdict::Ack).unwrap();
    eventually("a pause", || is_paused(&poller));
    let client = ops.client().build().unwrap();
    let name = || client.workspace().unwrap().get("agent_card").map(|card| card["name"].clone());
    assert_ne!(name(), Some(json!("ours")));
    ops.set_status("failed");
    eventually("a registration", || name() == Some(json!("ours")));
    poller.stop();
}

/// A state that is not known changes nothing: neither a pause nor its absence.
#[test]
fn unknown_state_ends_no_pause() {
    let platform = Platform::start().unwrap();
    platform.rate_limit(None);
    let ops = platform.workspace("ops");
    ops.pause();
    let poller = poller(&ops, "unknown").spawn(|_| Verdict::Ack).unwrap();
    eventually("a pause", || is_paused(&poller));
    platform.offline(true);
    eventually("failed heartbeats", || poller.health().heartbeat_failures > 3);
    assert!(is_paused(&poller));
    platform.offline(false);
    ops.resume();
    eventually("the end of the pause", || !is_paused(&poller));
    poller.stop();
}
