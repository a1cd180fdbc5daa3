//! The table of a run, and its targets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::counters::{Histogram, Violation};
use super::resources::{Sample, above_live_peak, have_equal_load, slope};
use super::settings::{LOOKUP, TTL};
use super::soak::Soak;
use super::state::{SHARED, WORKSPACES};

/// Shortest run, in seconds, whose slopes are meaningful. In a shorter one the faults follow each other at once.
const LONG_RUN: u64 = 300;
/// Live memory that may remain at the end: what the process keeps once for each thread and each regular expression.
const MAX_LEFT_KIB: f64 = 256.0;

/// The outcome of a run, beside the counters.
pub struct RunResult {
    pub seconds: u64,
    /// Number of rows that callbacks had to get, over all pollers.
    pub committed: u64,
    /// Number of those rows that did not arrive.
    pub lost: u64,
    /// Time from the end of the script to the last row.
    pub drain: Duration,
    /// One sample for each second.
    pub series: Vec<Sample>,
    /// Before the first client.
    pub before: Option<Sample>,
    /// After the last client.
    pub after: Option<Sample>,
}

/// Prints the table and the targets. Returns whether all targets were met.
pub fn print(result: &RunResult, soak: &Soak) -> bool {
    print_table(result, soak);
    let targets = targets(result, soak);
    for (target, met) in &targets {
        println!("    target: {target}: {}", if *met { "met" } else { "NOT MET" });
    }
    let met = targets.iter().filter(|(_, met)| *met).count();
    println!("\ntargets met: {met} of {}", targets.len());
    met == targets.len()
}

fn number(n: &AtomicU64) -> u64 {
    n.load(Relaxed)
}

fn print_table(result: &RunResult, soak: &Soak) {
    let (counters, platform) = (&soak.counters, &soak.platform);
    println!(
        "{} s, seed {}: {} pollers of {WORKSPACES} workspaces, {} phases of faults, a TTL of {TTL:?}\n",
        result.seconds,
        soak.seed,
        WORKSPACES + SHARED,
        soak.script.len(),
    );
    let row = |name: &str, value: String| println!("{name:44} {value}");
    let times = |times: &Histogram| {
        // The first bucket holds times of zero.
        let [median, p99] = [0.5, 0.99].map(|part| times.quantile(part).saturating_sub(Duration::from_nanos(5)));
        format!("{}, median {median:.1?}, 99 % {p99:.1?}, longest {:.1?}", times.count(), times.longest())
    };
    let (acked, dead) = (number(&counters.acked), number(&counters.dead_letters));
    let (failed, drain) = (number(&counters.sends_failed), result.drain);
    row("rows for callbacks", format!("{}, the last {drain:.1?} after the end", result.committed));
    row("acked, dead-lettered, retried", format!("{acked}, {dead}, {}", number(&counters.retried)));
    row("requests, with a fault", format!("{}, {}", number(&platform.requests), number(&platform.faults)));
    row("clients made and dropped", number(&counters.clients).to_string());
    row("enrich", times(&counters.enrich));
    row("   of these without an answer", number(&counters.unknown).to_string());
    row("enrich_nonblocking", times(&counters.nonblocking));
    row("records behind the platform", times(&counters.behind));
    row("   of these on a healthy platform", times(&counters.behind_healthy));
    row("sends, replies", format!("{failed} of them failed; {}", times(&counters.sends)));
    row("sends beyond their budget", times(&counters.overrun));
    if counters.overrun.longest() > soak.noise() {
        row("   the longest", counters.longest_overrun.lock().clone());
    }
    row("from a cancel to the send's end", times(&counters.cancels));
    row("to stop a poller", times(&counters.stops));
    row("lateness of the scheduler", times(&soak.lateness));
    print_resources(result);
    println!();
}

fn print_resources(result: &RunResult) {
    let print = |when: &str, sample: Option<&Sample>| {
        let Some(sample) = sample else { return };
        let Sample { resident_kib, live_kib, descriptors, threads, .. } = sample;
        let resident = resident_kib / 1_024.0;
        let value =
            format!("{threads} threads, {descriptors} descriptors, {live_kib:.0} KiB live, {resident:.1} MiB resident");
        println!("{:44} {value}", format!("held {when}"));
    };
    print("before the first client", result.before.as_ref());
    print("after a fifth of the time", result.series.get(result.series.len() / 5));
    print("at the end of it", result.series.last());
    print("after the last client", result.after.as_ref());
}

