//! Helpers of the tests of pollers: a poller without waits, what it delivers, and the log.
#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread::{self, ThreadId};
use std::time::Duration;

use a2a_blocking::{InboxMessage, InboxPoller, PollerBuilder, RetryPolicy, Verdict};
use serde_json::Value;

use crate::support::{Server, client};

static LOGGED: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // The lines of deliveries and messages are captured with what is only at debug level.
        let is_of_a_message =
            ["deliver", "message"].iter().any(|part| metadata.target().contains(&format!("inbox::{part}")));
        metadata.level() <= if is_of_a_message { log::Level::Debug } else { log::Level::Info }
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level(), record.args());
            LOGGED.lock().unwrap().push((thread::current().id(), line));
        }
    }

    fn flush(&self) {}
}

/// Returns how many lines with all of these words this thread has logged.
///
/// Only this thread counts, because other tests of the process log at the same time. `poll_once` logs on the thread
/// that calls it.
pub fn logged(all_of: &[&str]) -> usize {
    let own = thread::current().id();
    LOGGED.lock().unwrap().iter().filter(|(thread, line)| *thread == own && has_all(line, all_of)).count()
}

/// Returns how many lines with all of these words any thread has logged.
///
/// For pollers on their own threads. The words must name something of the test, such as its server's address.
pub fn logged_by_any_thread(all_of: &[&str]) -> usize {
    LOGGED.lock().unwrap().iter().filter(|(_, line)| has_all(line, all_of)).count()
}

fn has_all(line: &str, words: &[&str]) -> bool {
    words.iter().all(|word| line.contains(word))
}

/// Captures the log of this process from now on.
pub fn capture_log() {
    let _ = log::set_logger(&Capture);
    log::set_max_level(log::LevelFilter::Debug);
}

/// Returns the builder of a poller with short waits. Its log is captured.
pub fn fast_poller(server: &Server, file: &Path) -> PollerBuilder {
    capture_log();
    let retry = RetryPolicy::new().with_base(Duration::from_millis(1)).with_cap(Duration::from_millis(4));
    InboxPoller::builder(client(server)).cursor_file(file).retry(retry)
}

/// Polls until there are no more rows, and returns their texts.
pub fn drain(poller: &mut InboxPoller) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..2_000 {
        let polled = poller.poll_once(|message: &InboxMessage| {
            texts.push(message.text().to_owned());
            Verdict::Ack
        });
        if !polled.unwrap().has_more {
            return texts;
        }
    }
    panic!("it polls for ever: {} messages", texts.len());
}

/// Reads the cursor file.
pub fn saved(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}
