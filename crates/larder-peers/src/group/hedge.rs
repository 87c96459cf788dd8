//! Asking an owner that is slow a second time, over another connection.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{Either, select};
use larder_cache::Fetched;

use crate::client::{Client, Hedge};
use crate::codec::{Codec, GroupKey};
use crate::group::held::Held;
use crate::group::sources::{Remote, RemoteError};

type Answered<V> = Result<Fetched<Held<V>>, RemoteError>;

impl<K: GroupKey, V: Codec> Remote<K, V> {
    /// Asks the owner; and once more if it takes long, as the pool's [`Hedge`](crate::Hedge) says.
    pub(super) async fn ask_owner(
        &self,
        (peer, client): (&str, &Client),
        key: &K,
        renews: bool,
    ) -> Answered<V> {
        let hedge = self.pool.options.hedge;
        // Nobody waits for a renewal, and it takes as long as a load.
        if renews || hedge == Hedge::Off {
            return self.ask(peer, client, key, renews).await;
        }
        let delay = client.hedging().ask(hedge);
        let began = self.pool.clock.uptime();
        let answered = match delay {
            Some(delay) => self.ask_twice((peer, client), key, delay).await,
            None => self.ask(peer, client, key, false).await,
        };
        // If it was not waited for, at least so long.
        client.hedging().answered(self.pool.clock.uptime().saturating_sub(began));
        answered
    }

    async fn ask_twice(
        &self,
        (peer, client): (&str, &Client),
        key: &K,
        delay: Duration,
    ) -> Answered<V> {
        let mut first = pin!(self.ask(peer, client, key, false));
        // Cancel-safe: the request is pinned outside, and goes on.
        if let Ok(answered) = tokio::time::timeout(delay, &mut first).await {
            return answered;
        }
        if !client.hedging().take() {
            return first.await;
        }
        self.tally.hedges.fetch_add(1, Ordering::Relaxed);
        let second = pin!(self.ask(peer, client, key, false));
        // Whichever is not waited for any longer is dropped, and its connection with it: over HTTP/1.1 nobody
        // else's request is on that.
        match select(first, second).await {
            // What a connection has against a request, another one may not have.
            Either::Left((Err(RemoteError::Useless(_)), second)) => second.await,
            Either::Right((Err(RemoteError::Useless(_)), first)) => first.await,
            Either::Left((answered, _)) => answered,
            Either::Right((answered, _)) => {
                self.tally.hedges_won.fetch_add(1, Ordering::Relaxed);
                answered
            }
        }
    }
}
