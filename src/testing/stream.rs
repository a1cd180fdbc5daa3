//! The event stream, <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::answer::HttpAnswer;
use super::entities::Subscriber;
use super::state::Shared;
use crate::util::clock::Deadline;

/// A client that went away is noticed within this time.
const LOOK: Duration = Duration::from_millis(500);
/// Open streams. More are closed at once.
const MOST_STREAMS: usize = 256;

/// Writes events until the client goes away or the platform ends. The stream stays open after a rotation of the token and
/// after the workspace's removal, and it sends nothing to keep the connection alive.
pub(super) fn serve_events(
    shared: &Arc<Shared>,
    mut socket: &TcpStream,
    workspace: &str,
    answer: &HttpAnswer,
) -> io::Result<()> {
    let Some(id) = subscribe(shared, workspace) else { return Ok(()) };
    let mut head = String::from("HTTP/1.1 200 OK\r\n");
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "Transfer-Encoding: chunked\r\n\r\n8\r\n: ping\n\n\r\n";
    let result = socket.write_all(head.as_bytes()).and_then(|()| write_events(shared, socket, id));
    shared.lock().subscribers.retain(|reader| reader.id != id);
    result
}

fn subscribe(shared: &Shared, workspace: &str) -> Option<u64> {
    let mut state = shared.lock();
    if state.subscribers.len() >= MOST_STREAMS {
        return None;
    }
    let id = state.next_subscriber;
    state.next_subscriber += 1;
    state.subscribers.push(Subscriber { id, workspace: workspace.to_owned(), waiting: VecDeque::new() });
    Some(id)
}

fn write_events(shared: &Shared, mut socket: &TcpStream, id: u64) -> io::Result<()> {
    loop {
        let mut state = shared.lock();
        let event = loop {
            if state.ended {
                return Ok(());
            }
            let reader = state.subscribers.iter_mut().find(|reader| reader.id == id);
            let Some(reader) = reader else { return Ok(()) };
            if let Some(event) = reader.waiting.pop_front() {
                break Some(event);
            }
            let deadline = Deadline::after(LOOK);
            state = shared.wait(state, deadline);
            if deadline.left().is_zero() {
                break None;
            }
        };
        drop(state);
        match event {
            Some(event) => {
                socket.write_all(format!("{:x}\r\n", event.len()).as_bytes())?;
                socket.write_all(&event)?;
                socket.write_all(b"\r\n")?;
            }
            None if is_closed(socket)? => return Ok(()),
            None => {}
        }
    }
}

/// True if the client closed the connection.
fn is_closed(socket: &TcpStream) -> io::Result<bool> {
    socket.set_nonblocking(true)?;
    let peeked = socket.peek(&mut [0]);
    socket.set_nonblocking(false)?;
    match peeked {
        Ok(count) => Ok(count == 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
