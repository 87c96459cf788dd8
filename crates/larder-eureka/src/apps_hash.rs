//! The hash by which clients tell whether they have drifted from the registry.
//!
//! Pure, and independent of the registry's size: the counts are kept along with every change.

use std::fmt::Write;

use larder_registry::catalog::StatusCounts;
use larder_registry::model::Status;

/// Eureka's hash: `DOWN_1_UP_2_` for one instance down and two up; empty for an empty registry. Only
/// statuses that occur, in the order of their names.
pub fn apps_hash(counts: &StatusCounts) -> String {
    let mut hash = String::new();
    for status in Status::ALL {
        let count = counts.of(status);
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = write!(hash, "{status}_{count}_");
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_in_the_order_of_their_names() {
        let mut counts = StatusCounts::default();
        assert_eq!(apps_hash(&counts), "");
        for (status, count) in [
            (Status::Up, 1),
            (Status::Down, 2),
            (Status::Starting, 3),
            (Status::OutOfService, 4),
            (Status::Unknown, 5),
        ] {
            (0..count).for_each(|_| counts.add(status));
        }
        let printed_by_netflix = "DOWN_2_OUT_OF_SERVICE_4_STARTING_3_UNKNOWN_5_UP_1_";
        assert_eq!(apps_hash(&counts), printed_by_netflix);
    }
}
