//! Measures the delay with which threads wake on this machine. A bound may be exceeded by that where other processes use the processors.

use std::sync::{Mutex, Once};
use std::thread;
use std::time::Duration;

use crate::machine;

const STEP: Duration = Duration::from_millis(5);
/// Shorter delays are ignored.
const NOTICED: Duration = Duration::from_millis(20);

static SEEN: Mutex<Seen> = Mutex::new(Seen { woke: Duration::ZERO, late: Vec::new() });

struct Seen {
    /// Time at which the watching thread last woke.
    woke: Duration,
    /// Times at which it woke late, with the delay.
    late: Vec<(Duration, Duration)>,
}

/// Starts the watching thread. Called before the fault, which may leave no thread to start.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        SEEN.lock().unwrap().woke = machine::now();
        thread::spawn(|| {
            loop {
                thread::sleep(STEP);
                let mut seen = SEEN.lock().unwrap();
                let now = machine::now();
                let by = (now - seen.woke).saturating_sub(STEP);
                seen.woke = now;
                if by > NOTICED {
                    seen.late.push((now, by));
                }
            }
        });
    });
}

/// Returns the longest delay of a thread since `start`.
pub fn since(start: Duration) -> Duration {
    let seen = SEEN.lock().unwrap();
    let pending = (machine::now() - seen.woke).saturating_sub(STEP);
    let late = seen.late.iter().rev().take_while(|(at, _)| *at >= start).map(|(_, by)| *by);
    late.chain([pending]).max().unwrap_or_default()
}
