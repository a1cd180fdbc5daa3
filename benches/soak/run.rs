//! One run: starts the threads, plays the script, and samples the resources once a second.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::platform::Platform;
use super::report::RunResult;
use super::resources::Sample;
use super::script::{Fault, Phase, Random};
use super::soak::Soak;
use super::state::{PEERS, WORKSPACES};
use super::traffic;
use super::workspace::{self, Workspace, WorkspacePosition};

/// Time between two changes of the platform's state.
const TICK: Duration = Duration::from_millis(50);
/// Time within which the last row must arrive after the last fault. A poller that met faults polls again after at most
/// 60 s.
const DRAIN: Duration = Duration::from_secs(120);

/// The body of one of the run's threads.
type Work = Box<dyn FnOnce(&Arc<Soak>) + Send>;

/// Plays the script for `seconds`, and returns what happened.
pub fn run(soak: &Arc<Soak>, seconds: u64) -> RunResult {
    let before = sample_baseline(soak);
    let workspaces: Vec<Workspace> = (0..WORKSPACES).map(Workspace::new).collect();
    let positions: Vec<_> = workspaces.iter().flat_map(Workspace::positions).collect();
    let (to_reply, messages) = mpsc::sync_channel(64);
    *soak.to_reply.lock() = Some(to_reply);
    soak.set_healthy();
    let begin = Instant::now();
    let mut threads = Vec::new();
    let mut start = |name: &str, work: Work| {
        let soak = soak.clone();
        threads.push(thread::Builder::new().name(format!("soak-{name}")).spawn(move || work(&soak)).unwrap());
    };
    start("workspaces", Box::new(move |soak| workspace::run(soak, workspaces)));
    for number in 0..2 {
        start("sender", Box::new(move |soak| traffic::run_sender(soak, number)));
    }
    start("replier", Box::new(move |soak| traffic::run_replier(soak, &messages)));
    start("clients", Box::new(traffic::run_short_lived_clients));
    start("lateness", Box::new(|soak| soak.measure_lateness()));

    let series = play(soak, seconds, begin, &positions);
    soak.is_draining.store(true, SeqCst);
    let drained = Instant::now();
    while missing_rows(soak, &positions) > 0 && drained.elapsed() < DRAIN {
        thread::sleep(TICK);
    }
    let (lost, drain) = (missing_rows(soak, &positions), drained.elapsed());
    soak.is_over.store(true, SeqCst);
    // The replier ends once every sender of its channel is dropped.
    *soak.to_reply.lock() = None;
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let committed = positions.iter().map(|(workspace, _)| soak.platform.state.committed(*workspace)).sum();
    RunResult { seconds, committed, lost, drain, series, before, after: sample_after(&soak.platform, before) }
}

/// Begins and ends the phases, and changes the platform's state every tick. Returns a sample for each second.
fn play(soak: &Soak, seconds: u64, begin: Instant, positions: &[WorkspacePosition]) -> Vec<Sample> {
    let mut random = Random::stream(soak.seed, 2);
    let mut series = Vec::with_capacity(seconds as usize + 1);
    let (mut current, mut next) = (None::<usize>, 0);
    for tick in 0.. {
        let at = TICK * tick;
        thread::sleep(at.saturating_sub(begin.elapsed()));
        if at >= Duration::from_secs(seconds) {
            break;
        }
        if let Some(phase) = current.filter(|phase| soak.script[*phase].to <= at) {
            soak.end_phase(phase);
            current = None;
        }
        if current.is_none() && soak.script.get(next).is_some_and(|phase| phase.from <= at) {
            soak.begin_phase(next);
            current = Some(next);
            next += 1;
        }
        let phase = current.map(|phase| &soak.script[phase]);
        change_platform(soak, u64::from(tick), &mut random, positions, phase);
        if tick % 20 == 0 {
            series.extend(Sample::take(&soak.platform, begin.elapsed().as_secs_f64()));
        }
    }
    series
}

/// Changes the platform's state by one tick: new rows, changed peers, a new token, pruned rows.
fn change_platform(
    soak: &Soak,
    tick: u64,
    random: &mut Random,
    positions: &[WorkspacePosition],
    phase: Option<&Phase>,
) {
    let state = &soak.platform.state;
    for workspace in 0..WORKSPACES {
        let rows = if random.one_in(2_000) { 100 } else { u64::from(random.one_in(3)) };
        (0..rows).for_each(|_| state.commit_row(workspace));
    }
    // Each peer is renamed about every 10 s, and removed for a while about every two minutes.
    if random.one_in(2) {
        let peer = random.below(PEERS as u64) as usize;
        state.change_peer(peer, state.peer_exists(peer) != random.one_in(10) || random.one_in(3));
    }
    // The file is written before the platform takes its token, so a client with the old token gets one 401 at most.
    if phase.is_none() && tick % 300 == 299 {
        soak.write_token(1_000_000 + tick);
        soak.platform.set_token(1_000_000 + tick);
    }
    let prunes_all = phase.is_some_and(|phase| phase.fault == Fault::Pruned) && tick % 10 == 0;
    if prunes_all || tick % 20 == 0 {
        for workspace in 0..WORKSPACES {
            let delivered = positions.iter().filter(|(of, _)| *of == workspace).map(|(_, at)| at.lock().next).min();
            state.prune(workspace, delivered.unwrap_or(0), prunes_all);
        }
    }
}

/// Returns the number of rows that were not delivered, over all pollers.
fn missing_rows(soak: &Soak, positions: &[WorkspacePosition]) -> u64 {
    let state = &soak.platform.state;
    positions.iter().map(|(workspace, at)| state.committed(*workspace).saturating_sub(at.lock().next)).sum()
}

/// Samples the resources while nothing is under way, after one use of everything that the process keeps once.
fn sample_baseline(soak: &Arc<Soak>) -> Option<Sample> {
    traffic::use_short_lived_client(soak, &mut Random::stream(soak.seed, 300));
    (0..WORKSPACES / 4).for_each(|workspace| Workspace::new(workspace).warm_up(soak));
    let mut last = Sample::take(&soak.platform, 0.0)?;
    loop {
        thread::sleep(Duration::from_millis(500));
        let next = Sample::take(&soak.platform, 0.0)?;
        // A connection that ends while they are counted would be counted on one side only.
        if next.threads == last.threads && next.descriptors == last.descriptors {
            return Some(last);
        }
        last = next;
    }
}

/// Samples the resources once they are back at `before`, or after 20 s.
fn sample_after(platform: &Platform, before: Option<Sample>) -> Option<Sample> {
    for _ in 0..200 {
        thread::sleep(Duration::from_millis(100));
        let now = Sample::take(platform, 0.0)?;
        let before = before?;
        if now.threads <= before.threads && now.descriptors <= before.descriptors && now.live_kib <= before.live_kib {
            break;
        }
    }
    Sample::take(platform, 0.0)
}
