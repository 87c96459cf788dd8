//! Consul's `Notify`: many keys told into one inbox, each with its correlation id. The first error and the
//! recovery are told as well, and a slow reader gets the latest.
//!
//!     cargo run -p larder-cache --example subscription

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_cache::{Attempt, Cache, Fetched, Inbox, Options, Request, Source};

/// Prices that change with each look, and fail the third time.
struct Prices {
    looks: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
#[error("the exchange is closed")]
struct ExchangeClosed;

impl Source for Prices {
    type Key = String;
    type Value = u64;
    type Error = ExchangeClosed;

    async fn fetch(&self, _: &String, _: Attempt<u64>) -> Result<Fetched<u64>, ExchangeClosed> {
        match self.looks.fetch_add(1, Ordering::Relaxed) {
            4 | 5 => Err(ExchangeClosed),
            look => Ok(Fetched::value(100 + look)),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let cache = Cache::new(Prices { looks: AtomicU64::new(0) }, Options::default())?;
    let mut inbox = Inbox::new();
    // The cache refreshes on demand, so a subscription polls: as often as its greatest age says.
    let polled = Request::DEFAULT.max_age(Duration::from_millis(200));
    for name in ["tin", "zinc"] {
        cache.notify(&name.to_owned(), &polled, name, &inbox, |update| update)?.keep();
    }
    for _ in 0..10 {
        let event = inbox.recv().await;
        let price = event.update.value.as_deref();
        match &event.update.error {
            None => println!("{}: {price:?}", event.correlation_id),
            Some(error) => println!("{}: {price:?}, but {error}", event.correlation_id),
        }
    }
    cache.close().await;
    Ok(())
}
