//! What an entry takes, measured as the whole process grows: alone in its program, so that nothing else does.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::convert::Infallible;

use larder_cache::{Attempt, Fetched, Source};
use larder_peers::{Expiry, GroupOptions, HotCopy, Mode, Pool, PoolOptions};

struct Nothing;

impl Source for Nothing {
    type Key = Box<[u8]>;
    type Value = Box<[u8]>;
    type Error = Infallible;

    async fn fetch(
        &self,
        _: &Self::Key,
        _: Attempt<Box<[u8]>>,
    ) -> Result<Fetched<Box<[u8]>>, Infallible> {
        Ok(Fetched::Absent { remember_for: None })
    }
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

const ENTRIES: u64 = 200_000;

#[tokio::test]
async fn a_value_of_64_bytes_takes_280_and_the_budget_knows() {
    let options = PoolOptions { mode: Mode::Native, ..PoolOptions::default() };
    let pool = Pool::new("self", options).unwrap();
    let options = GroupOptions { max_bytes: 1 << 30, ..GroupOptions::default() };
    let group = pool.group("g", Nothing, options).unwrap();
    let put = async |n: u64| {
        let key: Box<[u8]> = format!("{n:032}").into_bytes().into();
        let value: Box<[u8]> = vec![b'x'; 64].into();
        group.set(&key, value, Expiry::NEVER, HotCopy::Drop).await.unwrap();
    };
    for n in 0..1_000 {
        put(n).await;
    }
    let before = resident();
    for n in 1_000..ENTRIES {
        put(n).await;
    }
    let taken = (resident() - before) / (ENTRIES - 1_000);
    let stats = group.stats();
    assert_eq!(stats.main.items, ENTRIES);
    let counted = stats.main.bytes / ENTRIES;
    println!("an entry takes {taken} bytes, and counts for {counted}");
    assert!(taken <= 280, "{taken}");
    assert!(counted.abs_diff(taken) <= 40, "{counted} counted, {taken} taken");
}
