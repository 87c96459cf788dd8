//! No waiter is ever left behind: the crate's own code, run over and over with its tasks interleaved in
//! thousands of ways.
//!
//! Built with `--cfg shuttle` (`just interleavings`), the crate's locks, atomics and tasks are shuttle's,
//! which picks at each of them who goes on; `src/sync.rs` says what is left out. Two numbers are smaller
//! than in a program: shards of the side table, and wakers called in one go. Whoever is left waiting shows
//! as a deadlock, or as more steps than a test may take. Each run takes other interleavings; a failure
//! prints its seed, and `SHUTTLE_RANDOM_SEED` runs it again. Without the flag there is nothing in here.

#![cfg(shuttle)]
#![allow(clippy::unwrap_used, missing_debug_implementations, reason = "a test may")]

mod batches;
mod flights;
mod inboxes;
mod keepers;
mod owner;
mod streams;
mod tracking;
