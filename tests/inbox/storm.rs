//! Random failures of everything.
//!
//! The callback fails at random. The platform resets, answers 500, commits rows late and loses the cursor's row. The
//! process is killed. The tests compare what was delivered with the platform's own list.

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, InboxMessage, InboxPoller, PollerBuilder, RetryPolicy, Verdict};

use crate::dice::Dice;
use crate::support::platform::{Platform, SECOND};
use crate::support::{self, Dir, PEER, Reaction, Server, WORKSPACE};

/// Seeds of the runs. `A2A_STORM_SEED=7` runs that one only.
const SEEDS: [u64; 4] = [1, 0x5eed, 7_777_777, 0xdead_beef];
/// Rows of all runs together, so that `cargo test` stays short. `A2A_STORM_ROWS=100000` is the full size.
const ROWS: usize = 24_000;
const KILLS: u64 = 50;
/// Longest delay of a late row, by the platform's clock.
const LATE: i64 = 5 * SECOND;

/// Commits rows as a platform does: sometimes many at once, some at the time of another, some late.
struct RowSource {
    dice: Dice,
    now: i64,
    left: usize,
    /// Rows that were not late when they came.
    in_time: HashSet<String>,
}

impl RowSource {
    fn commit(&mut self, platform: &Platform) {
        let (rows, pace) = match self.dice.roll(20) {
            0 => (2_000, 1_000),
            1 => (700, 0),
            2..=6 => (500, 100_000),
            7..=9 => (0, 0),
            _ => (self.dice.roll(60), 700_000),
        };
        for _ in 0..rows.min(self.left as u64) {
            self.left -= 1;
            self.now += self.dice.roll(2 * pace + 1) as i64;
            let late = if self.dice.roll(10) == 0 { self.dice.roll(LATE as u64 + 1) as i64 } else { 0 };
            let id = platform.add((self.now - late).max(0), PEER, "storm");
            if late == 0 {
                self.in_time.insert(id);
            }
        }
    }
}

fn fast_poller(client: Client, file: &Path) -> PollerBuilder {
    let retry = RetryPolicy::new().with_base(Duration::ZERO);
    let builder = InboxPoller::builder(client).cursor_file(file).retry(retry);
    builder.interval(Duration::from_millis(1)).heartbeat(None)
}

#[derive(Default)]
struct Ledger {
    /// In the order in which they were acked.
    acked: Vec<String>,
    dead: Vec<String>,
    tries: HashMap<String, u32>,
}

