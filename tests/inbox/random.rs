//! A poller against seeded weather: rows in bursts, late, of one time, without a time, entries that are no rows, a platform
//! that prunes, fails, knows no `since_id`, or commits while it is asked, and restarts. No row is lost in silence, none comes
//! twice, and none out of order.
//!
//! `A2A_SEEDS=200 cargo test --release --test inbox_random` goes through more of them.

use std::collections::{HashMap, HashSet};
use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_blocking::{InboxPoller, Verdict};
use serde_json::json;

use crate::dice::Dice;
use crate::poll::{brisk, logged};
use crate::support::platform::{Platform, SECOND};
use crate::support::{Act, Dir, PEER, Server};

/// What kinds of weather there are: a letter each.
const KINDS: &str = "o: an old platform; d: entries that are no rows; u: rows without a time; p: rows are pruned; \
                     f: answers fail; c: rows are committed while it is asked";
const WEATHER: [&str; 14] = ["", "o", "p", "f", "c", "op", "oc", "pfc", "d", "dc", "dp", "df", "u", "up"];
/// Rows that are committed while it is asked: more would go on for ever.
const MEANWHILE: usize = 15;
const ROUNDS: usize = 12;
/// Polls in a row that bring nothing and say that there is more. A pause is made after 256.
const ENDLESS: usize = 700;

struct Rain {
    dice: Dice,
    weather: &'static str,
    now: i64,
    rows: Vec<String>,
    /// Of the rows that were not late: which of them they are.
    in_time: HashMap<String, usize>,
    meanwhile: usize,
}

impl Rain {
    fn is(&self, kind: char) -> bool {
        self.weather.contains(kind)
    }

    /// Some rows more, of one time or seconds apart, each as late as a row may be.
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
                let row = json!({ "source_id": PEER, "summary": "untimed", "created_at": null });
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

    fn clear_up(&mut self, platform: &Platform) {
        for _ in 0..2 {
            self.now += 100 * SECOND;
            self.add(platform, self.now, true);
        }
    }
}

/// A platform in that weather, until it is `calm`.
fn serve(platform: &Platform, rain: &Arc<Mutex<Rain>>, calm: &Arc<AtomicBool>) -> Server {
    let (platform, rain, calm) = (platform.clone(), rain.clone(), calm.clone());
    Server::decide(move |_, request| {
        let mut rain = rain.lock().unwrap();
        if calm.load(SeqCst) {
            return platform.answer(request);
        }
        if rain.is('c') && rain.meanwhile > 0 && rain.dice.roll(3) == 0 {
            rain.meanwhile -= 1;
            rain.commit(&platform);
        }
        let gone = || Act::reply(410, r#"{"error":"since_id cursor not found"}"#);
        match rain.is('f').then(|| rain.dice.roll(12)) {
            Some(0) => Act::reply(500, "{}"),
            Some(1) if request.path.contains("since_id") => gone(),
            _ => platform.answer(request),
        }
    })
}

/// The oldest rows go, of those that are through.
fn prune(platform: &Platform, got: &[String], dice: &mut Dice) {
    let through: HashSet<&String> = got.iter().collect();
    let mut state = platform.state();
    let old = state.rows.iter().take_while(|entry| !entry.row["id"].is_string() || through.contains(&entry.id));
    let cut = dice.roll(old.count() as u64 + 1) as usize;
    state.rows.drain(..cut);
}

/// Polls until there is no more, or a poll failed; now and then not so far.
fn poll_on(poller: &mut InboxPoller, got: &mut Vec<String>, fails: bool, stops: &mut impl FnMut() -> bool) {
    let mut barren = 0;
    loop {
        let before = got.len();
        let polled = poller.poll_once(|push| {
            got.push(push.activity_id().to_owned());
            Verdict::Ack
        });
        match polled {
            Ok(polled) if !polled.has_more => return,
            Ok(_) => {}
            Err(error) => return assert!(fails, "{error}"),
        }
        barren = if got.len() > before { 0 } else { barren + 1 };
        assert!(barren < ENDLESS, "it goes round for ever, after {} rows", got.len());
        if stops() {
            return;
        }
    }
}

fn run(seed: u64, weather: &'static str, file: &Path) {
    let (platform, mut dice) = (Platform::new(), Dice(seed ^ 0x1234_5678));
    platform.state().ignores_since_id = weather.contains('o');
    let page = 1 + dice.roll(8) as usize;
    let (rows, in_time) = (Vec::new(), HashMap::new());
    let rain = Rain { dice: Dice(seed), weather, now: 1_000 * SECOND, rows, in_time, meanwhile: MEANWHILE };
    let (rain, calm) = (Arc::new(Mutex::new(rain)), Arc::new(AtomicBool::new(false)));
    let server = serve(&platform, &rain, &calm);
    let backlog = Duration::from_secs(29 * 86_400);
    let start = || brisk(&server, file).page_size(page).backlog(backlog).build().unwrap();
    let (told, mut poller, mut got) = (logged(&["a gap"]), start(), Vec::new());
    for round in 0..=ROUNDS {
        let last = round == ROUNDS;
        if last {
            calm.store(true, SeqCst);
            rain.lock().unwrap().clear_up(&platform);
        } else {
            rain.lock().unwrap().commit(&platform);
        }
        if weather.contains('p') && dice.roll(3) == 0 {
            prune(&platform, &got, &mut dice);
        }
        if dice.roll(6) == 0 {
            drop(poller);
            poller = start();
        }
        for _ in 0..if last { 6 } else { dice.roll(3) } {
            poll_on(&mut poller, &mut got, weather.contains('f'), &mut || !last && dice.roll(5) == 0);
        }
    }
    check(&rain.lock().unwrap(), &got, logged(&["a gap"]) > told);
}

fn check(rain: &Rain, got: &[String], gap: bool) {
    let once: HashSet<&String> = got.iter().collect();
    let lost = rain.rows.iter().filter(|id| !once.contains(id)).count();
    assert!(lost == 0 || gap, "{lost} of {} rows are lost, and nothing was said", rain.rows.len());
    // A row without a time that was delivered beyond a gap may be forgotten before it is listed once more.
    let twice = got.len() - once.len();
    assert!(twice == 0 || (gap && rain.is('u')), "{twice} rows came twice");
    let order: Vec<usize> = got.iter().filter_map(|id| rain.in_time.get(id).copied()).collect();
    assert!(order.is_sorted() || gap, "not in order: {order:?}");
}

#[test]
fn whatever_the_weather_no_row_is_lost_in_silence_and_none_comes_twice() {
    let seeds = env::var("A2A_SEEDS").map_or(2, |seeds| seeds.parse().unwrap());
    for weather in WEATHER {
        for seed in 0..seeds {
            let dir = Dir::new("inbox-random");
            let run = || run(seed, weather, &dir.file("c"));
            let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            assert!(held.is_ok(), "seed {seed}, weather {weather:?} ({KINDS})");
        }
    }
}
