//! A soak test: ten minutes of faults, with 32 pollers of 24 workspaces.
//!
//! A platform in the same process misbehaves by a script that a seed determines. Clients are made and dropped all the
//! while. The platform records what is true at each moment, and every answer of the crate is checked against that. Time
//! to live is 2 s instead of 300 s (see `settings.rs`), so that ten minutes hold 300 of them.
//!
//! | command | run |
//! | --- | --- |
//! | `cargo bench --bench soak` | ten minutes |
//! | `cargo bench --bench soak -- --seconds 30` | 30 s |
//! | `cargo bench --bench soak -- --test` | 8 s, which only show that it works |
//! | `… --seed N` | another script; the default seed is 1 |
//! | `… --svg` | also draws `benches/soak.svg` |
//!
//! The exit status is 1 if a target was not met.
//!
//! Imports among the files, from the top: `main` | `run`, `chart` | `report` | `workspace` | `traffic`, `checked_client` |
//! `soak` | `resources` | `platform` | `endpoints` | `state` | `script`, `counters`, `settings`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]
#![allow(unreachable_pub, reason = "modules of a binary")]

mod chart;
mod checked_client;
mod counters;
mod endpoints;
mod platform;
mod report;
mod resources;
mod run;
mod script;
mod settings;
mod soak;
mod state;
mod traffic;
mod workspace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use std::{env, fs, panic, process};

use counters::Violation;
use soak::Soak;

#[global_allocator]
static ALLOCATOR: resources::CountingAllocator = resources::CountingAllocator;

/// A logger that counts the crate's lines at error level.
///
/// The line about a callback's panic is expected. While the platform is not healthy, so are those that say that it refuses
/// us, as it does by a fault of the script.
struct ErrorCounter(Arc<Soak>);

impl ErrorCounter {
    fn is_expected(&self, line: &str) -> bool {
        let refusals = [
            "inbox: nothing is delivered",
            "inbox: no heartbeat",
            "inbox: not registered",
            "enrich: peers are unknown",
            "refuses our token, and has our workspace",
        ];
        let is_healthy = self.0.healthy_from().is_some_and(|from| from <= Instant::now());
        line.contains("the callback panicked at") || (!is_healthy && refusals.iter().any(|words| line.contains(words)))
    }
}

impl log::Log for ErrorCounter {
    fn enabled(&self, line: &log::Metadata<'_>) -> bool {
        line.level() == log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if self.enabled(record.metadata()) && !self.is_expected(&line) {
            self.0.counters.violation(Violation::Log, || line);
        }
    }

    fn flush(&self) {}
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let is_given = |name: &str| args.iter().any(|arg| arg == name);
    let number = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1).map(|n| n.parse().expect("a number"));
    let seconds = number("--seconds").unwrap_or(if is_given("--test") { 8 } else { 600 });
    let seed = number("--seed").unwrap_or(1);
    // In memory where possible: the time that a disk takes is not measured.
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { env::temp_dir() };
    let dir = base.join(format!("a2a-bench-soak-{}", process::id()));
    fs::create_dir_all(&dir).unwrap();
    let soak = Arc::new(Soak::start(seed, seconds, dir).unwrap());
    let shared = soak.clone();
    panic::set_hook(Box::new(move |info| shared.counters.violation(Violation::Panic, || info.to_string())));
    log::set_logger(Box::leak(Box::new(ErrorCounter(soak.clone())))).unwrap();
    log::set_max_level(log::LevelFilter::Error);

    let result = run::run(&soak, seconds);
    soak.platform.stop();
    let _ = fs::remove_dir_all(&soak.dir);
    if is_given("--svg") {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/soak.svg");
        fs::write(file, chart::svg(&result, &soak)).unwrap();
    }
    if !report::print(&result, &soak) {
        process::exit(1);
    }
}
