//! The platform at the other end. It works until it is broken, and works again once it is repaired.

use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::machine::Machine;
use crate::support::platform::Platform;
use crate::support::{PEER, RECORD, Reaction, Request, TIMEOUT, WORKSPACE, read_request};

/// A fault.
#[derive(Clone)]
pub enum Fault {
    /// It refuses connections.
    Refuse,
    /// It neither accepts nor refuses connections.
    FullBacklog,
    /// It accepts a connection and reads nothing.
    OnAccept(Ending),
    /// It reads the request and sends these bytes. They are made from the body of a good answer and the address of
    /// another server.
    Answer(Make, Ending),
    /// It sends the bytes while the request is on its way, and reads nothing of it.
    Early(Vec<u8>, Ending),
    /// The platform works, but this machine does not.
    Machine(Machine),
    /// The same, and the platform sends nothing.
    SilentAnd(Machine),
}

pub type Make = Arc<dyn Fn(&str, SocketAddr) -> Vec<u8> + Send + Sync>;

/// Behaviour after the bytes.
#[derive(Clone)]
pub enum Ending {
    Close,
    Reset,
    /// Nothing, until the fault is over.
    Hold,
    /// The next request, on the same connection.
    Keep,
    /// These bytes again and again with a pause between, until the client closes.
    Endless(Vec<u8>, Duration),
    /// It closes its sending side and reads on.
    Drain,
}

/// Counts during the fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    pub connections: usize,
    /// Requests that were read completely.
    pub requests: usize,
    /// Connections to another address that an answer pointed to.
    pub elsewhere: usize,
}

pub struct Peer {
    address: SocketAddr,
    state: Arc<State>,
    /// Connections that fill the backlog.
    queue: Vec<TcpStream>,
    /// A socket that does not listen yet.
    waiting: Option<socket2::Socket>,
    begins_well: bool,
}

struct State {
    fault: Mutex<Fault>,
    broken: AtomicBool,
    /// True while a GET request is answered as if there were no fault, and not counted.
    spares_gets: AtomicBool,
    stop: AtomicBool,
    connections: AtomicUsize,
    requests: AtomicUsize,
    platform: Platform,
    elsewhere: SocketAddr,
    /// Number of connections to that address.
    strayed: AtomicUsize,
    /// Requests that were read during the fault.
    sent: Mutex<Vec<Request>>,
}

