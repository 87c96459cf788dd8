//! Consul's way of staying fresh: each fetch waits at the source until the index has changed. A change is
//! here as soon as it is made, a read never waits, and the value has no age.
//!
//!     cargo run -p larder-cache --example blocking_query

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use larder_cache::{Attempt, Cache, Fetched, Fresh, Options, Refresh, Request, Source};
use tokio::sync::watch;

/// An owner that counts its changes.
struct Owner {
    state: watch::Receiver<(String, u64)>,
}

impl Source for Owner {
    type Key = ();
    type Value = String;
    type Error = Infallible;

    async fn fetch(
        &self,
        (): &(),
        attempt: Attempt<String>,
    ) -> Result<Fetched<String>, Infallible> {
        let mut state = self.state.clone();
        if let Some(wait) = attempt.wait() {
            let passed = state.wait_for(|(_, index)| *index > wait.past);
            // Nothing new in time: the answer is what there is.
            let _ = tokio::time::timeout(wait.at_most, passed).await;
        }
        let (value, index) = state.borrow().clone();
        Ok(Fresh::new(value).index(index).into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (change, state) = watch::channel(("v1".to_owned(), 1));
    let refresh = Refresh::Blocking { wait: Duration::from_secs(300) };
    let cache = Cache::new(Owner { state }, Options { refresh, ..Options::default() })?;

    let reply = cache.get(&()).await?;
    println!("{} at index {}", *reply, reply.index());

    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        change.send_replace(("v2".to_owned(), 2));
        // The owner stays.
        change.closed().await;
    });

    println!("-- wait for whatever is newer");
    let newer = Request::DEFAULT.min_index(reply.index(), Duration::from_secs(60));
    let reply = cache.get_with(&(), &newer).await?;
    println!("{} at index {}, {:?} old", *reply, reply.index(), reply.age());

    let reply = cache.get(&()).await?;
    println!("-- and everybody else has it too: {} ({:?})", *reply, reply.origin());

    cache.close().await;
    Ok(())
}
