//! The registry dies, comes back, breaks its watches or falls silent: readers notice nothing but the age.

use super::*;
use crate::faulty::{Flow, Line};
use larder_cache::Error as CacheError;
use larder_registry::View;

/// A cache that follows `orders` of a registry with these instances.
async fn followed(ids: &[&str]) -> (Arc<Faulty>, RegistryCache) {
    let registry = registry_of(ids).await;
    let cache = cache_over(&registry);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    assert_eq!(registry.watches(), 1);
    (registry, cache)
}

#[tokio::test(start_paused = true)]
async fn however_the_registry_dies_reads_neither_fail_nor_go_empty() {
    type Death = fn(&Faulty);
    let deaths: [(&str, Death); 4] = [
        ("refuses", Faulty::die),
        ("hangs", |registry| {
            registry.set(|faults| {
                (faults.reads, faults.lists) = (Line::Hangs, Line::Hangs);
                faults.opens = Line::Hangs;
            });
            registry.break_watches();
        }),
        ("ends its watches", |registry| {
            registry.set(|faults| (faults.reads, faults.opens) = (Line::Fails, Line::Fails));
            registry.end_watches();
        }),
        ("falls silent", |registry| registry.set(|faults| faults.flow = Flow::Held)),
    ];
    for (how, death) in deaths {
        let (registry, cache) = followed(&["a", "b"]).await;
        death(&registry);
        for second in 0..60 {
            tokio::time::sleep(7 * SECOND).await;
            let read = cache.get(&name("orders")).await;
            let read = read.unwrap_or_else(|error| panic!("{how}, {second}: {error}"));
            assert_eq!(ids(&read), ["a", "b"], "{how}, {second}");
        }
        cache.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_was_closed_is_a_dead_one() {
    let (registry, cache) = followed(&["a"]).await;
    registry.close().await;
    tokio::time::sleep(5 * MINUTE).await;
    let read = cache.get(&name("orders")).await.unwrap();
    assert!(ids(&read) == ["a"] && read.error().is_some());
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_service_is_served_for_as_long_as_was_said_and_then_it_is_an_error() {
    let registry = registry_of(&["a"]).await;
    let options = Options { stale_if_error: 2 * MINUTE, ..Options::default() };
    let cache = cache_with(&registry, options);
    cache.get(&name("orders")).await.unwrap();
    settle().await;
    registry.die();
    tokio::time::sleep(Duration::from_secs(179)).await;
    assert_eq!(ids(&cache.get(&name("orders")).await.expect("still")), ["a"]);
    tokio::time::sleep(2 * SECOND).await;
    let error = cache.get(&name("orders")).await.expect_err("no longer");
    assert!(!matches!(error, CacheError::Absent), "nobody has said that it is gone");
    cache.stop().await;
}

/// How often the registry was asked in each tenth of a second for so many of them.
async fn tenths(registry: &Faulty, tenths: usize) -> Vec<usize> {
    let (mut counts, mut before) = (Vec::new(), registry.asked());
    for _ in 0..tenths {
        tokio::time::sleep(SECOND / 10).await;
        let now = registry.asked();
        counts.push(now - before);
        before = now;
    }
    counts
}

const SERVICES: usize = 50;

/// A cache with subscribers to, and perhaps readers of, so many services.
async fn busy(is_read: bool) -> (Arc<Faulty>, RegistryCache, Vec<tokio::task::JoinHandle<()>>) {
    let registry = registry_of(&[]).await;
    let cache = cache_over(&registry);
    let mut tasks = Vec::new();
    for n in 0..SERVICES {
        let service = name(&format!("s{n}"));
        registry.memory().register(Instance::new(service.as_str(), "a")).await.unwrap();
        let mut events = cache.subscribe(&service).unwrap();
        tasks.push(tokio::spawn(async move { while events.next().await.is_some() {} }));
        let cache = cache.clone();
        let reading = async move {
            loop {
                match cache.get(&service).await {
                    Ok(read) => assert_eq!(ids(&read), ["a"]),
                    Err(error) => return assert!(matches!(error, CacheError::Closed), "{error}"),
                }
                tokio::time::sleep(SECOND / 10).await;
            }
        };
        if is_read {
            tasks.push(tokio::spawn(reading));
        }
    }
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(registry.watches(), SERVICES);
    (registry, cache, tasks)
}

#[tokio::test(start_paused = true)]
async fn a_dead_registry_is_asked_once_a_second_and_comes_back_without_a_stampede() {
    for is_read in [false, true] {
        let (registry, cache, tasks) = busy(is_read).await;
        registry.die();
        tokio::time::sleep(2 * SECOND).await;
        let counts = tenths(&registry, 1_200).await;
        for (at, second) in counts.windows(10).enumerate() {
            let asked: usize = second.iter().sum();
            assert!(asked <= 2, "{asked} times in the second from {at} tenths: {second:?}");
        }
        for half_minute in counts.chunks(300) {
            let asked: usize = half_minute.iter().sum();
            assert!((24..=41).contains(&asked), "{asked} times in half a minute: {counts:?}");
        }

        registry.recover();
        let mut counts = Vec::new();
        while registry.watches() == 0 {
            counts.extend(tenths(&registry, 1).await);
            assert!(counts.len() <= 12, "the next probe comes through: {counts:?}");
        }
        // From the first that comes through on, the others follow within a second.
        counts.extend(tenths(&registry, 20_usize.saturating_sub(counts.len())).await);
        assert_eq!(registry.watches(), SERVICES, "{counts:?}");
        let asked: usize = counts.iter().sum();
        assert!(asked <= 2 * SERVICES + 3, "a read and a watch each, and no more: {counts:?}");
        let most = counts.iter().max().unwrap();
        assert!(*most <= SERVICES / 2, "they are spread over a second: {counts:?}");
        for n in 0..SERVICES {
            let read = cache.get(&name(&format!("s{n}"))).await.unwrap();
            assert_eq!((read.age(), read.error().is_none()), (Duration::ZERO, true));
        }
        cache.stop().await;
        for task in tasks {
            task.await.unwrap();
        }
    }
}

/// The list of names and the services share an upstream, and its turns.
#[tokio::test(start_paused = true)]
async fn those_who_list_do_not_make_a_dead_registry_be_asked_more_often() {
    let (registry, cache, tasks) = busy(true).await;
    cache.list().await.unwrap();
    registry.die();
    let lister = cache.clone();
    let listing = tokio::spawn(async move {
        while lister.list().await.is_ok() {
            tokio::time::sleep(SECOND / 10).await;
        }
    });
    tokio::time::sleep(30 * SECOND).await;
    let asked = registry.asked();
    tokio::time::sleep(MINUTE).await;
    let asked = registry.asked() - asked;
    assert!((48..=81).contains(&asked), "{asked} times in a minute");
    registry.recover();
    tokio::time::sleep(2 * SECOND).await;
    registry.memory().register(Instance::new("new", "a")).await.unwrap();
    tokio::time::sleep(SECOND + SECOND / 10).await;
    assert!(cache.list().await.unwrap().contains(&name("new")), "it is back for the list, too");
    cache.stop().await;
    listing.await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
}

/// What happens while nobody is told.
async fn change_everything(registry: &Faulty) {
    let memory = registry.memory();
    memory.deregister(&key("orders", "a")).await.unwrap();
    memory.register(on_host("b", "moved")).await.unwrap();
    memory.register(instance("d")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_break_what_was_missed_is_found_and_told_once() {
    type Break = fn(&Faulty);
    let breaks: [(&str, Break); 3] = [
        ("error", Faulty::die),
        ("end", |registry| {
            registry.set(|faults| (faults.reads, faults.opens) = (Line::Fails, Line::Fails));
            registry.end_watches();
        }),
        ("loss", |registry| registry.set(|faults| faults.flow = Flow::Lossy)),
    ];
    for (how, begin) in breaks {
        let (registry, cache) = followed(&["a", "b", "c"]).await;
        let mut events = cache.subscribe(&name("orders")).unwrap();
        assert_eq!(take(&mut events, 5).await, ["init", "=a", "=b", "=c", "done"], "{how}");
        begin(&registry);
        settle().await;
        change_everything(&registry).await;
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a", "b", "c"], "{how}");
        registry.break_watches();
        registry.recover();
        let mut told = Vec::new();
        while told.len() < 3 {
            let event = next(&mut events).await;
            assert_ne!(event, "nothing", "{how}: {told:?}");
            if !event.starts_with("error: ") {
                told.push(event);
            }
        }
        assert_eq!(told, ["-a", "+b", "+d"], "{how}");
        let read = cache.get(&name("orders")).await.unwrap();
        assert_eq!(ids(&read), ["b", "c", "d"], "{how}");
        assert_eq!(read.get("b").unwrap().address.host.as_deref(), Some("moved"), "{how}");
        assert!(read.error().is_none() && read.age().is_zero(), "{how}");
        registry.memory().register(instance("e")).await.unwrap();
        assert_eq!(next(&mut events).await, "+e", "{how}: it is followed again");
        cache.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_went_in_a_break_is_gone_after_it_and_one_that_came_is_there() {
    let registry = registry_of(&["a"]).await;
    let cache = cache_over(&registry);
    let (mut old, mut new) =
        (cache.subscribe(&name("orders")).unwrap(), cache.subscribe(&name("new")).unwrap());
    take(&mut old, 3).await;
    take(&mut new, 2).await;
    registry.die();
    tokio::time::sleep(2 * SECOND).await;
    registry.memory().deregister(&key("orders", "a")).await.unwrap();
    registry.memory().register(Instance::new("new", "n")).await.unwrap();
    registry.recover();
    tokio::time::sleep(RECOVERED).await;
    assert!(matches!(cache.get(&name("orders")).await, Err(CacheError::Absent)));
    assert_eq!(ids(&cache.get(&name("new")).await.unwrap()), ["n"]);
    assert!(next(&mut old).await.starts_with("-a") || next(&mut old).await == "-a");
    assert!(next(&mut new).await.starts_with("+n") || next(&mut new).await == "+n");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_listing_is_not_seen_and_makes_nothing_fresh() {
    let (registry, cache) = followed(&["a", "b"]).await;
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 4).await;
    registry.die();
    settle().await;
    change_everything(&registry).await;
    tokio::time::sleep(10 * SECOND).await;
    registry.recover();
    registry.set(|faults| faults.flow = Flow::HeldInListing);
    tokio::time::sleep(20 * SECOND).await;
    let read = cache.get(&name("orders")).await.unwrap();
    assert_eq!(ids(&read), ["a", "b"]);
    assert!(read.age() >= 29 * SECOND, "it was right half a minute ago: {:?}", read.age());
    registry.set(|faults| faults.flow = Flow::Passes);
    settle().await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["b", "d"]);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_listing_of_the_same_watch_replaces_everything_although_its_revisions_begin_again() {
    let (registry, cache) = followed(&["a", "b"]).await;
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 4).await;
    registry.tell(Event::Init);
    for id in ["b", "c"] {
        registry.tell(Event::InitApply(Arc::new(instance(id))));
    }
    registry.tell(Event::InitDone { revision: 1 });
    settle().await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["b", "c"]);
    // b was registered, and is told without what the registry adds to it: it is another one.
    assert_eq!(take(&mut events, 3).await, ["-a", "+b", "+c"]);
    registry.tell(Event::Delete { revision: 2, instance: Arc::new(instance("b")) });
    assert_eq!(next(&mut events).await, "-b");
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_breaks_off_is_forgotten() {
    let (registry, cache) = followed(&["a", "b"]).await;
    registry.set(|faults| faults.flow = Flow::HeldInListing);
    registry.break_watches();
    tokio::time::sleep(2 * SECOND).await;
    registry.memory().deregister(&key("orders", "a")).await.unwrap();
    registry.break_watches();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a", "b"]);
    registry.recover();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["b"]);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_does_not_open_hides_changes_for_no_longer_than_the_ttl() {
    let registry = registry_of(&["a"]).await;
    registry.set(|faults| faults.opens = Line::Hangs);
    let cache = cache_over(&registry);
    let mut at = 0;
    for n in 0..5 {
        registry.memory().register(on_host("a", &n.to_string())).await.unwrap();
        tokio::time::sleep(MINUTE + SECOND / 10).await;
        let read = cache.get(&name("orders")).await.unwrap();
        assert_eq!(read.get("a").unwrap().address.host, Some(n.to_string()));
        assert!(read.error().is_none());
        at += 1;
        assert_eq!(registry.reads(), at);
    }
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_from_a_silent_watch_is_taken_in_order() {
    let (registry, cache) = followed(&["a"]).await;
    let mut events = cache.subscribe(&name("orders")).unwrap();
    take(&mut events, 3).await;
    registry.set(|faults| faults.flow = Flow::Held);
    settle().await;
    registry.memory().register(instance("b")).await.unwrap();
    registry.memory().deregister(&key("orders", "a")).await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    registry.set(|faults| faults.flow = Flow::Twice);
    registry.memory().register(instance("c")).await.unwrap();
    settle().await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["b", "c"]);
    let mut fold = Fold::default();
    fold.state.insert("a".to_owned(), None);
    while let Ok(Some(event)) = tokio::time::timeout(SECOND, events.next()).await {
        fold.take(event.unwrap());
    }
    assert_eq!(fold.state.into_keys().collect::<Vec<_>>(), ["b", "c"]);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_in_the_middle_of_an_outage_of_reads_does_not_drop_what_is_known() {
    let (registry, cache) = followed(&["a"]).await;
    registry.die();
    registry.set(|faults| faults.writes = Line::Works);
    tokio::time::sleep(2 * MINUTE).await;
    cache.register(instance("b")).await.expect("writes work");
    let read = cache.get(&name("orders")).await.expect("reads never fail");
    assert!(ids(&read) == ["a"] && read.error().is_some());
    registry.recover();
    cache.register(on_host("b", "moved")).await.expect("everything works");
    cache.get(&name("orders")).await.expect("although the back-off is not over");
    tokio::time::sleep(RECOVERED).await;
    assert_eq!(ids(&cache.get(&name("orders")).await.unwrap()), ["a", "b"]);
    cache.stop().await;
}

#[tokio::test(start_paused = true)]
async fn writes_to_a_dead_registry_say_so() {
    let (registry, cache) = followed(&["a"]).await;
    registry.die();
    let error = cache.register(instance("b")).await.expect_err("it is dead");
    assert!(matches!(error, larder_registry::Error::Unavailable { .. }), "{error}");
    assert_eq!(registry.memory().snapshot().len(), 1);
    cache.stop().await;
}

const SET: usize = 50;

/// One of two sets that overlap in half of their ids, and in nothing else.
fn set_of(turn: usize) -> impl Iterator<Item = Instance> {
    let first = (turn % 2) * SET / 2;
    (first..first + SET).map(move |id| on_host(&format!("{id:03}"), &(turn % 2).to_string()))
}

fn is_whole(service: &Service) -> bool {
    (0..2).any(|turn| {
        let set: Vec<_> = set_of(turn).map(|it| (it.id, it.address.host)).collect();
        hosts(service).into_iter().eq(set)
    })
}

/// Real threads and real time: it ends when so many flips have been seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_on_two_threads_never_see_a_torn_or_an_empty_service_or_an_error() {
    let registry = registry_of(&[]).await;
    for instance in set_of(0) {
        registry.memory().register(instance).await.unwrap();
    }
    let cache = cache_with(&registry, Options { backoff: no_backoff(), ..Options::default() });
    cache.get(&name("orders")).await.unwrap();
    let (done, ends) = tokio::sync::watch::channel(false);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (cache, ends) = (cache.clone(), ends.clone());
            tokio::spawn(async move {
                let mut seen = 0_u64;
                while !*ends.borrow() {
                    let read = cache.get(&name("orders")).await.expect("no error");
                    assert!(is_whole(&read), "torn: {:?}", hosts(&read));
                    seen += 1;
                    tokio::task::yield_now().await;
                }
                seen
            })
        })
        .collect();
    for turn in 1..=50 {
        // A set is changed while the line hangs, so that only its end is to be seen.
        registry.set(|faults| (faults.reads, faults.opens) = (Line::Hangs, Line::Hangs));
        registry.break_watches();
        let old: Vec<_> = registry.memory().snapshot().instances().map(|it| it.key()).collect();
        for instance in set_of(turn) {
            registry.memory().register(instance).await.unwrap();
        }
        let new: Vec<_> = set_of(turn).map(|instance| instance.key()).collect();
        for gone in old.iter().filter(|key| !new.contains(key)) {
            registry.memory().deregister(gone).await.unwrap();
        }
        registry.recover();
        let shown = async {
            while cache.get(&name("orders")).await.unwrap().get(&new[0].id).is_none()
                || cache.get(&name("orders")).await.unwrap().get(&new[SET - 1].id).is_none()
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(10 * SECOND, shown).await.expect("it shows");
    }
    done.send_replace(true);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    cache.stop().await;
}
