//! The run: who takes part, the script, and what is held in each second.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::gauge::Sample;
use super::ledger::WORKSPACES;
use super::platform::Platform;
use super::report::Run;
use super::script::Dice;
use super::sends;
use super::station::{self, Station, Track, lock};
use super::world::{Soak, live, measure_noise};

/// How often the world changes.
const TICK: Duration = Duration::from_millis(50);
/// How long after the last fault the last row may take: a poller that met faults asks again after 60 s at the most.
const DRAIN: Duration = Duration::from_secs(120);

/// How many rows did not reach the callback of a poller.
fn missing(soak: &Soak, tracks: &[(usize, Arc<Mutex<Track>>)]) -> u64 {
    let ledger = &soak.platform.ledger;
    tracks.iter().map(|(workspace, track)| ledger.committed(*workspace).saturating_sub(lock(track).next)).sum()
}

/// What is held when what was under way is over; where that does not come back to `before`, after 20 s.
fn held(platform: &Platform, before: Option<Sample>) -> Option<Sample> {
    for _ in 0..200 {
        thread::sleep(Duration::from_millis(100));
        let (a, b) = (Sample::take(platform, 0.0)?, before?);
        if a.threads <= b.threads && a.descriptors <= b.descriptors && a.live_kib <= b.live_kib {
            break;
        }
    }
    Sample::take(platform, 0.0)
}

/// Only where nothing at all is under way can what is held be compared.
fn baseline(soak: &Arc<Soak>) -> Option<Sample> {
    // What the process keeps once for all clients is there by then.
    sends::visit(soak, &mut Dice::of(soak.seed, 300));
    (0..WORKSPACES / 4).for_each(|workspace| Station::new(workspace).warm_up(soak));
    let mut last = Sample::take(&soak.platform, 0.0)?;
    loop {
        thread::sleep(Duration::from_millis(500));
        let next = Sample::take(&soak.platform, 0.0)?;
        // A connection of the platform's that ends while they are counted makes one too few of them.
        if next.threads == last.threads && next.descriptors == last.descriptors {
            return Some(last);
        }
        last = next;
    }
}

/// The whole of it, and what was held in each second.
pub fn run(soak: &Arc<Soak>, seconds: u64) -> Run {
    let before = baseline(soak);
    let stations: Vec<Station> = (0..WORKSPACES).map(Station::new).collect();
    let tracks: Vec<_> = stations.iter().flat_map(Station::tracks).collect();
    let (answers, pushes) = mpsc::sync_channel(64);
    *lock(&soak.answers) = Some(answers);
    *lock(&soak.calm_from) = Some(Instant::now());
    let begin = Instant::now();
    let mut threads = Vec::new();
    let mut start = |name: &str, work: Box<dyn FnOnce() + Send>| {
        threads.push(thread::Builder::new().name(format!("soak-{name}")).spawn(work).unwrap());
    };
    let all = || soak.clone();
    let of = all();
    start("stations", Box::new(move || station::run(&of, stations)));
    for number in 0..2 {
        let of = all();
        start("sender", Box::new(move || sends::run_sender(&of, number)));
    }
    let of = all();
    start("answers", Box::new(move || sends::run_answerer(&of, &pushes)));
    let of = all();
    start("visitors", Box::new(move || sends::run_visitors(&of)));
    let of = all();
    start("noise", Box::new(move || measure_noise(&of)));

    let (mut dice, mut series) = (Dice::of(soak.seed, 2), Vec::with_capacity(seconds as usize + 1));
    let (mut phase, mut next) = (None::<usize>, 0);
    for tick in 0.. {
        let at = TICK * tick;
        thread::sleep(at.saturating_sub(begin.elapsed()));
        if at >= Duration::from_secs(seconds) {
            break;
        }
        if let Some(now) = phase.filter(|now| soak.script[*now].to <= at) {
            soak.end(now);
            phase = None;
        }
        if phase.is_none() && soak.script.get(next).is_some_and(|phase| phase.from <= at) {
            soak.begin(next);
            (phase, next) = (Some(next), next + 1);
        }
        live(soak, u64::from(tick), &mut dice, &tracks, phase.map(|phase| &soak.script[phase]));
        if tick % 20 == 0 {
            series.extend(Sample::take(&soak.platform, begin.elapsed().as_secs_f64()));
        }
    }
    soak.is_ending.store(true, SeqCst);
    let drained = Instant::now();
    while missing(soak, &tracks) > 0 && drained.elapsed() < DRAIN {
        thread::sleep(TICK);
    }
    let (lost, drain) = (missing(soak, &tracks), drained.elapsed());
    soak.is_over.store(true, SeqCst);
    // The answerer ends with the last who may give it something.
    *lock(&soak.answers) = None;
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let committed = tracks.iter().map(|(workspace, _)| soak.platform.ledger.committed(*workspace)).sum();
    Run { seconds, committed, lost, drain, series, before, after: held(&soak.platform, before) }
}
