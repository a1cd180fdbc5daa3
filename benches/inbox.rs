//! The rate of one poller in rows per second, beside hand-written loops on `ureq` and `serde_json`.
//!
//! `cargo bench --bench inbox` measures; with `-- --test` it makes a small run, which only shows that it works.
//!
//! All candidates poll the same embedded platform, which makes each page on request. They take turns, and the result is
//! the median of the rounds' ratios. The hand-written loops read each row's id, sender and text, as any poller has to,
//! and store their position:
//!
//! - *the same promise*: a crash repeats one row, a power failure one page. For each row the id is written to a new
//!   file, which is renamed over the old one. At the end of a page the file is synced.
//! - *a cursor a page*: a crash repeats a page, and a power failure one or more. For each page one new file is renamed
//!   over the old one, without a sync. It has no retries, no late rows, no attempts that outlive a crash, and no lock.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, InboxPoller, Verdict};
use serde_json::Value;

const WORKSPACE: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
const PEERS: usize = 64;

// The platform.

struct Platform {
    url: String,
    /// Number of rows in the inbox.
    rows: Arc<AtomicUsize>,
}

impl Platform {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let rows = Arc::new(AtomicUsize::new(0));
        let platform = Platform { url: format!("http://{}", listener.local_addr().unwrap()), rows: rows.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let rows = rows.clone();
                thread::spawn(move || serve(&stream, &rows));
            }
        });
        platform
    }
}

fn row_id(n: usize) -> String {
    format!("ac710000-0000-4000-8000-{n:012x}")
}

fn peer_id(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-{:012x}", n * 7)
}

/// Writes row `n` as JSON. The rows are a second apart, in May 2026.
fn write_row(out: &mut String, n: usize) {
    let (day, hour, minute, second) = (1 + n / 86_400, n / 3_600 % 24, n / 60 % 60, n % 60);
    write!(
        out,
        r#"{{"id":"{}","workspace_id":"{WORKSPACE}","activity_type":"a2a_receive","source_id":"{}","target_id":"{WORKSPACE}","method":"message/send","summary":"message/send from a peer","duration_ms":12,"status":"ok","created_at":"2026-05-{day:02}T{hour:02}:{minute:02}:{second:02}.123456Z","seq":{n},"peer_name":"agent {}","peer_role":"sre","request_body":{{"jsonrpc":"2.0","id":"{n}","method":"message/send","params":{{"message":{{"role":"user","messageId":"m-{n}","parts":[{{"kind":"text","text":"disk {n} is full: please look at it and say what you did"}}]}}}}}}}}"#,
        row_id(n),
        peer_id(n % PEERS),
        n % PEERS,
    )
    .unwrap();
}

