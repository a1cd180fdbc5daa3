//! The load that a fleet puts on its registry over an hour, in simulation.
//!
//! 1, 100 and 10,000 processes start together, with 50 peers each, and the registry is silent for ten minutes. There is no
//! socket and no clock: the cache, the expiry policy and the circuit of this crate run in virtual time, beside the
//! algorithm of the Python module `a2a_client`.
//!
//! `RUSTFLAGS='--cfg a2a_simulation' cargo bench --bench fleet`; with `-- --test` fewer processes, which only shows that it
//! works. The same seed gives the same table.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[cfg(a2a_simulation)]
fn main() {
    simulation::run(std::env::args().any(|arg| arg == "--test"));
}

#[cfg(not(a2a_simulation))]
fn main() {
    println!("not built with the simulation: RUSTFLAGS='--cfg a2a_simulation' cargo bench --bench fleet");
}

#[cfg(a2a_simulation)]
mod simulation {
    use std::collections::HashMap;
    use std::ops::Range;
    use std::thread;
    use std::time::Duration;

    use a2a_blocking::PeerId;
    use a2a_blocking::simulation::{Process, World};

    const PEERS: usize = 50;
    /// Mean seconds between two messages of one peer.
    const MESSAGE_INTERVAL: f64 = 20.0;
    const HOUR: usize = 3_600;
    const START: Range<usize> = 0..300;
    const STEADY: Range<usize> = 600..1_500;
    const OUTAGE: Range<usize> = 1_500..2_100;
    const AFTER: Range<usize> = 2_100..HOUR;
    /// Time for which the Python module caches an answer.
    const TTL: Duration = Duration::from_secs(300);

    /// Number of requests in each second.
    type Load = Vec<u32>;

    /// A xorshift* generator, which gives the same numbers in every run: <https://arxiv.org/abs/1402.6246>.
    struct Random(u64);

    impl Random {
        fn seeded(seed: usize) -> Self {
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95));
            for _ in 0..8 {
                random.bits();
            }
            random
        }

        fn bits(&mut self) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
        }

        /// Returns a number above 0 and up to 1.
        fn fraction(&mut self) -> f64 {
            ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Returns an hour of messages to one process, with their times. The peers send at random and independently.
    fn messages(process: usize) -> impl Iterator<Item = (Duration, PeerId)> {
        let mut random = Random::seeded(process);
        let peers: Vec<PeerId> = (0..PEERS).map(|n| peer(random.bits() as u32, process * PEERS + n)).collect();
        let mut at = 0.0;
        std::iter::from_fn(move || {
            at += -random.fraction().ln() * MESSAGE_INTERVAL / PEERS as f64;
            let peer = peers[random.bits() as usize % PEERS];
            (at < HOUR as f64).then(|| (Duration::from_secs_f64(at), peer))
        })
    }

    fn peer(random: u32, n: usize) -> PeerId {
        format!("{random:08x}-0000-4000-8000-{n:012x}").parse().unwrap()
    }

    /// A registry that is silent in the outage, and counts its requests.
    struct Registry {
        load: Load,
        random: Random,
    }

    impl World for Registry {
        fn answers(&self, at: Duration) -> bool {
            !OUTAGE.contains(&(at.as_secs() as usize))
        }

        fn request(&mut self, at: Duration) {
            if let Some(second) = self.load.get_mut(at.as_secs() as usize) {
                *second += 1;
            }
        }

        fn random(&mut self) -> f64 {
            self.random.fraction()
        }
    }

    fn ours(process: usize, registry: &mut Registry) {
        Process::new().unwrap().run(messages(process), registry);
    }

    /// Runs the Python module's algorithm: it looks up a peer that is not cached or has expired, and caches a failure for as
    /// long as a record. It also blocks for 2 s at each failure, which would lengthen its outage and is left out.
    fn python(process: usize, registry: &mut Registry) {
        let mut fetched: HashMap<PeerId, Duration> = HashMap::new();
        for (at, peer) in messages(process) {
            if fetched.get(&peer).is_none_or(|then| at - *then >= TTL) {
                registry.request(at);
                fetched.insert(peer, at);
            }
        }
    }

    /// Returns the load of all processes together. They run on every core.
    fn fleet(processes: usize, run: fn(usize, &mut Registry)) -> Load {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let part = move |first: usize| {
            let mut registry = Registry { load: vec![0; HOUR], random: Random::seeded(usize::MAX / 2 + first) };
            (first..processes).step_by(threads).for_each(|process| run(process, &mut registry));
            registry.load
        };
        let parts: Vec<_> = (0..threads).map(|first| thread::spawn(move || part(first))).collect();
        let loads = parts.into_iter().map(|part| part.join().unwrap());
        loads.reduce(|all, part| all.iter().zip(part).map(|(a, b)| a + b).collect()).unwrap()
    }

    fn mean(load: &[u32]) -> f64 {
        load.iter().map(|n| f64::from(*n)).sum::<f64>() / load.len() as f64
    }

    fn peak(load: &[u32]) -> f64 {
        load.iter().copied().max().map_or(0.0, f64::from)
    }

    /// Returns the median of the peak of so many seconds, if all requests are independent. No algorithm can do better.
    fn peak_by_chance(mean: f64, seconds: usize) -> f64 {
        let (mut count, mut probability) = (0.0, (-mean).exp());
        // Where e^-mean is zero as a double, a normal distribution is close: 3.4 deviations for 900 to 1,500 seconds.
        if probability == 0.0 {
            return mean + 3.4 * mean.sqrt();
        }
        let mut below = probability;
        while below.powf(seconds as f64) < 0.5 {
            count += 1.0;
            probability *= mean / count;
            below += probability;
        }
        count
    }

    /// Prints the table. `is_small` is for fewer processes.
    pub(super) fn run(is_small: bool) {
        let largest = if is_small { 500 } else { 10_000 };
        println!(
            "An hour of 1 to {largest} processes with {PEERS} peers each, a message of each peer every {MESSAGE_INTERVAL} s on"
        );
        println!(
            "the mean, all started together; the registry is silent from minute 25 to 35. Requests a second, mean and"
        );
        println!(
            "peak (of one second): the first 5 minutes, minutes 10 to 25, the outage, and the 25 minutes after it."
        );
        println!();
        println!("| processes | | start | steady | peak / mean | by chance | outage | after | peak / steady mean |");
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        let mut targets = (0, 0);
        for processes in [1, 100, largest] {
            for (name, run) in [("a2a_client (Python)", python as fn(usize, &mut Registry)), ("a2a-blocking", ours)] {
                let load = fleet(processes, run);
                let (steady, after) = (&load[STEADY], &load[AFTER]);
                let ratios = [peak(steady) / mean(steady), peak(after) / mean(steady)];
                let chance = peak_by_chance(mean(steady), steady.len()) / mean(steady);
                let both = |load: &[u32]| format!("{:.1}, {}", mean(load), peak(load));
                println!(
                    "| {processes} | {name} | {} | {} | {:.2} | {chance:.2} | {} | {} | {:.2} |",
                    both(&load[START]),
                    both(steady),
                    ratios[0],
                    both(&load[OUTAGE]),
                    both(after),
                    ratios[1],
                );
                // A few processes have peaks by chance that no spreading prevents.
                if processes == largest && name == "a2a-blocking" {
                    targets.1 += 2;
                    targets.0 += usize::from(ratios[0] <= 1.3) + usize::from(ratios[1] <= 2.0);
                }
            }
        }
        println!();
        println!(
            "targets met: {} of {} (of the largest fleet: steady at most 1.3, after the outage at most 2.0)",
            targets.0, targets.1
        );
    }
}
