//! What goes wrong in Consul's agent cache and must not go wrong here. None of these has a test there.

use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use larder_cache::{
    Attempt, Cache, Clock, Error, Fetched, Fresh, Options, Origin, Put, Rate, Refresh, Removal,
    Request, Source,
};

use crate::support::{Counted, Down, Scripted, Step, secs, settle};
use crate::{BLOCKING, ask, at, changed, is_hit, keeping, millis, next, pass, past};

const POLL: Refresh = Refresh::Poll { every: Duration::from_secs(60) };
const EVERY_WAY: [Refresh; 3] = [Refresh::OnDemand, POLL, BLOCKING];

fn blocking(owner: &Counted) -> Cache<Counted> {
    Cache::new(owner.clone(), Options { refresh: BLOCKING, ..Options::default() }).unwrap()
}

// There, nothing but the source's own slowness bounds the loop of a waiting Get.
#[tokio::test(start_paused = true)]
async fn a_source_that_never_waits_is_not_asked_without_a_pause() {
    let source = Scripted::new([at(1, 5), Step::Hasty]);
    let cache = keeping(&source, BLOCKING);
    let reply = cache.get_with(&1, &past(5, secs(10))).await.unwrap();
    assert!(matches!(reply.origin(), Origin::Unchanged));
    // The burst, and then a hundred a second.
    assert!((1000..=1101).contains(&source.fetches()), "{} fetches", source.fetches());
}

// Not Consul's: what is put there has an index.
#[tokio::test(start_paused = true)]
async fn a_value_that_was_put_without_an_index_is_not_asked_for_without_a_pause() {
    for source in
        [Scripted::new([Step::Hasty]), Scripted::comparing((0..99).map(|_| Step::Value(7)))]
    {
        let cache = keeping(&source, BLOCKING);
        assert_eq!(cache.put(&1, 7), Put::Stored);
        let _subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
        pass(millis(500)).await;
        // Three without a wait, and one more before the wait.
        assert_eq!(source.fetches(), 4);
    }
}

// There, who waits for an index beyond the lower one waits on, and no watcher hears of it.
#[tokio::test(start_paused = true)]
async fn an_index_that_goes_back_releases_who_waits_and_is_told() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let before = subscription.changed().await.unwrap().value.unwrap().index();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with(&1, &past(before, secs(60))).await }
    });
    settle().await;
    owner.restart(2, 3);
    let reply = waiting.await.unwrap().unwrap();
    assert_eq!(*reply, 2);
    assert!(reply.index() > before);
    let told = subscription.changed().await.unwrap().value.unwrap();
    assert_eq!((*told, told.index()), (2, reply.index()));
}

#[tokio::test(start_paused = true)]
async fn the_index_that_callers_see_never_goes_back_while_the_source_is_asked_for_its_own() {
    let owner = Counted::new(1);
    let cache = blocking(&owner);
    let mut last = cache.get(&1).await.unwrap().index();
    for (value, index) in [(2, 3), (3, 4), (4, 1), (5, 900), (6, 2)] {
        owner.restart(value, index);
        let reply = cache.get_with(&1, &past(last, secs(60))).await.unwrap();
        assert_eq!(*reply, value);
        assert!(reply.index() > last, "{} after {last}", reply.index());
        last = reply.index();
        settle().await;
        assert_eq!(owner.last_wait(), Some(index));
    }
}

// There, the back-off belongs to the refresh, and each Get asks the source once more.
#[tokio::test(start_paused = true)]
async fn no_request_bypasses_the_back_off_of_an_entry_that_is_kept() {
    for refresh in EVERY_WAY {
        let source = Scripted::new([at(1, 4), Step::Broken]);
        let cache = keeping(&source, refresh);
        cache.get(&1).await.unwrap();
        for _ in 0..100 {
            pass(millis(10)).await;
            assert!(cache.get_with(&1, &Request::DEFAULT.must_revalidate()).await.is_err());
        }
        // Three failures without a wait, then waits of about 1 s and 2 s.
        let fetches = source.fetches();
        assert!((5..=6).contains(&fetches), "{refresh:?}: {fetches} fetches");
    }
}

// There, the old value comes back without a word.
#[tokio::test(start_paused = true)]
async fn who_must_revalidate_gets_the_error_of_a_failing_source() {
    for refresh in EVERY_WAY {
        let source = Scripted::new([at(1, 4), Step::Hang]);
        let cache = keeping(&source, refresh);
        cache.get(&1).await.unwrap();
        settle().await;
        source.only(Step::Broken);
        let revalidated = cache.get_with(&1, &Request::DEFAULT.must_revalidate()).await;
        assert!(matches!(revalidated, Err(Error::Source(_))), "{refresh:?}");
        assert!(is_hit(&cache.get(&1).await), "{refresh:?}: nobody else minds");
    }
}

