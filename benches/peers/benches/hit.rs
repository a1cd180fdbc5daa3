//! Measures a hit, from `&str` to a record that is read.
//!
//! This crate is compared with the floor, which no cache can beat, with other caches and maps, and with the Python
//! module `a2a_client`. Run it with `cargo bench --manifest-path benches/peers/Cargo.toml --bench hit`.
//!
//! All candidates take turns in one process, in repetitions of 2.5 ms. The result is the median of the ratios within a
//! round. A repetition is repeated if a thread had its core for less than 98.5 % of the time, or if two threads did not
//! run at the same time.
//!
//! `-- --svg` also writes the chart `hit.svg`. `-- --test` is a short run, to show that the bench works.

use std::time::Duration;

use Bound::{AtMost, Faster};
use Pattern::{Uniform, Zipf};
use a2a_blocking_peers::chart::{Group, svg};
use a2a_blocking_peers::ids::{Pattern, Walk, ids, lines};
use a2a_blocking_peers::machine::{Options, command, machine};
use a2a_blocking_peers::python::{LRU, PLAIN, Python};
use a2a_blocking_peers::registry;
use a2a_blocking_peers::repetition::{Pair, one};
use a2a_blocking_peers::rivals::*;
use a2a_blocking_peers::rounds::{Candidate, Effort, Rounds};
use a2a_blocking_peers::table::{Bound, Targets, markdown, nanos};
use a2a_blocking_peers::writer::Writer;

/// This crate on one thread, measured again in the rounds of two threads.
const OURS_ALONE: &str = "a2a-blocking, one thread";
const MAPS: [&str; 3] = [QUICK_CACHE, DASHMAP, PAPAYA];

/// The number of peers, how often each is asked for, and the number of threads that ask.
type Case = (usize, Pattern, usize);

const CASES: [Case; 12] = [
    (1, Uniform, 1),
    (1, Uniform, 2),
    (64, Uniform, 1),
    (64, Uniform, 2),
    (1_024, Zipf, 1),
    (1_024, Zipf, 2),
    (1_024, Uniform, 1),
    (1_024, Uniform, 2),
    (10_000, Zipf, 1),
    (10_000, Zipf, 2),
    (10_000, Uniform, 1),
    (10_000, Uniform, 2),
];

fn title((peers, pattern, threads): Case) -> String {
    let peers = match (peers, pattern) {
        (1, _) => "1 peer".to_owned(),
        (64, _) => "64 peers".to_owned(),
        (peers, pattern) => format!("{peers} {pattern:?}").to_lowercase(),
    };
    format!("{peers}, {threads} thread{}", if threads == 1 { "" } else { "s" })
}

struct Bench {
    effort: Effort,
    repetition: Duration,
    results: Vec<(Case, Rounds)>,
    targets: Targets,
}

impl Bench {
    /// Measures all cases of this number of peers.
    fn measure(&mut self, peers: usize) {
        let ids = ids(peers);
        let mut runs = rivals(&ids);
        let absent = (peers == 64).then(|| (ABSENT, ours_absent(registry::refused(&ids))));
        runs.extend(absent);
        for case in CASES.into_iter().filter(|case| case.0 == peers) {
            let (_, pattern, threads) = case;
            let (walk, length) = (Walk::new(&ids, pattern), self.repetition);
            let pair = (threads == 2).then(Pair::default);
            let mut candidates: Vec<Candidate<'_>> = Vec::new();
            for (name, run) in &runs {
                let mut walks = [walk.clone(), walk.halfway()];
                candidates.push(match &pair {
                    None => Candidate::new(name, move || one(run, &mut walks[0], length)),
                    Some(pair) => Candidate::new(name, move || pair.both(run, &mut walks, length)),
                });
            }
            if threads == 2 {
                let (run, mut walk) = (&runs[0].1, walk.clone());
                candidates.push(Candidate::new(OURS_ALONE, move || one(run, &mut walk, length)));
            }
            if case == (1, Uniform, 1) {
                let (run, mut walk) = (ours(registry::filled(&ids).0), Walk::new(&lines(&ids), pattern));
                candidates.push(Candidate::new(SHARED, move || one(&run, &mut walk, length)));
                candidates.extend(pythons(ids[0], length));
            }
            self.results.push((case, Rounds::measure(candidates, &self.effort)));
        }
    }

