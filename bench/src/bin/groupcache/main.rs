//! A group that processes share, beside mailgun's groupcache v2, whose ring it can stand in: a hit, a get from the
//! other process, many keys at once, a crowd, memory, and how evenly keys are spread.
//!
//! Each file says how it measures. mailgun's figures come from `groupcache-go/`, a program that this one builds with
//! Go and runs in turns with Larder's; without it this one says so, goes on, and fails at its end.
//!
//! `groupcache [hit|remote|batch|crowd|memory|spread]...`: everything, unless told otherwise.

mod batch;
mod crowd;
mod hit;
mod memory;
mod node;
mod remote;
mod spread;

use std::process::ExitCode;

use larder_bench::golang::GoProgram;
use larder_bench::{child, server};

/// Prints a table; gives lines about the aims.
type Report = fn(&GoProgram) -> Vec<String>;

const PARTS: [(&str, Report); 6] = [
    ("hit", hit::report),
    ("remote", remote::report),
    ("batch", |_| batch::report()),
    ("crowd", |_| crowd::report()),
    ("memory", memory::report),
    ("spread", spread::report),
];

/// So many connections, and some to spare.
const FILES: u64 = 4_096;

fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = words.split_whitespace().collect();
    // Started by this program itself.
    match words[..] {
        ["serve", mode, own, peer] => node::serve(mode, own, peer),
        ["client", mode, own, peer, batch, in_flight, millis] => {
            let [batch, in_flight, millis] = [batch, in_flight, millis].map(node::number);
            child::say(&node::client(mode, own, peer, batch, in_flight, millis));
            return ExitCode::SUCCESS;
        }
        ["hit"] => {
            child::say(&hit::measure());
            return ExitCode::SUCCESS;
        }
        ["memory", "here"] => {
            child::say(&[memory::measure()]);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    server::allow_files(FILES);
    let go = GoProgram::build("groupcache-go");
    println!("## groupcache: a group that processes share\n");
    let mut aims = Vec::new();
    for (name, report) in PARTS {
        if words.is_empty() || words.contains(&name) {
            aims.extend(report(&go));
        }
    }
    for line in aims {
        println!("{line}");
    }
    match go.trouble() {
        None => ExitCode::SUCCESS,
        Some(trouble) => {
            println!("\nmailgun's groupcache was not measured: {trouble}");
            ExitCode::FAILURE
        }
    }
}
