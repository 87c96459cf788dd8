//! Keys that follow a stream of changes.

use std::convert::Infallible;

use larder_cache::{Blame, Cache, Change, Edit, Ended, Feed, Fresh, Refresh, Request, Watch};

use crate::owner::{Down, KEY, Mood, NEVER, Owner, close, explore, options, start, turns};

impl Watch for Owner {
    type Item = Infallible;

    async fn watch(
        &self,
        _: &u32,
        mut from: Option<u64>,
        feed: &mut Feed<'_, Self>,
    ) -> Result<Ended, Down> {
        feed.heard();
        loop {
            let (mood, value, index) = self.read(from).await;
            if mood != Mood::Answers {
                return Err(Down(Blame::Upstream));
            }
            turns().await;
            feed.tell(Change::Whole(Fresh::new(value).index(index)));
            from = Some(index);
        }
    }

    fn build(&self, _: &u32, _: Option<&u64>, edits: Vec<Edit<Infallible>>) -> u64 {
        edits.len() as u64
    }
}

fn watching() -> (Cache<Owner>, Owner) {
    let owner = Owner::new(Mood::Answers);
    let (options, _hands) = options(Refresh::Watch { idle_timeout: NEVER });
    (Cache::watching(owner.clone(), options).unwrap(), owner)
}

#[test]
fn every_change_that_a_stream_tells_reaches_who_waits() {
    explore(6_000, || async {
        let (cache, owner) = watching();
        let readers: Vec<_> =
            (0..2)
                .map(|_| {
                    let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
                    start(async move {
                        while *subscription.changed().await.unwrap().value.unwrap() != 3 {}
                    })
                })
                .collect();
        let caller = start({
            let cache = cache.clone();
            async move {
                turns().await;
                cache.invalidate(&KEY);
                cache.get(&KEY).await.unwrap();
            }
        });
        owner.change();
        turns().await;
        owner.change();
        caller.await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
        close(&cache).await;
    });
}

#[test]
fn a_stream_that_stays_open_holds_up_nobody_when_the_cache_closes() {
    explore(6_000, || async {
        let (cache, _owner) = watching();
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        let reader = start(async move { while subscription.changed().await.is_some() {} });
        turns().await;
        cache.close().await;
        reader.await.unwrap();
        close(&cache).await;
    });
}
