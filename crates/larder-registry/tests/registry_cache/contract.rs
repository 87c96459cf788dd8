//! What a reader may count on: go-micro's contract, and what is promised beyond it.

use super::*;
use crate::faulty::Line;
use larder_cache::{Error as CacheError, Origin, Request};
use larder_registry::registry_cache::{LookupError, Shared};
use larder_registry::{Error, View};
use tokio::task::JoinSet;

type Answers = Vec<Result<Shared, LookupError>>;

/// What so many callers at a time get.
async fn crowd(cache: &RegistryCache, callers: usize) -> Answers {
    let mut crowd = JoinSet::new();
    for _ in 0..callers {
        let cache = cache.clone();
        crowd.spawn(async move { cache.get(&name("orders")).await.map(|it| Arc::clone(&it)) });
    }
    crowd.join_all().await
}

#[tokio::test(start_paused = true)]
async fn cold_callers_of_one_service_cost_one_call_and_all_get_the_same() {
    for callers in [10, 100] {
        let registry = registry_of(&["a", "b"]).await;
        registry.set(|faults| faults.delay = Duration::from_millis(50));
        let cache = cache_over(&registry);
        let answers: Vec<Shared> =
            crowd(&cache, callers).await.into_iter().map(Result::unwrap).collect();
        assert_eq!((answers.len(), registry.reads()), (callers, 1));
        assert!(answers.iter().all(|answer| Arc::ptr_eq(answer, &answers[0])));
        cache.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn cold_callers_of_a_dead_registry_cost_one_call_and_share_its_error() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| {
        (faults.reads, faults.delay) = (Line::Fails, Duration::from_millis(50));
    });
    let cache = cache_over(&registry);
    let answers = crowd(&cache, 10).await;
    assert_eq!(registry.reads(), 1);
    assert!(answers.iter().all(|answer| matches!(answer, Err(CacheError::Source(_)))));
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_registry_fails_the_last_value_is_served_with_its_age_and_the_error() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    let before = cache.get(&name("orders")).await.unwrap();
    registry.die();
    tokio::time::sleep(MINUTE + SECOND).await;
    let stale = cache.get(&name("orders")).await.expect("stale is no error");
    assert!(Arc::ptr_eq(&stale, &before));
    assert!(stale.age() >= MINUTE, "{:?}", stale.age());
    assert!(stale.age() <= MINUTE + 2 * SECOND, "{:?}", stale.age());
    assert!(matches!(stale.origin(), Origin::Stale(_)));
    assert!(stale.error().is_some());
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_crowd_on_a_stale_service_that_backs_off_calls_nobody() {
    let registry = registry_of(&["a"]).await;
    let backoff = Backoff { free_failures: 0, base: 20 * MINUTE, cap: 20 * MINUTE };
    let cache = cache_with(&registry, Options { backoff, ..Options::default() });
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    registry.die();
    tokio::time::sleep(2 * MINUTE).await;
    let asked = registry.asked();
    let answers = crowd(&cache, 50).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|held| ids(held) == ["a"])));
    assert_eq!(registry.asked(), asked);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_value_one_call_is_made_for_each_back_off_and_the_error_stays_the_real_one() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| {
        (faults.reads, faults.delay) = (Line::Fails, Duration::from_millis(50));
    });
    let cache = cache_over(&registry);
    for (wait, calls) in [(Duration::ZERO, 1), (SECOND / 10, 1), (SECOND, 2)] {
        tokio::time::sleep(wait).await;
        let answers = crowd(&cache, 20).await;
        assert_eq!(registry.reads(), calls, "after {wait:?}");
        for answer in answers {
            let Err(CacheError::Source(error)) = answer else { panic!("{answer:?}") };
            assert!(error.to_string().contains("connection refused"), "{error}");
        }
    }
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_and_a_success_everything_is_a_hit() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| faults.reads = Line::Fails);
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.expect_err("it fails");
    registry.recover();
    tokio::time::sleep(SECOND).await;
    for _ in 0..5 {
        assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a"]);
        settle().await;
    }
    assert_eq!(registry.reads(), 2);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_the_same_arc_and_asks_nobody_for_as_long_as_the_watch_stands() {
    let registry = registry_of(&["a", "b"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    let first = cache.get(&name("orders")).await.unwrap();
    let asked = registry.asked();
    for _ in 0..3 {
        tokio::time::sleep(2 * MINUTE).await;
        let hit = cache.get(&name("ORDERS")).await.unwrap();
        assert!(Arc::ptr_eq(&hit, &first));
        assert_eq!((hit.age(), hit.error().is_none()), (Duration::ZERO, true));
        assert!(matches!(hit.origin(), Origin::Hit));
        assert!(Arc::ptr_eq(&cache.peek(&name("orders")).unwrap(), &first));
    }
    assert_eq!((registry.asked(), registry.watches()), (asked, 1));
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_service_is_remembered_as_absent_for_a_short_while() {
    let registry = registry_of(&[]).await;
    let cache = cache_over(&registry);
    for _ in 0..4 {
        assert!(matches!(cache.get(&name("orders")).await, Err(CacheError::Absent)));
        assert!(matches!(cache.service(&name("orders")).await, Err(Error::NotFound(_))));
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!((registry.reads(), registry.watches()), (1, 0));
    registry.memory().register(instance("a")).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a"]);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_without_an_instance_is_absent_as_well() {
    let registry = registry_of(&[]).await;
    registry.set(|faults| faults.reads = Line::Empty);
    let cache = cache_over(&registry);
    assert!(matches!(cache.get(&name("orders")).await, Err(CacheError::Absent)));
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_refuse_what_is_too_old() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    registry.die();
    tokio::time::sleep(5 * MINUTE).await;
    let within = |bound| Request::default().stale_if_error(bound);
    let orders = name("orders");
    assert!(cache.get_with(&orders, &within(10 * MINUTE)).await.is_ok());
    let refused = cache.get_with(&orders, &within(MINUTE)).await.expect_err("it is too old");
    assert!(!matches!(refused, CacheError::Absent), "{refused}");
    assert!(cache.peek(&orders).is_none(), "it is not fresh");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_list_of_names_is_a_second_old_at_most_and_outlives_the_registry() {
    let registry = registry_of(&["a"]).await;
    registry.memory().register(Instance::new("billing", "b")).await.unwrap();
    let cache = cache_over(&registry);
    let names = |list: &[Name]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    for _ in 0..50 {
        assert_eq!(names(&cache.list().await.unwrap()), ["billing", "orders"]);
    }
    assert_eq!(registry.lists(), 1);
    registry.memory().register(Instance::new("zoo", "z")).await.unwrap();
    tokio::time::sleep(SECOND + SECOND / 10).await;
    assert_eq!(names(&cache.list().await.unwrap()), ["billing", "orders", "zoo"]);
    registry.die();
    tokio::time::sleep(5 * MINUTE).await;
    let list = cache.list().await.unwrap();
    assert_eq!(names(&list), ["billing", "orders", "zoo"]);
    assert!(list.error().is_some() && list.age() >= 4 * MINUTE);
    assert_eq!(names(&cache.services().await.unwrap()), ["billing", "orders", "zoo"]);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_what_there_is_and_then_every_change_in_order() {
    let registry = registry_of(&["a", "b"]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    assert_eq!(take(&mut events, 4).await, ["init", "=a", "=b", "done"]);
    let memory = registry.memory();
    memory.register(instance("c")).await.unwrap();
    assert_eq!(next(&mut events).await, "+c");
    memory.register(on_host("a", "moved")).await.unwrap();
    assert_eq!(next(&mut events).await, "+a");
    memory.deregister(&key("orders", "b")).await.unwrap();
    assert_eq!(next(&mut events).await, "-b");
    for id in ["a", "c"] {
        memory.deregister(&key("orders", id)).await.unwrap();
        assert_eq!(next(&mut events).await, format!("-{id}"));
    }
    memory.register(instance("b")).await.unwrap();
    assert_eq!(next(&mut events).await, "+b");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_may_come_before_the_service() {
    let registry = registry_of(&[]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    assert_eq!(take(&mut events, 2).await, ["init", "done"]);
    tokio::time::sleep(3 * MINUTE).await;
    registry.memory().register(instance("a")).await.unwrap();
    assert_eq!(next(&mut events).await, "+a");
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a"], "readers see it as well");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_subscriber_gets_the_present_state_although_others_were_told() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    let mut first = cache.subscribe(&name("orders")).unwrap();
    take(&mut first, 3).await;
    registry.memory().register(instance("b")).await.unwrap();
    assert_eq!(next(&mut first).await, "+b");
    let mut second = cache.subscribe(&name("orders")).unwrap();
    assert_eq!(take(&mut second, 4).await, ["init", "=a", "=b", "done"]);
    assert_eq!(registry.opens(), 1, "they share one watch");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_who_comes_during_an_outage_gets_what_is_known_and_then_the_error() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    registry.die();
    tokio::time::sleep(2 * MINUTE).await;
    let mut events = cache.subscribe(&name("orders")).unwrap();
    assert_eq!(take(&mut events, 3).await, ["init", "=a", "done"]);
    assert!(next(&mut events).await.starts_with("error: "));
    registry.memory().register(instance("b")).await.unwrap();
    registry.recover();
    assert_eq!(next(&mut events).await, "+b");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_hears_what_the_changes_came_to() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 3).await;
    for round in 0..1_000 {
        let id = format!("b{}", round % 7);
        registry.memory().register(on_host(&id, &round.to_string())).await.unwrap();
        if round % 3 == 0 {
            registry.memory().deregister(&key("orders", &id)).await.unwrap();
        }
        if round % 100 == 0 {
            settle().await;
        }
    }
    settle().await;
    let mut fold = Fold::default();
    fold.state.insert("a".to_owned(), None);
    let mut told = 0;
    while let Ok(Some(event)) = tokio::time::timeout(SECOND, events.next()).await {
        fold.take(event.unwrap());
        told += 1;
    }
    let truth = registry.memory().service(&name("orders")).await.unwrap();
    assert_eq!(fold.state, hosts(&truth));
    assert!(told <= 8, "{told} events for 8 instances: no queue has grown");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_who_missed_the_last_change_before_an_outage_hears_of_it() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 3).await;
    registry.memory().register(instance("b")).await.unwrap();
    settle().await;
    registry.die();
    settle().await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a", "b"]);
    assert_eq!(next(&mut events).await, "+b", "readers see it during the outage, and so does it");
    assert!(next(&mut events).await.starts_with("error: "));
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_until_ready_ends_when_something_or_nothing_is_known() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| faults.delay = SECOND);
    let cache = cache_over(&registry);
    cache.wait_until_ready(&name("orders"), 10 * SECOND).await.unwrap();
    assert_eq!(ids(&cache.peek(&name("orders")).unwrap()), ["a"]);
    cache.wait_until_ready(&name("unknown"), 10 * SECOND).await.expect("that is known, too");
    cache.stop().await;
    let error = cache.wait_until_ready(&name("orders"), SECOND).await.expect_err("it is closed");
    assert!(matches!(error, CacheError::Closed), "{error}");
}

#[tokio::test(start_paused = true)]
async fn waiting_until_ready_outlasts_an_outage_within_its_patience() {
    let registry = registry_of(&["a"]).await;
    registry.die();
    let cache = cache_over(&registry);
    let error = cache.wait_until_ready(&name("orders"), 10 * SECOND).await.expect_err("it is down");
    assert!(matches!(error, CacheError::Impatient(_)), "{error}");
    let later = registry.clone();
    let recovery = tokio::spawn(async move {
        tokio::time::sleep(MINUTE).await;
        later.recover();
    });
    cache.wait_until_ready(&name("orders"), 2 * MINUTE).await.unwrap();
    recovery.await.unwrap();
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_watches_and_subscriptions_and_leaves_the_registry_open() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 3).await;
    cache.list().await.unwrap();
    let waiting = tokio::spawn(async move { events.next().await.is_none() });
    settle().await;
    cache.stop().await;
    assert_eq!(registry.watches(), 0, "it is gone when `stop` returns");
    assert!(waiting.await.unwrap(), "the subscription has ended");
    assert!(matches!(cache.get(&name("orders")).await, Err(CacheError::Closed)));
    assert!(matches!(cache.service(&name("orders")).await, Err(Error::Closed)));
    assert!(cache.subscribe(&name("orders")).is_err());
    registry.memory().register(instance("b")).await.expect("it is open");
    let asked = registry.asked();
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(registry.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_registry_that_hangs() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    registry.set(|faults| (faults.reads, faults.opens) = (Line::Hangs, Line::Hangs));
    registry.break_watches();
    let reader = cache.clone();
    let reading = tokio::spawn(async move { reader.get(&name("billing")).await.map(drop) });
    tokio::time::sleep(2 * SECOND).await;
    tokio::time::timeout(SECOND, cache.stop()).await.expect("it stops");
    assert!(matches!(reading.await.unwrap(), Err(CacheError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn names_are_bounded_and_so_are_their_watches() {
    let registry = registry_of(&[]).await;
    for n in 0..200 {
        registry.memory().register(Instance::new(&format!("s{n}"), "a")).await.unwrap();
    }
    let cache = cache_with(&registry, Options { services: 8, ..Options::default() });
    for n in 0..200 {
        let service = cache.get(&name(&format!("s{n}"))).await.expect("read all the same");
        assert_eq!(service.len(), 1);
        settle().await;
        assert!(registry.watches() <= 8, "{}", registry.watches());
        assert!(cache.stats().entries <= 8);
    }
    assert!(registry.watches() > 0);
    cache.stop().await;
    assert_eq!(registry.watches(), 0);

    let cache = cache_with(&registry, Options { services: 8, ..Options::default() });
    let subscribe = |n| cache.subscribe(&name(&format!("s{n}")));
    let held: Vec<_> = (0..8).map(|n| subscribe(n).expect("there is room")).collect();
    subscribe(8).map(drop).expect_err("there is none");
    drop(held);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn unknown_names_leave_neither_watches_nor_keepers_behind() {
    let registry = registry_of(&[]).await;
    let cache = cache_over(&registry);
    for n in 0..1_000 {
        cache.get(&name(&format!("no{n}"))).await.expect_err("there is none");
    }
    settle().await;
    let stats = cache.stats();
    assert_eq!((registry.watches(), stats.keepers.total, stats.entries), (0, 0, 0));
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_watch_of_a_service_that_nobody_reads_ends_after_the_idle_time() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_with(&registry, Options { idle: 2 * MINUTE, ..Options::default() });
    let (orders, nearly) = (name("orders"), Duration::from_secs(119));
    cache.get(&orders).await.unwrap();
    tokio::time::sleep(nearly).await;
    assert_eq!(registry.watches(), 1);
    cache.get(&orders).await.unwrap();
    tokio::time::sleep(nearly).await;
    assert_eq!(registry.watches(), 1, "it was read meanwhile");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!((registry.watches(), cache.stats().entries), (0, 0));
    let events = cache.subscribe(&orders).unwrap();
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(registry.watches(), 1, "whoever subscribes keeps it");
    drop(events);
    tokio::time::sleep(2 * MINUTE + SECOND).await;
    assert_eq!(registry.watches(), 0);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn renewing_one_instance_does_not_renew_the_others_and_expiry_is_a_deletion() {
    let registry = registry_of(&[]).await;
    for id in ["a", "b"] {
        registry.memory().register(leased(id, 10)).await.unwrap();
    }
    let cache = cache_over(&registry);
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 4).await;
    tokio::time::sleep(6 * SECOND).await;
    cache.renew(&key("orders", "a"), None).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a"]);
    assert_eq!(next(&mut events).await, "-b");
    tokio::time::sleep(6 * SECOND).await;
    assert!(matches!(cache.get(&name("orders")).await, Err(CacheError::Absent)));
    assert_eq!(next(&mut events).await, "-a");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_written_shows_when_it_is_answered() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    let orders = name("orders");
    cache.get(&orders).await.unwrap();
    for round in 0..50 {
        let host = round.to_string();
        cache.register(on_host("b", &host)).await.unwrap();
        let shown = cache.get(&orders).await.unwrap();
        assert_eq!(shown.get("b").unwrap().address.host.as_deref(), Some(&*host));
        cache.deregister(&key("orders", "b")).await.unwrap();
        assert_eq!(ids(&cache.get(&orders).await.unwrap()), ["a"]);
    }
    assert!(matches!(cache.get(&name("new")).await, Err(CacheError::Absent)));
    cache.register(Instance::new("new", "n")).await.unwrap();
    assert_eq!(ids(&cache.get(&name("new")).await.unwrap()), ["n"], "an absence is not believed");
    assert_eq!(registry.memory().snapshot().len(), 2);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_is_answered_soon_although_its_watch_is_silent() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    registry.set(|faults| faults.flow = crate::faulty::Flow::Held);
    let written = tokio::time::timeout(SECOND, cache.register(instance("b"))).await;
    written.expect("in half a second").expect("it was done");
    cache.stop().await;
}
