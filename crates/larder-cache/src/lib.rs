//! A typed, asynchronous read-through cache for values that are owned elsewhere: fresh, close by, and
//! still there when their owner is not.
//!
//! # The lookup story
//!
//! 1. **Look.** Find the key's entry. If it holds a value that is fresh enough for this request, return
//!    it with its age. No lock is held, nothing is allocated, no task is woken.
//! 2. **Join.** Otherwise join the one *flight* for this key, starting it if there is none. A flight is
//!    its own task: a caller that gives up cancels nobody.
//! 3. **Fetch.** The flight asks the [`Source`], within a time-out and a back-off that belongs to the
//!    entry, so that impatient callers cannot bypass it.
//! 4. **Publish.** A value is published whole or not at all, with its index, and everyone waiting is
//!    released on every path: success, failure, time-out, shutdown, panic.
//! 5. **Keep.** An entry stays for as long as there is room for it, and is fresh for as long as the
//!    cache and the source say.
//! 6. **Endure.** When the source fails, the last good value is served with its real age and the error
//!    beside it, as long as the caller's and the entry's staleness bounds allow. Then, and only then,
//!    an error.
//!
//! # Example
//!
//! ```
//! use larder_cache::{Attempt, Cache, Fetched, Options, Origin, Source};
//!
//! struct Greetings;
//!
//! impl Source for Greetings {
//!     type Key = String;
//!     type Value = String;
//!     type Error = std::io::Error;
//!
//!     async fn fetch(&self, key: &String, _: Attempt<String>) -> Result<Fetched<String>, std::io::Error> {
//!         Ok(Fetched::value(format!("Hello, {key}!")))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Cache::new(Greetings, Options::default())?;
//! let key = "Ada".to_owned();
//!
//! let reply = cache.get(&key).await?;
//! assert_eq!(*reply, "Hello, Ada!");
//! assert!(matches!(reply.origin(), Origin::Miss));
//!
//! let reply = cache.get(&key).await?;
//! assert!(matches!(reply.origin(), Origin::Hit));
//!
//! cache.close().await;
//! # Ok(())
//! # }
//! ```

mod backoff;
mod cache;
pub mod clock;
mod engine;
mod entry;
mod error;
pub mod expiry;
mod flight;
mod load;
mod options;
mod reply;
mod request;
mod source;
mod stats;
mod store;
mod trouble;

pub use backoff::Backoff;
pub use cache::{Cache, Put};
pub use clock::{Clock, Hands, Ticker, Time};
pub use error::{Crowd, Error};
pub use options::{Limits, Options, OutOfRange};
pub use reply::{Origin, Reply};
pub use request::Request;
pub use source::{Attempt, Fetched, Fresh, Source};
pub use stats::Stats;
