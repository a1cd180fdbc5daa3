//! A registry on loopback with prepared answers, and clients whose caches it filled.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use a2a_blocking::{Client, ClientBuilder, LookupSource, Peer};

/// The TTL. It is longer than any run, so that no record expires.
const DAY: Duration = Duration::from_secs(86_400);

/// A whole HTTP response, head and body.
pub type Answer = Arc<[u8]>;

pub fn answer(status: u16, body: &str) -> Answer {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes().into()
}

/// Starts a registry and returns its URL. `answer` gets the first line of the request.
pub fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve(&stream, &*answer));
        }
    });
    url
}

fn serve(mut stream: &TcpStream, answer: impl Fn(&str) -> Answer) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    loop {
        first.clear();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        // Reads to the end of the head. None of these requests has a body.
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        line.clear();
        if stream.write_all(&answer(&first)).is_err() {
            return;
        }
    }
}

/// Returns the record of a peer.
pub fn record(id: &str) -> String {
    let short = &id[..8];
    format!(r#"{{"id":"{id}","name":"agent-{short}","role":"sre","status":"online","url":"http://ws-{short}:8000"}}"#)
}

/// Returns the registry's list of peers with these ids.
pub fn listing<'a>(ids: impl IntoIterator<Item = &'a str>) -> Answer {
    let records: Vec<String> = ids.into_iter().map(record).collect();
    answer(200, &format!("[{}]", records.join(",")))
}

pub fn builder(url: &str) -> ClientBuilder {
    Client::builder().platform_url(url).workspace_id("bench").ttl(DAY).lookup_timeout(Duration::from_secs(30))
}

/// Returns a client that has all ids in its cache, and the records that its `peers` returned.
pub fn filled(ids: &[&str]) -> (Client, Vec<Peer>) {
    let list = listing(ids.iter().copied());
    let client = builder(&start(move |_| list.clone())).build().unwrap();
    let records = client.peers().unwrap();
    assert_cached(&client, ids, LookupSource::Fresh);
    (client, records)
}

/// Returns records that no client holds.
pub fn records(ids: &[&str]) -> Vec<Peer> {
    filled(ids).1
}

/// Returns a client that has for each id in its cache that the registry does not know it.
pub fn refused(ids: &[&str]) -> Client {
    let not_found = answer(404, r#"{"error":"workspace not found"}"#);
    let client = builder(&start(move |_| not_found.clone())).build().unwrap();
    ids.iter().for_each(|id| drop(client.enrich(id)));
    assert_cached(&client, ids, LookupSource::Absent);
    client
}

/// Checks that the cache answers for all ids: a miss would be another measurement.
fn assert_cached(client: &Client, ids: &[&str], source: LookupSource) {
    for id in ids {
        let lookup = client.lookup(id);
        assert!(lookup.from_cache && lookup.source == source, "{id}: {lookup:?}");
    }
}
