//! What the cache of a registry costs beside go-micro's, whose idea it is, and beside what one would write by
//! hand.
//!
//! Each file says how it measures. go-micro's figures come from `go-micro/`, a program that this one builds with
//! Go and runs in between; without it this one says so, goes on, and fails at its end. Figures of memory are
//! `registry_memory`'s, which counts allocations.
//!
//! `registry [hit|cold|relist|visible|memory|pick]...`: everything, unless told otherwise.

mod cold;
mod hit;
mod memory;
mod pick;
mod relist;
mod visible;

use std::process::ExitCode;
use std::sync::Arc;

use larder_bench::golang::GoProgram;
use larder_bench::instances::{instance, service_name};
use larder_bench::{child, now};
use larder_cache::Clock;
use larder_registry::{Backend, Memory, memory as in_memory};

/// Prints a table; gives lines about the aims.
type Report = fn(&GoProgram) -> Vec<String>;

const PARTS: [(&str, Report); 6] = [
    ("hit", hit::report),
    ("cold", cold::report),
    ("relist", |_| relist::report()),
    ("visible", visible::report),
    ("memory", memory::report),
    ("pick", pick::report),
];

/// A registry in memory that holds so many services of `count` instances. To be called inside a tokio runtime.
fn filled(services: usize, count: usize) -> Arc<Memory> {
    let registry = Arc::new(Memory::start(in_memory::Options::default(), Clock::running()));
    for name in (0..services).map(service_name) {
        for number in 0..count {
            let registered = now(registry.register(instance(name.as_str(), number)));
            registered.expect("there is room");
        }
    }
    registry
}

/// A runtime with one thread of its own, which lives as long as the guard.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime can be made")
}

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    if let [subject] = &chosen[..]
        && subject.contains(' ')
    {
        // Started by this program itself.
        child::say(&visible::measure(subject));
        return ExitCode::SUCCESS;
    }
    let go_micro = GoProgram::build("go-micro");
    let mut aims = Vec::new();
    for (name, report) in PARTS {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            aims.extend(report(&go_micro));
        }
    }
    for line in aims {
        println!("{line}");
    }
    match go_micro.trouble() {
        None => ExitCode::SUCCESS,
        Some(trouble) => {
            println!("\ngo-micro was not measured: {trouble}");
            ExitCode::FAILURE
        }
    }
}
