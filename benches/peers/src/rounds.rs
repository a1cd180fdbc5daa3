//! Measures all candidates round-robin, so that the machine disturbs all of them equally.
//!
//! The results are medians of the ratios within a round. They are stable where nanoseconds are not.

use std::cell::Cell;

use crate::ids::Random;
use crate::repetition::Repetition;

/// Share of a core that a repetition needs. Below it, it is discarded and repeated.
const MIN_BUSY: f64 = 0.985;
/// Number of times that a repetition is tried. After that the best one counts, so that the bench ends.
const MAX_TRIES: usize = 40;
/// Number of repetitions that a run may discard, besides two for each that counts.
const MAX_DISCARDED: usize = 1_000;

/// The number of rounds, and the number of repetitions that they took.
pub struct Effort {
    pub rounds: usize,
    /// Number of repetitions that count.
    pub counted: Cell<usize>,
    /// Number of repetitions that were discarded because the machine disturbed them.
    pub discarded: Cell<usize>,
    /// Number of repetitions that count although the machine disturbed them.
    pub disturbed: Cell<usize>,
}

impl Effort {
    pub fn new(rounds: usize) -> Self {
        Effort { rounds, counted: Cell::new(0), discarded: Cell::new(0), disturbed: Cell::new(0) }
    }

    pub fn print(&self) {
        let [counted, discarded, disturbed] = [&self.counted, &self.discarded, &self.disturbed].map(Cell::get);
        println!("{counted} repetitions; {discarded} others discarded; {disturbed} counted although disturbed");
    }

    /// Measures until a repetition is undisturbed. Returns its nanoseconds.
    fn measure_undisturbed(&self, measure: &mut Measure<'_>) -> f64 {
        let mut best = measure();
        for _ in 1..MAX_TRIES {
            let max_discarded = MAX_DISCARDED + 2 * self.counted.get();
            if best.busy >= MIN_BUSY || self.discarded.get() >= max_discarded {
                break;
            }
            self.discarded.set(self.discarded.get() + 1);
            let again = measure();
            if again.busy > best.busy {
                best = again;
            }
        }
        self.counted.set(self.counted.get() + 1);
        self.disturbed.set(self.disturbed.get() + usize::from(best.busy < MIN_BUSY));
        best.nanos
    }
}

/// A function that measures one repetition.
pub type Measure<'a> = Box<dyn FnMut() -> Repetition + 'a>;

/// A named implementation that is measured.
pub struct Candidate<'a> {
    pub name: &'static str,
    pub measure: Measure<'a>,
}

impl<'a> Candidate<'a> {
    pub fn new(name: &'static str, measure: impl FnMut() -> Repetition + 'a) -> Self {
        Candidate { name, measure: Box::new(measure) }
    }
}

/// The nanoseconds of all candidates, round by round.
pub struct Rounds {
    names: Vec<&'static str>,
    nanos: Vec<Vec<f64>>,
}

/// A median with its quartiles.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Rounds {
    pub fn measure(mut candidates: Vec<Candidate<'_>>, effort: &Effort) -> Self {
        let names = candidates.iter().map(|candidate| candidate.name).collect();
        let mut nanos = vec![Vec::new(); candidates.len()];
        let (mut random, mut order) = (Random::new(), (0..candidates.len()).collect::<Vec<_>>());
        for _ in 0..effort.rounds {
            // In random order, so that no candidate always follows the same one.
            order.sort_by_cached_key(|_| random.next());
            for &n in &order {
                nanos[n].push(effort.measure_undisturbed(&mut candidates[n].measure));
            }
        }
        Rounds { names, nanos }
    }

    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    fn nanos_of(&self, name: &str) -> Option<&[f64]> {
        Some(&self.nanos[self.names.iter().position(|other| *other == name)?])
    }

    /// Returns the median nanoseconds of a call, or `None` if there is no such candidate.
    pub fn nanos(&self, name: &str) -> Option<f64> {
        Some(spread(self.nanos_of(name)?.to_vec()).median)
    }

    /// Returns the time of `over` divided by that of `under`, computed round by round.
    pub fn ratio(&self, over: &str, under: &str) -> Option<Spread> {
        let pairs = self.nanos_of(over)?.iter().zip(self.nanos_of(under)?);
        Some(spread(pairs.map(|(over, under)| over / under).collect()))
    }

    /// Returns the candidate with the least time.
    pub fn fastest(&self, names: &[&'static str]) -> Option<&'static str> {
        let known = names.iter().filter_map(|name| Some((self.nanos(name)?, *name)));
        known.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
    }
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    Spread { low: at(0.25), median: at(0.5), high: at(0.75) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disturbed_repetition_is_repeated_until_the_limit() {
        let effort = Effort::new(3);
        let mut repetitions = 0;
        let busy = Candidate::new("busy", || Repetition { nanos: 1.0, busy: 1.0 });
        let disturbed = Candidate::new("disturbed", || {
            repetitions += 1;
            Repetition { nanos: 2.0, busy: 0.5 }
        });
        let rounds = Rounds::measure(vec![busy, disturbed], &effort);
        assert_eq!(rounds.ratio("disturbed", "busy").unwrap().median, 2.0);
        assert_eq!((effort.counted.get(), effort.disturbed.get()), (6, 3));
        assert_eq!(repetitions, 3 * MAX_TRIES);
    }

    #[test]
    fn spread_has_the_median_and_the_quartiles() {
        let Spread { low, median, high } = spread((0..=100).rev().map(f64::from).collect());
        assert_eq!((low, median, high), (25.0, 50.0, 75.0));
    }
}
