//! One key that is kept fresh, whatever becomes of its owner: after each change and a little time,
//! everyone has seen what there is to see.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use larder_cache::{Backoff, Cache, Clock, Options, Refresh, Request, Subscription, Update};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use crate::reference::Check;
use crate::support::{Counted, Down, secs};

const EVERY: u64 = 5;
pub(crate) const REFRESHES: [Refresh; 2] =
    [Refresh::Blocking { wait: secs_of(20) }, Refresh::Poll { every: secs_of(EVERY) }];
/// A poll comes up to a sixteenth later.
const LATEST_POLL: u64 = EVERY * 1_000 * 17 / 16;
const BACKOFF: Duration = secs_of(1);
/// A poll, and a back-off.
const SETTLE: Duration = secs_of(EVERY + 2);

/// One change. Times are in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// The owner has another value, and its index grows.
    Set(u64),
    /// The owner begins again, with an index lower by this.
    Restart {
        value: u64,
        back: u64,
    },
    Fail,
    Recover,
    Pass(u64),
    Park(u64),
    Subscribe,
    /// Of the subscriptions there are, this one.
    Unsubscribe(usize),
}

const fn secs_of(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let value = 1_u64..10;
    prop_oneof![
        4 => value.clone().prop_map(Change::Set),
        2 => (value, 1_u64..5).prop_map(|(value, back)| Change::Restart { value, back }),
        3 => Just(Change::Fail),
        4 => Just(Change::Recover),
        2 => (1_u64..80).prop_map(Change::Pass),
        3 => (1_u64..60).prop_map(Change::Park),
        2 => Just(Change::Subscribe),
        1 => (0_usize..3).prop_map(Change::Unsubscribe),
    ]
}

/// What everyone should know.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    value: u64,
    /// As callers see it.
    index: u64,
    /// Since when there is no contact.
    lost_at: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Owned {
    value: u64,
    index: u64,
}

struct Reference {
    blocking: bool,
    owner: Owned,
    failing: bool,
    /// What the owner had when there was contact last.
    met: Owned,
    known: Known,
}

impl Reference {
    fn change(&mut self, change: Change, now: u64) {
        match change {
            Change::Set(value) => self.owner = Owned { value, index: self.owner.index + 1 },
            Change::Restart { value, back } if self.owner.index > back => {
                self.owner = Owned { value, index: self.owner.index - back };
            }
            Change::Fail => self.failing = true,
            Change::Recover => self.failing = false,
            _ => {}
        }
        if self.failing {
            self.known.lost_at.get_or_insert(now);
        } else {
            self.meet();
        }
    }

    fn meet(&mut self) {
        let (before, owner) = (self.met, self.owner);
        self.known.lost_at = None;
        if self.blocking && before.index == owner.index {
            // An equal index says that the value is the same.
            return;
        }
        // It never goes backwards: where the owner's does, it grows by one.
        self.known.index += owner.index.checked_sub(before.index).unwrap_or(1);
        self.known.value = owner.value;
        self.met = owner;
    }
}

struct Reader {
    subscription: Subscription<Counted>,
    known: Option<Known>,
}

struct Parked {
    past: u64,
    until: u64,
    caller: JoinHandle<Option<(u64, u64)>>,
}

struct Subject {
    cache: Cache<Counted>,
    owner: Counted,
    clock: Clock,
    readers: Vec<Reader>,
    parked: Vec<Parked>,
}

impl Subject {
    fn new(refresh: Refresh) -> Self {
        let (owner, clock) = (Counted::new(0), Clock::running());
        let options = Options {
            refresh,
            stale_if_error: Duration::MAX,
            idle: Duration::MAX,
            backoff: Backoff { free_failures: 1, base: BACKOFF, cap: BACKOFF },
            clock: Some(clock.clone()),
            ..Options::default()
        };
        let cache = Cache::new(owner.clone(), options).unwrap();
        Self { cache, owner, clock, readers: Vec::new(), parked: Vec::new() }
    }

    fn now(&self) -> u64 {
        self.clock.now().as_millis()
    }

    async fn change(&mut self, change: Change, index: u64) {
        match change {
            Change::Set(value) => self.owner.set(value),
            Change::Restart { value, back } => {
                let index = self.owner.index();
                if index > back {
                    self.owner.restart(value, index - back);
                }
            }
            Change::Fail => self.owner.fail(true),
            Change::Recover => self.owner.fail(false),
            Change::Pass(time) => tokio::time::sleep(secs(time)).await,
            Change::Park(time) => self.park(index, secs(time) + secs(1) / 2),
            Change::Subscribe => {
                let subscription = self.cache.subscribe(&1, &Request::DEFAULT).unwrap();
                self.readers.push(Reader { subscription, known: None });
            }
            Change::Unsubscribe(nth) => {
                if let Some(nth) = nth.checked_rem(self.readers.len()) {
                    drop(self.readers.remove(nth));
                }
            }
        }
        tokio::time::sleep(SETTLE).await;
    }

