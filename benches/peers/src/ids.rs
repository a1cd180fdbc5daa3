//! Peer ids, and the order in which they are looked up.

use std::sync::Arc;

/// Number of calls until the order repeats: too many for a branch predictor to learn.
const LENGTH: usize = 16_384;

/// A random number generator with a fixed seed: the same numbers in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Random(0x853c_49e6_748f_ea9b)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    /// Returns a number from 0 up to, but not including, 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Returns `count` ids, contiguous in memory. They are never freed, so that any thread may hold them.
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

/// The frequency of each peer among the lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// All peers equally often.
    Uniform,
    /// The second peer half as often as the first, the third a third as often, and so on: Zipf's law with s = 1.
    Zipf,
}

/// An order of lookups, and one thread's position in it.
#[derive(Clone)]
pub struct Walk {
    order: Arc<[&'static str]>,
    at: usize,
}

impl Walk {
    pub fn new(ids: &[&'static str], pattern: Pattern) -> Self {
        let mut random = Random::new();
        let mut total = 0.0;
        let mut upto = |n: usize| {
            total += if pattern == Pattern::Zipf { 1.0 / (n + 1) as f64 } else { 1.0 };
            total
        };
        let upto: Vec<f64> = (0..ids.len()).map(&mut upto).collect();
        let mut draw = || {
            let place = random.share() * upto[upto.len() - 1];
            ids[upto.partition_point(|end| *end <= place).min(ids.len() - 1)]
        };
        Walk { order: (0..LENGTH).map(|_| draw()).collect(), at: 0 }
    }

    /// Returns the same order from its middle, for another thread.
    pub fn halfway(&self) -> Self {
        Walk { order: self.order.clone(), at: LENGTH / 2 }
    }

    /// Returns the next ids, at most `max`.
    pub fn batch(&mut self, max: usize) -> &[&'static str] {
        let (start, end) = (self.at, (self.at + max).min(LENGTH));
        self.at = end % LENGTH;
        &self.order[start..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_has_the_first_peer_twice_as_often_as_the_second() {
        let ids = ids(64);
        let walk = Walk::new(&ids, Pattern::Zipf);
        let asked = |n: usize| walk.order.iter().filter(|id| **id == ids[n]).count() as f64;
        assert!((1.8..2.2).contains(&(asked(0) / asked(1))), "{} and {}", asked(0), asked(1));
    }
}
