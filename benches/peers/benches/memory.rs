//! What a client at its capacity holds on the heap beside the records themselves, what each thread that polls
//! adds to that, and what is left of it when the records are replaced or the client is gone.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench memory`. An allocator that counts tells it: it
//! is the same in every run to a few KiB. `-- --test` changes nothing: it takes a second anyway.

use std::alloc::System;
use std::sync::{Arc, Barrier};
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
/// What the records may take beside themselves, and what a thread may add.
const MOST: f64 = 1.5;
const MOST_A_THREAD: f64 = 128.0 * KIB;

/// What is on the heap, when what was under way is over: `ureq`'s threads, the registry's.
fn held() -> f64 {
    thread::sleep(Duration::from_millis(100));
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

fn shown(bytes: f64) -> String {
    if bytes < KIB * KIB { format!("{:.1} KiB", bytes / KIB) } else { format!("{:.2} MiB", bytes / KIB / KIB) }
}

/// Threads that have asked for all peers, and are still there.
struct Pollers {
    done: Arc<Barrier>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Pollers {
    fn start(client: &Client, ids: &[&'static str]) -> Self {
        let (asked, done) = (Arc::new(Barrier::new(THREADS + 1)), Arc::new(Barrier::new(THREADS + 1)));
        let poller = |_| {
            let (client, ids, asked, done) = (client.clone(), ids.to_vec(), asked.clone(), done.clone());
            thread::spawn(move || {
                // Twice: what was only seen once may not be kept.
                for id in ids.iter().chain(&ids) {
                    assert!(client.enrich(id).is_some());
                }
                drop((client, ids));
                asked.wait();
                done.wait();
            })
        };
        let threads = (0..THREADS).map(poller).collect();
        asked.wait();
        Pollers { done, threads }
    }

    fn end(self) {
        self.done.wait();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn main() {
    println!("{}\n{PEERS} peers, {THREADS} threads", machine());
    let ids = ids(PEERS);
    let list = registry::listing(ids.iter().copied());
    let url = registry::start(move |_| list.clone());
    let client = || registry::builder(&url).build().unwrap();
    // What the first call of a process leaves behind is not a client's.
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
    let pollers = Pollers::start(&client, &ids);
    let polled = held();
    // Every record is replaced, and the threads know nothing of it yet.
    drop(client.peers());
    let replaced = held();
    drop(client);
    let gone = held();
    pollers.end();
    let over = held();

    let threads = THREADS as f64;
    let (client_holds, a_thread) = (full - empty, (polled - full) / threads);
    let mut targets = Targets::default();
    let mut check = |case: &str, bytes: f64, peer: &str, over: Option<f64>, target: &str, most: f64| {
        let ratio = over.map_or(String::new(), |over| format!("{:.2}", bytes / over));
        targets.push(case, &shown(bytes), peer, &ratio, target, bytes <= most);
    };
    let records = format!("records: {}", shown(records_alone));
    let most = MOST * records_alone;
    check("a client at capacity", client_holds, &records, Some(records_alone), &format!("at most {MOST}x"), most);
    check("a polling thread more", a_thread, "", None, "at most 128 KiB", MOST_A_THREAD);
    let both = most + threads * MOST_A_THREAD;
    let target = format!("at most {}", shown(both));
    check("at capacity, 8 threads, all replaced", replaced - empty, &records, Some(records_alone), &target, both);
    let target = format!("at most {}", shown(threads * MOST_A_THREAD));
    check("the client gone, 8 threads idle", gone - empty, "", None, &target, threads * MOST_A_THREAD);
    println!("\nwhen the threads are over, too, {} is left", shown(over - empty));

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
