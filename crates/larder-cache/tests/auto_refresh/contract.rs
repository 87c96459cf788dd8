//! What flyte's own tests pin, and those of its users; the name of each is beside it.

use std::sync::Arc;

use larder_cache::{Batches, Removal, Updated};

use crate::owner::{
    DONE, Mood, Options, create, get, millis, options, pass, secs, together, tracking, unstarted,
};

// TestCacheFour/normal operation, and TestCacheTwo/normal operation.
#[tokio::test(start_paused = true)]
async fn items_are_asked_about_until_they_are_terminal() {
    let (tracking, owner) = tracking(Mood::Counts, Options { size: 10, ..options() });
    for id in 0..10 {
        assert_eq!(create(&tracking, id, DONE - 10), DONE - 10);
    }
    pass(secs(120)).await;
    assert!((0..10).all(|id| get(&tracking, id) == Some(DONE) && owner.asked(id) == 10));
    assert_eq!((tracking.stats().terminal, tracking.stats().queued), (10, 0));
}

// TestCacheFour/disable sync on create.
#[tokio::test(start_paused = true)]
async fn without_sync_on_create_the_first_sync_comes_after_a_period() {
    let (tracking, owner) = tracking(Mood::Counts, Options { sync_on_create: false, ..options() });
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, DONE - 3), DONE - 3));
    pass(millis(9_990)).await;
    assert_eq!((owner.syncs(), tracking.stats().in_flight), (0, 0));
    pass(secs(1)).await;
    assert_eq!(owner.syncs(), 10);
    pass(secs(25)).await;
    assert!((0..10).all(|id| get(&tracking, id) == Some(DONE)));
}

#[tokio::test(start_paused = true)]
async fn with_sync_on_create_the_first_sync_comes_at_once() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    create(&tracking, 1, 0);
    pass(millis(1)).await;
    assert_eq!((get(&tracking, 1), owner.asked(1)), (Some(1), 1));
}

// TestCacheFour/Not Found.
#[tokio::test(start_paused = true)]
async fn of_ten_items_in_a_cache_of_two_eight_are_not_found() {
    let (tracking, _) = tracking(Mood::Same, Options { size: 2, ..options() });
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    assert_eq!((0..10).filter(|id| get(&tracking, *id).is_none()).count(), 8);
    assert_eq!((tracking.len(), tracking.stats().misses), (2, 18));
}

// TestCacheFour/Enqueue nothing.
#[tokio::test(start_paused = true)]
async fn terminal_items_are_never_asked_about() {
    let (tracking, owner) = tracking(Mood::Panics, options());
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, DONE), DONE));
    pass(secs(100)).await;
    assert_eq!((owner.syncs(), tracking.stats().terminal), (0, 10));
    assert!((0..10).all(|id| get(&tracking, id) == Some(DONE)));
    assert!(owner.books().finished.is_empty(), "no sync has made them terminal");
}

// TestCacheFour/Test update and delete cache.
#[tokio::test(start_paused = true)]
async fn a_delayed_delete_leaves_the_item_readable_until_the_next_cycle() {
    for item in [DONE, 0] {
        let (tracking, owner) = tracking(Mood::Same, options());
        create(&tracking, 1, item);
        pass(secs(12)).await;
        assert!(tracking.delete_delayed(&1));
        assert_eq!(get(&tracking, 1), Some(item));
        pass(millis(7_900)).await;
        assert_eq!(get(&tracking, 1), Some(item));
        let before = owner.asked(1);
        pass(millis(200)).await;
        assert_eq!((get(&tracking, 1), tracking.len()), (None, 0));
        assert_eq!(owner.causes(1), [Removal::Deleted]);
        pass(secs(50)).await;
        assert_eq!(owner.asked(1), before);
    }
}

