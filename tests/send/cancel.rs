//! A cancel ends a send at once, whatever it is doing. Without it each of these sends would take twenty seconds or
//! more.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{CancelToken, Client, Delivery, Error, ErrorKind, Message, RetryPolicy, SendOptions};

use crate::support::{self, PEER, Reaction, Server, SilentListener, WORKSPACE, client};

/// The documented limit is 100 ms. A machine that is busy with other things gets more.
const PROMPT: Duration = Duration::from_secs(2);

/// Starts a send, cancels it shortly after `ready` reports, and returns its error.
fn cancelled(client: &Client, message: &Message, policy: RetryPolicy, ready: &mpsc::Receiver<()>) -> Error {
    let token = CancelToken::new();
    let options = SendOptions::new().retry(policy).cancel(&token);
    thread::scope(|scope| {
        let send = scope.spawn(|| client.send_with(PEER, message, &options));
        ready.recv_timeout(Duration::from_secs(20)).unwrap();
        // By then the send usually waits. An earlier cancel must end it, too.
        thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        token.cancel();
        let error = send.join().unwrap().unwrap_err();
        assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
        error
    })
}

#[test]
fn cancel_ends_a_wait_for_a_silent_peer() {
    let (reached, ready) = mpsc::channel();
    let server = Server::decide(move |_, _| {
        reached.send(()).unwrap();
        Reaction::Hang
    });
    let error = cancelled(&client(&server), &Message::from("hi"), RetryPolicy::new(), &ready);
    assert_eq!(error.delivery(), Delivery::Unknown, "the server has read it");
    assert!(error.to_string().ends_with("/a2a: cancelled on the wire"), "{error}");
}

#[test]
fn cancel_ends_a_wait_between_attempts() {
    let (reached, ready) = mpsc::channel();
    let server = Server::decide(move |_, _| {
        reached.send(()).unwrap();
        Reaction::Close
    });
    let policy = RetryPolicy::new().with_base(Duration::from_secs(60)).with_cap(Duration::from_secs(60));
    let error = cancelled(&client(&server), &Message::from("hi"), policy, &ready);
    assert_eq!((error.delivery(), error.attempts()), (Delivery::Unknown, 1), "the first attempt was read");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn cancel_ends_a_connect() {
    let silent = SilentListener::new();
    let (reached, ready) = mpsc::channel();
    reached.send(()).unwrap();
    let client = silent.client().build().unwrap();
    let error = cancelled(&client, &Message::from("hi"), RetryPolicy::new(), &ready);
    assert_eq!(error.delivery(), Delivery::NotSent);
}

/// Their threads and sockets end with them, and not when the system gives the connection up.
#[test]
#[cfg(target_os = "linux")]
fn sends_that_end_during_a_connect_leave_nothing_behind() {
    const SENDS: usize = 100;
    let silent = SilentListener::new();
    let direct = silent.client().build().unwrap();
    let proxied = client_by_proxy(&format!("http://{}", silent.address()));
    for (client, cancel) in [(&direct, true), (&direct, false), (&proxied, true)] {
        for _ in 0..SENDS {
            let token = CancelToken::new();
            let budget = Duration::from_millis(if cancel { 60_000 } else { 5 });
            let options = SendOptions::new().retry(RetryPolicy::new().with_budget(budget)).cancel(&token);
            let canceller = thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                if cancel {
                    token.cancel();
                }
            });
            let error = client.send_with(PEER, &Message::from("hi"), &options).unwrap_err();
            assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
            canceller.join().unwrap();
        }
        support::eventually("no socket that still connects", || silent.connecting() == 0);
        // Other tests may be sending.
        support::eventually("no threads of ended sends", || support::threads_named("a2a-send") < SENDS / 4);
    }
}

fn client_by_proxy(proxy: &str) -> Client {
    Client::builder().platform_url("http://127.0.0.1:9").proxy(proxy).workspace_id(WORKSPACE).build().unwrap()
}

