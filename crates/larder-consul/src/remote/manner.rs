//! In which manner a read is answered, and within which bounds.
//!
//! Pure.

use std::time::Duration;

use larder_cache::Request;

use crate::question::{Endpoint, Question};
use crate::terms::{Consistency, Terms};

/// How old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The oldest copy that will do; none for whatever the cache takes for fresh.
    pub(super) max_age: Option<Duration>,
    /// How long beyond that a copy will do while the upstream fails; none for as long as the cache keeps it.
    pub(super) stale_if_error: Option<Duration>,
}

/// The manner in which a read is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Wait until the index has passed this one.
    Park(u64),
    /// A copy will do.
    Copy,
    /// The upstream is asked, and those who ask at the same time are answered together.
    Ask,
    /// The upstream is asked after this read began: whoever writes and then reads sees what was written.
    AskAnew,
}

/// Whether a read may be answered from a copy at all; one that may not is passed through.
///
/// That is a read that wants what a quorum confirms, and one that waits for another hash: hashes are the agent's
/// own.
pub fn may_be_kept(terms: &Terms) -> bool {
    terms.consistency != Consistency::Consistent && terms.hash.is_none()
}

/// In which manner a read is answered.
pub(super) fn manner(question: &Question, terms: &Terms) -> Manner {
    if terms.index > 0 && counts(&question.endpoint) {
        return Manner::Park(terms.index);
    }
    let wants_news = terms.cached
        && (terms.cache_control.must_revalidate
            || terms.cache_control.max_age == Some(Duration::ZERO));
    if (terms.cached || terms.consistency == Consistency::Stale) && !wants_news {
        return Manner::Copy;
    }
    match question.endpoint {
        Endpoint::Kv(_) => Manner::AskAnew,
        _ => Manner::Ask,
    }
}

/// Within which bounds a read is answered.
pub(super) fn bounds(terms: &Terms) -> Bounds {
    let control = terms.cache_control;
    let stale = terms.max_stale.filter(|_| terms.consistency == Consistency::Stale);
    if !terms.cached {
        // Who sets a bound wants it to hold; Consul asks the leader then, and has no other answer.
        return Bounds { max_age: stale, stale_if_error: stale.map(|_| Duration::ZERO) };
    }
    if control.must_revalidate {
        return Bounds { max_age: Some(Duration::ZERO), stale_if_error: Some(Duration::ZERO) };
    }
    let max_age = [control.max_age, stale].into_iter().flatten().min();
    let stale_if_error = control.stale_if_error.or(max_age.map(|_| Duration::ZERO));
    Bounds { max_age, stale_if_error }
}

/// Whether an agent counts the changes of what is asked, so that it can wait for one.
fn counts(endpoint: &Endpoint) -> bool {
    !matches!(endpoint, Endpoint::Datacenters)
}

impl Bounds {
    /// As the engine is asked.
    pub(super) fn request(self) -> Request {
        let mut request = Request::DEFAULT;
        if let Some(max_age) = self.max_age {
            request = request.max_age(max_age);
        }
        self.endure(request)
    }

    /// As the engine is asked for what no copy answers.
    pub(super) fn news(self) -> Request {
        self.endure(Request::DEFAULT.max_age(Duration::ZERO))
    }

    /// As the engine is asked for a copy of any age that may be given while the upstream fails.
    pub(super) fn endured(self) -> Request {
        self.endure(Request::DEFAULT)
    }

    fn endure(self, request: Request) -> Request {
        match self.stale_if_error {
            Some(bound) => request.stale_if_error(bound),
            None => request,
        }
    }

    /// Whether a copy of this age may be given without asking. `fresh` is what holds where nothing was said.
    pub(super) fn takes(self, age: Duration, fresh: Duration) -> bool {
        age <= self.max_age.unwrap_or(fresh).min(fresh)
    }

