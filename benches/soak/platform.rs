//! A platform over HTTP on loopback, with the faults that the script sets.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::endpoints::{answer, message_number, read_request};
use super::script::{Fault, Random, Scope};
use super::state::PlatformState;

pub struct Platform {
    pub url: String,
    pub state: PlatformState,
    seed: u64,
    address: SocketAddr,
    fault: Mutex<(Fault, Scope)>,
    /// Number of times that the fault was set.
    fault_changes: AtomicUsize,
    /// The number of the token that it takes.
    token: AtomicU64,
    /// Number of open connections. Each has a socket and a thread, which are not the crate's.
    pub connections: AtomicUsize,
    /// Number of requests that were read.
    pub requests: AtomicU64,
    /// Number of requests that were answered with a fault, or not at all.
    pub faults: AtomicU64,
    stop: AtomicBool,
}

impl Platform {
    pub fn start(seed: u64) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let platform = Arc::new(Platform {
            url: format!("http://{address}"),
            state: PlatformState::new(),
            seed,
            address,
            fault: Mutex::new((Fault::Healthy, Scope::All)),
            fault_changes: AtomicUsize::new(0),
            token: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let shared = platform.clone();
        thread::Builder::new().name("platform".into()).spawn(move || shared.listen(listener))?;
        Ok(platform)
    }

    /// Sets the fault of all later requests.
    pub fn set_fault(&self, fault: Fault, scope: Scope) {
        *self.fault.lock() = (fault, scope);
        self.fault_changes.fetch_add(1, SeqCst);
        self.wake();
    }

    /// Sets the token that it takes from now on.
    pub fn set_token(&self, token: u64) {
        self.token.store(token, SeqCst);
    }

    /// Ends the listening thread.
    pub fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.wake();
    }

    /// Makes the listening thread look at the fault and at `stop`, by a connection.
    fn wake(&self) {
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }

    fn fault(&self) -> (Fault, Scope) {
        *self.fault.lock()
    }

    fn listen(self: Arc<Self>, mut listener: TcpListener) {
        for n in 0.. {
            let accepted = listener.accept();
            if self.stop.load(SeqCst) {
                return;
            }
            if self.fault().0 == Fault::Refused {
                drop(accepted);
                drop(listener);
                listener = self.refuse_connections();
                continue;
            }
            let Ok((stream, _)) = accepted else { continue };
            self.connections.fetch_add(1, SeqCst);
            let shared = self.clone();
            let thread = thread::Builder::new().name("platform".into()).stack_size(128 * 1024);
            let started = thread.spawn(move || {
                // The client has to notice a connection that ends with an error.
                let _ = shared.serve(&stream, Random::stream(shared.seed, n));
                drop(stream);
                shared.connections.fetch_sub(1, SeqCst);
            });
            if started.is_err() {
                self.connections.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Holds the port without listening while the fault is `Refused`. Returns a new listener on it.
    fn refuse_connections(&self) -> TcpListener {
        loop {
            let bound = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|socket| {
                socket.set_reuse_address(true)?;
                socket.bind(&SockAddr::from(self.address))?;
                Ok(socket)
            });
            if let Ok(socket) = bound {
                while self.fault().0 == Fault::Refused && !self.stop.load(SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
                if socket.listen(1_024).is_ok() {
                    return socket.into();
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn serve(&self, mut stream: &TcpStream, mut random: Random) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            self.requests.fetch_add(1, SeqCst);
            let mut fault = self.fault_for(&request.path);
            if fault == Fault::Mixed {
                use Fault::{Closed, Healthy, RateLimited, Reset, ServerError, Silent, Slow, Truncated};
                let faults = [ServerError, RateLimited, Closed, Reset, Silent, Slow, Truncated];
                let mixed = [[Healthy; 6].as_slice(), &faults].concat();
                fault = mixed[random.below(mixed.len() as u64) as usize];
            }
            let is_unauthorized = request.token != Some(self.token.load(SeqCst));
            if !matches!(fault, Fault::Healthy | Fault::Pruned) || is_unauthorized {
                self.faults.fetch_add(1, SeqCst);
            }
            // A real platform passes nothing on before these two answers. Before any other it may have done so.
            if !matches!(fault, Fault::RateLimited) && !is_unauthorized {
                message_number(&request.body).inspect(|message| self.state.accept_message(*message));
            }
            let (status, head, body) = match fault {
                Fault::Silent => return self.stay_silent(stream),
                Fault::Reset => return SockRef::from(stream).set_linger(Some(Duration::ZERO)),
                Fault::Closed | Fault::Refused => return Ok(()),
                Fault::ServerError => {
                    ([500, 502, 503][random.below(3) as usize], "", json!({ "error": "out of order" }))
                }
                Fault::RateLimited => (429, "Retry-After: 1\r\n", json!({ "error": "too many requests" })),
                _ if is_unauthorized => (401, "", json!({ "error": "bad token" })),
                _ => {
                    if fault == Fault::Slow {
                        let wait = if random.one_in(10) { 700 } else { 20 + random.below(280) };
                        thread::sleep(Duration::from_millis(wait));
                    }
                    let (status, body) = answer(&self.state, self.seed, &request, &mut random);
                    (status, "", body)
                }
            };
            let body = body.to_string();
            let length = body.len();
            let sent = if fault == Fault::Truncated { length / 2 } else { length };
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{head}\r\n{}", &body[..sent])?;
            if sent < length {
                return Ok(());
            }
        }
        Ok(())
    }

    fn fault_for(&self, path: &str) -> Fault {
        let (fault, scope) = self.fault();
        let is_hit = match scope {
            Scope::All => true,
            Scope::Registry => path.starts_with("/registry/") && !path.ends_with("/heartbeat"),
            Scope::Inbox => path.contains("/activity"),
        };
        if is_hit { fault } else { Fault::Healthy }
    }

    /// Answers nothing until the client closes the connection or the next phase begins.
    fn stay_silent(&self, mut stream: &TcpStream) -> io::Result<()> {
        let changes = self.fault_changes.load(SeqCst);
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        while self.fault_changes.load(SeqCst) == changes {
            match stream.read(&mut [0]) {
                Ok(0) => return Ok(()),
                Err(why) if !matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(why);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
