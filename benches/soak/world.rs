//! What all threads have in common, and what happens on the platform by and by.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, InboxMessage};

use super::ledger::{PEERS, WORKSPACES};
use super::platform::Platform;
use super::script::{Dice, Fault, Phase, Scope};
use super::station::{Track, lock};
use super::tally::{Tally, Times};
use super::watch::SETTLE;

/// What all threads have in common.
pub struct Soak {
    pub seed: u64,
    pub dir: PathBuf,
    pub platform: Arc<Platform>,
    pub script: Vec<Phase>,
    pub tally: Tally,
    /// The clients that are polled with now, by workspace.
    pub clients: Mutex<Vec<Option<Client>>>,
    pub answers: Mutex<Option<SyncSender<InboxMessage>>>,
    pub phase: AtomicUsize,
    pub calm_from: Mutex<Option<Instant>>,
    /// By how much the scheduler was late for a thread that only sleeps.
    pub lateness: Times,
    /// Nothing is taken down any more, and then everything is.
    pub is_ending: AtomicBool,
    pub is_over: AtomicBool,
}

impl Soak {
    /// The number of the phase that it is; of no phase, between two of them.
    pub fn phase(&self) -> usize {
        self.phase.load(SeqCst)
    }

    /// From when on no failure of a lookup is to be felt any more; `None` while there may be some.
    pub fn calm_from(&self) -> Option<Instant> {
        *lock(&self.calm_from)
    }

    /// What a busy machine adds to a time.
    pub fn noise(&self) -> Duration {
        self.lateness.longest()
    }

    pub fn begin(&self, number: usize) {
        let Some(phase) = self.script.get(number) else { return };
        if phase.troubles_registry() {
            *lock(&self.calm_from) = None;
        }
        if phase.fault == Fault::Locked {
            self.platform.rotate(number as u64 + 1);
        }
        self.phase.store(number, SeqCst);
        self.platform.set(phase.fault, phase.scope);
    }

    pub fn end(&self, number: usize) {
        self.platform.set(Fault::Well, Scope::Everything);
        self.phase.store(usize::MAX, SeqCst);
        let Some(phase) = self.script.get(number) else { return };
        if phase.fault == Fault::Locked {
            self.write_token(number as u64 + 1);
        }
        if phase.troubles_registry() {
            *lock(&self.calm_from) = Some(Instant::now() + SETTLE + self.noise() * 3);
        }
    }

    pub fn write_token(&self, token: u64) {
        let new = self.dir.join("token.new");
        fs::write(&new, format!("token-{token}\n")).unwrap();
        fs::rename(new, self.dir.join("token")).unwrap();
    }
}

/// What happens on the platform in one tick, whatever its mood.
pub fn live(soak: &Soak, tick: u64, dice: &mut Dice, tracks: &[(usize, Arc<Mutex<Track>>)], phase: Option<&Phase>) {
    let ledger = &soak.platform.ledger;
    for workspace in 0..WORKSPACES {
        let rows = if dice.one_in(2_000) { 100 } else { u64::from(dice.one_in(3)) };
        (0..rows).for_each(|_| ledger.commit(workspace));
    }
    // Each peer is renamed every 10 s or so, and away every other minute.
    if dice.one_in(2) {
        let peer = dice.roll(PEERS as u64) as usize;
        ledger.change(peer, ledger.is_there(peer) != dice.one_in(10) || dice.one_in(3));
    }
    // The file is there before the platform takes its token: only who has the old one hears a 401, once.
    if phase.is_none() && tick % 300 == 299 {
        soak.write_token(1_000_000 + tick);
        soak.platform.rotate(1_000_000 + tick);
    }
    let is_pruned = phase.is_some_and(|phase| phase.fault == Fault::Pruned) && tick % 10 == 0;
    if is_pruned || tick % 20 == 0 {
        for workspace in 0..WORKSPACES {
            let delivered = tracks.iter().filter(|(of, _)| *of == workspace).map(|(_, track)| lock(track).next).min();
            ledger.prune(workspace, delivered.unwrap_or(0), is_pruned);
        }
    }
}

/// What the machine does to a thread that has nothing to wait for but the clock.
pub fn measure_noise(soak: &Soak) {
    let nap = Duration::from_millis(10);
    while !soak.is_over.load(SeqCst) {
        let begin = Instant::now();
        thread::sleep(nap);
        soak.lateness.add(begin.elapsed().saturating_sub(nap));
    }
}
