//! Clocks, and what is made of many rounds.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time that this thread has used: other programs on the machine are left out, though not
/// what they do to its caches.
pub fn cpu() -> Duration {
    of(ClockId::ThreadCPUTime)
}

/// The CPU time that this process has used, with all its threads.
pub fn process_cpu() -> Duration {
    of(ClockId::ProcessCPUTime)
}

fn of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let secs = u64::try_from(time.tv_sec).expect("nobody has run for a negative time");
    Duration::new(secs, u32::try_from(time.tv_nsec).expect("nanoseconds are below 10^9"))
}

/// Nanoseconds of this thread's CPU time that `work` takes, for each of `count`.
pub fn cpu_ns_per(count: usize, work: impl FnOnce()) -> f64 {
    let before = cpu();
    work();
    cpu().saturating_sub(before).as_secs_f64() * 1e9 / count as f64
}

/// The same thing measured again and again.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a round's figure.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The least: what it costs undisturbed.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The most.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// Something to measure: each call runs one round and gives its figure.
pub struct Contender<'a> {
    /// As it stands in the table.
    pub name: &'static str,
    round: Box<dyn FnMut() -> f64 + 'a>,
    /// The rounds so far.
    pub samples: Samples,
}

impl<'a> Contender<'a> {
    /// A contender without a round yet.
    pub fn new(name: &'static str, round: impl FnMut() -> f64 + 'a) -> Self {
        Self { name, round: Box::new(round), samples: Samples::default() }
    }
}

/// Lets each contender run a round in turn, `rounds` times, so that a disturbance hits all of them.
/// One more round at the start is not counted.
pub fn interleave(rounds: usize, contenders: &mut [Contender<'_>]) {
    for round in 0..=rounds {
        for contender in &mut *contenders {
            let figure = (contender.round)();
            if round > 0 {
                contender.samples.push(figure);
            }
        }
    }
}