/// Returns each target, and whether it was met.
fn targets(result: &RunResult, soak: &Soak) -> Vec<(String, bool)> {
    let counters = &soak.counters;
    // A waiting thread may be this late on a shared machine, and later in a smoke run beside other builds.
    let slack = Duration::from_millis(if result.seconds >= LONG_RUN { 100 } else { 250 }) + soak.noise();
    // A client's first call starts threads, and one call in a hundred may meet the scheduler.
    let brief = Duration::from_millis(5) + soak.lateness.quantile(0.99);
    let within = |times: &Histogram, bound: Duration| times.longest() <= bound + slack;
    let none = |kinds: &[Violation]| kinds.iter().all(|kind| counters.count(*kind) == 0);
    let (checks, excused) = (number(&counters.healthy_checks), counters.count(Violation::Excused));
    let RunResult { committed, lost, .. } = *result;
    let mut targets: Vec<(String, bool)> = vec![
        ("no row lost".into(), lost == 0 && committed > 0 && none(&[Violation::Order])),
        ("none out of order, none twice but those to be retried".into(), none(&[Violation::Order, Violation::Repeat])),
        (format!("enrich within {LOOKUP:?} (and {slack:.0?} for the scheduler)"), within(&counters.enrich, LOOKUP)),
        ("at most three stalls per outage and thread".into(), counters.max_stalls.load(Relaxed) <= 3),
        (
            format!("enrich_nonblocking: 99 % within {brief:.1?}, all within {slack:.0?}"),
            counters.nonblocking.quantile(0.99) <= brief && within(&counters.nonblocking, Duration::ZERO),
        ),
        (format!("each send within its budget (and {slack:.0?})"), within(&counters.overrun, Duration::ZERO)),
        (format!("a cancel ends a send within {slack:.0?}"), within(&counters.cancels, Duration::ZERO)),
        (
            // A callback may look a peer up, and its own send takes at most a second.
            format!("a poller stops within its callback's lookup and second (and {slack:.0?})"),
            within(&counters.stops, LOOKUP + Duration::from_secs(1)),
        ),
        (
            format!("on a healthy platform each of {checks} records less than its TTL behind ({excused} excused)"),
            none(&[Violation::Stale]) && checks > 0 && excused * 10 <= checks,
        ),
        ("none older than outages, forget and the negative TTL allow".into(), none(&[Violation::TooOld])),
        ("no send reported a wrong delivery".into(), none(&[Violation::Delivery])),
        (
            "no panic, no unexpected error, none in the log but of a fault".into(),
            none(&[Violation::Panic, Violation::Kind, Violation::Log]),
        ),
    ];
    targets.extend(resource_targets(result));
    targets
}

fn resource_targets(result: &RunResult) -> Vec<(String, bool)> {
    let mut targets = Vec::new();
    if result.seconds >= LONG_RUN && !result.series.is_empty() {
        for (name, max, slope) in slopes(&result.series) {
            targets.push((format!("{name}: a slope of {slope:+.2} a minute, at most {max}"), slope <= max));
        }
    }
    if let Some((before, after)) = result.before.zip(result.after) {
        let are_gone = after.threads <= before.threads && after.descriptors <= before.descriptors;
        targets.push(("no thread and no descriptor left after the last client".into(), are_gone));
        let left = after.live_kib - before.live_kib;
        targets.push((format!("no memory left: {left:+.0} KiB, at most {MAX_LEFT_KIB}"), left <= MAX_LEFT_KIB));
    }
    targets
}

/// Returns the name of each slope, its largest allowed value, and its value per minute.
fn slopes(series: &[Sample]) -> [(&'static str, f64, f64); 4] {
    let all = |_: &Sample, _: &Sample| true;
    [
        ("threads", 0.5, slope(series, all, |sample| sample.threads)),
        ("descriptors", 0.5, slope(series, all, |sample| sample.descriptors)),
        ("KiB live at as many connections", 256.0, slope(series, have_equal_load, |sample| sample.live_kib)),
        (
            "KiB resident above the live peak",
            1_024.0,
            slope(&above_live_peak(series), all, |sample| sample.resident_kib),
        ),
    ]
}
