//! What a user may count on of every public type.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::panic::{RefUnwindSafe, UnwindSafe};

use a2a_blocking::*;

fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe + Debug>() {}
fn value<T: Clone + Eq + Debug + Send + Sync + UnwindSafe>() {}
fn word<T: Copy + Eq + Hash + Display + Debug + Send + Sync>() {}

#[test]
fn every_type_crosses_threads_and_shows_itself() {
    shared::<Client>();
    shared::<CancelToken>();
    shared::<PollerHandle>();
    shared::<Push>();
    shared::<Peer>();
    shared::<PeerId>();
    shared::<Lookup>();
    shared::<Reply>();
    shared::<Message>();
    shared::<Workspace>();
    shared::<Notification>();
    shared::<Stats>();
    shared::<RetryPolicy>();
    fn sent<T: Send + Debug>() {}
    sent::<InboxPoller>();
    sent::<PollerBuilder>();
    sent::<ClientBuilder>();
    sent::<SendOptions>();
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<Error>();
}

#[test]
fn data_can_be_compared_and_words_be_keys() {
    value::<Peer>();
    value::<PeerId>();
    value::<Lookup>();
    value::<Workspace>();
    value::<Message>();
    value::<Reply>();
    value::<Part<'_>>();
    value::<File<'_>>();
    value::<Attachment>();
    value::<Notification>();
    value::<Removed>();
    value::<StopReason>();
    value::<Stats>();
    value::<Polled>();
    value::<Progress>();
    word::<ErrorKind>();
    word::<Delivery>();
    word::<Source>();
    word::<PushKind>();
    word::<CircuitState>();
    let _: HashSet<PeerId> = HashSet::new();
}

/// Pinned, since they are labels in somebody's dashboards.
#[test]
fn words_are_what_they_were() {
    assert_eq!(format!("{:>8}|{}", Delivery::NotSent, ErrorKind::TooLarge), "not_sent|too_large");
    assert_eq!([Source::Fresh, Source::Shed].map(Source::as_str), ["fresh", "shed"]);
    assert_eq!(PushKind::DelegationResult.to_string(), "delegation_result");
    assert_eq!(CircuitState::OneAtATime.as_str(), "one_at_a_time");
}
