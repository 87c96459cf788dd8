//! Callers who wait for a fetch.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use larder_cache::{Backoff, Cache, Error, Fresh, Put, Refresh, Request};

use crate::owner::{
    FIRST, KEY, Mood, NEVER, OTHER, Owner, SOON, cache, close, explore, for_a_while, options,
    start, turns,
};

type Told = Result<u64, Error<crate::owner::Down>>;

/// A caller, who comes some time.
fn caller(cache: &Cache<Owner>) -> shuttle::future::JoinHandle<Told> {
    let cache = cache.clone();
    start(async move { cache.get(&KEY).await.map(|reply| *reply) })
}

#[test]
fn whoever_comes_while_a_fetch_lands_gets_its_value_and_causes_no_other() {
    explore(18_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Answers);
        let callers: Vec<_> = (0..4).map(|_| caller(&cache)).collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap(), 1);
        }
        assert_eq!(owner.fetches(), 1);
        close(&cache).await;
    });
}

#[test]
fn a_failure_releases_everyone() {
    explore(9_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::CannotBeReached);
        let callers: Vec<_> = (0..4).map(|_| caller(&cache)).collect();
        for caller in callers {
            let error = caller.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Source(_) | Error::Down), "{error}");
        }
        assert_eq!(owner.most_running(), 1);
        close(&cache).await;
    });
}

#[test]
fn a_failure_that_is_followed_by_a_rest_releases_those_who_wait_for_the_next_fetch_too() {
    explore(9_000, || async {
        let owner = Owner::new(Mood::Fails);
        let (mut options, _hands) = options(Refresh::OnDemand);
        options.backoff = Backoff { free_failures: 0, base: NEVER, cap: NEVER };
        let cache = Cache::new(owner.clone(), options).unwrap();
        let callers = [caller(&cache), caller(&cache)];
        cache.invalidate(&KEY);
        let later = caller(&cache);
        for caller in callers.into_iter().chain([later]) {
            assert!(matches!(caller.await.unwrap(), Err(Error::Source(_))));
        }
        assert_eq!(owner.fetches(), 1);
        close(&cache).await;
    });
}

#[test]
fn a_panic_of_the_source_releases_everyone() {
    explore(9_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Panics);
        let callers: Vec<_> = (0..4).map(|_| caller(&cache)).collect();
        for caller in callers {
            assert!(matches!(caller.await.unwrap(), Err(Error::Panicked)));
        }
        assert_eq!(owner.most_running(), 1);
        close(&cache).await;
    });
}

#[test]
fn a_time_out_releases_everyone() {
    explore(9_000, || async {
        let owner = Owner::new(Mood::NeverAnswers);
        let (mut options, _hands) = options(Refresh::OnDemand);
        options.fetch_timeout = SOON;
        let cache = Cache::new(owner.clone(), options).unwrap();
        let callers: Vec<_> = (0..3).map(|_| caller(&cache)).collect();
        for caller in callers {
            let error = caller.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::TimedOut(_) | Error::Down), "{error}");
        }
        assert_eq!(owner.most_running(), 1);
        close(&cache).await;
    });
}

#[test]
fn a_source_that_never_answers_holds_up_nobody_when_the_cache_closes() {
    explore(12_000, || async {
        let (cache, _owner) = cache(Refresh::OnDemand, Mood::NeverAnswers);
        let callers: Vec<_> = (0..4).map(|_| caller(&cache)).collect();
        let closes = start({
            let cache = cache.clone();
            async move { cache.close().await }
        });
        cache.close().await;
        closes.await.unwrap();
        for caller in callers {
            assert!(matches!(caller.await.unwrap(), Err(Error::Closed)));
        }
        close(&cache).await;
    });
}

#[test]
fn a_cache_that_closes_during_a_load_releases_everyone_and_keeps_nothing() {
    explore(18_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Answers);
        let mut callers: Vec<_> = (0..3).map(|_| caller(&cache)).collect();
        let puts = start({
            let cache = cache.clone();
            async move { matches!(cache.put(&OTHER, 9), Put::Stored | Put::Closed) }
        });
        turns().await;
        cache.invalidate(&KEY);
        callers.push(caller(&cache));
        cache.close().await;
        assert!(matches!(cache.get(&KEY).await, Err(Error::Closed)));
        for caller in callers {
            assert!(matches!(caller.await.unwrap(), Ok(1) | Err(Error::Closed)));
        }
        assert!(puts.await.unwrap());
        assert_eq!(owner.most_running().max(1), 1);
        close(&cache).await;
    });
}

