//! How often the owner is asked: rates, back-off, and the warning when that is too seldom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_cache::Backoff;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::owner::{
    Mood, Options, Owner, create, get, millis, options, pass, rate, secs, together, tracking,
};

/// How many of the syncs so far began in the seconds from `from` to `to`.
fn begun(owner: &Owner, from: u64, to: u64) -> usize {
    let span = secs(from)..secs(to);
    owner.books().asked.iter().filter(|asked| span.contains(&asked.at)).count()
}

/// Asserts that no time saw more syncs than a bucket lets through.
fn obeys(times: &[Duration], burst: u32, per_second: f64) {
    for (place, from) in times.iter().enumerate() {
        for (more, to) in times[place..].iter().enumerate() {
            let most = f64::from(burst) + to.saturating_sub(*from).as_secs_f64() * per_second;
            let seen = u32::try_from(more + 1).unwrap();
            assert!(f64::from(seen) <= most + 1.1, "{seen} syncs from {from:?} to {to:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refreshes_keep_to_their_rate_and_use_it_up() {
    let options = Options { refresh_rate: rate(5, 4.0), sync_on_create: false, ..options() };
    let (tracking, owner) = tracking(Mood::Same, options);
    (0..100).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(300)).await;
    let times: Vec<_> = owner.books().asked.iter().map(|asked| asked.at).collect();
    obeys(&times, 5, 4.0);
    let used = begun(&owner, 100, 300);
    assert!((798..=802).contains(&used), "{used} syncs in 200 s");
    // Whoever has waited longest is next: nobody is forgotten.
    assert!((0..100).all(|id| owner.asked(id) >= 10));
}

#[tokio::test(start_paused = true)]
async fn first_syncs_keep_to_a_rate_of_their_own() {
    let options = Options { create_rate: rate(3, 2.0), period: secs(10_000), ..options() };
    let (tracking, owner) = tracking(Mood::Same, options);
    (0..100).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(100)).await;
    let times: Vec<_> = owner.books().asked.iter().map(|asked| asked.at).collect();
    obeys(&times, 3, 2.0);
    assert_eq!(times.len(), 100);
    assert!(times[99] >= secs(48), "{:?}", times[99]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_counts_syncs_and_not_items() {
    let options = Options { refresh_rate: rate(1, 1.0), ..together(50) };
    let (tracking, owner) = tracking(Mood::Same, Options { sync_on_create: false, ..options });
    (0..200).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(100)).await;
    let times: Vec<_> = owner.books().asked.iter().map(|asked| asked.at).collect();
    obeys(&times, 1, 1.0);
    assert!((0..200).all(|id| owner.asked(id) >= 7));
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_refreshes_does_not_hold_up_first_syncs() {
    for workers in [1, 10] {
        let options =
            Options { period: secs(1), refresh_rate: rate(10, 10.0), workers, ..options() };
        let (tracking, owner) = tracking(Mood::Same, options);
        owner.books().takes = millis(50);
        (0..500).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
        pass(secs(100)).await;
        create(&tracking, 1_000, 0);
        pass(secs(1)).await;
        assert_eq!(owner.asked(1_000), 1, "{workers} workers");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_first_syncs_does_not_hold_up_refreshes() {
    let (tracking, owner) = tracking(Mood::Same, Options { workers: 1, ..options() });
    owner.books().takes = millis(100);
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(2)).await;
    owner.books().mood = Mood::Says(crate::owner::DONE);
    (0..10).for_each(|id| owner.says(id, Mood::Same));
    for second in 0..60 {
        (0..20).for_each(|n| assert_eq!(create(&tracking, 100 + second * 20 + n, 0), 0));
        pass(secs(1)).await;
    }
    // The worker manages ten a second, which is not enough. The lanes take turns.
    let old: usize = (0..10).map(|id| owner.asked(id)).sum();
    assert!(old >= 10 * 5, "{old} syncs of ten items in 62 s");
}

#[tokio::test(start_paused = true)]
async fn a_success_resets_the_back_off_and_failures_never_touch_the_item() {
    let backoff = Backoff { free_failures: 0, base: secs(10), cap: secs(1_000) };
    let (tracking, owner) =
        tracking(Mood::Fails, Options { period: secs(1), backoff, ..options() });
    create(&tracking, 1, 5);
    pass(secs(100)).await;
    let failed = owner.asked(1);
    assert_eq!((get(&tracking, 1), tracking.stats().backing_off), (Some(5), 1));
    owner.says(1, Mood::Counts);
    pass(secs(100)).await;
    assert_eq!(tracking.stats().backing_off, 0);
    let (again, item) = (owner.asked(1), get(&tracking, 1));
    assert!(again > failed + 10 && item > Some(10), "{failed} {again} {item:?}");
    owner.says(1, Mood::Fails);
    pass(secs(2)).await;
    let first = owner.times(1).last().copied().unwrap();
    pass(secs(12)).await;
    let second = owner.times(1).last().copied().unwrap();
    assert!(second.saturating_sub(first) <= millis(11_100), "the first wait again, not the fifth");
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_hang_back_off_as_an_error_does() {
    for mood in [Mood::Panics, Mood::Hangs, Mood::FailsAll] {
        let backoff = Backoff { free_failures: 0, base: secs(20), cap: secs(1_000) };
        let options = Options { period: secs(1), sync_timeout: secs(1), backoff, ..options() };
        let (tracking, owner) = tracking(mood, options);
        owner.says(2, Mood::Counts);
        create(&tracking, 1, 0);
        create(&tracking, 2, 0);
        pass(secs(300)).await;
        let asked = owner.asked(1);
        assert!((4..=5).contains(&asked), "{mood:?}: {asked}");
        assert!(owner.asked(2) > 280, "and nobody else, {mood:?}: {}", owner.asked(2));
        assert!(tracking.last_error(&1).is_some() && tracking.last_error(&2).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_item_is_not_asked_about_again_until_it_is_another_one() {
    let (tracking, owner) = tracking(Mood::Refuses, options());
    create(&tracking, 1, 0);
    pass(secs(3_000)).await;
    assert_eq!((owner.asked(1), get(&tracking, 1)), (1, Some(0)));
    owner.says(1, Mood::Counts);
    assert!(tracking.delete(&1));
    create(&tracking, 1, 5);
    assert!(tracking.last_error(&1).is_none(), "nothing was said about this one");
    pass(secs(1)).await;
    assert_eq!((owner.asked(1), get(&tracking, 1)), (2, Some(6)));
}

#[tokio::test(start_paused = true)]
async fn a_new_item_does_not_pay_for_the_failures_of_the_one_before() {
    let backoff = Backoff { free_failures: 0, base: secs(500), cap: secs(1_000) };
    for delayed in [false, true] {
        let (tracking, owner) = tracking(Mood::Fails, Options { backoff, ..options() });
        create(&tracking, 1, 0);
        pass(secs(1)).await;
        assert!(if delayed { tracking.delete_delayed(&1) } else { tracking.delete(&1) });
        owner.says(1, Mood::Counts);
        create(&tracking, 1, 5);
        pass(secs(1)).await;
        assert_eq!((owner.asked(1), get(&tracking, 1)), (2, Some(6)), "delayed: {delayed}");
        assert_eq!((tracking.stats().backing_off, tracking.stats().failed), (0, 1));
    }
}

/// Counts warnings that speak of capacity.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.fields().any(|field| field.name() == "possible_per_second") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn one_warning_says_that_the_configuration_cannot_keep_up() {
    let count = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&count)));
    let options = Options { refresh_rate: rate(10, 10.0), ..options() };
    let (tracking, _) = tracking(Mood::Same, options);
    (0..100).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(100)).await;
    assert!(tracking.stats().capacity.keeps_up());
    assert_eq!(count.load(Ordering::SeqCst), 0);
    (100..150).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1_000)).await;
    let capacity = tracking.stats().capacity;
    assert!(!capacity.keeps_up(), "{capacity:?}");
    assert!((capacity.needed_per_second - 15.0).abs() < 0.01, "{capacity:?}");
    assert!((capacity.possible_per_second - 10.0).abs() < 0.01, "{capacity:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
