//! What a cache should do, in a few lines for each rule.
//!
//! Some of it only the cache decides: whom it evicts, and where within its jitter a fetch begins. There
//! the reference takes what the owner saw, and says whether it was possible. Times are in milliseconds.

use larder_cache::{Put, Removal};

use crate::operation::{Bounds, KEYS, What};
use crate::subject::{
    ABSENT_TTL, BASE, CAP, CAPACITY, ENDURE, Event, FETCH_TIMEOUT, FREE_FAILURES, Happened, IDLE,
    SWEEP_EVERY, Seen, TTL, Told, weight,
};

const ABSENT: &str = "there is no such entry";
pub(crate) const DOWN: &str = "the source's upstream is down; it is asked again within a second";

/// Why the cache is not what it should be.
pub(crate) type Check = Result<(), String>;

macro_rules! ensure {
    ($what:expr, $($why:tt)+) => {
        if !$what {
            return Err(format!($($why)+));
        }
    };
}

pub(crate) struct Reference {
    pub(crate) now: u64,
    capacity: u64,
    /// The most that one value may weigh.
    heaviest: u64,
    /// In this step there was too much for the capacity; the store may evict one more than it must.
    crowded: bool,
    keys: Vec<Key>,
    upstream: Upstream,
    readers: Vec<Reader>,
    /// The listener must be told of these.
    owed: Vec<(u32, u64, Removal)>,
    /// Rounds that are over: of which key, which one, and how it ended.
    over: Vec<(u32, u32, Result<Held, String>)>,
}

#[derive(Default)]
struct Key {
    held: Option<Held>,
    trouble: Option<Trouble>,
    flight: Option<Flight>,
    /// Somebody waits for the next fetch.
    asked: bool,
    /// How many fetches have begun: the number of the one under way.
    begun: u32,
    landed_at: u64,
    board: Board,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Held {
    value: u64,
    vouched: u64,
    read: u64,
}

enum Trouble {
    Absent { since: u64 },
    Failing { row: u32, at: u64, rest: Span, refused: bool, upstreams: bool, error: String },
}

/// From when on something may happen, and from when on it must have.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    may: u64,
    must: u64,
}

struct Flight {
    began: u64,
    answer: What,
    previous: Option<Held>,
    joined: bool,
    outdated: bool,
}

#[derive(Default)]
struct Upstream {
    failures: u32,
    down_since: Option<u64>,
    next_probe: Span,
    /// When that was last put off.
    put_off_at: Option<u64>,
    recovered: Option<u64>,
}

#[derive(Default)]
struct Board {
    held: Option<Held>,
    error: Option<String>,
    version: u64,
}

struct Reader {
    key: u32,
    max_age: u64,
    seen: u64,
    looked: u64,
    latest: Option<u64>,
}

/// What became of a request, where only the cache's dice decide that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// It had a fetch begin.
    pub(crate) began: bool,
    /// It was told that the upstream is down.
    pub(crate) refused: bool,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Way {
    Hit(Held),
    Refused(String),
    /// It waits for this fetch of the key.
    Round(u32),
}

impl Span {
    const NEVER: Self = Self { may: u64::MAX, must: u64::MAX };

    fn at(time: u64) -> Self {
        Self { may: time, must: time }
    }

    fn later_of(self, other: Self) -> Self {
        Self { may: self.may.max(other.may), must: self.must.max(other.must) }
    }

    fn sooner_of(self, other: Self) -> Self {
        Self { may: self.may.min(other.may), must: self.must.min(other.must) }
    }
}

impl Upstream {
    fn succeeded(&mut self, now: u64) {
        self.failures = 0;
        if self.down_since.take().is_some() {
            self.recovered = Some(now);
        }
    }

    /// One that was asked before the upstream came back is old news.
    fn failed(&mut self, asked: u64, now: u64) {
        if self.recovered.is_some_and(|back| asked <= back) {
            return;
        }
        self.failures += 1;
        if self.failures >= 3 && self.down_since.is_none() {
            self.down_since = Some(now);
            self.put_off(now);
        }
    }

    fn put_off(&mut self, now: u64) {
        self.next_probe = Span { may: now + 750, must: now + 1_000 };
        self.put_off_at = Some(now);
    }

    fn is_down(&self) -> bool {
        self.down_since.is_some()
    }

