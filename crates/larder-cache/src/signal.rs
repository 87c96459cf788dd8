//! A counter that only rises, and those who wait until it has risen: the one way in which tasks of this
//! crate wait for each other.
//!
//! Whoever waits says which version it has seen. A rise after that wakes it, however the two are
//! interleaved: the waiter looks at the version once more under the lock under which it leaves its
//! waker, and whoever raises the version takes the wakers under the same lock *after* the rise. So
//! either the waiter sees the rise, or its waker is among those taken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::{AtomicU64, Mutex, Ordering, lock, yield_now};
use crate::tasks::Tasks;

/// How many are woken before others get a turn. The interleaving tests have no thousand waiters.
const SLICE: usize = if cfg!(shuttle) { 2 } else { 1_000 };

#[derive(Debug, Default)]
pub(crate) struct Signal {
    version: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Which rise the places will be emptied by: a ticket of an earlier batch has been called already.
    batch: u64,
    places: Vec<Option<Waker>>,
    vacant: Vec<usize>,
}

/// A place among those who wait. Whoever gives up must [leave](Signal::leave), or keep it and be woken
/// once for nothing.
#[derive(Debug)]
pub(crate) struct Ticket {
    batch: u64,
    place: usize,
}

/// Those who are to be woken; dropping it wakes them. To be dropped outside of every lock.
#[derive(Debug, Default)]
#[must_use = "they are woken when this is dropped, which should be outside of every lock"]
pub(crate) struct Wakers(Vec<Option<Waker>>);

/// Waits until a signal's version is another one than was seen.
pub(crate) struct Past<'a> {
    signal: &'a Signal,
    seen: u64,
    ticket: Option<Ticket>,
}

impl Signal {
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Raises the version by one.
    pub(crate) fn raise(&self) -> Wakers {
        self.version.fetch_add(1, Ordering::AcqRel);
        let mut waiting = lock(&self.waiting);
        waiting.batch += 1;
        waiting.vacant.clear();
        Wakers(std::mem::take(&mut waiting.places))
    }

    /// Waits until the version is another one than `seen`. Cancel-safe: it takes nothing but a place,
    /// which it gives back.
    pub(crate) fn past(&self, seen: u64) -> Past<'_> {
        Past { signal: self, seen, ticket: None }
    }

    /// As [`past`](Self::past), for whoever keeps the `ticket` itself.
    pub(crate) fn poll_past(
        &self,
        seen: u64,
        ticket: &mut Option<Ticket>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if self.version() != seen {
            return Poll::Ready(());
        }
        let mut waiting = lock(&self.waiting);
        // A rise between the look above and the lock has already taken the wakers: look again.
        if self.version() != seen {
            return Poll::Ready(());
        }
        let waker = context.waker();
        let outdated = match ticket {
            Some(Ticket { batch, place }) if *batch == waiting.batch => {
                let mine = &mut waiting.places[*place];
                let same = mine.as_ref().is_some_and(|mine| mine.will_wake(waker));
                if same { None } else { mine.replace(waker.clone()) }
            }
            _ => {
                *ticket = Some(waiting.seat(waker.clone()));
                None
            }
        };
        drop(waiting);
        // A waker's drop is foreign code, which may come back here.
        drop(outdated);
        Poll::Pending
    }

    /// Gives a place back.
    pub(crate) fn leave(&self, ticket: &mut Option<Ticket>) {
        let Some(Ticket { batch, place }) = ticket.take() else { return };
        let mut waiting = lock(&self.waiting);
        if batch == waiting.batch {
            let waker = waiting.places[place].take();
            waiting.vacant.push(place);
            drop(waiting);
            drop(waker);
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let waiting = lock(&self.waiting);
        waiting.places.len() - waiting.vacant.len()
    }
}

impl Waiting {
    fn seat(&mut self, waker: Waker) -> Ticket {
        let place = self.vacant.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Some(waker));
        } else {
            self.places[place] = Some(waker);
        }
        Ticket { batch: self.batch, place }
    }
}

impl Wakers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes a few here, and many in a task that gives way to others every so often.
    pub(crate) fn wake(mut self, tasks: &Arc<Tasks>) {
        if self.0.len() > SLICE {
            tasks.spawn(async move {
                while !self.0.is_empty() {
                    self.wake_slice();
                    yield_now().await;
                }
            });
        }
    }

    fn wake_slice(&mut self) {
        let rest = self.0.len().saturating_sub(SLICE);
        self.0.drain(rest..).flatten().for_each(Waker::wake);
    }
}

impl Drop for Wakers {
    fn drop(&mut self) {
        // Also when a runtime that shuts down drops the task: nobody is left waiting.
        self.0.drain(..).flatten().for_each(Waker::wake);
    }
}

impl Future for Past<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.signal.poll_past(this.seen, &mut this.ticket, context)
    }
}

impl Drop for Past<'_> {
    fn drop(&mut self) {
        self.signal.leave(&mut self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rise_before_the_wait_ends_it_at_once() {
        let signal = Signal::default();
        let seen = signal.version();
        drop(signal.raise());
        signal.past(seen).await;
    }

    #[tokio::test]
    async fn a_rise_wakes_everyone_who_waits() {
        let signal = Arc::new(Signal::default());
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let signal = Arc::clone(&signal);
                tokio::spawn(async move { signal.past(0).await })
            })
            .collect();
        while signal.waiting() < 100 {
            tokio::task::yield_now().await;
        }
        drop(signal.raise());
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(signal.waiting(), 0);
    }

    #[test]
    fn whoever_gives_up_leaves_no_place_behind() {
        let signal = Signal::default();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..1_000 {
            let mut past = Box::pin(signal.past(0));
            assert!(past.as_mut().poll(&mut context).is_pending());
            assert!(past.as_mut().poll(&mut context).is_pending());
            assert_eq!(signal.waiting(), 1);
        }
        assert_eq!((signal.waiting(), lock(&signal.waiting).places.len()), (0, 1));
    }

    #[test]
    fn a_ticket_of_an_earlier_batch_takes_nobodys_place() {
        let signal = Signal::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut old = None;
        assert!(signal.poll_past(0, &mut old, &mut context).is_pending());
        drop(signal.raise());
        let mut new = None;
        assert!(signal.poll_past(1, &mut new, &mut context).is_pending());
        signal.leave(&mut old);
        assert_eq!(signal.waiting(), 1);
    }
}
