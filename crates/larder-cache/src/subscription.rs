//! A handle on one key's changes, which keeps the key fresh while it is held.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cache::Cache;
use crate::crowd::Place;
use crate::engine::Engine;
use crate::entry::Entry;
use crate::error::{Crowd, Error, SubscribeError};
use crate::keep::Refresh;
use crate::reply::{Origin, Reason, Reply};
use crate::request::Request;
use crate::signal::Ticket;
use crate::source::Source;
use crate::stats::Event;
use crate::topic::{Topic, Unread};

/// What a slow reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// The latest, whatever came before it. What was missed is counted in [`Update::missed`].
    #[default]
    Latest,
    /// Each, as long as the reader is no more than this many behind; beyond that the oldest are missed,
    /// and counted. All subscriptions of a key share one backlog, which is as long as the longest that
    /// was asked for, and at most 65,536.
    Each(u16),
}

/// News of one key: a value, an error, or a stale value and the error beside it.
pub struct Update<V, E> {
    /// The value. Without one there is an error.
    pub value: Option<Reply<V>>,
    /// Why there is no value, or none that is fresh. It comes once when the trouble begins; when it is
    /// over, an update without it comes.
    pub error: Option<Error<E>>,
    /// How many updates have come and gone since the one that was seen before this.
    pub missed: u64,
}

/// A subscription to one key.
///
/// While it is held, the key is kept fresh in the cache's way of [refreshing](crate::Refresh), and its
/// changes are told: every new value, the first error, the recovery. Many subscriptions of one key cost
/// one keeper. Dropping the last one ends the keeper, after the idle time if the cache keeps what is
/// read. It does not keep the cache open.
pub struct Subscription<S: Source> {
    interest: Interest<S>,
    delivery: Delivery,
    /// What `changed` has told.
    seen: u64,
    /// What `latest` has found, and as of which post: looking again costs no lock.
    latest: Option<Entry<S::Value>>,
    looked: u64,
    ticket: Option<Ticket>,
    _place: Place,
}

/// An interest in a key, until it is dropped.
pub(crate) struct Interest<S: Source> {
    pub(crate) engine: Arc<Engine<S>>,
    pub(crate) key: S::Key,
    pub(crate) topic: Arc<Topic<S::Value, S::Error>>,
    /// As was said when the topic was entered.
    pub(crate) max_age: Duration,
    /// What counted as seen by then.
    pub(crate) seen: u64,
}

impl<S: Source> Subscription<S> {
    pub(crate) fn new(interest: Interest<S>, delivery: Delivery, place: Place) -> Self {
        let (seen, looked) = (interest.seen, interest.seen);
        Self { interest, delivery, seen, latest: None, looked, ticket: None, _place: place }
    }

    /// The key.
    pub fn key(&self) -> &S::Key {
        &self.interest.key
    }

    /// The latest value, fresh or not, without waiting and without asking anybody: the cheapest look
    /// there is. It counts as a hit. `None` if there is none: none yet, or the owner says so.
    #[inline]
    pub fn latest(&mut self) -> Option<&S::Value> {
        if self.interest.topic.posted.version() != self.looked {
            self.catch_up();
        }
        let entry = self.latest.as_deref()?;
        self.interest.engine.counters.count(Event::Hit);
        Some(entry.value())
    }

    /// As [`latest`](Self::latest), with all that is known about the value.
    pub fn reply(&mut self) -> Option<Reply<S::Value>> {
        self.latest()?;
        let now = self.interest.engine.clock.coarse();
        self.latest.as_ref().map(|entry| Reply::new(Entry::clone(entry), now, Origin::Hit))
    }

    #[cold]
    fn catch_up(&mut self) {
        if let Some(Unread { news, version, .. }) = self.interest.topic.read(self.looked, false) {
            (self.latest, self.looked) = (news.entry, version);
        }
    }

    /// Waits for the next update: the first is what is known when the subscription begins. `None` when
    /// the cache has been closed.
    ///
    /// Cancel-safe: an update that was not returned comes again.
    pub fn changed(&mut self) -> impl Future<Output = Option<Update<S::Value, S::Error>>> + Send {
        poll_fn(|context| self.poll_changed(context))
    }

