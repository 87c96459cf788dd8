//! Time, injected: a coarse tick for the hit path, exact time for everything else, and a clock that
//! tests move by hand.
//!
//! Reading the system's clock costs more than a whole cache hit, so hits read [`Clock::coarse`]: one
//! relaxed load of a tick that a [`Ticker`] moves every few milliseconds. Slow paths ask
//! [`Clock::now`], which also moves the tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

/// A moment on a [`Clock`]: whole milliseconds since that clock was made.
///
/// Moments of different clocks cannot be compared. Arithmetic saturates, so that a time-to-live of
/// `Duration::MAX` means "for ever".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The moment at which the clock was made.
    pub const ZERO: Self = Self(0);
    /// Later than anything that will happen.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `millis` milliseconds after the clock was made.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the clock was made.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus `wait`; [`Time::MAX`] if that is too late to be told.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Where time comes from. Cloning gives another handle on the same clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Face>);

#[derive(Debug)]
struct Face {
    tick: AtomicU64,
    movement: Movement,
}

#[derive(Debug)]
enum Movement {
    /// Follows tokio's clock, so that `tokio::time::pause` stops this one as well.
    Running { origin: tokio::time::Instant },
    /// Stands still until [`Hands::advance`]. The time of day is this many milliseconds ahead of the clock.
    ByHand { wall_at_origin: AtomicU64 },
}

impl Clock {
    /// A clock that follows real time, or tokio's paused time inside a test.
    ///
    /// Its coarse tick moves only when somebody calls [`now`](Self::now) or owns a [`Ticker`].
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else asks")]
    pub fn running() -> Self {
        let origin = tokio::time::Instant::now();
        Self(Arc::new(Face { tick: AtomicU64::new(0), movement: Movement::Running { origin } }))
    }

    /// A clock that stands still until its [`Hands`] are moved; `wall_at_origin` is what
    /// [`wall`](Self::wall) says at [`Time::ZERO`], in milliseconds since 1970.
    pub fn by_hand(wall_at_origin: u64) -> (Self, Hands) {
        let movement = Movement::ByHand { wall_at_origin: AtomicU64::new(wall_at_origin) };
        let clock = Self(Arc::new(Face { tick: AtomicU64::new(0), movement }));
        (clock.clone(), Hands(clock))
    }

    /// Whether the two are handles on one clock, so that their moments can be compared.
    pub fn is_the_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The last tick: behind [`now`](Self::now) by at most the ticker's period. One relaxed load.
    pub fn coarse(&self) -> Time {
        Time(self.0.tick.load(Ordering::Relaxed))
    }

    /// The exact time. Moves the tick along.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else asks")]
    pub fn now(&self) -> Time {
        match &self.0.movement {
            Movement::ByHand { .. } => self.coarse(),
            Movement::Running { origin } => {
                let elapsed = millis(tokio::time::Instant::now().duration_since(*origin));
                // Two threads may arrive here in either order: the tick never goes backwards.
                let before = self.0.tick.fetch_max(elapsed, Ordering::Relaxed);
                Time(elapsed.max(before))
            }
        }
    }

    /// How long ago the clock was made, to the nanosecond: for measuring what is shorter than a
    /// [moment](Time). It does not move the tick. A clock by hand knows whole milliseconds.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else asks")]
    pub fn uptime(&self) -> Duration {
        match &self.0.movement {
            Movement::ByHand { .. } => Duration::from_millis(self.coarse().as_millis()),
            Movement::Running { origin } => tokio::time::Instant::now().duration_since(*origin),
        }
    }

    /// The time of day, in milliseconds since 1970: for timestamps that leave the process, never for
    /// measuring how long something took.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else asks")]
    pub fn wall(&self) -> u64 {
        match &self.0.movement {
            // Wrapping, because the time of day may have been set to before the clock was made.
            Movement::ByHand { wall_at_origin } => {
                wall_at_origin.load(Ordering::Relaxed).wrapping_add(self.coarse().as_millis())
            }
            Movement::Running { .. } => {
                millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
            }
        }
    }
}

/// Moves a clock made by [`Clock::by_hand`].
#[derive(Debug)]
pub struct Hands(Clock);

impl Hands {
    /// Moves the clock forward by `step`, rounded down to whole milliseconds.
    pub fn advance(&self, step: Duration) {
        self.0.0.tick.fetch_add(millis(step), Ordering::Relaxed);
    }

    /// Sets the time of day, in milliseconds since 1970, forwards or backwards, as an administrator or NTP
    /// does: [`Clock::now`] does not notice.
    pub fn set_wall(&self, millis: u64) {
        if let Movement::ByHand { wall_at_origin } = &self.0.0.movement {
            let origin = millis.wrapping_sub(self.0.coarse().as_millis());
            wall_at_origin.store(origin, Ordering::Relaxed);
        }
    }
}

/// Owns the task that moves a running clock's tick. Dropping it stops the tick.
#[derive(Debug)]
pub struct Ticker(JoinHandle<()>);

impl Ticker {
    /// How often the tick moves unless told otherwise: every 10 ms, the error of a coarse age.
    pub const PERIOD: Duration = Duration::from_millis(10);

    /// Starts moving `clock`'s tick every `period`. Must be called inside a tokio runtime.
    pub fn start(clock: Clock, period: Duration) -> Self {
        Self(tokio::spawn(async move {
            loop {
                clock.now();
                tokio::time::sleep(period).await;
            }
        }))
    }

    /// As [`start`](Self::start), for a cache's own clock. The interleaving tests have no runtime to
    /// tick on, and time stands still in them.
    pub(crate) fn start_unless_modelled(clock: Clock) -> Option<Self> {
        (!cfg!(shuttle)).then(|| Self::start(clock, Self::PERIOD))
    }

    /// Stops the tick and waits for its task to end.
    pub async fn stop(mut self) {
        self.0.abort();
        // The only error is the abort itself.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whole milliseconds; `u64::MAX` if there are more.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_by_hand_moves_only_when_told() {
        let (clock, hands) = Clock::by_hand(1_000);
        assert_eq!((clock.now(), clock.coarse(), clock.wall()), (Time::ZERO, Time::ZERO, 1_000));
        hands.advance(Duration::from_secs(2));
        assert_eq!((clock.now().as_millis(), clock.wall()), (2_000, 3_000));
        assert_eq!(clock.uptime(), Duration::from_secs(2));
    }

    #[test]
    fn the_time_of_day_is_set_and_moments_go_on() {
        let (clock, hands) = Clock::by_hand(1_000);
        hands.advance(Duration::from_secs(5));
        for wall in [9_000, 40] {
            hands.set_wall(wall);
            assert_eq!((clock.wall(), clock.now().as_millis()), (wall, 5_000));
        }
        hands.advance(Duration::from_secs(1));
        assert_eq!((clock.wall(), clock.now().as_millis()), (1_040, 6_000));
    }

    #[test]
    fn adding_for_ever_saturates() {
        assert_eq!(Time::from_millis(5).after(Duration::MAX), Time::MAX);
        assert_eq!(Time::ZERO.since(Time::from_millis(5)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_ticker_moves_the_coarse_time_until_it_is_stopped() {
        let clock = Clock::running();
        let ticker = Ticker::start(clock.clone(), Ticker::PERIOD);
        tokio::time::sleep(Duration::from_millis(105)).await;
        assert_eq!(clock.coarse().as_millis(), 100);
        ticker.stop().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(clock.coarse().as_millis(), 100);
        assert_eq!(clock.now().as_millis(), 205);
    }
}
