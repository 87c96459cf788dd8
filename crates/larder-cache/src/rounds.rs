//! Single flight, for one key: at most one fetch under way, everyone else waits for it.
//!
//! Fetches go in *rounds*. Callers join the fetch under way; once the key is put or invalidated, that
//! fetch is *outdated*: those who wait for it get its answer, but those who come later wait for the next
//! round, whose fetch begins when the current one is over. So there is never more than one fetch for a
//! key, no answer is older than an invalidation that came before the request, and a key that is
//! invalidated all the time still answers.
//!
//! A fetch may be *parked*: it waits at its source for something new. Nobody joins such a fetch; a caller
//! who needs an answer now has it cut short.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::signal::{Signal, Wakers};

/// The fetch under way for a key, and those who wait for the next.
pub(crate) struct Rounds<O> {
    under_way: Option<Flight<O>>,
    next: Option<Next<O>>,
}

struct Flight<O> {
    /// Made when the first one joins.
    round: Option<Arc<Round<O>>>,
    /// The age that the fetch was asked for.
    max_age: Duration,
    /// The key was put or invalidated since the fetch began.
    outdated: bool,
    parked: bool,
}

struct Next<O> {
    round: Option<Arc<Round<O>>>,
    max_age: Duration,
}

/// One fetch's outcome and those who wait for it.
pub(crate) struct Round<O> {
    outcome: OnceLock<O>,
    told: Signal,
}

impl<O> Default for Rounds<O> {
    fn default() -> Self {
        Self { under_way: None, next: None }
    }
}

impl<O> Rounds<O> {
    /// Joins the fetch under way, or asks for the next.
    ///
    /// Any fetch under way will do, unless `strict`: then it must be one that was asked for a value at
    /// least as young as `max_age`.
    pub(crate) fn join(&mut self, max_age: Duration, strict: bool) -> Arc<Round<O>> {
        if let Some(flight) = &mut self.under_way
            && flight.suits(max_age, strict)
        {
            return Arc::clone(flight.round.get_or_insert_default());
        }
        self.ask(max_age);
        let next = self.next.get_or_insert(Next { round: None, max_age });
        Arc::clone(next.round.get_or_insert_default())
    }

    /// Whether [`join`](Self::join) would find a fetch that somebody has caused already.
    pub(crate) fn would_join(&self, max_age: Duration, strict: bool) -> bool {
        self.next.is_some()
            || self.under_way.as_ref().is_some_and(|flight| flight.suits(max_age, strict))
    }

    /// Asks for a fetch that begins after this, for nobody in particular.
    pub(crate) fn ask(&mut self, max_age: Duration) {
        let next = self.next.get_or_insert(Next { round: None, max_age });
        next.max_age = next.max_age.min(max_age);
    }

    /// Whether a fetch is wanted that has not begun.
    pub(crate) fn is_asked(&self) -> bool {
        self.next.is_some()
    }

    /// Begins the next fetch.
    pub(crate) fn begin(&mut self, parked: bool) {
        let next = self.next.take().unwrap_or(Next { round: None, max_age: Duration::MAX });
        let (round, max_age) = (next.round, next.max_age);
        self.under_way = Some(Flight { round, max_age, outdated: false, parked });
    }

    /// How old the answer of the fetch under way may be.
    pub(crate) fn max_age(&self) -> Duration {
        self.under_way.as_ref().map_or(Duration::MAX, |flight| flight.max_age)
    }

    /// Forgets a parked fetch, which nobody has joined.
    pub(crate) fn abandon(&mut self) {
        self.under_way = None;
    }

    /// Advances the key's generation: a fetch that has begun cannot change the key any more.
    pub(crate) fn outdate(&mut self) {
        if let Some(flight) = &mut self.under_way {
            flight.outdated = true;
        }
    }

    /// Whether what the fetch under way brings may be kept.
    pub(crate) fn is_current(&self) -> bool {
        self.under_way.as_ref().is_some_and(|flight| !flight.outdated)
    }

