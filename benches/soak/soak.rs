//! The state that all threads of a run share.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{Client, InboxMessage};
use parking_lot::Mutex;

use super::counters::{Counters, Histogram};
use super::platform::Platform;
use super::script::{Fault, Phase, Scope, script};
use super::settings::{self, SETTLE};
use super::state::{WORKSPACES, workspace_id};

/// The value of `phase` between two phases.
const NO_PHASE: usize = usize::MAX;

pub struct Soak {
    pub seed: u64,
    /// The folder of the token file and the cursors.
    pub dir: PathBuf,
    pub platform: Arc<Platform>,
    pub script: Vec<Phase>,
    pub counters: Counters,
    /// The client of each workspace that is polled at present.
    pub clients: Mutex<Vec<Option<Client>>>,
    /// Takes the messages that are to be replied to. `None` before and after the run.
    pub to_reply: Mutex<Option<SyncSender<InboxMessage>>>,
    phase: AtomicUsize,
    healthy_from: Mutex<Option<Instant>>,
    /// Time by which the scheduler was late for a thread that only sleeps.
    pub lateness: Histogram,
    /// True once no poller is stopped any more, so that the last rows are delivered.
    pub is_draining: AtomicBool,
    /// True once everything is to stop.
    pub is_over: AtomicBool,
}

impl Soak {
    /// Starts the platform, and writes the token file into `dir`.
    pub fn start(seed: u64, seconds: u64, dir: PathBuf) -> io::Result<Self> {
        let soak = Soak {
            seed,
            dir,
            platform: Platform::start(seed)?,
            script: script(seed, seconds),
            counters: Counters::default(),
            clients: Mutex::new(vec![None; WORKSPACES]),
            to_reply: Mutex::default(),
            phase: AtomicUsize::new(NO_PHASE),
            healthy_from: Mutex::default(),
            lateness: Histogram::default(),
            is_draining: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        };
        soak.write_token(0);
        Ok(soak)
    }

    /// Makes a client of a workspace, with the settings under test.
    pub fn new_client(&self, workspace: usize) -> Client {
        let builder = Client::builder().platform_url(&self.platform.url).workspace_id(workspace_id(workspace));
        let client = settings::apply(builder.token_file(self.dir.join("token"))).build();
        self.counters.clients.fetch_add(1, Relaxed);
        client.expect("building a client asks the platform nothing")
    }

    /// Returns the number of the current phase, or a number without a phase between two of them.
    pub fn phase(&self) -> usize {
        self.phase.load(SeqCst)
    }

    /// Returns since when no failed lookup can have an effect; `None` while there may be failures.
    pub fn healthy_from(&self) -> Option<Instant> {
        *self.healthy_from.lock()
    }

    /// Sets that the platform is healthy from now on. For the start of the run.
    pub fn set_healthy(&self) {
        *self.healthy_from.lock() = Some(Instant::now());
    }

    /// Returns the longest delay by the scheduler so far.
    pub fn noise(&self) -> Duration {
        self.lateness.longest()
    }

    pub fn begin_phase(&self, number: usize) {
        let Some(phase) = self.script.get(number) else { return };
        if phase.affects_registry() {
            *self.healthy_from.lock() = None;
        }
        if phase.fault == Fault::TokenChanged {
            self.platform.set_token(number as u64 + 1);
        }
        self.phase.store(number, SeqCst);
        self.platform.set_fault(phase.fault, phase.scope);
    }

    pub fn end_phase(&self, number: usize) {
        self.platform.set_fault(Fault::Healthy, Scope::All);
        self.phase.store(NO_PHASE, SeqCst);
        let Some(phase) = self.script.get(number) else { return };
        if phase.fault == Fault::TokenChanged {
            self.write_token(number as u64 + 1);
        }
        if phase.affects_registry() {
            *self.healthy_from.lock() = Some(Instant::now() + SETTLE + self.noise() * 3);
        }
    }

    /// Replaces the token file.
    pub fn write_token(&self, token: u64) {
        let new = self.dir.join("token.new");
        fs::write(&new, format!("token-{token}\n")).unwrap();
        fs::rename(new, self.dir.join("token")).unwrap();
    }

    /// Measures until the run is over by how much the scheduler is late for a thread that only sleeps.
    pub fn measure_lateness(&self) {
        let nap = Duration::from_millis(10);
        while !self.is_over.load(SeqCst) {
            let begin = Instant::now();
            thread::sleep(nap);
            self.lateness.add(begin.elapsed().saturating_sub(nap));
        }
    }
}
