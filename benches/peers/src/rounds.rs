//! Runs all candidates round-robin, and takes the medians of the ratios within a round.
//!
//! A disturbance of the machine then affects all candidates, so the ratios hold where nanoseconds do not.

use std::cell::Cell;

use crate::ids::Random;
use crate::repetition::Repetition;

/// A repetition with a smaller share of its core is thrown away and made again.
const BUSY: f64 = 0.985;
/// Largest number of tries of one repetition. The best of them counts then, so that the bench ends.
const TRIES: usize = 40;
/// In a whole run as many repetitions may be thrown away as twice those that count, and this number.
const SPARE: usize = 1_000;

/// The amount of work, and counts of the disturbances.
pub struct Effort {
    pub rounds: usize,
    /// Number of repetitions that count.
    pub counted: Cell<usize>,
    /// Number of repetitions that were thrown away.
    pub thrown_away: Cell<usize>,
    /// Number of repetitions that count although they were disturbed.
    pub disturbed: Cell<usize>,
}

impl Effort {
    pub fn new(rounds: usize) -> Self {
        Effort { rounds, counted: Cell::new(0), thrown_away: Cell::new(0), disturbed: Cell::new(0) }
    }

    pub fn print(&self) {
        let [counted, thrown_away, disturbed] = [&self.counted, &self.thrown_away, &self.disturbed].map(Cell::get);
        println!(
            "{counted} repetitions; {thrown_away} others thrown away; {disturbed} disturbed and counted all the same"
        );
    }

    fn undisturbed(&self, measure: &mut Measure<'_>) -> f64 {
        let mut best = measure();
        for _ in 1..TRIES {
            let patience = SPARE + 2 * self.counted.get();
            if best.busy >= BUSY || self.thrown_away.get() >= patience {
                break;
            }
            self.thrown_away.set(self.thrown_away.get() + 1);
            let again = measure();
            if again.busy > best.busy {
                best = again;
            }
        }
        self.counted.set(self.counted.get() + 1);
        self.disturbed.set(self.disturbed.get() + usize::from(best.busy < BUSY));
        best.nanos
    }
}

/// Measures one repetition.
pub type Measure<'a> = Box<dyn FnMut() -> Repetition + 'a>;

/// Something to measure, with its name.
pub struct Candidate<'a> {
    pub name: &'static str,
    pub measure: Measure<'a>,
}

impl<'a> Candidate<'a> {
    pub fn new(name: &'static str, measure: impl FnMut() -> Repetition + 'a) -> Self {
        Candidate { name, measure: Box::new(measure) }
    }
}

/// The times of the candidates, round by round.
pub struct Rounds {
    names: Vec<&'static str>,
    nanos: Vec<Vec<f64>>,
}

/// A median and its quartiles.
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
            // In another order each time, so that no candidate always follows the same one.
            order.sort_by_cached_key(|_| random.next());
            for &n in &order {
                nanos[n].push(effort.undisturbed(&mut candidates[n].measure));
            }
        }
        Rounds { names, nanos }
    }

    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    fn of(&self, name: &str) -> Option<&[f64]> {
        Some(&self.nanos[self.names.iter().position(|other| *other == name)?])
    }

    /// Returns the median nanoseconds of a call, or `None` if the candidate did not take part.
    pub fn nanos(&self, name: &str) -> Option<f64> {
        Some(spread(self.of(name)?.to_vec()).median)
    }

    /// Returns the ratio of the time of `over` to that of `under`, by rounds.
    pub fn ratio(&self, over: &str, under: &str) -> Option<Spread> {
        let pairs = self.of(over)?.iter().zip(self.of(under)?);
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
    fn disturbed_repetition_is_made_again_and_the_bench_ends() {
        let effort = Effort::new(3);
        let mut made = 0;
        let busy = Candidate::new("busy", || Repetition { nanos: 1.0, busy: 1.0 });
        let disturbed = Candidate::new("disturbed", || {
            made += 1;
            Repetition { nanos: 2.0, busy: 0.5 }
        });
        let rounds = Rounds::measure(vec![busy, disturbed], &effort);
        assert_eq!(rounds.ratio("disturbed", "busy").unwrap().median, 2.0);
        assert_eq!((effort.counted.get(), effort.disturbed.get()), (6, 3));
        assert_eq!(made, 3 * TRIES);
    }

    #[test]
    fn spread_has_the_median_and_the_quartiles() {
        let Spread { low, median, high } = spread((0..=100).rev().map(f64::from).collect());
        assert_eq!((low, median, high), (25.0, 50.0, 75.0));
    }
}
