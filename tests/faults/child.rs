//! Cells that run in a child process. The platform is in the parent, and the child breaks its own machine.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write, stdin};
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use std::{env, thread};

use serde_json::{Value, json};

use crate::calls::{Observed, Site, run_call};
use crate::cell::{CALLS, Call, Cell, Row};
use crate::machine::{Machine, NAME, break_down};
use crate::peer::Fault;
use crate::run::{Here, caught, check};
use crate::table;

const SAYS: &str = "the cell's child: ";

/// Returns the part of the machine that a row breaks.
pub fn machine(row: &Row) -> Option<Machine> {
    match row.fault {
        Fault::Machine(what) | Fault::SilentAnd(what) => Some(what),
        _ => None,
    }
}

/// Runs the cell in a child process whose machine breaks.
pub fn run_in_child(row: &Row, call: Call, dir: &Path) -> Result<(), String> {
    let Cell::Any(outcomes) = row.cell(call) else { return Ok(()) };
    let mut site = Here::new(&row.fault);
    site.set(row, call, outcomes);
    let mut url = site.url();
    if matches!(machine(row), Some(Machine::NoSuchName | Machine::SilentResolver | Machine::NoThreads)) {
        url = url.replace("127.0.0.1", NAME);
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]);
    command.env("A2A_FAULT", &row.name).env("A2A_FAULT_CALL", call.name());
    command.env("A2A_FAULT_URL", url).env("A2A_FAULT_DIR", dir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut observed = None;
    for line in from.lines() {
        let Ok(line) = line else { break };
        let Some((_, word)) = line.split_once(SAYS) else { continue };
        match word {
            "break" => site.break_down(),
            "heal" => site.heal(),
            report => observed = serde_json::from_str::<Value>(report).ok(),
        }
        let _ = to.write_all(b"go on\n");
    }
    let output = child.wait_with_output().unwrap();
    let Some(observed) = observed.filter(|_| output.status.success()) else {
        return Err(format!("the child failed: {}", String::from_utf8_lossy(&output.stderr)));
    };
    let text = |name: &str| observed[name].as_str().unwrap_or_default().to_owned();
    let attempts = observed["attempts"].as_u64().and_then(|attempts| u32::try_from(attempts).ok());
    let rows = observed["rows"].as_u64().and_then(|rows| usize::try_from(rows).ok()).unwrap_or_default();
    let observed = Observed { answer: text("answer"), attempts, delivery: text("delivery"), rows };
    check(row, call, outcomes, &observed, &site)
}

/// Runs the child's part. Does nothing if the environment names no cell.
pub fn run() {
    let (Ok(name), Ok(call)) = (env::var("A2A_FAULT"), env::var("A2A_FAULT_CALL")) else { return };
    let row = table::find(&name);
    let call = CALLS.into_iter().find(|one| one.name() == call).unwrap();
    let (url, dir) = (env::var("A2A_FAULT_URL").unwrap(), env::var("A2A_FAULT_DIR").unwrap());
    let mut site = There { url, machine: machine(&row).unwrap(), dir: dir.clone().into() };
    match caught(|| run_call(call, row.wait, row.upload, &mut site, Path::new(&dir))) {
        Ok(Observed { answer, attempts, delivery, rows }) => {
            let report = json!({ "answer": answer, "attempts": attempts, "delivery": delivery, "rows": rows });
            tell_parent(&report.to_string());
        }
        Err(why) => panic!("{why}"),
    }
}

/// The machine of this process, with a platform in the parent.
struct There {
    url: String,
    machine: Machine,
    dir: PathBuf,
}

impl There {
    /// Returns whether the fault has an effect. Without one the cell would prove nothing.
    fn is_broken(&self) -> bool {
        match self.machine {
            Machine::NoSuchName => (NAME, 80).to_socket_addrs().is_err(),
            // To check it would take as long as the fault lasts.
            Machine::SilentResolver => true,
            Machine::NoThreads => thread::Builder::new().spawn(|| ()).is_err(),
            Machine::NoDescriptors => File::open(&self.dir).is_err(),
            Machine::FullDisk => fs::write(self.dir.join("full"), "x").is_err(),
            Machine::StandingClock => {
                let (instant, time) = (Instant::now(), SystemTime::now());
                thread::sleep(Duration::from_millis(5));
                (instant, time) == (Instant::now(), SystemTime::now())
            }
        }
    }
}

impl Site for There {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn begins_well(&self) -> bool {
        true
    }

    fn break_down(&mut self) {
        tell_parent("break");
        break_down(self.machine, true);
        assert!(self.is_broken(), "{:?} has no effect", self.machine);
    }

    fn heal(&mut self) {
        break_down(self.machine, false);
        tell_parent("heal");
    }
}

/// Prints a word for the parent, and waits until the parent has read it.
fn tell_parent(word: &str) {
    println!("\n{SAYS}{word}");
    stdin().read_line(&mut String::new()).unwrap();
}
