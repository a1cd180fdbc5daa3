//! What is between the HTTP client and its sockets: the token comes in here, and an answer that came before the request was
//! out is not lost. Built upon `ureq::unversioned`, which a minor version may break.

pub(in crate::http) mod deadline;
pub(in crate::http) mod exchange;
mod tcp;
#[cfg(test)]
mod test_socket;

use std::io::{self, ErrorKind as IoKind};

use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, NextTimeout, Transport,
};
use ureq::{Agent, Error};

use deadline::DeadlineResolver;
use exchange::current;
use tcp::TcpConnector;

/// An agent with the connectors that it has by default, and ours among them and for TCP.
pub(in crate::http) fn agent(config: Config) -> Agent {
    let chain = ().chain(ConnectProxyConnector::default()).chain(TcpConnector);
    // Below TLS, which reads nothing more once a write has failed.
    let chain = chain.chain(EarlyAnswers);
    #[cfg(feature = "rustls")]
    let chain = chain.chain(ureq::unversioned::transport::RustlsConnector::default());
    #[cfg(all(feature = "native-tls", not(feature = "rustls")))]
    let chain = chain.chain(ureq::unversioned::transport::NativeTlsConnector::default());
    let tokens = TokenConnector { proxied: config.proxy().is_some() };
    Agent::with_parts(config, chain.chain(tokens), DeadlineResolver::<DefaultResolver>::default())
}

/// Puts the token into requests.
#[derive(Debug)]
struct TokenConnector {
    /// Whether the agent has a proxy. The connection to that is made by the same connectors, and carries no
    /// request of ours.
    proxied: bool,
}

impl<In: Transport> Connector<In> for TokenConnector {
    type Out = Either<In, WithToken<In>>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let to_platform = details.config.proxy().is_some() == self.proxied;
        Ok(chained.map(|inner| if to_platform { Either::B(WithToken(inner)) } else { Either::A(inner) }))
    }
}

/// A connection, pooled or not: the token is that of the exchange that its thread is in.
#[derive(Debug)]
struct WithToken<T>(T);

impl<T: Transport> Transport for WithToken<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let Some(current) = current() else { return self.0.transmit_output(amount, timeout) };
        let output = self.0.buffers().output();
        let Some((at, token)) = current.place(&output[..amount]) else {
            return self.0.transmit_output(amount, timeout);
        };
        output[at..at + token.len()].copy_from_slice(token);
        let outcome = self.0.transmit_output(amount, timeout);
        // It stays nowhere from where it could be logged or sent again.
        let stand_in = current.stand_in();
        self.0.buffers().output()[at..at + stand_in.len()].copy_from_slice(stand_in);
        outcome
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if let Some(current) = current() {
            current.is_sent();
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

/// Lets answers be read that came before the request was out.
#[derive(Debug)]
struct EarlyAnswers;

impl<In: Transport> Connector<In> for EarlyAnswers {
    type Out = EarlyAnswer<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| EarlyAnswer { inner, broken: None }))
    }
}

/// A connection whose peer may answer and close without reading the rest (a 413, a 401). Once a write has
/// failed, the others are for nobody; what counts is what the peer said before it went.
#[derive(Debug)]
struct EarlyAnswer<T> {
    inner: T,
    broken: Option<Broken>,
}

#[derive(Debug)]
struct Broken {
    /// The write's failure, until anything was read after it.
    why: Option<io::Error>,
}

