//! The layers between the HTTP client and its sockets, from the top down.
//!
//! | layer | purpose |
//! | --- | --- |
//! | [`token`] | writes the token into a request after the HTTP client has logged it |
//! | TLS | `ureq`'s own, for `https` |
//! | [`early_answer`] | keeps an answer that comes before the request is written |
//! | [`tcp`] | connects, reads and writes within the deadline |
//! | [`resolve`] | looks names up within the deadline |
//!
//! [`exchange`] tells them which exchange their thread is in, and [`deadline`] bounds each wait by it.
//!
//! All of it is built on `ureq::unversioned`, which a minor version of `ureq` may break. `Cargo.toml` therefore pins
//! the minor version.

mod deadline;
mod early_answer;
pub(in crate::http) mod exchange;
mod resolve;
mod tcp;
#[cfg(test)]
mod test_socket;
mod token;

use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

use early_answer::EarlyAnswerConnector;
use resolve::DeadlineResolver;
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
    Agent::with_parts(config, chain.chain(tokens), DeadlineResolver::<DefaultResolver>::default())
}
