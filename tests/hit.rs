//! A hit allocates nothing, and a thread keeps each answer under the text that it was found by.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use a2a_blocking::{LookupSource, PeerId};
use support::{Act, PEER, RECORD, Server};

/// The system's allocator, which also counts the allocations of each thread.
struct CountingAllocator;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

// SAFETY: each call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, and the block is of the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Returns the number of allocations that this thread makes in `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

const STRANGER: &str = "00000000-0000-4000-8000-000000000001";

#[test]
fn hit_allocates_nothing() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1]))) > 0, "allocations are counted");
    let server = Server::decide(|_, request| match request.path.contains(PEER) {
        true => Act::reply(200, RECORD),
        false => Act::reply(404, r#"{"error":"no such workspace"}"#),
    });
    let client = support::client(&server);
    let id: PeerId = PEER.parse().unwrap();
    let padded = format!(" {} ", PEER.to_uppercase());
    assert_eq!(
        (client.lookup(PEER).source, client.lookup(STRANGER).source),
        (LookupSource::Fetched, LookupSource::Absent)
    );
    // Often enough that the thread keeps every answer that it may keep.
    for _ in 0..200 {
        assert!(client.enrich(PEER).is_some() && client.enrich(id).is_some() && client.enrich(STRANGER).is_none());
    }
    let hits = allocations(|| {
        for _ in 0..1_000 {
            assert_eq!(client.enrich(PEER).unwrap().peer_id(), Some(id));
            assert!(client.enrich(id).is_some() && client.enrich(&padded).is_some());
            assert!(client.enrich_nonblocking(PEER).is_some());
            assert!(client.enrich(STRANGER).is_none() && client.enrich("no id").is_none());
        }
    });
    assert_eq!(hits, 0);
    assert_eq!(server.requests().len(), 2);
    let stats = client.stats();
    assert_eq!((stats.fresh, stats.absent), (1 + 400 + 4_000, 1 + 200 + 1_000));
}

/// In the last fifth of its TTL a record is due for a refresh, and every hit asks for it.
#[test]
fn hit_with_a_refresh_due_allocates_nothing() {
    let server = Server::play([Act::reply(200, RECORD)]);
    let client = support::builder(&server).background_threads(0).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.lookup_at(PEER, start).source, LookupSource::Fetched);
    let late = start + Duration::from_secs(290);
    assert_eq!(client.lookup_at(PEER, late).source, LookupSource::Fresh);
    let hits = allocations(|| (0..1_000).for_each(|_| drop(client.lookup_at(PEER, late))));
    assert_eq!(hits, 0);
}

/// A name that returns its two texts in turn.
struct TwoTexts([&'static str; 2], AtomicUsize);

impl AsRef<str> for TwoTexts {
    fn as_ref(&self) -> &str {
        self.0[self.1.fetch_add(1, SeqCst) % 2]
    }
}

#[test]
fn answer_is_kept_only_under_the_text_that_it_was_found_by() {
    let server = Server::decide(|_, request| {
        let id = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        Act::reply(200, format!(r#"{{"id":"{id}"}}"#))
    });
    let client = support::client(&server);
    let bad = "../../../etc/passwd?xxxxxxxxxxxxxxxx";
    for other in [STRANGER, bad] {
        for n in 0..300 {
            drop(client.enrich(TwoTexts([PEER, other], AtomicUsize::new(n))));
        }
    }
    for _ in 0..100 {
        for id in [PEER, STRANGER] {
            assert_eq!(client.enrich(id).unwrap().id(), Some(id));
        }
        assert_eq!(client.lookup(bad).source, LookupSource::Invalid);
    }
}
