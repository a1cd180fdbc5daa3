//! One repetition: some milliseconds of calls, on one thread or two, and how much the machine disturbed them.

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use crate::ids::Walk;

/// The time that a candidate runs before it is measured, because another one has filled the caches of the CPU.
const WARM_UP: Duration = Duration::from_micros(500);
/// The time between two readings of the clock: long beside their cost, and short enough that two threads end together.
const CLOCK_INTERVAL: Duration = Duration::from_micros(10);

/// The result of one repetition.
#[derive(Debug, Clone, Copy)]
pub struct Repetition {
    /// Nanoseconds that a call took. With two threads, the nanoseconds of a call of each.
    pub nanos: f64,
    /// The share of the time in which the thread had its core, by the kernel's count.
    pub busy: f64,
}

/// A function that makes one call for each id of a batch.
pub type Run = Arc<dyn Fn(&[&'static str]) + Send + Sync>;

/// Returns the loop around a call. The call must return something small that it read from the record.
pub fn calls<T>(call: impl Fn(&str) -> T + Send + Sync + 'static) -> Run {
    Arc::new(move |ids| {
        for id in ids {
            black_box(call(black_box(id)));
        }
    })
}

/// Measures `work`, which returns the number of calls that it made.
pub fn timed(work: impl FnOnce() -> usize) -> Repetition {
    Timed::measure(work).repetition
}

struct Timed {
    start: Instant,
    end: Instant,
    repetition: Repetition,
}

impl Timed {
    fn measure(work: impl FnOnce() -> usize) -> Self {
        let (cpu, start) = (ThreadTime::now(), Instant::now());
        let calls = work();
        let (end, cpu) = (Instant::now(), cpu.elapsed());
        let wall = end - start;
        let busy = cpu.as_secs_f64() / wall.as_secs_f64();
        Timed { start, end, repetition: Repetition { nanos: wall.as_nanos() as f64 / calls as f64, busy } }
    }
}

/// Makes calls until `length` has passed, and reads the clock once in `batch` calls. Returns the number of calls.
fn run_for(run: &Run, walk: &mut Walk, batch: usize, length: Duration) -> usize {
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed() < length {
        let ids = walk.batch(batch);
        run(ids);
        calls += ids.len();
    }
    calls
}

/// Warms the CPU's caches up. Returns the number of calls in a [`CLOCK_INTERVAL`].
fn warm_up(run: &Run, walk: &mut Walk) -> usize {
    let calls = run_for(run, walk, 16, WARM_UP) as u32;
    (CLOCK_INTERVAL * calls).div_duration_f64(WARM_UP) as usize + 1
}

/// Measures one repetition on this thread.
pub fn one(run: &Run, walk: &mut Walk, length: Duration) -> Repetition {
    let batch = warm_up(run, walk);
    timed(|| run_for(run, walk, batch, length))
}

type Job = Box<dyn FnOnce() -> Timed + Send>;

/// This thread and another one, which lives on from one repetition to the next, as pollers do.
pub struct Pair {
    jobs: Sender<Job>,
    done: Receiver<Timed>,
}

impl Default for Pair {
    fn default() -> Self {
        let (jobs, queue) = channel::<Job>();
        let (report, done) = channel();
        // It never sleeps: the kernel would wake it on the core of the thread that wakes it, to run after that one.
        thread::spawn(move || {
            loop {
                match queue.try_recv() {
                    Ok(job) => report.send(job()).unwrap_or(()),
                    Err(TryRecvError::Empty) => spin_loop(),
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        });
        Pair { jobs, done }
    }
}

impl Pair {
    /// Measures one repetition on both threads at once.
    pub fn both(&self, run: &Run, walks: &mut [Walk; 2], length: Duration) -> Repetition {
        let ready = Arc::new(AtomicUsize::new(0));
        let side = |walk: &Walk| {
            let (run, ready, mut walk) = (run.clone(), ready.clone(), walk.clone());
            move || {
                let batch = warm_up(&run, &mut walk);
                ready.fetch_add(1, Ordering::SeqCst);
                while ready.load(Ordering::SeqCst) < 2 {
                    spin_loop();
                }
                Timed::measure(|| run_for(&run, &mut walk, batch, length))
            }
        };
        let (mut here, there) = (side(&walks[0]), side(&walks[1]));
        self.jobs.send(Box::new(there)).unwrap();
        let (a, b) = (here(), self.done.recv().unwrap());
        // Each repetition starts at another position in the order.
        for walk in walks {
            walk.batch(1_000);
        }
        // Two threads on one core would run one after the other, and each would still seem undisturbed.
        let together = a.end.min(b.end).saturating_duration_since(a.start.max(b.start));
        let longest = (a.end - a.start).max(b.end - b.start);
        let overlap = together.as_secs_f64() / longest.as_secs_f64();
        let (a, b) = (a.repetition, b.repetition);
        // From the number of calls of both together, so that each call of the slower thread counts only once.
        Repetition { nanos: 2.0 / (1.0 / a.nanos + 1.0 / b.nanos), busy: a.busy.min(b.busy).min(overlap) }
    }
}
