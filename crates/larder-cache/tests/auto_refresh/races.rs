//! What callers do while a sync is under way.

use std::sync::Arc;

use larder_cache::{Removal, Updated};

use crate::owner::{
    DONE, Mood, Options, Owner, Tracking, create, get, millis, options, pass, secs, tracking,
};

/// An item 1 that is 5, and a sync of it that is under way and will say so.
async fn under_way(says: Mood, options: Options) -> (Tracking, Owner) {
    let options = Options { sync_timeout: secs(100), ..options };
    let (tracking, owner) = tracking(says, options);
    owner.shut(1);
    create(&tracking, 1, 5);
    pass(secs(12)).await;
    assert_eq!(owner.books().syncs_running, 1);
    (tracking, owner)
}

const OUTCOMES: [Mood; 8] = [
    Mood::Says(77),
    Mood::Says(DONE + 1),
    Mood::Same,
    Mood::Gone,
    Mood::Fails,
    Mood::FailsAll,
    Mood::Panics,
    Mood::Silent,
];

#[tokio::test(start_paused = true)]
async fn an_update_during_a_sync_wins_whatever_the_sync_says() {
    for says in OUTCOMES {
        let (tracking, owner) = under_way(says, options()).await;
        assert_eq!(tracking.update(&1, 9), Updated::Stored);
        owner.open(1);
        pass(secs(1)).await;
        assert_eq!(get(&tracking, 1), Some(9), "{says:?}");
        assert!(owner.causes(1).is_empty() && owner.books().finished.is_empty(), "{says:?}");
        owner.says(1, Mood::Counts);
        pass(secs(13)).await;
        assert_eq!((owner.asked(1), get(&tracking, 1)), (2, Some(10)), "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_to_a_terminal_item_during_a_sync_is_the_end() {
    for says in OUTCOMES {
        let (tracking, owner) = under_way(says, options()).await;
        assert_eq!(tracking.update(&1, DONE), Updated::Stored);
        owner.open(1);
        pass(secs(100)).await;
        assert_eq!((owner.asked(1), get(&tracking, 1)), (1, Some(DONE)), "{says:?}");
        let stats = tracking.stats();
        assert_eq!((stats.terminal, stats.queued, stats.in_flight), (1, 0, 0), "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_during_a_sync_stays_deleted() {
    for says in OUTCOMES {
        let (tracking, owner) = under_way(says, options()).await;
        assert!(tracking.delete(&1));
        assert_eq!(get(&tracking, 1), None);
        owner.open(1);
        pass(secs(100)).await;
        assert_eq!((get(&tracking, 1), owner.asked(1)), (None, 1), "{says:?}");
        assert_eq!(owner.causes(1), [Removal::Deleted], "{says:?}");
        assert_eq!((tracking.stats().queued, tracking.stats().backing_off), (0, 0), "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_delete_during_a_sync_happens_when_the_sync_ends() {
    for says in OUTCOMES {
        let (tracking, owner) = under_way(says, options()).await;
        assert!(tracking.delete_delayed(&1));
        pass(secs(20)).await;
        assert_eq!(get(&tracking, 1), Some(5), "ticks go by, but the sync is under way");
        owner.open(1);
        pass(millis(1)).await;
        assert_eq!(get(&tracking, 1), None, "{says:?}");
        assert_eq!(owner.causes(1).len(), 1, "{says:?}");
        pass(secs(50)).await;
        assert_eq!((owner.asked(1), tracking.stats().queued), (1, 0), "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_created_anew_during_a_sync_is_another_item_and_has_its_own_first_sync() {
    for says in OUTCOMES {
        for delayed in [false, true] {
            let (tracking, owner) = under_way(says, options()).await;
            assert!(if delayed { tracking.delete_delayed(&1) } else { tracking.delete(&1) });
            assert_eq!(create(&tracking, 1, 30), 30);
            pass(secs(1)).await;
            assert_eq!(owner.asked(1), 1, "never two at a time");
            owner.says(1, Mood::Counts);
            owner.open(1);
            pass(millis(1)).await;
            let stats = tracking.stats();
            assert_eq!(
                (get(&tracking, 1), owner.seen(1)),
                (Some(31), Some(30)),
                "{says:?}, delayed: {delayed}: {stats:?}"
            );
            assert_eq!(owner.causes(1), [Removal::Deleted], "{says:?}");
            pass(secs(11)).await;
            assert_eq!((owner.asked(1), get(&tracking, 1)), (3, Some(32)), "{says:?}");
            assert_eq!(owner.books().most_of_one, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_created_anew_without_sync_on_create_has_its_first_sync_in_time() {
    let options = Options { sync_on_create: false, ..options() };
    let (tracking, owner) = under_way(Mood::Says(77), options).await;
    tracking.delete(&1);
    create(&tracking, 1, 30);
    pass(secs(3)).await;
    owner.says(1, Mood::Counts);
    owner.open(1);
    pass(millis(7_800)).await;
    assert_eq!((get(&tracking, 1), owner.asked(1)), (Some(31), 2), "a period after its creation");
}

#[tokio::test(start_paused = true)]
async fn what_was_overdue_during_its_predecessors_sync_is_not_put_off_for_another_period() {
    let options = Options { sync_on_create: false, ..options() };
    let (tracking, owner) = under_way(Mood::Says(77), options).await;
    tracking.delete(&1);
    create(&tracking, 1, 30);
    pass(secs(15)).await;
    owner.says(1, Mood::Counts);
    owner.open(1);
    pass(millis(100)).await;
    assert_eq!((get(&tracking, 1), owner.asked(1)), (Some(31), 2), "it has been due for 5 s");
}

#[tokio::test(start_paused = true)]
async fn what_is_created_anew_may_be_deleted_with_delay_again() {
    let (tracking, owner) = under_way(Mood::Says(77), options()).await;
    for item in [30, 31, 32] {
        assert!(tracking.delete_delayed(&1));
        assert_eq!(create(&tracking, 1, item), item);
        pass(millis(10)).await;
    }
    assert!(tracking.delete_delayed(&1));
    owner.open(1);
    pass(secs(11)).await;
    assert_eq!((get(&tracking, 1), owner.asked(1)), (None, 1));
    assert_eq!(owner.causes(1), [Removal::Deleted; 4]);
}

#[tokio::test(start_paused = true)]
async fn an_evicted_item_is_not_brought_back_by_its_sync() {
    for says in OUTCOMES {
        let (tracking, owner) = under_way(says, Options { size: 1, ..options() }).await;
        owner.says(2, Mood::Same);
        create(&tracking, 2, 8);
        owner.open(1);
        pass(secs(1)).await;
        assert_eq!((get(&tracking, 1), get(&tracking, 2)), (None, Some(8)), "{says:?}");
        assert_eq!(owner.causes(1), [Removal::Evicted], "{says:?}");
        assert_eq!((tracking.len(), tracking.stats().evicted_live), (1, 1), "{says:?}");
        assert!(owner.books().finished.is_empty(), "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_may_call_the_tracking_itself() {
    for says in [Mood::Says(DONE), Mood::Gone] {
        let (tracking, owner) = tracking(says, Options { size: 4, ..options() });
        let handle = tracking.clone();
        let hook = move |id: u32, _| {
            let other = id + 1;
            if !other.is_multiple_of(50) {
                assert!(handle.get_or_create(&other, 0).is_ok());
                let _ = handle.update(&other, 1);
                handle.delete_delayed(&(other + 25));
                handle.delete(&id);
                assert!(handle.get(&id).is_none());
                assert!(handle.stats().items <= 4 && handle.len() <= 4);
                let _ = (handle.last_error(&id), handle.is_empty(), handle.start());
            }
        };
        let hook: crate::owner::Hook = Arc::new(hook);
        owner.books().on_removed = Some(Arc::clone(&hook));
        owner.books().on_finished = Some(hook);
        for id in [0, 100, 200] {
            create(&tracking, id, 0);
        }
        pass(secs(1_000)).await;
        assert!(owner.syncs() >= 50, "{says:?}: {}", owner.syncs());
        owner.books().on_removed = None;
        owner.books().on_finished = None;
        tracking.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_create_again_the_very_item_that_leaves() {
    let (tracking, owner) = tracking(Mood::Gone, options());
    let handle = tracking.clone();
    owner.books().on_removed = Some(Arc::new(move |id, item| {
        if item < 20 {
            assert!(handle.get_or_create(&id, item + 1).unwrap().is_new);
        }
    }));
    create(&tracking, 1, 0);
    pass(secs(1)).await;
    assert_eq!((owner.asked(1), tracking.len(), tracking.stats().gone), (21, 0, 21));
    owner.books().on_removed = None;
}
