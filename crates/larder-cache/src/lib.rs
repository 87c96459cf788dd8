//! A typed, asynchronous read-through cache for values that are owned elsewhere: fresh, close by, and
//! still there when their owner is not.
//!
//! # The lookup story
//!
//! 1. **Look.** Find the key's entry. If it holds a value that is fresh enough for this request, return
//!    it with its age. No lock is held, nothing is allocated, no task is woken.
//! 2. **Join.** Otherwise join the one *flight* for this key, starting it if there is none. A flight is
//!    its own task: a caller that gives up cancels nobody.
//! 3. **Fetch.** The flight asks the [`Source`], within a time-out, a [rate limit](Rate) and a
//!    [back-off](Backoff) that belongs to the entry, so that impatient callers cannot bypass it. While
//!    the [`Upstream`] behind the source is down, one look a second is all that it gets.
//! 4. **Publish.** A value is published whole or not at all, with its index, and everyone waiting is
//!    released on every path: success, failure, time-out, eviction, shutdown, panic.
//! 5. **Keep.** While somebody is interested, a [subscriber](Subscription), a caller who
//!    [waits for an index](Request::min_index), or a read within the [idle time](Options::idle), the
//!    flight stays on as the entry's *keeper*, and keeps it fresh in the way that the source supports:
//!    see [`Refresh`].
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

//!
//! # Ways of staying fresh
//!
//! | [`Refresh`] | the source | a value's age | example |
//! | --- | --- | --- | --- |
//! | `OnDemand` | answers | grows up to the ttl | `examples/http_origin.rs` |
//! | `Poll` | answers | grows up to the period | `examples/subscription.rs` |
//! | `Blocking` | waits until its index has changed | none, while the source is reached | `examples/blocking_query.rs` |
//! | `Watch` | is a stream of changes: [`Watch`] | none, while the stream lives | `examples/watch.rs` |
//! | `Batch` | answers about many keys: [`FetchMany`] | grows up to the period | `examples/remote_jobs.rs` |
//! | `Pushed` | is fed into a [`Publisher`] | none, while the publisher is in contact | |
//!
//! [`AutoRefresh`] tracks what callers create and somebody else changes, in batches, until it is
//! [terminal](Fresh::terminal).
//!
//! # Who is told
//!
//! [`Cache::subscribe`] gives a handle on one key: its latest value costs less than a lookup, and its
//! changes can be awaited. [`Cache::notify`] tells the changes of many keys, of several caches too, into
//! one [`Inbox`]; [`Cache::notify_with`] tells them to a function. All of a key's subscribers share one
//! keeper, and none of them can hold it up.
//!
//! # Bounds
//!
//! The weight of the entries ([`Options::capacity`], or a [`Budget`] of several caches), fetches,
//! waiters, keepers and subscriptions ([`Limits`]), time ([`Options::fetch_timeout`]), and how long what
//! nobody reads is kept ([`Options::idle`]). [`Cache::close`] releases everyone and joins every task.
//! [`Source::removed`] hears of everything that leaves, and why.

mod aftermath;
mod auto_refresh;
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
mod lead;
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
mod standing;
mod stats;
mod store;
mod subscription;
mod sweep;
mod sync;
mod tasks;
mod topic;
mod trouble;
mod turns;
mod upstream;

pub use auto_refresh::{
    AutoRefresh, AutoRefreshOptions, AutoRefreshStats, Batches, Capacity, CreateError, Creation,
    OneSynced, Overflow, Stopped, SyncSource, Synced, Tracked, Updated,
};
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
