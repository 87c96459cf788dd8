//! How keys that are due together are divided into batches, and the check that nothing gets lost.
//!
//! Pure.

use std::collections::HashMap;
use std::hash::Hash;

/// What became of a division: indexes of the keys that were to be divided.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Division {
    /// Each key is in one batch at most; no batch is empty.
    pub(crate) batches: Vec<Vec<usize>>,
    /// Those that are in none.
    pub(crate) dropped: Vec<usize>,
    /// How many were named more than once.
    pub(crate) doubled: u64,
    /// How many were named and not there.
    pub(crate) invented: u64,
}

impl Division {
    /// Reads `batches`, as somebody's function has made them of `due`.
    pub(crate) fn read<K: Hash + Eq>(due: &[K], batches: Vec<Vec<K>>) -> Self {
        let places = due.iter().enumerate().map(|(place, key)| (key, place));
        let places: HashMap<&K, usize> = places.collect();
        let mut division = Self::default();
        let mut seen = vec![false; due.len()];
        for batch in batches {
            let mut read = Vec::with_capacity(batch.len());
            for key in batch {
                match places.get(&key) {
                    None => division.invented += 1,
                    Some(&place) if seen[place] => division.doubled += 1,
                    Some(&place) => {
                        seen[place] = true;
                        read.push(place);
                    }
                }
            }
            if !read.is_empty() {
                division.batches.push(read);
            }
        }
        division.dropped = (0..due.len()).filter(|place| !seen[*place]).collect();
        division
    }

    /// How many keys were not divided as they should have been.
    pub(crate) fn mistakes(&self) -> u64 {
        self.dropped.len() as u64 + self.doubled + self.invented
    }
}

/// Divides `due` by a key of theirs, in batches of `size` at most.
pub(crate) fn by_key<I: Clone, G: Hash + Eq>(
    due: impl IntoIterator<Item = (I, G)>,
    size: usize,
) -> Vec<Vec<I>> {
    let mut open: HashMap<G, usize> = HashMap::new();
    let mut batches: Vec<Vec<I>> = Vec::new();
    for (id, group) in due {
        let place = open.get(&group).copied().filter(|place| batches[*place].len() < size);
        if let Some(place) = place {
            batches[place].push(id);
        } else {
            open.insert(group, batches.len());
            batches.push(vec![id]);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faithful_division_is_read_as_it_is() {
        let division = Division::read(&["a", "b", "c"], vec![vec!["c", "a"], vec!["b"]]);
        assert_eq!(division.batches, [vec![2, 0], vec![1]]);
        assert_eq!(division.mistakes(), 0);
    }

    #[test]
    fn what_is_dropped_doubled_or_invented_is_found() {
        let division =
            Division::read(&["a", "b", "c"], vec![vec!["a", "x"], vec![], vec!["a", "c"]]);
        assert_eq!(division.batches, [vec![0], vec![2]]);
        assert_eq!(division.dropped, [1]);
        assert_eq!((division.doubled, division.invented, division.mistakes()), (1, 1, 3));
    }

    #[test]
    fn by_key_one_group_to_a_batch_and_no_batch_too_large() {
        let due = [(1, 'a'), (2, 'b'), (3, 'a'), (4, 'a'), (5, 'b')];
        assert_eq!(by_key(due, 2), [vec![1, 3], vec![2, 5], vec![4]]);
    }
}
