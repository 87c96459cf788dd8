//! What a key's subscribers and parked callers look at: its latest news, posted once for all of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::millis;
use crate::entry::Entry;
use crate::error::Error;
use crate::signal::{Signal, Wakers};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, lock};

/// The news of one key.
///
/// Posts happen under the key's shard lock, in the order in which the key changes.
pub(crate) struct Topic<V, E> {
    /// Rises when something happens that the key's pilot should look at.
    pub(crate) beacon: Signal,
    /// Rises with each post; its version is the number of posts.
    pub(crate) posted: Signal,
    board: Mutex<Board<V, E>>,
    interested: AtomicUsize,
    /// The highest index that was published: no later one is lower.
    highest: AtomicU64,
}

/// One piece of news: a value, an error, or a stale value and the error beside it.
pub(crate) struct News<V, E> {
    pub(crate) entry: Option<Entry<V>>,
    pub(crate) error: Option<Error<E>>,
}

/// What a reader finds who has not seen the latest news.
pub(crate) struct Unread<V, E> {
    pub(crate) news: News<V, E>,
    /// What the reader has seen with it.
    pub(crate) version: u64,
    /// How many posts it has missed before it.
    pub(crate) missed: u64,
}

/// What a post leaves to be done outside of every lock: those whom it wakes, and what it replaces, whose
/// drop is foreign code.
#[must_use = "those who wait are woken when this is dropped, which should be outside of every lock"]
pub(crate) struct Posted<V, E> {
    pub(crate) wakers: Wakers,
    pub(crate) replaced: Vec<News<V, E>>,
}

struct Board<V, E> {
    latest: News<V, E>,
    /// The last posts, oldest first, for those who want each.
    backlog: VecDeque<News<V, E>>,
    /// How many are kept there.
    depth: usize,
    /// The ages that subscribers ask for, in milliseconds, and how many ask for each.
    max_ages: BTreeMap<u64, usize>,
    closed: bool,
}

impl<V, E> Default for Topic<V, E> {
    fn default() -> Self {
        let board = Board {
            latest: News::default(),
            backlog: VecDeque::new(),
            depth: 0,
            max_ages: BTreeMap::new(),
            closed: false,
        };
        Self {
            beacon: Signal::default(),
            posted: Signal::default(),
            board: Mutex::new(board),
            interested: AtomicUsize::new(0),
            highest: AtomicU64::new(0),
        }
    }
}

impl<V, E> Topic<V, E> {
    pub(crate) fn is_interesting(&self) -> bool {
        self.interested.load(Ordering::Acquire) > 0
    }

    /// One more is interested, in values no older than `max_age` and in the last `depth` posts. The
    /// first one is shown what is `known`; later ones find it on the board. Says what counts as seen:
    /// all but that.
    pub(crate) fn enter(
        &self,
        max_age: Duration,
        depth: usize,
        known: impl FnOnce() -> News<V, E>,
    ) -> u64 {
        let mut board = lock(&self.board);
        let first = self.interested.fetch_add(1, Ordering::AcqRel) == 0;
        *board.max_ages.entry(millis(max_age)).or_default() += 1;
        board.depth = board.depth.max(depth);
        if first {
            board.latest = known();
        }
        if board.latest.is_blank() {
            return self.posted.version();
        }
        if board.depth > 0 && board.backlog.is_empty() {
            let known = board.latest.clone();
            board.backlog.push_back(known);
        }
        if first {
            // Nobody waits yet.
            drop(self.posted.raise());
        }
        self.posted.version() - 1
    }

    /// One less is interested. Says whether that was the last one.
    pub(crate) fn leave(&self, max_age: Duration) -> bool {
        let mut board = lock(&self.board);
        let last = self.interested.fetch_sub(1, Ordering::AcqRel) == 1;
        if let Some(count) = board.max_ages.get_mut(&millis(max_age)) {
            *count -= 1;
            if *count == 0 {
                board.max_ages.remove(&millis(max_age));
            }
        }
        // Whoever enters later is shown what is in the store by then.
        let gone = last.then(|| {
            board.depth = 0;
            (std::mem::take(&mut board.latest), std::mem::take(&mut board.backlog))
        });
        drop(board);
        // A value's drop is foreign code.
        drop(gone);
        last
    }

    /// The least age that a subscriber asks for, if that is less than for ever.
    pub(crate) fn max_age(&self) -> Option<Duration> {
        let least = *lock(&self.board).max_ages.keys().next()?;
        (least != u64::MAX).then(|| Duration::from_millis(least))
    }

    /// Posts a new value.
    pub(crate) fn post_value(&self, entry: &Entry<V>) -> Posted<V, E> {
        self.post(|_| Some(News { entry: Some(Entry::clone(entry)), error: None }))
    }

