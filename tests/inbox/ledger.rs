//! A small storm with a ledger: `cargo bench --bench ledger` runs the large one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ledger_storm::{Storm, child};
use crate::support::Dir;

const DIRECTORY: &str = "A2A_TEST_LEDGER";

#[test]
fn each_row_of_a_storm_is_accounted_for() {
    let dir = Dir::new("ledger");
    let storm = Storm {
        seed: 7,
        messages: 1_500,
        rate: 200,
        senders: 16,
        late: Duration::from_secs(3),
        kills: 6,
        max_row: 256 * 1024,
        large: vec![200 * 1024, 1024 * 1024, 4 * 1024 * 1024, 300 * 1024],
        outage: Duration::from_secs(1),
        pauses: false,
        dir: dir.0.clone(),
    };
    let account = storm.run(command);
    assert!(account.is_clean(), "{account}");
    println!("{account}");
}

/// The process of the poller.
#[test]
fn child() {
    if let Ok(dir) = env::var(DIRECTORY) {
        child::run(&PathBuf::from(dir));
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "ledger::child", "--nocapture"]).env(DIRECTORY, dir);
    command
}
