//! Connects to the first of several addresses that accepts, until the deadline or a shutdown of the pool.
//!
//! The standard library makes a connection attempt only as a whole (`TcpStream::connect_timeout`). Nothing ends such an
//! attempt from another thread, so a cancelled call left its thread and its socket behind until the system gave up. Nor
//! can it be made in slices: each of them would send a new SYN, and an answer that takes longer than a slice would never
//! be taken. Here the socket does not block, it is registered for a shutdown before it connects, and it is polled in
//! slices between which the pool is looked at: connect(2), <https://man7.org/linux/man-pages/man2/connect.2.html>.
//!
//! On Linux a shutdown also ends the poll at once. On systems without such a socket here, such as Windows, the attempt is
//! the standard library's, which a shutdown does not end.
//!
//! A `ureq` that registers a socket before it connects would make this module unnecessary.

use std::io::ErrorKind as IoKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use super::exchange::check_not_shut_down;
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;

/// Registers a socket with the agent, whose shutdown then shuts the socket down.
pub(super) type Register<'a> = &'a dyn Fn(&Arc<TcpStream>) -> Result<(), Error>;

/// Connects to the first address that accepts, within `timeout`.
///
/// Each address but the last gets half of the time that is left when its turn comes. Where none accepts, the error is
/// that of the last one that refused or timed out, in preference to an address without a route.
pub(super) fn connect(
    addresses: &[SocketAddr],
    timeout: Duration,
    register: Register<'_>,
) -> Result<Arc<TcpStream>, Error> {
    let end = Deadline::after(timeout);
    let mut failure = None;
    for (n, address) in addresses.iter().enumerate() {
        let share = share(end.left(), addresses.len() - n);
        if share.is_zero() {
            return Err(Error::Timeout(Timeout::Connect));
        }
        let limit = NextTimeout { after: share.into(), reason: Timeout::Connect, ..NextTimeout::default() };
        let outcome = system::connect_to(address, limit, register);
        // A connection that is made after the shutdown has missed it.
        check_not_shut_down()?;
        match outcome {
            Ok(stream) => return Ok(stream),
            Err(why) => {
                match &why {
                    Error::Io(why) => log_safe!(debug, "{address}: {why}"),
                    why => log_safe!(debug, "{address}: {why}"),
                }
                if failure.is_none() || is_answer(&why) {
                    failure = Some(why);
                }
            }
        }
    }
    Err(failure.unwrap_or(Error::ConnectionFailed))
}

/// Returns the part of the time left that the next of `addresses` addresses may take.
fn share(left: Duration, addresses: usize) -> Duration {
    if addresses == 1 { left } else { left / 2 }
}