    /// Whether somebody waits for the fetch under way.
    pub(crate) fn is_joined(&self) -> bool {
        self.under_way.as_ref().is_some_and(|flight| flight.round.is_some())
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether the fetch under way is parked and should not be: somebody wants an answer now, or what
    /// it waits to pass is not the key's value any more.
    pub(crate) fn is_to_be_cut(&self) -> bool {
        self.under_way.as_ref().is_some_and(|flight| flight.parked && flight.outdated)
            || self.next.is_some()
    }

    /// Ends the fetch under way. Its outcome is to be told after the shard is unlocked.
    pub(crate) fn land(&mut self) -> Option<Arc<Round<O>>> {
        self.under_way.take().and_then(|flight| flight.round)
    }

    /// Ends everything; gives back whoever waits, for this fetch or for the next.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = Arc<Round<O>>> + use<O> {
        let next = self.next.take().and_then(|next| next.round);
        [self.land(), next].into_iter().flatten()
    }
}

impl<O> Flight<O> {
    fn suits(&self, max_age: Duration, strict: bool) -> bool {
        let too_lax = strict && max_age < self.max_age;
        !(self.outdated || self.parked || too_lax)
    }
}

impl<O> Default for Round<O> {
    fn default() -> Self {
        Self { outcome: OnceLock::new(), told: Signal::default() }
    }
}

impl<O: Clone> Round<O> {
    /// Sets the outcome, for everyone who waits and whoever is still about to.
    pub(crate) fn tell(&self, outcome: O) -> Wakers {
        // A round has one outcome: the first.
        let _ = self.outcome.set(outcome);
        self.told.raise()
    }

    /// Waits for the outcome. Cancel-safe: the outcome stays where it is.
    pub(crate) async fn outcome(&self) -> O {
        loop {
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            // Set before the rise: once past it, the outcome is there.
            self.told.past(0).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Duration = Duration::MAX;

    #[test]
    fn who_comes_while_a_fetch_is_under_way_joins_it() {
        let mut rounds: Rounds<u8> = Rounds::default();
        let first = rounds.join(ANY, false);
        rounds.begin(false);
        assert!(Arc::ptr_eq(&first, &rounds.join(ANY, false)));
        assert!(!rounds.is_asked());
    }

    #[test]
    fn who_comes_after_an_invalidation_waits_for_the_next_fetch() {
        let mut rounds: Rounds<u8> = Rounds::default();
        let before = rounds.join(ANY, false);
        rounds.begin(false);
        rounds.outdate();
        let after = rounds.join(ANY, false);
        assert!(!Arc::ptr_eq(&before, &after));
        assert!(!rounds.is_current() && rounds.is_asked());
        assert!(Arc::ptr_eq(&before, &rounds.land().unwrap()));
        rounds.begin(false);
        assert!(rounds.is_current());
        assert!(Arc::ptr_eq(&after, &rounds.land().unwrap()));
    }

    #[test]
    fn who_is_strict_does_not_join_a_fetch_that_was_asked_for_less() {
        let mut rounds: Rounds<u8> = Rounds::default();
        let lax = rounds.join(Duration::from_secs(9), false);
        rounds.begin(false);
        assert!(Arc::ptr_eq(&lax, &rounds.join(Duration::from_secs(9), true)));
        assert!(Arc::ptr_eq(&lax, &rounds.join(Duration::from_secs(1), false)));
        assert!(!Arc::ptr_eq(&lax, &rounds.join(Duration::from_secs(1), true)));
        rounds.land();
        rounds.begin(false);
        assert_eq!(rounds.max_age(), Duration::from_secs(1));
    }

    #[test]
    fn nobody_joins_a_parked_fetch_and_whoever_wants_one_cuts_it() {
        let mut rounds: Rounds<u8> = Rounds::default();
        rounds.begin(true);
        assert!(!rounds.is_to_be_cut());
        rounds.join(ANY, false);
        assert!(rounds.is_to_be_cut());
        rounds.land();
        rounds.begin(true);
        assert!(!rounds.is_to_be_cut());
        rounds.outdate();
        assert!(rounds.is_to_be_cut());
    }
}