    /// Whether a copy of this age may be given while the upstream fails. `kept` is for how long the cache
    /// itself would give one.
    pub(super) fn endures(self, age: Duration, fresh: Duration, kept: Duration) -> bool {
        let fresh = self.max_age.unwrap_or(fresh).min(fresh);
        age <= fresh.saturating_add(self.stale_if_error.unwrap_or(kept).min(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::{Selection, Token};
    use crate::terms::CacheControl;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn about(endpoint: Endpoint) -> Question {
        Question { endpoint, selection: Selection::default(), token: Token::default() }
    }

    fn cached(cache_control: CacheControl) -> Terms {
        Terms { cached: true, cache_control, ..Terms::default() }
    }

    #[test]
    fn a_read_is_answered_in_the_manner_that_it_asks_for() {
        let (health, kv) = (about(Endpoint::Health("a".into())), about(Endpoint::Kv("a".into())));
        let plain = Terms::default();
        assert_eq!(manner(&health, &plain), Manner::Ask);
        assert_eq!(manner(&kv, &plain), Manner::AskAnew);
        let stale = Terms { consistency: Consistency::Stale, ..Terms::default() };
        for (terms, expected) in [
            (stale.clone(), Manner::Copy),
            (cached(CacheControl::default()), Manner::Copy),
            (Terms { index: 7, ..stale }, Manner::Park(7)),
            (Terms { index: 7, ..plain }, Manner::Park(7)),
        ] {
            assert_eq!(manner(&health, &terms), expected);
            assert_eq!(manner(&kv, &terms), expected);
        }
        let datacenters = about(Endpoint::Datacenters);
        let waiting = Terms { index: 7, ..Terms::default() };
        assert_eq!(manner(&datacenters, &waiting), Manner::Ask, "Consul does not count them");
    }

    #[test]
    fn a_copy_that_must_be_revalidated_is_none() {
        let health = about(Endpoint::Health("a".into()));
        let must = cached(CacheControl { must_revalidate: true, ..CacheControl::default() });
        let zero = cached(CacheControl { max_age: Some(secs(0)), ..CacheControl::default() });
        for terms in [must, zero] {
            assert_eq!(manner(&health, &terms), Manner::Ask);
            assert!(!bounds(&terms).endures(secs(1), secs(60), secs(600)));
        }
    }

    #[test]
    fn what_confirms_or_hashes_is_not_kept() {
        let with = |consistency| Terms { consistency, ..Terms::default() };
        assert!(may_be_kept(&with(Consistency::Leader)) && may_be_kept(&with(Consistency::Stale)));
        assert!(!may_be_kept(&with(Consistency::Consistent)));
        assert!(!may_be_kept(&Terms { hash: Some("h".into()), ..Terms::default() }));
    }

    #[test]
    fn max_age_bounds_what_is_given_and_stale_if_error_what_is_given_besides() {
        let control = CacheControl { max_age: Some(secs(5)), ..CacheControl::default() };
        let strict = bounds(&cached(control));
        assert!(strict.takes(secs(5), secs(60)) && !strict.takes(secs(6), secs(60)));
        assert!(!strict.endures(secs(6), secs(60), secs(600)), "nothing was said of errors");
        let lax = bounds(&cached(CacheControl { stale_if_error: Some(secs(10)), ..control }));
        assert!(lax.endures(secs(15), secs(60), secs(600)));
        assert!(!lax.endures(secs(16), secs(60), secs(600)));
        assert!(!lax.endures(secs(9), secs(60), secs(2)), "the cache's own bound is the limit");
    }

    #[test]
    fn a_bound_on_staleness_holds_whatever_happens() {
        let stale =
            Terms { consistency: Consistency::Stale, max_stale: Some(secs(3)), ..Terms::default() };
        let bounds = super::bounds(&stale);
        assert!(bounds.takes(secs(3), secs(60)) && !bounds.takes(secs(4), secs(60)));
        assert!(!bounds.endures(secs(4), secs(60), secs(600)));
        let leader = Terms { consistency: Consistency::Leader, ..stale };
        assert!(super::bounds(&leader).endures(secs(99), secs(60), secs(600)));
    }

    #[test]
    fn cache_control_counts_only_with_cached() {
        let control = CacheControl { must_revalidate: true, ..CacheControl::default() };
        let plain = Terms { cache_control: control, ..Terms::default() };
        assert!(bounds(&plain).endures(secs(99), secs(60), secs(600)));
    }
}
