//! Measures a hit, from `&str` to a readable record, beside a naive port of the Python module `a2a_client`.
//!
//! Run it with `cargo bench --bench cache`, or a part of it by name: `cargo bench --bench cache -- 'one thread/'`. The
//! comparison with other caches is in `benches/peers`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, LookupSource};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use once_cell::sync::Lazy;
use parking_lot::RwLock;
use regex::Regex;
use serde_json::Value;

/// Numbers of peers. The records of the last almost fill the 64 MiB of a cache.
const SIZES: [usize; 4] = [1, 64, 1_024, 40_000];
const RECORD: &str = r#"{"id":"3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c","name":"ops-agent","role":"sre","status":"online","url":"http://ws-3f2b8c1a:8000"}"#;

/// Returns pseudo-random ids, the same in every run.
fn ids(count: usize) -> Vec<String> {
    let mut state = 0x853c_49e6_748f_ea9b_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let id = |a: u64, b: u64| {
        let (w, x, y, z) = (a >> 32, a >> 16 & 0xffff, a & 0xffff, b >> 48);
        format!("{w:08x}-{x:04x}-{y:04x}-{z:04x}-{:012x}", b & 0xffff_ffff_ffff)
    };
    (0..count).map(|_| id(next(), next())).collect()
}

/// Starts a registry that knows every peer, or none. Returns its URL.
fn registry(knows_peers: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (status, body) = if knows_peers { (200, RECORD) } else { (404, r#"{"error":"workspace not found"}"#) };
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let serve = move |mut stream: TcpStream| {
        stream.set_nodelay(true).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(line)) = lines.next() {
            if line.is_empty() && stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    url
}

/// Returns a client that has an answer for every id in its cache, from real lookups.
fn filled(ids: &[String], knows_peers: bool) -> Client {
    let day = Duration::from_secs(86_400);
    let builder = Client::builder().platform_url(registry(knows_peers)).workspace_id("bench").ttl(day);
    let client = builder.capacity(ids.len()).lookup_timeout(Duration::from_secs(30)).build().unwrap();
    thread::scope(|scope| {
        for part in ids.chunks(ids.len().div_ceil(4)) {
            scope.spawn(|| part.iter().for_each(|id| drop(client.enrich(id))));
        }
    });
    let expected = if knows_peers { LookupSource::Fresh } else { LookupSource::Absent };
    assert!(ids.iter().all(|id| client.lookup(id).source == expected && client.lookup(id).from_cache));
    client
}

/// A naive port of the Python module's cache: a lock, a map of texts, and a value that is cloned.
struct NaivePort {
    cache: RwLock<HashMap<String, (Instant, Option<Value>)>>,
}

impl NaivePort {
    fn filled(ids: &[String]) -> Self {
        let record: Value = serde_json::from_str(RECORD).unwrap();
        let entry = |id: &String| (id.clone(), (Instant::now(), Some(record.clone())));
        NaivePort { cache: RwLock::new(ids.iter().map(entry).collect()) }
    }

    fn enrich(&self, peer: &str) -> Option<Value> {
        static UUID: Lazy<Regex> = Lazy::new(|| {
            Regex::new("^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$").unwrap()
        });
        let peer = peer.trim().to_lowercase();
        if !UUID.is_match(&peer) {
            return None;
        }
        let cache = self.cache.read();
        let (fetched, record) = cache.get(&peer)?;
        if fetched.elapsed() > Duration::from_secs(86_400) { None } else { record.clone() }
    }
}

/// Makes `iters` calls, with the ids in their order.
fn run<T>(ids: &[String], iters: u64, call: impl Fn(&str) -> T) {
    let mut ids = ids.iter().cycle();
    for _ in 0..iters {
        if let Some(id) = ids.next() {
            black_box(call(black_box(id)));
        }
    }
}

/// Returns the wall time in which two threads make `iters` calls each.
fn run_on_two_threads<T>(ids: &[String], iters: u64, call: impl Fn(&str) -> T + Sync) -> Duration {
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        // Each thread asks for its half of the peers. A single peer is asked for by both.
        let (low, high) = ids.split_at(ids.len() / 2);
        for half in [if low.is_empty() { high } else { low }, high] {
            let (barrier, call) = (&barrier, &call);
            scope.spawn(move || {
                barrier.wait();
                run(half, iters, call);
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        start.elapsed()
    })
}

fn hits(c: &mut Criterion) {
    for size in SIZES {
        let ids = Lazy::new(move || ids(size));
        let found = Lazy::new(|| filled(&ids, true));
        let absent = Lazy::new(|| filled(&ids, false));
        let naive = Lazy::new(|| NaivePort::filled(&ids));

        let mut one = c.benchmark_group("one thread");
        one.throughput(Throughput::Elements(1));
        one.bench_function(BenchmarkId::new("found", size), |b| {
            let found = &*found;
            b.iter_custom(|iters| timed(|| run(&ids, iters, |id| found.enrich(id))));
        });
        one.bench_function(BenchmarkId::new("absent", size), |b| {
            let absent = &*absent;
            b.iter_custom(|iters| timed(|| run(&ids, iters, |id| absent.enrich(id))));
        });
        one.bench_function(BenchmarkId::new("naive", size), |b| {
            let naive = &*naive;
            b.iter_custom(|iters| timed(|| run(&ids, iters, |id| naive.enrich(id))));
        });
        one.finish();

        let mut both = c.benchmark_group(if size == 1 { "two threads, same peer" } else { "two threads, spread" });
        both.throughput(Throughput::Elements(2));
        both.bench_function(BenchmarkId::new("found", size), |b| {
            let found = &*found;
            b.iter_custom(|iters| run_on_two_threads(&ids, iters, |id| found.enrich(id)));
        });
        both.bench_function(BenchmarkId::new("absent", size), |b| {
            let absent = &*absent;
            b.iter_custom(|iters| run_on_two_threads(&ids, iters, |id| absent.enrich(id)));
        });
        both.bench_function(BenchmarkId::new("naive", size), |b| {
            let naive = &*naive;
            b.iter_custom(|iters| run_on_two_threads(&ids, iters, |id| naive.enrich(id)));
        });
        both.finish();
    }
}

/// Returns the wall time of `work`.
fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

criterion_group! {
    name = cache;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = hits
}
criterion_main!(cache);
