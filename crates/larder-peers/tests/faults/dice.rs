//! Chance that can be had again: the seed is all that it takes.

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `sides`.
    pub(crate) fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0) % sides
    }

    /// Below `sides`, as an index.
    pub(crate) fn pick(&mut self, sides: usize) -> usize {
        usize::try_from(self.throw(sides as u64)).unwrap()
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.throw(times) == 0
    }
}

/// The same number for the same parts: for what must not depend on the order in which tasks come to ask.
pub(crate) fn fate(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |hash, part| mixed(hash ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