#[test]
fn the_last_handle_ends_it_all() {
    explore(12_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::NeverAnswers);
        for _ in 0..2 {
            let cache = cache.clone();
            drop(start(async move {
                for_a_while(cache.get(&KEY)).await;
            }));
        }
        turns().await;
        drop(cache);
        crate::owner::until(|| owner.is_alone()).await;
    });
}

#[test]
fn callers_who_give_up_take_nobody_with_them() {
    explore(18_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Answers);
        let impatient: Vec<_> = (0..3)
            .map(|nth| {
                let cache = cache.clone();
                start(async move {
                    if nth == 0 {
                        let request = Request::DEFAULT.timeout(SOON);
                        let told = cache.get_with(&KEY, &request).await.map(|reply| *reply);
                        assert!(matches!(told, Ok(1) | Err(Error::Impatient(_))));
                    } else {
                        for_a_while(cache.get(&KEY)).await;
                    }
                })
            })
            .collect();
        let patient = [caller(&cache), caller(&cache)];
        for caller in patient {
            assert_eq!(caller.await.unwrap().unwrap(), 1);
        }
        for caller in impatient {
            caller.await.unwrap();
        }
        assert_eq!((owner.fetches(), cache.stats().waiters), (1, 0));
        close(&cache).await;
    });
}

#[test]
fn a_wait_that_goes_on_in_another_task_ends_there() {
    explore(9_000, || async {
        let (cache, _owner) = cache(Refresh::OnDemand, Mood::Answers);
        let mut waits: Vec<_> = (0..2)
            .map(|_| {
                let cache = cache.clone();
                Box::pin(async move { *cache.get(&KEY).await.unwrap() })
            })
            .collect();
        let mut begun = Vec::new();
        for mut wait in waits.drain(..) {
            let first = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await;
            begun.push((first, wait));
        }
        let callers: Vec<_> = begun
            .into_iter()
            .filter(|(first, _)| first.is_pending())
            .map(|(_, wait)| start(wait))
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), 1);
        }
        close(&cache).await;
    });
}

#[test]
fn whoever_asks_after_an_invalidation_gets_what_was_fetched_after_it() {
    explore(18_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Answers);
        let least = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let (cache, least) = (cache.clone(), Arc::clone(&least));
            tasks.push(start(async move {
                let least = least.load(Ordering::SeqCst);
                let got = *cache.get(&KEY).await.unwrap();
                assert!(got >= least, "{got} is older than {least}");
            }));
        }
        for nth in 0..2 {
            let (cache, owner, least) = (cache.clone(), owner.clone(), Arc::clone(&least));
            tasks.push(start(async move {
                let value = owner.change();
                match nth {
                    0 => drop(cache.invalidate(&KEY)),
                    _ => cache.invalidate_all(),
                }
                least.fetch_max(value, Ordering::SeqCst);
                let got = *cache.get(&KEY).await.unwrap();
                assert!(got >= value, "{got} is older than {value}");
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(owner.most_running(), 1);
        assert_eq!(*cache.get(&KEY).await.unwrap(), 3);
        close(&cache).await;
    });
}

#[test]
fn a_fetch_under_way_cannot_undo_a_put() {
    explore(15_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Answers);
        let callers = [caller(&cache), caller(&cache)];
        let puts = start({
            let (cache, owner) = (cache.clone(), owner.clone());
            async move {
                turns().await;
                let fresh = Fresh::new(owner.change()).index(FIRST + 1);
                assert_eq!(cache.put(&KEY, fresh), Put::Stored);
                assert_eq!(*cache.get(&KEY).await.unwrap(), 2);
            }
        });
        for caller in callers {
            assert!(matches!(caller.await.unwrap(), Ok(1 | 2)));
        }
        puts.await.unwrap();
        assert_eq!(cache.peek(&KEY).as_deref(), Some(&2));
        assert!(owner.most_running() <= 1);
        close(&cache).await;
    });
}

#[test]
fn a_caller_who_wants_the_sources_own_word_gets_it_and_holds_up_nobody() {
    explore(12_000, || async {
        let (cache, owner) = cache(Refresh::OnDemand, Mood::Answers);
        let strict: Vec<_> = (0..2)
            .map(|_| {
                let (cache, owner) = (cache.clone(), owner.clone());
                start(async move {
                    let value = owner.change();
                    cache.invalidate(&KEY);
                    let request = Request::DEFAULT.must_revalidate();
                    assert!(*cache.get_with(&KEY, &request).await.unwrap() >= value);
                })
            })
            .collect();
        let lax = [caller(&cache), caller(&cache)];
        for task in strict {
            task.await.unwrap();
        }
        for caller in lax {
            caller.await.unwrap().unwrap();
        }
        assert_eq!(owner.most_running(), 1);
        close(&cache).await;
    });
}