impl<T: Transport> Transport for EarlyAnswer<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.broken.is_some() {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(why)) if is_gone(&why) => {
                if let Some(current) = current() {
                    current.broke();
                }
                self.broken = Some(Broken { why: Some(why) });
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let outcome = self.inner.await_input(timeout);
        let Some(broken) = self.broken.as_mut() else { return outcome.map_err(no_end) };
        let Some(why) = broken.why.take() else { return outcome };
        match outcome {
            Ok(true) => Ok(true),
            Ok(false) | Err(_) => Err(why.into()),
        }
    }

    fn is_open(&mut self) -> bool {
        self.broken.is_none() && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// `ureq` takes a reset for the end of a body that has no length, and would hand on half of one as if it were all.
fn no_end(why: Error) -> Error {
    match why {
        Error::Io(why) if matches!(why.kind(), IoKind::ConnectionReset | IoKind::ConnectionAborted) => {
            Error::Io(io::Error::new(IoKind::NotConnected, why))
        }
        why => why,
    }
}

/// Whether a write failed because nobody reads any more.
fn is_gone(why: &io::Error) -> bool {
    // While a connection is being closed macOS may call it one of the wrong type (EPROTOTYPE).
    matches!(why.kind(), IoKind::BrokenPipe | IoKind::ConnectionReset | IoKind::ConnectionAborted)
        || cfg!(target_vendor = "apple") && why.raw_os_error() == Some(41)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ureq::Timeout;
    use ureq::unversioned::transport::LazyBuffers;

    use super::*;
    use crate::http::transport::exchange::ExchangeGuard;
    use crate::http::transport::test_socket::Socket;
    use crate::http::upload::RequestBody;
    use crate::token::{Token, TokenSource, TokenStore};
    use crate::util::clock::Deadline;

    fn connection(takes: usize, refusal: IoKind, says: &[&'static [u8]]) -> WithToken<EarlyAnswer<Socket>> {
        let says = says.iter().copied().collect();
        let socket = Socket { buffers: LazyBuffers::new(1024, 1024), written: Vec::new(), takes, refusal, says };
        WithToken(EarlyAnswer { inner: socket, broken: None })
    }

    fn begin(token: Option<&Token>, upload: Option<&RequestBody>) -> ExchangeGuard {
        ExchangeGuard::begin(token, upload, Deadline::after(Duration::from_secs(9)))
    }

    fn soon() -> NextTimeout {
        NextTimeout { after: Duration::from_secs(9).into(), reason: Timeout::Global, ..NextTimeout::default() }
    }

    #[test]
    fn an_answer_that_came_before_the_request_was_out_is_read() {
        for refusal in [IoKind::BrokenPipe, IoKind::ConnectionReset] {
            let upload = RequestBody::new(Vec::new());
            let _exchanging = begin(None, Some(&upload));
            let mut connection = connection(1, refusal, &[b"HTTP/1.1 413"]);
            for _ in 0..3 {
                connection.transmit_output(5, soon()).unwrap();
            }
            assert_eq!(connection.0.inner.written.len(), 5);
            assert!(connection.await_input(soon()).unwrap());
            assert_eq!(connection.buffers().input(), b"HTTP/1.1 413");
            assert!(!connection.await_input(soon()).unwrap(), "the answer's end is its own");
            assert!(!connection.is_open() && !upload.may_be_sent());
        }
    }

    #[test]
    fn a_write_that_broke_is_told_where_no_answer_came() {
        let mut connection = connection(0, IoKind::BrokenPipe, &[]);
        connection.transmit_output(5, soon()).unwrap();
        let Err(Error::Io(why)) = connection.await_input(soon()) else { panic!("an answer from nowhere") };
        assert_eq!(why.kind(), IoKind::BrokenPipe);
    }

    #[test]
    fn what_is_no_end_of_the_connection_is_told_at_once() {
        let mut connection = connection(0, IoKind::TimedOut, &[b"HTTP/1.1 200"]);
        assert!(connection.transmit_output(5, soon()).is_err());
    }

    /// TLS writes while it reads: an alert that nobody takes says nothing of the request.
    #[test]
    fn a_write_that_breaks_after_the_request_leaves_it_sent() {
        let upload = RequestBody::new(Vec::new());
        let _exchanging = begin(None, Some(&upload));
        let mut connection = connection(1, IoKind::BrokenPipe, &[b"H"]);
        connection.transmit_output(5, soon()).unwrap();
        connection.await_input(soon()).unwrap();
        connection.transmit_output(5, soon()).unwrap();
        assert!(upload.may_be_sent());
    }

    #[test]
    fn the_token_is_written_and_gone_from_the_buffer() {
        let token = TokenStore::open(TokenSource::Value("tok-0123456789".to_owned())).unwrap().current();
        let exchanging = begin(token.as_ref(), None);
        let mut connection = connection(9, IoKind::BrokenPipe, &[]);
        let head = format!("GET / HTTP/1.1\r\nauthorization: {}\r\n\r\n", exchanging.authorization().unwrap());
        for _ in 0..2 {
            connection.buffers().output()[..head.len()].copy_from_slice(head.as_bytes());
            connection.transmit_output(head.len(), soon()).unwrap();
            assert!(connection.buffers().output().starts_with(head.as_bytes()));
        }
        let written = String::from_utf8(connection.0.inner.written).unwrap();
        assert_eq!(written, format!("GET / HTTP/1.1\r\nauthorization: Bearer tok-0123456789\r\n\r\n{head}"));
    }
}
