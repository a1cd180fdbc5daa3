//! TCP connections whose waits end in time. `ureq`'s own do not: where it is given no time it connects for a second; a write
//! to a peer that does not read took three times its timeout, since what fits is taken and the rest is tried anew; and
//! Linux ends a socket's wait late, by up to an eighth (its timer wheel; at 30 s 1.6 s were seen).

use std::fmt;
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use super::deadline::in_time;
use crate::util::clock::Deadline;

/// On Linux a wait as short as this ends a tick or two of the system's late.
const BRIEF: Duration = Duration::from_millis(50);
/// How often a write is tried where that has to be asked for.
const NAP: Duration = Duration::from_millis(5);
/// Whether a write may be left to wait by itself. On macOS its timeout begins again whenever the peer takes a byte.
const WRITES_WAIT: bool = cfg!(any(target_os = "linux", target_os = "android", windows));

/// Makes connections, but not through a proxy: to that there is one already.
#[derive(Debug, Default)]
pub(in crate::http) struct TcpConnector;

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Either<In, Tcp>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let config = details.config;
        let stream = connect(&details.addrs, *in_time(details.timeout).after)?;
        settable(stream.set_nodelay(config.no_delay()))?;
        let stream = Arc::new(stream);
        // A cancel breaks it by this, from another thread.
        (details.register_shutdown)(Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>)?;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Tcp { stream, buffers, stuck: None })))
    }
}

/// Each address but the last has half of the time that is left when its turn comes. What is told is what the last one
/// says that was reached or waited for, and not that there is no way to another.
fn connect(addresses: &[SocketAddr], wait: Duration) -> Result<TcpStream, Error> {
    let end = Deadline::after(wait);
    let mut failure = None;
    for (at, address) in addresses.iter().enumerate() {
        let share = share(end.left(), addresses.len() - at);
        if share.is_zero() {
            return Err(Error::Timeout(Timeout::Connect));
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(why) => {
                log::debug!("{address}: {why}");
                let kind = why.kind();
                if failure.is_none() || matches!(kind, IoKind::ConnectionRefused | IoKind::TimedOut) {
                    let timed_out = kind == IoKind::TimedOut;
                    failure = Some(if timed_out { Error::Timeout(Timeout::Connect) } else { why.into() });
                }
            }
        }
    }
    Err(failure.unwrap_or(Error::ConnectionFailed))
}

/// How much of the time that is left the next of so many addresses may take.
fn share(left: Duration, addresses: usize) -> Duration {
    if addresses == 1 { left } else { left / 2 }
}

/// A connection, to the platform or to a proxy.
pub(in crate::http) struct Tcp {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    /// What ended a write. TLS would try it again, and a part of it may be out.
    stuck: Option<Timeout>,
}