    /// Posts that the value still holds, if that is news: it is the first value, or the end of an
    /// error.
    pub(crate) fn post_vouched(&self, entry: &Entry<V>) -> Posted<V, E> {
        self.post(|latest| {
            let news = latest.entry.is_none() || latest.error.is_some();
            news.then(|| News { entry: Some(Entry::clone(entry)), error: None })
        })
    }

    /// Posts an absence, unless it is known.
    pub(crate) fn post_absent(&self) -> Posted<V, E> {
        self.post(|latest| {
            let known = matches!(latest.error, Some(Error::Absent));
            (!known).then_some(News { entry: None, error: Some(Error::Absent) })
        })
    }

    /// Posts an error beside the last value. Only the first error is news; a later one replaces it
    /// quietly.
    pub(crate) fn post_error(&self, error: &Error<E>) -> Posted<V, E> {
        let mut quietly = false;
        let mut posted = self.post(|latest| {
            quietly = latest.error.as_ref().is_some_and(|known| !matches!(known, Error::Absent));
            let beside = News { entry: latest.entry.clone(), error: Some(error.clone()) };
            (!quietly).then_some(beside)
        });
        if quietly {
            let replaced = lock(&self.board).latest.error.replace(error.clone());
            posted.replaced.push(News { entry: None, error: replaced });
        }
        posted
    }

    /// Tells everyone that nothing will come any more.
    pub(crate) fn close(&self) -> Wakers {
        let mut board = lock(&self.board);
        if std::mem::replace(&mut board.closed, true) {
            return Wakers::default();
        }
        self.posted.raise()
    }

    /// Forgets the last value, without a word: it does not hold any more, and the next is awaited.
    pub(crate) fn forget(&self) -> Option<Entry<V>> {
        let mut board = lock(&self.board);
        let news = board.latest.entry.take();
        // The next failure leaves those who wait without a value: that is news again.
        let gone = if news.is_some() { board.latest.error.take() } else { None };
        drop(board);
        drop(gone);
        news
    }

    /// The last value that was posted.
    pub(crate) fn entry(&self) -> Option<Entry<V>> {
        if !self.is_interesting() {
            return None;
        }
        lock(&self.board).latest.entry.clone()
    }

    /// Why there is no value, if that is known.
    pub(crate) fn error(&self) -> Option<Error<E>> {
        lock(&self.board).latest.error.clone()
    }

    /// An index was published for the key. Under the key's shard lock, as is the look at it.
    pub(crate) fn note_index(&self, index: u64) {
        self.highest.fetch_max(index, Ordering::Relaxed);
    }

    /// The highest index that was published for the key while anybody could see it.
    pub(crate) fn highest_index(&self) -> u64 {
        self.highest.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.board).closed
    }

    /// The latest news for one who has seen `seen`; with `each`, the oldest that it has not seen and
    /// that is still kept.
    pub(crate) fn read(&self, seen: u64, each: bool) -> Option<Unread<V, E>> {
        let board = lock(&self.board);
        // The closing is no news.
        let version = self.posted.version() - u64::from(board.closed);
        let unread = version.checked_sub(seen).filter(|unread| *unread > 0)?;
        let kept = board.backlog.len() as u64;
        if each && kept > 0 {
            let back = unread.min(kept);
            let place = usize::try_from(kept - back).unwrap_or(0);
            let news = board.backlog[place].clone();
            return Some(Unread { news, version: version - back + 1, missed: unread - back });
        }
        Some(Unread { news: board.latest.clone(), version, missed: unread - 1 })
    }

    fn post(&self, news: impl FnOnce(&News<V, E>) -> Option<News<V, E>>) -> Posted<V, E> {
        let mut posted = Posted { wakers: Wakers::default(), replaced: Vec::new() };
        if !self.is_interesting() {
            return posted;
        }
        let mut board = lock(&self.board);
        // Once more under the lock: the last one may have left meanwhile, and taken everything along.
        let news = if self.is_interesting() { news(&board.latest) } else { None };
        let Some(news) = news else { return posted };
        if board.depth > 0 {
            board.backlog.push_back(news.clone());
            if board.backlog.len() > board.depth {
                posted.replaced.extend(board.backlog.pop_front());
            }
        }
        posted.replaced.push(std::mem::replace(&mut board.latest, news));
        // Under the lock, so that a reader never sees a version whose news is not there.
        posted.wakers = self.posted.raise();
        posted
    }
}

impl<V, E> News<V, E> {
    /// Nothing is known.
    pub(crate) fn is_blank(&self) -> bool {
        self.entry.is_none() && self.error.is_none()
    }
}

// Derived, these would ask for bounds on V and E.
impl<V, E> Default for News<V, E> {
    fn default() -> Self {
        Self { entry: None, error: None }
    }
}

