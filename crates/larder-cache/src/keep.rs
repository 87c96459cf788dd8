//! The ways of staying fresh, and the pure decision what a key's pilot does next.
//!
//! Pure: `now` is an argument.

pub(crate) mod batch;
pub(crate) mod watch;

use std::time::Duration;

use crate::clock::Time;

/// How a cache keeps its entries fresh in the background.
///
/// An entry is kept while somebody is interested: a subscriber, a caller who waits for a newer index, or
/// a read within [`Options::idle`](crate::Options::idle). Then its keeper ends, and the entry leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refresh {
    /// Not at all: a request that finds nothing fresh asks the source. A subscription polls, as often
    /// as its `max_age` says.
    OnDemand,
    /// By asking every so often, so that no value grows older than `every`, plus up to a sixteenth,
    /// plus the fetch.
    Poll {
        /// Range: 1 ms up to the cache's [`ttl`](crate::Options::ttl).
        every: Duration,
    },
    /// By fetches that wait at the source until the index has changed (Consul's blocking queries).
    Blocking {
        /// How long one such fetch may wait for news. Consul caps it at ten minutes. Range: from 1 ms.
        wait: Duration,
    },
    /// By a stream of changes; only for caches made by [`Cache::watching`](crate::Cache::watching).
    Watch {
        /// A stream from which nothing has come for this long counts as dead. Range: from 1 ms.
        idle_timeout: Duration,
    },
    /// By fetching many keys at a time; only for caches made by
    /// [`Cache::batching`](crate::Cache::batching). An entry that was evicted, invalidated or replaced stays
    /// in memory, beyond the capacity, until it would have been asked about next; there are never more such
    /// than about two for each that is stored.
    Batch {
        /// How often each entry is asked about. Range: from 1 ms.
        every: Duration,
        /// The most keys in one fetch. Range: 1 to 100,000.
        size: u32,
        /// How many such fetches there may be at a time. Range: 1 to 10,000.
        parallel: u32,
    },
    /// From outside: by a [`Publisher`](crate::Publisher) or by `put`. A request that finds nothing asks
    /// the source, and so does a subscription to a key without a value, once.
    Pushed,
}

impl Refresh {
    /// Whether entries that are read are kept, subscribed or not.
    pub(crate) fn keeps_what_is_read(self) -> bool {
        matches!(self, Self::Poll { .. } | Self::Blocking { .. } | Self::Watch { .. })
    }

    /// Whether a pilot stands for the values that it connects; else a publisher does.
    pub(crate) fn connects(self) -> bool {
        matches!(self, Self::Blocking { .. } | Self::Watch { .. })
    }

    /// Whether a caller can wait for an index to pass.
    pub(crate) fn can_park(self) -> bool {
        !matches!(self, Self::OnDemand)
    }
}

/// All that a pilot's next step depends on.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    /// Callers wait for a fetch that has not begun.
    pub(crate) asked: bool,
    /// There are subscribers or parked callers.
    pub(crate) interested: bool,
    /// There is a place for a keeper.
    pub(crate) has_place: bool,
    pub(crate) refresh: Refresh,
    /// The least age that a subscriber asks for.
    pub(crate) max_age: Option<Duration>,
    pub(crate) idle: Duration,
    /// When the source last said something about the key, a value or its absence.
    pub(crate) confirmed_at: Option<Time>,
    /// There is a value, with an index that the source can wait to pass.
    pub(crate) can_wait: bool,
    /// When the value was last read.
    pub(crate) read_at: Option<Time>,
    /// Until when the key's back-off or absence lasts.
    pub(crate) rests_until: Time,
    /// Until when its rate limit says wait.
    pub(crate) paced_until: Time,
    /// Until when its upstream, being down, is left alone.
    pub(crate) closed_until: Option<Time>,
    /// From 0 to 65,535: where in a span of jitter this key lies this time.
    pub(crate) dice: u16,
    /// The value is in the store, and not only with its subscribers.
    pub(crate) stored: bool,
    /// When a fetch of this pilot last succeeded: what it brought may have been old by then.
    pub(crate) landed_at: Time,
    /// The source refused to resume its stream: from then on a list may be fetched.
    pub(crate) relist_at: Option<Time>,
    /// Its stream did not open the last time: from then on it may be opened again.
    pub(crate) reopen_at: Time,
    /// The upstream is down, and the value is no longer fresh: a fetch finds out as much as a stream, and
    /// brings what readers want if it is the streams alone that do not work.
    pub(crate) overdue: bool,
}

