//! A server in front of the embedded platform: it passes requests on, records them, and can answer some itself.
#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpStream;

use a2a_blocking::testing::{Platform, WorkspaceHandle};
use a2a_blocking::{Client, ClientBuilder};
use serde_json::Value;

use crate::support::{Reaction, Request, Server};

/// Starts a server that passes requests on to the platform, but for those that `answer` reacts to.
pub fn relay(platform: &Platform, answer: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static) -> Server {
    let host = platform.url().replace("http://", "");
    Server::decide(move |_, request| answer(request).unwrap_or_else(|| forward(&host, request)))
}

/// Returns a builder for a client of the workspace, by way of the server. It has the workspace's token.
pub fn by_way_of(server: &Server, workspace: &WorkspaceHandle) -> ClientBuilder {
    workspace.client().platform_url(server.url())
}

pub fn client_of(server: &Server, workspace: &WorkspaceHandle) -> Client {
    by_way_of(server, workspace).build().unwrap()
}

/// Returns the bodies of the requests to this path.
pub fn bodies(server: &Server, path: &str) -> Vec<Value> {
    let to_path = server.requests().into_iter().filter(|request| request.path == path);
    to_path.map(|request| serde_json::from_slice(&request.body).unwrap_or_default()).collect()
}

fn forward(host: &str, request: &Request) -> Reaction {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in request.headers.iter().filter(|(name, _)| *name != "connection" && *name != "host") {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("host: {host}\r\nconnection: close\r\n\r\n");
    let Ok(mut stream) = TcpStream::connect(host) else { return Reaction::Close };
    stream.write_all(&[head.as_bytes(), &request.body].concat()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Reaction::Close };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { unchunked(&answer[end + 4..]) } else { answer[end + 4..].to_vec() };
    Reaction::reply(status, body)
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|bytes| bytes == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap().trim(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        if size == 0 {
            break;
        }
        rest = &rest[end + 4 + size..];
    }
    body
}
