//! How much memory an entry takes once everything is full.
//!
//! A cache for a million entries, u64 keys and 64-byte values, is given three million distinct keys,
//! so that it evicts and remembers whom. Each subject does it in a process of its own, under an
//! allocator that counts. *Overhead* is the heap by entry less the 64 bytes of the value: the key counts
//! as overhead. The heap is what was asked for; the resident set also has what the allocator adds.

use std::sync::Arc;

use larder_bench::heap::{self, Counting};
use larder_bench::table::{Table, aim};
use larder_bench::{child, subjects};
use larder_cache::{Options, Put};

#[global_allocator]
static HEAP: Counting = Counting;

const CAPACITY: usize = 1_000_000;
const PUSHED: u64 = 3_000_000;
const SUBJECTS: [&str; 8] = [
    "larder, ghosts 0.5",
    "larder, ghosts 0",
    "larder, ghosts 1",
    "quick_cache, ghosts 0.5",
    "quick_cache, ghosts 0",
    "moka sync",
    "foyer S3-FIFO",
    "cachet",
];

/// What a subject's process finds.
struct Found {
    entries: u64,
    heap: usize,
    resident: usize,
}

fn larder(ghosts: f64) -> Found {
    // The clock stands still: its task is not what is measured.
    let clock = Some(subjects::stopped());
    let options = Options { ghost_allocation: ghosts, clock, ..subjects::options(CAPACITY) };
    found(
        || subjects::larder::<u64>(options, &[]),
        |cache, key| assert_eq!(cache.put(&key, [0; 64]), Put::Stored, "all are light"),
        |cache| cache.stats().entries,
    )
}

fn quick_cache(ghosts: f64) -> Found {
    found(
        || subjects::raw::<u64>(CAPACITY, ghosts, &[]),
        |cache, key| cache.insert(key, Arc::new([0; 64])),
        |cache| cache.len() as u64,
    )
}

fn moka() -> Found {
    found(
        || subjects::moka_sync::<u64>(CAPACITY, &[]),
        |cache, key| cache.insert(key, Arc::new([0; 64])),
        |cache| {
            cache.run_pending_tasks();
            cache.entry_count()
        },
    )
}

fn foyer() -> Found {
    found(
        || subjects::foyer::<u64>(CAPACITY, &[]),
        |cache, key| drop(cache.insert(key, [0; 64])),
        |cache| cache.entries() as u64,
    )
}

fn cachet() -> Found {
    let put = |cache: &subjects::Cachet<u64>, key| {
        let outcome = larder_bench::now(cache.insert(key, Arc::new([0; 64])));
        outcome.expect("memory does not fail");
    };
    found(
        || subjects::cachet::<u64>(CAPACITY, false, &[]),
        put,
        |cache| larder_bench::now(cache.len()).expect("memory knows its size"),
    )
}

fn found<C>(make: impl FnOnce() -> C, put: impl Fn(&C, u64), count: impl Fn(&C) -> u64) -> Found {
    let (heap, resident) = (heap::live(), heap::resident());
    let cache = make();
    for key in 0..PUSHED {
        put(&cache, key);
    }
    let entries = count(&cache);
    Found { entries, heap: heap::live() - heap, resident: heap::resident() - resident }
}

fn measure(subject: &str) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let _inside = runtime.enter();
    match subject {
        "larder, ghosts 0.5" => larder(0.5),
        "larder, ghosts 0" => larder(0.0),
        "larder, ghosts 1" => larder(1.0),
        "quick_cache, ghosts 0.5" => quick_cache(0.5),
        "quick_cache, ghosts 0" => quick_cache(0.0),
        "moka sync" => moka(),
        "foyer S3-FIFO" => foyer(),
        "cachet" => cachet(),
        other => panic!("there is no subject {other}"),
    }
}

fn main() {
    if let Some(subject) = std::env::args().nth(1) {
        let Found { entries, heap, resident } = measure(&subject);
        println!("{entries} {heap} {resident}");
        return;
    }
    println!("# Memory: capacity {CAPACITY}, {PUSHED} keys put; bytes an entry\n");
    let mut table = Table::new(&["", "entries", "heap", "overhead", "resident"]);
    let mut larder = f64::NAN;
    for subject in SUBJECTS {
        let [entries, heap, resident] = child::numbers(subject)[..] else {
            panic!("{subject} gave no figures")
        };
        let overhead = heap / entries - 64.0;
        if subject == SUBJECTS[0] {
            larder = overhead;
        }
        table.row([
            subject.to_owned(),
            entries.to_string(),
            format!("{:.1}", heap / entries),
            format!("{overhead:.1}"),
            format!("{:.1}", resident / entries),
        ]);
    }
    println!("{table}");
    println!("{}", aim("larder's overhead at ghosts 0.5, bytes", larder, larder <= 145.0, "≤ 145"));
}
