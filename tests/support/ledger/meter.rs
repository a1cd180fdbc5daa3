//! Counts the bytes that the poller reads.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use a2a_blocking::testing::WorkspaceHandle;

/// A relay in front of the platform.
pub struct Meter {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Meter {
    pub fn start(platform: &str) -> Meter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, bytes) = (listener.local_addr().unwrap(), Arc::<AtomicU64>::default());
        let (platform, counted) = (host(platform).to_owned(), bytes.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // The client sees a platform that is down as one that hangs up.
                let Ok(server) = TcpStream::connect(&platform) else { continue };
                let pair = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let counted = counted.clone();
                thread::spawn(move || copy(pair.0, pair.1, &AtomicU64::new(0)));
                thread::spawn(move || copy(server, client, &counted));
            }
        });
        Meter { address, bytes }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the bytes of all answers so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

fn host(url: &str) -> &str {
    url.trim_start_matches("http://")
}

/// Copies until one side ends, and then ends both.
fn copy(mut from: TcpStream, mut to: TcpStream, bytes: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        bytes.fetch_add(read as u64, Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Lists each row behind `first` once, as a plain reader does. Returns the bytes of the answers.
pub fn plain_bytes(platform: &str, ops: &WorkspaceHandle, first: &str) -> u64 {
    let (mut bytes, mut last) = (1, first.to_owned());
    loop {
        let query = format!("type=a2a_receive&include=peer_info&limit=500&since_id={last}");
        let path = format!("/workspaces/{}/activity?{query}", ops.id());
        let answer = get(host(platform), &path, &ops.token().unwrap()).unwrap();
        bytes += answer.len() as u64;
        let Some(id) = last_id(&String::from_utf8_lossy(&answer)) else { return bytes };
        last = id;
    }
}

/// Returns the id of the last row of a page. The page is not parsed: some of its rows nest too deep.
fn last_id(page: &str) -> Option<String> {
    let is_row = |id: &&str| id.get(36..).is_some_and(|rest| rest.starts_with(r#"","method""#));
    page.rsplit(r#""id":""#).find(is_row).map(|id| id[..36].to_owned())
}

fn get(address: &str, path: &str, token: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
    Ok(answer.split_off(body))
}
