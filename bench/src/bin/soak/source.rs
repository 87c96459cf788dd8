//! A source that answers, fails, panics or hangs, as chance will have it.

use std::fmt;
use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_bench::Payload;
use larder_bench::chance::Dice;
use larder_cache::{Attempt, Fetched, Fresh, Source};

/// Of 100 fetches, 70 answer after up to 8 ms, some of them with "not modified" or with a shorter ttl;
/// 8 know that there is nothing; 15 fail; 4 panic, half of them after a wait; 3 hang.
pub struct Moody(Mutex<Dice>);

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
        Self(Mutex::new(Dice::new(2)))
    }

    fn throw(&self) -> (u64, Duration) {
        let mut dice = self.0.lock().expect("nothing panics under this lock");
        (dice.below(100), Duration::from_millis(dice.below(9)))
    }
}

impl Source for Moody {
    type Key = u64;
    type Value = Payload;
    type Error = Failed;

    async fn fetch(&self, _: &u64, attempt: Attempt<Payload>) -> Result<Fetched<Payload>, Failed> {
        let (mood, wait) = self.throw();
        if mood >= 98 {
            panic::panic_any(Deliberate);
        }
        tokio::time::sleep(wait).await;
        match mood {
            0..10 if attempt.previous().is_some() => Ok(Fetched::NotModified { ttl: None }),
            0..60 => Ok(Fetched::value([7; 64])),
            60..70 => Ok(Fresh::new([7; 64]).index(mood).ttl(Duration::from_millis(50)).into()),
            70..78 => Ok(Fetched::Absent { remember_for: None }),
            78..93 => Err(Failed),
            93..95 => panic::panic_any(Deliberate),
            _ => std::future::pending().await,
        }
    }
}
