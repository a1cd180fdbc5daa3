//! Peer ids, and the order in which they are asked for.

use std::sync::Arc;

/// Number of calls until the order repeats itself: too many for a branch predictor to learn.
const LENGTH: usize = 16_384;

/// Pseudo-random numbers, the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Random(0x853c_49e6_748f_ea9b)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    /// Returns a number from zero, inclusive, to one, exclusive.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Returns `count` ids, side by side in memory. They are leaked, so that threads of any lifetime may hold them.
pub fn ids(count: usize) -> Vec<&'static str> {
    let mut random = Random::new();
    let mut texts = String::with_capacity(count * 36);
    for _ in 0..count {
        let (a, b) = (random.next(), random.next());
        let (w, x, y, z) = (a >> 32, a >> 16 & 0xffff, a & 0xffff, b >> 48);
        texts += &format!("{w:08x}-{x:04x}-{y:04x}-{z:04x}-{:012x}", b & 0xffff_ffff_ffff);
    }
    let texts: &'static str = texts.leak();
    (0..count).map(|n| &texts[n * 36..(n + 1) * 36]).collect()
}

/// Returns the ids with a line feed at their ends. They are leaked, like [`ids`].
///
/// A thread keeps no answer under such a text, so that every call asks the cache that threads share.
pub fn lines(ids: &[&'static str]) -> Vec<&'static str> {
    ids.iter().map(|id| &*format!("{id}\n").leak()).collect()
}

/// The frequency with which each peer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// All peers equally often.
    Uniform,
    /// The second peer half as often as the first, the third a third as often, and so on (Zipf, s = 1).
    Zipf,
}

/// An order in which peers are asked for, and the position of one thread in it.
#[derive(Clone)]
pub struct Walk {
    order: Arc<[&'static str]>,
    at: usize,
}

impl Walk {
    pub fn new(ids: &[&'static str], pattern: Pattern) -> Self {
        let mut random = Random::new();
        let mut total = 0.0;
        let mut sum_to = |n: usize| {
            total += if pattern == Pattern::Zipf { 1.0 / (n + 1) as f64 } else { 1.0 };
            total
        };
        let sums: Vec<f64> = (0..ids.len()).map(&mut sum_to).collect();
        let mut draw = || {
            let place = random.fraction() * sums[sums.len() - 1];
            ids[sums.partition_point(|end| *end <= place).min(ids.len() - 1)]
        };
        Walk { order: (0..LENGTH).map(|_| draw()).collect(), at: 0 }
    }

    /// Returns the same order from its middle, for another thread.
    pub fn halfway(&self) -> Self {
        Walk { order: self.order.clone(), at: LENGTH / 2 }
    }

    /// Returns the next ids, at most `most` of them.
    pub fn batch(&mut self, most: usize) -> &[&'static str] {
        let (start, end) = (self.at, (self.at + most).min(LENGTH));
        self.at = end % LENGTH;
        &self.order[start..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_asks_for_the_first_peer_twice_as_often_as_for_the_second() {
        let ids = ids(64);
        let walk = Walk::new(&ids, Pattern::Zipf);
        let asked = |n: usize| walk.order.iter().filter(|id| **id == ids[n]).count() as f64;
        assert!((1.8..2.2).contains(&(asked(0) / asked(1))), "{} and {}", asked(0), asked(1));
    }
}