/// What a pilot does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Fetch.
    Fetch,
    /// Fetch, waiting at the source for news.
    Park,
    /// Follow the source's stream.
    Watch,
    /// Look again then, or when something happens.
    Rest(Time),
    /// Tell those who wait that the upstream is down.
    Refuse,
    /// End. The entry stays, and is fetched on demand.
    Retire,
    /// End, and let the entry go: nobody has read it for long enough.
    Expire,
}

/// What is next for a key.
pub(crate) fn decide(situation: &Situation, now: Time) -> Next {
    let s = situation;
    if s.asked {
        return match s.closed_until {
            Some(_) => Next::Refuse,
            None if now < s.paced_until => Next::Rest(s.paced_until),
            None => Next::Fetch,
        };
    }
    if !s.has_place || !(s.interested || s.refresh.keeps_what_is_read()) {
        return Next::Retire;
    }
    let idle_at = idle_at(s);
    if idle_at <= now {
        return Next::Expire;
    }
    let at = due(s, now).max(s.rests_until).max(s.paced_until).max(s.closed_until.unwrap_or(now));
    if at > now {
        // A key that is refused for good has no use for a keeper; subscribers still have.
        let refused = at == Time::MAX && !s.interested;
        return if refused { Next::Retire } else { Next::Rest(at.min(idle_at)) };
    }
    match s.refresh {
        Refresh::Blocking { .. } if s.can_wait => Next::Park,
        Refresh::Watch { .. } if s.relist_at.is_none() && !s.overdue => Next::Watch,
        _ => Next::Fetch,
    }
}

impl Situation {
    /// How often the source is polled, if it is.
    fn period(&self) -> Option<Duration> {
        match self.refresh {
            Refresh::OnDemand => self.max_age,
            Refresh::Poll { every } => {
                Some(self.max_age.map_or(every, |max_age| max_age.min(every)))
            }
            // A batch is made of what is stored; what is not, its subscribers' pilot asks for.
            Refresh::Batch { every, .. } => (!self.stored).then_some(every),
            Refresh::Blocking { .. } | Refresh::Watch { .. } | Refresh::Pushed => None,
        }
    }

    /// How old the answer of a fetch may be that nobody has asked for: where the source is itself a
    /// cache, an older copy would be too old at once.
    pub(crate) fn greatest_age(&self) -> Duration {
        self.period().unwrap_or(Duration::MAX)
    }
}

impl Next {
    /// Whether the source is asked.
    pub(crate) fn asks(self) -> bool {
        matches!(self, Self::Fetch | Self::Park | Self::Watch)
    }
}

/// From when on the key counts as idle.
pub(crate) fn idle_at(s: &Situation) -> Time {
    if s.interested {
        return Time::MAX;
    }
    s.read_at.map_or(Time::ZERO, |read_at| read_at.after(s.idle))
}