    /// Whether it is for sure.
    fn is_closed(&self, now: u64) -> bool {
        self.is_down() && now < self.next_probe.may
    }

    fn may_be_closed(&self, now: u64) -> bool {
        self.is_down() && now < self.next_probe.must
    }

    /// Whoever had to wait for it comes within three quarters of a second.
    fn crowd(&self) -> Option<Span> {
        self.recovered.map(|back| Span { may: back, must: back + 749 })
    }
}

impl Board {
    fn is_blank(&self) -> bool {
        self.held.is_none() && self.error.is_none()
    }

    fn post(&mut self, held: Option<Held>, error: Option<String>) {
        (self.held, self.error) = (held, error);
        self.version += 1;
    }

    fn fail(&mut self, error: &str) {
        let known = self.error.as_ref().is_some_and(|known| known != ABSENT);
        self.error = Some(error.to_owned());
        self.version += u64::from(!known);
    }
}

impl Trouble {
    fn rest(&self, upstream: &Upstream) -> Span {
        match self {
            Self::Absent { since } => Span::at(since + ABSENT_TTL),
            Self::Failing { upstreams: true, .. } if upstream.is_down() => Span::at(0),
            Self::Failing { at, rest, .. } => match upstream.crowd() {
                Some(crowd) if crowd.may >= *at => rest.sooner_of(crowd),
                _ => *rest,
            },
        }
    }

    fn error(&self) -> String {
        match self {
            Self::Absent { .. } => ABSENT.to_owned(),
            Self::Failing { error, .. } => error.clone(),
        }
    }
}

/// How long a key is left alone after so many failures.
fn backoff(row: u32) -> Span {
    if row <= FREE_FAILURES {
        return Span::at(0);
    }
    let whole = (BASE << (row - FREE_FAILURES - 1).min(8)).min(CAP);
    Span { may: whole * 3 / 4, must: whole }
}

