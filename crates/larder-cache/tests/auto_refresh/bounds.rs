//! What has a bound, and what happens at it.

use larder_cache::{CreateError, Overflow, Removal};

use crate::owner::{
    DONE, Mood, Options, create, get, millis, options, pass, rate, secs, together, tracking,
    unstarted,
};

/// Longer than the grain at which reads are told apart.
const LATER: std::time::Duration = millis(200);

#[tokio::test(start_paused = true)]
async fn there_are_never_more_items_than_the_size_nor_more_queued_than_items() {
    let options = Options {
        size: 20,
        refresh_rate: rate(5, 20.0),
        create_rate: rate(5, 20.0),
        ..together(3)
    };
    let (tracking, owner) = tracking(Mood::Counts, options);
    for round in 0..2_000_u32 {
        let id = round * 7 % 61;
        match round % 5 {
            0..=2 => {
                create(&tracking, id, if round % 9 == 0 { DONE } else { 0 });
            }
            3 => {
                tracking.delete(&(id / 2));
            }
            _ => {
                tracking.delete_delayed(&(id / 2));
            }
        }
        if round % 3 == 0 {
            pass(millis(u64::from(round % 97))).await;
        }
        let stats = tracking.stats();
        assert!(stats.items <= 20 && stats.queued <= stats.items, "{round}: {stats:?}");
        assert!(stats.waiting_first <= stats.queued && stats.in_flight <= 30, "{round}: {stats:?}");
    }
    let stats = tracking.stats();
    assert!(stats.evicted_live > 0 && stats.evicted_terminal > 0 && stats.deleted > 0);
    let left = owner.books().removed.len() as u64;
    let causes = [stats.evicted_live, stats.evicted_terminal, stats.deleted, stats.gone];
    assert_eq!(causes.iter().sum::<u64>(), left, "everyone who left is counted once");
}

