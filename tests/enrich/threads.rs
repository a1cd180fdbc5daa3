//! The background threads: when they start, when they end, and what happens where none can be started.
//!
//! The tests count the threads and file descriptors of a whole process, so each runs in a child process.

use std::env;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, LookupSource};

use crate::support::{PEER, RECORD, Reaction, Server, WORKSPACE, builder};

const TIMEOUT: Duration = Duration::from_secs(20);

fn peer(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

/// Returns the names of this process's threads that belong to the crate.
fn threads() -> Vec<String> {
    let names = fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path().join("comm"));
    let names = names.filter_map(|comm| fs::read_to_string(comm).ok()).map(|name| name.trim().to_owned());
    names.filter(|name| name.starts_with("a2a-")).collect()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "did not happen in time: {what}; threads {:?}", threads());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs in a child process.
#[test]
fn child() {
    match env::var("A2A_TEST_PART").as_deref() {
        Ok("counts") => count_threads_and_descriptors(),
        Ok("refused") => run_without_threads(&env::var("A2A_TEST_URL").unwrap()),
        Ok(peer) => panic!("no part {peer}"),
        Err(_) => return,
    }
    println!("all of it ran");
}

fn run_child(command: &mut Command) {
    let output = command.args(["--exact", "threads::child", "--nocapture", "--test-threads", "1"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("all of it ran"), "{text}\n{why}");
}

#[test]
fn threads_start_on_first_use_and_end_with_the_client() {
    run_child(Command::new(env::current_exe().unwrap()).env("A2A_TEST_PART", "counts"));
}

fn count_threads_and_descriptors() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let client = builder(&server).build().unwrap();
    client.enrich(PEER).unwrap();
    assert_eq!(threads(), Vec::<String>::new(), "not needed yet");
    client.enrich_nonblocking(peer(1));
    eventually("two threads, by their names", || {
        let mut names = threads();
        names.sort();
        names == ["a2a-refresh-0", "a2a-refresh-1"]
    });
    assert!(client.wait_until_idle(TIMEOUT));
    (2..100).for_each(|n| drop(client.enrich_nonblocking(peer(n))));
    let clone = client.clone();
    drop(client);
    assert!(clone.wait_until_idle(TIMEOUT) && clone.stats().refreshes == 99);
    eventually("the same two threads: a handle is left", || threads().len() == 2);
    drop(clone);
    eventually("none", || threads().is_empty());

    drop_clients_with_lookups_under_way(&server);
}

/// Drops a thousand clients that have lookups queued and under way.
fn drop_clients_with_lookups_under_way(server: &Server) {
    eventually("the server has closed", || descriptors() < 64);
    let before = descriptors();
    for n in 0..1_000 {
        let client = builder(server).lookup_timeout(Duration::from_secs(5)).build().unwrap();
        (0..4).for_each(|m| drop(client.enrich_nonblocking(peer(n * 4 + m))));
    }
    eventually("no thread is left", || threads().is_empty());
    eventually("no socket is left", || descriptors() <= before);
}

/// Makes lookups in a process that cannot start a thread, because its threads' stacks would be too large.
fn run_without_threads(url: &str) {
    let client_of = |url: &str| Client::builder().platform_url(url).workspace_id(WORKSPACE).build().unwrap();
    assert!(thread::Builder::new().spawn(|| ()).is_err(), "there are threads");
    assert_eq!(client_of(url).lookup(PEER).source, LookupSource::Fetched, "an address needs no thread");
    let client = client_of(&url.replace("127.0.0.1", "localhost"));
    for n in 0..5 {
        let lookup = client.lookup(peer(n));
        assert!(matches!(lookup.source, LookupSource::Failed | LookupSource::Shed), "{lookup:?}");
        assert_eq!(client.enrich_nonblocking(peer(n + 100)), None);
    }
    let stats = client.stats();
    assert!(stats.failed_internal > 0, "{stats}");
    assert!(client.wait_until_idle(Duration::from_secs(1)), "nothing is queued where no thread would take it");
}

#[test]
fn without_threads_calls_return_failures() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let mut child = Command::new(env::current_exe().unwrap());
    child.env("A2A_TEST_PART", "refused").env("A2A_TEST_URL", server.url());
    run_child(child.env("RUST_MIN_STACK", (1_u64 << 46).to_string()));
}
