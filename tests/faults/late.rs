//! How late threads wake on this machine: by what a bound may be overrun where others want its cores, too.

use std::sync::{Mutex, Once};
use std::thread;
use std::time::Duration;

use crate::machine;

const STEP: Duration = Duration::from_millis(5);
/// Less than this is no lateness that matters.
const NOTICED: Duration = Duration::from_millis(20);

static SEEN: Mutex<Seen> = Mutex::new(Seen { woke: Duration::ZERO, late: Vec::new() });

struct Seen {
    /// When the thread that watches last woke.
    woke: Duration,
    /// When it woke late, and by how much.
    late: Vec<(Duration, Duration)>,
}

/// Begins to watch: before a machine breaks that may have no thread to give then.
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

/// By how much a thread has been late at the most since `start`.
pub fn since(start: Duration) -> Duration {
    let seen = SEEN.lock().unwrap();
    let pending = (machine::now() - seen.woke).saturating_sub(STEP);
    let late = seen.late.iter().rev().take_while(|(at, _)| *at >= start).map(|(_, by)| *by);
    late.chain([pending]).max().unwrap_or_default()
}
