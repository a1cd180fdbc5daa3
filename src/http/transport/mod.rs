//! The layers between the HTTP client and its sockets, from the top down.
//!
//! | layer | purpose |
//! | --- | --- |
//! | [`token`] | writes the token into a request after the HTTP client has logged it |
//! | TLS | `ureq`'s own, for `https` |
//! | [`early_answer`] | keeps an answer that comes before the request is written |
//! | [`tcp`] | reads and writes within the deadline |
//! | [`connect`] | connects within the deadline, until a shutdown of the pool |
//! | [`resolve`] | looks names up within the deadline, until a shutdown of the pool |
//!
//! [`exchange`] tells them which exchange their thread is in, and [`deadline`] bounds each wait by it.
//!
//! # What is used of `ureq::unversioned`
//!
//! A minor version of `ureq` may break what is in that module, so `Cargo.toml` pins the minor version. No other folder
//! names it. `tests/house/unversioned.rs` holds this list:
//!
//! | item | purpose |
//! | --- | --- |
//! | `resolver::DefaultResolver` | splits a URL into host and port |
//! | `resolver::ResolvedSocketAddrs` | the addresses of a name |
//! | `resolver::Resolver` | the trait of [`resolve`] |
//! | `transport::Buffers` | bytes on the way to and from the socket |
//! | `transport::ConnectProxyConnector` | `CONNECT` through a proxy |
//! | `transport::ConnectionDetails` | where to connect, and by when |
//! | `transport::Connector` | the trait of the layers |
//! | `transport::Either` | a connection of a layer, or the one below it |
//! | `transport::LazyBuffers` | the buffers of [`tcp`] |
//! | `transport::NativeTlsConnector` | TLS by the system's library |
//! | `transport::NextTimeout` | the bound of one wait |
//! | `transport::RustlsConnector` | TLS by rustls |
//! | `transport::ShutdownHandle` | ends a connection from another thread |
//! | `transport::Transport` | the trait of connections |
//!
//! A new minor version is taken like this: change `~3.5.1` in `Cargo.toml`, look at each of these items in `ureq`'s source,
//! and run the tests. The headers of the modules say which change in `ureq` would make them unnecessary.

mod connect;
mod deadline;
mod early_answer;
pub(in crate::http) mod exchange;
#[cfg(any(test, fuzzing))]
pub(in crate::http) mod fuzz;
mod resolve;
mod tcp;
#[cfg(test)]
mod test_socket;
mod token;

use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

use early_answer::EarlyAnswerConnector;
use resolve::NameResolver;
pub(in crate::http) use tcp::MAX_IDLE_AGE;
use tcp::TcpConnector;
use token::TokenConnector;

/// Returns an agent with the connectors of a default one, our own for TCP, and the layers of this module.
pub(in crate::http) fn agent(config: Config) -> Agent {
    let chain = ().chain(ConnectProxyConnector::default()).chain(TcpConnector);
    // Below TLS, which reads nothing more once a write has failed.
    let chain = chain.chain(EarlyAnswerConnector);
    #[cfg(feature = "rustls")]
    let chain = chain.chain(ureq::unversioned::transport::RustlsConnector::default());
    #[cfg(all(feature = "native-tls", not(feature = "rustls")))]
    let chain = chain.chain(ureq::unversioned::transport::NativeTlsConnector::default());
    let tokens = TokenConnector::new(&config);
    Agent::with_parts(config, chain.chain(tokens), NameResolver::default())
}