/// The connection is made, and the other side says nothing in the handshake on it.
#[test]
fn cancel_ends_a_handshake() {
    for by_proxy in [true, false] {
        if !by_proxy && cfg!(not(any(feature = "rustls", feature = "native-tls"))) {
            continue;
        }
        let (gone, is_gone) = mpsc::channel();
        let (reached, ready) = mpsc::channel();
        let server = Server::raw(move |_, mut stream| {
            let mut read = || std::io::Read::read(&mut stream, &mut [0; 4_096]);
            let begin = read();
            // Not before: OpenSSL reads the system's certificates first, and a cancelled call then writes nothing.
            reached.send(()).unwrap();
            while matches!(read(), Ok(1..)) {}
            gone.send(begin).unwrap();
        });
        let client = match by_proxy {
            true => client_by_proxy(&server.url()),
            false => {
                let url = server.url().replace("http://", "https://");
                Client::builder().platform_url(url).workspace_id(WORKSPACE).build().unwrap()
            }
        };
        let error = cancelled(&client, &Message::from("hi"), RetryPolicy::new(), &ready);
        assert_eq!(error.delivery(), Delivery::NotSent);
        let begin = is_gone.recv_timeout(Duration::from_secs(20)).expect("the connection's end");
        assert!(matches!(begin, Ok(1..)), "{begin:?}");
    }
}

/// A peer with a small buffer that reads nothing.
#[test]
fn cancel_ends_an_upload() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(8).unwrap();
    let listener: TcpListener = socket.into();
    let client = Client::builder()
        .platform_url(format!("http://{}", listener.local_addr().unwrap()))
        .workspace_id(WORKSPACE)
        .build()
        .unwrap();
    let (reached, ready) = mpsc::channel();
    let (done, hold) = mpsc::channel::<()>();
    let server = thread::spawn(move || {
        let _stream = listener.accept().unwrap();
        reached.send(()).unwrap();
        let _ended = hold.recv();
    });
    let message = Message::from("x".repeat(1_000_000));
    let error = cancelled(&client, &message, RetryPolicy::new(), &ready);
    // Where the kernel has taken everything, the client cannot know that the peer will not read it.
    assert!(error.delivery() <= Delivery::Unknown);
    drop(done);
    server.join().unwrap();
}

/// A send must not go on behind the caller's back: the peer sees the connection end.
#[test]
fn cancel_and_budget_close_the_connection() {
    for cancel in [true, false] {
        let (gone, is_gone) = mpsc::channel();
        let (reached, ready) = mpsc::channel();
        let server = Server::raw(move |_, mut stream| {
            support::read_request(&mut std::io::BufReader::new(stream.try_clone().unwrap()), 0).unwrap();
            reached.send(()).unwrap();
            gone.send(std::io::Read::read(&mut stream, &mut [0]).unwrap_or(0)).unwrap();
        });
        if cancel {
            cancelled(&client(&server), &Message::from("hi"), RetryPolicy::new(), &ready);
        } else {
            let policy = RetryPolicy::new().with_budget(Duration::from_millis(200));
            let options = SendOptions::new().retry(policy).cancel(&CancelToken::new());
            client(&server).send_with(PEER, &Message::from("hi"), &options).unwrap_err();
        }
        assert_eq!(is_gone.recv_timeout(Duration::from_secs(20)), Ok(0));
    }
}

#[test]
fn cancelled_token_prevents_a_send() {
    let server = Server::play([Reaction::Close]);
    let token = CancelToken::new();
    token.cancel();
    let error = client(&server).send_with(PEER, &Message::from("hi"), &SendOptions::new().cancel(&token)).unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Cancelled, Delivery::NotSent));
    assert_eq!((error.attempts(), server.connections()), (0, 0));
}

#[test]
fn token_that_is_not_cancelled_changes_nothing() {
    let ok = Reaction::reply(200, r#"{"result":{"parts":[{"kind":"text","text":"hello"}]}}"#);
    let server = Server::play([Reaction::Close, ok]);
    let token = CancelToken::new();
    let options = SendOptions::new().retry(RetryPolicy::new().with_base(Duration::from_millis(1))).cancel(&token);
    for _ in 0..3 {
        assert_eq!(client(&server).send_with(PEER, &Message::from("hi"), &options).unwrap().text(), "hello");
    }
    assert_eq!(server.requests().len(), 4);
    // The budget holds as it does without a token.
    let server = Server::play([Reaction::Hang]);
    let short = SendOptions::new().retry(RetryPolicy::new().with_budget(Duration::from_millis(300))).cancel(&token);
    let start = Instant::now();
    let error = client(&server).send_with(PEER, &Message::from("hi"), &short).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Unknown));
}
