//! Names of services, and the key of an instance.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A service's name: kept as written, compared without regard to case.
///
/// Eureka prints names in upper case and Consul's DNS ignores case, so `Orders` and `ORDERS` are one
/// service everywhere; whoever registered first is quoted as they wrote it.
#[derive(Clone)]
pub struct Name {
    written: Arc<str>,
    folded: Arc<str>,
}

impl Name {
    /// The name `written`.
    pub fn new(written: &str) -> Self {
        let lower = written.to_lowercase();
        let written = Arc::<str>::from(written);
        let folded = if *lower == *written { written.clone() } else { lower.into() };
        Self { written, folded }
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The form that is compared: lower case.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

impl From<&str> for Name {
    fn from(written: &str) -> Self {
        Self::new(written)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Which instance of which service. Ids are compared exactly, and only within their service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The service.
    pub service: Name,
    /// The instance's id in that service.
    pub id: Arc<str>,
}

impl Key {
    /// The instance `id` of `service`.
    pub fn new(service: &str, id: &str) -> Self {
        Self { service: Name::new(service), id: id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_kept_as_written_and_compared_without_case() {
        let name = Name::new("Orders-API");
        assert_eq!(name.as_str(), "Orders-API");
        assert_eq!(name, Name::new("ORDERS-api"));
        assert_eq!(HashSet::from([name]).len(), HashSet::from([Name::new("orders-api")]).len());
        assert_ne!(Name::new("orders"), Name::new("order"));
    }

    #[test]
    fn ids_are_compared_exactly() {
        assert_eq!(Key::new("A", "i"), Key::new("a", "i"));
        assert_ne!(Key::new("a", "I"), Key::new("a", "i"));
    }
}
