//! A connector that records where a request goes and what is written, for the fuzz target of the platform's URL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use parking_lot::Mutex;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// Records the address that the HTTP client contacts, and the bytes that it writes.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Recorder(Arc<Mutex<Recorded>>);

/// The address and the bytes of one request.
#[derive(Debug, Default, Clone)]
pub(in crate::http) struct Recorded {
    pub(in crate::http) address: String,
    pub(in crate::http) request: Vec<u8>,
}

impl Recorder {
    /// Returns an agent whose requests all fail after they are recorded.
    pub(in crate::http) fn agent(&self, config: Config) -> Agent {
        Agent::with_parts(config, self.clone(), self.clone())
    }

    pub(in crate::http) fn recorded(&self) -> Recorded {
        self.0.lock().clone()
    }
}

impl Resolver for Recorder {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (scheme, authority) = (uri.scheme().unwrap(), uri.authority().unwrap());
        self.0.lock().address = DefaultResolver::host_and_port(scheme, authority).unwrap();
        let mut addresses = self.empty();
        addresses.push(([127, 0, 0, 1], 1).into());
        Ok(addresses)
    }
}

impl Connector for Recorder {
    type Out = DeadEnd;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<DeadEnd>, ureq::Error> {
        let is_tls = details.needs_tls();
        Ok(Some(DeadEnd { recorder: self.clone(), buffers: LazyBuffers::new(16 * 1024, 16 * 1024), is_tls }))
    }
}

/// A connection that takes a request and fails instead of answering.
#[derive(Debug)]
pub(in crate::http) struct DeadEnd {
    recorder: Recorder,
    buffers: LazyBuffers,
    is_tls: bool,
}

impl Transport for DeadEnd {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.recorder.0.lock().request.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        Err(ureq::Error::ConnectionFailed)
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.is_tls
    }
}
