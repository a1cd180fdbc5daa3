//! What tests of pollers share: one that waits for nothing, what it delivers, and the log.
#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use a2a_blocking::{InboxMessage, InboxPoller, PollerBuilder, RetryPolicy, Verdict};
use serde_json::Value;

use crate::support::{Server, client};

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// How often something was logged: tests of one process share the log, so the words name the test's own file or
/// times.
pub fn logged(all_of: &[&str]) -> usize {
    LOGGED.lock().unwrap().iter().filter(|line| all_of.iter().all(|words| line.contains(words))).count()
}

pub fn brisk(server: &Server, file: &Path) -> PollerBuilder {
    let _ = log::set_logger(&Capture);
    log::set_max_level(log::LevelFilter::Info);
    let retry = RetryPolicy::new().with_base(Duration::from_millis(1)).with_cap(Duration::from_millis(4));
    InboxPoller::builder(client(server)).cursor_file(file).retry(retry)
}

/// Polls until there is no more at once: what was delivered.
pub fn drain(poller: &mut InboxPoller) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..2_000 {
        let polled = poller.poll_once(|push: &InboxMessage| {
            texts.push(push.text().to_owned());
            Verdict::Ack
        });
        if !polled.unwrap().has_more {
            return texts;
        }
    }
    panic!("it goes round for ever: {} pushes", texts.len());
}

pub fn saved(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}
