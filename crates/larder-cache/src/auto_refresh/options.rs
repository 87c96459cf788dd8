//! Everything that can be set on an [`AutoRefresh`](crate::AutoRefresh), and every default.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::keep::batch::division;
use crate::options::OutOfRange;
use crate::pace::Rate;

/// How items are tracked. Change the fields of [`AutoRefreshOptions::default`].
#[derive(Debug, Clone)]
pub struct AutoRefreshOptions<Id, Item> {
    /// The most items held, the terminal ones included.
    ///
    /// Defaults to: 100,000. Range: from 1.
    pub size: usize,
    /// What becomes of a creation when there are so many.
    ///
    /// Defaults to: [`Overflow::Evict`], as flyte's cache has it.
    pub overflow: Overflow,
    /// How often each item is asked about, counted from when its last sync landed, plus up to a
    /// sixteenth. Also how often deleted items [leave](crate::AutoRefresh::delete_delayed).
    ///
    /// Defaults to: 30 s. Range: 1 ms to 100 days.
    pub period: Duration,
    /// How many syncs may run at a time.
    ///
    /// Defaults to: 10. Range: 1 to 10,000.
    pub workers: u32,
    /// Which items are synced together.
    ///
    /// Defaults to: [`Batches::single`].
    pub batches: Batches<Id, Item>,
    /// How often a sync of items that are due may begin, whatever its size.
    ///
    /// Defaults to: 10 a second, 100 at once, as client-go's queues. `None` is no limit.
    pub refresh_rate: Option<Rate>,
    /// How often a first sync may begin, if items are synced on creation. It is a limit of its own: a
    /// burst of creations takes nothing from the refreshes. Items beyond what it lets through within a
    /// period are synced when they are due, as all others.
    ///
    /// Defaults to: as `refresh_rate`.
    pub create_rate: Option<Rate>,
    /// Whether an item is synced for the first time at once, or after a period.
    ///
    /// Defaults to: at once.
    pub sync_on_create: bool,
    /// How long terminal items stay.
    ///
    /// Defaults to: `None`, until they are evicted or deleted. Range: from 1 ms.
    pub terminal_ttl: Option<Duration>,
    /// How much later than a period an item is due that keeps failing.
    ///
    /// Defaults to: 5 ms after the first failure, doubling up to 1,000 s, as client-go's queues.
    pub backoff: Backoff,
    /// How long a sync may take. Then it is dropped, and its items have failed.
    ///
    /// Defaults to: 30 s. Range: from 1 ms.
    pub sync_timeout: Duration,
    /// The clock to live by. Without one, one is made.
    ///
    /// Defaults to: none. Whoever gives one must keep its tick moving.
    pub clock: Option<Clock>,
}

/// What becomes of a creation when the cache is full. Terminal items are evicted for it in any case: in the
/// order of their coming, but for those that were read since they were last passed over. This is about when
/// there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// A live item is evicted, chosen in the same way, although nobody follows it to its end any more.
    Evict,
    /// The creation is refused with [`CreateError::Full`](crate::CreateError::Full).
    Refuse,
}

/// Which items are synced together.
pub struct Batches<Id, Item> {
    pub(crate) size: u32,
    pub(crate) divide: Option<Division<Id, Item>>,
}

type Division<Id, Item> = Arc<dyn Fn(&[(&Id, &Item)]) -> Vec<Vec<Id>> + Send + Sync>;

impl<Id, Item> Batches<Id, Item> {
    /// Each item alone.
    pub fn single() -> Self {
        Self::by_size(1)
    }

    /// Up to `size` items, in the order in which they are due. Range: 1 to 100,000.
    pub fn by_size(size: u32) -> Self {
        Self { size, divide: None }
    }

    /// Up to `size` items for which `key` says the same, such as the account at which a remote call must
    /// be made. Range: 1 to 10,000.
    pub fn by_key<G: Hash + Eq>(
        size: u32,
        key: impl Fn(&Id, &Item) -> G + Send + Sync + 'static,
    ) -> Self
    where
        Id: Clone,
    {
        let most = size as usize;
        let divide = move |due: &[(&Id, &Item)]| {
            division::by_key(due.iter().map(|(id, item)| (Id::clone(id), key(id, item))), most)
        };
        Self { size, divide: Some(Arc::new(divide)) }
    }