// TestCacheFour/Test update and delete cache.
#[tokio::test(start_paused = true)]
async fn an_update_replaces_what_is_there_and_creates_nothing() {
    let (tracking, owner) = tracking(Mood::Same, options());
    assert_eq!(tracking.update(&1, 7), Updated::NotFound);
    assert_eq!(get(&tracking, 1), None);
    create(&tracking, 1, 0);
    assert_eq!(tracking.update(&1, 7), Updated::Stored);
    assert_eq!(get(&tracking, 1), Some(7));
    pass(secs(11)).await;
    assert_eq!(owner.seen(1), Some(7));
    assert!(owner.causes(1).is_empty(), "a replaced item has not left");
}

// TestQueueBuildUp.
#[tokio::test(start_paused = true)]
async fn failing_items_are_not_asked_about_again_at_once() {
    let options = Options { period: secs(3600), sync_timeout: secs(5), ..Options::default() };
    let (tracking, owner) = tracking(Mood::FailsAll, options);
    (0..100).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(3600)).await;
    assert_eq!((owner.syncs(), tracking.stats().failed), (100, 100));
    assert!(owner.books().asked.iter().all(|asked| asked.batch.len() == 1));
    assert!((0..100).all(|id| owner.asked(id) == 1));
}

// TestInProcessing, TestEnqueueBatches_MarksSingleItemBatchHead, TestFirstItemInBatchMarkedAsProcessing.
#[tokio::test(start_paused = true)]
async fn every_member_of_a_batch_in_flight_is_taken() {
    for size in [1, 3] {
        let (tracking, owner) =
            tracking(Mood::Counts, Options { sync_timeout: secs(1_000), ..together(size) });
        owner.shut(0);
        (0..size).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
        pass(secs(200)).await;
        assert!((0..size).all(|id| owner.asked(id) == 1), "a window of five periods is over");
        let stats = tracking.stats();
        assert_eq!((stats.in_flight, stats.syncs_running), (size.into(), 1));
        owner.open(0);
        pass(secs(11)).await;
        assert!((0..size).all(|id| owner.asked(id) == 2 && get(&tracking, id) == Some(2)));
        assert_eq!((tracking.stats().in_flight, owner.books().most_of_one), (0, 1));
    }
}

// ExampleNewAutoRefreshCache.
#[tokio::test(start_paused = true)]
async fn an_item_completes_without_a_call_of_the_user() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    create(&tracking, 1, DONE - 3);
    pass(secs(30)).await;
    assert_eq!(get(&tracking, 1), Some(DONE));
    assert_eq!(owner.books().finished, [(1, DONE)]);
    pass(secs(100)).await;
    assert_eq!((owner.asked(1), owner.books().finished.len()), (3, 1));
}

// TestSyncSet_Range, TestSyncSet_Contains.
#[tokio::test(start_paused = true)]
async fn deleting_while_deleted_items_leave_is_allowed() {
    let (tracking, owner) = tracking(Mood::Same, options());
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    let handle = tracking.clone();
    owner.books().on_removed = Some(Arc::new(move |id, _| {
        assert!(handle.get(&id).is_none());
        handle.delete_delayed(&(id + 5));
    }));
    pass(millis(1)).await;
    (0..5).for_each(|id| assert!(tracking.delete_delayed(&id)));
    pass(millis(10_100)).await;
    assert_eq!(tracking.len(), 5);
    pass(secs(10)).await;
    assert_eq!((tracking.len(), tracking.stats().deleted), (0, 10));
    owner.books().on_removed = None;
}

// TestCacheTwo/deleting objects from cache.
#[tokio::test(start_paused = true)]
async fn items_that_the_owner_does_not_know_any_more_leave() {
    let (tracking, owner) = tracking(Mood::Gone, together(4));
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1)).await;
    assert_eq!((tracking.len(), tracking.stats().gone, tracking.stats().deleted), (0, 10, 0));
    assert!((0..10).all(|id| owner.causes(id) == [Removal::Absent]));
    pass(secs(100)).await;
    assert!((0..10).all(|id| owner.asked(id) == 1));
}

