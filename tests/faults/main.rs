//! Every call against every fault.
//!
//! The table in [`table`] is written by hand. `tests/faults/README.md` is generated from it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(unreachable_pub, reason = "the modules of a test binary")]

mod calls;
mod cell;
mod child;
mod large;
mod late;
mod machine;
mod peer;
mod readme;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cell::{CALLS, Call, Cell, Row, Wait};
use run::Here;
use support::Dir;

/// Time without a result after which the test fails: twice the longest cell, on a machine that is busy with other
/// things.
const STALLED: Duration = Duration::from_secs(120);
/// Number of cells that run at the same time and wait for no timeout.
const BUSY: usize = 4;

type Job = (Row, Call);
type Report = (String, Result<(), String>);

#[test]
fn every_call_meets_every_fault_as_the_table_says() {
    let table = table::table();
    let names: BTreeSet<&str> = table.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), table.len(), "two rows have one name");
    let jobs: Vec<Job> = table.iter().flat_map(|row| CALLS.map(|call| (row.clone(), call))).collect();
    for job in &jobs {
        if let Cell::Pointless(why) = job.0.cell(job.1) {
            println!("left out: {}: {why}", title(job));
        }
    }
    let jobs = jobs.into_iter().filter(|(row, call)| run::is_run(row, *call));
    let (jobs, left_out): (Vec<Job>, Vec<Job>) =
        jobs.partition(|(row, _)| machine::CAN_BREAK || child::machine(row).is_none());
    println!("{} cells", jobs.len());
    for job in &left_out {
        println!("left out: {}: only on Linux with glibc can this machine be made to break", title(job));
    }
    let expected: BTreeSet<String> = jobs.iter().map(title).collect();
    let (waiting, busy): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|(row, _)| row.wait != Wait::Quick);
    let (report, reports) = mpsc::channel();
    // A cell that waits for a timeout costs a thread and nothing else.
    for job in waiting {
        run_all(vec![job], report.clone());
    }
    let queue = Arc::new(Mutex::new(busy));
    for _ in 0..BUSY {
        let (queue, report) = (queue.clone(), report.clone());
        thread::spawn(move || {
            while let Some(job) = { queue.lock().unwrap().pop() } {
                let _ = report.send((title(&job), cell(&job)));
            }
        });
    }
    drop(report);
    conclude(expected, &reports);
}

/// Uses one server per call for all statuses.
#[test]
fn every_call_meets_every_status_as_the_table_says() {
    let rows = table::statuses();
    let expected = rows.iter().flat_map(|row| CALLS.map(|call| title(&(row.clone(), call)))).collect();
    let (report, reports) = mpsc::channel();
    for call in CALLS {
        let (rows, report) = (rows.clone(), report.clone());
        thread::spawn(move || {
            let (mut site, dir) = (Here::new(&rows[0].fault), Dir::new("statuses"));
            for row in rows {
                let outcome = run::here(&row, call, &mut site, &dir.0);
                let _ = report.send((title(&(row, call)), outcome));
            }
        });
    }
    drop(report);
    conclude(expected, &reports);
}

/// Not a part of the table: the results are those of smaller answers.
#[test]
fn every_call_ends_in_time_with_its_largest_answers() {
    large::check();
    large::check_further();
}

/// Runs a cell in a child process whose machine is broken.
#[test]
fn child() {
    child::run();
}

#[test]
fn readme_has_the_table() {
    readme::check();
}

fn title((row, call): &Job) -> String {
    format!("{}, {}", call.name(), row.name)
}

fn run_all(jobs: Vec<Job>, report: Sender<Report>) {
    thread::spawn(move || {
        for job in jobs {
            let _ = report.send((title(&job), cell(&job)));
        }
    });
}

fn cell((row, call): &Job) -> Result<(), String> {
    let dir = Dir::new("fault");
    if child::machine(row).is_some() {
        return run::caught(|| child::run_in_child(row, *call, &dir.0)).and_then(|outcome| outcome);
    }
    run::here(row, *call, &mut Here::new(&row.fault), &dir.0)
}

/// Waits for all cells, then fails with a list of those that differ from the table.
fn conclude(mut left: BTreeSet<String>, reports: &mpsc::Receiver<Report>) {
    let mut wrong = Vec::new();
    while !left.is_empty() {
        match reports.recv_timeout(STALLED) {
            Ok((title, outcome)) => {
                left.remove(&title);
                wrong.extend(outcome.err().map(|why| format!("{title}: {why}")));
            }
            Err(_) => panic!("these do not end: {left:?}\n{}", wrong.join("\n")),
        }
    }
    assert!(wrong.is_empty(), "{} cells differ from the table:\n{}", wrong.len(), wrong.join("\n"));
}
