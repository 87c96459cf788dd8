//! What a hit costs on one thread, beside what a user would pick instead.
//!
//! Every subject holds the same keys with room for three times as many, hands out an owned handle on a
//! 64-byte value that is dropped at once, and is asked for the keys in the same random order. That is not
//! the order in which they were put: otherwise what is asked for next lies next in memory.
//! Asynchronous ones are polled by hand. All of them live in this process, and rounds take turns;
//! figures are this thread's CPU time per lookup, less nothing. "larder handle" is
//! `Subscription::latest` by 1,000 subscriptions that are held, one for each key, and asked in another order
//! than they were made: it lends the value, of which a byte is read, instead of handing out a handle, as
//! the subscription is one.

use std::hint::black_box;

use larder_bench::chance::{Dice, shuffle};
use larder_bench::keys::{Key, shuffled};
use larder_bench::measure::{Contender, cpu_ns_per, interleave};
use larder_bench::table::{against, aim};
use larder_bench::{now, subjects};
use larder_cache::{Cache, Options, Refresh, Request, Subscription};

const ROUNDS: usize = 15;
const LOOKUPS: usize = 200_000;

type Handle<K> = Subscription<subjects::Never<K>>;

/// Refreshed from outside, so that a subscription to what has been put asks nobody.
fn pushed<K: Key>(count: usize, put: &[K]) -> Cache<subjects::Never<K>> {
    let options = Options { refresh: Refresh::Pushed, ..subjects::options(count * 3) };
    subjects::larder(options, put)
}

/// A handle on each key, in the order in which they were put.
fn handles<K: Key>(cache: &Cache<subjects::Never<K>>, put: &[K]) -> Vec<Handle<K>> {
    let handle = |key| cache.subscribe(key, &Request::DEFAULT).expect("there is room");
    put.iter().map(handle).collect()
}

/// What a lookup gives.
trait Found {
    fn found(&self) -> bool;
}

impl<T> Found for Option<T> {
    fn found(&self) -> bool {
        self.is_some()
    }
}

impl<T, E> Found for Result<T, E> {
    fn found(&self) -> bool {
        self.is_ok()
    }
}

fn contender<'a, K, T: Found>(
    name: &'static str,
    keys: &'a [K],
    look: impl Fn(&K) -> T + 'a,
) -> Contender<'a> {
    // The closure is called in one place only, so that it can be inlined as in a caller's own loop.
    Contender::new(name, move || {
        let (passes, mut found) = (LOOKUPS / keys.len(), 0);
        let ns = cpu_ns_per(passes * keys.len(), || {
            for _ in 0..passes {
                for key in keys {
                    found += usize::from(black_box(look(black_box(key))).found());
                }
            }
        });
        assert_eq!(found, passes * keys.len(), "{name} lost a key");
        ns
    })
}

/// The subscriptions, asked in an order of their own.
fn handle<K: Key>(mut held: Vec<Handle<K>>, cache: &Cache<subjects::Never<K>>) -> Contender<'_> {
    let mut order: Vec<usize> = (0..held.len()).collect();
    shuffle(&mut order, &mut Dice::new(3));
    Contender::new("larder handle", move || {
        let (passes, before, mut found) = (LOOKUPS / held.len(), cache.stats().hits, 0);
        let count = passes * held.len();
        let ns = cpu_ns_per(count, || {
            for _ in 0..passes {
                for place in &order {
                    let value = black_box(&mut held[*place]).latest();
                    found += usize::from(black_box(value.map(|value| value[0])).is_some());
                }
            }
        });
        assert_eq!(found, count, "a handle lost its value");
        assert_eq!(cache.stats().hits - before, count as u64, "all of them are hits");
        ns
    })
}

fn hits<K: Key>(count: usize) {
    let (put, asked, room) = (shuffled::<K>(count, 1), shuffled::<K>(count, 2), count * 3);
    let larder = subjects::larder(subjects::options(room), &put);
    let raw = subjects::raw(room, 0.5, &put);
    let moka_sync = subjects::moka_sync(room, &put);
    let moka_future = subjects::moka_future(room, &put);
    let foyer = subjects::foyer(room, &put);
    let cachet = subjects::cachet(room, false, &put);
    let cache = pushed(count, &put);
    let held = if count == 1_000 { handles(&cache, &put) } else { Vec::new() };
    let present = |entry: Result<Option<_>, cachet::Error>| entry.ok().flatten();
    let mut contenders = vec![
        contender("quick_cache", &asked, |key| raw.get(key)),
        contender("larder get", &asked, |key| now(larder.get(key))),
        contender("larder peek", &asked, |key| larder.peek(key)),
        contender("quick_cache again", &asked, |key| raw.get(key)),
        contender("foyer", &asked, |key| foyer.get(key)),
        contender("moka sync", &asked, |key| moka_sync.get(key)),
        contender("moka future", &asked, |key| now(moka_future.get(key))),
        contender("cachet", &asked, |key| present(now(cachet.get(key)))),
    ];
    if !held.is_empty() {
        contenders.push(handle(held, &cache));
    }
    interleave(ROUNDS, &mut contenders);
    println!("## {}, {count} entries\n\n{}", K::KIND, against("quick_cache", &contenders));
    let median = |name| {
        let named = contenders.iter().find(|contender| contender.name == name);
        named.expect("it is among the contenders").samples.median()
    };
    if count == 1_000 {
        let get = median("larder get") / median("quick_cache");
        println!("{}", aim("larder get ÷ quick_cache, median", get, get <= 1.25, "≤ 1.25"));
        let handle = median("larder handle") / median("quick_cache");
        println!(
            "{}\n",
            aim("larder handle ÷ quick_cache, median", handle, handle <= 0.7, "≤ 0.7")
        );
    } else {
        let moka = median("moka future") / median("larder get");
        println!("{}\n", aim("moka future ÷ larder get, median", moka, moka >= 8.0, "≥ 8"));
    }
}

fn main() {
    // The cache's clock ticks on this runtime's own thread, as it would in a program.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let _inside = runtime.enter();
    println!("# A hit: {ROUNDS} rounds of {LOOKUPS} lookups, CPU time\n");
    for count in [1_000, 100_000] {
        hits::<u64>(count);
        hits::<String>(count);
    }
}
