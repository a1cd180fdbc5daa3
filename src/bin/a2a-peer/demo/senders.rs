//! The messages of the demo: what peers and the human write, and when the registry stops answering.

use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::event::DemoEvent;
use super::platform::{DemoPlatform, WORKSPACES};

/// Number of messages for each workspace.
pub(super) const MESSAGES_PER_WORKSPACE: usize = 120;
/// Time between two messages, so that a person can follow.
const INTERVAL: Duration = Duration::from_millis(20);

/// The text of a message whose first delivery fails.
pub(super) const FAILS_ONCE: &str = "this one fails once";
/// The text of a message whose first delivery panics.
pub(super) const PANICS_ONCE: &str = "this one panics once";
/// The text of a message whose every delivery fails.
pub(super) const ALWAYS_FAILS: &str = "this one always fails";
/// The text of the human's messages.
const HUMAN: &str = "what is the state of things";
/// The texts of all other messages. The callback answers the question among them.
const TEXTS: &[&str] = &[
    "disk is full on node 7",
    "please review #4211",
    "the build is green again",
    "who is on call tonight?",
    "invoice 88 was paid",
    "rolled back to v1.9",
    "standup in five minutes",
];

/// Writes the messages of both workspaces. During the second third of them the registry does not answer.
pub(super) fn write_messages(platform: &DemoPlatform, events: &Sender<DemoEvent>) {
    // Sending an event fails once the demo is over. A message that the platform refuses is lost, as the summary says.
    for n in 0..MESSAGES_PER_WORKSPACE {
        if n == MESSAGES_PER_WORKSPACE / 3 {
            platform.set_registry_up(false);
            let _ = events.send(DemoEvent::RegistryDown);
        } else if n == 2 * MESSAGES_PER_WORKSPACE / 3 {
            platform.set_registry_up(true);
            let _ = events.send(DemoEvent::RegistryUp);
        }
        for workspace in 0..WORKSPACES {
            let (peer, text) = message(n, workspace, platform.peers());
            let _ = platform.add_message(workspace, peer, text);
        }
        thread::sleep(INTERVAL);
    }
}

/// Returns the sender, one of so many peers, and the text of a workspace's message `n`. Without a sender it is the human's.
fn message(n: usize, workspace: usize, peers: usize) -> (Option<usize>, &'static str) {
    // A different order for each workspace.
    let peer = (n * (2 * workspace + 3) + workspace) % peers;
    match (n, workspace) {
        (20, 0) => (Some(peer), FAILS_ONCE),
        (50, 1) => (Some(peer), PANICS_ONCE),
        (90, 0) => (Some(peer), ALWAYS_FAILS),
        (30 | 60, _) => (None, HUMAN),
        _ => (Some(peer), TEXTS[(n * 5 + workspace) % TEXTS.len()]),
    }
}
