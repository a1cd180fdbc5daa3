//! The platform at the other end: well, until it is told to break, and well again.

use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::machine::Machine;
use crate::support::platform::Platform;
use crate::support::{Act, PEER, RECORD, Request, SOON, WORKSPACE, read_request};

/// What is wrong.
#[derive(Clone)]
pub enum Fault {
    /// No connection is taken.
    Refuse,
    /// Connections are neither taken nor refused.
    FullBacklog,
    /// A connection is taken, and nothing is read.
    OnAccept(Then),
    /// The request is read; then come these bytes, made from the good answer's body and where else there is a server.
    Answer(Make, Then),
    /// The bytes come while the request is on its way, and nothing of it is read.
    Early(Vec<u8>, Then),
    /// The platform is well; this machine is not.
    Machine(Machine),
    /// The same, with a platform that says nothing.
    SilentAnd(Machine),
}

pub type Make = Arc<dyn Fn(&str, SocketAddr) -> Vec<u8> + Send + Sync>;

/// What follows.
#[derive(Clone)]
pub enum Then {
    Close,
    Reset,
    /// Nothing, for as long as it is broken.
    Hold,
    /// The next request, on the same connection.
    Keep,
    /// These bytes again and again, with pauses, until the client goes away.
    Endless(Vec<u8>, Duration),
    /// The end of what is said, but not of what is heard.
    Drain,
}

/// How many there were while it was broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    pub connections: usize,
    /// Those that were read whole.
    pub requests: usize,
    /// Connections to another address that an answer pointed to.
    pub elsewhere: usize,
}

pub struct Peer {
    address: SocketAddr,
    state: Arc<State>,
    /// Of a full backlog: what it is filled with.
    queue: Vec<TcpStream>,
    /// Who does not take connections yet.
    waiting: Option<socket2::Socket>,
    begins_well: bool,
}

struct State {
    fault: Mutex<Fault>,
    broken: AtomicBool,
    stop: AtomicBool,
    connections: AtomicUsize,
    requests: AtomicUsize,
    platform: Platform,
    elsewhere: SocketAddr,
    /// Connections that were made there.
    strayed: AtomicUsize,
    /// The requests that were read while it was broken.
    sent: Mutex<Vec<Request>>,
}

