//! A storm with a ledger: senders, faults and kills against the embedded platform, and an account of every row.
//!
//! The poller runs in another process, which is killed. It writes a line for each message to a file, so that what it
//! did before a kill is known. In the end each row of the platform's ledger is looked for in that file.
#![allow(unreachable_pub, reason = "a module of test binaries and of a bench")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a storm that cannot be set up fails")]

mod account;
pub mod child;
mod faults;
mod meter;
mod senders;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::testing::Platform;

pub use account::Account;
use account::{Journal, Times};
use child::Child;
use faults::Faults;
use meter::{Meter, plain_bytes};
use senders::Senders;

/// The settings of a storm.
#[derive(Debug, Clone)]
pub struct Storm {
    pub seed: u64,
    /// Number of messages.
    pub messages: usize,
    /// Messages a second, from all senders together.
    pub rate: u32,
    pub senders: usize,
    /// Longest time by which a row is committed late, on which the poller counts.
    pub late: Duration,
    pub kills: usize,
    /// Largest row that the poller reads, in bytes.
    pub max_row: usize,
    /// Sizes of messages, in bytes of JSON in a row: some that are read, and some that are not.
    pub large: Vec<usize>,
    /// Longest time for which the platform is down at a time. Zero for a storm without faults of the platform.
    pub outage: Duration,
    /// True if the workspace is paused at times. The poller asks once a minute whether a pause is over.
    pub pauses: bool,
    /// Directory for the cursor, the token and the children's journal.
    pub dir: PathBuf,
}

impl Storm {
    /// Runs the storm. `command` makes the command of a child process, which calls [`child::run`] with the same directory.
    pub fn run(&self, command: fn(&std::path::Path) -> std::process::Command) -> Account {
        let platform = Platform::start().unwrap();
        platform.rate_limit(None);
        // Nobody has registered it: each message makes two rows until somebody does.
        let ops = platform.unregistered("ops");
        let meter = Meter::start(&platform.url());
        child::write_settings(&self.dir, &meter.url(), ops.id(), self.late, self.max_row);
        child::write_token(&self.dir, &ops.token().unwrap());
        let is_over = AtomicBool::new(false);
        let began = Instant::now();
        let senders = Senders::new(self, &platform, &ops);
        let mut faults = Faults::new(self, &platform, &ops, Child::new(&self.dir, command));
        thread::scope(|scope| {
            scope.spawn(|| {
                senders.run();
                is_over.store(true, SeqCst);
            });
            while !is_over.load(SeqCst) {
                faults.step(senders.progress());
                thread::sleep(Duration::from_millis(20));
            }
        });
        faults.end();
        let sent = senders.into_sent();
        let last = Instant::now();
        let rows: Vec<_> = platform.ledger().into_iter().filter(|row| row.workspace_id == ops.id()).collect();
        let limit = self.late + Duration::from_secs(75);
        while !Journal::read(&self.dir).has_all(&rows) && last.elapsed() < limit {
            thread::sleep(Duration::from_millis(100));
        }
        let first = rows.iter().min_by_key(|row| row.seq).map_or("", |row| &row.row_id);
        let bytes = meter.bytes() as f64 / plain_bytes(&platform.url(), &ops, first) as f64;
        let removed_in = faults.remove();
        let times = Times { disturbed: faults.disturbed(), removed_in, took: began.elapsed(), bytes };
        Account::new(&rows, &sent, &Journal::read(&self.dir), faults.kills(), times)
    }
}
