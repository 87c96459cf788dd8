//! Which of the configured regions are meant.

use std::fmt;

/// How many regions a server follows at most: so that a set of them fits into 16 bits.
pub const MAX_REGIONS: usize = 16;

/// Some of the regions that a server follows, each by its place among them. Of `n` regions there are no more
/// than 2ⁿ sets, whatever clients ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RegionSet(u16);

impl RegionSet {
    /// None: what is registered here alone.
    pub const LOCAL: Self = Self(0);

    /// The first `count` regions; [`MAX_REGIONS`] at most.
    pub fn first(count: usize) -> Self {
        (0..count).fold(Self::LOCAL, Self::with)
    }

    /// With the region at this place, too. A place that no region can have changes nothing.
    #[must_use]
    pub const fn with(self, place: usize) -> Self {
        if place < MAX_REGIONS { Self(self.0 | 1 << place) } else { self }
    }

    /// Whether the region at this place is meant.
    pub const fn has(self, place: usize) -> bool {
        place < MAX_REGIONS && self.0 & (1 << place) != 0
    }

    /// Whether no region is meant.
    pub const fn is_local(self) -> bool {
        self.0 == 0
    }

    /// The places of the regions that are meant, in order.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..MAX_REGIONS).filter(move |place| self.has(*place))
    }
}

impl fmt::Debug for RegionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.places()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_same_however_it_was_put_together() {
        let set = RegionSet::LOCAL.with(3).with(0).with(3);
        assert_eq!(set, RegionSet::LOCAL.with(0).with(3));
        assert_eq!(set.places().collect::<Vec<_>>(), [0, 3]);
        assert!(set.has(0) && !set.has(1) && !set.is_local());
    }

    #[test]
    fn there_is_no_place_beyond_the_last() {
        assert_eq!(RegionSet::LOCAL.with(MAX_REGIONS), RegionSet::LOCAL);
        assert!(!RegionSet::first(100).has(MAX_REGIONS));
        assert_eq!(RegionSet::first(100).places().count(), MAX_REGIONS);
        assert_eq!(RegionSet::first(2), RegionSet::LOCAL.with(0).with(1));
    }
}
