//! Traits that users can rely on for every public type.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::panic::{RefUnwindSafe, UnwindSafe};

use a2a_blocking::*;

use crate::support::{PEER, RECORD, Reaction, Server, client};

fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe + Debug>() {}
fn value<T: Clone + Eq + Debug + Send + Sync + UnwindSafe>() {}
fn word<T: Copy + Eq + Hash + Display + Debug + Send + Sync>() {}

#[test]
fn types_are_send_sync_and_debug() {
    shared::<Client>();
    shared::<CancelToken>();
    shared::<PollerHandle>();
    shared::<InboxMessage>();
    shared::<Peer>();
    shared::<PeerId>();
    shared::<Lookup>();
    shared::<Reply>();
    shared::<Message>();
    shared::<AgentCard>();
    shared::<Workspace>();
    shared::<WorkspaceState>();
    shared::<QueuedState>();
    shared::<WorkspaceRequest>();
    shared::<NewRequest>();
    shared::<DelegatedTask>();
    shared::<Notice>();
    shared::<UploadedFile>();
    shared::<PlatformFile>();
    shared::<PromptEnvelope>();
    shared::<Boundary>();
    shared::<Stats>();
    shared::<RetryPolicy>();
    shared::<Settings>();
    fn sent<T: Send + Debug>() {}
    sent::<InboxPoller>();
    sent::<PollerBuilder>();
    sent::<ClientBuilder>();
    sent::<SendOptions>();
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<Error>();
}

#[cfg(feature = "testing")]
#[test]
fn test_double_is_send_sync_and_debug() {
    shared::<testing::Platform>();
    shared::<testing::WorkspaceHandle>();
    value::<testing::LedgerEntry>();
    value::<testing::SentMessage>();
}

#[test]
fn data_is_comparable_and_words_are_hashable() {
    value::<Peer>();
    value::<PeerId>();
    value::<Lookup>();
    value::<Workspace>();
    value::<WorkspaceState>();
    value::<WorkspaceRequest>();
    value::<RequestDetails>();
    value::<RequestMessage>();
    value::<NewRequest>();
    value::<DelegatedTask>();
    value::<DelegationReceipt>();
    value::<DelegationEntry>();
    value::<Notice>();
    value::<UploadedFile>();
    value::<Message>();
    value::<AgentCard>();
    value::<Reply>();
    value::<Part<'_>>();
    value::<File<'_>>();
    value::<Attachment>();
    value::<PromptEnvelope>();
    value::<Boundary>();
    value::<WorkspaceRemoved>();
    value::<StopReason>();
    value::<Stats>();
    value::<InboxStats>();
    value::<SkippedRows>();
    value::<AuthenticatedUser<'_>>();
    value::<PollSummary>();
    value::<PollerHealth>();
    value::<PollFailure>();
    value::<CursorPosition>();
    value::<SendProgress>();
    word::<ErrorKind>();
    word::<Delivery>();
    word::<LookupSource>();
    word::<RequestAction>();
    word::<InboxMessageKind>();
    word::<CircuitState>();
    let _: HashSet<PeerId> = HashSet::new();
    let _: HashSet<Boundary> = HashSet::new();
}

/// The crate's docs promise that a stack of 256 KiB is enough. An overflow would end the process.
#[test]
fn calls_work_with_a_stack_of_256_kib() {
    let server = Server::decide(|_, request| match request.path.ends_with("/a2a") {
        true => Reaction::reply(200, r#"{"result":{"parts":[{"kind":"text","text":"yes"}]}}"#),
        false if request.path.ends_with("/peers") => Reaction::reply(200, format!("[{RECORD}]")),
        false => Reaction::reply(200, RECORD),
    });
    let calls = move || {
        let client = client(&server);
        assert!(client.enrich(PEER).is_some() && client.discover(PEER).is_ok() && client.peers().is_ok());
        assert_eq!(client.send(PEER, "on call?").unwrap().text(), "yes");
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(calls).unwrap().join().unwrap();
}

/// Users have these words as labels in dashboards, so they are pinned.
#[test]
fn words_are_pinned() {
    assert_eq!(format!("{:>8}|{}", Delivery::NotSent, ErrorKind::TooLarge), "not_sent|too_large");
    assert_eq!([LookupSource::Fresh, LookupSource::Shed].map(LookupSource::as_str), ["fresh", "shed"]);
    assert_eq!(InboxMessageKind::Delegation.to_string(), "delegation");
    assert_eq!(CircuitState::Degraded.as_str(), "degraded");
    // The platform takes these.
    let actions = [RequestAction::Done, RequestAction::Approved, RequestAction::Rejected];
    assert_eq!(actions.map(RequestAction::as_str), ["done", "approved", "rejected"]);
}