/// What callers.
impl Reference {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            capacity: CAPACITY,
            heaviest: CAPACITY * 97 / 100,
            crowded: false,
            keys: (0..KEYS).map(|_| Key::default()).collect(),
            upstream: Upstream::default(),
            readers: Vec::new(),
            owed: Vec::new(),
            over: Vec::new(),
        }
    }

    fn key(&mut self, key: u32) -> &mut Key {
        &mut self.keys[key as usize]
    }

    fn fresh(&self, key: u32, max_age: Option<u64>) -> Option<Held> {
        let held = self.keys[key as usize].held?;
        let ttl = max_age.map_or(TTL, |secs| TTL.min(secs * 1_000));
        (self.now - held.vouched < ttl).then_some(held)
    }

    fn read(&mut self, key: u32) {
        let now = self.now;
        if let Some(held) = &mut self.key(key).held {
            held.read = now;
        }
    }

    pub(crate) fn peek(&mut self, key: u32) -> Option<u64> {
        let held = self.fresh(key, None)?;
        self.read(key);
        Some(held.value)
    }

    /// Where a request goes; `found` settles what lies within the cache's jitter.
    pub(crate) fn ask(&mut self, key: u32, bounds: Bounds, found: Found) -> Way {
        self.over.clear();
        let (max_age, rested) = (bounds.max_age, found.began || found.refused);
        if let Some(held) = self.fresh(key, max_age) {
            self.read(key);
            return Way::Hit(held);
        }
        let (now, may_be_closed) = (self.now, self.upstream.may_be_closed(self.now));
        let closed = self.upstream.is_closed(now) || (may_be_closed && found.refused);
        let entry = &self.keys[key as usize];
        if let Some(trouble) = &entry.trouble {
            let rest = trouble.rest(&self.upstream);
            let refuses = match trouble {
                Trouble::Absent { since } => {
                    now < rest.may && max_age.is_none_or(|secs| now - since < secs * 1_000)
                }
                Trouble::Failing { .. } => now < rest.may || (now < rest.must && !rested),
            };
            if refuses {
                return Way::Refused(trouble.error());
            }
        }
        if self.leaves_it_to_others(key, bounds, found) {
            return Way::Refused(DOWN.to_owned());
        }
        let entry = self.key(key);
        match &mut entry.flight {
            Some(flight) if !flight.outdated => {
                flight.joined = true;
                return Way::Round(entry.begun);
            }
            None if closed && !entry.asked => return Way::Refused(DOWN.to_owned()),
            _ => entry.asked = true,
        }
        Way::Round(entry.begun + 1)
    }

    /// Whether it makes do with what it has: while the upstream is down and the key is kept, and until
    /// the key's turn after that.
    fn leaves_it_to_others(&self, key: u32, bounds: Bounds, found: Found) -> bool {
        let Some(held) = self.keys[key as usize].held else { return false };
        if !matches!(self.endured(held, bounds), Seen::Hit { .. } | Seen::Stale { .. }) {
            return false;
        }
        if self.upstream.is_down() {
            return self.is_read(key);
        }
        let crowd = self.upstream.crowd().filter(|crowd| held.vouched < crowd.may);
        found.refused && crowd.is_some_and(|crowd| self.now < crowd.must)
    }

    /// How a request ends that went this way, now.
    pub(crate) fn got(&mut self, key: u32, bounds: Bounds, way: Way) -> Seen {
        let error = match way {
            Way::Hit(held) => return Seen::Hit { value: held.value, age: self.now - held.vouched },
            Way::Refused(error) => error,
            Way::Round(round) => {
                let over = self.over.iter().find(|over| (over.0, over.1) == (key, round));
                match over.map(|over| over.2.clone()) {
                    Some(Ok(held)) => {
                        self.read(key);
                        return Seen::Miss { value: held.value, age: self.now - held.vouched };
                    }
                    Some(Err(error)) => error,
                    None => bounds.timeout.map_or("what a fetch brings".into(), |secs| {
                        format!("no answer within the caller's {secs}s")
                    }),
                }
            }
        };
        self.endure(key, bounds, error)
    }

    fn endure(&mut self, key: u32, bounds: Bounds, error: String) -> Seen {
        let Some(held) = self.key(key).held.filter(|_| error != ABSENT) else {
            return Seen::Failed(error);
        };
        match self.endured(held, bounds) {
            Seen::Stale { value, age, .. } => {
                self.read(key);
                Seen::Stale { value, age, error }
            }
            Seen::Failed(_) => Seen::Failed(error),
            seen => {
                self.read(key);
                seen
            }
        }
    }

    /// What becomes of a failure, whichever it is.
    fn endured(&self, held: Held, bounds: Bounds) -> Seen {
        let (value, age, error) = (held.value, self.now - held.vouched, DOWN.to_owned());
        let fresh = bounds.max_age.map_or(TTL, |secs| TTL.min(secs * 1_000));
        let endured = bounds.stale_if_error.map_or(ENDURE, |secs| ENDURE.min(secs * 1_000));
        if age >= fresh + endured {
            Seen::Failed(error)
        } else if age < fresh {
            Seen::Hit { value, age }
        } else {
            Seen::Stale { value, age, error }
        }
    }
}

/// What changes from outside.
impl Reference {
    pub(crate) fn put(&mut self, key: u32, value: u64) -> Put {
        self.advance(key);
        if self.publish(key, value) { Put::Stored } else { Put::TooHeavy }
    }

    pub(crate) fn put_if_absent(&mut self, key: u32, value: u64) -> Put {
        if self.key(key).held.is_some() { Put::Present } else { self.put(key, value) }
    }

    pub(crate) fn invalidate(&mut self, key: u32) -> bool {
        self.advance(key);
        let board = &mut self.key(key).board;
        if board.held.take().is_some() {
            // The next failure leaves its readers without a value: that is news again.
            board.error = None;
        }
        self.leaves(key, Removal::Invalidated)
    }

    pub(crate) fn invalidate_below(&mut self, key: u32) -> usize {
        (0..key).filter(|key| self.invalidate(*key)).count()
    }

    pub(crate) fn resize(&mut self, capacity: u64) {
        // It keeps its proportion, rounded down each time.
        self.heaviest = (capacity * self.heaviest / self.capacity).max(1);
        self.capacity = capacity;
        self.crowds();
    }

    /// A fetch that has begun cannot change the key any more.
    fn advance(&mut self, key: u32) {
        let key = self.key(key);
        if let Some(flight) = &mut key.flight {
            flight.outdated = true;
        }
        key.trouble.take_if(|trouble| matches!(trouble, Trouble::Absent { .. }));
    }

