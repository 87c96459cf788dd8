//! Keys that are fetched many at a time.

use larder_cache::{Attempt, Cache, Error, FetchMany, Hands, OneOfMany, Refresh, Request};

use crate::owner::{Down, KEY, Mood, OTHER, Owner, SOON, close, explore, options, start, turns};

impl FetchMany for Owner {
    async fn fetch_many(
        &self,
        batch: Vec<(u32, Attempt<u64>)>,
    ) -> Result<Vec<OneOfMany<Self>>, Down> {
        let mut answers = Vec::new();
        for (key, _) in batch {
            answers.push((key, Ok(self.answer(key, None).await?)));
        }
        Ok(answers)
    }
}

fn batching() -> (Cache<Owner>, Owner, Hands) {
    let owner = Owner::new(Mood::Answers);
    let (options, hands) = options(Refresh::Batch { every: SOON, size: 2, parallel: 2 });
    (Cache::batching(owner.clone(), options).unwrap(), owner, hands)
}

#[test]
fn whoever_comes_while_a_batch_is_under_way_is_released() {
    explore(4_500, || async {
        let (cache, owner, hands) = batching();
        for key in [KEY, OTHER] {
            let _ = cache.put(&key, 1);
        }
        let change = owner.change();
        hands.advance(SOON * 2);
        let callers: Vec<_> = [(KEY, false), (OTHER, false), (KEY, true)]
            .into_iter()
            .map(|(key, invalidates)| {
                let cache = cache.clone();
                start(async move {
                    turns().await;
                    if invalidates {
                        cache.invalidate(&key);
                    }
                    let request = Request::DEFAULT.must_revalidate();
                    assert_eq!(*cache.get_with(&key, &request).await.unwrap(), change);
                })
            })
            .collect();
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        while *subscription.changed().await.unwrap().value.unwrap() != change {}
        drop(subscription);
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(owner.most_running(), 1);
        close(&cache).await;
    });
}

#[test]
fn a_batch_under_way_holds_up_nobody_when_the_cache_closes() {
    explore(6_000, || async {
        let (cache, owner, hands) = batching();
        for key in [KEY, OTHER] {
            let _ = cache.put(&key, 1);
        }
        owner.becomes(Mood::NeverAnswers);
        hands.advance(SOON * 2);
        let callers: Vec<_> = [KEY, OTHER]
            .into_iter()
            .map(|key| {
                let cache = cache.clone();
                start(async move {
                    turns().await;
                    let request = Request::DEFAULT.must_revalidate();
                    let told = cache.get_with(&key, &request).await;
                    assert!(matches!(told, Err(Error::Closed)));
                })
            })
            .collect();
        let mut subscription = cache.subscribe(&KEY, &Request::DEFAULT).unwrap();
        let reader = start(async move { while subscription.changed().await.is_some() {} });
        turns().await;
        cache.close().await;
        for caller in callers {
            caller.await.unwrap();
        }
        reader.await.unwrap();
        close(&cache).await;
    });
}
