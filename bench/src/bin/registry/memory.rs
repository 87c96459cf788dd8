//! The table of what `registry_memory` finds, beside go-micro's.

use larder_bench::child;
use larder_bench::golang::GoProgram;
use larder_bench::table::{Table, aim};

/// Prints the table; gives lines about the aims.
pub fn report(go_micro: &GoProgram) -> Vec<String> {
    println!("# Memory: 100,000 instances with five pairs of metadata; bytes an instance\n");
    let counting = std::env::current_exe().expect("this program has a path");
    let counting = counting.with_file_name("registry_memory");
    let mut table = Table::new(&["", "heap", "resident", "heap ÷ larder"]);
    let mut aims = Vec::new();
    for (services, text) in [(1, "1 service"), (1_000, "1,000 services")] {
        let of = |subject: &str| {
            let numbers = child::numbers_of(&counting, &format!("{subject} {services}"));
            <[f64; 2]>::try_from(numbers).expect("two figures")
        };
        let cache = of("cache");
        let count = 100_000 / services;
        let rows = [
            ("instances alone", of("bare")),
            ("RegistryCache", cache),
            ("RegistryCache and the registry in memory", of("both")),
            ("Mirror", of("mirror")),
            ("go-micro", go_micro.numbers(&format!("memory {services} {count}"))),
        ];
        for (name, [heap, resident]) in rows {
            let ratio = format!("{:.2}", heap / cache[0]);
            let figures = [heap, resident].map(|bytes| format!("{bytes:.0}"));
            table.row([format!("{name}, {text}")].into_iter().chain(figures).chain([ratio]));
        }
        // The resident set also has what the allocator adds and, of one large service, what two listings took
        // that were there at once.
        let what = format!("bytes an instance on the heap, {text}");
        aims.push(aim(&what, cache[0], cache[0] <= 1024.0, "≤ 1,024"));
    }
    println!("{table}");
    aims
}
