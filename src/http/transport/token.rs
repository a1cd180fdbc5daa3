//! Writes the token into a request at the last moment.
//!
//! `ureq` logs each request at trace level with all its headers. It is therefore given a placeholder in the token's
//! place, and this layer replaces the placeholder in the output buffer, below the log and above TLS. After the write
//! the placeholder is back in the buffer.
//!
//! A `ureq` that leaves headers marked as sensitive out of its log would make this module unnecessary:
//! [`HeaderValue::set_sensitive`](ureq::http::HeaderValue::set_sensitive) is the mark.

use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport};

use super::exchange::current_exchange;

/// Adds a [`TokenTransport`] to connections that carry requests to the platform.
#[derive(Debug)]
pub(super) struct TokenConnector {
    /// True while the agent has a proxy. The connection to the proxy is made by the same connectors, and the
    /// `CONNECT` request on it gets no token.
    has_proxy: bool,
}

impl TokenConnector {
    pub(super) fn new(config: &Config) -> Self {
        TokenConnector { has_proxy: config.proxy().is_some() }
    }
}

impl<In: Transport> Connector<In> for TokenConnector {
    type Out = Either<In, TokenTransport<In>>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        // `ureq` clears the proxy in the configuration with which it connects to the proxy.
        let is_to_platform = details.config.proxy().is_some() == self.has_proxy;
        Ok(chained.map(|inner| if is_to_platform { Either::B(TokenTransport(inner)) } else { Either::A(inner) }))
    }
}

/// A connection, pooled or not, that writes the token of the exchange that its thread is in.
#[derive(Debug)]
pub(super) struct TokenTransport<T>(pub(super) T);

impl<T: Transport> Transport for TokenTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let Some(exchange) = current_exchange() else { return self.0.transmit_output(amount, timeout) };
        let output = self.0.buffers().output();
        let Some((start, token)) = exchange.locate_placeholder(&output[..amount]) else {
            return self.0.transmit_output(amount, timeout);
        };
        output[start..start + token.len()].copy_from_slice(token);
        let outcome = self.0.transmit_output(amount, timeout);
        // The buffer may be logged, or sent again with another exchange's token.
        let placeholder = exchange.placeholder();
        self.0.buffers().output()[start..start + placeholder.len()].copy_from_slice(placeholder);
        outcome
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if let Some(exchange) = current_exchange() {
            exchange.mark_request_written();
        }
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::transport::exchange::{ExchangeGuard, ShutdownFlag};
    use crate::http::transport::test_socket::{TestSocket, nine_seconds};
    use crate::token::{TokenSource, TokenStore};
    use crate::util::clock::Deadline;

    #[test]
    fn token_is_written_and_then_removed_from_the_buffer() {
        let token = TokenStore::open(TokenSource::Value("tok-0123456789".to_owned())).unwrap().current();
        let deadline = Deadline::after(Duration::from_secs(9));
        let exchange = ExchangeGuard::begin(token.as_ref(), None, deadline, &ShutdownFlag::default());
        let mut connection = TokenTransport(TestSocket::new(9, std::io::ErrorKind::BrokenPipe, &[]));
        let head =
            format!("GET / HTTP/1.1\r\nauthorization: {}\r\n\r\n", exchange.authorization_placeholder().unwrap());
        for _ in 0..2 {
            connection.buffers().output()[..head.len()].copy_from_slice(head.as_bytes());
            connection.transmit_output(head.len(), nine_seconds()).unwrap();
            assert!(connection.buffers().output().starts_with(head.as_bytes()));
        }
        let written = String::from_utf8(connection.0.written).unwrap();
        assert_eq!(written, format!("GET / HTTP/1.1\r\nauthorization: Bearer tok-0123456789\r\n\r\n{head}"));
    }
}
