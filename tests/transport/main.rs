//! The transport: TLS and proxies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/proxy.rs"]
mod connect_proxy;
mod encoding;
mod proxy;
#[path = "../support/mod.rs"]
mod support;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod tls;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[path = "../support/tls.rs"]
mod tls_server;
