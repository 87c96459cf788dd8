//! Many keys, of several caches too, told into one inbox: Consul's `Notify`.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use crate::cache::Cache;
use crate::error::SubscribeError;
use crate::request::Request;
use crate::signal::{Signal, Ticket};
use crate::source::Source;
use crate::subscription::{Delivery, Subscription, Update};
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// Where the updates of many subscriptions arrive, as events of type `T`.
///
/// It holds no events, only a note of which subscriptions have something to tell: a reader that is slow
/// gets the latest of each, and holds up nobody. So it is bounded by the subscriptions themselves.
/// Dropping it ends them all.
pub struct Inbox<T> {
    desk: Arc<Desk<T>>,
    ticket: Option<Ticket>,
}

/// One update, as it arrives in an [`Inbox`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<T> {
    /// What the subscription was given to be recognized by.
    pub correlation_id: Arc<str>,
    /// The update, as the subscription's conversion makes it.
    pub update: T,
}

/// Lets a subscription into an [`Inbox`] go on; dropping it ends the subscription.
#[must_use = "dropping it ends the subscription; `keep` ties it to the inbox instead"]
pub struct Notification {
    end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

struct Desk<T> {
    state: Mutex<State<T>>,
    /// Rises when something becomes ready.
    arrived: Signal,
}

struct State<T> {
    ready: VecDeque<Arc<dyn Letterbox<T>>>,
    /// What keeps each subscription alive, by where it lies in memory.
    held: HashMap<usize, Arc<dyn Letterbox<T>>>,
    open: bool,
}

/// One subscription, whatever its cache.
trait Letterbox<T>: Send + Sync {
    /// The next event, if there is one; then it is to be looked into again.
    fn open(self: Arc<Self>) -> Option<Event<T>>;
    /// Ends the subscription.
    fn shut(&self);
}

/// A subscription whose waker puts it on the desk.
struct Slip<S: Source, T, F> {
    subscription: Mutex<Option<Subscription<S>>>,
    correlation_id: Arc<str>,
    convert: F,
    /// It lies on the desk already.
    queued: AtomicBool,
    desk: Weak<Desk<T>>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        let state = State { ready: VecDeque::new(), held: HashMap::new(), open: true };
        let desk = Desk { state: Mutex::new(state), arrived: Signal::default() };
        Self { desk: Arc::new(desk), ticket: None }
    }
}

impl<T: Send + 'static> Inbox<T> {
    /// An inbox without subscriptions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for the next event, of whichever subscription. Subscriptions take turns. When a cache is
    /// closed, its subscriptions fall silent.
    ///
    /// Cancel-safe: an event that was not returned comes again.
    pub fn recv(&mut self) -> impl Future<Output = Event<T>> + Send {
        poll_fn(|context| self.poll_recv(context))
    }

    /// As [`recv`](Self::recv), for those who poll.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Event<T>> {
        loop {
            let seen = self.desk.arrived.version();
            let ready = lock(&self.desk.state).ready.pop_front();
            match ready {
                Some(letterbox) => {
                    if let Some(event) = letterbox.open() {
                        return Poll::Ready(event);
                    }
                }
                None if self
                    .desk
                    .arrived
                    .poll_past(seen, &mut self.ticket, context)
                    .is_pending() =>
                {
                    return Poll::Pending;
                }
                None => {}
            }
        }
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        lock(&self.desk.state).held.len()
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<S: Source> Cache<S> {
    /// Subscribes `inbox` to `key`. Its updates arrive there under `correlation_id`, as `convert` makes
    /// them: where all are of one type, give `|update| update`.
    ///
    /// As in Consul's `Notify`: what is known is told at once, then every change. Unlike there, the first
    /// error and the recovery are told as well, also after a first value, and also where the cache polls.
    pub fn notify<T, F>(
        &self,
        key: &S::Key,
        request: &Request,
        correlation_id: impl Into<Arc<str>>,
        inbox: &Inbox<T>,
        convert: F,
    ) -> Result<Notification, SubscribeError>
    where
        T: Send + 'static,
        F: Fn(Update<S::Value, S::Error>) -> T + Send + Sync + 'static,
    {
        let subscription = self.subscribe_to(key, request, Delivery::Latest)?;
        let slip = Arc::new(Slip {
            subscription: Mutex::new(Some(subscription)),
            correlation_id: correlation_id.into(),
            convert,
            queued: AtomicBool::new(false),
            desk: Arc::downgrade(&inbox.desk),
        });
        lock(&inbox.desk.state).held.insert(slip.address(), Arc::clone(&slip) as _);
        Arc::clone(&slip).wake();
        Ok(Notification { end: Some(Box::new(move || slip.end())) })
    }

    /// Subscribes `callback` to `key`; it runs in a task of its own, one update at a time, and gets the
    /// latest when it was slow. A panic in it ends the subscription.
    pub fn notify_with<F>(
        &self,
        key: &S::Key,
        request: &Request,
        mut callback: F,
    ) -> Result<Notification, SubscribeError>
    where
        F: FnMut(Update<S::Value, S::Error>) + Send + 'static,
    {
        // Counted before the look whether the cache is closing.
        let live = self.engine.tasks.reserve();
        let mut subscription = self.subscribe(key, request)?;
        let ended = Arc::new(Signal::default());
        let end = Arc::clone(&ended);
        let engine = Arc::clone(&self.engine);
        self.engine.tasks.run(live, async move {
            loop {
                // Cancel-safe: an update that was not returned comes again, and nobody wants it.
                let update = tokio::select! {
                    biased;
                    () = ended.past(0) => return,
                    update = subscription.changed() => update,
                };
                let Some(update) = update else { return };
                // Unwind-safe: after a panic the callback is not called again.
                let call = std::panic::AssertUnwindSafe(|| callback(update));
                if std::panic::catch_unwind(call).is_err() {
                    engine.counters.count(crate::stats::Event::ListenerPanic);
                    return;
                }
            }
        });
        Ok(Notification { end: Some(Box::new(move || drop(end.raise()))) })
    }
}

