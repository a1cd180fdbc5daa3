//! A poller against random conditions, by seed.
//!
//! Rows come in bursts, late, with equal times or without one, between entries that are no rows. The platform prunes,
//! fails, lacks `since_id`, or commits rows during a request, and the poller restarts. No row is lost without a log
//! line, none comes twice, and none out of order.
//!
//! `A2A_SEEDS=200 cargo test --release --test inbox random` runs more seeds.

use std::collections::{HashMap, HashSet};
use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_blocking::{InboxPoller, Verdict};
use serde_json::json;

use crate::dice::Dice;
use crate::poll::{fast_poller, logged};
use crate::support::platform::{Platform, SECOND};
use crate::support::{Dir, PEER, Reaction, Server};

/// The conditions, a letter each.
const LEGEND: &str = "o: an old platform; d: entries that are no rows; u: rows without a time; p: rows are pruned; \
                     f: answers fail; c: rows are committed during requests";
const CONDITIONS: [&str; 14] = ["", "o", "p", "f", "c", "op", "oc", "pfc", "d", "dc", "dp", "df", "u", "up"];
/// Number of commits during requests. Without a limit the poller would never catch up.
const COMMITS_DURING_REQUESTS: usize = 15;
const ROUNDS: usize = 12;
/// Polls in a row without a row that report more. The poller pauses after 256.
const ENDLESS: usize = 700;

struct Feed {
    dice: Dice,
    conditions: &'static str,
    now: i64,
    rows: Vec<String>,
    /// The rows that were not late, each with its number.
    in_time: HashMap<String, usize>,
    commits_left: usize,
}

impl Feed {
    fn is(&self, kind: char) -> bool {
        self.conditions.contains(kind)
    }

    /// Commits some rows, at one time or seconds apart. Each is at most as late as a row may be.
    fn commit(&mut self, platform: &Platform) {
        let pace = [0, 1, 1_000, 100_000, 1_000_000, 7_000_000, 0][self.dice.roll(7) as usize];
        let rows = [0, 1, 1, 2, 3, 7, 20, 40][self.dice.roll(8) as usize];
        let odd_burst = self.is('d') && self.dice.roll(4) == 0;
        let untimed_burst = self.is('u') && self.dice.roll(4) == 0;
        for _ in 0..rows {
            self.now += self.dice.roll(2 * pace + 1) as i64;
            let late = match self.dice.roll(40) {
                0 => 5 * SECOND,
                1..=6 => self.dice.roll(5 * SECOND as u64 + 1) as i64,
                _ => 0,
            };
            let at = (self.now - late).max(0);
            if self.is('d') && (odd_burst || self.dice.roll(8) == 0) {
                platform.add_row(at, json!({ "id": null }));
            } else if self.is('u') && (untimed_burst || self.dice.roll(8) == 0) {
                let row = json!({ "source_id": PEER, "summary": "untimed", "created_at": null, "seq": null });
                self.rows.push(platform.add_row(at, row));
            } else {
                self.add(platform, at, late == 0);
            }
        }
    }

    fn add(&mut self, platform: &Platform, at: i64, in_time: bool) {
        let id = platform.add(at, PEER, "timed");
        if in_time {
            self.in_time.insert(id.clone(), self.in_time.len());
        }
        self.rows.push(id);
    }

    fn add_final_rows(&mut self, platform: &Platform) {
        for _ in 0..2 {
            self.now += 100 * SECOND;
            self.add(platform, self.now, true);
        }
    }
}

