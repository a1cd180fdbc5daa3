//! One function with nothing but hits in it, for `callgrind` to count. The script `instructions` runs it.

use std::hint::black_box;

use a2a_blocking::Client;
use a2a_blocking_peers::{ids, registry};

const PEERS: usize = 64;
const ROUNDS: usize = 1_600;

fn main() {
    let ids = ids::ids(PEERS);
    let (client, _) = registry::filled(&ids);
    // Before anything is counted, this thread keeps the answers for all peers.
    assert!((0..100).all(|_| ids.iter().all(|id| client.enrich(id).is_some())));
    assert_eq!(counted_hits(&client, &ids), PEERS * ROUNDS);
    assert_eq!(counted_loop(&ids), PEERS * ROUNDS);
    println!("{}", PEERS * ROUNDS);
}

#[inline(never)]
fn counted_hits(client: &Client, ids: &[&str]) -> usize {
    let mut read = 0;
    for _ in 0..ROUNDS {
        for id in ids {
            read += client.enrich(black_box(*id)).map_or(0, |peer| usize::from(peer.peer_id().is_some()));
        }
    }
    read
}

/// The same loop without the hit. Its count is subtracted.
#[inline(never)]
fn counted_loop(ids: &[&str]) -> usize {
    let mut read = 0;
    for _ in 0..ROUNDS {
        for id in ids {
            read += usize::from(!black_box(*id).is_empty());
        }
    }
    read
}
