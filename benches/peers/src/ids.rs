//! Peer ids, and in what order they are asked for.

use std::sync::Arc;

/// How many calls it takes until the order repeats itself: too many for a branch predictor to learn by heart.
const LENGTH: usize = 16_384;

/// Numbers that no branch predictor can guess, the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Random(0x853c_49e6_748f_ea9b)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    /// From zero up to one.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// So many ids, side by side in memory. They are never freed: threads of any length may hold them.
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

/// How often each of the peers is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// All equally often.
    Uniform,
    /// The second half as often as the first, the third a third as often, and so on (Zipf, s = 1).
    Zipf,
}

/// An order in which peers are asked for, and how far one thread has come in it.
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

    /// The same order, begun halfway: for another thread.
    pub fn halfway(&self) -> Self {
        Walk { order: self.order.clone(), at: LENGTH / 2 }
    }

    /// The next ids to ask for, so many at most.
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
    fn zipf_asks_for_the_first_twice_as_often_as_for_the_second() {
        let ids = ids(64);
        let walk = Walk::new(&ids, Pattern::Zipf);
        let asked = |n: usize| walk.order.iter().filter(|id| **id == ids[n]).count() as f64;
        assert!((1.8..2.2).contains(&(asked(0) / asked(1))), "{} and {}", asked(0), asked(1));
    }
}