#[tokio::test(start_paused = true)]
async fn terminal_items_are_evicted_first_however_recently_they_were_read() {
    let (tracking, owner) = tracking(Mood::Same, Options { size: 4, ..options() });
    (0..4).for_each(|id| assert_ne!(create(&tracking, id, if id < 2 { 0 } else { DONE }), 1));
    pass(LATER).await;
    assert_eq!(get(&tracking, 3), Some(DONE));
    create(&tracking, 4, 0);
    assert_eq!(owner.causes(2), [Removal::Evicted]);
    pass(LATER).await;
    assert_eq!(get(&tracking, 3), Some(DONE));
    create(&tracking, 5, 0);
    assert_eq!(owner.causes(3), [Removal::Evicted]);
    let stats = tracking.stats();
    assert_eq!((stats.evicted_terminal, stats.evicted_live, stats.items), (2, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn items_that_a_sync_has_made_terminal_are_evicted_first() {
    let (tracking, owner) = tracking(Mood::Same, Options { size: 3, ..options() });
    (0..3).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    owner.says(1, Mood::Says(DONE));
    pass(secs(11)).await;
    create(&tracking, 3, 0);
    assert_eq!(owner.causes(1), [Removal::Evicted]);
    assert_eq!((tracking.stats().evicted_terminal, tracking.stats().terminal), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn syncs_make_no_item_recently_used_and_callers_do() {
    for reads in [false, true] {
        let (tracking, owner) = tracking(Mood::Counts, Options { size: 3, ..options() });
        for id in 0..3 {
            create(&tracking, id, 0);
            pass(LATER).await;
        }
        pass(secs(100)).await;
        // Item 0 alone goes on being synced.
        owner.says(1, Mood::Hangs);
        owner.says(2, Mood::Hangs);
        pass(secs(50)).await;
        if reads {
            assert!(get(&tracking, 0).is_some());
            pass(LATER).await;
        }
        create(&tracking, 3, 0);
        assert_eq!((get(&tracking, 0).is_some(), get(&tracking, 1).is_some()), (reads, !reads));
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_and_a_creation_that_finds_its_item_make_it_recently_used() {
    for updates in [false, true] {
        let (tracking, _) = tracking(Mood::Same, Options { size: 3, ..options() });
        (0..3).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
        pass(LATER).await;
        if updates {
            let _ = tracking.update(&0, 1);
        } else {
            create(&tracking, 0, 1);
        }
        pass(LATER).await;
        create(&tracking, 3, 0);
        assert_eq!((get(&tracking, 0).is_some(), get(&tracking, 1)), (true, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_cache_that_must_not_evict_refuses_until_there_is_room() {
    let overflow = Overflow::Refuse;
    let (tracking, owner) = tracking(Mood::Same, Options { size: 2, overflow, ..options() });
    create(&tracking, 1, 0);
    create(&tracking, 2, 0);
    for _ in 0..3 {
        let refused = tracking.get_or_create(&3, 0).map(|creation| creation.is_new);
        assert_eq!(refused, Err(CreateError::Full { size: 2 }));
    }
    assert_eq!((tracking.stats().refused, tracking.stats().evicted_live), (3, 0));
    assert_eq!((create(&tracking, 1, 9), get(&tracking, 3)), (0, None), "what is there is found");
    owner.says(1, Mood::Says(DONE));
    pass(secs(11)).await;
    create(&tracking, 3, 0);
    assert_eq!((owner.causes(1), tracking.len()), (vec![Removal::Evicted], 2));
    assert!(tracking.delete(&2));
    create(&tracking, 4, 0);
    assert_eq!(tracking.get_or_create(&5, 0).unwrap_err(), CreateError::Full { size: 2 });
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_to_be_deleted_makes_room_for_its_successor_in_a_full_cache() {
    let overflow = Overflow::Refuse;
    let (tracking, _) = tracking(Mood::Same, Options { size: 1, overflow, ..options() });
    create(&tracking, 1, 5);
    assert!(tracking.delete_delayed(&1));
    assert_eq!(create(&tracking, 1, 6), 6);
    assert_eq!((tracking.stats().deleted, tracking.stats().refused, tracking.len()), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn terminal_items_leave_when_their_ttl_is_over_and_no_others() {
    let terminal_ttl = Some(secs(60));
    let (tracking, owner) = tracking(Mood::Same, Options { terminal_ttl, ..options() });
    owner.says(2, Mood::Says(DONE));
    owner.says(3, Mood::Same);
    for (id, item) in [(1, DONE), (2, 0), (3, 0), (4, 0)] {
        create(&tracking, id, item);
    }
    pass(secs(5)).await;
    let _ = tracking.update(&4, DONE);
    pass(millis(54_900)).await;
    assert_eq!((get(&tracking, 1), get(&tracking, 2)), (Some(DONE), Some(DONE)));
    pass(millis(300)).await;
    assert_eq!((get(&tracking, 1), get(&tracking, 2)), (None, None));
    assert_eq!(get(&tracking, 4), Some(DONE));
    pass(secs(5)).await;
    assert_eq!((get(&tracking, 3), get(&tracking, 4)), (Some(0), None));
    let stats = tracking.stats();
    assert_eq!((stats.expired, stats.terminal, stats.items, stats.deleted), (3, 0, 1, 0));
    assert!([1, 2, 4].iter().all(|id| owner.causes(*id) == [Removal::Expired]));
}

#[tokio::test(start_paused = true)]
async fn a_terminal_item_whose_ttl_is_over_makes_room_for_its_successor() {
    let terminal_ttl = Some(millis(1));
    let (tracking, owner) = unstarted(Mood::Same, Options { terminal_ttl, ..options() });
    create(&tracking, 1, DONE);
    pass(secs(1)).await;
    let creation = tracking.get_or_create(&1, 7).unwrap();
    assert_eq!((creation.is_new, *creation.item), (true, 7));
    assert_eq!(owner.causes(1), [Removal::Expired]);
}

#[tokio::test(start_paused = true)]
async fn no_more_syncs_run_at_a_time_than_there_are_workers() {
    let (tracking, owner) = tracking(Mood::Counts, Options { workers: 4, ..options() });
    owner.books().takes = secs(1);
    (0..50).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    for _ in 0..40 {
        pass(millis(500)).await;
        assert!(tracking.stats().syncs_running <= 4);
    }
    assert_eq!(owner.books().most_syncs, 4);
    assert!((0..50).all(|id| owner.asked(id) >= 1), "and everyone has his turn");
}

#[tokio::test(start_paused = true)]
async fn what_is_created_and_deleted_again_leaves_nothing_in_the_queue() {
    let (tracking, owner) = tracking(Mood::Same, options());
    for id in 0..10_000 {
        create(&tracking, id, 0);
        tracking.delete(&id);
        if id % 16 == 0 {
            pass(millis(1)).await;
        }
        assert!(tracking.stats().queued <= 1);
    }
    pass(secs(60)).await;
    let stats = tracking.stats();
    assert_eq!((stats.queued, stats.items, stats.deleted), (0, 0, 10_000));
    assert!(owner.books().most_of_one <= 1);
}
