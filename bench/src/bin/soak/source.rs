//! A source that answers, fails, panics or hangs, as chance will have it.

use std::fmt;
use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use larder_bench::Payload;
use larder_bench::chance::Dice;
use larder_cache::{Attempt, Fetched, Fresh, Source, Wait};

/// Of 100 fetches, 70 answer after up to 8 ms, some of them with "not modified" or with a shorter ttl;
/// 8 know that there is nothing; 15 fail; 4 panic, half of them after a wait; 3 hang.
///
/// If it counts changes, most values have an index, of which a few go backwards; a fetch that waits for
/// news gets its answer at some moment of the time that it may wait.
pub struct Moody {
    dice: Mutex<Dice>,
    changes: Option<AtomicU64>,
}

/// What [`Moody`] fails with.
#[derive(Debug)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as arranged")
    }
}

impl std::error::Error for Failed {}

/// What a deliberate panic carries.
struct Deliberate;

static OTHER_PANICS: AtomicUsize = AtomicUsize::new(0);

/// From now on deliberate panics are not printed, and all others are counted as well.
pub fn silence_deliberate_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panic.payload().is::<Deliberate>() {
            OTHER_PANICS.fetch_add(1, Ordering::Relaxed);
            print(panic);
        }
    }));
}

/// How many panics were not deliberate.
pub fn other_panics() -> usize {
    OTHER_PANICS.load(Ordering::Relaxed)
}

impl Moody {
    /// With moods of its own.
    pub fn new() -> Self {
        Self { dice: Mutex::new(Dice::new(2)), changes: None }
    }

    /// One that counts changes.
    pub fn counting() -> Self {
        Self { changes: Some(AtomicU64::new(100)), ..Self::new() }
    }

    /// A mood, and how long the answer takes.
    fn throw(&self, wait: Option<Wait>) -> (u64, Duration) {
        let mut dice = self.dice.lock().expect("nothing panics under this lock");
        let (mood, delay) = (dice.below(100), Duration::from_millis(dice.below(9)));
        (mood, wait.map_or(delay, |wait| wait.at_most.mul_f64(dice.unit())))
    }

    fn value(&self) -> Fetched<Payload> {
        match &self.changes {
            Some(changes) => {
                Fresh::new([7; 64]).index(changes.fetch_add(1, Ordering::Relaxed)).into()
            }
            None => Fetched::value([7; 64]),
        }
    }
}

impl Source for Moody {
    type Key = u64;
    type Value = Payload;
    type Error = Failed;

    async fn fetch(&self, _: &u64, attempt: Attempt<Payload>) -> Result<Fetched<Payload>, Failed> {
        let (mood, delay) = self.throw(attempt.wait());
        if mood >= 98 {
            panic::panic_any(Deliberate);
        }
        tokio::time::sleep(delay).await;
        match mood {
            0..10 if attempt.previous().is_some() => Ok(Fetched::NotModified { ttl: None }),
            0..60 => Ok(self.value()),
            60..70 => Ok(Fresh::new([7; 64]).index(mood).ttl(Duration::from_millis(50)).into()),
            70..78 => Ok(Fetched::Absent { remember_for: None }),
            78..93 => Err(Failed),
            93..95 => panic::panic_any(Deliberate),
            _ => std::future::pending().await,
        }
    }
}