    fn of(&self, case: Case) -> &Rounds {
        &self.results.iter().find(|(other, _)| *other == case).unwrap().1
    }

    fn check(&mut self, case: Case, ours: &str, peer: &str, bound: Bound) {
        let rounds = self.of(case);
        let ratio = match bound {
            AtMost(_) => rounds.ratio(ours, peer),
            Faster(_) => rounds.ratio(peer, ours),
        };
        let shown = |name: &str| rounds.nanos(name).map_or("none".to_owned(), nanos);
        let what = if ours == OURS { title(case) } else { format!("{}: {ours}", title(case)) };
        let (ours, theirs) = (shown(ours), shown(peer));
        self.targets.check(&what, &ours, (peer, &theirs), ratio, bound);
    }

    fn check_all(&mut self) {
        for (peers, pattern, most) in [(1, Uniform, 1.1), (64, Uniform, 1.2), (1_024, Zipf, 1.5), (1_024, Uniform, 1.8)]
        {
            self.check((peers, pattern, 1), OURS, FLOOR, AtMost(most));
        }
        self.check((1, Uniform, 2), OURS, OURS_ALONE, AtMost(1.2));
        self.check((1_024, Zipf, 2), OURS, FLOOR, AtMost(2.2));
        self.check((1, Uniform, 1), OURS, MOKA, Faster(6.5));
        self.check((64, Uniform, 1), OURS, MOKA, Faster(6.5));
        self.check((1, Uniform, 2), OURS, MOKA, Faster(15.0));
        for rival in [QUICK_CACHE, DASHMAP, PAPAYA, RWLOCK] {
            for case in [(1, Uniform, 1), (64, Uniform, 1)] {
                self.check(case, OURS, rival, Faster(1.2));
            }
            for case in [(1_024, Zipf, 1), (1, Uniform, 2), (64, Uniform, 2), (1_024, Zipf, 2)] {
                self.check(case, OURS, rival, Faster(1.0));
            }
        }
        for case in CASES.into_iter().filter(|case| case.0 == 10_000 || (case.0, case.1) == (1_024, Uniform)) {
            let fastest = self.of(case).fastest(&MAPS).unwrap();
            self.check(case, OURS, fastest, AtMost(2.0));
        }
        for case in [(1, Uniform, 1), (64, Uniform, 1)] {
            self.check(case, OURS, NAIVE, Faster(28.0));
            self.check(case, OURS, NAIVE_ARC, Faster(11.0));
        }
        self.check((1, Uniform, 1), OURS, PLAIN, Faster(35.0));
        self.check((10_000, Zipf, 1), OURS, RWLOCK, AtMost(1.3));
        self.check((10_000, Uniform, 1), OURS, RWLOCK, AtMost(2.6));
        self.check((1, Uniform, 1), SHARED, RWLOCK, AtMost(1.7));
        self.check((64, Uniform, 1), ABSENT, OURS, AtMost(1.0));
    }

