//! Looks names up until the exchange's deadline or a shutdown of its pool, however long the system takes.
//!
//! `getaddrinfo(3)` has no deadline, and nothing ends it from another thread. So each lookup has a thread, and calls
//! that ask for the same name at the same time share that: while a name server is silent, the threads of calls that have
//! ended do not add up. An IP address takes no thread.
//!
//! A `ureq` that passes on the time that is left, shares such threads and stops waiting at a shutdown would make this
//! module unnecessary.

use std::fmt;
use std::io::{self, ErrorKind as IoKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process;
use std::sync::{Arc, Mutex as TryMutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::deadline::{call_until_shut_down, cap_to_deadline};
use crate::util::clock::Deadline;
use crate::util::panic;
use crate::util::sync::{Condvar, Mutex, wait_while};

/// Age up to which a lookup is shared. An older one may hang for another reason than a new one would: the system may
/// have other name servers by now.
const MAX_SHARED_AGE: Duration = Duration::from_secs(2);
/// Most addresses that `ureq` takes.
const MAX_ADDRESSES: usize = 16;
/// Number of attempts to lock the list of lookups.
const LOCK_ATTEMPTS: usize = 1_000;

/// Looks a `host:port` up, as the system does it.
type SystemLookup = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// The lookups of this process that others may join.
static SHARED: TryMutex<Vec<Arc<NameLookup>>> = TryMutex::new(Vec::new());

/// A resolver that takes no longer than the exchange that its thread is in.
pub(super) struct NameResolver {
    lookup: SystemLookup,
}

impl Default for NameResolver {
    fn default() -> Self {
        NameResolver { lookup: |name| name.to_socket_addrs().map(Iterator::collect) }
    }
}

impl fmt::Debug for NameResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameResolver")
    }
}

impl Resolver for NameResolver {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host_and_port = uri.scheme().zip(uri.authority());
        let name = host_and_port.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let Some(name) = name else { return Err(Error::BadUri(uri.to_string())) };
        let mut resolved = self.empty();
        if let Ok(address) = name.parse() {
            resolved.push(address);
            return Ok(resolved);
        }
        let found = NameLookup::join_or_start(name, self.lookup).wait(cap_to_deadline(timeout))?;
        match &*found {
            Ok(addresses) if addresses.is_empty() => return Err(Error::HostNotFound),
            Ok(addresses) => addresses.iter().take(MAX_ADDRESSES).for_each(|address| resolved.push(*address)),
            // Several calls get it, and an `io::Error` cannot be cloned.
            Err(why) => return Err(io::Error::new(why.kind(), why.to_string()).into()),
        }
        Ok(resolved)
    }
}

/// The result of a lookup, for all calls that wait for it.
type Found = Arc<io::Result<Vec<SocketAddr>>>;

/// A lookup on its own thread.
struct NameLookup {
    /// Host and port.
    name: String,
    /// End of the time in which others may join it.
    shared_until: Deadline,
    /// Id of the process that its thread runs in. In a child by fork the lookup never ends.
    process: u32,
    found: Mutex<Option<Found>>,
    ended: Condvar,
}

impl NameLookup {
    /// Returns the lookup of `name` that is in progress, or starts one.
    fn join_or_start(name: String, lookup: SystemLookup) -> Arc<Self> {
        let new = Arc::new(NameLookup {
            name,
            shared_until: Deadline::after(MAX_SHARED_AGE),
            process: process::id(),
            found: Mutex::new(None),
            ended: Condvar::new(),
        });
        if let Some(mut shared) = lock_shared() {
            shared.retain(|other| other.is_joinable());
            if let Some(other) = shared.iter().find(|other| other.name == new.name) {
                return other.clone();
            }
            shared.push(new.clone());
        }
        new.start(lookup);
        new
    }

    /// Returns whether another call may wait for it.
    fn is_joinable(&self) -> bool {
        self.process == process::id() && !self.shared_until.left().is_zero() && self.found.lock().is_none()
    }

    /// Starts the thread. Where the system refuses it one, the lookup ends with that error.
    fn start(self: &Arc<Self>, lookup: SystemLookup) {
        let this = self.clone();
        let work = move || {
            let found = panic::catch(|| lookup(&this.name));
            this.end(found.unwrap_or_else(|_| Err(io::Error::other("the lookup of the name panicked"))));
        };
        if let Err(why) = thread::Builder::new().name("a2a-dns".to_owned()).spawn(work) {
            self.end(Err(io::Error::other(format!("no thread to look the name up: {why}"))));
        }
    }

    /// Stores the result and wakes the calls that wait for it.
    fn end(&self, found: io::Result<Vec<SocketAddr>>) {
        *self.found.lock() = Some(Arc::new(found));
        self.ended.notify_all();
        if let Some(mut shared) = lock_shared() {
            shared.retain(|other| !std::ptr::eq(&**other, self));
        }
    }

    /// Blocks until the lookup ends.
    ///
    /// # Errors
    ///
    /// The timeout has passed, or the pool is shut down.
    fn wait(&self, timeout: NextTimeout) -> Result<Found, Error> {
        call_until_shut_down(timeout, |slice| {
            let end = Some(Deadline::after(slice));
            let found = wait_while(&self.ended, self.found.lock(), Option::is_none, end);
            found.clone().ok_or_else(|| IoKind::WouldBlock.into())
        })
    }
}

