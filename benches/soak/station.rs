//! A workspace: its client and its one or two pollers, which are taken down and put up again all the while.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, InboxMessage, InboxPoller, PollerHandle, RetryPolicy, Verdict};

use super::ledger::{SHARED, WORKSPACES, number, row_number, workspace_id};
use super::script::Dice;
use super::sends;
use super::tally::Wrong;
use super::watch::{Stalls, Watch, settings};
use super::world::Soak;

/// How often a row is tried.
const TRIES: u32 = 5;

/// Where one poller is in its inbox, over all of its lives.
#[derive(Default)]
pub struct Track {
    pub next: u64,
    /// How often the next row was tried already.
    tries: u32,
}

pub struct Station {
    workspace: usize,
    tracks: Vec<Arc<Mutex<Track>>>,
    pollers: Vec<PollerHandle>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn client(soak: &Soak, workspace: usize) -> Client {
    let builder = Client::builder().platform_url(&soak.platform.url).workspace_id(workspace_id(workspace));
    let client = settings(builder.token_file(soak.dir.join("token"))).build();
    soak.tally.clients.fetch_add(1, Relaxed);
    client.expect("nothing about it depends on the platform")
}

impl Station {
    pub fn new(workspace: usize) -> Self {
        let pollers = if workspace < SHARED { 2 } else { 1 };
        Station { workspace, tracks: (0..pollers).map(|_| Arc::default()).collect(), pollers: Vec::new() }
    }

    pub fn tracks(&self) -> impl Iterator<Item = (usize, Arc<Mutex<Track>>)> + '_ {
        self.tracks.iter().map(|track| (self.workspace, track.clone()))
    }

    fn put_up(&mut self, soak: &Arc<Soak>, life: u64) {
        let watch = Arc::new(Watch::new(client(soak, self.workspace)));
        for (n, track) in self.tracks.iter().enumerate() {
            let file: PathBuf = soak.dir.join(format!("cursor-{}-{n}", self.workspace));
            let retry = RetryPolicy::new()
                .with_attempts(TRIES)
                .with_base(Duration::from_millis(5))
                .with_cap(Duration::from_millis(20));
            let builder = InboxPoller::builder(watch.client.clone()).cursor_file(file).retry(retry).page_size(50);
            let builder = builder.interval(Duration::from_millis(200)).heartbeat(Some(Duration::from_secs(2)));
            let (dead, told) = (track.clone(), soak.clone());
            let builder = builder.on_dead_letter(move |_| {
                told.tally.dead.fetch_add(1, Relaxed);
                lock(&dead).pass();
            });
            let mut callback = Callback {
                soak: soak.clone(),
                workspace: self.workspace,
                track: track.clone(),
                watch: watch.clone(),
                stalls: Stalls::default(),
                dice: Dice::of(soak.seed, life << 16 | (self.workspace as u64) << 8 | n as u64),
            };
            match builder.spawn(move |push| callback.push(push)) {
                Ok(poller) => self.pollers.push(poller),
                Err(error) => soak.tally.error("spawn", &error),
            }
        }
        lock(&soak.clients)[self.workspace] = Some(watch.client.clone());
    }

    /// A life in which nothing happens.
    pub fn warm_up(&mut self, soak: &Arc<Soak>) {
        self.put_up(soak, 0);
        thread::sleep(Duration::from_millis(20));
        self.take_down(soak);
    }

    fn take_down(&mut self, soak: &Soak) {
        lock(&soak.clients)[self.workspace] = None;
        for poller in self.pollers.drain(..) {
            let begin = Instant::now();
            poller.stop();
            soak.tally.stops.add(begin.elapsed());
        }
    }
}

/// Has the stations live and die until the end.
pub fn run(soak: &Arc<Soak>, mut stations: Vec<Station>) {
    let mut dice = Dice::of(soak.seed, 1);
    stations.iter_mut().for_each(|station| station.put_up(soak, 0));
    for life in 1.. {
        thread::sleep(Duration::from_millis(300 + dice.roll(600)));
        if soak.is_over.load(SeqCst) {
            break;
        }
        if soak.is_ending.load(SeqCst) {
            continue;
        }
        let station = &mut stations[dice.roll(WORKSPACES as u64) as usize];
        station.take_down(soak);
        station.put_up(soak, life);
    }
    stations.iter_mut().for_each(|station| station.take_down(soak));
}

impl Track {
    fn pass(&mut self) {
        (self.next, self.tries) = (self.next + 1, 0);
    }
}

struct Callback {
    soak: Arc<Soak>,
    workspace: usize,
    track: Arc<Mutex<Track>>,
    watch: Arc<Watch>,
    stalls: Stalls,
    dice: Dice,
}

impl Callback {
    fn push(&mut self, push: &InboxMessage) -> Verdict {
        let Callback { soak, workspace, track, watch, stalls, dice } = self;
        let row = row_number(push.activity_id()).unwrap_or(u64::MAX);
        {
            let mut track = lock(track);
            let (next, tries) = (track.next, track.tries);
            let what = || {
                format!(
                    "workspace {workspace}: row {row}, try {}; it is {next}'s turn, tried {tries} times",
                    push.delivery_attempt()
                )
            };
            if row < next || (row == next && push.delivery_attempt() != tries + 1) {
                soak.tally.wrong(Wrong::Repeat, what);
            } else if row > next {
                soak.tally.wrong(Wrong::Order, what);
                track.next = row;
            }
            track.tries = push.delivery_attempt();
            soak.tally.again.fetch_add(u64::from(tries > 0), Relaxed);
        }
        let peer = push.peer().and_then(|peer| number(&peer.to_string())).unwrap_or_default();
        if peer % 3 == 0 {
            watch.enrich_nonblocking(soak, peer);
        } else {
            watch.enrich(soak, peer, stalls);
        }
        match dice.roll(3_000) {
            0 => watch.clear(),
            1..10 => watch.forget(peer),
            10..60 => sends::send(soak, &watch.client, dice),
            60..120 => drop(lock(&soak.answers).as_ref().map(|answers| answers.try_send(push.clone()))),
            _ => {}
        }
        let mut poisoned = Dice::of(soak.seed, row << 8 | *workspace as u64);
        if poisoned.one_in(800) || dice.one_in(60) {
            return Verdict::Retry;
        }
        if dice.one_in(1_500) {
            // A panic without the words of one.
            resume_unwind(Box::new(()));
        }
        lock(track).pass();
        soak.tally.delivered.fetch_add(1, Relaxed);
        Verdict::Ack
    }
}
