//! Helpers that the tests share: a scripted server on real sockets, and a client for it.
#![allow(unreachable_pub, reason = "a module of each test binary")]
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up fails")]

pub mod platform;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, ClientBuilder};

pub const WORKSPACE: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
pub const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
pub const RECORD: &str = r#"{"id":"3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c","name":"ops-agent","role":"sre","status":"online","url":"http://ws-3f2b8c1a:8000"}"#;

/// Time limit for events that take milliseconds on an idle machine.
pub const TIMEOUT: Duration = Duration::from_secs(20);
// The name in `tests/cli`.
pub const SOON: Duration = TIMEOUT;

/// Waits until `holds` returns true. Panics after [`TIMEOUT`].
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "did not happen in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns a builder for a client of the server. Its records expire after exactly their TTL.
pub fn builder(server: &Server) -> ClientBuilder {
    Client::builder().platform_url(server.url()).workspace_id(WORKSPACE).ttl_spread(0.0)
}

/// A directory for one test. It is removed on drop.
pub struct Dir(pub std::path::PathBuf);

impl Dir {
    pub fn new(name: &str) -> Dir {
        // Numbered, because two tests with one name may run at the same time.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn client(server: &Server) -> Client {
    builder(server).build().unwrap()
}

/// A listener with a full queue. It answers no SYN, so that connecting to it hangs.
pub struct SilentListener {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl SilentListener {
    pub fn new() -> SilentListener {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            queue.push(stream);
            assert!(queue.len() < 10_000, "the queue does not fill");
        }
        SilentListener { listener, _queue: queue }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub fn client(&self) -> ClientBuilder {
        Client::builder().platform_url(format!("http://{}", self.address())).workspace_id(WORKSPACE)
    }

    /// Returns the number of sockets of this machine that are connecting to it: proc_pid_net(5).
    #[cfg(target_os = "linux")]
    pub fn connecting(&self) -> usize {
        const SYN_SENT: &str = "02";
        let remote = format!("0100007F:{:04X}", self.address().port());
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields.filter(|fields| fields[2] == remote && fields[3] == SYN_SENT).count()
    }
}

/// Returns the number of threads of this process with that name, of which Linux keeps 15 characters.
#[cfg(target_os = "linux")]
pub fn threads_named(name: &str) -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == &name[..name.len().min(15)]).count()
}

/// The server's reaction to one request.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Sends a complete answer with a length after a delay, and keeps the connection open.
    Reply { status: u16, headers: Vec<(String, String)>, body: Vec<u8>, delay: Duration },
    /// Sends these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Closes the connection before any byte of an answer.
    Close,
    /// Resets the connection after these bytes of an answer.
    Reset(Vec<u8>),
    /// Sends nothing until the client closes the connection.
    Hang,
    /// Sends `head` at once, then `slow` byte by byte with a pause between.
    Trickle { head: Vec<u8>, slow: Vec<u8>, pause: Duration },
}

// The name in `tests/cli`, `tests/programs.rs` and `tests/hit.rs`.
#[allow(unused_imports, reason = "only some test binaries use it")]
pub use Reaction as Act;

impl Reaction {
    pub fn reply(status: u16, body: impl AsRef<[u8]>) -> Reaction {
        Reaction::Reply { status, headers: Vec::new(), body: body.as_ref().to_vec(), delay: Duration::ZERO }
    }

    pub fn raw(text: &str) -> Reaction {
        Reaction::Raw(text.as_bytes().to_vec())
    }

    pub fn header(mut self, name: &str, value: &str) -> Reaction {
        if let Reaction::Reply { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }

    pub fn after(mut self, wait: Duration) -> Reaction {
        if let Reaction::Reply { delay, .. } = &mut self {
            *delay = wait;
        }
        self
    }
}

/// A request as the server read it. Header names are in lower case.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Number of the connection that it came on, from zero.
    pub connection: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A scripted server.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

type Decide = dyn Fn(usize, &Request) -> Reaction + Send + Sync;

struct Shared {
    reactions: Box<Decide>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    stop: AtomicUsize,
}

impl Server {
    /// Starts a server that reacts in this order, to one request each, whatever the connection. The last reaction repeats.
    pub fn play(reactions: impl Into<Vec<Reaction>>) -> Server {
        let reactions: Vec<Reaction> = reactions.into();
        Server::decide(move |n, _| reactions[n.min(reactions.len() - 1)].clone())
    }

    /// Starts a server that chooses its reaction by the number of the request and the request itself.
    pub fn decide(reactions: impl Fn(usize, &Request) -> Reaction + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Server::accept(listener, reactions, |shared, n, stream| serve(shared, stream, n))
    }

    /// Starts a server that calls `serve` for each connection, counted from zero, and reads nothing itself.
    pub fn raw(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Server::accept(listener, |_, _| Reaction::Close, move |_, n, stream| serve(n, stream))
    }

    fn accept(
        listener: TcpListener,
        reactions: impl Fn(usize, &Request) -> Reaction + Send + Sync + 'static,
        serve: impl Fn(&Shared, usize, TcpStream) + Send + Sync + 'static,
    ) -> Server {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            reactions: Box::new(reactions),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            stop: AtomicUsize::new(0),
        });
        let server = Server { address, shared: shared.clone() };
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(SeqCst) > 0 {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, serve) = (shared.clone(), serve.clone());
                let connection = shared.connections.fetch_add(1, SeqCst);
                thread::spawn(move || serve(&shared, connection, stream));
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(1, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(shared: &Shared, mut stream: TcpStream, connection: usize) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader, connection) {
        let n = {
            let mut requests = shared.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        if !perform(&(shared.reactions)(n, &request), &mut stream) {
            return;
        }
    }
}

/// Performs a reaction. Returns whether the connection stays open.
fn perform(act: &Reaction, stream: &mut TcpStream) -> bool {
    match act {
        Reaction::Reply { status, headers, body, delay } => {
            thread::sleep(*delay);
            let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            let answer = [format!("{head}\r\n").as_bytes(), body].concat();
            stream.write_all(&answer).is_ok()
        }
        Reaction::Raw(bytes) => {
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(Shutdown::Both);
            false
        }
        Reaction::Close => {
            let _ = stream.shutdown(Shutdown::Both);
            false
        }
        Reaction::Reset(bytes) => {
            let _ = stream.write_all(bytes);
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
            // The reader's clone of the socket is dropped when `serve` returns. The last one sends the RST.
            false
        }
        Reaction::Hang => {
            let _ = stream.read(&mut [0]);
            false
        }
        Reaction::Trickle { head, slow, pause } => {
            let mut gone = stream.write_all(head).is_err();
            for byte in slow {
                thread::sleep(*pause);
                gone = gone || stream.write_all(&[*byte]).is_err();
                if gone {
                    return false;
                }
            }
            false
        }
    }
}

pub fn read_request(reader: &mut impl BufRead, connection: usize) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body, connection })
}
