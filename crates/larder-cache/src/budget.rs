//! One weight budget for several caches.

use std::sync::{Arc, Weak};

use crate::sync::{Mutex, lock};

/// A weight that several caches may hold together.
///
/// Each cache has a [share](Self::share). While the total is within the budget, a cache may hold more
/// than its share; beyond it, whoever exceeds its share by most is confined to less, and evicts its
/// least valuable entries, until an eighth of the budget is free again. So a cache that is busy takes
/// what an idle one leaves.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Ledger>);

/// One cache's part of a [`Budget`]; goes into [`Options::share`](crate::Options::share) of that cache
/// alone.
#[derive(Debug, Clone)]
pub struct Share {
    ledger: Arc<Ledger>,
    part: f64,
}

#[derive(Debug)]
struct Ledger {
    limit: u64,
    members: Mutex<Vec<Member>>,
}

struct Member {
    part: f64,
    cache: Weak<dyn Holder>,
}

/// A cache, as a budget sees it.
pub(crate) trait Holder: Send + Sync {
    fn weight(&self) -> u64;
    /// Holds no more than `capacity` from now on; evicts the least valuable of what is too much.
    fn confine(&self, capacity: u64);
    /// May hold as much as its own capacity again.
    fn release(&self);
}

impl Budget {
    /// A budget of `limit`, in the unit of the caches' [`capacity`](crate::Options::capacity).
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Ledger { limit, members: Mutex::default() }))
    }

    /// A share of `part` of the whole, for one cache. The parts of all shares should add up to 1.
    ///
    /// `part` is taken as the nearest number from 0 to 1.
    #[must_use]
    pub fn share(&self, part: f64) -> Share {
        Share { ledger: Arc::clone(&self.0), part: part.clamp(0.0, 1.0) }
    }

    /// The weight that the caches hold together.
    pub fn weight(&self) -> u64 {
        self.0.holdings().iter().map(|held| held.weight).sum()
    }
}

impl Share {
    pub(crate) fn join(&self, cache: Weak<dyn Holder>) {
        lock(&self.ledger.members).push(Member { part: self.part, cache });
    }

    /// Confines who exceeds its share if the whole is above its limit, and lets go of everyone if it is
    /// far below. `evicting` says that this cache has just evicted something. No lock may be held.
    pub(crate) fn settle(&self, evicting: bool) {
        let holdings = self.ledger.holdings();
        let weights: Vec<_> = holdings.iter().map(|held| (held.weight, held.part)).collect();
        match verdict(&weights, self.ledger.limit, evicting) {
            Verdict::Confine { who, to } => holdings[who].cache.confine(to),
            Verdict::ReleaseAll => holdings.iter().for_each(|held| held.cache.release()),
            Verdict::Leave => {}
        }
    }
}

struct Holding {
    weight: u64,
    part: f64,
    cache: Arc<dyn Holder>,
}

impl Ledger {
    fn holdings(&self) -> Vec<Holding> {
        let mut members = lock(&self.members);
        members.retain(|member| member.cache.strong_count() > 0);
        let held = |member: &Member| {
            let cache = member.cache.upgrade()?;
            Some(Holding { weight: cache.weight(), part: member.part, cache })
        };
        members.iter().filter_map(held).collect()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Confine { who: usize, to: u64 },
    ReleaseAll,
    Leave,
}

/// Whom to confine, or whether to let go of all. What is taken back is a sixteenth of the limit more
/// than is needed, so that this happens seldom.
///
/// Pure.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share need not be exact, and lies between 0 and the limit"
)]
fn verdict(holdings: &[(u64, f64)], limit: u64, evicting: bool) -> Verdict {
    let total: u64 = holdings.iter().map(|(weight, _)| weight).sum();
    if total <= limit {
        let ample = evicting && total < limit - limit / 8;
        return if ample { Verdict::ReleaseAll } else { Verdict::Leave };
    }
    let share = |part: f64| (limit as f64 * part) as u64;
    let excess = |(weight, part): &(u64, f64)| weight.saturating_sub(share(*part));
    let worst = holdings.iter().map(excess).enumerate().max_by_key(|(_, excess)| *excess);
    match worst {
        Some((who, most)) if most > 0 => {
            let back = (total - limit + limit / 16).min(most);
            Verdict::Confine { who, to: (holdings[who].0 - back).max(1) }
        }
        _ => Verdict::Leave,
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("part", &self.part).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_confined_while_the_whole_fits() {
        assert_eq!(verdict(&[(90, 0.5), (10, 0.5)], 100, true), Verdict::Leave);
    }

    #[test]
    fn the_one_furthest_above_its_share_is_confined() {
        let confined = |who, to| Verdict::Confine { who, to };
        assert_eq!(verdict(&[(70, 0.5), (40, 0.5)], 100, true), confined(0, 54));
        assert_eq!(verdict(&[(60, 0.875), (60, 0.125)], 100, true), confined(1, 34));
    }

    #[test]
    fn nobody_is_confined_below_its_share() {
        let verdict = verdict(&[(52, 0.5), (51, 0.5)], 100, true);
        assert_eq!(verdict, Verdict::Confine { who: 0, to: 50 });
    }

    #[test]
    fn all_are_released_when_one_evicts_although_there_is_room() {
        assert_eq!(verdict(&[(50, 0.5), (30, 0.5)], 100, true), Verdict::ReleaseAll);
        assert_eq!(verdict(&[(50, 0.5), (30, 0.5)], 100, false), Verdict::Leave);
    }
}
