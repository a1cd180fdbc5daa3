//! The platform in process does what the real one was recorded to do: each exchange and each observation that can be put in
//! place, file by file. `recorded/README.md` says how they were recorded.
#![allow(unreachable_pub, reason = "a test binary has no public items")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that cannot be set up fails")]

mod agent;
mod answers;
mod bodies;
mod client;
mod compare;
mod http;
mod measure;
mod observe;
mod place;
mod probes;
mod skipped;
mod world;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::Value;

use crate::skipped::SKIPPED;
use crate::world::World;

/// Outcome of one file.
struct Outcome {
    reproduced: usize,
    skipped: usize,
    failures: Vec<String>,
}

fn replay(file: &'static str) -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platform/recorded").join(format!("{file}.jsonl"));
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut world = World::new(file);
    let mut outcome = Outcome { reproduced: 0, skipped: 0, failures: Vec::new() };
    for (at, line) in lines.iter().enumerate() {
        let what = line["what"].as_str().unwrap();
        if SKIPPED.iter().any(|(other, which, _)| *other == file && skipped::matches(which, what)) {
            outcome.skipped += 1;
            continue;
        }
        place::before(&mut world, what);
        let result =
            if line["request"].is_object() { world.exchange(line) } else { place::observe(&mut world, what, line) };
        place::after(&mut world, what);
        match result {
            Ok(()) => outcome.reproduced += 1,
            Err(why) => outcome.failures.push(format!("{file} {at}: {what}: {why}")),
        }
    }
    outcome
}

/// Replays a file, and asserts how many of its lines are reproduced.
fn check(file: &'static str, expected: usize) {
    let outcome = replay(file);
    let all = outcome.reproduced + outcome.skipped + outcome.failures.len();
    println!("{file}: {} of {all} reproduced, {} skipped", outcome.reproduced, outcome.skipped);
    assert!(outcome.failures.is_empty(), "{} differ:\n{}", outcome.failures.len(), outcome.failures.join("\n"));
    assert_eq!(outcome.reproduced, expected, "of {all}");
}

macro_rules! files {
    ($($name:ident $file:literal $expected:literal)*) => {
        $(
            #[test]
            fn $name() {
                check($file, $expected);
            }
        )*

        /// Every recorded file is replayed.
        #[test]
        fn each_recorded_file_has_a_test() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platform/recorded");
            let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut files: Vec<String> = files.filter_map(|file| Some(file.strip_suffix(".jsonl")?.to_owned())).collect();
            files.sort();
            let mut known = vec![$($file),*];
            known.sort_unstable();
            assert_eq!(files, known);
            assert_eq!([$($expected),*].iter().sum::<usize>(), 747, "of 768 lines");
        }
    };
}

files! {
    ack_is_as_recorded "ack" 25
    big_rows_are_as_recorded "big-rows" 19
    duplicates_are_as_recorded "duplicates" 28
    whole_life_is_as_recorded "first" 100
    late_rows_are_as_recorded "late-rows" 1
    organisation_is_as_recorded "organisation" 39
    origin_is_as_recorded "origin" 22
    paging_is_as_recorded "paging" 21
    push_agents_are_as_recorded "push-agents" 81
    queue_is_as_recorded "queue" 52
    rate_limit_is_as_recorded "rate-limit" 9
    refused_messages_are_as_recorded "refused" 5
    registration_is_as_recorded "registration" 94
    removal_is_as_recorded "removal" 53
    requests_are_as_recorded "requests" 34
    rows_are_as_recorded "rows" 24
    states_are_as_recorded "states" 38
    stream_is_as_recorded "stream" 54
    senders_are_as_recorded "who" 48
}

/// A reason that fits no line hides nothing, but it is out of date.
#[test]
fn each_skipped_line_exists() {
    for (file, which, why) in SKIPPED {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platform/recorded").join(format!("{file}.jsonl"));
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert!(
            lines.any(|line| skipped::matches(which, line["what"].as_str().unwrap())) && !why.is_empty(),
            "{file}: {which}"
        );
    }
}

/// Returns a new id.
fn new_id() -> uuid::Uuid {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static SEED: OnceLock<RandomState> = OnceLock::new();
    let [high, low] = [(); 2].map(|()| SEED.get_or_init(RandomState::new).hash_one(COUNT.fetch_add(1, Relaxed)));
    uuid::Uuid::from_u64_pair(high, low)
}
