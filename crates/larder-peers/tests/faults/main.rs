//! A thousand random lives of a ring, on paused time: partitions both ways and one way, slow and lossy links,
//! answers that are lost, nodes that lose everything and come back, lists of peers that disagree or change,
//! clocks that are set and that jump, a source that is slow or fails.
//!
//! Each life follows from its seed. To see one, with all that happens in it:
//!
//! ```text
//! LARDER_SEED=17 cargo test -p larder-peers --test faults -- --nocapture one_life
//! ```

#![allow(clippy::unwrap_used, reason = "a test may")]

mod calls;
mod database;
mod dice;
mod history;
mod life;
mod network;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use history::Record;

fn lived(seed: u64, is_told: bool) -> Record {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(life::live(seed, is_told))
}

/// The lives of these seeds; what was violated, and what happened how often.
fn lives(seeds: impl Iterator<Item = u64>) -> (Vec<String>, BTreeMap<&'static str, u64>) {
    let (mut violations, mut counts) = (Vec::new(), BTreeMap::new());
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| lived(seed, false))) {
            Err(_) => violations.push(format!("seed {seed}: a panic")),
            Ok(record) => {
                let first = record.violations.first();
                let about = &record.about;
                violations.extend(first.map(|what| format!("seed {seed}, {about}, {what}")));
                for (what, times) in record.counts {
                    *counts.entry(what).or_default() += times;
                }
            }
        }
    }
    (violations, counts)
}

/// What must happen in many of the lives.
const HAPPENS: [&str; 17] = [
    "changed lists",
    "clocks that jumped ahead",
    "clocks that were set",
    "crashes",
    "failed gets",
    "gets answered",
    "impatient gets",
    "links cut one way",
    "lossy links",
    "moods",
    "partitions",
    "reads",
    "removals answered",
    "removals that somebody missed",
    "sets that failed",
    "sets that somebody may have missed",
    "slow links",
];

fn all_is_well(first: u64, number: u64) {
    const THREADS: u64 = 2;
    let threads = (0..THREADS).map(|thread| {
        let seeds = (first..first + number).filter(move |seed| seed % THREADS == thread);
        std::thread::spawn(move || lives(seeds))
    });
    let (mut violations, mut counts) = (Vec::new(), BTreeMap::<_, u64>::new());
    for thread in threads.collect::<Vec<_>>() {
        let (more, happened) = thread.join().unwrap();
        violations.extend(more);
        for (what, times) in happened {
            *counts.entry(what).or_default() += times;
        }
    }
    println!("{counts:#?}");
    let lives = violations.len();
    assert!(violations.is_empty(), "{lives} of {number} lives:\n{}", violations.join("\n"));
    // Or else the scenarios would show nothing.
    for what in HAPPENS {
        assert!(counts.get(what).is_some_and(|times| *times > number / 4), "{what} is rare");
    }
}

#[test]
fn a_thousand_lives_of_a_ring_break_no_promise() {
    all_is_well(0, 1_000);
}

/// Lives beyond those of every day.
#[test]
#[ignore = "takes long: cargo test -p larder-peers --test faults -- --ignored"]
fn twenty_thousand_more_break_none_either() {
    all_is_well(1_000, 20_000);
}

/// The one of `LARDER_SEED`, told.
#[test]
#[expect(clippy::disallowed_methods, reason = "the seed is an argument of the test")]
fn one_life_can_be_seen_again() {
    let seed = std::env::var("LARDER_SEED").ok().and_then(|seed| seed.parse().ok());
    let (one, other) = (lived(seed.unwrap_or(1), seed.is_some()), lived(seed.unwrap_or(1), false));
    assert_eq!(one.counts, other.counts, "it is the same again");
    assert!(one.violations.is_empty(), "{:#?}", one.violations);
}