/// Locks the list of lookups, or returns `None` where that takes too long.
///
/// It is held for a moment only. In a child by fork it may be locked for ever, by a thread that does not exist there.
fn lock_shared() -> Option<MutexGuard<'static, Vec<Arc<NameLookup>>>> {
    for _ in 0..LOCK_ATTEMPTS {
        match SHARED.try_lock() {
            Ok(shared) => return Some(shared),
            // What it guards is a list that is whole at each point where a panic can happen.
            Err(TryLockError::Poisoned(shared)) => return Some(shared.into_inner()),
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;

    use ureq::{Agent, Timeout};

    use super::*;
    use crate::http::pool::Pool;
    use crate::http::route::Route;
    use crate::http::transport::exchange::{ExchangeGuard, ShutdownFlag};

    const MINUTE: Duration = Duration::from_secs(60);

    fn resolve(lookup: SystemLookup, host: &str, timeout: Duration) -> Result<Vec<SocketAddr>, Error> {
        let limit = NextTimeout { after: timeout.into(), reason: Timeout::Resolve, ..NextTimeout::default() };
        let uri = format!("http://{host}/").parse().unwrap();
        let resolved = NameResolver { lookup }.resolve(&uri, &Config::default(), limit)?;
        Ok(resolved.iter().copied().collect())
    }

    fn found(_: &str) -> io::Result<Vec<SocketAddr>> {
        Ok((0..40).map(|port| ([127, 0, 0, 1], port).into()).collect())
    }

    #[test]
    fn addresses_take_no_lookup_and_names_take_one() {
        let refuses = |_: &str| -> io::Result<_> { panic!("looked up") };
        assert_eq!(resolve(refuses, "127.0.0.1:81", MINUTE).unwrap(), [([127, 0, 0, 1], 81).into()]);
        assert_eq!(resolve(refuses, "[::1]", MINUTE).unwrap(), ["[::1]:80".parse().unwrap()]);
        assert_eq!(resolve(found, "found.test", MINUTE).unwrap().len(), MAX_ADDRESSES);
        assert!(matches!(resolve(|_| Ok(Vec::new()), "none.test", MINUTE), Err(Error::HostNotFound)));
        let failed = |_: &str| Err(io::Error::other("failed to lookup address information: not known"));
        assert!(resolve(failed, "failed.test", MINUTE).unwrap_err().to_string().contains("failed to lookup address"));
        let Err(Error::Io(why)) = resolve(refuses, "panics.test", MINUTE) else { panic!("it did not fail") };
        assert!(why.to_string().contains("panicked"));
    }

    #[test]
    fn lookup_ends_at_the_deadline_of_the_exchange() {
        let silent = |_: &str| -> io::Result<_> {
            thread::sleep(MINUTE);
            Ok(Vec::new())
        };
        let flag = ShutdownFlag::default();
        let _exchange = ExchangeGuard::begin(None, None, Deadline::after(Duration::from_millis(150)), &flag);
        let outcome = resolve(silent, "silent.test", MINUTE);
        assert!(matches!(outcome, Err(Error::Timeout(Timeout::Resolve))), "{outcome:?}");
    }

    /// A hundred calls that are given up leave one thread behind, and not a hundred.
    #[test]
    fn shutdown_ends_the_wait_and_calls_share_a_lookup_that_hangs() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        let hangs = |_: &str| {
            LOOKUPS.fetch_add(1, SeqCst);
            thread::sleep(MINUTE);
            Ok(Vec::new())
        };
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let (flag, (started, starts)) = (ShutdownFlag::default(), mpsc::channel());
                let own = flag.clone();
                let caller = thread::spawn(move || {
                    let _exchange = ExchangeGuard::begin(None, None, Deadline::after(MINUTE), &own);
                    started.send(()).unwrap();
                    resolve(hangs, "hangs.test", MINUTE).map_err(|why| why.to_string())
                });
                starts.recv().unwrap();
                flag.set();
                caller
            })
            .collect();
        for caller in callers {
            let why = caller.join().unwrap().unwrap_err();
            assert!(why.contains("shut down"), "{why}");
        }
        // The thread may begin after its callers have left.
        while LOOKUPS.load(SeqCst) == 0 {
            thread::yield_now();
        }
        let lookups = LOOKUPS.load(SeqCst);
        assert!((1..=50).contains(&lookups), "{lookups}");
    }

    /// A name server that is silent must leave time for another attempt.
    #[test]
    fn resolver_of_a_send_gets_30_seconds_of_a_long_budget() {
        /// A resolver that records the time that it is given.
        #[derive(Debug, Clone, Default)]
        struct Recorder(Arc<Mutex<Vec<Duration>>>);

        impl Resolver for Recorder {
            fn resolve(&self, _: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
                self.0.lock().push(*cap_to_deadline(timeout).after);
                Err(Error::HostNotFound)
            }
        }

        let budget = Duration::from_secs(600);
        let pool = Pool::one_shot(&Route::direct().unwrap(), budget);
        let recorder = Recorder::default();
        let agent = Agent::with_parts(pool.agent.config().clone(), (), recorder.clone());
        let _exchange = ExchangeGuard::begin(None, None, Deadline::after(budget), &ShutdownFlag::default());
        assert!(agent.post("http://platform.test/").send_empty().is_err());
        let given = recorder.0.lock();
        let near = Duration::from_secs(26)..=Duration::from_secs(30);
        assert!(given.len() == 1 && near.contains(&given[0]), "{given:?}");
    }
}
