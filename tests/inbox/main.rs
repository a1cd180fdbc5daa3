//! The inbox: delivery to the callback, the cursor, malformed feeds, and random load.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[cfg(feature = "testing")]
mod budget;
mod cursor;
#[path = "../support/dice.rs"]
mod dice;
mod health;
mod kinds;
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
mod random;
mod registration;
#[path = "../support/relay.rs"]
mod relay;
mod removal;
mod reply;
mod spellings;
mod storm;
#[path = "../support/mod.rs"]
mod support;
