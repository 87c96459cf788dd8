//! An owner of items that does what the test says, and remembers what it was asked.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use larder_cache::{
    AutoRefresh, AutoRefreshOptions, Batches, Blame, OneSynced, Rate, Removal, SyncSource, Synced,
    Tracked,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Items from here on are terminal.
pub(crate) const DONE: u64 = 1_000_000_000;

pub(crate) type Options = AutoRefreshOptions<u32, u64>;
pub(crate) type Tracking = AutoRefresh<Owner>;

/// What the owner says about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// One more than it was.
    Counts,
    /// This.
    Says(u64),
    /// That it is terminal now.
    Ends,
    /// What it was, without a word of an update.
    Same,
    /// Does not mention it.
    Silent,
    Gone,
    /// An error for this item.
    Fails,
    /// An error for this item, for good.
    Refuses,
    /// An error for the whole batch.
    FailsAll,
    /// As these, for the whole batch.
    Panics,
    Hangs,
}

#[derive(Debug, thiserror::Error)]
#[error("the owner is down")]
pub(crate) struct Down(Blame);

/// One sync that has begun.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Duration,
    pub(crate) batch: Vec<(u32, u64)>,
}

/// A call of one of the owner's functions.
pub(crate) type Hook = Arc<dyn Fn(u32, u64) + Send + Sync>;

/// A handle on the owner; the tracking has another one.
#[derive(Clone)]
pub(crate) struct Owner(Arc<Office>);

pub(crate) struct Office {
    books: Mutex<Books>,
    gate: Semaphore,
    began: Instant,
}

pub(crate) struct Books {
    pub(crate) mood: Mood,
    pub(crate) moods: HashMap<u32, Mood>,
    /// Syncs with these wait for [`Owner::open`], and tell what they knew before.
    pub(crate) gated: HashSet<u32>,
    /// How long a sync takes.
    pub(crate) takes: Duration,
    pub(crate) asked: Vec<Asked>,
    pub(crate) running: HashMap<u32, usize>,
    /// The most syncs of one item that there were at a time.
    pub(crate) most_of_one: usize,
    pub(crate) syncs_running: usize,
    pub(crate) most_syncs: usize,
    pub(crate) removed: Vec<(u32, u64, Removal)>,
    pub(crate) finished: Vec<(u32, u64)>,
    /// Answered in addition to what was asked.
    pub(crate) strays: Vec<(u32, u64)>,
    pub(crate) periods: HashMap<u32, Duration>,
    pub(crate) on_removed: Option<Hook>,
    pub(crate) on_finished: Option<Hook>,
    pub(crate) on_terminal: Option<Hook>,
    pub(crate) on_period: Option<Hook>,
}

/// A sync under way.
struct Running<'a>(&'a Office, Vec<u32>);

impl Owner {
    pub(crate) fn new(mood: Mood) -> Self {
        let books = Books {
            mood,
            moods: HashMap::new(),
            gated: HashSet::new(),
            takes: Duration::ZERO,
            asked: Vec::new(),
            running: HashMap::new(),
            most_of_one: 0,
            syncs_running: 0,
            most_syncs: 0,
            removed: Vec::new(),
            finished: Vec::new(),
            strays: Vec::new(),
            periods: HashMap::new(),
            on_removed: None,
            on_finished: None,
            on_terminal: None,
            on_period: None,
        };
        let (books, gate) = (Mutex::new(books), Semaphore::new(0));
        Self(Arc::new(Office { books, gate, began: now() }))
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap()
    }

    /// From now on, of this item.
    pub(crate) fn says(&self, id: u32, mood: Mood) {
        self.books().moods.insert(id, mood);
    }

    /// From now on, syncs with this item wait.
    pub(crate) fn shut(&self, id: u32) {
        self.books().gated.insert(id);
    }

    /// Lets one waiting sync go on; later ones of the item do not wait.
    pub(crate) fn open(&self, id: u32) {
        self.books().gated.remove(&id);
        self.0.gate.add_permits(1);
    }

    /// When the item was asked about, since the owner was made.
    pub(crate) fn times(&self, id: u32) -> Vec<Duration> {
        let books = self.books();
        let about = |asked: &&Asked| asked.batch.iter().any(|(asked, _)| *asked == id);
        books.asked.iter().filter(about).map(|asked| asked.at).collect()
    }

    /// How many syncs have begun.
    pub(crate) fn syncs(&self) -> usize {
        self.books().asked.len()
    }

    /// How often the item was asked about.
    pub(crate) fn asked(&self, id: u32) -> usize {
        self.times(id).len()
    }

    /// How the item was when it was last asked about.
    pub(crate) fn seen(&self, id: u32) -> Option<u64> {
        let books = self.books();
        let asked = books.asked.iter().rev().flat_map(|asked| &asked.batch);
        asked.into_iter().find(|(asked, _)| *asked == id).map(|(_, item)| *item)
    }

    /// Why items with this id have left.
    pub(crate) fn causes(&self, id: u32) -> Vec<Removal> {
        let books = self.books();
        books.removed.iter().filter(|(left, ..)| *left == id).map(|(.., cause)| *cause).collect()
    }