    fn leaves(&mut self, key: u32, cause: Removal) -> bool {
        let held = self.key(key).held.take();
        self.owed.extend(held.map(|held| (key, held.value, cause)));
        held.is_some()
    }

    /// Whether a value may be kept.
    fn fits(&self, value: u64) -> bool {
        weight(value) <= self.heaviest
    }

    fn crowds(&mut self) {
        self.crowded |= self.weight() > self.capacity;
    }

    fn publish(&mut self, key: u32, value: u64) -> bool {
        let (now, is_read) = (self.now, self.is_read(key));
        let fits = self.fits(value);
        let entry = self.key(key);
        let read = entry.held.or(entry.board.held).map_or(now, |previous| previous.read);
        let held = Held { value, vouched: now, read };
        self.leaves(key, if fits { Removal::Replaced } else { Removal::TooHeavy });
        self.key(key).held = fits.then_some(held);
        self.crowds();
        if is_read {
            self.key(key).board.post(Some(held), None);
        }
        fits
    }
}

/// What subscribers see.
impl Reference {
    fn is_read(&self, key: u32) -> bool {
        self.readers.iter().any(|reader| reader.key == key)
    }

    pub(crate) fn subscribe(&mut self, key: u32, max_age: u64) {
        let first = !self.is_read(key);
        let entry = self.key(key);
        if first {
            entry.board.held = entry.held;
            entry.board.error = entry.trouble.as_ref().map(Trouble::error);
            entry.board.version += 1;
        }
        let seen = entry.board.version - u64::from(!entry.board.is_blank());
        self.readers.push(Reader {
            key,
            max_age: max_age * 1_000,
            seen,
            looked: seen,
            latest: None,
        });
    }

    pub(crate) fn unsubscribe(&mut self, nth: usize) {
        let key = self.readers.remove(nth).key;
        self.read(key);
        if !self.is_read(key) {
            let board = &mut self.key(key).board;
            (board.held, board.error) = (None, None);
        }
    }

    pub(crate) fn latest(&mut self, nth: usize) -> Option<u64> {
        let reader = &mut self.readers[nth];
        let board = &self.keys[reader.key as usize].board;
        if reader.looked != board.version {
            reader.looked = board.version;
            reader.latest = board.held.map(|held| held.value);
        }
        reader.latest
    }

    pub(crate) fn changed(&mut self, nth: usize) -> Option<Told> {
        let reader = &mut self.readers[nth];
        let board = &self.keys[reader.key as usize].board;
        let unread = board.version - std::mem::replace(&mut reader.seen, board.version);
        let value = board.held.map(|held| held.value);
        let missed = unread.checked_sub(1).filter(|_| !board.is_blank())?;
        Some(Told { value, error: board.error.clone(), missed })
    }
}

/// What the owner sees.
impl Reference {
    pub(crate) fn happened(&mut self, event: Event) -> Check {
        self.now = event.at;
        match event.what {
            Happened::Began { previous, answer } => self.began(event.key, previous, answer),
            Happened::Ended => self.landed(event.key),
            Happened::Removed { value, cause } => self.removed(event.key, value, cause),
        }
        .map_err(|why| format!("{why}, at {event:?}"))
    }

    fn began(&mut self, key: u32, shown: Option<u64>, answer: What) -> Check {
        let (now, due, is_down) = (self.now, self.due(key), self.upstream.is_down());
        // Two fetches may end and begin again in one moment.
        let just_closed = self.upstream.put_off_at == Some(now);
        ensure!(just_closed || !self.upstream.is_closed(now), "the upstream is down");
        let entry = self.key(key);
        ensure!(entry.flight.is_none(), "a second fetch of one key");
        ensure!(entry.asked || due.may <= now, "nobody wants this fetch before {}", due.may);
        let previous = entry.held.or(entry.board.held);
        ensure!(shown == previous.map(|held| held.value), "it should be shown {previous:?}");
        if let Some(Trouble::Failing { rest, upstreams, .. }) = &mut entry.trouble
            && !(is_down && *upstreams)
        {
            rest.must = rest.must.min(now);
        }
        let joined = std::mem::take(&mut entry.asked);
        entry.begun += 1;
        entry.flight = Some(Flight { began: now, answer, previous, joined, outdated: false });
        if self.upstream.down_since.is_some() {
            self.upstream.put_off(now);
        }
        Ok(())
    }

