//! Measures a lookup over loopback on a connection that is kept alive.
//!
//! This crate's `discover` is compared with `ureq` alone with the same settings, with `reqwest::blocking`, and with a
//! `TcpStream` by hand. Run it with `cargo bench --manifest-path benches/peers/Cargo.toml --bench miss`.
//!
//! All candidates take turns in one process, in repetitions of some milliseconds. The result is the median of the ratios
//! within a round. A lookup spends most of its time waiting, so CPU time does not show which repetitions were disturbed:
//! there are many rounds instead. All threads share one core, those of the registry too. The time in which one core wakes
//! another varies more than the differences that are measured here.
//!
//! `-- --svg` also writes the chart `miss.svg`. `-- --test` is a short run, to show that the bench works.

use std::hint::black_box;
use std::time::{Duration, Instant};

use a2a_blocking_peers::chart::{Group, svg};
use a2a_blocking_peers::ids::ids;
use a2a_blocking_peers::machine::{Options, command, machine};
use a2a_blocking_peers::repetition::Repetition;
use a2a_blocking_peers::rounds::{Candidate, Effort, Rounds, Spread};
use a2a_blocking_peers::table::{Bound, Targets, markdown, nanos};
use a2a_blocking_peers::{lookups, registry};

const OURS: &str = "a2a-blocking, discover";
const UREQ: &str = "ureq alone";
const REQWEST: &str = "reqwest::blocking";
const BY_HAND: &str = "TcpStream by hand";

fn candidate(name: &'static str, length: Duration, mut lookup: impl FnMut() -> usize + 'static) -> Candidate<'static> {
    Candidate::new(name, move || {
        // The first lookup is slower: other candidates have filled the caches of the CPU.
        black_box(lookup());
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < length {
            black_box(lookup());
            calls += 1;
        }
        Repetition { nanos: start.elapsed().as_nanos() as f64 / f64::from(calls), busy: 1.0 }
    })
}

/// Returns all candidates, after a check that each reads the whole record.
fn candidates(length: Duration) -> Vec<Candidate<'static>> {
    let id = ids(1)[0];
    let record = registry::record(id);
    let found = registry::answer(200, &record);
    let url = registry::start(move |_| found.clone());
    let client = registry::builder(&url).build().unwrap();
    assert_eq!(client.discover(id).unwrap().id(), Some(id));
    let bytes = |name, mut lookup: Box<dyn FnMut() -> usize>| {
        assert_eq!(lookup(), record.len(), "{name}");
        candidate(name, length, lookup)
    };
    vec![
        candidate(OURS, length, lookups::ours(client, id.to_owned())),
        bytes(UREQ, Box::new(lookups::ureq(&url, id))),
        bytes(REQWEST, Box::new(lookups::reqwest(&url, id))),
        bytes(BY_HAND, Box::new(lookups::by_hand(&url, id))),
    ]
}

fn main() {
    let Options { smoke, svg: write } = Options::from_args();
    let (rounds, length) = if smoke { (3, Duration::from_millis(1)) } else { (301, Duration::from_millis(3)) };
    // Before other threads start: they inherit the core of the thread that starts them.
    if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.last().copied()) {
        core_affinity::set_for_current(core);
    }
    println!("{}\n{rounds} rounds of repetitions of {length:?}", machine());
    let rounds = Rounds::measure(candidates(length), &Effort::new(rounds));

    let took = |name: &str| rounds.nanos(name).unwrap();
    let names = [BY_HAND, UREQ, OURS, REQWEST];
    let row = |name: &str| {
        let Spread { low, median, high } = rounds.ratio(name, UREQ).unwrap();
        vec![name.to_owned(), nanos(took(name)), format!("{median:.2} ({low:.2} to {high:.2})")]
    };
    println!("\n{}", markdown(&["", "a lookup", "times `ureq` alone (quartiles)"], &names.map(row)));
    let mut targets = Targets::default();
    let ratio = rounds.ratio(OURS, UREQ);
    let peer = nanos(took(UREQ));
    targets.check("a lookup, one thread", &nanos(took(OURS)), (UREQ, &peer), ratio, Bound::AtMost(1.15));
    if write {
        let group = Group::new("one thread, one connection", names.map(|name| (name.to_owned(), took(name))).to_vec());
        let scale = "medians, all threads on one core, time on a scale of powers of ten".to_owned();
        let caption = [machine(), command("miss -- --svg"), scale];
        let chart = svg("A lookup over loopback", OURS, &caption, &[group]);
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/miss.svg"), chart).unwrap();
    }
    targets.print("median ratio (quartiles)");
}
