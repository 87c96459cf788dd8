//! What `regions=` of a request names.
//!
//! Pure, but for the names that were already complained about, which the caller keeps.

use std::collections::HashSet;

use super::set::RegionSet;

/// How many unknown names are remembered, so that each is logged once. Beyond that none is logged any more:
/// clients choose them.
const MAX_LOGGED: usize = 100;

/// A name as it is compared.
pub(super) fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

/// The regions that a value such as `us-east,eu` names, and the names that no region has. Case, order and
/// repetition do not matter. None if it names nothing at all, which Eureka takes for no question: `regions=` or
/// `regions=,`.
pub(super) fn read(
    value: &str,
    place_of: impl Fn(&str) -> Option<usize>,
) -> Option<(RegionSet, Vec<&str>)> {
    let mut names = value.split(',').map(str::trim).filter(|name| !name.is_empty()).peekable();
    names.peek()?;
    let (mut set, mut unknown) = (RegionSet::LOCAL, Vec::new());
    for name in names {
        match place_of(&folded(name)) {
            Some(place) => set = set.with(place),
            None => unknown.push(name),
        }
    }
    Some((set, unknown))
}

/// The unknown names that were logged.
#[derive(Debug, Default)]
pub(super) struct Logged(HashSet<String>);

impl Logged {
    /// Whether this one is to be logged now: it is new, and there is room to remember it. Long ones count by
    /// how they begin.
    pub(super) fn is_new(&mut self, name: &str) -> bool {
        let begins: String = name.chars().take(64).collect();
        self.0.len() < MAX_LOGGED && self.0.insert(folded(&begins))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Option<usize> {
        ["us-east", "eu", "asia"].iter().position(|one| *one == name)
    }

    #[test]
    fn case_order_and_repetition_do_not_matter() {
        let both = RegionSet::LOCAL.with(0).with(1);
        for value in ["us-east,eu", "EU,US-EAST", "eu,us-east,eu,,", " eu , us-east "] {
            assert_eq!(read(value, place), Some((both, vec![])), "{value}");
        }
    }

    #[test]
    fn unknown_names_are_skipped_and_told() {
        let eu = RegionSet::LOCAL.with(1);
        assert_eq!(read("mars,eu,VENUS", place), Some((eu, vec!["mars", "VENUS"])));
        assert_eq!(read("mars", place), Some((RegionSet::LOCAL, vec!["mars"])));
    }

    #[test]
    fn a_value_that_names_nothing_is_no_question() {
        for value in ["", ",", " , ,"] {
            assert_eq!(read(value, place), None, "{value:?}");
        }
    }

    #[test]
    fn a_name_is_logged_once_and_a_flood_of_names_not_at_all() {
        let mut logged = Logged::default();
        assert!(logged.is_new("Mars") && !logged.is_new("mars"));
        let new = (0..100_000).filter(|n| logged.is_new(&format!("region{n}"))).count();
        assert_eq!(new, MAX_LOGGED - 1);
        assert!(!Logged::default().0.contains("mars"));
        let mut logged = Logged::default();
        assert!(logged.is_new(&"x".repeat(1_000)) && !logged.is_new(&"x".repeat(2_000)));
    }
}