impl Peer {
    pub fn new(fault: &Fault, platform: Platform) -> Peer {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        // The kernel buffers as little as possible of a large upload.
        if matches!(fault, Fault::Early(..)) {
            socket.set_recv_buffer_size(1).unwrap();
        }
        #[cfg(unix)]
        if matches!(fault, Fault::OnAccept(Ending::Hold)) {
            // The sender's buffer is as large as loopback's segments otherwise. With these sizes the kernel takes a
            // part of a write when its timeout has passed. It then takes part of the rest, so a complete write takes
            // three timeouts.
            socket.set_tcp_mss(536).unwrap();
            socket.set_recv_buffer_size(2_048).unwrap();
        }
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let state = State {
            fault: Mutex::new(fault.clone()),
            broken: AtomicBool::new(false),
            spares_gets: AtomicBool::new(false),
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
            // The socket is bound and does not listen, so no other process gets the port.
            Fault::Refuse => {}
            Fault::FullBacklog => peer.fill_backlog(),
            _ => peer.take_connections(),
        }
        peer
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether it works before it is broken.
    pub fn begins_well(&self) -> bool {
        self.begins_well
    }

    /// Sets the next fault, and whether GET requests are answered all the same.
    pub fn set(&self, fault: &Fault, spares_gets: bool) {
        self.state.spares_gets.store(spares_gets, SeqCst);
        *self.state.fault.lock().unwrap() = fault.clone();
    }

    pub fn break_down(&mut self) {
        let State { connections, requests, broken, .. } = &*self.state;
        connections.store(0, SeqCst);
        requests.store(0, SeqCst);
        self.state.sent.lock().unwrap().clear();
        broken.store(true, SeqCst);
    }

    /// Returns the requests that were read during the fault.
    pub fn sent(&self) -> Vec<Request> {
        self.state.sent.lock().unwrap().clone()
    }

    /// Repairs it, once it has seen at least the connections and requests of `made`. It may not have handled them yet.
    pub fn heal(&mut self, made: (usize, usize)) -> Counts {
        let start = std::time::Instant::now();
        let behind = || self.state.connections.load(SeqCst) < made.0 || self.state.requests.load(SeqCst) < made.1;
        while behind() && start.elapsed() < TIMEOUT {
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
            if self.broken.load(SeqCst) && self.spares_gets.load(SeqCst) && is_get(&stream) {
                let Some(request) = read_request(&mut reader, 0) else { return };
                self.connections.fetch_sub(1, SeqCst);
                let _ = stream.write_all(&good_answer(&self.good(&request)));
                return self.finish(&Ending::Close, stream);
            }
            let fault = self.broken.load(SeqCst).then(|| self.fault.lock().unwrap().clone());
            match fault {
                Some(Fault::OnAccept(ending)) => return self.finish(&ending, stream),
                Some(Fault::Early(bytes, ending)) => {
                    // Before the first byte arrives, the client may not know that it is connected. A reset would then
                    // be a failed connection.
                    let _ = stream.peek(&mut [0]);
                    let _ = stream.write_all(&bytes);
                    return self.finish(&ending, stream);
                }
                _ => {}
            }
            let Some(request) = read_request(&mut reader, 0) else { return };
            if self.broken.load(SeqCst) {
                self.sent.lock().unwrap().push(request.clone());
            }
            self.requests.fetch_add(1, SeqCst);
            let (bytes, ending) = match self.broken.load(SeqCst).then(|| self.fault.lock().unwrap().clone()) {
                Some(Fault::Answer(make, then)) => (make(&self.good(&request), self.elsewhere), then),
                Some(Fault::SilentAnd(_)) => (Vec::new(), Ending::Hold),
                _ => (good_answer(&self.good(&request)), Ending::Close),
            };
            let written = stream.write_all(&bytes);
            if !matches!(ending, Ending::Keep) {
                drop(reader);
                return self.finish(&ending, stream);
            }
            if written.is_err() {
                return;
            }
        }
    }

    fn finish(&self, ending: &Ending, mut stream: TcpStream) {
        match ending {
            Ending::Keep | Ending::Close => {
                let _ = stream.shutdown(Shutdown::Both);
            }
            Ending::Reset => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
            Ending::Hold => {
                while self.broken.load(SeqCst) && !self.stop.load(SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
            }
            Ending::Drain => {
                let _ = stream.shutdown(Shutdown::Write);
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
            Ending::Endless(bytes, pause) => {
                while !self.stop.load(SeqCst) && stream.write_all(bytes).is_ok() {
                    thread::sleep(*pause);
                }
            }
        }
    }

    /// Returns the body of a good answer.
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
        if path == format!("/workspaces/{WORKSPACE}/state") {
            return format!(r#"{{"workspace_id":"{WORKSPACE}","status":"online","paused":false,"deleted":false}}"#);
        }
        if path == "/registry/register" {
            return r#"{"status":"registered","delivery_mode":"poll","platform_inbound_secret":"x"}"#.to_owned();
        }
        if path == "/registry/update-card" {
            return r#"{"status":"updated"}"#.to_owned();
        }
        match path.rsplit_once("/pending-uploads/") {
            Some((_, "f-1/content")) => return "a file".to_owned(),
            Some((_, "f-1/ack")) => return r#"{"acked":true}"#.to_owned(),
            _ => {}
        }
        match self.platform.answer(request) {
            Reaction::Reply { body, .. } => String::from_utf8(body).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// Returns whether a GET request begins on the connection. Waits for its first byte, and reads nothing.
fn is_get(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first), Ok(1)) && first == *b"G"
}

fn good_answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
