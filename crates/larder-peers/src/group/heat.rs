//! Which values of others are worth a copy.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_cache::Time;

use crate::group::rates::Rates;

/// Of which values that others own a copy is kept, in the hot cache, when they have been asked for.
///
/// What is [set](crate::Group::set) with [`HotCopy::Keep`](crate::HotCopy::Keep) is kept whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum HotPolicy {
    /// Of all, as mailgun's.
    #[default]
    Always,
    /// Of one in so many, by chance, as golang's of one in ten.
    OneIn(NonZeroU32),
    /// Of those that are asked for so often. The owner counts how often its peers ask it for each key, and says
    /// so; and who asks counts as well, because the owner does not see what a copy answers: as if all others
    /// asked as often. The same on every node; owners that do not say it, as Go's, are not counted with.
    ///
    /// Keys are counted in fixed memory, 256 KiB for a group, so that a rate may be too high, and hardly ever
    /// too low.
    ByRate {
        /// Gets a second, over about a minute. Range: above 0, and finite.
        qps: f64,
    },
}

/// Judges by the policy, and counts what it needs for that.
#[derive(Debug)]
pub(crate) struct Heat {
    policy: HotPolicy,
    /// What is asked of this process by its peers, and by its own callers of keys that others own.
    rates: Option<(Rates, Rates)>,
    hasher: RandomState,
    /// How many were judged: chance enough.
    judged: AtomicU64,
}

impl Heat {
    pub(super) fn new(policy: HotPolicy, now: Time) -> Self {
        let counts = matches!(policy, HotPolicy::ByRate { .. });
        let rates = counts.then(|| (Rates::new(now), Rates::new(now)));
        Self { policy, rates, hasher: RandomState::new(), judged: AtomicU64::new(0) }
    }

    /// Whether gets are counted at all.
    pub(super) fn counts(&self) -> bool {
        self.rates.is_some()
    }

    /// Counts a get of a caller here.
    pub(super) fn note_own(&self, key: &[u8], now: Time) {
        if let Some((_, own)) = &self.rates {
            own.note(self.hasher.hash_one(key), now);
        }
    }

    /// Counts a peer's get; says how many there are in a second.
    pub(super) fn note_peers(&self, key: &[u8], now: Time) -> Option<f64> {
        let (peers, _) = self.rates.as_ref()?;
        let hash = self.hasher.hash_one(key);
        peers.note(hash, now);
        Some(peers.per_second(hash, now))
    }

    /// Whether to keep a copy of a value whose owner reports so many gets a second, and has so many peers, this
    /// process among them.
    pub(crate) fn keeps(&self, key: &[u8], reported: Option<f64>, peers: usize, now: Time) -> bool {
        match (self.policy, &self.rates) {
            (HotPolicy::OneIn(many), _) => {
                let nth = self.judged.fetch_add(1, Ordering::Relaxed);
                self.hasher.hash_one(nth).is_multiple_of(u64::from(many.get()))
            }
            (HotPolicy::ByRate { qps }, Some((_, own))) => {
                let own = own.per_second(self.hasher.hash_one(key), now);
                let peers = f64::from(u32::try_from(peers).unwrap_or(u32::MAX));
                reported.unwrap_or(0.0).max(own * peers) >= qps
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1_000)
    }

    #[test]
    fn a_copy_is_kept_for_what_the_owner_or_this_process_is_asked_for_often() {
        let heat = Heat::new(HotPolicy::ByRate { qps: 1.0 }, at(0));
        assert!(!heat.keeps(b"k", None, 3, at(5)) && !heat.keeps(b"k", Some(0.9), 3, at(5)));
        assert!(heat.keeps(b"k", Some(1.0), 3, at(5)), "the owner says so");
        (0..3).for_each(|_| heat.note_own(b"k", at(5)));
        assert!(!heat.keeps(b"k", None, 3, at(5)), "0.3 a second, times three");
        heat.note_own(b"k", at(5));
        assert!(heat.keeps(b"k", None, 3, at(5)) && !heat.keeps(b"other", None, 3, at(5)));
        assert_eq!(
            heat.note_peers(b"k", at(5)),
            Some(0.1),
            "what is asked here is not what is asked elsewhere"
        );
    }

    #[test]
    fn one_in_ten_is_about_one_in_ten() {
        let heat = Heat::new(HotPolicy::OneIn(NonZeroU32::new(10).unwrap()), at(0));
        let kept = (0..10_000).filter(|_| heat.keeps(b"k", None, 1, at(0))).count();
        assert!((700..1_300).contains(&kept), "{kept}");
        assert_eq!(heat.note_peers(b"k", at(0)), None);
    }
}