impl Peer {
    pub fn new(fault: &Fault, platform: Platform) -> Peer {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        // Of a large upload as little as possible goes into the kernel's hands.
        if matches!(fault, Fault::Early(..)) {
            socket.set_recv_buffer_size(1).unwrap();
        }
        #[cfg(unix)]
        if matches!(fault, Fault::OnAccept(Then::Hold)) {
            // Nor on the sender's side, whose buffer is as large as loopback's segments else. With these sizes the kernel takes a
            // part of a write when its timeout is over, and then of the rest of it, so that to write it all takes three.
            socket.set_tcp_mss(536).unwrap();
            socket.set_recv_buffer_size(2_048).unwrap();
        }
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let state = State {
            fault: Mutex::new(fault.clone()),
            broken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            platform,
            elsewhere: elsewhere.local_addr().unwrap(),
            strayed: AtomicUsize::new(0),
            sent: Mutex::default(),
        };
        let (state, queue, waiting) = (Arc::new(state), Vec::new(), Some(socket));
        let begins_well = !matches!(fault, Fault::Refuse | Fault::FullBacklog);
        let strays = state.clone();
        thread::spawn(move || {
            for _stray in elsewhere.incoming().take_while(|_| !strays.stop.load(SeqCst)) {
                strays.strayed.fetch_add(1, SeqCst);
            }
        });
        let mut peer = Peer { address, state, queue, waiting, begins_well };
        match fault {
            // Bound, but not listening: the port stays ours.
            Fault::Refuse => {}
            Fault::FullBacklog => peer.fill_backlog(),
            _ => peer.take_connections(),
        }
        peer
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it can be well before it breaks.
    pub fn begins_well(&self) -> bool {
        self.begins_well
    }

    /// The next thing to go wrong.
    pub fn set(&self, fault: &Fault) {
        *self.state.fault.lock().unwrap() = fault.clone();
    }

    pub fn break_down(&mut self) {
        let State { connections, requests, broken, .. } = &*self.state;
        connections.store(0, SeqCst);
        requests.store(0, SeqCst);
        self.state.sent.lock().unwrap().clear();
        broken.store(true, SeqCst);
    }

    /// What was sent to it while it was broken.
    pub fn sent(&self) -> Vec<Request> {
        self.state.sent.lock().unwrap().clone()
    }

    /// It is well from now on. So many connections and requests have been made, though it may not have got to them.
    pub fn heal(&mut self, made: (usize, usize)) -> Counts {
        let start = std::time::Instant::now();
        let behind = || self.state.connections.load(SeqCst) < made.0 || self.state.requests.load(SeqCst) < made.1;
        while behind() && start.elapsed() < SOON {
            thread::sleep(Duration::from_millis(1));
        }
        let State { connections, requests, broken, .. } = &*self.state;
        let elsewhere = self.state.strayed.load(SeqCst);
        let counts = Counts { connections: connections.load(SeqCst), requests: requests.load(SeqCst), elsewhere };
        broken.store(false, SeqCst);
        self.queue.clear();
        if self.waiting.is_some() {
            self.take_connections();
        }
        counts
    }

    fn fill_backlog(&mut self) {
        self.waiting.as_ref().unwrap().listen(0).unwrap();
        while let Ok(stream) = TcpStream::connect_timeout(&self.address, Duration::from_millis(200)) {
            self.queue.push(stream);
            assert!(self.queue.len() < 10_000, "the queue does not fill");
        }
    }

    fn take_connections(&mut self) {
        let Some(socket) = self.waiting.take() else { return };
        socket.listen(128).unwrap();
        let (listener, state) = (TcpListener::from(socket), self.state.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if state.stop.load(SeqCst) {
                    return;
                }
                let state = state.clone();
                state.connections.fetch_add(1, SeqCst);
                thread::spawn(move || state.serve(stream));
            }
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.state.stop.store(true, SeqCst);
        for address in [self.address, self.state.elsewhere] {
            let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        }
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let fault = self.broken.load(SeqCst).then(|| self.fault.lock().unwrap().clone());
            match fault {
                Some(Fault::OnAccept(then)) => return self.go_on(&then, stream),
                Some(Fault::Early(bytes, then)) => {
                    // Before its first byte is there the client may not know yet that it is connected, and a reset would
                    // be a connection that failed.
                    let _ = stream.peek(&mut [0]);
                    let _ = stream.write_all(&bytes);
                    return self.go_on(&then, stream);
                }
                _ => {}
            }
            let Some(request) = read_request(&mut reader, 0) else { return };
            if self.broken.load(SeqCst) {
                self.sent.lock().unwrap().push(request.clone());
            }
            self.requests.fetch_add(1, SeqCst);
            let (bytes, then) = match self.broken.load(SeqCst).then(|| self.fault.lock().unwrap().clone()) {
                Some(Fault::Answer(make, then)) => (make(&self.good(&request), self.elsewhere), then),
                Some(Fault::SilentAnd(_)) => (Vec::new(), Then::Hold),
                _ => {
                    let body = self.good(&request);
                    let head =
                        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                    ((head + &body).into_bytes(), Then::Close)
                }
            };
            let written = stream.write_all(&bytes);
            if !matches!(then, Then::Keep) {
                drop(reader);
                return self.go_on(&then, stream);
            }
            if written.is_err() {
                return;
            }
        }
    }

    fn go_on(&self, then: &Then, mut stream: TcpStream) {
        match then {
            Then::Keep | Then::Close => {
                let _ = stream.shutdown(Shutdown::Both);
            }
            Then::Reset => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
            Then::Hold => {
                while self.broken.load(SeqCst) && !self.stop.load(SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
            }
            Then::Drain => {
                let _ = stream.shutdown(Shutdown::Write);
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
            Then::Endless(bytes, pause) => {
                while !self.stop.load(SeqCst) && stream.write_all(bytes).is_ok() {
                    thread::sleep(*pause);
                }
            }
        }
    }

    /// The body of a good answer.
    fn good(&self, request: &Request) -> String {
        let path = request.path.split('?').next().unwrap_or_default();
        if path == format!("/registry/discover/{PEER}") {
            return RECORD.to_owned();
        }
        if path == format!("/registry/{WORKSPACE}/peers") {
            return format!("[{RECORD}]");
        }
        if path == format!("/workspaces/{WORKSPACE}") {
            return format!(r#"{{"id":"{WORKSPACE}","name":"ours"}}"#);
        }
        if path == format!("/workspaces/{PEER}/a2a") {
            return r#"{"result":{"parts":[{"kind":"text","text":"thanks"}]}}"#.to_owned();
        }
        match self.platform.answer(request) {
            Act::Reply { body, .. } => String::from_utf8(body).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}