    /// As `divide` says: it is given up to 10,000 items that are due, and must name each of them once.
    ///
    /// An item that it drops is due again a period later; one that it names twice counts where it was
    /// named first; one that it invents is ignored. All of that is counted as
    /// [`misdivided`](crate::AutoRefreshStats::misdivided) and logged; so is a panic, as if it had
    /// dropped everything.
    pub fn by(divide: impl Fn(&[(&Id, &Item)]) -> Vec<Vec<Id>> + Send + Sync + 'static) -> Self {
        Self { size: 1, divide: Some(Arc::new(divide)) }
    }
}

// Derived, it would ask for `Id: Clone`.
impl<Id, Item> Clone for Batches<Id, Item> {
    fn clone(&self) -> Self {
        Self { size: self.size, divide: self.divide.clone() }
    }
}

impl<Id, Item> fmt::Debug for Batches<Id, Item> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divided = self.divide.is_some();
        f.debug_struct("Batches").field("size", &self.size).field("divided", &divided).finish()
    }
}

impl<Id, Item> Default for AutoRefreshOptions<Id, Item> {
    fn default() -> Self {
        let rate = Some(Rate { burst: 100, per_second: 10.0 });
        Self {
            size: 100_000,
            overflow: Overflow::Evict,
            period: Duration::from_secs(30),
            workers: 10,
            batches: Batches::single(),
            refresh_rate: rate,
            create_rate: rate,
            sync_on_create: true,
            terminal_ttl: None,
            backoff: Backoff {
                free_failures: 0,
                base: Duration::from_millis(5),
                cap: Duration::from_secs(1000),
            },
            sync_timeout: Duration::from_secs(30),
            clock: None,
        }
    }
}

impl<Id, Item> AutoRefreshOptions<Id, Item> {
    /// Says which option is out of its range, if any.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let tick = Duration::from_millis(1);
        let longest = Duration::from_secs(100 * 24 * 3600);
        let most = if self.batches.divide.is_some() { 10_000 } else { 100_000 };
        let backoff = tick <= self.backoff.base && self.backoff.base <= self.backoff.cap;
        let rates = [self.refresh_rate, self.create_rate];
        let checks = [
            ("size", "from 1", self.size >= 1),
            ("period", "1 ms to 100 days", (tick..=longest).contains(&self.period)),
            ("workers", "1 to 10,000", (1..=10_000).contains(&self.workers)),
            ("batches", "see its constructors", (1..=most).contains(&self.batches.size)),
            ("refresh_rate", Rate::RANGE, rates[0].is_none_or(Rate::is_sensible)),
            ("create_rate", Rate::RANGE, rates[1].is_none_or(Rate::is_sensible)),
            ("terminal_ttl", "from 1 ms", self.terminal_ttl.is_none_or(|ttl| ttl >= tick)),
            ("backoff", "1 ms ≤ base ≤ cap", backoff),
            ("sync_timeout", "from 1 ms", self.sync_timeout >= tick),
        ];
        match checks.into_iter().find(|(.., right)| !right) {
            Some((option, range, _)) => Err(OutOfRange { option, range }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Options = AutoRefreshOptions<u32, u32>;
    type Mistake = fn(&mut Options);

    #[test]
    fn each_option_that_makes_no_sense_is_named() {
        assert_eq!(Options::default().validate(), Ok(()));
        let wrong: [(&str, Mistake); 9] = [
            ("size", |options| options.size = 0),
            ("workers", |options| options.workers = 0),
            ("workers", |options| options.workers = 10_001),
            ("period", |options| options.period = Duration::ZERO),
            ("batches", |options| options.batches = Batches::by_size(0)),
            ("batches", |options| options.batches = Batches::by_key(0, |id, _| *id)),
            ("sync_timeout", |options| options.sync_timeout = Duration::ZERO),
            ("terminal_ttl", |options| options.terminal_ttl = Some(Duration::ZERO)),
            ("refresh_rate", |options| {
                options.refresh_rate = Some(Rate { burst: 0, per_second: 1.0 });
            }),
        ];
        for (name, make_wrong) in wrong {
            let mut options = Options::default();
            make_wrong(&mut options);
            assert_eq!(options.validate().map_err(|error| error.option), Err(name));
        }
    }
}