    /// When a key is fetched that nobody asks for.
    fn due(&self, key: u32) -> Span {
        let ages = self.readers.iter().filter(|reader| reader.key == key);
        let Some(period) = ages.map(|reader| reader.max_age).min() else { return Span::NEVER };
        let entry = &self.keys[key as usize];
        let confirmed = match (entry.held.or(entry.board.held), &entry.trouble) {
            (Some(held), _) => Some(held.vouched),
            (None, Some(Trouble::Absent { since })) => Some(*since),
            _ => None,
        };
        let mut due = confirmed.map_or(Span::at(0), |at| Span {
            may: at + period,
            must: at.max(entry.landed_at) + period + period / 16,
        });
        due = match &entry.trouble {
            Some(Trouble::Failing { refused: true, .. }) => Span::NEVER,
            Some(trouble) => due.later_of(trouble.rest(&self.upstream)),
            None => due,
        };
        if let Some(crowd) = self.upstream.crowd()
            && confirmed.is_none_or(|at| at < crowd.may)
        {
            due = due.later_of(crowd);
        }
        if self.upstream.may_be_closed(self.now) {
            let just_closed = self.upstream.put_off_at == Some(self.now);
            let Span { may, must } = self.upstream.next_probe;
            due = due.later_of(Span { may: if just_closed { 0 } else { may }, must });
        }
        due
    }

    fn landed(&mut self, key: u32) -> Check {
        let (now, is_read) = (self.now, self.is_read(key));
        let entry = self.key(key);
        let Some(flight) = entry.flight.take() else { return Err("nothing was under way".into()) };
        let round = entry.begun;
        let wanted = flight.previous.is_none() || flight.joined || is_read || entry.held.is_some();
        let current = wanted && !flight.outdated;
        let outcome = match (flight.answer, flight.previous) {
            (What::Value(value), _) => {
                self.succeeded(key);
                if current {
                    self.publish(key, value);
                }
                Ok(Held { value, vouched: now, read: now })
            }
            (What::NotModified, Some(previous)) => {
                self.succeeded(key);
                let held = Held { vouched: now, ..previous };
                if current {
                    self.vouched(key, held);
                }
                Ok(held)
            }
            (What::Absent, _) => {
                self.succeeded(key);
                if current {
                    self.absent(key);
                }
                Err(ABSENT.to_owned())
            }
            (failure, _) => {
                ensure!(
                    failure != What::Hang || now == flight.began + FETCH_TIMEOUT,
                    "a fetch that hangs ends with its time-out"
                );
                Err(self.failed(key, failure, flight.began, current))
            }
        };
        self.over.push((key, round, outcome.clone()));
        self.next_round(key, round + 1, outcome.err());
        Ok(())
    }

    fn succeeded(&mut self, key: u32) {
        let now = self.now;
        self.upstream.succeeded(now);
        let entry = self.key(key);
        entry.trouble = None;
        entry.landed_at = now;
    }

    /// The value still holds, and comes back if it was evicted meanwhile.
    fn vouched(&mut self, key: u32, held: Held) {
        let (is_read, fits) = (self.is_read(key), self.fits(held.value));
        let entry = self.key(key);
        let read = entry.held.map_or(held.read, |before| before.read);
        let held = Held { read, ..held };
        entry.held = (fits || entry.held.is_some()).then_some(held);
        if is_read {
            let is_news = entry.board.held.is_none() || entry.board.error.is_some();
            entry.board.version += u64::from(is_news);
            (entry.board.held, entry.board.error) = (Some(held), None);
        }
        self.crowds();
    }

    fn absent(&mut self, key: u32) {
        self.leaves(key, Removal::Absent);
        let (now, is_read) = (self.now, self.is_read(key));
        let entry = self.key(key);
        entry.trouble = Some(Trouble::Absent { since: now });
        if is_read && entry.board.error.as_deref() != Some(ABSENT) {
            entry.board.post(None, Some(ABSENT.to_owned()));
        }
    }

