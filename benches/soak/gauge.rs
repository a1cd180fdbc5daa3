//! What the process holds: memory, threads, file descriptors; and whether that is a flat line.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed, Ordering::SeqCst};

use super::platform::Platform;

static LIVE: AtomicI64 = AtomicI64::new(0);

/// Counts the bytes that are allocated and not freed yet.
pub struct Counting;

fn count(bytes: i64) {
    LIVE.fetch_add(bytes, Relaxed);
}

#[allow(unsafe_code, reason = "an allocator cannot be written without; all of it is the system's")]
// SAFETY: each call is handed on to the system's allocator as it came, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the caller's own promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What is held at one moment. The threads and descriptors are those that are not the platform's; the memory is all of
/// the process's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub seconds: f64,
    pub resident_kib: f64,
    pub live_kib: f64,
    pub descriptors: f64,
    pub threads: f64,
}

impl Sample {
    /// `None` where the system does not say.
    pub fn take(platform: &Platform, seconds: f64) -> Option<Self> {
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        let pages: f64 = statm.split(' ').nth(1)?.parse().ok()?;
        let theirs = platform.connections.load(SeqCst) as f64;
        let entries = |dir: &str| Some(fs::read_dir(dir).ok()?.count() as f64);
        Some(Sample {
            seconds,
            resident_kib: pages * 4.0,
            live_kib: LIVE.load(Relaxed) as f64 / 1_024.0,
            // But for the one by which they are counted.
            descriptors: entries("/proc/self/fd")? - 1.0 - theirs,
            threads: entries("/proc/self/task")? - theirs,
        })
    }
}

/// The slope of the last four fifths of a series, a minute: the median of the slopes between all pairs of its
/// points that are `alike` (Theil-Sen), which no outlier moves.
pub fn slope(series: &[Sample], alike: impl Fn(&Sample, &Sample) -> bool, of: impl Fn(&Sample) -> f64) -> f64 {
    let rest = &series[series.len() / 5..];
    let mut slopes = Vec::new();
    for (n, a) in rest.iter().enumerate() {
        let others = rest[n + 1..].iter().filter(|b| alike(a, b));
        slopes.extend(others.map(|b| (of(b) - of(a)) / (b.seconds - a.seconds) * 60.0));
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

/// Whether so many connections and threads are there in both that they should hold about the same: a connection that
/// is kept for the next request has buffers of 256 KiB, and a phase of faults has more or fewer of them.
pub fn are_alike(a: &Sample, b: &Sample) -> bool {
    (a.descriptors - b.descriptors).abs() <= 2.0 && (a.threads - b.threads).abs() <= 4.0
}

/// The series with what is resident above the most that was live until then: what was live once the allocator keeps,
/// and gives it out again.
pub fn above_the_peak(series: &[Sample]) -> Vec<Sample> {
    let mut peak: f64 = 0.0;
    let above = series.iter().map(|sample| {
        peak = peak.max(sample.live_kib);
        Sample { resident_kib: sample.resident_kib - peak, ..*sample }
    });
    above.collect()
}