fn storm(seed: u64, rows: usize) {
    let (platform, dir) = (Platform::new(), Dir::new(&format!("storm-{seed}")));
    let source = RowSource { dice: Dice(seed), now: 100 * SECOND, left: rows - 10, in_time: HashSet::new() };
    let source = Arc::new(Mutex::new(source));
    let (inner, rain) = (platform.clone(), source.clone());
    platform.fill(90, 10, PEER);
    let server = Server::decide(move |n, request| {
        // From here on there is a cursor. Without one the poller would skip rows older than the backlog.
        if n == 0 {
            return inner.answer(request);
        }
        let mut source = rain.lock().unwrap();
        source.commit(&inner);
        match source.dice.roll(30) {
            0 => Reaction::Reset(Vec::new()),
            1 => Reaction::Reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n[{\"id\":\"half".to_vec()),
            2 => Reaction::reply(500, r#"{"error":"query failed"}"#),
            3 => Reaction::reply(503, "").header("Retry-After", "0"),
            4 if request.path.contains("since_id") => Reaction::reply(410, r#"{"error":"since_id cursor not found"}"#),
            5 => Reaction::reply(200, r#"{"not":"a list"}"#),
            _ => inner.answer(request),
        }
    });
    let client = support::client(&server);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (ledger_of_callback, mut dice) = (ledger.clone(), Dice(!seed));
    let dead = ledger.clone();
    let callback = move |message: &InboxMessage| {
        let mut ledger = ledger_of_callback.lock().unwrap();
        let tries = ledger.tries.entry(message.activity_id().to_owned()).or_default();
        *tries += 1;
        assert_eq!(*tries, message.delivery_attempt());
        match dice.roll(8) {
            0 => Verdict::Retry,
            1 if dice.roll(20) == 0 => {
                drop(ledger);
                // `resume_unwind` prints no message.
                std::panic::resume_unwind(Box::new(()));
            }
            _ => {
                ledger.acked.push(message.activity_id().to_owned());
                Verdict::Ack
            }
        }
    };
    let builder = fast_poller(client, &dir.file("c")).on_dead_letter(move |message| {
        dead.lock().unwrap().dead.push(message.activity_id().to_owned());
    });
    let poller = builder.spawn(callback).unwrap();
    let (start, mut last) = (Instant::now(), 0);
    let mut moved = start;
    loop {
        let ledger = ledger.lock().unwrap();
        let handled = ledger.acked.len() + ledger.dead.len();
        drop(ledger);
        if handled != last {
            (last, moved) = (handled, Instant::now());
        }
        if handled >= rows || moved.elapsed() > Duration::from_secs(30) {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    // Repeated rows would come now.
    let polls = platform.state().polls.len();
    while platform.state().polls.len() < polls + 30 && moved.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(1));
    }
    poller.stop();

    let (ledger, state) = (ledger.lock().unwrap(), platform.state());
    let handled: HashSet<&String> = ledger.acked.iter().chain(&ledger.dead).collect();
    let lost: Vec<&str> =
        state.rows.iter().map(|entry| entry.id.as_str()).filter(|id| !handled.contains(&id.to_string())).collect();
    assert_eq!((lost.len(), state.rows.len()), (0, rows), "seed {seed}: {:?}", lost.first());
    assert_eq!(ledger.acked.len() + ledger.dead.len(), rows, "seed {seed}: some came twice");
    assert!(ledger.dead.iter().all(|id| ledger.tries[id] == 5), "seed {seed}");
    // A row that was not late comes after all older rows that were not late.
    let times: HashMap<&str, (i64, u64)> =
        state.rows.iter().map(|entry| (entry.id.as_str(), (entry.at, entry.arrived))).collect();
    let source = source.lock().unwrap();
    let mut newest = (0, 0);
    for id in &ledger.acked {
        let at = times[id.as_str()];
        if source.in_time.contains(id) {
            assert!(at > newest, "seed {seed}: {id} is out of order");
            newest = at;
        }
    }
    println!(
        "seed {seed}: {rows} rows, {} given up, {} polls, {:.1?}",
        ledger.dead.len(),
        state.polls.len(),
        start.elapsed()
    );
}

#[test]
fn rows_are_acked_once_and_in_order_despite_random_failures() {
    let number_from_env = |name| env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let rows = number_from_env("A2A_STORM_ROWS").map_or(ROWS, |rows| rows as usize) / SEEDS.len();
    let seeds = number_from_env("A2A_STORM_SEED").map_or(SEEDS.to_vec(), |seed| vec![seed]);
    // The runs mostly wait, so they run in parallel.
    thread::scope(|scope| seeds.into_iter().for_each(|seed| drop(scope.spawn(move || storm(seed, rows)))));
}

/// Runs a poller in a child process, which records what it does until it is killed.
#[test]
fn child() {
    let Ok(url) = env::var("A2A_TEST_PLATFORM") else { return };
    let dir = PathBuf::from(env::var("A2A_TEST_DIR").unwrap());
    let run = env::var("A2A_TEST_RUN").unwrap();
    let poison = env::var("A2A_TEST_POISON").unwrap_or_default();
    let client = Client::builder().platform_url(url).workspace_id(WORKSPACE).build().unwrap();
    let open = || File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let (mut log, mut dead) = (open(), open());
    let (ledger_of_callback, number) = (run.clone(), run);
    let builder = fast_poller(client, &dir.join("c")).on_dead_letter(move |message| {
        dead.write_all(format!("{number} dead {} {}\n", message.activity_id(), message.delivery_attempt()).as_bytes())
            .unwrap();
    });
    let poller = builder.spawn(move |message| {
        log.write_all(
            format!("{ledger_of_callback} begin {} {}\n", message.activity_id(), message.delivery_attempt()).as_bytes(),
        )
        .unwrap();
        if message.activity_id() == poison {
            std::process::abort();
        }
        log.write_all(
            format!("{ledger_of_callback} ack {} {}\n", message.activity_id(), message.delivery_attempt()).as_bytes(),
        )
        .unwrap();
        Verdict::Ack
    });
    poller.unwrap().join();
}

fn start_child(server: &Server, dir: &Dir, run: u64, poison: &str) -> Child {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "storm::child"]).env("A2A_TEST_PLATFORM", server.url()).env("A2A_TEST_DIR", &dir.0);
    child.env("A2A_TEST_RUN", run.to_string()).env("A2A_TEST_POISON", poison);
    child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Reads the log of the children: the run, the event, the row's id, and the attempt.
fn log_of(dir: &Dir) -> Vec<(u64, String, String, u32)> {
    let text = fs::read_to_string(dir.file("log")).unwrap_or_default();
    let whole = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [run, what, id, attempt] = words[..] else { return None };
        Some((run.parse().ok()?, what.to_owned(), id.to_owned(), attempt.parse().ok()?))
    });
    whole.collect()
}

fn wait_for(dir: &Dir, what: &str, holds: impl Fn(&[(u64, String, String, u32)]) -> bool) {
    let start = Instant::now();
    while !holds(&log_of(dir)) {
        let late = start.elapsed() > Duration::from_secs(30);
        assert!(!late, "did not happen in time: {what}; the log has {} lines", log_of(dir).len());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn fifty_kills_lose_nothing_and_repeat_at_most_the_row_in_delivery() {
    let (platform, dir) = (Platform::new(), Dir::new("storm-kill"));
    let mut dice = Dice(50);
    let mut ids = Vec::new();
    // All rows are within the backlog.
    platform.state().now = 600 * SECOND;
    let server = platform.serve();
    let mut lines = 0;
    for run in 0..KILLS {
        // Enough rows for one run, however many the earlier runs handled.
        let first = ids.len() as i64;
        ids.extend((first..first + 120).map(|n| platform.add(n * SECOND / 9, PEER, "x")));
        let mut child = start_child(&server, &dir, run, "");
        let enough = lines + 1 + dice.roll(200) as usize;
        wait_for(&dir, "some rows in a run", |log| log.len() > enough);
        // SIGKILL, at any point of the delivery.
        child.kill().unwrap();
        child.wait().unwrap();
        lines = log_of(&dir).len();
    }
    let mut child = start_child(&server, &dir, KILLS, "");
    let last = ids.last().unwrap().clone();
    wait_for(&dir, "the last row", |log| log.iter().any(|(_, what, id, _)| what == "ack" && *id == last));
    child.kill().unwrap();
    child.wait().unwrap();

    let log = log_of(&dir);
    let acked: HashSet<&str> = log.iter().filter(|line| line.1 == "ack").map(|line| line.2.as_str()).collect();
    assert!(ids.iter().all(|id| acked.contains(id.as_str())), "some are lost");
    let mut begun: HashMap<&str, (u64, u32)> = HashMap::new();
    let mut again: HashMap<u64, Vec<&str>> = HashMap::new();
    for (run, what, id, attempt) in &log {
        if what == "begin" {
            match begun.insert(id, (*run, *attempt)) {
                None => {}
                Some((before, tries)) => {
                    assert!(before < *run && *attempt > tries, "{id}: {before} {run} {attempt}");
                    again.entry(*run).or_default().push(id);
                }
            }
        }
    }
    assert!(again.values().all(|ids| ids.len() == 1), "{again:?}");
    println!("{} rows, {KILLS} kills, {} repeats", ids.len(), again.len());
}

/// A row that ends the process is dead-lettered like any other.
#[test]
fn row_that_kills_the_process_is_dead_lettered_after_five_attempts() {
    let (platform, dir) = (Platform::new(), Dir::new("storm-poison"));
    let ids = platform.fill(1, 5, PEER);
    let server = platform.serve();
    for run in 0..5 {
        assert!(!start_child(&server, &dir, run, &ids[2]).wait().unwrap().success(), "it dies");
    }
    let mut child = start_child(&server, &dir, 5, &ids[2]);
    wait_for(&dir, "the last row", |log| log.iter().any(|(_, what, id, _)| what == "ack" && *id == ids[4]));
    child.kill().unwrap();
    child.wait().unwrap();
    let log = log_of(&dir);
    let tries: Vec<(u64, u32)> =
        log.iter().filter(|line| line.1 == "begin" && line.2 == ids[2]).map(|line| (line.0, line.3)).collect();
    assert_eq!(tries, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
    let dead: Vec<&str> = log.iter().filter(|line| line.1 == "dead").map(|line| line.2.as_str()).collect();
    assert_eq!(dead, [ids[2].as_str()]);
    assert!(log.iter().filter(|line| line.1 == "ack").count() == 4);
}
