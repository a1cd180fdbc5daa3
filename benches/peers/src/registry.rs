//! A registry on loopback that answers from prepared texts, and clients that it filled.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use a2a_blocking::{Client, ClientBuilder, LookupSource, Peer};

/// Longer than any run: that a record expires is none of what is measured.
const DAY: Duration = Duration::from_secs(86_400);

/// A whole answer, head and body.
pub type Answer = Arc<[u8]>;

pub fn answer(status: u16, body: &str) -> Answer {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes().into()
}

/// Starts a registry; its address. It is asked with the request's first line.
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
        // To the end of the head; none of these requests has a body.
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

/// What the registry says of a peer.
pub fn record(id: &str) -> String {
    let short = &id[..8];
    format!(r#"{{"id":"{id}","name":"agent-{short}","role":"sre","status":"online","url":"http://ws-{short}:8000"}}"#)
}

/// The registry's list of so many peers.
pub fn listing<'a>(ids: impl IntoIterator<Item = &'a str>) -> Answer {
    let records: Vec<String> = ids.into_iter().map(record).collect();
    answer(200, &format!("[{}]", records.join(",")))
}

pub fn builder(url: &str) -> ClientBuilder {
    Client::builder().platform_url(url).workspace_id("bench").ttl(DAY).lookup_timeout(Duration::from_secs(30))
}

/// A client that remembers all of the ids, and their records as it was handed them.
pub fn filled(ids: &[&str]) -> (Client, Vec<Peer>) {
    let list = listing(ids.iter().copied());
    let client = builder(&start(move |_| list.clone())).build().unwrap();
    let records = client.peers().unwrap();
    assert_remembered(&client, ids, LookupSource::Fresh);
    (client, records)
}

/// Records that nothing but the answer of this call holds.
pub fn records(ids: &[&str]) -> Vec<Peer> {
    filled(ids).1
}

/// A client that remembers of all of the ids that the registry knows none of them.
pub fn refused(ids: &[&str]) -> Client {
    let no = answer(404, r#"{"error":"workspace not found"}"#);
    let client = builder(&start(move |_| no.clone())).build().unwrap();
    ids.iter().for_each(|id| drop(client.enrich(id)));
    assert_remembered(&client, ids, LookupSource::Absent);
    client
}

/// Every candidate is asked for what it knows: a miss would be another measurement.
fn assert_remembered(client: &Client, ids: &[&str], source: LookupSource) {
    for id in ids {
        let lookup = client.lookup(id);
        assert!(lookup.from_cache && lookup.source == source, "{id}: {lookup:?}");
    }
}