// TestBatchJobsForSync/jobs < chunk, jobs > chunk.
#[tokio::test(start_paused = true)]
async fn items_that_are_due_together_are_synced_together_up_to_the_size() {
    for (items, sizes) in [(1_u32, vec![1_usize]), (3, vec![1, 2])] {
        let (tracking, owner) = unstarted(Mood::Same, together(2));
        (0..items).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
        tracking.start().unwrap();
        pass(secs(1)).await;
        let mut seen: Vec<_> = owner.books().asked.iter().map(|asked| asked.batch.len()).collect();
        seen.sort_unstable();
        assert_eq!(seen, sizes);
    }
}

// TestBatchJobsForSync/sub jobs > chunk.
#[tokio::test(start_paused = true)]
async fn an_item_that_is_too_large_for_the_others_has_a_batch_of_its_own() {
    let batches = Batches::by(|due: &[(&u32, &u64)]| {
        let mut chunks = vec![Vec::new()];
        let mut weight = 0;
        for (id, item) in due {
            if weight + **item > 10 && weight > 0 {
                chunks.push(Vec::new());
                weight = 0;
            }
            weight += **item;
            chunks.last_mut().unwrap().push(**id);
        }
        chunks
    });
    let (tracking, owner) = unstarted(Mood::Same, Options { batches, ..options() });
    for (id, item) in [(1, 3), (2, 3), (3, 99), (4, 3), (5, 3)] {
        create(&tracking, id, item);
    }
    tracking.start().unwrap();
    pass(secs(1)).await;
    for asked in &owner.books().asked {
        let alone = asked.batch.len() == 1;
        assert!(alone || asked.batch.iter().all(|(id, _)| *id != 3), "{asked:?}");
    }
    assert!((1..=5).all(|id| owner.asked(id) == 1));
    assert_eq!(tracking.stats().misdivided, 0);
}

#[tokio::test(start_paused = true)]
async fn items_of_one_account_are_synced_together_and_of_two_never() {
    let batches = Batches::by_key(3, |id: &u32, _: &u64| id % 4);
    let (tracking, owner) = unstarted(Mood::Same, Options { batches, ..options() });
    (0..20).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    tracking.start().unwrap();
    pass(secs(1)).await;
    let books = owner.books();
    for asked in &books.asked {
        let account = asked.batch[0].0 % 4;
        assert!(asked.batch.len() <= 3 && asked.batch.iter().all(|(id, _)| id % 4 == account));
    }
    let asked: usize = books.asked.iter().map(|asked| asked.batch.len()).sum();
    assert_eq!((asked, books.asked.len()), (20, 8));
}

// Test_syncBatches/chunksize < length, chunksize > length.
#[tokio::test(start_paused = true)]
async fn every_item_has_its_answer_however_they_are_divided() {
    for size in [1, 2, 7, 100] {
        let (tracking, owner) = tracking(Mood::Counts, together(size));
        (0..10).for_each(|id| owner.says(id, Mood::Says(100 + u64::from(id))));
        (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
        pass(secs(1)).await;
        assert!((0..10).all(|id| get(&tracking, id) == Some(100 + u64::from(id))));
        assert_eq!((tracking.stats().updated, tracking.stats().strays), (10, 0));
    }
}

// TestStore_Get.
#[tokio::test(start_paused = true)]
async fn in_a_cache_of_one_the_newest_is_found() {
    let (tracking, _) = tracking(Mood::Same, Options { size: 1, ..options() });
    assert_eq!((create(&tracking, 1, 10), create(&tracking, 2, 20)), (10, 20));
    assert_eq!((get(&tracking, 1), get(&tracking, 2), get(&tracking, 3)), (None, Some(20), None));
}

// TestResourceCache_SyncResource: move to success, Failing to retrieve latest, Retry limit exceeded.
#[tokio::test(start_paused = true)]
async fn an_error_of_one_item_is_that_items_alone_and_is_told() {
    let (tracking, owner) = tracking(Mood::Counts, together(3));
    owner.says(1, Mood::Fails);
    (0..3).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1)).await;
    let items: Vec<_> = (0..3).map(|id| get(&tracking, id)).collect();
    assert_eq!((items, owner.syncs()), (vec![Some(1), Some(0), Some(1)], 1));
    assert!(tracking.last_error(&1).is_some());
    assert!(tracking.last_error(&0).is_none() && tracking.last_error(&9).is_none());
    assert_eq!((tracking.stats().failed, tracking.stats().backing_off), (1, 1));
    owner.says(1, Mood::Counts);
    pass(secs(12)).await;
    assert!(tracking.last_error(&1).is_none());
    assert_eq!((get(&tracking, 1), tracking.stats().backing_off), (Some(1), 0));
}

