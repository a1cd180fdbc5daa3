//! Enrichment: lookups, the cache, the circuit breaker and the background threads, against a scripted registry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod background;
#[cfg(feature = "testing")]
mod budget;
mod circuit;
mod faults;
mod outage;
mod peers;
mod recovery;
mod reentrancy;
#[cfg(feature = "testing")]
mod refused_token;
mod registered;
mod rules;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod threads;
