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

mod aftermath;
mod backoff;
mod budget;
mod cache;
mod caches;
pub mod clock;
mod crowd;
mod engine;
mod entry;
mod error;
pub mod expiry;
mod get;
mod guarded;
mod inbox;
mod keep;
mod landing;
mod lookup;
mod options;
mod pace;
mod pacing;
mod pilot;
mod publisher;
mod reply;
mod request;
mod rounds;
mod signal;
mod slots;
mod source;
mod stats;
mod store;
mod subscription;
mod sweep;
mod sync;
mod tasks;
mod topic;
mod trouble;
mod upstream;

pub use backoff::Backoff;
pub use budget::{Budget, Share};
pub use cache::{Cache, Put};
pub use caches::{Caches, CachesError, NamedError, NamedSubscribeError};
pub use clock::{Clock, Hands, Ticker, Time};
pub use error::{Crowd, Error, StreamFault, SubscribeError};
pub use inbox::{Event, Inbox, Notification};
pub use keep::Refresh;
pub use keep::batch::{FetchMany, OneOfMany};
pub use keep::watch::{Change, Edit, Ended, Feed, Watch};
pub use options::{Limits, Options, OutOfRange};
pub use pace::Rate;
pub use publisher::Publisher;
pub use reply::{Origin, Reason, Reply};
pub use request::Request;
pub use source::{Attempt, Blame, Fetched, Fresh, Removal, Source, Wait};
pub use stats::{Keepers, Stats};
pub use subscription::{Delivery, Subscription, Update};
pub use upstream::Upstream;
