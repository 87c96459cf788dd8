//! A typed, asynchronous read-through cache for values that are owned elsewhere.
//!
//! A [`Cache`] stands in front of a [`Source`]. One lookup goes like this:
//!
//! 1. **Look.** Find the key's entry. If it holds a value that is fresh enough for this request, return
//!    it with its age. No lock is held, nothing is allocated, no task is woken.
//! 2. **Join.** Otherwise join the one *flight* for this key, starting it if there is none. A flight is
//!    its own task: a caller that gives up cancels nobody.
//! 3. **Fetch.** The flight asks the source, within a time-out and a back-off that belongs to the entry,
//!    so that impatient callers cannot bypass it.
//! 4. **Publish.** A value is published whole or not at all, with its index, and everyone waiting is
//!    released on every path: success, failure, time-out, shutdown, panic.
//! 5. **Endure.** When the source fails, the last good value is served with its real age and the error
//!    beside it, as long as the caller's and the cache's bounds on staleness allow. Then, and only then,
//!    an error.
//!
//! ```
//! use larder_cache::{Attempt, Cache, Fetched, Options, Source};
//!
//! /// Whatever owns the values: here, the file system.
//! struct Files;
//!
//! impl Source for Files {
//!     type Key = std::path::PathBuf;
//!     type Value = String;
//!     type Error = std::io::Error;
//!
//!     async fn fetch(
//!         &self,
//!         path: &Self::Key,
//!         _: Attempt<String>,
//!     ) -> Result<Fetched<String>, std::io::Error> {
//!         std::fs::read_to_string(path).map(Fetched::value)
//!     }
//!
//!     fn weigh(&self, _: &Self::Key, text: &String) -> u64 {
//!         text.len() as u64
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let files = Cache::new(Files, Options { capacity: 1 << 20, ..Options::default() })?;
//! let manifest = std::path::PathBuf::from("Cargo.toml");
//! let reply = files.get(&manifest).await?;
//! println!("{} bytes, {:?} old, a {:?}", reply.len(), reply.age(), reply.origin());
//! assert_eq!(files.get(&manifest).await?.origin(), larder_cache::Origin::Hit);
//! files.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! The crate knows no protocol, no registry and no serialization format.

pub mod backoff;
mod cache;
pub mod clock;
mod entry;
mod error;
pub mod expiry;
mod failures;
mod flight;
mod options;
mod reply;
mod request;
mod source;
mod stats;
mod store;

pub use backoff::Backoff;
pub use cache::{Cache, Outcome};
pub use clock::{Clock, Hands, Ticker, Time};
pub use entry::Versioned;
pub use error::{Error, Limit};
pub use options::{InvalidOption, Options};
pub use reply::{Origin, Reply};
pub use request::Request;
pub use source::{Attempt, Fetched, Source};
pub use stats::Stats;
pub use store::TooHeavy;
