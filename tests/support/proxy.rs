//! An HTTP proxy that tunnels connections (`CONNECT`).
#![allow(unreachable_pub, dead_code, reason = "a module of each test binary, which uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::Server;

/// A proxy that records the heads that it received and the bytes that it forwarded.
pub struct Proxy {
    server: Server,
    heads: Arc<Mutex<Vec<String>>>,
    pub through: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    pub fn new(status: &'static str) -> Proxy {
        let (heads, through) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (seen_heads, forwarded) = (heads.clone(), through.clone());
        let server = Server::raw(move |_, mut client| {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let target = head.split(' ').nth(1).unwrap_or_default().replace("localhost", "127.0.0.1");
            seen_heads.lock().unwrap().push(head);
            let _ = client.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
            if !status.starts_with("200") {
                return;
            }
            let Ok(mut server) = TcpStream::connect(target) else { return };
            let (mut back, mut front) = (server.try_clone().unwrap(), client);
            let backwards = thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut front);
                let _ = front.shutdown(Shutdown::Both);
            });
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                forwarded.lock().unwrap().extend_from_slice(&bytes[..n]);
                if server.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
            let _ = server.shutdown(Shutdown::Both);
            let _ = backwards.join();
        });
        Proxy { server, heads, through }
    }

    pub fn working() -> Proxy {
        Proxy::new("200 Connected")
    }

    pub fn url(&self, user: &str) -> String {
        self.server.url().replace("http://", &format!("http://{user}"))
    }

    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}
