//! `demo`: an embedded platform, and the pollers of two workspaces.
//!
//! The callbacks look up each sender and answer some messages. Meanwhile the registry stops answering for a while, and
//! some callbacks fail.

mod event;
mod platform;
mod poller;
mod senders;
mod summary;

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::PollerHandle;

use crate::exit::{CommandFailure, ExitStatus, on_interrupt};
use crate::temp_dir::TempDir;
use crate::text::{format_duration, json_line};
use event::{CallbackRecord, DemoEvent};
use platform::{DemoPlatform, WORKSPACES};
use poller::spawn_poller;
use senders::{MESSAGES_PER_WORKSPACE, write_messages};
use summary::DemoSummary;

/// Time limit of the demo. A message that has not arrived by then is lost.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Runs the demo. The exit status says whether a message was lost, delivered twice, or garbled.
pub(crate) fn run(as_json: bool, out: &mut impl Write) -> Result<ExitStatus, CommandFailure> {
    let (sender, events) = mpsc::channel();
    let interrupted = sender.clone();
    // Before the directory is created: Ctrl-C must not leave it behind. The send fails once the demo is over.
    on_interrupt(move || drop(interrupted.send(DemoEvent::Interrupted)))?;
    let platform = Arc::new(DemoPlatform::start()?);
    let dir = TempDir::create("demo")
        .map_err(|error| CommandFailure::Internal(format!("cannot create a directory for the cursors: {error}")))?;
    let table = CallbackRecord::table();
    if !as_json {
        let (url, peers) = (platform.url(), platform.peers());
        writeln!(out, "an embedded platform at {url}, two workspaces, {peers} peers: one removed, one unknown")?;
        table.print_heading(out)?;
    }
    let start = Instant::now();
    let mut pollers = Vec::new();
    for workspace in 0..WORKSPACES {
        pollers.push(spawn_poller(&platform, dir.path(), workspace, start, &sender)?);
    }
    let senders_platform = platform.clone();
    thread::Builder::new().name("senders".into()).spawn(move || write_messages(&senders_platform, &sender))?;

    let mut records = Vec::new();
    let mut unhandled = MESSAGES_PER_WORKSPACE * WORKSPACES;
    while unhandled > 0 {
        match events.recv_timeout(TIME_LIMIT.saturating_sub(start.elapsed())) {
            Ok(DemoEvent::Handled(record)) => {
                if as_json {
                    record.print_json(out)?;
                } else {
                    record.print_row(&table, out)?;
                }
                unhandled -= usize::from(record.is_final());
                records.push(record);
            }
            Ok(DemoEvent::RegistryUp | DemoEvent::RegistryDown) if as_json => {}
            Ok(DemoEvent::RegistryUp) => {
                writeln!(out, "{:>7}  the registry answers again", format_duration(start.elapsed()))?;
            }
            Ok(DemoEvent::RegistryDown) => {
                writeln!(out, "{:>7}  the registry stops answering", format_duration(start.elapsed()))?;
            }
            Ok(DemoEvent::Interrupted) => {
                pollers.iter().for_each(PollerHandle::stop);
                return Ok(ExitStatus::Interrupted);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    pollers.iter().for_each(PollerHandle::stop);
    let summary = DemoSummary::new(&records, &platform, start.elapsed());
    if as_json {
        writeln!(out, "{}", json_line(&summary.as_json()))?;
    } else {
        summary.print(out)?;
    }
    Ok(if summary.is_clean() { ExitStatus::Done } else { ExitStatus::Failed })
}