    fn park(&mut self, past: u64, patience: Duration) {
        let cache = self.cache.clone();
        let request = Request::DEFAULT.min_index(past, patience);
        let caller = tokio::spawn(async move {
            let reply = cache.get_with(&1, &request).await.ok()?;
            Some((*reply, reply.index()))
        });
        let until = self.clock.now().after(patience).as_millis();
        self.parked.push(Parked { past, until, caller });
    }
}

type News = Update<u64, Down>;

impl Reader {
    fn news(&mut self) -> Vec<News> {
        let mut context = Context::from_waker(Waker::noop());
        let mut news = Vec::new();
        while let Poll::Ready(Some(update)) = self.subscription.poll_changed(&mut context) {
            news.push(update);
        }
        news
    }

    /// There is one piece of news if something has changed, and none if not.
    fn is_up_to_date(&mut self, known: Known) -> Check {
        let news = self.news();
        let said = |update: &News| {
            let value = update.value.as_ref().map(|reply| (**reply, reply.index()));
            (value, update.error.is_some(), update.missed)
        };
        let said: Vec<_> = news.iter().map(said).collect();
        let told = |known: Known| (known.value, known.index, known.lost_at.is_some());
        let expected = if self.known.map(told) == Some(told(known)) {
            Vec::new()
        } else {
            vec![(Some((known.value, known.index)), known.lost_at.is_some(), 0)]
        };
        self.known = Some(known);
        if said != expected {
            return Err(format!("a subscriber heard {said:?}, not {expected:?}"));
        }
        match self.subscription.latest() {
            Some(latest) if *latest == known.value => Ok(()),
            latest => Err(format!("a subscriber has {latest:?}, not {known:?}")),
        }
    }
}

/// What a caller gets, and how old it is.
async fn callers_see(subject: &Subject, known: Known, blocking: bool) -> Check {
    let now = subject.now();
    let reply = subject.cache.get(&1).await.map_err(|error| error.to_string())?;
    let age = u64::try_from(reply.age().as_millis()).unwrap();
    let lost = known.lost_at.map_or(0, |lost_at| now - lost_at);
    let oldest = if blocking { lost } else { lost + LATEST_POLL };
    if (*reply, reply.index()) == (known.value, known.index) && (lost..=oldest).contains(&age) {
        return Ok(());
    }
    Err(format!("a caller got {reply:?}, not {known:?}, {lost} to {oldest} ms old"))
}

/// A parked caller is gone once the index has passed or its time is over, and not before.
async fn parked_callers_wake(subject: &mut Subject, before: Known, known: Known) -> Check {
    let now = subject.now();
    for Parked { past, until, caller } in std::mem::take(&mut subject.parked) {
        if caller.is_finished() != (known.index > past || now >= until) {
            let done = caller.is_finished();
            return Err(format!("parked past {past} until {until}, at {now} its end is {done}"));
        }
        if !caller.is_finished() {
            subject.parked.push(Parked { past, until, caller });
            continue;
        }
        let got = caller.await.unwrap();
        let is = |known: Known| got == Some((known.value, known.index));
        // The time may have been over before the news came.
        let in_vain = now >= until && is(before);
        if !in_vain && !is(known) {
            return Err(format!("a parked caller got {got:?}, not {known:?}"));
        }
    }
    Ok(())
}

pub(crate) async fn run(refresh: Refresh, changes: &[Change]) -> Check {
    let mut subject = Subject::new(refresh);
    let first = *subject.cache.get(&1).await.map_err(|error| error.to_string())?;
    let owner = Owned { value: first, index: subject.owner.index() };
    let known = Known { value: owner.value, index: owner.index, lost_at: None };
    let blocking = matches!(refresh, Refresh::Blocking { .. });
    let mut model = Reference { blocking, owner, failing: false, met: owner, known };
    for (n, change) in changes.iter().enumerate() {
        let (now, before) = (subject.now(), model.known);
        subject.change(*change, before.index).await;
        model.change(*change, now);
        step(&mut subject, &model, before)
            .await
            .map_err(|why| format!("{why}\nafter {refresh:?}, {:?}", &changes[..=n]))?;
    }
    Ok(())
}

async fn step(subject: &mut Subject, model: &Reference, before: Known) -> Check {
    for reader in &mut subject.readers {
        reader.is_up_to_date(model.known)?;
    }
    parked_callers_wake(subject, before, model.known).await?;
    callers_see(subject, model.known, model.blocking).await
}