/// When the source should be asked, if nothing speaks against it.
fn due(s: &Situation, now: Time) -> Time {
    if matches!(s.refresh, Refresh::Blocking { .. } | Refresh::Watch { .. }) {
        return s.relist_at.unwrap_or(now.max(s.reopen_at));
    }
    match (s.confirmed_at, s.period()) {
        (None, _) => now,
        // Somebody else brings the next value.
        (Some(_), None) => Time::MAX,
        (Some(confirmed_at), Some(period)) => {
            // Only ever later, so that the value is really too old when it is asked for again: who
            // polls the same key elsewhere can share the fetch.
            let jitter = (period / 16).mul_f64(f64::from(s.dice) / f64::from(u16::MAX));
            confirmed_at.max(s.landed_at).after(period.saturating_add(jitter))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(100_000);
    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Subscribed, confirmed 4 s ago, read 9 s ago, nothing in the way.
    fn situation(refresh: Refresh) -> Situation {
        Situation {
            asked: false,
            interested: true,
            has_place: true,
            refresh,
            max_age: None,
            idle: secs(60),
            confirmed_at: Some(Time::from_millis(96_000)),
            can_wait: true,
            read_at: Some(Time::from_millis(91_000)),
            rests_until: Time::ZERO,
            paced_until: Time::ZERO,
            closed_until: None,
            dice: 0,
            stored: true,
            landed_at: Time::ZERO,
            relist_at: None,
            reopen_at: Time::ZERO,
            overdue: false,
        }
    }

    const BLOCKING: Refresh = Refresh::Blocking { wait: secs(300) };
    const POLL: Refresh = Refresh::Poll { every: secs(10) };

    #[test]
    fn callers_come_before_everything_but_the_rate_limit_and_a_closed_upstream() {
        let asked = Situation {
            asked: true,
            interested: false,
            rests_until: Time::MAX,
            ..situation(Refresh::OnDemand)
        };
        assert_eq!(decide(&asked, NOW), Next::Fetch);
        let at = NOW.after(secs(1));
        let paced = Situation { paced_until: at, ..asked };
        assert_eq!(decide(&paced, NOW), Next::Rest(at));
        assert_eq!(decide(&Situation { closed_until: Some(at), ..paced }, NOW), Next::Refuse);
    }

    #[test]
    fn a_poll_is_due_when_the_value_is_too_old_and_up_to_a_sixteenth_later() {
        let poll = situation(POLL);
        assert_eq!(decide(&poll, NOW), Next::Rest(Time::from_millis(106_000)));
        let late = Situation { dice: u16::MAX, ..poll };
        assert_eq!(decide(&late, NOW), Next::Rest(Time::from_millis(106_625)));
        assert_eq!(decide(&poll, Time::from_millis(106_000)), Next::Fetch);
    }

    #[test]
    fn a_poll_follows_the_most_demanding_subscriber() {
        let demanding = Situation { max_age: Some(secs(5)), ..situation(POLL) };
        assert_eq!(decide(&demanding, NOW), Next::Rest(Time::from_millis(101_000)));
        let lax = Situation { max_age: Some(secs(50)), ..situation(POLL) };
        assert_eq!(decide(&lax, NOW), Next::Rest(Time::from_millis(106_000)));
        let on_demand = Situation { max_age: Some(secs(5)), ..situation(Refresh::OnDemand) };
        assert_eq!(decide(&on_demand, NOW), Next::Rest(Time::from_millis(101_000)));
    }

    #[test]
    fn a_blocking_keeper_fetches_once_and_then_waits_at_the_source() {
        let first = Situation { confirmed_at: None, can_wait: false, ..situation(BLOCKING) };
        assert_eq!(decide(&first, NOW), Next::Fetch);
        assert_eq!(decide(&situation(BLOCKING), NOW), Next::Park);
    }

    #[test]
    fn a_back_off_holds_every_keeper() {
        for refresh in [BLOCKING, POLL, Refresh::Watch { idle_timeout: secs(9) }] {
            let until = NOW.after(secs(7));
            let failing = Situation { rests_until: until, ..situation(refresh) };
            assert_eq!(decide(&failing, NOW), Next::Rest(until), "{refresh:?}");
        }
    }

    #[test]
    fn without_subscribers_reads_keep_an_entry_for_the_idle_time() {
        let read = Situation { interested: false, ..situation(BLOCKING) };
        assert_eq!(decide(&read, NOW), Next::Park);
        assert_eq!(decide(&read, Time::from_millis(150_999)), Next::Park);
        assert_eq!(decide(&read, Time::from_millis(151_000)), Next::Expire);
        let on_demand = Situation { interested: false, ..situation(Refresh::OnDemand) };
        assert_eq!(decide(&on_demand, NOW), Next::Retire);
    }

    #[test]
    fn a_rest_never_outlasts_the_idle_time() {
        let read =
            Situation { interested: false, rests_until: NOW.after(secs(500)), ..situation(POLL) };
        assert_eq!(decide(&read, NOW), Next::Rest(Time::from_millis(151_000)));
    }

    #[test]
    fn who_is_refused_for_good_rests_for_subscribers_and_ends_for_readers() {
        let refused = Situation { rests_until: Time::MAX, ..situation(BLOCKING) };
        assert_eq!(decide(&refused, NOW), Next::Rest(Time::MAX));
        assert_eq!(decide(&Situation { interested: false, ..refused }, NOW), Next::Retire);
    }

    #[test]
    fn without_a_place_there_is_no_keeper() {
        assert_eq!(decide(&Situation { has_place: false, ..situation(POLL) }, NOW), Next::Retire);
    }
}
