//! Ten minutes of everything that goes wrong: 32 pollers of 24 workspaces, a platform that misbehaves by a seeded
//! script, clients that are made and dropped all the while; and what must hold for all of that time.
//!
//! `cargo bench --bench soak`; with `-- --seconds 30` as long as that, with `-- --test` a few seconds, which only show
//! that it works; `--seed N` plays another script, `--svg` draws `benches/soak.svg`. The platform is in the same process,
//! with a ledger of its own, and TTLs are short (2 s for 300 s, see `watch.rs`), so that ten minutes hold 300 of them.
//! Its exit code says whether all targets were met.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]
#![allow(unreachable_pub, reason = "modules of a binary")]

mod answers;
mod chart;
mod gauge;
mod ledger;
mod platform;
mod report;
mod run;
mod script;
mod sends;
mod station;
mod tally;
mod watch;
mod world;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::{env, fs, panic, process};

use ledger::WORKSPACES;
use platform::Platform;
use script::script;
use tally::{Tally, Times, Wrong};
use world::Soak;

#[global_allocator]
static ALLOCATOR: gauge::Counting = gauge::Counting;

/// Counts what the crate has to say at error level; a callback that panicked was told to.
struct Lines(Arc<Soak>);

impl log::Log for Lines {
    fn enabled(&self, line: &log::Metadata<'_>) -> bool {
        line.level() == log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if self.enabled(record.metadata()) && !line.contains("the callback panicked at") {
            self.0.tally.wrong(Wrong::Log, || line);
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
    // In memory where that can be had: how long a disk takes is not what is looked at.
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { env::temp_dir() };
    let dir = base.join(format!("a2a-bench-soak-{}", process::id()));
    fs::create_dir_all(&dir).unwrap();
    let platform = Platform::start(seed).unwrap();
    let all = Arc::new(Soak {
        seed,
        dir,
        platform,
        script: script(seed, seconds),
        tally: Tally::default(),
        clients: Mutex::new(vec![None; WORKSPACES]),
        answers: Mutex::default(),
        phase: AtomicUsize::new(usize::MAX),
        calm_from: Mutex::default(),
        lateness: Times::default(),
        is_ending: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
    });
    all.write_token(0);
    let of = all.clone();
    panic::set_hook(Box::new(move |info| of.tally.wrong(Wrong::Panic, || info.to_string())));
    log::set_logger(Box::leak(Box::new(Lines(all.clone())))).unwrap();
    log::set_max_level(log::LevelFilter::Error);

    let run = run::run(&all, seconds);
    all.platform.stop();
    let _ = fs::remove_dir_all(&all.dir);
    if is_given("--svg") {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/soak.svg");
        fs::write(file, chart::svg(&run, &all)).unwrap();
    }
    if !report::print(&run, &all) {
        process::exit(1);
    }
}
