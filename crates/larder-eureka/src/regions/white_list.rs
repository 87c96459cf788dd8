//! Which applications of a region are shown here.

use std::collections::HashSet;

use larder_registry::model::Name;

/// The applications of a region that are shown here; all of them by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhiteList(Option<HashSet<Name>>);

impl WhiteList {
    /// Every application.
    pub const ALL: Self = Self(None);

    /// These alone, in any case; none for an empty list.
    pub fn of<'a>(apps: impl IntoIterator<Item = &'a str>) -> Self {
        Self(Some(apps.into_iter().map(Name::new).collect()))
    }

    /// Whether this application is shown.
    pub fn shows(&self, app: &Name) -> bool {
        self.0.as_ref().is_none_or(|apps| apps.contains(app))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_what_is_on_it_and_no_list_shows_all() {
        let orders = WhiteList::of(["Orders"]);
        assert!(orders.shows(&Name::new("ORDERS")) && !orders.shows(&Name::new("stock")));
        assert!(WhiteList::ALL.shows(&Name::new("stock")));
        assert!(!WhiteList::of([]).shows(&Name::new("stock")));
    }
}
