//! Whether an instance takes traffic, in Eureka's five words.

use std::fmt;

/// Whether an instance takes traffic.
///
/// The variants are in the lexicographic order of their printed names, which is the order in which
/// Eureka's hash of a registry lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It says, or its check says, that it cannot serve.
    Down,
    /// An operator took it out of rotation.
    OutOfService,
    /// It is not ready yet.
    Starting,
    /// Nobody knows.
    Unknown,
    /// It serves.
    Up,
}

impl Status {
    /// Every status, in the order of the printed names.
    pub const ALL: [Self; 5] =
        [Self::Down, Self::OutOfService, Self::Starting, Self::Unknown, Self::Up];

    /// The name that Eureka and Larder's own API print, such as `OUT_OF_SERVICE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Starting => "STARTING",
            Self::Unknown => "UNKNOWN",
            Self::Up => "UP",
        }
    }

    /// The status that [`as_str`](Self::as_str) prints as exactly `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_found_by_its_name_and_listed_in_order() {
        for status in Status::ALL {
            assert_eq!(Status::from_name(status.as_str()), Some(status));
        }
        assert!(Status::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
        assert!(Status::ALL.is_sorted());
        assert_eq!(Status::from_name("up"), None);
    }
}
