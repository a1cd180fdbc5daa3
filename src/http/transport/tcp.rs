//! TCP connections whose waits end in time.
//!
//! The waits of `ureq`'s own TCP transport do not end in time:
//!
//! - A write to a peer that does not read took three times its timeout, since the bytes that fit are taken and each
//!   later attempt begins a new timeout: compare <https://github.com/algesten/ureq/issues/700>.
//! - Linux ends a socket's wait up to an eighth late: see [`deadline`](super::deadline).
//!
//! A `ureq` whose transport bounds a whole write by the deadline would make this module unnecessary. For connecting see
//! [`connect`](super::connect).

use std::fmt;
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use super::connect::connect;
use super::deadline::{call_in_slices, cap_to_deadline};
use crate::util::clock::{CoarseInstant, Deadline};

/// Longest time for which an idle connection is kept.
///
/// Servers commonly close theirs after 5 s or later. A shorter time lets few requests meet a connection while it is being
/// closed.
pub(in crate::http) const MAX_IDLE_AGE: Duration = Duration::from_secs(5);
/// Pause between two attempts of a non-blocking write.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// True where the system's own timeout ends a blocking write. On macOS it begins again with each byte that the peer
/// takes.
const HAS_WRITE_TIMEOUT: bool = cfg!(any(target_os = "linux", target_os = "android", windows));

/// Makes TCP connections. Where a connector before it has made one, as through a proxy, it passes that on.
#[derive(Debug, Default)]
pub(super) struct TcpConnector;

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Either<In, TcpTransport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let config = details.config;
        // A cancel shuts the socket down through this handle, from another thread.
        let register =
            |stream: &Arc<TcpStream>| (details.register_shutdown)(Arc::downgrade(stream) as Weak<dyn ShutdownHandle>);
        let stream = connect(&details.addrs, *cap_to_deadline(details.timeout).after, &register)?;
        ignore_peer_gone(stream.set_nodelay(config.no_delay()))?;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(TcpTransport { stream, buffers, timed_out_write: None, last_used: CoarseInstant::now() })))
    }
}

/// A connection to the platform or to a proxy.
pub(super) struct TcpTransport {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    /// The timeout that ended a write. Later writes fail with it: TLS would repeat the write, and a part of it may
    /// already be sent.
    timed_out_write: Option<Timeout>,
    /// When the connection was made, or bytes last arrived.
    last_used: CoarseInstant,
}