    /// Whether nobody else has a handle.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn begin(&self, batch: &[(u32, Tracked<u64>)]) -> Running<'_> {
        let at = now().duration_since(self.0.began);
        let batch: Vec<(u32, u64)> = batch.iter().map(|(id, item)| (*id, **item)).collect();
        let ids: Vec<u32> = batch.iter().map(|(id, _)| *id).collect();
        let mut books = self.books();
        books.asked.push(Asked { at, batch });
        books.syncs_running += 1;
        books.most_syncs = books.most_syncs.max(books.syncs_running);
        for id in &ids {
            let running = books.running.entry(*id).or_default();
            *running += 1;
            let running = *running;
            books.most_of_one = books.most_of_one.max(running);
        }
        Running(&self.0, ids)
    }

    fn call(&self, hook: impl Fn(&Books) -> Option<Hook>, id: u32, item: u64) {
        let hook = hook(&self.books());
        if let Some(hook) = hook {
            hook(id, item);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut books = self.0.books.lock().unwrap();
        books.syncs_running -= 1;
        for id in &self.1 {
            *books.running.get_mut(id).unwrap() -= 1;
        }
    }
}

impl SyncSource for Owner {
    type Id = u32;
    type Item = u64;
    type Error = Down;

    async fn sync(&self, batch: Vec<(u32, Tracked<u64>)>) -> Result<Vec<OneSynced<Self>>, Down> {
        let _running = self.begin(&batch);
        let (answers, moods, gated, takes) = {
            let books = self.books();
            let mood = |id: &u32| books.moods.get(id).copied().unwrap_or(books.mood);
            let moods: Vec<Mood> = batch.iter().map(|(id, _)| mood(id)).collect();
            let gated = batch.iter().any(|(id, _)| books.gated.contains(id));
            let asked = batch.iter().zip(&moods);
            let answers = asked.filter_map(|((id, item), mood)| Some((*id, told(*mood, **item)?)));
            let strays = books.strays.iter().map(|(id, item)| (*id, Ok(Synced::Updated(*item))));
            (answers.chain(strays).collect(), moods, gated, books.takes)
        };
        if gated {
            self.0.gate.acquire().await.unwrap().forget();
        }
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        if moods.contains(&Mood::Hangs) {
            std::future::pending::<()>().await;
        }
        if moods.contains(&Mood::Panics) {
            // Without the panic hook, which would print a page each time.
            std::panic::resume_unwind(Box::new("the owner panics"));
        }
        if moods.contains(&Mood::FailsAll) {
            return Err(Down(Blame::Entry));
        }
        Ok(answers)
    }

    fn is_terminal(&self, id: &u32, item: &u64) -> bool {
        self.call(|books| books.on_terminal.clone(), *id, *item);
        *item >= DONE
    }

    fn period(&self, id: &u32, item: &u64) -> Option<Duration> {
        self.call(|books| books.on_period.clone(), *id, *item);
        self.books().periods.get(id).copied()
    }

    fn blame(&self, error: &Down) -> Blame {
        error.0
    }

    fn finished(&self, id: &u32, item: &u64) {
        self.books().finished.push((*id, *item));
        self.call(|books| books.on_finished.clone(), *id, *item);
    }

    fn removed(&self, id: &u32, item: &u64, cause: Removal) {
        self.books().removed.push((*id, *item, cause));
        self.call(|books| books.on_removed.clone(), *id, *item);
    }
}

fn told(mood: Mood, item: u64) -> Option<Result<Synced<u64>, Down>> {
    match mood {
        Mood::Counts => Some(Ok(Synced::Updated(item + 1))),
        Mood::Ends => Some(Ok(Synced::Updated(item + DONE))),
        Mood::Says(item) => Some(Ok(Synced::Updated(item))),
        Mood::Same => Some(Ok(Synced::Unchanged)),
        Mood::Gone => Some(Ok(Synced::Gone)),
        Mood::Fails => Some(Err(Down(Blame::Entry))),
        Mood::Refuses => Some(Err(Down(Blame::Refusal))),
        Mood::Silent | Mood::FailsAll | Mood::Panics | Mood::Hangs => None,
    }
}

/// A hook that panics, without the page that the panic hook would print.
#[expect(clippy::unnecessary_wraps, reason = "it is what the books hold")]
pub(crate) fn panicking() -> Option<Hook> {
    Some(Arc::new(|_, _| std::panic::resume_unwind(Box::new("the hook panics"))))
}

#[expect(clippy::disallowed_methods, reason = "it is the tests' paused clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets so much of the paused time go by.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Each item every 10 s, alone, as fast as can be; syncs take up to 5 s.
pub(crate) fn options() -> Options {
    Options {
        period: secs(10),
        refresh_rate: None,
        create_rate: None,
        sync_timeout: secs(5),
        ..Options::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what the options hold")]
pub(crate) fn rate(burst: u32, per_second: f64) -> Option<Rate> {
    Some(Rate { burst, per_second })
}

/// Up to `size` items together.
pub(crate) fn together(size: u32) -> Options {
    Options { batches: Batches::by_size(size), ..options() }
}

/// A tracking that runs.
pub(crate) fn tracking(mood: Mood, options: Options) -> (Tracking, Owner) {
    let (tracking, owner) = unstarted(mood, options);
    tracking.start().unwrap();
    (tracking, owner)
}

/// One that does not run yet.
pub(crate) fn unstarted(mood: Mood, options: Options) -> (Tracking, Owner) {
    let owner = Owner::new(mood);
    (Tracking::new(owner.clone(), options).unwrap(), owner)
}

/// Creates an item that is not there, and says what there is.
pub(crate) fn create(tracking: &Tracking, id: u32, item: u64) -> u64 {
    *tracking.get_or_create(&id, item).unwrap().item
}

pub(crate) fn get(tracking: &Tracking, id: u32) -> Option<u64> {
    tracking.get(&id).map(|item| *item)
}