impl<V, E> Clone for News<V, E> {
    fn clone(&self) -> Self {
        Self { entry: self.entry.clone(), error: self.error.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::entry::{Freshness, Versioned};

    type Numbers = Topic<u64, std::fmt::Error>;

    fn entry(value: u64) -> Entry<u64> {
        let freshness = Freshness::new(Time::ZERO, Duration::ZERO, Duration::MAX);
        Entry::new(Versioned::new(value, value, crate::lead::Lead::default(), 1, freshness))
    }

    fn topic(depth: usize) -> Numbers {
        let topic = Topic::default();
        topic.enter(Duration::MAX, depth, News::default);
        topic
    }

    fn values(topic: &Numbers, each: bool) -> Vec<(u64, u64)> {
        let (mut seen, mut found) = (0, Vec::new());
        while let Some(unread) = topic.read(seen, each) {
            seen = unread.version;
            found.push((*unread.news.entry.unwrap().value(), unread.missed));
        }
        found
    }

    #[test]
    fn the_latest_wins_and_says_how_many_it_beat() {
        let topic = topic(0);
        (1..=5).for_each(|n| drop(topic.post_value(&entry(n))));
        assert_eq!(values(&topic, false), [(5, 4)]);
    }

    #[test]
    fn who_wants_each_gets_each_that_is_kept() {
        let topic = topic(3);
        (1..=5).for_each(|n| drop(topic.post_value(&entry(n))));
        assert_eq!(values(&topic, true), [(3, 2), (4, 0), (5, 0)]);
    }

    #[test]
    fn whoever_comes_later_starts_with_the_latest() {
        let topic = topic(3);
        (1..=5).for_each(|n| drop(topic.post_value(&entry(n))));
        let seen = topic.enter(Duration::MAX, 0, News::default);
        let unread = topic.read(seen, true).unwrap();
        assert_eq!((*unread.news.entry.unwrap().value(), unread.missed), (5, 0));
    }

    #[test]
    fn the_first_one_is_shown_what_is_known() {
        let topic: Numbers = Topic::default();
        let known = || News { entry: Some(entry(7)), error: None };
        let seen = topic.enter(Duration::MAX, 0, known);
        assert_eq!(*topic.read(seen, false).unwrap().news.entry.unwrap().value(), 7);
    }

    #[test]
    fn what_was_known_before_is_kept_for_who_wants_each() {
        let known = || News { entry: Some(entry(7)), error: None };
        let alone: Numbers = Topic::default();
        let seen = alone.enter(Duration::MAX, 3, known);
        drop(alone.post_value(&entry(8)));
        let unread = alone.read(seen, true).unwrap();
        assert_eq!((*unread.news.entry.unwrap().value(), unread.missed), (7, 0));

        let shared: Numbers = Topic::default();
        shared.enter(Duration::MAX, 0, known);
        let seen = shared.enter(Duration::MAX, 3, known);
        drop(shared.post_value(&entry(8)));
        let unread = shared.read(seen, true).unwrap();
        assert_eq!((*unread.news.entry.unwrap().value(), unread.missed), (7, 0));
    }

    #[test]
    fn the_end_wakes_everyone_and_is_no_news() {
        let topic = topic(3);
        drop(topic.post_value(&entry(1)));
        let version = topic.posted.version();
        drop(topic.close());
        drop(topic.close());
        assert_eq!(topic.posted.version(), version + 1);
        assert_eq!(values(&topic, true), [(1, 0)]);
        assert!(topic.read(version, true).is_none() && topic.read(version, false).is_none());
    }

    #[test]
    fn the_first_error_and_the_recovery_are_news_and_nothing_between() {
        let topic = topic(0);
        drop(topic.post_value(&entry(1)));
        let mut versions = Vec::new();
        for _ in 0..3 {
            drop(topic.post_error(&Error::Panicked));
            versions.push(topic.posted.version());
        }
        let news = topic.read(1, false).unwrap().news;
        assert!(news.entry.is_some() && news.error.is_some());
        for _ in 0..3 {
            drop(topic.post_vouched(&entry(1)));
            versions.push(topic.posted.version());
        }
        assert_eq!(versions, [2, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn nobody_interested_means_nothing_is_held() {
        let topic = topic(2);
        drop(topic.post_value(&entry(1)));
        assert!(topic.leave(Duration::MAX));
        drop(topic.post_value(&entry(2)));
        assert!(topic.entry().is_none());
    }

    #[test]
    fn the_least_of_the_ages_asked_for_counts() {
        let topic: Numbers = Topic::default();
        for secs in [5, 3, 3, 9] {
            topic.enter(Duration::from_secs(secs), 0, News::default);
        }
        assert_eq!(topic.max_age(), Some(Duration::from_secs(3)));
        topic.leave(Duration::from_secs(3));
        topic.leave(Duration::from_secs(3));
        assert_eq!(topic.max_age(), Some(Duration::from_secs(5)));
    }
}
