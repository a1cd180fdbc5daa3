//! Security: the token is never shown, no string injects anything, and requests go to the platform only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod destinations;
mod injection;
mod search;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[path = "../support/tls.rs"]
mod tls_server;
mod words;