// There, a failing source turns a max-age into an error, and stale-if-error does nothing.
#[tokio::test(start_paused = true)]
async fn the_age_bounds_hold_for_every_way_of_refreshing_while_the_source_fails() {
    for refresh in EVERY_WAY {
        let source = Scripted::new([at(1, 4), Step::Gate, Step::Broken]);
        let cache = keeping(&source, refresh);
        cache.get(&1).await.unwrap();
        settle().await;
        // From now on, a value that was kept fresh begins to age.
        source.only(Step::Broken);
        source.open();
        pass(secs(30)).await;
        let young = Request::DEFAULT.max_age(secs(20));
        let answer = cache.get_with(&1, &young.stale_if_error(secs(11))).await;
        let reply = answer.unwrap();
        assert_eq!((*reply, reply.age()), (1, secs(30)), "{refresh:?}");
        let beside = reply.error().unwrap().downcast_ref::<Error<Down>>();
        assert!(matches!(beside, Some(Error::Source(_))), "{refresh:?}");
        let bound = cache.get_with(&1, &young.stale_if_error(secs(10))).await;
        assert!(matches!(bound, Err(Error::Source(_))), "{refresh:?}");
        let old = cache.get_with(&1, &Request::DEFAULT.max_age(secs(31))).await;
        assert!(is_hit(&old), "{refresh:?}");
    }
}

// There, a fetch that waits for its turn ends without a word to those who wait for it.
#[tokio::test(start_paused = true)]
async fn closing_releases_whoever_waits_wherever_they_wait() {
    let source = Scripted::new([at(1, 4), Step::Hang, Step::Hang]);
    let cache = changed(&source, |options| {
        options.refresh = BLOCKING;
        options.rate = Some(Rate { burst: 2, per_second: 0.001 });
    });
    let mut subscription = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    subscription.changed().await.unwrap();
    let parked = ask(&cache, past(4, secs(9999)));
    settle().await;
    // The burst is used up, so this one waits for its turn.
    let paced = ask(&cache, Request::DEFAULT.must_revalidate());
    let hanging = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get(&2).await }
    });
    settle().await;
    assert_eq!(cache.stats().waiters, 3);
    let clock = Clock::running();
    cache.close().await;
    for waiting in [parked, paced, hanging] {
        let released = tokio::time::timeout(secs(900), waiting).await.expect("left waiting");
        assert!(matches!(released.unwrap(), Err(Error::Closed)));
    }
    assert!(subscription.changed().await.is_none());
    assert_eq!((clock.now().as_millis(), cache.stats().waiters), (0, 0));
}

// There, a fetch that was overtaken by another one ends without a word.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_was_overtaken_releases_those_who_wait_for_it() {
    for overtake in [true, false] {
        let source = Scripted::new([Step::Gate, Step::Value(1), Step::Value(2)]);
        let cache = keeping(&source, BLOCKING);
        let before = ask(&cache, Request::DEFAULT);
        settle().await;
        if overtake {
            assert_eq!(cache.put(&1, 9), Put::Stored);
        } else {
            cache.invalidate(&1);
        }
        source.open();
        assert_eq!(*before.await.unwrap().unwrap(), 1);
    }
}

// There, such an entry is in no heap, and stays.
#[tokio::test(start_paused = true)]
async fn a_key_whose_first_fetch_hangs_leaves_nothing_behind() {
    for refresh in EVERY_WAY {
        let source = Scripted::new([Step::Hang]);
        let cache = keeping(&source, refresh);
        assert!(matches!(cache.get(&1).await, Err(Error::TimedOut(_))));
        settle().await;
        let stats = cache.stats();
        assert_eq!(
            (stats.entries, stats.flights, stats.keepers.total, source.running()),
            (0, 0, 0, 0)
        );
    }
}

