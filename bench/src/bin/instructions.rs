//! Looks up a given number of hits, for `instructions.sh` to count instructions under callgrind.
//!
//! `instructions SUBJECT LOOKUPS`; subjects are `loop` (the same loop around an index into a vector of
//! `Arc`s, that is, what no cache can save), `quick_cache`, `larder` (the asynchronous `get`, polled by
//! hand) and `peek`, each as `/u64` or `/string32`. There are 1,000 entries. The clock stands still and
//! nothing else runs, so that twice the lookups cost exactly twice the instructions.

use std::hint::black_box;
use std::sync::Arc;

use larder_bench::keys::{Key, shuffled};
use larder_bench::{Payload, now, subjects};
use larder_cache::Options;

const ENTRIES: usize = 1_000;
const ROOM: usize = ENTRIES * 3;

/// Looks up `lookups` keys in turn, and drops what it gets.
#[inline]
fn look_up<K, T>(keys: &[K], lookups: usize, look: impl Fn(&K) -> T) {
    let mut next = 0;
    for _ in 0..lookups {
        next = if next + 1 == keys.len() { 0 } else { next + 1 };
        drop(black_box(look(black_box(&keys[next]))));
    }
}

fn run<K: Key>(subject: &str, lookups: usize) {
    let keys = shuffled::<K>(ENTRIES, 1);
    let options = Options { clock: Some(subjects::stopped()), ..subjects::options(ROOM) };
    match subject {
        "loop" => {
            let values = keys.iter().map(|_| Arc::<Payload>::new([0; 64])).collect::<Vec<_>>();
            let places: Vec<usize> = (0..ENTRIES).collect();
            look_up(&places, lookups, |place| Arc::clone(&values[*place]));
        }
        "quick_cache" => {
            let cache = subjects::raw(ROOM, 0.5, &keys);
            look_up(&keys, lookups, |key| cache.get(key));
        }
        "larder" => {
            let cache = subjects::larder(options, &keys);
            look_up(&keys, lookups, |key| now(cache.get(key)));
            assert_eq!(cache.stats().hits, lookups as u64, "all of them are hits");
        }
        "peek" => {
            let cache = subjects::larder(options, &keys);
            look_up(&keys, lookups, |key| cache.peek(key));
        }
        other => panic!("there is no subject {other}"),
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime can be made");
    let _inside = runtime.enter();
    let mut arguments = std::env::args().skip(1);
    let subject = arguments.next().expect("the first argument is the subject");
    let lookups = arguments.next().and_then(|number| number.parse().ok());
    let lookups = lookups.expect("the second argument is the number of lookups");
    match subject.split_once('/') {
        Some((subject, "u64")) => run::<u64>(subject, lookups),
        Some((subject, "string32")) => run::<String>(subject, lookups),
        _ => panic!("the subject is followed by /u64 or /string32"),
    }
}
