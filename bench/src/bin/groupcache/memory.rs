//! Memory: what a key of 32 bytes and a value of 64 take, of 200,000 that were set; as the process grows, in a
//! process of its own. mailgun's heap beside: what its garbage collector leaves between two runs is in the former.

use std::convert::Infallible;

use larder_bench::child;
use larder_bench::golang::GoProgram;
use larder_bench::heap::resident;
use larder_bench::table::{Table, aim};
use larder_cache::{Attempt, Fetched, Source};
use larder_peers::{Expiry, GroupOptions, HotCopy, Pool, PoolOptions};

const ENTRIES: usize = 200_000;

struct Nothing;

impl Source for Nothing {
    type Key = Box<[u8]>;
    type Value = Box<[u8]>;
    type Error = Infallible;

    async fn fetch(
        &self,
        _: &Box<[u8]>,
        _: Attempt<Box<[u8]>>,
    ) -> Result<Fetched<Box<[u8]>>, Infallible> {
        Ok(Fetched::Absent { remember_for: None })
    }
}

/// Bytes for each entry.
pub fn measure() -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let pool = Pool::new("http://127.0.0.1:1", PoolOptions::default()).expect("it is valid");
        let options = GroupOptions { max_bytes: 1 << 30, ..GroupOptions::default() };
        let group = pool.group("bench", Nothing, options).expect("the options are valid");
        let put = async |number: usize| {
            let key: Box<[u8]> = format!("{number:032}").into_bytes().into();
            let value: Box<[u8]> = vec![b'x'; 64].into();
            let set = group.set(&key, value, Expiry::NEVER, HotCopy::Drop).await;
            set.expect("it is its own");
        };
        // What the first ones take once for all is not an entry's.
        for number in 0..1_000 {
            put(number).await;
        }
        let before = resident();
        for number in 1_000..ENTRIES {
            put(number).await;
        }
        let grown = resident().saturating_sub(before);
        assert_eq!(group.stats().main.items, ENTRIES as u64, "all are held");
        grown as f64 / (ENTRIES - 1_000) as f64
    })
}

/// Prints the table; gives lines about the aims.
pub fn report(go: &GoProgram) -> Vec<String> {
    let ours = child::numbers("memory here")[0];
    let [resident, heap] = go.numbers(&format!("memory {ENTRIES}"));
    println!("### Memory: a key of 32 bytes with a value of 64, of {ENTRIES}\n");
    let mut table = Table::new(&["bytes each", "resident", "heap"]);
    table.row(["larder".to_owned(), format!("{ours:.0}"), "-".to_owned()]);
    table.row(["mailgun".to_owned(), format!("{resident:.0}"), format!("{heap:.0}")]);
    println!("{table}");
    vec![aim("an entry, bytes", ours, ours <= 280.0, "≤ 280")]
}