// There, a watcher of a blocking type hears of no error after the first value; one that polls, of none
// before it.
#[tokio::test(start_paused = true)]
async fn the_first_error_and_the_recovery_are_told_whatever_the_way_of_refreshing() {
    for refresh in EVERY_WAY {
        let source = Scripted::new([Step::Fail, at(1, 4), Step::Gate, Step::Broken]);
        let cache = changed(&source, |options| {
            // Without a wait, the recovery could come before the error is heard of.
            (options.refresh, options.backoff.free_failures) = (refresh, 0);
            options.fetch_timeout = secs(600);
        });
        let request = Request::DEFAULT.max_age(secs(20));
        let mut subscription = cache.subscribe(&1, &request).unwrap();
        assert_eq!(next(&mut subscription).await, (None, 0, true));
        assert_eq!(next(&mut subscription).await, (Some(1), 4, false));
        source.open();
        assert_eq!(next(&mut subscription).await, (Some(1), 4, true), "{refresh:?}");
        source.only(Step::Quiet);
        assert_eq!(next(&mut subscription).await, (Some(1), 4, false), "{refresh:?}");
    }
}

// There, it is in no heap until it is fetched, and stays.
#[tokio::test(start_paused = true)]
async fn what_was_put_and_is_not_read_goes() {
    for refresh in EVERY_WAY {
        let source = Scripted::new([Step::Quiet]);
        let cache = changed(&source, |options| {
            (options.idle, options.ttl, options.refresh) = (secs(40), secs(3600), refresh);
        });
        assert_eq!(cache.put(&1, Fresh::new(7).index(5)), Put::Stored);
        pass(secs(39)).await;
        assert_eq!(cache.stats().entries, 1);
        pass(secs(11)).await;
        assert_eq!((cache.stats().entries, source.fetches()), (0, 0), "{refresh:?}");
        assert_eq!(source.removals(), [(7, Removal::Idle)]);
    }
}

type WayOut = (&'static str, fn(&Cache<Scripted>));

/// How a key may leave before its time.
fn ways_out() -> [WayOut; 4] {
    [
        ("invalidated", |cache| assert!(cache.invalidate(&1))),
        ("all invalidated", Cache::invalidate_all),
        ("displaced", |cache| cache.resize(1)),
        ("too heavy", |cache| assert_eq!(cache.put(&1, 999_999), Put::TooHeavy)),
    ]
}

// There, its long poll runs on for up to ten minutes.
#[tokio::test(start_paused = true)]
async fn the_long_poll_of_a_key_that_is_out_ends_at_once() {
    for (how, remove) in ways_out() {
        let source = Scripted::new([at(1000, 4), Step::Hang]);
        let cache = keeping(&source, BLOCKING);
        cache.get(&1).await.unwrap();
        settle().await;
        assert_eq!((source.running(), cache.stats().keepers.total), (1, 1));
        remove(&cache);
        settle().await;
        let stats = cache.stats();
        assert_eq!((stats.entries, source.running(), stats.keepers.total), (0, 0, 0), "{how}");
    }
}

// There, a refresh sleeps on for up to two minutes.
#[tokio::test(start_paused = true)]
async fn the_back_off_of_a_key_that_is_out_keeps_no_task() {
    for (how, remove) in ways_out() {
        let source = Scripted::new([at(1000, 4), Step::Broken]);
        let cache = keeping(&source, BLOCKING);
        cache.get(&1).await.unwrap();
        pass(secs(100)).await;
        assert_eq!(cache.stats().keepers.failing, 1);
        remove(&cache);
        settle().await;
        assert_eq!((cache.stats().entries, cache.stats().keepers.total), (0, 0), "{how}");
    }
}

// Not Consul's: it has no bound.
#[tokio::test(start_paused = true)]
async fn no_more_keys_are_kept_fresh_than_there_is_room_for() {
    let source = Scripted::new((0..500).flat_map(|_| [at(1, 4), Step::Hang]));
    let cache = changed(&source, |options| {
        (options.refresh, options.capacity, options.expected_entries) = (BLOCKING, 50, 50);
    });
    for key in 0..500 {
        cache.get(&key).await.unwrap();
        settle().await;
    }
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.keepers.total, source.running()), (50, 50, 50));
}

// There, a slow one holds its loop up until the entry is gone.
#[tokio::test(start_paused = true)]
async fn a_subscriber_who_does_not_read_keeps_nothing_from_being_refreshed() {
    let owner = Counted::new(0);
    let options = Options { refresh: BLOCKING, idle: secs(40), ..Options::default() };
    let cache = Cache::new(owner.clone(), options).unwrap();
    let mut slow = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    let mut quick = cache.subscribe(&1, &Request::DEFAULT).unwrap();
    for value in 1..=10 {
        owner.set(value);
        assert_eq!(*quick.changed().await.unwrap().value.unwrap(), value);
        pass(secs(30)).await;
        assert_eq!(*cache.peek(&1).unwrap(), value);
    }
    let update = slow.changed().await.unwrap();
    assert_eq!((*update.value.unwrap(), update.missed), (10, 9));
}

