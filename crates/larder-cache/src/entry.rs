//! An entry, and the pure judgement whether it may answer a request.
//!
//! Pure: `now` is an argument.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Time, millis};
use crate::lead::Lead;
use crate::request::Request;
use crate::standing::Standing;

/// A shared entry. Nothing ever holds one weakly, so it needs no second counter.
pub(crate) type Entry<V> = triomphe::Arc<Versioned<V>>;

/// `vouched_ms` while the source vouches all the time, as it does for a value that it would tell us
/// about if it changed.
const ALWAYS: i64 = i64::MAX;

/// Reads are remembered to within 64 ms, which lets four bytes tell eight years.
const READ_SHIFT: u32 = 6;

/// One value with what is known about it, replaced whole; only its freshness moves, when the source
/// says "not modified", and the moment of its last read.
#[derive(Debug)]
pub(crate) struct Versioned<V> {
    vouched_ms: AtomicI64,
    fresh_until: AtomicU64,
    /// As callers see it: it never goes backwards.
    index: u64,
    /// How far that is ahead of the source's own index, which may start again from a lower one.
    lead: Lead,
    weight: u32,
    read_at: AtomicU32,
    standing: Standing,
    value: V,
}

/// How fresh an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// When the source last vouched for the value, in milliseconds on the cache's clock. Negative
    /// if that was before the clock was made: a value may arrive from another cache with an age.
    vouched_ms: i64,
    /// Until when the cache takes the value for fresh.
    fresh_until: Time,
}

/// What an entry may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Serve it.
    Fresh,
    /// Fetch; serve it if the fetch fails.
    Stale,
    /// Fetch; never serve it.
    Expired,
}

/// Whether an entry may answer `request` at `now`, where the cache lets entries be stale for
/// `endure` if the source fails.
pub(crate) fn judge(
    freshness: Freshness,
    request: &Request,
    endure: Duration,
    now: Time,
) -> Verdict {
    let age = freshness.age_ms(now);
    let max_age = request.max_age_ms();
    if now < freshness.fresh_until && age < max_age {
        return Verdict::Fresh;
    }
    let overdue = millis(now.since(freshness.fresh_until)).max(age.saturating_sub(max_age));
    if overdue < request.stale_if_error_ms().min(millis(endure)) {
        Verdict::Stale
    } else {
        Verdict::Expired
    }
}

impl Freshness {
    /// Of a value that arrived at `now`, `age` after it had left its owner, fresh for `ttl`.
    pub(crate) fn new(now: Time, age: Duration, ttl: Duration) -> Self {
        let age = i64::try_from(millis(age)).unwrap_or(i64::MAX);
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        Self { vouched_ms: now_ms.saturating_sub(age), fresh_until: now.after(ttl) }
    }

    /// Of a value that the source would tell us about if it changed.
    const CONNECTED: Self = Self { vouched_ms: ALWAYS, fresh_until: Time::MAX };

    /// Milliseconds since the source last vouched for the value.
    pub(crate) fn age_ms(self, now: Time) -> u64 {
        // What is vouched for always lies ahead of every moment, which is no age.
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        u64::try_from(now_ms.saturating_sub(self.vouched_ms)).unwrap_or(0)
    }
}

impl<V> Versioned<V> {
    /// A value whose source says `index`; `lead` is how far callers' indexes are ahead of that.
    pub(crate) fn new(value: V, index: u64, lead: Lead, weight: u32, freshness: Freshness) -> Self {
        Self {
            vouched_ms: AtomicI64::new(freshness.vouched_ms),
            fresh_until: AtomicU64::new(freshness.fresh_until.as_millis()),
            index: index.saturating_add(lead.get()),
            lead,
            weight,
            read_at: AtomicU32::new(0),
            standing: Standing::new(false),
            value,
        }
    }

    /// As it is, but of a value that nobody asks about again.
    pub(crate) fn terminal(self) -> Self {
        Self { standing: Standing::new(true), ..self }
    }

    /// Where it stands in the schedule of batches.
    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(crate) fn value(&self) -> &V {
        &self.value
    }

    /// The index that callers see.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// The index that the source sees.
    pub(crate) fn source_index(&self) -> u64 {
        self.index - self.lead.get()
    }