    fn failed(&mut self, key: u32, failure: What, began: u64, current: bool) -> String {
        let (now, is_read) = (self.now, self.is_read(key));
        let error = match failure {
            What::Refuse => "refused",
            What::Unreachable => "unreachable",
            What::Panic => "the source panicked",
            What::Hang => "the source gave no answer within 3s",
            What::NotModified => "the source confirmed a value that there was not",
            _ => "failed",
        };
        match failure {
            What::Unreachable | What::Hang => self.upstream.failed(began, now),
            What::Fail | What::Refuse => self.upstream.succeeded(now),
            _ => {}
        }
        let back = self.upstream.recovered;
        let entry = self.key(key);
        let row = match &entry.trouble {
            Some(Trouble::Failing { upstreams: true, at, .. }) if back >= Some(*at) => 1,
            Some(Trouble::Failing { row, .. }) => row + 1,
            _ => 1,
        };
        let refused = failure == What::Refuse;
        let upstreams = matches!(failure, What::Unreachable | What::Hang);
        let wait = if refused { Span::at(CAP) } else { backoff(row) };
        let rest = Span { may: now + wait.may, must: now + wait.must };
        let error = error.to_owned();
        if current && is_read {
            entry.board.fail(&error);
        }
        entry.trouble = Some(Trouble::Failing {
            row,
            at: began,
            rest,
            refused,
            upstreams,
            error: error.clone(),
        });
        error
    }

    /// Those who wait for the next fetch get the error of this one, if the key is left alone now.
    fn next_round(&mut self, key: u32, round: u32, error: Option<String>) {
        let (now, closed, is_read) =
            (self.now, self.upstream.is_closed(self.now), self.is_read(key));
        let entry = self.key(key);
        if !entry.asked {
            return;
        }
        let rests = matches!(&entry.trouble, Some(Trouble::Failing { rest, .. }) if now < rest.may);
        if let Some(error) = error.filter(|error| rests && error != ABSENT) {
            entry.asked = false;
            self.over.push((key, round, Err(error)));
        } else if closed {
            entry.asked = false;
            if is_read {
                entry.board.fail(DOWN);
            }
            self.over.push((key, round, Err(DOWN.to_owned())));
        }
    }

    fn removed(&mut self, key: u32, value: u64, cause: Removal) -> Check {
        if let Some(place) = self.owed.iter().position(|owed| *owed == (key, value, cause)) {
            self.owed.remove(place);
            return Ok(());
        }
        let (now, weight, is_read) = (self.now, self.weight(), self.is_read(key));
        let Some(held) = self.key(key).held.take_if(|held| held.value == value) else {
            return Err("it was not there".into());
        };
        match cause {
            Removal::Evicted => {
                ensure!(self.crowded, "there is room for {weight}");
            }
            Removal::Idle => {
                ensure!(!is_read, "it is subscribed");
                // Reads are remembered to within 64 ms.
                ensure!(now - held.read + 64 >= IDLE, "it was read at {}", held.read);
            }
            Removal::Expired => {
                ensure!(now - held.vouched >= TTL + ENDURE, "it may be served yet");
            }
            _ => return Err("nothing makes it leave".into()),
        }
        Ok(())
    }

    fn weight(&self) -> u64 {
        self.keys.iter().filter_map(|key| key.held).map(|held| weight(held.value)).sum()
    }

    /// How many values there are, and what they weigh.
    pub(crate) fn holdings(&self) -> (u64, u64) {
        (self.keys.iter().filter(|key| key.held.is_some()).count() as u64, self.weight())
    }

    /// Nothing that should have happened by now is missing.
    pub(crate) fn is_up_to_date(&mut self) -> Check {
        self.crowded = false;
        ensure!(self.owed.is_empty(), "the listener was not told of {:?}", self.owed);
        ensure!(self.weight() <= self.capacity, "it holds {}", self.weight());
        for (key, entry) in (0..).zip(&self.keys) {
            let due = self.due(key);
            if entry.flight.is_none() {
                ensure!(!entry.asked, "key {key} was asked for and is not fetched");
                ensure!(self.now <= due.must.saturating_add(2), "key {key} was due at {due:?}");
            }
            let Some(held) = entry.held else { continue };
            let swept = SWEEP_EVERY + 64;
            ensure!(self.now <= held.vouched + TTL + ENDURE + swept, "key {key} expired long ago");
            // One that comes back while it is asked about is swept the next time.
            let swept_by = (held.read + IDLE).max(held.vouched) + swept;
            let idle = !self.is_read(key) && self.now > swept_by;
            ensure!(!idle, "key {key} was read at {}", held.read);
        }
        Ok(())
    }
}
