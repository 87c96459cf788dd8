//! The defects A1 to A11 of the original, each of which was seen when it was run or read; a test that
//! would fail on it.

use std::time::Duration;

use larder_cache::{Backoff, Batches, Removal, Updated};

use crate::owner::{
    DONE, Mood, Options, create, get, millis, options, pass, rate, secs, together, tracking,
    unstarted,
};

#[tokio::test(start_paused = true)]
async fn a1_a_slow_sync_is_never_joined_by_a_second_one_of_its_item() {
    let (tracking, owner) =
        tracking(Mood::Counts, Options { sync_timeout: secs(100), ..options() });
    owner.books().takes = secs(35);
    create(&tracking, 1, 0);
    pass(secs(200)).await;
    let asked = owner.asked(1);
    assert_eq!(owner.books().most_of_one, 1);
    assert!((4..=5).contains(&asked), "{asked}");
    let seen: Vec<u64> = owner.books().asked.iter().map(|asked| asked.batch[0].1).collect();
    assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>(), "no update is lost");
}

#[tokio::test(start_paused = true)]
async fn a2_a_sync_is_given_the_item_as_it_is_when_the_sync_begins() {
    let (tracking, owner) =
        tracking(Mood::Same, Options { workers: 1, sync_on_create: false, ..options() });
    owner.shut(1);
    create(&tracking, 1, 0);
    create(&tracking, 2, 0);
    // One of them is in flight, the other one has been due for a while.
    owner.shut(2);
    pass(secs(12)).await;
    assert_eq!((owner.syncs(), tracking.stats().due), (1, 1));
    let waits = if owner.asked(1) == 0 { 1 } else { 2 };
    assert_eq!(tracking.update(&waits, 7), Updated::Stored);
    owner.open(1);
    owner.open(2);
    pass(secs(1)).await;
    assert_eq!(owner.seen(waits), Some(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_of_many_who_create_an_item_one_wins_and_all_get_its_item() {
    let (tracking, owner) = tracking(Mood::Same, options());
    let start = std::sync::Arc::new(std::sync::Barrier::new(2));
    let creators: Vec<_> = (0..2_u64)
        .map(|creator| {
            let (tracking, start) = (tracking.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                let create = |id| tracking.get_or_create(&id, creator).unwrap();
                (0..2_000).map(|id| (create(id).is_new, *create(id).item)).collect::<Vec<_>>()
            })
        })
        .collect();
    let told: Vec<Vec<(bool, u64)>> =
        creators.into_iter().map(|creator| creator.join().unwrap()).collect();
    for (id, (one, other)) in told[0].iter().zip(&told[1]).enumerate() {
        assert!(one.0 != other.0 && one.1 == other.1, "{id}: {one:?} {other:?}");
        assert_eq!(one.1, u64::from(other.0), "the winner's item is the one");
    }
    tracking.close().await;
    assert!(owner.books().most_of_one <= 1);
}

#[tokio::test(start_paused = true)]
async fn a4_an_item_that_is_synced_the_moment_it_is_created_is_synced_again_in_time() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    for id in 0..50 {
        create(&tracking, id, 0);
        tokio::task::yield_now().await;
    }
    pass(secs(11)).await;
    assert!((0..50).all(|id| owner.asked(id) == 2));
}

#[tokio::test(start_paused = true)]
async fn a5_a_delayed_delete_of_what_is_not_there_deletes_nothing_later() {
    let (tracking, owner) = tracking(Mood::Same, options());
    assert!(!tracking.delete_delayed(&1));
    create(&tracking, 1, 7);
    pass(secs(100)).await;
    assert_eq!((get(&tracking, 1), tracking.stats().deleted), (Some(7), 0));
    assert!(owner.causes(1).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a5_what_is_created_after_a_delayed_delete_stays_and_is_synced() {
    let (tracking, owner) = tracking(Mood::Same, options());
    create(&tracking, 1, 7);
    pass(secs(1)).await;
    assert!(tracking.delete_delayed(&1));
    let creation = tracking.get_or_create(&1, 8).unwrap();
    assert!(creation.is_new && *creation.item == 8);
    assert_eq!(owner.causes(1), [Removal::Deleted]);
    pass(millis(10)).await;
    assert_eq!((owner.asked(1), owner.seen(1)), (2, Some(8)), "its own first sync");
    pass(secs(100)).await;
    assert_eq!((get(&tracking, 1), tracking.stats().deleted), (Some(8), 1));
    assert_eq!(owner.causes(1), [Removal::Deleted]);
}

#[tokio::test(start_paused = true)]
async fn a6_a_failing_item_is_asked_about_less_and_less_often() {
    let backoff = Backoff { free_failures: 0, base: secs(10), cap: secs(1_000) };
    let (tracking, owner) =
        tracking(Mood::Fails, Options { period: secs(1), backoff, ..options() });
    create(&tracking, 1, 0);
    pass(secs(2_000)).await;
    let times = owner.times(1);
    let gaps: Vec<Duration> =
        times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    // A period and a sixteenth, and the back-off less up to a quarter.
    for (gap, wait) in gaps.iter().zip([10, 20, 40, 80, 160, 320, 640, 1_000]) {
        let (least, most) = (secs(1) + secs(wait) * 3 / 4, millis(1_080) + secs(wait));
        assert!((least..=most).contains(gap), "{gaps:?}");
    }
    assert!((7..=9).contains(&times.len()), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a6_what_cannot_be_kept_up_with_does_not_pile_up() {
    let options = Options { period: secs(1), refresh_rate: rate(100, 10.0), ..options() };
    let (tracking, owner) = tracking(Mood::Same, options);
    (0..1_000).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    for _ in 0..30 {
        pass(secs(1)).await;
        let stats = tracking.stats();
        assert!(stats.queued <= 1_000 && stats.due <= 1_000, "{stats:?}");
    }
    assert!(owner.books().most_of_one == 1 && !tracking.stats().capacity.keeps_up());
    assert!(tracking.stats().overdue >= secs(20), "it says how late it is");
}

#[tokio::test(start_paused = true)]
async fn a7_panics_cost_no_worker() {
    let (tracking, owner) = tracking(Mood::Panics, Options { workers: 3, ..options() });
    (0..3).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1)).await;
    assert_eq!((owner.syncs(), tracking.stats().panicked), (3, 3));
    for id in 10..13 {
        owner.says(id, Mood::Counts);
        owner.shut(id);
        create(&tracking, id, 0);
    }
    pass(millis(10)).await;
    assert_eq!(owner.books().syncs_running, 3, "as many as ever at a time");
    (10..13).for_each(|id| owner.open(id));
    pass(millis(10)).await;
    assert!((10..13).all(|id| get(&tracking, id) == Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a7_nothing_is_synced_after_the_stop_and_no_task_is_left() {
    let (tracking, owner) = tracking(Mood::Counts, Options { workers: 10, ..options() });
    (0..20).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1)).await;
    tracking.stop().await;
    let syncs = owner.syncs();
    (20..40).for_each(|id| assert!(tracking.get_or_create(&id, 0).is_err()));
    pass(secs(1_000)).await;
    assert_eq!(owner.syncs(), syncs);
    drop(tracking);
    pass(millis(1)).await;
    assert!(owner.is_alone(), "whoever still held the owner was a task");
}

#[tokio::test(start_paused = true)]
async fn a8_evictions_and_deletions_are_counted_apart() {
    let (tracking, owner) = tracking(Mood::Same, Options { size: 3, ..options() });
    (0..3).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    assert!(tracking.delete(&0) && !tracking.delete(&0));
    assert!(tracking.delete_delayed(&1));
    pass(secs(11)).await;
    let stats = tracking.stats();
    assert_eq!((stats.deleted, stats.evicted_live, stats.evicted_terminal), (2, 0, 0));
    create(&tracking, 3, DONE);
    create(&tracking, 4, 0);
    create(&tracking, 5, 0);
    create(&tracking, 6, 0);
    let stats = tracking.stats();
    assert_eq!((stats.deleted, stats.evicted_live, stats.evicted_terminal), (2, 1, 1));
    assert_eq!(owner.causes(3), [Removal::Evicted]);
}

#[tokio::test(start_paused = true)]
async fn a8_a_terminal_item_is_never_overwritten() {
    let (tracking, _) = tracking(Mood::Counts, options());
    create(&tracking, 1, DONE);
    assert_eq!(tracking.update(&1, 5), Updated::Terminal);
    assert_eq!(create(&tracking, 1, 6), DONE);
    pass(secs(50)).await;
    assert_eq!(get(&tracking, 1), Some(DONE));
}

#[tokio::test(start_paused = true)]
async fn a9_creations_take_nothing_from_the_refreshes() {
    let limit = rate(10, 10.0);
    let (tracking, owner) =
        tracking(Mood::Same, Options { refresh_rate: limit, create_rate: limit, ..options() });
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(5)).await;
    for second in 0..60 {
        (0..100).for_each(|n| {
            assert_eq!(create(&tracking, 1_000 + second * 100 + n, DONE - 1), DONE - 1);
        });
        (0..100).for_each(|n| {
            tracking.delete(&(1_000 + second * 100 + n));
        });
        (0..20).for_each(|n| assert_eq!(create(&tracking, 100_000 + second * 20 + n, 0), 0));
        (0..20).for_each(|n| {
            tracking.delete_delayed(&(100_000 + second * 20 + n));
        });
        pass(secs(1)).await;
    }
    for id in 0..10 {
        let asked = owner.asked(id);
        assert!((6..=7).contains(&asked), "{id} was asked about {asked} times in 65 s");
    }
}

#[tokio::test(start_paused = true)]
async fn a10_a_failed_batch_holds_up_no_deletion() {
    let (tracking, _) = tracking(Mood::FailsAll, together(10));
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1)).await;
    (0..5).for_each(|id| assert!(tracking.delete_delayed(&id)));
    pass(secs(10)).await;
    assert_eq!(tracking.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a10_a_batch_that_fails_holds_up_no_deletion_of_its_own_items() {
    let (tracking, owner) = unstarted(Mood::FailsAll, together(5));
    owner.shut(0);
    (0..5).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    tracking.start().unwrap();
    pass(secs(1)).await;
    assert_eq!(tracking.stats().in_flight, 5);
    (0..5).for_each(|id| assert!(tracking.delete_delayed(&id)));
    assert_eq!(tracking.len(), 5);
    owner.open(0);
    pass(millis(1)).await;
    assert_eq!((tracking.len(), tracking.stats().deleted), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a11_a_cycle_looks_at_what_is_due_and_not_at_what_is_cached() {
    // What the cycle looks at is what it asks foreign code about: the period, and how to divide.
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = seen.clone();
    let batches = Batches::by(move |due: &[(&u32, &u64)]| {
        counter.fetch_add(due.len(), std::sync::atomic::Ordering::Relaxed);
        vec![due.iter().map(|(id, _)| **id).collect()]
    });
    let options = Options { period: secs(3_600), sync_on_create: false, batches, ..options() };
    let (tracking, owner) = unstarted(Mood::Same, options);
    (0..10).for_each(|id| {
        owner.books().periods.insert(id, secs(1));
    });
    (0..20_000).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    tracking.start().unwrap();
    pass(secs(1)).await;
    let asked = seen.load(std::sync::atomic::Ordering::Relaxed);
    let counter = seen.clone();
    owner.books().on_period = Some(std::sync::Arc::new(move |_, _| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    pass(secs(100)).await;
    let asked = seen.load(std::sync::atomic::Ordering::Relaxed) - asked;
    assert!((900..4_000).contains(&asked), "{asked} looks for about a thousand syncs");
}