fn serve(mut stream: &TcpStream, rows: &AtomicUsize) {
    stream.set_nodelay(true).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut request = String::new();
    while let Some(Ok(line)) = lines.next() {
        if request.is_empty() {
            request = line;
            continue;
        }
        if !line.is_empty() {
            continue;
        }
        let mut body = String::new();
        if let Some((_, id)) = request.split_once("since_id=ac710000-0000-4000-8000-") {
            let first = usize::from_str_radix(&id[..12], 16).unwrap() + 1;
            body.reserve(400_000);
            body.push('[');
            for n in first..(first + 500).min(rows.load(SeqCst)) {
                if n > first {
                    body.push(',');
                }
                write_row(&mut body, n);
            }
            body.push(']');
        } else if request.contains("/registry/discover/") {
            body.push_str(r#"{"name":"ops-agent","role":"sre"}"#);
        } else {
            body.push('[');
            write_row(&mut body, 0);
            body.push(']');
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        request.clear();
    }
}

// The candidates.

#[derive(Clone, Copy, PartialEq)]
enum Candidate {
    /// The crate's poller.
    Poller { enriched: bool },
    /// A hand-written loop with the poller's promise.
    SamePromise,
    /// A hand-written loop with a cursor per page.
    CursorAPage,
}

fn poller(platform: &Platform, dir: &Path) -> (Client, a2a_blocking::PollerBuilder) {
    let client = Client::builder().platform_url(&platform.url).workspace_id(WORKSPACE).build().unwrap();
    let builder = InboxPoller::builder(client.clone()).cursor_file(dir.join("poller")).heartbeat(None);
    (client, builder)
}

/// Polls all rows but the first, which is the cursor's. Returns the time that it took.
///
/// `at_each` gets the number of rows so far.
fn drain(
    candidate: Candidate,
    platform: &Platform,
    dir: &Path,
    rows: usize,
    at_each: impl Fn(usize) + Send + 'static,
) -> Duration {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    platform.rows.store(rows, SeqCst);
    match candidate {
        Candidate::Poller { enriched } => {
            let (client, builder) = poller(platform, dir);
            // A cursor behind the first row.
            let first = format!(
                r#"{{"version":1,"workspace":"{WORKSPACE}","anchor":["{}","2026-05-01T00:00:00.123456Z"],"floor":null,"acked":[],"tries":{{}},"snapshot":false}}"#,
                row_id(0)
            );
            fs::write(dir.join("poller"), first).unwrap();
            if enriched {
                (0..PEERS).for_each(|n| drop(client.enrich(peer_id(n))));
            }
            let (done, all_done) = mpsc::channel();
            let (mut seen, mut known) = (0, 0);
            let start = Instant::now();
            let handle = builder.spawn(move |message| {
                seen += 1;
                assert!(!message.text().is_empty() && message.peer().is_some());
                if enriched {
                    known += usize::from(message.sender().is_some());
                }
                at_each(seen);
                if seen == rows - 1 {
                    assert!(!enriched || known == seen);
                    done.send(()).unwrap();
                }
                Verdict::Ack
            });
            all_done.recv().unwrap();
            let took = start.elapsed();
            handle.unwrap().stop();
            took
        }
        by_hand => drain_by_hand(by_hand, platform, &dir.join("by-hand"), rows, at_each),
    }
}

fn drain_by_hand(
    candidate: Candidate,
    platform: &Platform,
    cursor: &Path,
    rows: usize,
    at_each: impl Fn(usize),
) -> Duration {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).proxy(None);
    let agent: ureq::Agent = config.build().into();
    let new = cursor.with_extension("new");
    let mut last = row_id(0);
    let mut seen = 0;
    let start = Instant::now();
    while seen < rows - 1 {
        let url = format!(
            "{}/workspaces/{WORKSPACE}/activity?type=a2a_receive&include=peer_info&limit=500&since_id={last}",
            platform.url
        );
        let body = agent.get(url).call().unwrap().body_mut().with_config().limit(32 << 20).read_to_vec().unwrap();
        let page: Vec<Value> = serde_json::from_slice(&body).unwrap();
        for row in &page {
            let id = row["id"].as_str().unwrap();
            let sender = row["source_id"].as_str().unwrap();
            let parts = row["request_body"]["params"]["message"]["parts"].as_array().unwrap();
            let text: String =
                parts.iter().filter(|part| part["kind"] == "text").filter_map(|part| part["text"].as_str()).collect();
            // The callback.
            assert!(!text.is_empty() && !sender.is_empty());
            seen += 1;
            at_each(seen);
            last.clear();
            last.push_str(id);
            if candidate == Candidate::SamePromise {
                fs::write(&new, &last).unwrap();
                fs::rename(&new, cursor).unwrap();
            }
        }
        if candidate == Candidate::SamePromise {
            File::open(cursor).unwrap().sync_data().unwrap();
            File::open(cursor.parent().unwrap()).unwrap().sync_all().unwrap();
        } else {
            fs::write(&new, &last).unwrap();
            fs::rename(&new, cursor).unwrap();
        }
    }
    start.elapsed()
}

// The table.

const CANDIDATES: [(&str, Candidate); 4] = [
    ("the poller", Candidate::Poller { enriched: false }),
    ("the poller, senders enriched", Candidate::Poller { enriched: true }),
    ("by hand, the same promise", Candidate::SamePromise),
    ("by hand, a cursor a page", Candidate::CursorAPage),
];

/// Returns the resident memory of the process in KiB, or `None` on a system without `/proc`.
fn resident_kib() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    // `cargo bench` passes `--bench`. `-- --test` asks for a run that only shows that it works.
    let small = std::env::args().any(|arg| arg == "--test");
    let (rounds, rows, many) = if small { (1, 3_000, 20_000) } else { (9, 50_000, 1_000_000) };
    let dir: PathBuf = std::env::temp_dir().join(format!("a2a-bench-inbox-{}", std::process::id()));
    let platform = Platform::start();
    let mut rates = vec![Vec::new(); CANDIDATES.len()];
    for _ in 0..rounds {
        for (n, (_, candidate)) in CANDIDATES.iter().enumerate() {
            let took = drain(*candidate, &platform, &dir, rows, |_| ());
            rates[n].push((rows - 1) as f64 / took.as_secs_f64());
        }
    }
    println!("{rows} rows per run, 500 per page, with times one second apart; medians of {rounds} rounds\n");
    println!("{:32} {:>10} {:>22} {:>20}", "", "rows/s", "x by hand, the same", "x a cursor a page");
    let ratio =
        |n: usize, other: usize| median(rates[n].iter().zip(&rates[other]).map(|(one, other)| one / other).collect());
    for (n, (name, _)) in CANDIDATES.iter().enumerate() {
        println!("{name:32} {:>10.0} {:>22.2} {:>20.2}", median(rates[n].clone()), ratio(n, 2), ratio(n, 3));
    }

    let (send, sampled) = mpsc::channel();
    let took = drain(Candidate::Poller { enriched: true }, &platform, &dir, many, move |seen| {
        if seen % (many / 10) == 0 || seen == many - 1 {
            send.send(resident_kib()).unwrap();
        }
    });
    let held: Vec<usize> = sampled.into_iter().flatten().collect();
    let shown: Vec<String> = held.iter().map(|kib| format!("{:.1}", *kib as f64 / 1024.0)).collect();
    println!("\n{many} rows in {took:.1?}; MiB resident at each tenth: {}", shown.join(" "));
    let _ = fs::remove_dir_all(&dir);

    let targets = [
        ("at least 0.9 of the rate of the same by hand", ratio(0, 2) >= 0.9),
        ("and with senders enriched", ratio(1, 2) >= 0.9),
        // Compared with the first tenth, when everything has been used once.
        ("memory flat", held.first().zip(held.last()).is_none_or(|(first, last)| *last <= first + first / 10 + 2_048)),
    ];
    println!();
    for (target, met) in targets {
        println!("    target: {target}: {}", if met { "met" } else { "NOT MET" });
    }
    println!("\ntargets met: {} of {}", targets.iter().filter(|(_, met)| *met).count(), targets.len());
}
