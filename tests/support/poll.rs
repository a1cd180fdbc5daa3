//! Helpers of the tests of pollers: a poller without waits, what it delivers, and the log.
#![allow(unreachable_pub, reason = "a module of test binaries")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread::{self, ThreadId};
use std::time::Duration;

use a2a_blocking::{InboxMessage, InboxPoller, PollerBuilder, RetryPolicy, Verdict};
use serde_json::{Value, json};

use crate::support::platform::micros;
use crate::support::{Server, client};

static LOGGED: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // The lines of deliveries and messages are captured with what is only at debug level.
        let is_of_a_message =
            ["deliver", "message", "verdict"].iter().any(|part| metadata.target().contains(&format!("inbox::{part}")));
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

/// Reads the cursor file, as the object that release 0.1 wrote. A test may write that back.
///
/// The checksums are not compared: that is up to the poller.
pub fn saved(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap();
    if text.starts_with('{') {
        return serde_json::from_str(&text).unwrap();
    }
    let mut saved = json!({ "version": 1, "anchor": null, "floor": null, "tries": {}, "snapshot": false });
    let mut acked = BTreeMap::<String, i64>::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line.splitn(3, ' ').nth(2).unwrap()).unwrap();
        for (key, value) in line.as_object().unwrap() {
            match key.as_str() {
                "workspace" | "anchor" | "floor" => saved[key] = value.clone(),
                "tries" => saved["tries"][value[0].as_str().unwrap()] = value[1].clone(),
                "handled" => {
                    let (id, at) = (value[0].as_str().unwrap(), value[1].as_i64().unwrap());
                    saved["tries"].as_object_mut().unwrap().remove(id);
                    acked.entry(id.to_owned()).and_modify(|known| *known = at.max(*known)).or_insert(at);
                }
                "version" => assert_eq!(value, 2),
                // Release 0.1 has none of them.
                "listed" => assert!(value.is_string()),
                "message" => assert!(value.is_array()),
                "key" => assert_eq!(value.as_str().unwrap().len(), 32),
                "acked_seq" => assert!(value.is_i64()),
                "broadcasts" => assert!(value.is_array()),
                other => panic!("no {other} is expected"),
            }
        }
    }
    let from = saved["anchor"].get(1).or(saved.get("floor")).and_then(Value::as_str).map(nanos);
    let mut acked: Vec<(i64, String)> = acked.into_iter().map(|(id, at)| (at, id)).collect();
    acked.sort();
    acked.retain(|(at, _)| from.is_none_or(|from| *at >= from));
    saved["acked"] = acked.into_iter().map(|(at, id)| json!([id, at])).collect();
    saved
}

/// Returns the nanoseconds since 1970 of a time in April or May 2026, in which all times of these tests are.
fn nanos(time: &str) -> i64 {
    const MAY: i64 = 1_777_593_600;
    let month = if time.starts_with("2026-04") { MAY - 30 * 86_400 } else { MAY };
    month * 1_000_000_000 + micros(time) * 1_000 + time[26..29].parse::<i64>().unwrap()
}
