//! What Consul's agent cache promises by its tests, and what it gets wrong and we do not.
//!
//! Each test names the one of Consul's that it pins; those in `faults` would fail there, unless they say
//! otherwise. What has no counterpart here, because the design leaves no room for it:
//!
//! - a value together with an error: an answer is one or the other;
//! - a request of the wrong type, or of a type that is not registered: only [`larder_cache::Caches`]
//!   has names, and refuses them;
//! - a fetch without an end: each has a time-out;
//! - `near` or a token that is left out of the key by mistake: the key is all that a source is told.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod expiry;
mod faults;
mod get;
mod notify;
mod refresh;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use larder_cache::{
    Cache, Error, Fresh, Options, Origin, Refresh, Reply, Request, Source, Subscription, Update,
};
use support::{Down, Scripted, Step, settle};
use tokio::task::JoinHandle;

const BLOCKING: Refresh = Refresh::Blocking { wait: Duration::from_secs(300) };

type Answer = Result<Reply<u64>, Error<Down>>;

/// A cache on tokio's paused time.
fn keeping(source: &Scripted, refresh: Refresh) -> Cache<Scripted> {
    changed(source, |options| options.refresh = refresh)
}

fn changed(source: &Scripted, change: impl FnOnce(&mut Options)) -> Cache<Scripted> {
    let mut options = Options::default();
    change(&mut options);
    Cache::new(source.clone(), options).unwrap()
}

fn at(value: u64, index: u64) -> Step {
    Step::Fresh(Fresh::new(value).index(index))
}

/// Asks for key 1 in a task of its own.
fn ask(cache: &Cache<Scripted>, request: Request) -> JoinHandle<Answer> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.get_with(&1, &request).await })
}

fn past(index: u64, wait: Duration) -> Request {
    Request::DEFAULT.min_index(index, wait)
}

fn is_hit(answer: &Answer) -> bool {
    matches!(answer.as_ref().unwrap().origin(), Origin::Hit)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets time go by, and everything happen that is due.
async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
    settle().await;
}

/// The value, its index, and whether there is an error.
type Heard = (Option<u64>, u64, bool);

fn heard(update: &Update<u64, Down>) -> Heard {
    let index = update.value.as_ref().map_or(0, Reply::index);
    (update.value.as_deref().copied(), index, update.error.is_some())
}

/// What a subscriber hears next; fails if that takes more than a quarter of an hour.
async fn next<S: Source<Value = u64, Error = Down>>(subscription: &mut Subscription<S>) -> Heard {
    let update = tokio::time::timeout(Duration::from_secs(900), subscription.changed()).await;
    heard(&update.expect("silence").unwrap())
}
