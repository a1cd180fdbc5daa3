//! Memory on the heap: a client at its capacity, the part of each polling thread, and the rest after the records are
//! replaced or the client is dropped.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench memory`. A counting allocator measures it, so every run
//! gives the same result to a few KiB. It takes a second, so `-- --test` changes nothing.

use std::alloc::System;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use a2a_blocking::{Client, Peer};
use a2a_blocking_peers::ids::ids;
use a2a_blocking_peers::machine::machine;
use a2a_blocking_peers::registry;
use a2a_blocking_peers::table::Targets;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Default capacity of a client.
const PEERS: usize = 10_000;
const THREADS: usize = 8;
const KIB: f64 = 1_024.0;
/// Memory of a full client, at most, as a multiple of the records alone.
const MAX_RATIO: f64 = 1.5;
/// Memory that a polling thread may add, in bytes.
const MAX_PER_THREAD: f64 = 128.0 * KIB;

/// Returns the number of bytes on the heap, once `ureq`'s and the registry's threads have ended.
fn held() -> f64 {
    thread::sleep(Duration::from_millis(100));
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

fn shown(bytes: f64) -> String {
    if bytes < KIB * KIB { format!("{:.1} KiB", bytes / KIB) } else { format!("{:.2} MiB", bytes / KIB / KIB) }
}

/// Threads that run jobs, and live on between them.
struct Pollers(Vec<(mpsc::Sender<Job>, thread::JoinHandle<()>)>);

type Job = Box<dyn FnOnce() + Send>;

impl Pollers {
    fn start() -> Self {
        let poller = |_| {
            let (sender, jobs) = mpsc::channel::<Job>();
            (sender, thread::spawn(move || jobs.into_iter().for_each(|job| job())))
        };
        Pollers((0..THREADS).map(poller).collect())
    }

    /// Makes each thread look up these ids, `times` times.
    fn ask(&self, client: &Client, ids: &[&'static str], times: usize) {
        let done = Arc::new(Barrier::new(THREADS + 1));
        for (jobs, _) in &self.0 {
            let (client, ids, done) = (client.clone(), ids.to_vec(), done.clone());
            let job = move || {
                (0..times).for_each(|_| ids.iter().for_each(|id| drop(client.enrich(id))));
                drop((client, ids));
                done.wait();
            };
            jobs.send(Box::new(job)).unwrap();
        }
        done.wait();
    }

    fn end(self) {
        for (jobs, thread) in self.0 {
            drop(jobs);
            thread.join().unwrap();
        }
    }
}

fn main() {
    println!("{}\n{PEERS} peers, {THREADS} threads", machine());
    let ids = ids(PEERS);
    let list = registry::listing(ids.iter().copied());
    let url = registry::start(move |_| list.clone());
    let client = || registry::builder(&url).build().unwrap();
    // The first call in a process allocates memory that belongs to no client.
    drop((client().peers(), client().enrich(ids[0])));

    let empty = held();
    let records = client().peers().unwrap();
    let records_alone = held() - empty - (records.capacity() * size_of::<Peer>()) as f64;
    drop(records);

    let empty = held();
    let client = client();
    drop(client.peers());
    assert_eq!((client.stats().entries, client.stats().evictions), (PEERS, 0));
    let full = held();
    let pollers = Pollers::start();
    // Often enough that each thread keeps as much as it may.
    pollers.ask(&client, &ids, 20);
    let polled = held();
    // Every record is replaced. The threads release the old ones at their next miss.
    drop(client.peers());
    let unheard = held();
    pollers.ask(&client, &ids[..1], 1);
    let replaced = held();
    let other = registry::builder(&url).build().unwrap();
    drop(client);
    pollers.ask(&other, &["00000000-0000-4000-8000-000000000000"], 1);
    drop(other);
    let gone = held();
    pollers.end();
    let over = held();

    let threads = THREADS as f64;
    let mut targets = Targets::default();
    let mut check = |case: &str, bytes: f64, peer: &str, over: Option<f64>, target: &str, most: f64| {
        let ratio = over.map_or(String::new(), |over| format!("{:.2}", bytes / over));
        targets.push(case, &shown(bytes), peer, &ratio, target, bytes <= most);
    };
    let records = format!("records: {}", shown(records_alone));
    let most = MAX_RATIO * records_alone;
    check("a client at capacity", full - empty, &records, Some(records_alone), &format!("at most {MAX_RATIO}x"), most);
    let most = most + threads * MAX_PER_THREAD;
    let target = format!("at most {}", shown(most));
    check("with 8 threads that poll", polled - empty, &records, Some(records_alone), &target, most);
    check("the same, all replaced", replaced - empty, &records, Some(records_alone), &target, most);
    println!("\na thread that polls adds {}", shown((polled - full) / threads));
    println!("when all records are replaced, threads that ask for nobody hold {} of the old", shown(unheard - polled));
    println!("when the client is gone and each thread has asked another, {} is left", shown(gone - empty));
    println!("when the threads are over, too, {} is left", shown(over - empty));

    let allocations = allocations(&ids[..64]);
    targets.push("allocations of 100,000 hits", &allocations.to_string(), "", "", "0", allocations == 0);
    targets.print("ratio");
}

fn allocations(ids: &[&'static str]) -> usize {
    let (client, _) = registry::filled(ids);
    let _settled = held();
    let region = Region::new(ALLOCATOR);
    for id in ids.iter().cycle().take(100_000) {
        assert!(client.enrich(id).is_some());
    }
    region.change().allocations
}