    /// Measures one thread that reads while another one refreshes the same entries, and without that other one.
    fn written_to(&mut self) {
        const WITHOUT: &str = "no writer";
        const WITH: &str = "a writer";
        for (peers, pattern) in [(64, Uniform), (1_024, Zipf)] {
            let ids = ids(peers);
            for (entries, lists, most) in [(1, 100, 1.15), (10, 1_000, 1.5)] {
                let (client, writer) = Writer::new(&ids, entries, lists);
                let (run, mut walk) = (ours(client), Walk::new(&ids, pattern));
                let mut again = walk.clone();
                // Long enough that each repetition has some writes.
                let length = self.repetition * 10;
                let candidates = vec![
                    Candidate::new(WITHOUT, || one(&run, &mut walk, length)),
                    Candidate::new(WITH, || writer.beside(|| one(&run, &mut again, length))),
                ];
                let rounds = Rounds::measure(candidates, &self.effort);
                println!("entries refreshed a second: {:.0}, of {} wanted", writer.rate(), entries as u32 * lists);
                let what = format!("{}, {} writes a second", title((peers, pattern, 1)), entries as u32 * lists);
                let [with, without] = [WITH, WITHOUT].map(|name| nanos(rounds.nanos(name).unwrap()));
                let ratio = rounds.ratio(WITH, WITHOUT);
                self.targets.check(&what, &with, (WITHOUT, &without), ratio, AtMost(most));
            }
        }
    }

    /// Prints the nanoseconds of all candidates in all cases, for the documentation.
    fn print(&self) {
        let names =
            [FLOOR, OURS, ABSENT, SHARED, RWLOCK, PAPAYA, DASHMAP, QUICK_CACHE, MOKA, NAIVE_ARC, NAIVE, PLAIN, LRU];
        for threads in [1, 2] {
            let cases: Vec<_> = self.results.iter().filter(|(case, _)| case.2 == threads).collect();
            let heads: Vec<String> = cases.iter().map(|(case, _)| title(*case)).collect();
            let head: Vec<&str> = [""].into_iter().chain(heads.iter().map(String::as_str)).collect();
            let row = |name: &&str| {
                let cells = cases.iter().map(|(_, rounds)| rounds.nanos(name).map_or(String::new(), nanos));
                [(*name).to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
            };
            let rows: Vec<_> =
                names.iter().map(row).filter(|row| row[1..].iter().any(|cell| !cell.is_empty())).collect();
            println!("\n{}", markdown(&head, &rows));
        }
    }

    fn chart(&self) -> String {
        let group = |case: Case, title: &str| {
            let names = self.of(case).names().iter().filter(|name| ![ABSENT, OURS_ALONE, SHARED].contains(name));
            Group::new(title, names.map(|name| ((*name).to_owned(), self.of(case).nanos(name).unwrap())).collect())
        };
        let groups = [
            group((1, Uniform, 1), "one thread, one peer"),
            group((1, Uniform, 2), "two threads that ask for the same peer: time of a call of each"),
        ];
        let caption =
            [machine(), command("hit -- --svg"), "medians, nanoseconds on a scale of powers of ten".to_owned()];
        svg("A hit, from text to a record in hand", OURS, &caption, &groups)
    }
}

/// Returns the two Python modules as candidates, or none if there is no Python.
fn pythons(id: &str, length: Duration) -> Vec<Candidate<'static>> {
    let record = registry::record(id);
    let calls = (length.as_micros() * 2) as u32;
    let start = |name, function: &str| {
        let mut python = Python::start(function, id, &record, calls)?;
        Some(Candidate::new(name, move || python.measure()))
    };
    let found: Vec<_> = [start(PLAIN, "plain"), start(LRU, "ordered")].into_iter().flatten().collect();
    if found.is_empty() {
        println!("no `python3` found: the Python module is not measured");
    }
    found
}

fn main() {
    let Options { smoke, svg } = Options::from_args();
    let (rounds, repetition) = if smoke { (2, Duration::from_micros(200)) } else { (31, Duration::from_micros(2_500)) };
    let effort = Effort::new(rounds);
    let mut bench = Bench { effort, repetition, results: Vec::new(), targets: Targets::default() };
    println!("{}\n{rounds} rounds of repetitions of {repetition:?}", machine());
    [1, 64, 1_024, 10_000].into_iter().for_each(|peers| bench.measure(peers));
    bench.check_all();
    bench.written_to();
    bench.print();
    bench.effort.print();
    if svg {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/hit.svg"), bench.chart()).unwrap();
    }
    bench.targets.print("median ratio (quartiles)");
}