impl Notification {
    /// Lets the subscription go on until the inbox is dropped or the cache closes.
    pub fn keep(mut self) {
        self.end = None;
    }
}

impl Drop for Notification {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl<S, T, F> Slip<S, T, F>
where
    S: Source,
    T: Send + 'static,
    F: Fn(Update<S::Value, S::Error>) -> T + Send + Sync + 'static,
{
    fn end(self: &Arc<Self>) {
        self.shut();
        let Some(desk) = self.desk.upgrade() else { return };
        let mut state = lock(&desk.state);
        let held = state.held.remove(&self.address());
        let mut gone = Vec::new();
        if state.ready.len() > 2 * state.held.len() + 64 {
            // Nobody reads, and most of what is ready has ended.
            let State { ready, held, .. } = &mut *state;
            let address =
                |letterbox: &Arc<dyn Letterbox<T>>| Arc::as_ptr(letterbox).cast::<()>() as usize;
            let (kept, ended) =
                ready.drain(..).partition(|letterbox| held.contains_key(&address(letterbox)));
            (*ready, gone) = (kept, Vec::from_iter::<VecDeque<_>>(ended));
        }
        drop(state);
        drop((held, gone));
    }

    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).cast::<()>() as usize
    }
}

impl<S, T, F> Letterbox<T> for Slip<S, T, F>
where
    S: Source,
    T: Send + 'static,
    F: Fn(Update<S::Value, S::Error>) -> T + Send + Sync + 'static,
{
    fn open(self: Arc<Self>) -> Option<Event<T>> {
        // Before the look, so that what is posted after it puts the slip on the desk again.
        self.queued.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self));
        let mut subscription = lock(&self.subscription);
        let polled = subscription.as_mut()?.poll_changed(&mut Context::from_waker(&waker));
        drop(subscription);
        match polled {
            Poll::Ready(Some(update)) => {
                // There may be more, and only a look that finds nothing leaves a waker.
                Arc::clone(&self).wake();
                let correlation_id = Arc::clone(&self.correlation_id);
                Some(Event { correlation_id, update: (self.convert)(update) })
            }
            Poll::Ready(None) => {
                self.end();
                None
            }
            Poll::Pending => None,
        }
    }

    fn shut(&self) {
        let subscription = lock(&self.subscription).take();
        drop(subscription);
    }
}

impl<S, T, F> Wake for Slip<S, T, F>
where
    S: Source,
    T: Send + 'static,
    F: Fn(Update<S::Value, S::Error>) -> T + Send + Sync + 'static,
{
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(desk) = self.desk.upgrade() else { return };
        let mut state = lock(&desk.state);
        if state.open {
            state.ready.push_back(self);
        }
        drop(state);
        drop(desk.arrived.raise());
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.desk.state);
        state.open = false;
        let gone = (std::mem::take(&mut state.ready), std::mem::take(&mut state.held));
        drop(state);
        // Ending a subscription takes other locks. Its topic holds a waker, and that the subscription.
        gone.1.values().for_each(|letterbox| letterbox.shut());
        drop(gone);
        self.desk.arrived.leave(&mut self.ticket);
    }
}

impl<T> std::fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = lock(&self.desk.state).held.len();
        f.debug_struct("Inbox").field("subscriptions", &held).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notification").field("kept", &self.end.is_none()).finish()
    }
}