    /// How far the index that callers see must be ahead of the source's, when the source says `index`
    /// next: more than now, if that has gone backwards.
    pub(crate) fn next_lead(&self, index: u64) -> Lead {
        if index >= self.source_index() {
            return self.lead;
        }
        Lead::at_least(self.index.saturating_add(1).saturating_sub(index))
    }

    pub(crate) fn weight(&self) -> u64 {
        u64::from(self.weight)
    }

    pub(crate) fn freshness(&self) -> Freshness {
        Freshness {
            vouched_ms: self.vouched_ms.load(Ordering::Relaxed),
            fresh_until: Time::from_millis(self.fresh_until.load(Ordering::Relaxed)),
        }
    }

    /// Moves the freshness: the source says that the value still holds.
    ///
    /// A reader may see one of the two moved and the other not. Either half is true by itself, and
    /// the old half can only make the entry look older than it is.
    pub(crate) fn vouch(&self, freshness: Freshness) {
        self.vouched_ms.store(freshness.vouched_ms, Ordering::Relaxed);
        self.fresh_until.store(freshness.fresh_until.as_millis(), Ordering::Relaxed);
    }

    /// From now on the source would tell us if the value changed.
    pub(crate) fn connect(&self) {
        self.vouch(Freshness::CONNECTED);
    }

    /// The source no longer would: the last contact was at `since`. Does nothing to an entry that was
    /// not connected.
    pub(crate) fn disconnect(&self, since: Time, ttl: Duration) {
        if self.is_connected() {
            self.vouch(Freshness::new(since, Duration::ZERO, ttl));
        }
    }

    #[inline]
    pub(crate) fn fresh_until(&self) -> Time {
        Time::from_millis(self.fresh_until.load(Ordering::Relaxed))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.vouched_ms.load(Ordering::Relaxed) == ALWAYS
    }

    /// When the source last vouched for the value; at the earliest the clock's beginning.
    pub(crate) fn vouched_at(&self, now: Time) -> Time {
        let age = Duration::from_millis(self.freshness().age_ms(now));
        Time::ZERO.after(now.since(Time::ZERO).saturating_sub(age))
    }

    /// Remembers a read. A store only once in a while, so that readers on several cores do not take
    /// the line from each other for this.
    #[inline]
    pub(crate) fn touch(&self, now: Time) {
        let tick = tick(now);
        if self.read_at.load(Ordering::Relaxed) != tick {
            self.read_at.store(tick, Ordering::Relaxed);
        }
    }

    /// When it was last read, or not long before.
    pub(crate) fn read_at(&self) -> Time {
        Time::from_millis(u64::from(self.read_at.load(Ordering::Relaxed)) << READ_SHIFT)
    }