// TestAdminLaunchPlanExecutor_GetStatus: the status comes from the cache, and errors with the next read.
#[tokio::test(start_paused = true)]
async fn an_error_of_a_batch_is_told_of_each_item_and_the_items_stay() {
    let (tracking, owner) = tracking(Mood::FailsAll, together(5));
    (0..5).for_each(|id| assert_eq!(create(&tracking, id, 7), 7));
    pass(secs(1)).await;
    assert!((0..5).all(|id| tracking.last_error(&id).is_some() && get(&tracking, id) == Some(7)));
    assert_eq!((tracking.stats().failed, owner.syncs()), (5, 1));
}

// TestAdminLaunchPlanExecutor_Scenarios: a terminal child wakes its parent.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_end_of_an_item_hears_of_it_and_can_read_it() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    let handle = tracking.clone();
    owner.books().on_finished = Some(Arc::new(move |id, item| {
        assert_eq!(handle.get(&id).map(|item| *item), Some(item));
        assert_eq!(handle.update(&0, item), Updated::Stored);
    }));
    owner.says(0, Mood::Same);
    create(&tracking, 0, 1);
    create(&tracking, 1, DONE - 2);
    pass(secs(1)).await;
    assert_eq!(get(&tracking, 0), Some(1));
    pass(secs(11)).await;
    assert_eq!((get(&tracking, 1), get(&tracking, 0)), (Some(DONE), Some(DONE)));
    owner.books().on_finished = None;
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_does_not_mention_is_unchanged() {
    let (tracking, owner) = tracking(Mood::Silent, together(3));
    owner.says(1, Mood::Counts);
    (0..3).for_each(|id| assert_eq!(create(&tracking, id, 5), 5));
    pass(secs(35)).await;
    assert!(get(&tracking, 0) == Some(5) && get(&tracking, 1).unwrap() > 6);
    assert!(tracking.get(&0).unwrap().age() <= secs(11), "its owner has spoken of it");
    assert_eq!((tracking.stats().failed, tracking.stats().backing_off), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn get_or_create_finds_what_is_there_and_ignores_its_argument() {
    let (tracking, _) = tracking(Mood::Same, options());
    let first = tracking.get_or_create(&1, 10).unwrap();
    let second = tracking.get_or_create(&1, 20).unwrap();
    assert!(first.is_new && !second.is_new);
    assert_eq!((*first.item, *second.item, tracking.len()), (10, 10, 1));
    assert_eq!((tracking.stats().hits, tracking.stats().misses), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_item_may_have_a_period_of_its_own() {
    let (tracking, owner) = tracking(Mood::Same, options());
    owner.books().periods.insert(1, secs(2));
    owner.books().periods.insert(2, secs(60));
    (0..3).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(64)).await;
    let asked: Vec<_> = (0..3).map(|id| owner.asked(id)).collect();
    assert!((6..=7).contains(&asked[0]), "{asked:?}");
    assert!((30..=32).contains(&asked[1]), "{asked:?}");
    assert_eq!(asked[2], 2);
}
