//! Configuration: the settings of a client, and its token.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[cfg(feature = "testing")]
mod organisation;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod token;