/// Returns whether an address that failed so can be reached, as far as is known.
fn is_answer(why: &Error) -> bool {
    match why {
        Error::Timeout(_) => true,
        Error::Io(why) => why.kind() == IoKind::ConnectionRefused,
        _ => false,
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod system {
    use std::io::{self, ErrorKind as IoKind};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fd::OwnedFd;
    use rustix::io::Errno;
    use rustix::net::{self, AddressFamily, SocketType, sockopt};
    use ureq::Error;
    use ureq::unversioned::transport::NextTimeout;

    use super::Register;
    use crate::http::transport::deadline::call_until_shut_down;

    /// Connects to an address within `limit`.
    pub(super) fn connect_to(
        address: &SocketAddr,
        limit: NextTimeout,
        register: Register<'_>,
    ) -> Result<Arc<TcpStream>, Error> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let stream = Arc::new(TcpStream::from(non_blocking_socket(family).map_err(io::Error::from)?));
        register(&stream)?;
        match net::connect(&*stream, address) {
            // After a signal the attempt goes on.
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(why) => return Err(io::Error::from(why).into()),
        }
        call_until_shut_down(limit, |slice| await_connected(&stream, slice))?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// Waits until the connection attempt has ended. Fails with `WouldBlock` where `slice` is not enough.
    fn await_connected(stream: &TcpStream, slice: Duration) -> io::Result<()> {
        let slice = Timespec::try_from(slice).map_err(io::Error::other)?;
        let mut sockets = [PollFd::new(stream, PollFlags::OUT)];
        if poll(&mut sockets, Some(&slice))? == 0 {
            return Err(IoKind::WouldBlock.into());
        }
        sockopt::socket_error(stream)??;
        // A socket that was shut down while it connected may have no error.
        match sockets[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            true => Err(IoKind::NotConnected.into()),
            false => Ok(()),
        }
    }

    /// Makes a socket that does not block and that no child process inherits, as the standard library makes its own.
    #[cfg(not(target_vendor = "apple"))]
    fn non_blocking_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
        use rustix::net::SocketFlags;
        net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
    }

    /// Makes a socket that does not block and that no child process inherits, as the standard library makes its own.
    ///
    /// A write to a peer that is gone must not raise SIGPIPE.
    #[cfg(target_vendor = "apple")]
    fn non_blocking_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
        let socket = net::socket(family, SocketType::STREAM, None)?;
        rustix::io::ioctl_fioclex(&socket)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        sockopt::set_socket_nosigpipe(&socket, true)?;
        Ok(socket)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod system {
    use std::net::{SocketAddr, TcpStream};
    use std::sync::Arc;

    use ureq::Error;
    use ureq::unversioned::transport::NextTimeout;

    use super::Register;

    /// Connects to an address within `limit`.
    pub(super) fn connect_to(
        address: &SocketAddr,
        limit: NextTimeout,
        register: Register<'_>,
    ) -> Result<Arc<TcpStream>, Error> {
        let stream = TcpStream::connect_timeout(address, *limit.after).map_err(|why| match why.kind() {
            std::io::ErrorKind::TimedOut => Error::Timeout(limit.reason),
            _ => why.into(),
        })?;
        let stream = Arc::new(stream);
        register(&stream)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::http::transport::exchange::{ExchangeGuard, ShutdownFlag};

    const MINUTE: Duration = Duration::from_secs(60);

    fn unregistered(_: &Arc<TcpStream>) -> Result<(), Error> {
        Ok(())
    }

    #[test]
    fn silent_address_leaves_half_of_the_time_to_the_next_ones() {
        let second = Duration::from_secs(1);
        assert_eq!([3, 2, 1].map(|addresses| share(second, addresses)), [second / 2, second / 2, second]);
    }

    #[test]
    fn every_address_is_tried_and_the_error_is_that_of_one_that_answered() {
        let connect = |addresses: &[SocketAddr], timeout| connect(addresses, timeout, &unregistered);
        let refuses = SocketAddr::from(([127, 0, 0, 1], 1));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listens = listener.local_addr().unwrap();

        assert_eq!(connect(&[refuses, listens], MINUTE).unwrap().peer_addr().unwrap(), listens);
        assert_eq!(connect(&[listens, refuses], MINUTE).unwrap().peer_addr().unwrap(), listens);
        // TCP has no route to a multicast group, whatever the network.
        let no_route = SocketAddr::from(([224, 0, 0, 1], 9));
        for addresses in [[refuses, no_route], [no_route, refuses]] {
            let Err(Error::Io(why)) = connect(&addresses, MINUTE) else { panic!("connected to no one") };
            assert_eq!(why.kind(), IoKind::ConnectionRefused, "{why}");
        }
        assert!(matches!(connect(&[no_route], MINUTE), Err(Error::Io(_))));
        assert!(matches!(connect(&[], MINUTE), Err(Error::ConnectionFailed)));
        assert!(matches!(connect(&[listens], Duration::ZERO), Err(Error::Timeout(Timeout::Connect))));
        // Two connections were made, and no third.
        let accepted = [(), ()].map(|()| listener.accept().unwrap());
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "{accepted:?}");
    }

    /// Returns a listener whose queue is full, and the connections that fill it. It answers no SYN.
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    fn full_listener() -> (TcpListener, Vec<TcpStream>) {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&socket, 0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let attempts = std::iter::repeat_with(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)));
        let queue = attempts.map_while(Result::ok).collect();
        (listener, queue)
    }

    #[test]
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    fn shutdown_of_the_pool_ends_an_attempt() {
        let (listener, _queue) = full_listener();
        let address = listener.local_addr().unwrap();
        let flag = ShutdownFlag::default();
        let _exchange = ExchangeGuard::begin(None, None, Deadline::after(MINUTE), &flag);
        // The flag alone: no shutdown of the socket wakes the poll.
        let setter = flag.clone();
        let outcome = connect(&[address, address], MINUTE, &|_| {
            let setter = setter.clone();
            thread::spawn(move || setter.set());
            Ok(())
        });
        let Err(Error::Io(why)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(why.kind(), IoKind::NotConnected);
        assert!(matches!(connect(&[address], MINUTE, &unregistered), Err(Error::Io(_))));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn shutdown_of_the_socket_ends_an_attempt() {
        let (listener, _queue) = full_listener();
        let outcome = connect(&[listener.local_addr().unwrap()], MINUTE, &|stream| {
            let stream = stream.clone();
            // Fails until the socket connects.
            thread::spawn(move || while stream.shutdown(std::net::Shutdown::Both).is_err() {});
            Ok(())
        });
        assert!(matches!(outcome, Err(Error::Io(_))), "{outcome:?}");
    }

    /// The same socket, and so the same SYN, waits from slice to slice.
    #[test]
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    fn slow_answer_is_taken_by_the_socket_that_asked() {
        let (listener, mut queue) = full_listener();
        let address = listener.local_addr().unwrap();
        let accepting = thread::spawn(move || {
            // Several slices later there is room in the queue.
            thread::sleep(Duration::from_millis(350));
            let mut accepted: Vec<_> = queue.iter().map(|_| listener.accept().unwrap().0).collect();
            accepted.push(listener.accept().unwrap().0);
            queue.clear();
            accepted
        });
        let sockets = std::sync::Mutex::new(Vec::new());
        let stream = connect(&[address], MINUTE, &|stream| {
            sockets.lock().unwrap().push(stream.local_addr().ok());
            Ok(())
        });
        let stream = stream.unwrap();
        assert_eq!(sockets.lock().unwrap().len(), 1);
        let accepted = accepting.join().unwrap();
        assert_eq!(accepted.last().unwrap().peer_addr().unwrap(), stream.local_addr().unwrap());
    }
}
