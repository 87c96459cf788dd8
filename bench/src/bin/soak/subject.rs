//! What can be soaked.

use std::sync::Arc;
use std::time::Duration;

use larder_bench::chance::{Dice, Zipf};

/// A cache in front of a moody source, and what callers do with it.
pub trait Subject: Send + Sync + 'static {
    /// The longest that a call may take, with what a busy machine adds.
    fn bound(&self) -> Duration;

    /// One call of one caller, of whatever kind chance has it; says what came of it.
    fn ask(&self, dice: &mut Dice) -> impl Future<Output = &'static str> + Send;

    /// One subscription of one subscriber, from its beginning to its end; says what came of it. `None`
    /// where nobody subscribes.
    fn follow(&self, dice: &mut Dice) -> impl Future<Output = Option<&'static str>> + Send {
        let _ = dice;
        async { None }
    }

    /// Changes something from outside.
    fn meddle(&self, dice: &mut Dice);

    /// What is worth seeing at each sample.
    fn line(&self) -> String;

    /// What it has done.
    fn report(&self) -> String;

    /// Ends it.
    fn close(&self) -> impl Future<Output = ()> + Send;

    /// What is wrong with it once it is closed and all callers are gone.
    fn faults_after_close(&self) -> Vec<String>;
}

/// Which keys are asked for.
#[derive(Clone)]
pub struct World(Arc<Zipf>);

impl World {
    /// How many keys there are.
    pub const KEYS: u32 = 10_000;

    /// Some keys are asked for far more often than others.
    pub fn new() -> Self {
        Self(Arc::new(Zipf::new(Self::KEYS, 0.8)))
    }

    /// A key to ask for.
    pub fn key(&self, dice: &mut Dice) -> u64 {
        self.0.draw(dice) as u64
    }
}
