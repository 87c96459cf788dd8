//! How it begins and how it ends.

use std::time::Duration;

use larder_cache::{CreateError, Removal, Stopped, Updated};

use crate::owner::{
    DONE, Mood, Options, create, get, millis, now, options, pass, secs, tracking, unstarted,
};

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_and_nothing_leaves_before_the_start() {
    let terminal_ttl = Some(secs(5));
    let (tracking, owner) = unstarted(Mood::Counts, Options { terminal_ttl, ..options() });
    (0..5).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    create(&tracking, 5, DONE);
    assert!(tracking.delete_delayed(&0));
    pass(secs(100)).await;
    assert_eq!((owner.syncs(), get(&tracking, 0), tracking.len()), (0, Some(0), 6));
    tracking.start().unwrap();
    pass(millis(10)).await;
    assert!((1..5).all(|id| owner.asked(id) == 1 && get(&tracking, id) == Some(1)));
    pass(secs(11)).await;
    assert_eq!((get(&tracking, 0), get(&tracking, 5), owner.asked(0)), (None, None, 0));
}

#[tokio::test(start_paused = true)]
async fn starting_twice_does_nothing_more() {
    let (tracking, owner) = tracking(Mood::Counts, Options { workers: 2, ..options() });
    assert_eq!(tracking.start(), Ok(()));
    assert_eq!(tracking.clone().start(), Ok(()));
    owner.books().takes = secs(1);
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(9)).await;
    assert_eq!((owner.syncs(), owner.books().most_syncs), (10, 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_was_stopped_stays_so() {
    for started in [false, true] {
        let (tracking, owner) = unstarted(Mood::Counts, options());
        if started {
            tracking.start().unwrap();
        }
        create(&tracking, 1, 0);
        create(&tracking, 2, 0);
        pass(secs(1)).await;
        let syncs = owner.syncs();
        tracking.stop().await;
        tracking.stop().await;
        assert_eq!(tracking.start(), Err(Stopped));
        let refused = tracking.get_or_create(&3, 0).map(|creation| creation.is_new);
        assert_eq!(refused, Err(CreateError::Stopped(Stopped)));
        assert!(tracking.get_or_create(&1, 0).is_err());
        assert_eq!(tracking.update(&1, 9), Updated::Stored);
        assert_eq!((get(&tracking, 1), tracking.len()), (Some(9), 2));
        assert!(tracking.delete(&1) && tracking.delete_delayed(&2));
        assert_eq!(tracking.len(), 0, "there is no cycle any more to wait for");
        pass(secs(100)).await;
        assert_eq!(owner.syncs(), syncs);
        tracking.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_to_be_deleted_is_gone_after_the_stop() {
    let (tracking, _) = tracking(Mood::Same, options());
    create(&tracking, 1, 0);
    create(&tracking, 2, 0);
    pass(secs(1)).await;
    assert!(tracking.delete_delayed(&1));
    tracking.stop().await;
    pass(secs(100)).await;
    assert_eq!((get(&tracking, 1), get(&tracking, 2)), (None, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_running_syncs_and_what_they_say_counts() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    owner.books().takes = secs(3);
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1)).await;
    let began = now();
    tracking.stop().await;
    let took = now().duration_since(began);
    assert!((secs(2)..=millis(2_020)).contains(&took), "{took:?}");
    assert!((0..10).all(|id| get(&tracking, id) == Some(1)));
    assert_eq!((owner.syncs(), owner.books().syncs_running), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_no_longer_than_a_sync_may_take() {
    let (tracking, owner) = tracking(Mood::Hangs, Options { workers: 2, ..options() });
    (0..10).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1)).await;
    let began = now();
    tracking.stop().await;
    let took: Duration = now().duration_since(began);
    assert!(took <= millis(4_020), "{took:?}");
    assert_eq!((owner.syncs(), owner.books().syncs_running), (2, 0));
    assert_eq!(tracking.stats().timed_out, 2);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_to_be_deleted_leaves_when_its_sync_ends_during_a_stop() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    owner.books().takes = secs(3);
    create(&tracking, 1, 0);
    pass(secs(1)).await;
    assert!(tracking.delete_delayed(&1));
    tracking.stop().await;
    assert_eq!((get(&tracking, 1), owner.causes(1)), (None, vec![Removal::Deleted]));
}

#[tokio::test(start_paused = true)]
async fn a_close_during_a_sync_ends_it_and_lets_everything_go() {
    let (tracking, owner) = tracking(Mood::Hangs, options());
    (0..3).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    pass(secs(1)).await;
    let began = now();
    tracking.close().await;
    assert!(now().duration_since(began) <= secs(5));
    assert_eq!((tracking.len(), owner.books().syncs_running), (0, 0));
    assert!((0..3).all(|id| owner.causes(id) == [Removal::Closed]));
    let stats = tracking.stats();
    assert_eq!((stats.in_flight, stats.syncs_running, stats.deleted), (0, 0, 0));
    assert!(tracking.start().is_err() && tracking.get_or_create(&1, 0).is_err());
    assert_eq!((tracking.update(&1, 1), tracking.delete(&1)), (Updated::NotFound, false));
    assert!(!tracking.delete_delayed(&1) && get(&tracking, 1).is_none());
    drop(tracking);
    assert!(owner.is_alone());
}

#[tokio::test(start_paused = true)]
async fn two_who_stop_and_close_at_a_time_both_come_to_an_end() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    owner.books().takes = secs(2);
    create(&tracking, 1, 0);
    pass(secs(1)).await;
    tokio::join!(tracking.stop(), tracking.close(), tracking.stop(), tracking.close());
    assert_eq!(owner.books().syncs_running, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_for_the_stop_has_stopped_it_all_the_same() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    owner.books().takes = secs(3);
    create(&tracking, 1, 0);
    pass(secs(1)).await;
    assert!(tokio::time::timeout(millis(100), tracking.stop()).await.is_err());
    pass(secs(100)).await;
    assert_eq!((owner.syncs(), get(&tracking, 1)), (1, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn when_the_last_handle_is_dropped_the_running_syncs_and_all_tasks_end() {
    for started in [false, true] {
        let (tracking, owner) = unstarted(Mood::Hangs, options());
        if started {
            tracking.start().unwrap();
        }
        create(&tracking, 1, 0);
        pass(secs(1)).await;
        assert_eq!(owner.books().syncs_running, usize::from(started));
        let handle = tracking.clone();
        drop(tracking);
        pass(millis(10)).await;
        assert_eq!(owner.books().syncs_running, usize::from(started), "one handle is left");
        drop(handle);
        pass(millis(10)).await;
        assert_eq!(owner.books().syncs_running, 0);
        assert!(owner.is_alone(), "whoever still held the owner was a task");
    }
}
