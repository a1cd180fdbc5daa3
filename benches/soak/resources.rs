//! The resources that the process holds: memory, threads, file descriptors; and their slopes over time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed, Ordering::SeqCst};

use super::platform::Platform;

/// Number of bytes that are allocated and not freed.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, with a count of the live bytes.
pub struct CountingAllocator;

fn count(bytes: i64) {
    LIVE.fetch_add(bytes, Relaxed);
}

#[allow(unsafe_code, reason = "no allocator can be written without; the system's does all the work")]
// SAFETY: each call is passed on unchanged to the system's allocator, and counting allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller keeps the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the caller keeps the same contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The resources at one moment.
///
/// Threads and descriptors are counted without the platform's. Memory is that of the whole process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub seconds: f64,
    pub resident_kib: f64,
    pub live_kib: f64,
    pub descriptors: f64,
    pub threads: f64,
}

impl Sample {
    /// Takes a sample, `seconds` after the start. Returns `None` on a system without `/proc`.
    pub fn take(platform: &Platform, seconds: f64) -> Option<Self> {
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        let pages: f64 = statm.split(' ').nth(1)?.parse().ok()?;
        let connections = platform.connections.load(SeqCst) as f64;
        let entries = |dir: &str| Some(fs::read_dir(dir).ok()?.count() as f64);
        Some(Sample {
            seconds,
            resident_kib: pages * 4.0,
            live_kib: LIVE.load(Relaxed) as f64 / 1_024.0,
            // Without the descriptor of the folder that is being read.
            descriptors: entries("/proc/self/fd")? - 1.0 - connections,
            threads: entries("/proc/self/task")? - connections,
        })
    }
}

/// Returns the slope per minute of the last four fifths of a series, by the Theil-Sen estimator.
///
/// It is the median of the slopes between all pairs of samples that are `comparable`, so outliers do not move it:
/// <https://en.wikipedia.org/wiki/Theil%E2%80%93Sen_estimator>.
pub fn slope(series: &[Sample], comparable: impl Fn(&Sample, &Sample) -> bool, of: impl Fn(&Sample) -> f64) -> f64 {
    let rest = &series[series.len() / 5..];
    let mut slopes = Vec::new();
    for (n, a) in rest.iter().enumerate() {
        let others = rest[n + 1..].iter().filter(|b| comparable(a, b));
        slopes.extend(others.map(|b| (of(b) - of(a)) / (b.seconds - a.seconds) * 60.0));
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

/// Returns whether two samples have about as many connections and threads, so that they should hold as much memory.
///
/// A connection that is kept for the next request has buffers of 256 KiB, and phases of faults differ in their number.
pub fn have_equal_load(a: &Sample, b: &Sample) -> bool {
    (a.descriptors - b.descriptors).abs() <= 2.0 && (a.threads - b.threads).abs() <= 4.0
}

/// Returns the series with the resident memory above the peak of the live memory so far.
///
/// The allocator keeps memory that was live once, and reuses it.
pub fn above_live_peak(series: &[Sample]) -> Vec<Sample> {
    let mut peak: f64 = 0.0;
    let above = series.iter().map(|sample| {
        peak = peak.max(sample.live_kib);
        Sample { resident_kib: sample.resident_kib - peak, ..*sample }
    });
    above.collect()
}