    /// This entry replaces `old`, which does not make it read.
    pub(crate) fn inherit_read(&self, old: &Self) {
        self.read_at.store(old.read_at.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "eight years from the clock's beginning")]
fn tick(now: Time) -> u32 {
    (now.as_millis() >> READ_SHIFT) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    /// Arrived at 100 s, fresh until 110 s, endured until 115 s.
    fn verdict(request: Request, now: Time) -> Verdict {
        judge(Freshness::new(at(100), secs(0), secs(10)), &request, secs(5), now)
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_expired() {
        let request = Request::DEFAULT;
        assert_eq!(verdict(request, Time::from_millis(109_999)), Verdict::Fresh);
        assert_eq!(verdict(request, at(110)), Verdict::Stale);
        assert_eq!(verdict(request, Time::from_millis(114_999)), Verdict::Stale);
        assert_eq!(verdict(request, at(115)), Verdict::Expired);
    }

    #[test]
    fn a_max_age_shortens_both_bounds_and_never_lengthens_them() {
        let request = Request::DEFAULT.max_age(secs(4));
        assert_eq!(verdict(request, at(103)), Verdict::Fresh);
        assert_eq!(verdict(request, at(104)), Verdict::Stale);
        assert_eq!(verdict(request, at(109)), Verdict::Expired);
        assert_eq!(verdict(Request::DEFAULT.max_age(secs(60)), at(110)), Verdict::Stale);
    }

    #[test]
    fn a_max_age_of_zero_is_never_fresh() {
        assert_eq!(verdict(Request::DEFAULT.max_age(secs(0)), at(100)), Verdict::Stale);
    }

    #[test]
    fn the_tighter_of_two_staleness_bounds_holds() {
        assert_eq!(verdict(Request::DEFAULT.stale_if_error(secs(2)), at(112)), Verdict::Expired);
        assert_eq!(verdict(Request::DEFAULT.stale_if_error(secs(99)), at(115)), Verdict::Expired);
        assert_eq!(verdict(Request::DEFAULT.stale_if_error(secs(0)), at(110)), Verdict::Expired);
    }

    #[test]
    fn a_value_may_be_older_than_the_clock() {
        let freshness = Freshness::new(at(1), secs(20), secs(10));
        assert_eq!(freshness.age_ms(at(2)), 21_000);
        let request = Request::DEFAULT.max_age(secs(20));
        assert_eq!(judge(freshness, &request, secs(5), at(2)), Verdict::Stale);
    }

    #[test]
    fn for_ever_is_for_ever() {
        let freshness = Freshness::new(at(1), secs(0), Duration::MAX);
        let later = Time::from_millis(u64::MAX - 1);
        assert_eq!(judge(freshness, &Request::DEFAULT, secs(0), later), Verdict::Fresh);
    }

    proptest! {
        /// Time only makes an entry worse, and a narrower request never makes it better.
        #[test]
        fn judgement_is_monotonic(
            ttl in 0_u64..50, age in 0_u64..50, endure in 0_u64..50, now in 100_u64..200,
            later in 0_u64..50, max_age in 0_u64..50, bound in 0_u64..50,
        ) {
            let rank = |verdict| match verdict { Verdict::Fresh => 0, Verdict::Stale => 1, Verdict::Expired => 2 };
            let freshness = Freshness::new(at(100), secs(age), secs(ttl));
            let wide = Request::DEFAULT;
            let narrow = wide.max_age(secs(max_age)).stale_if_error(secs(bound));
            let judged = |request: &Request, now| rank(judge(freshness, request, secs(endure), at(now)));
            prop_assert!(judged(&wide, now) <= judged(&wide, now + later));
            prop_assert!(judged(&wide, now) <= judged(&narrow, now));
        }
    }

    #[test]
    fn a_connected_entry_has_no_age_until_contact_is_lost() {
        let entry =
            Versioned::new((), 7, Lead::default(), 1, Freshness::new(at(1), secs(0), secs(10)));
        entry.connect();
        assert_eq!(judge(entry.freshness(), &Request::DEFAULT, secs(5), at(9_999)), Verdict::Fresh);
        assert_eq!(entry.freshness().age_ms(at(9_999)), 0);
        entry.disconnect(at(100), secs(10));
        assert_eq!(entry.freshness().age_ms(at(103)), 3_000);
        assert_eq!(judge(entry.freshness(), &Request::DEFAULT, secs(5), at(110)), Verdict::Stale);
        entry.disconnect(at(200), secs(10));
        assert_eq!(entry.freshness().age_ms(at(103)), 3_000, "it was lost before");
    }

    #[test]
    fn the_index_that_callers_see_never_goes_backwards() {
        let freshness = Freshness::new(at(1), secs(0), secs(10));
        let mut entry = Versioned::new((), 0, Lead::default(), 1, freshness);
        let mut seen = Vec::new();
        for index in [5, 9, 3, 4, 4, 1, 100] {
            entry = Versioned::new((), index, entry.next_lead(index), 1, freshness);
            assert_eq!(entry.source_index(), index);
            seen.push(entry.index());
        }
        assert_eq!(seen, [5, 9, 10, 11, 11, 12, 111]);
    }

    #[test]
    fn a_read_is_remembered_to_within_64_ms() {
        let entry =
            Versioned::new((), 0, Lead::default(), 1, Freshness::new(at(1), secs(0), secs(10)));
        entry.touch(Time::from_millis(123_456));
        let missing = 123_456 - entry.read_at().as_millis();
        assert!(missing < 64, "{missing}");
    }
}
