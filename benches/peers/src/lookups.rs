//! One lookup over a connection that is kept alive: by the crate, by `ureq` alone, by `reqwest`, and by hand.
//!
//! Each reads the bytes of the body. Only the crate also parses them as JSON.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use a2a_blocking::Client;

/// The crate's time limit for a `discover`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The header in which the crate names its workspace.
const WORKSPACE: (&str, &str) = ("X-Workspace-ID", "bench");

fn path(id: &str) -> String {
    format!("/registry/discover/{id}")
}

pub fn ours(client: Client, id: String) -> impl FnMut() -> usize + use<> {
    move || client.discover(&id).unwrap().as_json().len()
}

/// Uses `ureq` with all settings that the crate gives it.
pub fn ureq(url: &str, id: &str) -> impl FnMut() -> usize + use<> {
    let config = ureq::Agent::config_builder()
        .user_agent("a2a-blocking/0.1.0")
        .accept("application/json")
        .accept_encoding("identity")
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .max_idle_age(Duration::from_secs(5))
        .max_idle_connections(64)
        .max_idle_connections_per_host(64)
        .timeout_global(Some(TIMEOUT));
    let agent: ureq::Agent = config.build().into();
    let url = format!("{url}{}", path(id));
    move || {
        let mut response = agent.get(&url).header(WORKSPACE.0, WORKSPACE.1).call().unwrap();
        let mut body = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut body).unwrap()
    }
}

pub fn reqwest(url: &str, id: &str) -> impl FnMut() -> usize + use<> {
    let client = reqwest::blocking::Client::builder().timeout(TIMEOUT).no_proxy().build().unwrap();
    let url = format!("{url}{}", path(id));
    move || client.get(&url).header(WORKSPACE.0, WORKSPACE.1).send().unwrap().bytes().unwrap().len()
}

/// Makes a lookup with one write and as few reads as possible: the floor.
pub fn by_hand(url: &str, id: &str) -> impl FnMut() -> usize + use<> {
    let host = url.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&host).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (name, value) = WORKSPACE;
    let request = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n{name}: {value}\r\n\r\n", path(id));
    let (mut line, mut body) = (String::new(), Vec::new());
    move || {
        stream.write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        line.clear();
        body.resize(length, 0);
        reader.read_exact(&mut body).unwrap();
        body.len()
    }
}
