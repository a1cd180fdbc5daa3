//! The organisation and the `Origin`, against the embedded platform.

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{Client, Delivery, Error, ErrorKind, InboxPoller, LookupSource, RetryPolicy, SendOptions, Verdict};
use serde_json::Value;

use crate::support::{Dir, eventually};

const ORGANISATION: &str = "0e0e0e0e-1111-4222-8333-444455556666";

/// A platform of [`ORGANISATION`], with two workspaces.
fn tenant() -> (Platform, WorkspaceHandle, WorkspaceHandle) {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    platform.tenant(Some(ORGANISATION));
    (platform, ops, dev)
}

/// Returns a client of `ops` for this organisation.
fn of_organisation(platform: &Platform, ops: &WorkspaceHandle, organisation: Option<&str>) -> Client {
    let builder = Client::builder().platform_url(platform.url()).workspace_id(ops.id()).token(ops.token().unwrap());
    organisation.into_iter().fold(builder, |builder, id| builder.org_id(id)).build().unwrap()
}

/// Returns the errors of all calls that need the organisation.
fn errors(client: &Client, peer: &WorkspaceHandle) -> Vec<Error> {
    let dir = Dir::new("organisation");
    let mut poller = InboxPoller::builder(client.clone()).cursor_file(dir.file("cursor")).build().unwrap();
    let options = SendOptions::new().retry(RetryPolicy::new().with_attempts(1));
    let outcomes = [
        client.discover(peer.id()).map(drop),
        client.workspace().map(drop),
        client.state().map(drop),
        client.notify("x"),
        client.send_with(peer.id(), &"x".into(), &options).map(drop),
        poller.poll_once(|_| Verdict::Ack).map(drop),
    ];
    outcomes.into_iter().map(Result::unwrap_err).collect()
}

#[test]
fn right_organisation_is_let_in_by_every_call() {
    let (platform, ops, dev) = tenant();
    let client = of_organisation(&platform, &ops, Some(ORGANISATION));
    assert_eq!(client.settings().origin, None, "over http none is sent");
    assert_eq!(client.lookup(dev.id()).source, LookupSource::Fetched);
    client.notify("x").unwrap();
    client.send(dev.id(), "x").unwrap();
    assert!(client.peers().unwrap().iter().any(|peer| peer.id() == Some(dev.id())));
    assert_eq!(client.state().unwrap().status(), Some("online"));
}

#[test]
fn missing_organisation_is_named_by_every_call() {
    let (platform, ops, dev) = tenant();
    let client = of_organisation(&platform, &ops, None);
    for error in errors(&client, &dev) {
        let text = error.to_string();
        assert_eq!((error.status(), error.delivery()), (Some(400), Delivery::NotSent), "{error}");
        assert!(text.contains("missing tenant routing header"), "{error}");
        assert!(text.ends_with("; set the organisation: MOLECULE_ORG_ID, or ClientBuilder::org_id"), "{error}");
    }
    // No peer is taken for absent.
    assert_eq!(client.lookup(dev.id()).source, LookupSource::Failed);
}

#[test]
fn wrong_organisation_or_origin_is_named_by_every_call() {
    let (platform, ops, dev) = tenant();
    let wrong = of_organisation(&platform, &ops, Some(&ORGANISATION.to_uppercase()));
    let strange = ops.client().origin(Some("https://evil.test")).build().unwrap();
    for (client, status) in [(wrong, 404), (strange, 403)] {
        for error in errors(&client, &dev) {
            let advice = format!("{status} without a body; check the origin and the org id");
            assert_eq!((error.status(), error.delivery()), (Some(status), Delivery::NotSent), "{error}");
            assert!(error.to_string().ends_with(&advice), "{error}");
        }
        assert_eq!(client.lookup(dev.id()).source, LookupSource::Failed);
        assert_ne!(client.workspace().unwrap_err().kind(), ErrorKind::Removed);
    }
}

/// The heartbeat is exempt: that it succeeds says nothing of the organisation.
#[test]
fn heartbeat_succeeds_without_an_organisation_and_polls_do_not() {
    let (platform, ops, _) = tenant();
    let (client, dir) = (of_organisation(&platform, &ops, None), Dir::new("organisation-heartbeat"));
    let poller = InboxPoller::builder(client.clone()).cursor_file(dir.file("cursor")).spawn(|_| Verdict::Ack).unwrap();
    eventually("a heartbeat and a failed poll", || {
        let inbox = client.stats().inbox;
        inbox.heartbeats > 0 && inbox.failed_polls > 0
    });
    let (health, inbox) = (poller.health(), client.stats().inbox);
    assert_eq!((inbox.failed_heartbeats, health.heartbeat_failures), (0, 0));
    assert!(health.last_failure.unwrap().message.contains("set the organisation"));
}

/// On a host that serves the canvas and the server, its own origin makes the agent the human.
#[test]
fn agent_stays_an_agent_on_a_combined_host_unless_it_sends_the_origin() {
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    platform.combined(true);
    let as_agent = ops.client().build().unwrap();
    let as_human = ops.client().origin(Some(&platform.url())).build().unwrap();
    as_agent.send(dev.id(), "by the agent").unwrap();
    as_human.send(dev.id(), "by the human").unwrap();
    let dir = Dir::new("organisation-combined");
    let inbox = InboxPoller::builder(dev.client().build().unwrap()).cursor_file(dir.file("cursor"));
    let mut stamps = Vec::new();
    let polled = inbox.build().unwrap().poll_once(|message| {
        stamps.push(message.row()["request_body"]["params"]["metadata"]["source"].clone());
        Verdict::Ack
    });
    polled.unwrap();
    assert_eq!(stamps, [Value::Null, "canvas_user".into()]);
}
