//! Takes out what nobody will be given any more, so that it does not wait for its eviction.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::engine::Engine;
use crate::entry::Versioned;
use crate::options::Options;
use crate::source::{Removal, Source};
use crate::stats::Event;
use crate::sync::sleep;

const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(600);

/// Sweeps now and then until the cache closes.
pub(crate) async fn run<S: Source>(engine: Arc<Engine<S>>) {
    let Some(period) = period(&engine.options) else { return };
    loop {
        // Cancel-safe: both take nothing.
        tokio::select! {
            biased;
            () = engine.tasks.closing() => return,
            () = sleep(period) => {}
        }
        sweep(&engine);
    }
}

fn sweep<S: Source>(engine: &Engine<S>) {
    let (options, now) = (&engine.options, engine.clock.now());
    // What is subscribed is as good as read.
    let mut wanted = Vec::new();
    engine.slots.each_shard(|shard| {
        let interesting = shard.iter().filter(|(_, slot)| slot.topic.is_interesting());
        wanted.extend(interesting.filter_map(|(key, _)| engine.store.peek(key)));
    });
    for entry in wanted {
        entry.touch(now);
    }
    let gone = engine.store.retain(|entry| !is_idle(entry, options, now));
    engine.dispose(gone, Removal::Idle, Event::Idle);
    let gone = engine.store.retain(|entry| !is_expired(entry, options, now));
    engine.dispose(gone, Removal::Expired, Event::Expired);
}

/// A quarter of the time after which something is to go; `None` if nothing ever is.
///
/// Pure.
fn period(options: &Options) -> Option<Duration> {
    let endured = options.ttl.saturating_add(options.stale_if_error);
    let least = options.idle.min(endured);
    (least < Duration::MAX).then(|| (least / 4).clamp(SOONEST, LATEST))
}

fn is_idle<V>(entry: &Versioned<V>, options: &Options, now: Time) -> bool {
    // The keeper of a connected entry sees to it.
    !entry.is_connected() && entry.read_at().after(options.idle) <= now
}

fn is_expired<V>(entry: &Versioned<V>, options: &Options, now: Time) -> bool {
    entry.fresh_until().after(options.stale_if_error) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sweeps_four_times_within_the_shortest_life_and_not_too_often() {
        let mut options = Options { idle: Duration::from_secs(80), ..Options::default() };
        assert_eq!(period(&options), Some(Duration::from_secs(20)));
        options.idle = Duration::from_millis(5);
        assert_eq!(period(&options), Some(SOONEST));
        (options.idle, options.ttl) = (Duration::MAX, Duration::MAX);
        assert_eq!(period(&options), None);
    }
}
