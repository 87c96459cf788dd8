//! What values are asked by.

use std::hash::Hash;

use crate::chance::{Dice, shuffle};

/// A kind of key.
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {
    /// What the kind is called in a table.
    const KIND: &'static str;

    /// The `n`th key.
    fn nth(n: u64) -> Self;
}

impl Key for u64 {
    const KIND: &'static str = "u64";

    fn nth(n: u64) -> Self {
        n
    }
}

impl Key for String {
    const KIND: &'static str = "string32";

    fn nth(n: u64) -> Self {
        format!("{n:032}")
    }
}

/// The first `count` keys in a random order, which `seed` picks.
pub fn shuffled<K: Key>(count: usize, seed: u64) -> Vec<K> {
    let mut numbers: Vec<u64> = (0..count as u64).collect();
    shuffle(&mut numbers, &mut Dice::new(seed));
    numbers.into_iter().map(K::nth).collect()
}