/// Shows the peer's address, and nothing of the buffers.
impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpTransport").field(&self.stream.peer_addr().ok()).finish()
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let Some(reason) = self.timed_out_write {
            return Err(Error::Timeout(reason));
        }
        let timeout = cap_to_deadline(timeout);
        let end = Deadline::after(*timeout.after);
        let mut rest = &self.buffers.output()[..amount];
        // Each partial write begins a new timeout for one write, but the deadline for all of them stays.
        while !rest.is_empty() {
            let timeout = NextTimeout { after: end.left().into(), ..timeout }.for_write();
            let outcome = if HAS_WRITE_TIMEOUT {
                write_blocking(&self.stream, rest, timeout)
            } else {
                write_polling(&self.stream, rest, timeout)
            };
            match outcome {
                Ok(0) => return Err(io::Error::from(IoKind::WriteZero).into()),
                Ok(written) => rest = &rest[written..],
                Err(why) => {
                    if let Error::Timeout(reason) = why {
                        self.timed_out_write = Some(reason);
                    }
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let mut stream = &*self.stream;
        let free = self.buffers.input_append_buf();
        let read = call_in_slices(cap_to_deadline(timeout).for_read(), Duration::MAX, |slice| {
            ignore_peer_gone(stream.set_read_timeout(Some(slice)))?;
            stream.read(free)
        })?;
        self.buffers.input_appended(read);
        self.last_used = CoarseInstant::now();
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // `ureq` counts no time for which the system was suspended. The server counts it, and has closed the connection.
        if CoarseInstant::now().since(self.last_used) > MAX_IDLE_AGE {
            return false;
        }
        let stream = &*self.stream;
        // Bytes that came without a request are no answer to the next one.
        let is_quiet = |peeked: io::Result<usize>| peeked.is_err_and(|why| why.kind() == IoKind::WouldBlock);
        stream.set_nonblocking(true).is_ok() && is_quiet(stream.peek(&mut [0])) && stream.set_nonblocking(false).is_ok()
    }
}

/// Writes once, with the system's own timeout. Returns the number of bytes written.
fn write_blocking(mut stream: &TcpStream, bytes: &[u8], timeout: NextTimeout) -> Result<usize, Error> {
    call_in_slices(timeout, Duration::MAX, |slice| {
        ignore_peer_gone(stream.set_write_timeout(Some(slice)))?;
        stream.write(bytes)
    })
}

/// Like [`write_blocking`], without the system's timeout: tries every [`POLL_INTERVAL`] without blocking.
fn write_polling(mut stream: &TcpStream, bytes: &[u8], timeout: NextTimeout) -> Result<usize, Error> {
    call_in_slices(timeout, POLL_INTERVAL, |pause| {
        stream.set_nonblocking(true)?;
        let outcome = stream.write(bytes);
        stream.set_nonblocking(false)?;
        if outcome.as_ref().is_err_and(|why| why.kind() == IoKind::WouldBlock) {
            thread::sleep(pause);
        }
        outcome
    })
}

/// Drops the error with which macOS refuses a socket option because the peer is gone.
///
/// Bytes that the peer sent before can still be read: `setsockopt(2)` there answers EINVAL for a socket that was shut
/// down.
fn ignore_peer_gone(outcome: io::Result<()>) -> io::Result<()> {
    let is_peer_gone = |why: &io::Error| cfg!(target_vendor = "apple") && why.kind() == IoKind::InvalidInput;
    outcome.or_else(|why| if is_peer_gone(&why) { Ok(()) } else { Err(why) })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn within(millis: u64) -> NextTimeout {
        NextTimeout { after: Duration::from_millis(millis).into(), reason: Timeout::RecvBody, ..NextTimeout::default() }
    }

    fn pair(output: usize) -> (TcpTransport, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let buffers = LazyBuffers::new(1_024, output);
        let last_used = CoarseInstant::now();
        (TcpTransport { stream, buffers, timed_out_write: None, last_used }, listener.accept().unwrap().0)
    }

    /// More bytes than the system buffers.
    const MUCH: usize = 16 << 20;

    #[test]
    fn bytes_that_do_not_fit_at_once_are_written_in_order() {
        let bytes: Vec<u8> = (0..MUCH).map(|n| (n / 251) as u8).collect();
        for is_blocking in [true, false] {
            let (mut tcp, mut peer) = pair(MUCH);
            let reader = thread::spawn(move || {
                let mut read = Vec::new();
                peer.read_to_end(&mut read).map(|_| read)
            });
            if is_blocking {
                tcp.buffers().output().copy_from_slice(&bytes);
                tcp.transmit_output(MUCH, within(60_000)).unwrap();
            } else {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    rest = &rest[write_polling(&tcp.stream, rest, within(60_000)).unwrap()..];
                }
            }
            drop(tcp);
            assert!(reader.join().unwrap().unwrap() == bytes);
        }
    }

    #[test]
    fn write_to_a_peer_that_does_not_read_times_out_and_so_do_later_ones() {
        let (mut tcp, _peer) = pair(MUCH);
        for wait in [20, 600_000] {
            let outcome = tcp.transmit_output(MUCH, within(wait));
            assert!(matches!(outcome, Err(Error::Timeout(Timeout::RecvBody))), "{outcome:?}");
        }
        let silence = NextTimeout { per_write: Some(Duration::from_millis(1).into()), ..within(600_000) };
        // Fills what is left of the system's buffers.
        let end = (0..).find_map(|_| write_polling(&tcp.stream, &[0; 4_096], silence.for_write()).err());
        assert!(matches!(end, Some(Error::Timeout(Timeout::PerWrite))), "{end:?}");
    }

    #[test]
    fn debug_output_does_not_show_the_buffers() {
        let (mut tcp, _peer) = pair(6);
        tcp.buffers().output().copy_from_slice(b"secret");
        let shown = format!("{tcp:?}");
        assert!(shown.starts_with("TcpTransport(Some(127.0.0.1:") && shown.len() < 39, "{shown}");
    }

    #[test]
    fn read_ends_with_bytes_at_the_end_or_after_silence() {
        let (mut tcp, mut peer) = pair(1);
        peer.write_all(b"abc").unwrap();
        assert!(tcp.await_input(within(60_000)).unwrap());
        assert_eq!(tcp.buffers().input(), b"abc");
        let silence = NextTimeout { per_read: Some(Duration::from_millis(1).into()), ..within(60_000) };
        assert!(matches!(tcp.await_input(silence), Err(Error::Timeout(Timeout::PerRead))));
        drop(peer);
        assert!(!tcp.await_input(within(60_000)).unwrap());
    }

    #[test]
    fn connection_is_open_until_unrequested_bytes_or_its_end_arrive() {
        let (mut tcp, mut peer) = pair(1);
        assert!(tcp.is_open() && tcp.is_open());
        // The socket is blocking again.
        assert!(matches!(tcp.await_input(within(1)), Err(Error::Timeout(_))));
        peer.write_all(b"HTTP/1.1 408").unwrap();
        tcp.stream.peek(&mut [0]).unwrap();
        assert!(!tcp.is_open());

        // As after a suspended system.
        let (mut tcp, _peer) = pair(1);
        let before = |time| CoarseInstant::at(Instant::now() - time);
        tcp.last_used = before(MAX_IDLE_AGE - Duration::from_secs(1));
        assert!(tcp.is_open());
        tcp.last_used = before(MAX_IDLE_AGE + Duration::from_secs(1));
        assert!(!tcp.is_open());

        let (mut tcp, peer) = pair(1);
        drop(peer);
        assert_eq!(tcp.stream.peek(&mut [0]).unwrap(), 0);
        assert!(!tcp.is_open());
    }
}
