//! The table, and the targets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::gauge::{Sample, above_the_peak, are_alike, slope};
use super::ledger::{SHARED, WORKSPACES};
use super::station::lock;
use super::tally::{Times, Wrong};
use super::watch::{LOOKUP, TTL};
use super::world::Soak;

/// From how many seconds on a run is a long one, whose slopes say something: shorter ones are one fault after another.
const LONG_FROM: u64 = 300;
/// How much live memory may be left in the end: what the process keeps for each thread and each expression, once.
const LEFT_KIB: f64 = 256.0;

pub struct Run {
    pub seconds: u64,
    pub committed: u64,
    pub lost: u64,
    pub drain: Duration,
    pub series: Vec<Sample>,
    /// With no client there, before and after.
    pub before: Option<Sample>,
    pub after: Option<Sample>,
}

/// Prints all of it. Whether all targets were met.
pub fn print(run: &Run, soak: &Soak) -> bool {
    let (tally, platform) = (&soak.tally, &soak.platform);
    let number = |n: &AtomicU64| n.load(Relaxed);
    let Run { seconds, committed, lost, drain, series, .. } = run;
    let noise = soak.noise();
    println!(
        "{seconds} s, seed {}: {} pollers of {WORKSPACES} workspaces, {} phases of faults, a TTL of {TTL:?}\n",
        soak.seed,
        WORKSPACES + SHARED,
        soak.script.len(),
    );
    let row = |what: &str, said: String| println!("{what:44} {said}");
    let times = |times: &Times| {
        // Nothing at all is in the first bucket.
        let [half, most] = [0.5, 0.99].map(|part| times.quantile(part).saturating_sub(Duration::from_nanos(5)));
        format!("{}, median {half:.1?}, 99 % {most:.1?}, longest {:.1?}", times.count(), times.longest())
    };
    row("rows that callbacks were to have", format!("{committed}, the last {drain:.1?} after the end"));
    row(
        "acked, given up, tried again",
        format!("{}, {}, {}", number(&tally.delivered), number(&tally.dead), number(&tally.again)),
    );
    row(
        "requests, answered badly or not at all",
        format!("{}, {}", number(&platform.requests), number(&platform.faults)),
    );
    row("clients made and dropped", number(&tally.clients).to_string());
    row("enrich", times(&tally.enrich));
    row("   of these without an answer", number(&tally.unknown).to_string());
    row("enrich_nonblocking", times(&tally.nonblocking));
    row("records behind the platform", times(&tally.behind));
    row("   of these on a calm platform", times(&tally.behind_calm));
    row("sends, replies", format!("{} of them failed; {}", number(&tally.sends_failed), times(&tally.sends)));
    row("sends beyond their budget", times(&tally.overrun));
    if tally.overrun.longest() > noise {
        row("   the longest", lock(&tally.latest).clone());
    }
    row("from a cancel to the send's end", times(&tally.cancels));
    row("to stop a poller", times(&tally.stops));
    row("the scheduler was late", times(&soak.lateness));
    held(run);
    println!();

    // A thread that waits is late by so much and more on a machine that has others to serve, as a smoke run's has.
    let slack = Duration::from_millis(if *seconds >= LONG_FROM { 100 } else { 250 }) + noise;
    // The first call of a client starts threads; and in one of a hundred the scheduler may take what it takes.
    let brief = Duration::from_millis(5) + soak.lateness.quantile(0.99);
    let bound = |times: &Times, bound: Duration| times.longest() <= bound + slack;
    let none = |wrongs: &[Wrong]| wrongs.iter().all(|wrong| tally.count(*wrong) == 0);
    let (calm, excused) = (number(&tally.calm), tally.count(Wrong::Excused));
    let mut targets: Vec<(String, bool)> = vec![
        ("no row lost".into(), *lost == 0 && *committed > 0 && none(&[Wrong::Order])),
        ("none out of order, none twice but those to be tried again".into(), none(&[Wrong::Order, Wrong::Repeat])),
        (format!("enrich inside its {LOOKUP:?} (and {slack:.0?} of the scheduler's)"), bound(&tally.enrich, LOOKUP)),
        ("three stalls an outage and thread".into(), tally.stalls.load(Relaxed) <= 3),
        (
            format!("enrich_nonblocking: 99 % inside {brief:.1?}, all inside {slack:.0?}"),
            tally.nonblocking.quantile(0.99) <= brief && bound(&tally.nonblocking, Duration::ZERO),
        ),
        (format!("each send inside its budget (and {slack:.0?})"), bound(&tally.overrun, Duration::ZERO)),
        (format!("a cancel ends a send inside {slack:.0?}"), bound(&tally.cancels, Duration::ZERO)),
        (
            // A callback's own send has a second at the most.
            format!("a poller stops inside its callback's second (and {slack:.0?})"),
            bound(&tally.stops, LOOKUP + Duration::from_secs(1)),
        ),
        (
            format!("on a calm platform each of {calm} records less than its TTL behind ({excused} excused)"),
            none(&[Wrong::Stale]) && calm > 0 && excused * 10 <= calm,
        ),
        ("none older than outages, forget and the negative TTL allow".into(), none(&[Wrong::Old])),
        ("no send told a lie about its delivery".into(), none(&[Wrong::Delivery])),
        ("no panic, no unexpected error, none in the log".into(), none(&[Wrong::Panic, Wrong::Kind, Wrong::Log])),
    ];
    if *seconds >= LONG_FROM && !series.is_empty() {
        for (what, most, slope) in slopes(series) {
            targets.push((format!("{what}: a slope of {slope:+.2} a minute, at most {most}"), slope <= most));
        }
    }
    if let Some((before, after)) = run.before.zip(run.after) {
        let gone = after.threads <= before.threads && after.descriptors <= before.descriptors;
        targets.push(("no thread and no descriptor left with the last client".into(), gone));
        let left = after.live_kib - before.live_kib;
        targets.push((format!("no memory left: {left:+.0} KiB, at most {LEFT_KIB}"), left <= LEFT_KIB));
    }
    for (what, met) in &targets {
        println!("    target: {what}: {}", if *met { "met" } else { "NOT MET" });
    }
    let met = targets.iter().filter(|(_, met)| *met).count();
    println!("\ntargets met: {met} of {}", targets.len());
    met == targets.len()
}

/// The slopes, and what they may be at the most.
fn slopes(series: &[Sample]) -> [(&'static str, f64, f64); 4] {
    [
        ("threads", 0.5, slope(series, |_, _| true, |sample| sample.threads)),
        ("descriptors", 0.5, slope(series, |_, _| true, |sample| sample.descriptors)),
        ("KiB live at as many connections", 256.0, slope(series, are_alike, |sample| sample.live_kib)),
        (
            "KiB resident above the most that was live",
            1_024.0,
            slope(&above_the_peak(series), |_, _| true, |sample| sample.resident_kib),
        ),
    ]
}

fn held(run: &Run) {
    let said = |at: &str, sample: Option<&Sample>| {
        let Some(sample) = sample else { return };
        let Sample { resident_kib, live_kib, descriptors, threads, .. } = sample;
        let resident = resident_kib / 1_024.0;
        let held =
            format!("{threads} threads, {descriptors} descriptors, {live_kib:.0} KiB live, {resident:.1} MiB resident");
        println!("{:44} {held}", format!("held {at}"));
    };
    said("before the first client", run.before.as_ref());
    said("after a fifth of the time", run.series.get(run.series.len() / 5));
    said("at the end of it", run.series.last());
    said("after the last client", run.after.as_ref());
}
