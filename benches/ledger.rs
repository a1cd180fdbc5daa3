//! A storm with a ledger: 20,000 messages from 16 senders at 200 a second, rows committed up to 60 s late, rows of up to 90
//! MB, restarts, outages, rotations, pauses, and 50 kills of the poller.
//!
//! `cargo bench --bench ledger` prints what became of the rows, and fails if one was lost; `-- --seed 7` runs another
//! storm, `-- --calm` one without faults and kills, whose waits are those of the load alone, and `-- --test` a short one.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/dice.rs"]
mod dice;
#[path = "../tests/support/ledger/mod.rs"]
mod ledger_storm;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use ledger_storm::{Storm, child};

const DIRECTORY: &str = "A2A_BENCH_LEDGER";
const MIB: usize = 1024 * 1024;
/// Sizes of the largest rows, of which three are larger than the poller reads.
const LARGE: [usize; 8] = [90_000_000, MIB, 15 * MIB, 5 * MIB, 40 * MIB, 90_000_000, 2 * MIB, 30 * MIB];

fn main() {
    if let Ok(dir) = env::var(DIRECTORY) {
        child::run(&PathBuf::from(dir));
    }
    let args: Vec<String> = env::args().collect();
    let has = |option: &str| args.iter().any(|arg| arg == option);
    let (is_test, is_calm) = (has("--test"), has("--calm"));
    let seed = args.iter().skip_while(|arg| *arg != "--seed").nth(1).map_or(1, |seed| seed.parse().unwrap());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ledger-{}", process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let secs = Duration::from_secs;
    let storm = Storm {
        seed,
        messages: if is_test { 1_000 } else { 20_000 },
        rate: 200,
        senders: 16,
        late: secs(if is_test { 3 } else { 60 }),
        kills: if is_calm {
            0
        } else if is_test {
            4
        } else {
            50
        },
        max_row: 32 * MIB,
        large: if is_calm { vec![MIB, 2 * MIB, MIB] } else { LARGE.to_vec() },
        outage: secs(if is_calm {
            0
        } else if is_test {
            1
        } else {
            8
        }),
        pauses: !is_test,
        dir: dir.clone(),
    };
    println!("seed {seed}");
    let account = storm.run(command);
    println!("{account}");
    if !account.is_clean() {
        println!("the ledger is not clean; the children's logs are in {}", dir.display());
        process::exit(1);
    }
    let _ = fs::remove_dir_all(&dir);
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(DIRECTORY, dir);
    command
}
