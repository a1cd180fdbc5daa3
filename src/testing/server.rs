//! The listener, and a thread for each connection.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::answer::{AnswerBody, AnswerWriter};
use super::background;
use super::http::RequestReader;
use super::route;
use super::state::Shared;
use super::stream;
use crate::util::sync::Mutex;

/// The most connections. Others are closed at once.
const MOST_CONNECTIONS: usize = 512;
/// Limit of a write without progress. It ends the connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);

/// A running server. It ends when it is dropped.
pub(super) struct TestServer {
    pub(super) shared: Arc<Shared>,
    /// Behind a lock, so that a platform can be used across a caught panic.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl TestServer {
    /// Listens on a loopback port: a free one for 0.
    pub(super) fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let shared = Arc::new(Shared::new(listener.local_addr()?));
        let server = TestServer { shared: shared.clone(), threads: Mutex::default() };
        let accepting = shared.clone();
        server.threads.lock().push(spawn("a2a-testing-listener", move || accept(&listener, &accepting))?);
        let committing = shared.clone();
        server.threads.lock().push(spawn("a2a-testing-commits", move || background::commit_rows(&committing))?);
        server.threads.lock().push(spawn("a2a-testing-queue", move || background::dispatch(&shared))?);
        Ok(server)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shared.end();
        // The listener looks whether the platform ended when somebody connects.
        let _woken = TcpStream::connect_timeout(&self.shared.address, Duration::from_secs(1));
        for thread in self.threads.lock().drain(..) {
            // A thread that panicked has ended, too.
            let _ended = thread.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Accepts connections until the platform ends, and then waits for their threads.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::<JoinHandle<()>>::new();
    loop {
        let accepted = listener.accept();
        let (ended, offline) = {
            let state = shared.lock();
            (state.ended, state.faults.offline)
        };
        if ended {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        match accepted {
            Ok((socket, from)) if !offline && threads.len() < MOST_CONNECTIONS => {
                let shared = shared.clone();
                // Without a thread the connection is closed.
                threads.extend(spawn("a2a-testing-connection", move || {
                    // A connection that broke has nobody left to be told.
                    let _ended = serve(socket, from, &shared);
                }));
            }
            Ok(_) => {}
            // Out of descriptors: others are closed meanwhile.
            Err(_) => {
                shared.sleep(Duration::from_millis(20));
            }
        }
    }
    shared.shut_down_sockets();
    for thread in threads {
        let _ended = thread.join();
    }
}

fn serve(socket: TcpStream, from: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    let id = shared.remember_socket(&socket)?;
    let result = answer_requests(&socket, from, shared);
    shared.forget_socket(id);
    // It may have ended by itself.
    let _ended = socket.shutdown(std::net::Shutdown::Both);
    result
}

fn answer_requests(socket: &TcpStream, from: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut reader = RequestReader::new(socket);
    loop {
        let mut writer = socket;
        let read = reader.next_request(|| {
            // A client that is gone is noticed when its body is read.
            let _sent = writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        })?;
        let Some(request) = read else { return Ok(()) };
        if request.path.first().is_some_and(|first| first == "registry") {
            shared.wait_for_registry();
        }
        let (answer, ended) = {
            let answer = route::answer(shared, &request, from);
            let (slow, ended) = {
                let state = shared.lock();
                (state.faults.slow, state.ended)
            };
            (answer, ended || (!slow.is_zero() && !shared.sleep(slow)))
        };
        if ended {
            return Ok(());
        }
        if let AnswerBody::Events(workspace) = &answer.body {
            return stream::serve_events(shared, socket, workspace, &answer);
        }
        let keeps_alive = request.keeps_alive;
        let pace = |bytes: usize| match shared.answer_rate() {
            Some(rate) => shared.sleep(Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1))),
            None => true,
        };
        AnswerWriter::new(socket, &pace).write(&answer, keeps_alive, request.method == "HEAD")?;
        if !keeps_alive {
            return Ok(());
        }
    }
}