// There, what a value held open is closed when it expires, but not when it is replaced or at the end.
#[tokio::test(start_paused = true)]
async fn the_source_hears_of_each_value_that_leaves_whatever_the_reason() {
    let source = Scripted::new([Step::Value(1), Step::Value(2)]);
    let cache = keeping(&source, Refresh::OnDemand);
    cache.get(&1).await.unwrap();
    cache.get_with(&1, &Request::DEFAULT.must_revalidate()).await.unwrap();
    assert_eq!(source.removals(), [(1, Removal::Replaced)]);
    cache.close().await;
    assert_eq!(source.removals()[1..], [(2, Removal::Closed)]);
}

struct Colliding;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Clash(u8);

impl Hash for Clash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        0.hash(state);
    }
}

impl Source for Colliding {
    type Key = Clash;
    type Value = u8;
    type Error = Infallible;

    async fn fetch(&self, key: &Clash, _: Attempt<u8>) -> Result<Fetched<u8>, Infallible> {
        Ok(Fetched::value(key.0))
    }
}

// There, a hash of 64 bits is all that tells requests apart.
#[tokio::test]
async fn keys_of_one_hash_are_different_keys() {
    let cache = Cache::new(Colliding, Options::default()).unwrap();
    for _ in 0..2 {
        for key in 0..10 {
            assert_eq!(*cache.get(&Clash(key)).await.unwrap(), key);
        }
    }
    assert_eq!((cache.stats().fetched, cache.stats().hits), (10, 10));
}

// There, a Get that does not block is held up by one that does.
#[tokio::test(start_paused = true)]
async fn a_long_poll_holds_up_nobody_who_wants_an_answer_now() {
    let source = Scripted::new([at(1, 4), Step::Hang]);
    let cache = keeping(&source, BLOCKING);
    let _parked = ask(&cache, past(4, secs(300)));
    settle().await;
    source.only(at(2, 5));
    let clock = Clock::running();
    let reply = cache.get_with(&1, &Request::DEFAULT.must_revalidate()).await.unwrap();
    assert_eq!((*reply, clock.now().as_millis()), (2, 0));
}

// There, the first wait forgets what was asked for.
#[tokio::test(start_paused = true)]
async fn who_waits_for_an_index_has_the_age_bounds_hold_for_what_the_wait_begins_with() {
    for refresh in [POLL, BLOCKING] {
        let source = Scripted::new([at(1, 4), Step::Quiet]);
        let cache = keeping(&source, refresh);
        for request in
            [Request::DEFAULT.max_age(Duration::ZERO), Request::DEFAULT.must_revalidate()]
        {
            let reply = cache.get_with(&1, &request.min_index(4, secs(10))).await.unwrap();
            assert_eq!((*reply, reply.index()), (1, 4));
            assert!(matches!(reply.origin(), Origin::Unchanged), "{refresh:?}");
        }
        source.only(Step::Hang);
        let never = Request::DEFAULT.must_revalidate().min_index(4, secs(1));
        let unanswered = cache.get_with(&1, &never).await;
        assert!(matches!(unanswered, Err(Error::Impatient(_))), "{refresh:?}");
    }
}

// There, a time-out gives the value as it is, and no hit.
#[tokio::test(start_paused = true)]
async fn who_runs_out_of_patience_before_an_index_passes_gets_the_value_unchanged() {
    let source = Scripted::new([at(1, 4), Step::Quiet]);
    let cache = keeping(&source, BLOCKING);
    let clock = Clock::running();
    let request = past(4, secs(60)).timeout(secs(5));
    let reply = cache.get_with(&1, &request).await.unwrap();
    assert_eq!((*reply, reply.index(), clock.now().as_millis()), (1, 4, 5_000));
    assert!(matches!(reply.origin(), Origin::Unchanged));
}

// There, what a key owes under the old rate is paid back at the new one.
#[tokio::test(start_paused = true)]
async fn a_faster_rate_frees_a_key_that_the_old_one_holds_back() {
    let source = Scripted::new([]);
    let slow = Rate { burst: 1, per_second: 0.001 };
    let cache = changed(&source, |options| options.rate = Some(slow));
    cache.get(&1).await.unwrap();
    assert!(cache.set_rate(Some(Rate { burst: 1, per_second: 10.0 })).unwrap());
    let clock = Clock::running();
    cache.get_with(&1, &Request::DEFAULT.must_revalidate()).await.unwrap();
    assert!(clock.now().as_millis() <= 100, "{:?}", clock.now());
}
