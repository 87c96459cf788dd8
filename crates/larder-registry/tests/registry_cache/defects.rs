//! What go-micro's cache got wrong, and this one does not. The numbers are those of its defects in the
//! specification.

use super::*;
use crate::faulty::{Flow, Line};
use larder_cache::{Error as CacheError, Origin};
use larder_registry::View;
use tokio::task::JoinSet;

// G1
#[tokio::test(start_paused = true)]
async fn an_error_is_over_when_the_registry_is_back_although_nothing_has_changed() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    registry.die();
    tokio::time::sleep(2 * MINUTE).await;
    assert!(cache.get(&name("orders")).await.unwrap().error().is_some());
    registry.recover();
    tokio::time::sleep(RECOVERED).await;
    let read = cache.get(&name("orders")).await.unwrap();
    assert!(read.error().is_none() && read.age().is_zero());
    registry.memory().deregister(&key("orders", "a")).await.unwrap();
    settle().await;
    let gone = cache.get(&name("orders")).await;
    assert!(matches!(gone, Err(CacheError::Absent)), "deletions count again: {gone:?}");
    cache.stop().await;
}

// G2
#[tokio::test(start_paused = true)]
async fn a_deletion_locks_nobody_out() {
    let registry = registry_of(&["a", "b"]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 4).await;
    registry.memory().deregister(&key("orders", "b")).await.unwrap();
    assert_eq!(next(&mut events).await, "-b");
    let read = tokio::time::timeout(SECOND, cache.get(&name("orders"))).await;
    assert_eq!(ids(&read.expect("it is answered").unwrap()), ["a"]);
    cache.stop().await;
}

// G3
#[tokio::test(start_paused = true)]
async fn without_a_watch_a_service_is_fresh_for_one_ttl_and_not_for_two() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| faults.opens = Line::Hangs);
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    registry.memory().register(instance("b")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    let hit = cache.get(&name("orders")).await.unwrap();
    assert_eq!((ids(&hit), registry.reads()), (vec!["a"], 1));
    tokio::time::sleep(2 * SECOND).await;
    let read = cache.get(&name("orders")).await.unwrap();
    assert_eq!((ids(&read), registry.reads()), (vec!["a", "b"], 2));
    cache.stop().await;
}

// G4
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_hundred_cold_callers_on_eight_threads_cost_one_read_and_one_watch() {
    for _ in 0..40 {
        let registry = registry_of(&["a"]).await;
        registry.set(|faults| faults.delay = Duration::from_millis(5));
        let cache = cache_over(&registry);
        let mut crowd = JoinSet::new();
        for _ in 0..100 {
            let cache = cache.clone();
            crowd.spawn(async move { cache.get(&name("orders")).await.unwrap().len() });
        }
        assert!(crowd.join_all().await.into_iter().all(|len| len == 1));
        let followed = async {
            while registry.watches() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(10 * SECOND, followed).await.unwrap();
        assert_eq!((registry.reads(), registry.opens()), (1, 1));
        cache.stop().await;
    }
}

// G5
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_between_a_read_and_its_watch_nor_between_two_watches() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| faults.opens = Line::Hangs);
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    registry.memory().register(instance("b")).await.unwrap();
    registry.recover();
    settle().await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a", "b"]);
    for (round, id) in ["c", "d"].into_iter().enumerate() {
        if round == 0 {
            registry.break_watches();
        } else {
            registry.end_watches();
        }
        settle().await;
        registry.memory().register(instance(id)).await.unwrap();
        tokio::time::sleep(2 * SECOND).await;
        let read = cache.get(&name("orders")).await.unwrap();
        assert!(read.get(id).is_some(), "{id}: {:?}", ids(&read));
    }
    cache.stop().await;
}

