//! A source around another one, which keeps something beside what that brings.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use larder_cache::{Attempt, Cache, Clock, Fetched, Fresh, Options, Request, Source};

/// Counts up; says what it was shown.
#[derive(Default)]
struct Counter(AtomicU32);

#[derive(Debug, Clone, PartialEq)]
struct Told {
    count: u32,
    previous: Option<(u32, u64)>,
}

impl Source for Counter {
    type Key = u8;
    type Value = Told;
    type Error = Infallible;

    async fn fetch(&self, _: &u8, attempt: Attempt<Told>) -> Result<Fetched<Told>, Infallible> {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        let previous = attempt.previous().map(|told| told.count).zip(attempt.previous_index());
        let index = u64::from(count) + 10;
        Ok(Fresh::new(Told { count, previous }).index(index).ttl(Duration::from_secs(5)).into())
    }
}

/// Keeps for how long each value was said to hold.
struct Noting(Counter);

struct Noted {
    told: Told,
    ttl: Option<Duration>,
}

impl Source for Noting {
    type Key = u8;
    type Value = Noted;
    type Error = Infallible;

    async fn fetch(&self, key: &u8, attempt: Attempt<Noted>) -> Result<Fetched<Noted>, Infallible> {
        match self.0.fetch(key, attempt.part(|noted| &noted.told)).await? {
            Fetched::Fresh(fresh) => {
                let ttl = fresh.shortened_to();
                Ok(fresh.map(|told| Noted { told, ttl }).into())
            }
            other => panic!("a counter does not answer {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_source_within_is_shown_its_own_value_and_keeps_index_and_ttl() {
    let (clock, hands) = Clock::by_hand(0);
    let options = Options { clock: Some(clock), ..Options::default() };
    let cache = Cache::new(Noting(Counter::default()), options).unwrap();
    let first = cache.get(&1).await.unwrap();
    assert_eq!(first.told, Told { count: 0, previous: None });
    assert_eq!((first.ttl, first.index()), (Some(Duration::from_secs(5)), 10));
    let again = cache.get_with(&1, &Request::DEFAULT.must_revalidate()).await.unwrap();
    assert_eq!(again.told, Told { count: 1, previous: Some((0, 10)) });
    hands.advance(Duration::from_secs(5));
    assert_eq!(cache.get(&1).await.unwrap().told.count, 2, "the ttl of the source within holds");
}