/// Starts a platform under these conditions, until it is `settled`.
fn serve(platform: &Platform, feed: &Arc<Mutex<Feed>>, settled: &Arc<AtomicBool>) -> Server {
    let (platform, feed, settled) = (platform.clone(), feed.clone(), settled.clone());
    Server::decide(move |_, request| {
        let mut feed = feed.lock().unwrap();
        if settled.load(SeqCst) {
            return platform.answer(request);
        }
        if feed.is('c') && feed.commits_left > 0 && feed.dice.roll(3) == 0 {
            feed.commits_left -= 1;
            feed.commit(&platform);
        }
        let gone = || Reaction::reply(410, r#"{"error":"since_id cursor not found"}"#);
        match feed.is('f').then(|| feed.dice.roll(12)) {
            Some(0) => Reaction::reply(500, "{}"),
            Some(1) if request.path.contains("since_id") => gone(),
            _ => platform.answer(request),
        }
    })
}

/// Removes some of the oldest rows, as far as they are acked.
fn prune(platform: &Platform, got: &[String], dice: &mut Dice) {
    let acked: HashSet<&String> = got.iter().collect();
    let mut state = platform.state();
    let old = state.rows.iter().take_while(|entry| !entry.row["id"].is_string() || acked.contains(&entry.id));
    let cut = dice.roll(old.count() as u64 + 1) as usize;
    state.rows.drain(..cut);
}

/// Polls until there are no more rows or a poll fails. Sometimes it stops earlier.
fn poll_all(poller: &mut InboxPoller, got: &mut Vec<String>, fails: bool, stops: &mut impl FnMut() -> bool) {
    let mut barren = 0;
    loop {
        let before = got.len();
        let polled = poller.poll_once(|message| {
            got.push(message.activity_id().to_owned());
            Verdict::Ack
        });
        match polled {
            Ok(polled) if !polled.has_more => return,
            Ok(_) => {}
            Err(error) => return assert!(fails, "{error}"),
        }
        barren = if got.len() > before { 0 } else { barren + 1 };
        assert!(barren < ENDLESS, "it polls for ever, after {} rows", got.len());
        if stops() {
            return;
        }
    }
}

fn run(seed: u64, conditions: &'static str, file: &Path) {
    let (platform, mut dice) = (Platform::new(), Dice(seed ^ 0x1234_5678));
    platform.state().ignores_since_id = conditions.contains('o');
    let page = 1 + dice.roll(8) as usize;
    let (rows, in_time) = (Vec::new(), HashMap::new());
    let feed = Feed {
        dice: Dice(seed),
        conditions,
        now: 1_000 * SECOND,
        rows,
        in_time,
        commits_left: COMMITS_DURING_REQUESTS,
    };
    let (feed, settled) = (Arc::new(Mutex::new(feed)), Arc::new(AtomicBool::new(false)));
    let server = serve(&platform, &feed, &settled);
    let backlog = Duration::from_secs(29 * 86_400);
    let start = || fast_poller(&server, file).page_size(page).backlog(backlog).build().unwrap();
    let (gaps_before, mut poller, mut got) = (logged(&["a gap"]), start(), Vec::new());
    for round in 0..=ROUNDS {
        let last = round == ROUNDS;
        if last {
            settled.store(true, SeqCst);
            feed.lock().unwrap().add_final_rows(&platform);
        } else {
            feed.lock().unwrap().commit(&platform);
        }
        if conditions.contains('p') && dice.roll(3) == 0 {
            prune(&platform, &got, &mut dice);
        }
        // A late row is found within 10 s, and by a poller that starts at once.
        if last || dice.roll(6) == 0 {
            drop(poller);
            poller = start();
        }
        for _ in 0..if last { 6 } else { dice.roll(3) } {
            poll_all(&mut poller, &mut got, conditions.contains('f'), &mut || !last && dice.roll(5) == 0);
        }
    }
    check(&feed.lock().unwrap(), &got, logged(&["a gap"]) > gaps_before);
}

fn check(feed: &Feed, got: &[String], gap: bool) {
    let once: HashSet<&String> = got.iter().collect();
    let lost = feed.rows.iter().filter(|id| !once.contains(id)).count();
    assert!(lost == 0 || gap, "{lost} of {} rows are lost without a log line", feed.rows.len());
    // A row without a time that was delivered beyond a gap may be forgotten before it is listed again.
    let twice = got.len() - once.len();
    assert!(twice == 0 || (gap && feed.is('u')), "{twice} rows came twice");
    let order: Vec<usize> = got.iter().filter_map(|id| feed.in_time.get(id).copied()).collect();
    assert!(order.is_sorted() || gap, "not in order: {order:?}");
}

#[test]
fn no_row_is_lost_silently_or_delivered_twice() {
    let seeds = env::var("A2A_SEEDS").map_or(2, |seeds| seeds.parse().unwrap());
    for conditions in CONDITIONS {
        for seed in 0..seeds {
            let dir = Dir::new("inbox-random");
            let run = || run(seed, conditions, &dir.file("c"));
            let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            assert!(held.is_ok(), "seed {seed}, conditions {conditions:?} ({LEGEND})");
        }
    }
}
