//! A storm: a callback that fails at random, a platform that resets, answers 500, commits rows late and loses the
//! cursor, and a process that is killed. What was delivered is held against the platform's own ledger.

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
use crate::support::{self, Act, Dir, PEER, Server, WORKSPACE};

/// Each storm can be played again by its seed: A2A_STORM_SEED=7 plays that one only.
const SEEDS: [u64; 4] = [1, 0x5eed, 7_777_777, 0xdead_beef];
/// In all storms together, so that plain `cargo test` stays short: A2A_STORM_ROWS=100000 is a storm at its full size.
const ROWS: usize = 24_000;
const KILLS: u64 = 50;
/// A platform's time in which rows come late.
const LATE: i64 = 5 * SECOND;

/// Rows as a platform commits them: now and then many at once, some with the time of another, some late.
struct LookupSource {
    dice: Dice,
    now: i64,
    left: usize,
    /// Those that were not late when they came.
    in_time: HashSet<String>,
}

impl LookupSource {
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

fn brisk(client: Client, file: &Path) -> PollerBuilder {
    let retry = RetryPolicy::new().with_base(Duration::ZERO);
    let builder = InboxPoller::builder(client).cursor_file(file).retry(retry);
    builder.interval(Duration::from_millis(1)).heartbeat(None)
}

#[derive(Default)]
struct Ledger {
    /// In the order of their acknowledgement.
    acked: Vec<String>,
    dead: Vec<String>,
    tries: HashMap<String, u32>,
}

fn storm(seed: u64, rows: usize) {
    let (platform, dir) = (Platform::new(), Dir::new(&format!("storm-{seed}")));
    let source = LookupSource { dice: Dice(seed), now: 100 * SECOND, left: rows - 10, in_time: HashSet::new() };
    let source = Arc::new(Mutex::new(source));
    let (inner, rain) = (platform.clone(), source.clone());
    platform.fill(90, 10, PEER);
    let server = Server::decide(move |n, request| {
        // Once there is a cursor. Before, what is older than the backlog by then is none of the poller's.
        if n == 0 {
            return inner.answer(request);
        }
        let mut source = rain.lock().unwrap();
        source.commit(&inner);
        match source.dice.roll(30) {
            0 => Act::Reset(Vec::new()),
            1 => Act::Reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n[{\"id\":\"half".to_vec()),
            2 => Act::reply(500, r#"{"error":"query failed"}"#),
            3 => Act::reply(503, "").header("Retry-After", "0"),
            4 if request.path.contains("since_id") => Act::reply(410, r#"{"error":"since_id cursor not found"}"#),
            5 => Act::reply(200, r#"{"not":"a list"}"#),
            _ => inner.answer(request),
        }
    });
    let client = support::client(&server);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (told, mut dice) = (ledger.clone(), Dice(!seed));
    let dead = ledger.clone();
    let callback = move |push: &InboxMessage| {
        let mut ledger = told.lock().unwrap();
        let tries = ledger.tries.entry(push.activity_id().to_owned()).or_default();
        *tries += 1;
        assert_eq!(*tries, push.delivery_attempt());
        match dice.roll(8) {
            0 => Verdict::Retry,
            1 if dice.roll(20) == 0 => {
                drop(ledger);
                // A panic without the words of one.
                std::panic::resume_unwind(Box::new(()));
            }
            _ => {
                ledger.acked.push(push.activity_id().to_owned());
                Verdict::Ack
            }
        }
    };
    let builder = brisk(client, &dir.file("c")).on_dead_letter(move |push| {
        dead.lock().unwrap().dead.push(push.activity_id().to_owned());
    });
    let poller = builder.spawn(callback).unwrap();
    let (start, mut last) = (Instant::now(), 0);
    let mut moved = start;
    loop {
        let ledger = ledger.lock().unwrap();
        let through = ledger.acked.len() + ledger.dead.len();
        drop(ledger);
        if through != last {
            (last, moved) = (through, Instant::now());
        }
        if through >= rows || moved.elapsed() > Duration::from_secs(30) {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    // What would come twice comes now.
    let polls = platform.state().polls.len();
    while platform.state().polls.len() < polls + 30 && moved.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(1));
    }
    poller.stop();

    let (ledger, state) = (ledger.lock().unwrap(), platform.state());
    let through: HashSet<&String> = ledger.acked.iter().chain(&ledger.dead).collect();
    let lost: Vec<&str> =
        state.rows.iter().map(|entry| entry.id.as_str()).filter(|id| !through.contains(&id.to_string())).collect();
    assert_eq!((lost.len(), state.rows.len()), (0, rows), "seed {seed}: {:?}", lost.first());
    assert_eq!(ledger.acked.len() + ledger.dead.len(), rows, "seed {seed}: some came twice");
    assert!(ledger.dead.iter().all(|id| ledger.tries[id] == 5), "seed {seed}");
    // In order: whatever was not late comes after all that is older and was not.
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
fn in_a_storm_each_row_is_acknowledged_once_in_order_and_none_is_lost() {
    let asked = |name| env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let rows = asked("A2A_STORM_ROWS").map_or(ROWS, |rows| rows as usize) / SEEDS.len();
    let seeds = asked("A2A_STORM_SEED").map_or(SEEDS.to_vec(), |seed| vec![seed]);
    // They wait for most of their time.
    thread::scope(|scope| seeds.into_iter().for_each(|seed| drop(scope.spawn(move || storm(seed, rows)))));
}

/// Not a test of its own: a poller that writes down what it does, until it is killed.
#[test]
fn child() {
    let Ok(url) = env::var("A2A_TEST_PLATFORM") else { return };
    let dir = PathBuf::from(env::var("A2A_TEST_DIR").unwrap());
    let run = env::var("A2A_TEST_RUN").unwrap();
    let poison = env::var("A2A_TEST_POISON").unwrap_or_default();
    let client = Client::builder().platform_url(url).workspace_id(WORKSPACE).build().unwrap();
    let open = || File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let (mut log, mut dead) = (open(), open());
    let (told, number) = (run.clone(), run);
    let builder = brisk(client, &dir.join("c")).on_dead_letter(move |push| {
        dead.write_all(format!("{number} dead {} {}\n", push.activity_id(), push.delivery_attempt()).as_bytes())
            .unwrap();
    });
    let poller = builder.spawn(move |push| {
        log.write_all(format!("{told} begin {} {}\n", push.activity_id(), push.delivery_attempt()).as_bytes()).unwrap();
        if push.activity_id() == poison {
            std::process::abort();
        }
        log.write_all(format!("{told} ack {} {}\n", push.activity_id(), push.delivery_attempt()).as_bytes()).unwrap();
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

/// Run, what was done, the row's id, the try.
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
        assert!(!late, "it never came to this: {what}; the log has {} lines", log_of(dir).len());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn killed_fifty_times_it_loses_nothing_and_repeats_at_most_the_row_in_flight() {
    let (platform, dir) = (Platform::new(), Dir::new("storm-kill"));
    let mut dice = Dice(50);
    let mut ids = Vec::new();
    // All of it is younger than the backlog.
    platform.state().now = 600 * SECOND;
    let server = platform.serve();
    let mut lines = 0;
    for run in 0..KILLS {
        // As many as a run waits for, however many the one before got through until it was killed.
        let first = ids.len() as i64;
        ids.extend((first..first + 120).map(|n| platform.add(n * SECOND / 9, PEER, "x")));
        let mut child = start_child(&server, &dir, run, "");
        let enough = lines + 1 + dice.roll(200) as usize;
        wait_for(&dir, "some rows in a run", |log| log.len() > enough);
        // SIGKILL, wherever it is.
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

/// A row that takes the process down with it is given up like any other.
#[test]
fn a_row_at_which_the_process_dies_is_given_up_after_five_tries() {
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
