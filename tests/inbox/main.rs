//! The inbox: delivery to the callback, the cursor, malformed feeds, and random load.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[cfg(feature = "testing")]
mod acks;
#[cfg(feature = "testing")]
mod broadcasts;
#[cfg(feature = "testing")]
mod budget;
mod cursor;
#[path = "../support/dice.rs"]
mod dice;
#[cfg(feature = "testing")]
mod feed;
mod health;
#[cfg(feature = "testing")]
mod hostile;
mod kinds;
#[cfg(feature = "testing")]
mod ledger;
#[cfg(feature = "testing")]
#[path = "../support/ledger/mod.rs"]
mod ledger_storm;
mod lifecycle;
mod logging;
mod look_back;
#[cfg(feature = "testing")]
mod loops;
#[cfg(feature = "testing")]
mod names;
mod odd;
mod own_workspace;
mod pages;
#[path = "../support/poll.rs"]
mod poll;
mod poller;
mod polling;
#[cfg(feature = "testing")]
mod pruned;
mod random;
mod registration;
#[path = "../support/relay.rs"]
mod relay;
mod removal;
#[cfg(feature = "testing")]
mod repeats;
mod reply;
#[cfg(feature = "testing")]
mod seams;
mod spellings;
mod storm;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "testing")]
mod world;