// G6
#[tokio::test(start_paused = true)]
async fn what_a_caller_holds_stays_as_it_was() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 3).await;
    let (held, own) = (cache.get(&name("orders")).await.unwrap(), on_host("b", "own"));
    let written = cache.register(own.clone()).await.unwrap();
    cache.register(on_host("a", "moved")).await.unwrap();
    cache.deregister(&key("orders", "b")).await.unwrap();
    assert_eq!(ids(&held), ["a"]);
    assert_eq!(held.get("a").unwrap().address.host, None);
    assert_eq!((&written.id, &written.address), (&own.id, &own.address));
    cache.stop().await;
}

// G7
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_beside_a_writer_see_each_service_whole_and_none_older_than_the_last() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let cache = cache.clone();
        readers.spawn(async move {
            let mut last = 0;
            loop {
                let read = cache.get(&name("orders")).await.unwrap();
                assert!(read.index() >= last, "{} after {last}", read.index());
                last = read.index();
                assert_eq!(read.instances().count(), read.len());
                if read.get("end").is_some() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for round in 0..500 {
        let id = format!("b{}", round % 10);
        registry.memory().register(on_host(&id, &round.to_string())).await.unwrap();
        if round % 4 == 0 {
            registry.memory().deregister(&key("orders", &id)).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
    registry.memory().register(instance("end")).await.unwrap();
    let read = tokio::time::timeout(20 * SECOND, readers.join_all()).await;
    read.expect("they see the last change");
    cache.stop().await;
}

// G8
#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_never_passed_off_as_a_fresh_one() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| faults.delay = Duration::from_millis(5));
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    registry.die();
    tokio::time::sleep(MINUTE + SECOND).await;
    for burst in 0..10 {
        let mut crowd = JoinSet::new();
        for _ in 0..200 {
            let cache = cache.clone();
            crowd.spawn(async move { cache.get(&name("orders")).await.unwrap() });
        }
        for read in crowd.join_all().await {
            assert!(matches!(read.origin(), Origin::Stale(_)), "{read:?}");
            assert!(read.age() >= MINUTE, "{read:?}");
        }
        assert!(cache.peek(&name("orders")).is_none(), "{burst}: it does not count as fresh");
        tokio::time::sleep(3 * SECOND).await;
    }
    cache.stop().await;
}

// G9
#[tokio::test(start_paused = true)]
async fn a_failure_is_never_told_as_an_unknown_service() {
    let registry = registry_of(&["a"]).await;
    registry.die();
    let cache = cache_over(&registry);
    for attempt in 0..20 {
        let error = cache.get(&name("orders")).await.expect_err("it is down");
        assert!(!matches!(error, CacheError::Absent), "{attempt}");
        let error = cache.service(&name("orders")).await.expect_err("it is down");
        let is_unavailable = matches!(error, larder_registry::Error::Unavailable { .. });
        assert!(is_unavailable, "{attempt}: {error}");
        tokio::time::sleep(SECOND / 3).await;
    }
    cache.stop().await;
}

// G10
#[tokio::test(start_paused = true)]
async fn a_short_ttl_holds_while_there_is_no_watch() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| faults.opens = Line::Hangs);
    let ttl = Duration::from_millis(50);
    let cache = cache_with(&registry, Options { ttl, ..Options::default() });
    for reads in 1..=10 {
        cache.get(&name("orders")).await.unwrap();
        assert_eq!(registry.reads(), reads);
        tokio::time::sleep(2 * ttl).await;
    }
    cache.stop().await;
}

// G11
#[tokio::test(start_paused = true)]
async fn the_end_of_one_watch_leaves_the_others_alone() {
    let registry = registry_of(&["a"]).await;
    registry.memory().register(Instance::new("idle", "i")).await.unwrap();
    let cache = cache_with(&registry, Options { idle: MINUTE, ..Options::default() });
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 3).await;
    cache.get(&name("idle")).await.unwrap();
    settle().await;
    assert_eq!((registry.watches(), registry.opens()), (2, 2));
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(registry.watches(), 1);
    registry.memory().register(instance("b")).await.unwrap();
    assert_eq!(next(&mut events).await, "+b");
    assert_eq!(registry.opens(), 2, "it was never opened anew");
    cache.stop().await;
}

