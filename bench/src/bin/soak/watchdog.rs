//! Notices calls that take too long, those that never end included: a thread of its own looks, so that
//! a runtime that is stuck cannot hide it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const IDLE: u64 = u64::MAX;
const GLANCE: Duration = Duration::from_millis(100);

/// Watches callers by number. Clones watch the same ones; the last one to go ends the thread.
#[derive(Clone)]
pub struct Watchdog(Arc<Watched>);

struct Watched {
    origin: Instant,
    bound: Duration,
    /// When each caller's call began, in microseconds since the origin.
    began: Box<[AtomicU64]>,
    longest_us: AtomicU64,
    faults: Mutex<Vec<String>>,
    stuck: AtomicBool,
}

impl Watchdog {
    /// Of `callers` callers whose calls take `bound` at most.
    pub fn new(callers: usize, bound: Duration) -> Self {
        let watched = Arc::new(Watched {
            origin: Instant::now(),
            bound,
            began: (0..callers).map(|_| AtomicU64::new(IDLE)).collect(),
            longest_us: AtomicU64::new(0),
            faults: Mutex::default(),
            stuck: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&watched);
        std::thread::spawn(move || {
            while let Some(watched) = weak.upgrade() {
                watched.look();
                drop(watched);
                std::thread::sleep(GLANCE);
            }
        });
        Self(watched)
    }

    /// `caller` begins a call.
    pub fn begin(&self, caller: usize) {
        self.0.began[caller].store(self.0.now(), Ordering::Relaxed);
    }

    /// `caller`'s call has ended.
    pub fn end(&self, caller: usize) {
        let watched = &*self.0;
        let began = watched.began[caller].swap(IDLE, Ordering::Relaxed);
        let taken = watched.now().saturating_sub(began);
        watched.longest_us.fetch_max(taken, Ordering::Relaxed);
        if Duration::from_micros(taken) > watched.bound {
            watched.faults().push(format!("caller {caller} waited for {taken} µs"));
        }
    }

    /// How long the longest call took that has ended.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.0.longest_us.load(Ordering::Relaxed))
    }

    /// What was noticed so far.
    pub fn faults(&self) -> Vec<String> {
        self.0.faults().clone()
    }
}

impl Watched {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(IDLE - 1)
    }

    fn faults(&self) -> MutexGuard<'_, Vec<String>> {
        self.faults.lock().expect("nothing panics under this lock")
    }

    /// Looks for calls that are under way for too long. The first time is told at once, as the program
    /// may never come to tell it at its end.
    fn look(&self) {
        let now = self.now();
        let bound = u64::try_from(self.bound.as_micros()).unwrap_or(u64::MAX);
        let late = |began: &&AtomicU64| now.saturating_sub(began.load(Ordering::Relaxed)) > bound;
        let stuck = self.began.iter().filter(late).count();
        if stuck > 0 && !self.stuck.swap(true, Ordering::Relaxed) {
            println!("{stuck} calls are under way for more than {:?}", self.bound);
            self.faults().push(format!("{stuck} calls were under way for too long"));
        }
    }
}