    /// As [`changed`](Self::changed), for those who poll.
    pub fn poll_changed(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Update<S::Value, S::Error>>> {
        loop {
            // First the closing: what is posted at that moment has no news.
            if self.interest.topic.is_closed() || self.interest.engine.tasks.is_closing() {
                return Poll::Ready(None);
            }
            let each = matches!(self.delivery, Delivery::Each(_));
            if let Some(Unread { news, version, missed }) =
                self.interest.topic.read(self.seen, each)
            {
                self.seen = version;
                if news.is_blank() {
                    // Invalidated since it was posted: the next value is on its way.
                    continue;
                }
                return Poll::Ready(Some(self.update(news.entry, news.error, missed)));
            }
            if self
                .interest
                .topic
                .posted
                .poll_past(self.seen, &mut self.ticket, context)
                .is_pending()
            {
                return Poll::Pending;
            }
        }
    }

    fn update(
        &self,
        entry: Option<Entry<S::Value>>,
        error: Option<Error<S::Error>>,
        missed: u64,
    ) -> Update<S::Value, S::Error> {
        let now = self.interest.engine.clock.now();
        let value = entry.map(|entry| {
            let origin = match &error {
                Some(error) => Origin::Stale(Reason::new(error.clone())),
                None => Origin::Miss,
            };
            Reply::new(entry, now, origin)
        });
        Update { value, error, missed }
    }
}

impl<S: Source> Cache<S> {
    /// Subscribes to `key`: the value is kept fresh, and its changes are told, for as long as the
    /// subscription is held.
    ///
    /// Of the request, only the [`max_age`](Request::max_age) counts: how old the value may grow, where
    /// the cache polls. The most demanding subscriber decides for all.
    pub fn subscribe(
        &self,
        key: &S::Key,
        request: &Request,
    ) -> Result<Subscription<S>, SubscribeError> {
        self.subscribe_to(key, request, Delivery::Latest)
    }

    /// As [`subscribe`](Self::subscribe), with a say in what a slow reader gets.
    pub fn subscribe_to(
        &self,
        key: &S::Key,
        request: &Request,
        delivery: Delivery,
    ) -> Result<Subscription<S>, SubscribeError> {
        let polls = self.engine.options.refresh == Refresh::OnDemand;
        let max_age = request.greatest_age();
        // Requests are told in milliseconds: what is less is zero.
        if max_age.is_zero() || (polls && max_age == Duration::MAX) {
            return Err(SubscribeError::NoMaxAge);
        }
        let crowd = SubscribeError::Overloaded;
        let place = self.engine.crowds.subscriptions.take();
        let place = place.ok_or(crowd(Crowd::Subscriptions))?;
        let depth = match delivery {
            Delivery::Latest => 0,
            Delivery::Each(most) => usize::from(most),
        };
        let interest = self.interest(key, max_age, depth).map_err(|error| match error {
            Error::Overloaded(who) => crowd(who),
            _ => SubscribeError::Closed,
        })?;
        Ok(Subscription::new(interest, delivery, place))
    }
}

impl<S: Source> Drop for Subscription<S> {
    fn drop(&mut self) {
        self.interest.topic.posted.leave(&mut self.ticket);
    }
}

impl<S: Source> Drop for Interest<S> {
    fn drop(&mut self) {
        let Self { engine, key, topic, max_age, seen: _ } = self;
        // The idle time begins now.
        if let Some(entry) = engine.store.peek(key) {
            entry.touch(engine.clock.now());
        }
        if topic.leave(*max_age) {
            topic.beacon.raise().wake(&engine.tasks);
        }
    }
}

impl<S: Source> fmt::Debug for Subscription<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<V: fmt::Debug, E: fmt::Debug> fmt::Debug for Update<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update")
            .field("value", &self.value)
            .field("error", &self.error)
            .field("missed", &self.missed)
            .finish()
    }
}
