//! Measures the heap of a client at its capacity, beside the records themselves.
//!
//! It also measures the slots of each thread that asks, with its handles, and what remains of both when the records are
//! replaced or the client is dropped. Run it with `cargo bench --manifest-path benches/peers/Cargo.toml --bench memory`.
//!
//! An allocator counts the bytes, so that every run gives the same figures to a few KiB. `-- --test` changes nothing: the
//! bench takes a second.

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

/// The capacity of a client by default.
const PEERS: usize = 10_000;
const THREADS: usize = 8;
const KIB: f64 = 1_024.0;
/// Upper bound for the memory of a client at capacity, as a multiple of that of its records.
const MAX_RATIO: f64 = 1.5;
/// Upper bound for the slots of a thread with its handles.
const MAX_A_THREAD: f64 = 128.0 * KIB;

/// Returns the bytes on the heap, after a pause in which the threads of `ureq` and of the registry come to rest.
fn heap_bytes() -> f64 {
    thread::sleep(Duration::from_millis(100));
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

fn shown(bytes: f64) -> String {
    if bytes < KIB * KIB { format!("{:.1} KiB", bytes / KIB) } else { format!("{:.2} MiB", bytes / KIB / KIB) }
}

/// Threads that run jobs, and live on from one job to the next.
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

    /// Makes each thread ask for all ids, `times` times, and waits for the end of it.
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
    // The first call of a process allocates what is not part of a client.
    drop((client().peers(), client().enrich(ids[0])));

    let empty = heap_bytes();
    let records = client().peers().unwrap();
    let records_alone = heap_bytes() - empty - (records.capacity() * size_of::<Peer>()) as f64;
    drop(records);

    let empty = heap_bytes();
    let client = client();
    drop(client.peers());
    assert_eq!((client.stats().entries, client.stats().evictions), (PEERS, 0));
    let full = heap_bytes();
    let pollers = Pollers::start();
    // Often enough that each thread fills its slots.
    pollers.ask(&client, &ids, 20);
    let polled = heap_bytes();
    // Every record is replaced. The threads release the old ones at their next answer from the shared cache.
    drop(client.peers());
    let unheard = heap_bytes();
    pollers.ask(&client, &ids[..1], 1);
    let replaced = heap_bytes();
    let other = registry::builder(&url).build().unwrap();
    drop(client);
    pollers.ask(&other, &["00000000-0000-4000-8000-000000000000"], 1);
    drop(other);
    let gone = heap_bytes();
    pollers.end();
    let over = heap_bytes();

    let threads = THREADS as f64;
    let mut targets = Targets::default();
    let mut check = |case: &str, bytes: f64, peer: &str, over: Option<f64>, target: &str, most: f64| {
        let ratio = over.map_or(String::new(), |over| format!("{:.2}", bytes / over));
        targets.push(case, &shown(bytes), peer, &ratio, target, bytes <= most);
    };
    let records = format!("records: {}", shown(records_alone));
    let most = MAX_RATIO * records_alone;
    check("a client at capacity", full - empty, &records, Some(records_alone), &format!("at most {MAX_RATIO}x"), most);
    let slots = (polled - full) / threads;
    check("slots of a thread that polls", slots, "", None, &format!("at most {}", shown(MAX_A_THREAD)), MAX_A_THREAD);
    let most = most + threads * MAX_A_THREAD;
    let target = format!("at most {}", shown(most));
    check("with 8 threads that poll", polled - empty, &records, Some(records_alone), &target, most);
    check("the same, all replaced", replaced - empty, &records, Some(records_alone), &target, most);
    println!(
        "\nafter all records are replaced, threads that make no call hold {} of the old ones",
        shown(unheard - polled)
    );
    println!("after the client is dropped and each thread has asked another, {} remains", shown(gone - empty));
    println!("after the threads have ended, too, {} remains", shown(over - empty));

    let allocations = allocations(&ids[..64]);
    targets.push("allocations of 100,000 hits", &allocations.to_string(), "", "", "0", allocations == 0);
    targets.print("ratio");
}

/// Returns the number of allocations that 100,000 hits make.
fn allocations(ids: &[&'static str]) -> usize {
    let (client, _) = registry::filled(ids);
    // The first calls fill the slots.
    (0..400).for_each(|_| ids.iter().for_each(|id| drop(client.enrich(id))));
    let _settled = heap_bytes();
    let region = Region::new(ALLOCATOR);
    for id in ids.iter().cycle().take(100_000) {
        assert!(client.enrich(id).is_some());
    }
    region.change().allocations
}
