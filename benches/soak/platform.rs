//! A platform over real HTTP on loopback, which misbehaves as it is told to.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::answers::{message, read};
use super::ledger::Ledger;
use super::script::{Dice, Fault, Scope};

pub struct Platform {
    pub url: String,
    pub ledger: Ledger,
    pub seed: u64,
    address: SocketAddr,
    mood: Mutex<(Fault, Scope)>,
    /// Counts the moods.
    changes: AtomicUsize,
    token: AtomicU64,
    /// Sockets and threads of the platform's own, which are not to be counted as the crate's.
    pub connections: AtomicUsize,
    pub requests: AtomicU64,
    /// Requests that were answered badly or not at all.
    pub faults: AtomicU64,
    stop: AtomicBool,
}

impl Platform {
    pub fn start(seed: u64) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let platform = Arc::new(Platform {
            url: format!("http://{address}"),
            ledger: Ledger::new(),
            seed,
            address,
            mood: Mutex::new((Fault::Well, Scope::Everything)),
            changes: AtomicUsize::new(0),
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

    pub fn set(&self, fault: Fault, scope: Scope) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = (fault, scope);
        self.changes.fetch_add(1, SeqCst);
        self.wake();
    }

    /// Takes another token from now on.
    pub fn rotate(&self, token: u64) {
        self.token.store(token, SeqCst);
    }

    pub fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.wake();
    }

    /// Has the listening thread look at the mood.
    fn wake(&self) {
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }

    fn mood(&self) -> (Fault, Scope) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: Arc<Self>, mut listener: TcpListener) {
        for n in 0.. {
            let accepted = listener.accept();
            if self.stop.load(SeqCst) {
                return;
            }
            if self.mood().0 == Fault::Refused {
                drop(accepted);
                drop(listener);
                listener = self.refuse();
                continue;
            }
            let Ok((stream, _)) = accepted else { continue };
            self.connections.fetch_add(1, SeqCst);
            let shared = self.clone();
            let thread = thread::Builder::new().name("platform".into()).stack_size(128 * 1024);
            let started = thread.spawn(move || {
                // A connection that ends badly is the client's to notice.
                let _ = shared.serve(&stream, Dice::of(shared.seed, n));
                drop(stream);
                shared.connections.fetch_sub(1, SeqCst);
            });
            if started.is_err() {
                self.connections.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Holds the port without listening, until it is to be listened at again.
    fn refuse(&self) -> TcpListener {
        loop {
            let bound = Socket::new(Domain::IPV4, Type::STREAM, None).and_then(|socket| {
                socket.set_reuse_address(true)?;
                socket.bind(&SockAddr::from(self.address))?;
                Ok(socket)
            });
            if let Ok(socket) = bound {
                while self.mood().0 == Fault::Refused && !self.stop.load(SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
                if socket.listen(1_024).is_ok() {
                    return socket.into();
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn serve(&self, mut stream: &TcpStream, mut dice: Dice) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader)? {
            self.requests.fetch_add(1, SeqCst);
            let mut fault = self.fault(&request.path);
            if fault == Fault::Mixed {
                use Fault::{Broken, Busy, Closed, Reset, Silent, Slow, Truncated, Well};
                let any = [Well, Well, Well, Well, Well, Well, Broken, Busy, Closed, Reset, Silent, Slow, Truncated];
                fault = any[dice.roll(any.len() as u64) as usize];
            }
            let locked = request.token != Some(self.token.load(SeqCst));
            if !matches!(fault, Fault::Well | Fault::Pruned) || locked {
                self.faults.fetch_add(1, SeqCst);
            }
            // What is refused so was not passed on; all else may have been.
            if !matches!(fault, Fault::Busy) && !locked {
                message(&request.body).inspect(|message| self.ledger.take(*message));
            }
            let (status, head, body) = match fault {
                Fault::Silent => return self.be_silent(stream),
                Fault::Reset => return SockRef::from(stream).set_linger(Some(Duration::ZERO)),
                Fault::Closed | Fault::Refused => return Ok(()),
                Fault::Broken => ([500, 502, 503][dice.roll(3) as usize], "", json!({ "error": "out of order" })),
                Fault::Busy => (429, "Retry-After: 1\r\n", json!({ "error": "too many requests" })),
                _ if locked => (401, "", json!({ "error": "bad token" })),
                _ => {
                    if fault == Fault::Slow {
                        let wait = if dice.one_in(10) { 700 } else { 20 + dice.roll(280) };
                        thread::sleep(Duration::from_millis(wait));
                    }
                    let (status, body) = self.answer(&request, &mut dice);
                    (status, "", body)
                }
            };
            let body = body.to_string();
            let length = body.len();
            let cut = if fault == Fault::Truncated { length / 2 } else { length };
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{head}\r\n{}", &body[..cut])?;
            if cut < length {
                return Ok(());
            }
        }
        Ok(())
    }

    fn fault(&self, path: &str) -> Fault {
        let (fault, scope) = self.mood();
        let hit = match scope {
            Scope::Everything => true,
            Scope::Registry => path.starts_with("/registry/") && !path.ends_with("/heartbeat"),
            Scope::Inbox => path.contains("/activity"),
        };
        if hit { fault } else { Fault::Well }
    }

    /// Until the client goes, or another phase begins.
    fn be_silent(&self, mut stream: &TcpStream) -> io::Result<()> {
        let changes = self.changes.load(SeqCst);
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        while self.changes.load(SeqCst) == changes {
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
