//! Keeps an answer that comes before the request is written.
//!
//! A peer may refuse a request before it has read all of it (413, 401) and close the connection. The next write then
//! fails, and `ureq` reports that failure in place of the answer: <https://github.com/algesten/ureq/issues/676>. A
//! client should read the answer and stop sending: RFC 9112, section 9.5,
//! <https://www.rfc-editor.org/rfc/rfc9112#section-9.5>.
//!
//! A `ureq` that reads what the peer said after a failed write, and that takes a reset for an error, would make this
//! module unnecessary.

use std::io::{self, ErrorKind as IoKind};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::exchange::current_exchange;

/// Makes an [`EarlyAnswerTransport`] of every connection.
#[derive(Debug)]
pub(super) struct EarlyAnswerConnector;

impl<In: Transport> Connector<In> for EarlyAnswerConnector {
    type Out = EarlyAnswerTransport<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(EarlyAnswerTransport::new))
    }
}

/// A connection whose peer may answer and close before it has read the whole request.
///
/// After the first write that fails because the peer is gone, later writes are dropped and report success, so that
/// `ureq` goes on to read the answer. Where no answer comes, the write's failure is reported.
#[derive(Debug)]
pub(super) struct EarlyAnswerTransport<T> {
    inner: T,
    write_state: WriteState,
}

#[derive(Debug)]
enum WriteState {
    Open,
    /// A write failed with this error, and nothing was read after it.
    Failed(io::Error),
    /// A write failed, and the next read has reported or replaced its error.
    Reported,
}

impl<T> EarlyAnswerTransport<T> {
    fn new(inner: T) -> Self {
        EarlyAnswerTransport { inner, write_state: WriteState::Open }
    }
}

impl<T: Transport> Transport for EarlyAnswerTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !matches!(self.write_state, WriteState::Open) {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(why)) if is_peer_gone(&why) => {
                if let Some(exchange) = current_exchange() {
                    exchange.mark_write_failed();
                }
                self.write_state = WriteState::Failed(why);
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let outcome = self.inner.await_input(timeout);
        if matches!(self.write_state, WriteState::Open) {
            return outcome.map_err(reset_is_no_end_of_body);
        }
        match std::mem::replace(&mut self.write_state, WriteState::Reported) {
            WriteState::Failed(why) if !matches!(outcome, Ok(true)) => Err(why.into()),
            _ => outcome,
        }
    }

    fn is_open(&mut self) -> bool {
        matches!(self.write_state, WriteState::Open) && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Turns a reset into an error of another kind.
///
/// `ureq` takes a reset for the end of a body without a length, and would return half of a body as if it were whole.
/// RFC 9112, section 8, calls such a body incomplete: <https://www.rfc-editor.org/rfc/rfc9112#section-8>.
fn reset_is_no_end_of_body(why: Error) -> Error {
    match why {
        Error::Io(why) if matches!(why.kind(), IoKind::ConnectionReset | IoKind::ConnectionAborted) => {
            Error::Io(io::Error::new(IoKind::NotConnected, why))
        }
        why => why,
    }
}

/// Returns whether a write failed because the peer no longer reads.
fn is_peer_gone(why: &io::Error) -> bool {
    // macOS may answer EPROTOTYPE (41) while a connection is being torn down:
    // https://erickt.github.io/blog/2014/11/19/adventures-in-debugging-a-potential-osx-kernel-bug/
    matches!(why.kind(), IoKind::BrokenPipe | IoKind::ConnectionReset | IoKind::ConnectionAborted)
        || cfg!(target_vendor = "apple") && why.raw_os_error() == Some(41)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::transport::exchange::{ExchangeGuard, ShutdownFlag};
    use crate::http::transport::test_socket::{TestSocket, nine_seconds};
    use crate::http::transport::token::TokenTransport;
    use crate::http::upload::RequestBody;
    use crate::util::clock::Deadline;

    /// A connection with the token's layer above, which reports the end of the request to the exchange.
    type Connection = TokenTransport<EarlyAnswerTransport<TestSocket>>;

    fn connection(writes: usize, failure: IoKind, answers: &[&'static [u8]]) -> Connection {
        TokenTransport(EarlyAnswerTransport::new(TestSocket::new(writes, failure, answers)))
    }

    fn begin(body: &RequestBody) -> ExchangeGuard {
        ExchangeGuard::begin(None, Some(body), Deadline::after(Duration::from_secs(9)), &ShutdownFlag::default())
    }

    #[test]
    fn answer_that_comes_before_the_request_is_written_is_read() {
        for failure in [IoKind::BrokenPipe, IoKind::ConnectionReset] {
            let body = RequestBody::new(Vec::new());
            let _exchange = begin(&body);
            let mut connection = connection(1, failure, &[b"HTTP/1.1 413"]);
            for _ in 0..3 {
                connection.transmit_output(5, nine_seconds()).unwrap();
            }
            assert_eq!(connection.0.inner.written.len(), 5);
            assert!(connection.await_input(nine_seconds()).unwrap());
            assert_eq!(connection.buffers().input(), b"HTTP/1.1 413");
            assert!(!connection.await_input(nine_seconds()).unwrap(), "the end of the answer is no failure");
            assert!(!connection.is_open() && !body.may_be_sent());
        }
    }

    #[test]
    fn failed_write_is_reported_where_no_answer_comes() {
        let mut connection = connection(0, IoKind::BrokenPipe, &[]);
        connection.transmit_output(5, nine_seconds()).unwrap();
        let Err(Error::Io(why)) = connection.await_input(nine_seconds()) else { panic!("an answer from nowhere") };
        assert_eq!(why.kind(), IoKind::BrokenPipe);
    }

    #[test]
    fn write_that_fails_for_another_reason_is_reported_at_once() {
        let mut connection = connection(0, IoKind::TimedOut, &[b"HTTP/1.1 200"]);
        assert!(connection.transmit_output(5, nine_seconds()).is_err());
    }

    /// TLS writes while it reads: an alert that nobody takes says nothing of the request.
    #[test]
    fn write_that_fails_after_the_request_leaves_the_request_sent() {
        let body = RequestBody::new(Vec::new());
        let _exchange = begin(&body);
        let mut connection = connection(1, IoKind::BrokenPipe, &[b"H"]);
        connection.transmit_output(5, nine_seconds()).unwrap();
        connection.await_input(nine_seconds()).unwrap();
        connection.transmit_output(5, nine_seconds()).unwrap();
        assert!(body.may_be_sent());
    }
}