// G12
#[tokio::test(start_paused = true)]
async fn a_registry_may_spell_a_name_in_its_own_way() {
    let registry = registry_of(&[]).await;
    registry.memory().register(Instance::new("Orders", "a")).await.unwrap();
    let cache = cache_over(&registry);
    for spelling in ["orders", "ORDERS", "Orders", "oRDERS"] {
        let read = cache.get(&name(spelling)).await.unwrap();
        assert_eq!((read.name().as_str(), ids(&read)), ("Orders", vec!["a"]), "{spelling}");
        settle().await;
    }
    assert_eq!((registry.reads(), registry.opens(), cache.stats().entries), (1, 1, 1));
    cache.stop().await;
}

// G13
#[tokio::test(start_paused = true)]
async fn one_service_that_fails_is_no_trouble_of_the_others() {
    let registry = registry_of(&["a"]).await;
    registry.memory().register(Instance::new("bad", "b")).await.unwrap();
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 3).await;
    registry.set(|faults| {
        (faults.reads, faults.opens) = (Line::Fails, Line::Fails);
        faults.only = Some(name("bad"));
    });
    cache.get(&name("bad")).await.expect_err("it fails");
    let orders = cache.get(&name("orders")).await.unwrap();
    assert!(orders.error().is_none());
    registry.memory().deregister(&key("orders", "a")).await.unwrap();
    assert_eq!(next(&mut events).await, "-a");
    assert!(matches!(cache.get(&name("orders")).await, Err(CacheError::Absent)));
    registry.memory().register(instance("a")).await.unwrap();
    assert_eq!(next(&mut events).await, "+a");
    let error = cache.get(&name("bad")).await.expect_err("others' events do not mend it");
    assert!(!matches!(error, CacheError::Absent));
    cache.stop().await;
}

// G14
#[tokio::test(start_paused = true)]
async fn a_late_creation_brings_no_deleted_instance_back() {
    let registry = registry_of(&["a", "b"]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 4).await;
    let (late, revision) = (Arc::new(instance("b")), registry.memory().snapshot().revision());
    registry.memory().deregister(&key("orders", "b")).await.unwrap();
    assert_eq!(next(&mut events).await, "-b");
    registry.tell(Event::Apply { revision, instance: late });
    settle().await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a"]);
    registry.memory().register(on_host("b", "anew")).await.unwrap();
    assert_eq!(next(&mut events).await, "+b", "only what is new is told");
    let read = cache.get(&name("orders")).await.unwrap();
    assert_eq!(read.get("b").unwrap().address.host.as_deref(), Some("anew"));
    cache.stop().await;
}

// G14, from the other side
#[tokio::test(start_paused = true)]
async fn a_late_deletion_takes_no_new_instance_away() {
    let registry = registry_of(&["a", "b"]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 4).await;
    let (late, revision) = (Arc::new(instance("b")), registry.memory().snapshot().revision());
    registry.set(|faults| faults.flow = Flow::Twice);
    registry.memory().register(on_host("b", "anew")).await.unwrap();
    assert_eq!(next(&mut events).await, "+b");
    registry.tell(Event::Delete { revision, instance: late });
    settle().await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a", "b"]);
    cache.stop().await;
}

// G15
#[tokio::test(start_paused = true)]
async fn an_age_grows_from_the_last_word_of_the_registry() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    tokio::time::sleep(3 * MINUTE).await;
    registry.die();
    for secs in [10, 20, 30] {
        tokio::time::sleep(10 * SECOND).await;
        let age = cache.get(&name("orders")).await.unwrap().age();
        let said = Duration::from_secs(secs);
        assert!(
            age >= said.saturating_sub(SECOND) && age <= said + SECOND,
            "{age:?} after {said:?}"
        );
    }
    cache.stop().await;
}