/// Without what is in the buffers.
impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tcp").field(&self.stream.peer_addr().ok()).finish()
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let Some(why) = self.stuck {
            return Err(Error::Timeout(why));
        }
        let timeout = in_time(timeout);
        let end = Deadline::after(*timeout.after);
        let mut rest = &self.buffers.output()[..amount];
        // A write that has taken some of it begins a wait of its own, but no new time.
        while !rest.is_empty() {
            let timeout = NextTimeout { after: end.left().into(), ..timeout }.for_write();
            let written =
                if WRITES_WAIT { write(&self.stream, rest, timeout) } else { try_write(&self.stream, rest, timeout) };
            match written {
                Ok(0) => return Err(io::Error::from(IoKind::WriteZero).into()),
                Ok(taken) => rest = &rest[taken..],
                Err(why) => {
                    if let Error::Timeout(reason) = why {
                        self.stuck = Some(reason);
                    }
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let mut stream = &*self.stream;
        let room = self.buffers.input_append_buf();
        let read = wait(in_time(timeout).for_read(), Duration::MAX, |wait| {
            settable(stream.set_read_timeout(Some(wait)))?;
            stream.read(room)
        })?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        let stream = &*self.stream;
        // What has come without being asked for is no answer to the next request.
        let is_quiet = |peeked: io::Result<usize>| peeked.is_err_and(|why| why.kind() == IoKind::WouldBlock);
        stream.set_nonblocking(true).is_ok() && is_quiet(stream.peek(&mut [0])) && stream.set_nonblocking(false).is_ok()
    }
}

fn write(mut stream: &TcpStream, bytes: &[u8], timeout: NextTimeout) -> Result<usize, Error> {
    wait(timeout, Duration::MAX, |wait| {
        settable(stream.set_write_timeout(Some(wait)))?;
        stream.write(bytes)
    })
}

/// The same without a wait of the system's.
fn try_write(mut stream: &TcpStream, bytes: &[u8], timeout: NextTimeout) -> Result<usize, Error> {
    wait(timeout, NAP, |nap| {
        stream.set_nonblocking(true)?;
        let outcome = stream.write(bytes);
        stream.set_nonblocking(false)?;
        if outcome.as_ref().is_err_and(|why| why.kind() == IoKind::WouldBlock) {
            thread::sleep(nap);
        }
        outcome
    })
}

/// Does the `step`, which waits for as long as it is told to, at the `most` so long, until it is done or the time is over.
/// How much of that is left is told by what was waited for, too: a clock may stand still.
fn wait(
    timeout: NextTimeout,
    most: Duration,
    mut step: impl FnMut(Duration) -> io::Result<usize>,
) -> Result<usize, Error> {
    let end = Deadline::after(*timeout.after);
    let mut left = *timeout.after;
    while !left.is_zero() {
        let part = part(left).min(most);
        match step(part) {
            Err(why) if why.kind() == IoKind::WouldBlock => left = end.left().min(left - part),
            Err(why) if why.kind() == IoKind::Interrupted => left = end.left().min(left),
            // Windows' word for it, and elsewhere TCP's own where nothing that was sent arrives any more.
            Err(why) if why.kind() == IoKind::TimedOut => break,
            outcome => return Ok(outcome?),
        }
    }
    Err(Error::Timeout(timeout.reason))
}

/// How much of the time that is left to wait for at once: so that, late by an eighth, it ends before the time is over.
fn part(left: Duration) -> Duration {
    if cfg!(any(target_os = "linux", target_os = "android")) && left > BRIEF { left - left / 8 } else { left }
}

/// Without a failure that says that the peer is gone, as macOS has it: what was said before that can still be read.
fn settable(outcome: io::Result<()>) -> io::Result<()> {
    let says_gone = |why: &io::Error| cfg!(target_vendor = "apple") && why.kind() == IoKind::InvalidInput;
    outcome.or_else(|why| if says_gone(&why) { Ok(()) } else { Err(why) })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn within(millis: u64) -> NextTimeout {
        NextTimeout { after: Duration::from_millis(millis).into(), reason: Timeout::RecvBody, ..NextTimeout::default() }
    }

    fn pair(output: usize) -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = Arc::new(connect(&[listener.local_addr().unwrap()], Duration::from_secs(60)).unwrap());
        (Tcp { stream, buffers: LazyBuffers::new(1_024, output), stuck: None }, listener.accept().unwrap().0)
    }

    #[test]
    fn a_wait_that_ends_late_by_an_eighth_ends_in_time_and_without_a_clock_too() {
        let mut parts = Vec::new();
        let outcome = wait(within(8_000), Duration::MAX, |part| {
            parts.push(part);
            Err(IoKind::WouldBlock.into())
        });
        assert!(matches!(outcome, Err(Error::Timeout(Timeout::RecvBody))));
        let [sum, mut left] = [parts.iter().sum(), Duration::from_secs(8)];
        assert_eq!(sum, left, "{parts:?}");
        for part in parts {
            let late = if cfg!(target_os = "linux") && left > BRIEF { part / 8 } else { Duration::ZERO };
            assert!(part + late <= left, "{part:?} of {left:?}");
            left -= part;
        }
    }

    #[test]
    fn a_wait_that_was_interrupted_goes_on_and_a_failure_ends_it() {
        let mut say = vec![Ok(3), Err(IoKind::Interrupted), Err(IoKind::WouldBlock), Err(IoKind::Interrupted)];
        let mut step = |_| say.pop().unwrap().map_err(io::Error::from);
        assert_eq!(wait(within(60_000), Duration::MAX, &mut step).unwrap(), 3);
        let failed = |kind: IoKind| wait(within(60_000), Duration::MAX, |_| Err(kind.into())).unwrap_err();
        assert!(matches!(failed(IoKind::TimedOut), Error::Timeout(Timeout::RecvBody)));
        assert!(matches!(failed(IoKind::ConnectionReset), Error::Io(why) if why.kind() == IoKind::ConnectionReset));
        assert!(matches!(wait(within(0), Duration::MAX, |_| panic!("no time")), Err(Error::Timeout(_))));
    }

    #[test]
    fn an_address_that_says_nothing_leaves_half_of_the_time_to_those_after_it() {
        let second = Duration::from_secs(1);
        assert_eq!([3, 2, 1].map(|addresses| share(second, addresses)), [second / 2, second / 2, second]);
    }

    #[test]
    fn each_address_has_its_turn_and_what_is_told_is_what_one_said() {
        let refuses = SocketAddr::from(([127, 0, 0, 1], 1));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listens = listener.local_addr().unwrap();

        let long = Duration::from_secs(60);
        assert_eq!(connect(&[refuses, listens], long).unwrap().peer_addr().unwrap(), listens);
        assert_eq!(connect(&[listens, refuses], long).unwrap().peer_addr().unwrap(), listens);
        // Nobody can connect to a multicast group: there is no way, whatever the network.
        let no_way = SocketAddr::from(([224, 0, 0, 1], 9));
        for addresses in [[refuses, no_way], [no_way, refuses]] {
            let Err(Error::Io(why)) = connect(&addresses, long) else { panic!("connected to nobody") };
            assert_eq!(why.kind(), IoKind::ConnectionRefused, "{why}");
        }
        assert!(matches!(connect(&[no_way], long), Err(Error::Io(_))));
        assert!(matches!(connect(&[], long), Err(Error::ConnectionFailed)));
        assert!(matches!(connect(&[listens], Duration::ZERO), Err(Error::Timeout(Timeout::Connect))));
        // The two that were made, and no third.
        let taken = [(), ()].map(|()| listener.accept().unwrap());
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "{taken:?}");
    }

    /// More than the system's buffers take.
    const MUCH: usize = 16 << 20;

    #[test]
    fn what_does_not_fit_at_once_is_written_in_order() {
        let bytes: Vec<u8> = (0..MUCH).map(|n| (n / 251) as u8).collect();
        for is_left_to_wait in [true, false] {
            let (mut tcp, mut peer) = pair(MUCH);
            let reader = thread::spawn(move || {
                let mut read = Vec::new();
                peer.read_to_end(&mut read).map(|_| read)
            });
            if is_left_to_wait {
                tcp.buffers().output().copy_from_slice(&bytes);
                tcp.transmit_output(MUCH, within(60_000)).unwrap();
            } else {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    rest = &rest[try_write(&tcp.stream, rest, within(60_000)).unwrap()..];
                }
            }
            drop(tcp);
            assert!(reader.join().unwrap().unwrap() == bytes);
        }
    }

    #[test]
    fn a_write_that_nobody_takes_ends_and_nothing_is_written_after_it() {
        let (mut tcp, _peer) = pair(MUCH);
        for wait in [20, 600_000] {
            let outcome = tcp.transmit_output(MUCH, within(wait));
            assert!(matches!(outcome, Err(Error::Timeout(Timeout::RecvBody))), "{outcome:?}");
        }
        let silence = NextTimeout { per_write: Some(Duration::from_millis(1).into()), ..within(600_000) };
        // What is left of the system's buffers fills up.
        let end = (0..).find_map(|_| try_write(&tcp.stream, &[0; 4_096], silence.for_write()).err());
        assert!(matches!(end, Some(Error::Timeout(Timeout::PerWrite))), "{end:?}");
    }

    #[test]
    fn what_it_is_about_to_send_is_not_shown() {
        let (mut tcp, _peer) = pair(6);
        tcp.buffers().output().copy_from_slice(b"secret");
        let shown = format!("{tcp:?}");
        assert!(shown.starts_with("Tcp(Some(127.0.0.1:") && shown.len() < 30, "{shown}");
    }

    #[test]
    fn a_read_ends_with_bytes_an_end_or_silence() {
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
    fn a_connection_is_open_while_nothing_comes_that_was_not_asked_for() {
        let (mut tcp, mut peer) = pair(1);
        assert!(tcp.is_open() && tcp.is_open());
        // It waits again afterwards.
        assert!(matches!(tcp.await_input(within(1)), Err(Error::Timeout(_))));
        peer.write_all(b"HTTP/1.1 408").unwrap();
        tcp.stream.peek(&mut [0]).unwrap();
        assert!(!tcp.is_open());

        let (mut tcp, peer) = pair(1);
        drop(peer);
        assert_eq!(tcp.stream.peek(&mut [0]).unwrap(), 0);
        assert!(!tcp.is_open());
    }
}
