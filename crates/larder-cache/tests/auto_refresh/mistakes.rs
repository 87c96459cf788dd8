//! What foreign code may do wrong: options, the function that makes batches, answers, and hooks.

use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Backoff, Batches, Updated};

use crate::owner::{
    DONE, Mood, Options, Owner, Tracking, create, get, millis, options, panicking, pass, rate,
    secs, together, tracking, unstarted,
};

#[tokio::test(start_paused = true)]
async fn options_that_make_no_sense_are_refused_by_name() {
    type Mistake = fn(&mut Options);
    let wrong: [(&str, Mistake); 17] = [
        ("size", |options| options.size = 0),
        ("workers", |options| options.workers = 0),
        ("workers", |options| options.workers = 10_001),
        ("period", |options| options.period = Duration::ZERO),
        ("period", |options| options.period = Duration::MAX),
        ("batches", |options| options.batches = Batches::by_size(0)),
        ("batches", |options| options.batches = Batches::by_size(100_001)),
        ("batches", |options| options.batches = Batches::by_key(0, |id, _| *id)),
        ("batches", |options| options.batches = Batches::by_key(10_001, |id, _| *id)),
        ("refresh_rate", |options| options.refresh_rate = rate(0, 1.0)),
        ("refresh_rate", |options| options.refresh_rate = rate(1, 0.0)),
        ("create_rate", |options| options.create_rate = rate(1, f64::NAN)),
        ("create_rate", |options| options.create_rate = rate(1, -1.0)),
        ("terminal_ttl", |options| options.terminal_ttl = Some(Duration::ZERO)),
        ("backoff", |options| options.backoff.base = Duration::ZERO),
        ("backoff", |options| {
            options.backoff = Backoff { base: secs(2), cap: secs(1), ..options.backoff };
        }),
        ("sync_timeout", |options| options.sync_timeout = Duration::ZERO),
    ];
    for (option, make_wrong) in wrong {
        let mut options = options();
        make_wrong(&mut options);
        let refused =
            Tracking::new(Owner::new(Mood::Same), options).err().map(|error| error.option);
        assert_eq!(refused, Some(option));
    }
}

// Test_validateConfig: the ranges of the webapi plugin lie within ours.
#[tokio::test(start_paused = true)]
async fn the_ends_of_every_range_are_allowed() {
    for (size, workers, period, burst) in [(1, 1, 1, 1), (500_000, 10_000, 8_640_000_000, 100_000)]
    {
        let options = Options {
            size,
            workers,
            period: millis(period),
            refresh_rate: rate(burst, 0.001),
            create_rate: rate(burst, 1_000_000.0),
            terminal_ttl: Some(millis(1)),
            sync_timeout: millis(1),
            ..options()
        };
        let tracking = Tracking::new(Owner::new(Mood::Counts), options).unwrap();
        tracking.start().unwrap();
        create(&tracking, 1, DONE - 1);
        pass(secs(1)).await;
        assert_eq!(tracking.stats().updated, 1);
        tracking.close().await;
    }
}

type Division = fn(&[u32]) -> Vec<Vec<u32>>;

/// Five items whose batches are made as `division` says.
async fn divided(division: Division) -> (Tracking, Owner) {
    let batches = Batches::by(move |due: &[(&u32, &u64)]| {
        let ids: Vec<u32> = due.iter().map(|(id, _)| **id).collect();
        division(&ids)
    });
    let (tracking, owner) = unstarted(Mood::Counts, Options { batches, ..options() });
    (0..5).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    tracking.start().unwrap();
    pass(secs(1)).await;
    (tracking, owner)
}

#[tokio::test(start_paused = true)]
async fn what_a_division_drops_is_asked_about_a_period_later() {
    let drops = |ids: &[u32]| {
        ids.iter().filter(|id| **id != 3 || ids.len() < 5).map(|id| vec![*id]).collect()
    };
    let (tracking, owner) = divided(drops).await;
    let asked: Vec<_> = (0..5).map(|id| owner.asked(id)).collect();
    assert_eq!((asked, tracking.stats().misdivided), (vec![1, 1, 1, 0, 1], 1));
    assert_eq!((tracking.stats().queued, tracking.stats().items), (5, 5));
    pass(secs(11)).await;
    assert!(owner.asked(3) == 1 && get(&tracking, 3) == Some(1));
}

#[tokio::test(start_paused = true)]
async fn what_a_division_drops_every_time_is_not_lost_and_can_be_deleted() {
    let (tracking, owner) = divided(|_| Vec::new()).await;
    pass(secs(100)).await;
    let stats = tracking.stats();
    assert_eq!((owner.syncs(), stats.queued, stats.in_flight), (0, 5, 0));
    assert!((45..=60).contains(&stats.misdivided), "{}", stats.misdivided);
    assert!(tracking.delete_delayed(&0));
    pass(secs(11)).await;
    assert_eq!((tracking.len(), tracking.stats().queued), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn what_a_division_doubles_is_asked_about_once() {
    let doubles = |ids: &[u32]| vec![ids.to_vec(), ids.to_vec(), vec![ids[0], ids[0]]];
    let (tracking, owner) = divided(doubles).await;
    assert!((0..5).all(|id| owner.asked(id) == 1));
    let stats = tracking.stats();
    assert_eq!((stats.misdivided, stats.syncs, owner.books().most_of_one), (7, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_division_invents_is_ignored_even_if_there_is_such_an_item() {
    let invents = |ids: &[u32]| vec![vec![77, 78], ids.to_vec(), Vec::new(), vec![79]];
    let (tracking, owner) = divided(invents).await;
    assert!((0..5).all(|id| owner.asked(id) == 1));
    assert_eq!((tracking.stats().misdivided, owner.syncs()), (3, 1));
    create(&tracking, 77, 0);
    pass(secs(1)).await;
    assert_eq!(owner.asked(77), 1);
}

#[tokio::test(start_paused = true)]
async fn a_division_that_panics_has_dropped_everything() {
    let (tracking, owner) = divided(|ids| {
        if ids.len() == 5 {
            std::panic::resume_unwind(Box::new("the division panics"));
        }
        ids.iter().map(|id| vec![*id]).collect()
    })
    .await;
    assert_eq!((owner.syncs(), tracking.stats().misdivided, tracking.stats().queued), (0, 5, 5));
    pass(secs(11)).await;
    assert!((0..5).all(|id| owner.asked(id) >= 1));
}

#[tokio::test(start_paused = true)]
async fn answers_about_unknown_ids_are_counted_and_ignored() {
    let (tracking, owner) = unstarted(Mood::Counts, together(3));
    (0..3).for_each(|id| assert_eq!(create(&tracking, id, 0), 0));
    // Nobody has created 7. Of 1 it is said twice; the first word counts.
    owner.books().strays = vec![(7, 70), (1, 71)];
    tracking.start().unwrap();
    pass(secs(1)).await;
    let items: Vec<_> = [0, 1, 2, 7].iter().map(|id| get(&tracking, *id)).collect();
    assert_eq!(items, [Some(1), Some(1), Some(1), None]);
    assert_eq!((tracking.stats().strays, tracking.len()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_another_item_that_is_tracked_does_not_change_that_one() {
    let (tracking, owner) = tracking(Mood::Same, options());
    owner.books().periods.insert(2, secs(1_000));
    create(&tracking, 2, 5);
    pass(secs(1)).await;
    owner.books().strays = vec![(2, 99), (2, DONE)];
    create(&tracking, 1, 0);
    pass(secs(1)).await;
    assert_eq!((get(&tracking, 2), tracking.stats().strays), (Some(5), 2));
}

#[tokio::test(start_paused = true)]
async fn listeners_that_panic_cost_nobody_anything() {
    let (tracking, owner) = tracking(Mood::Counts, Options { size: 3, ..together(3) });
    owner.books().on_removed = panicking();
    owner.books().on_finished = panicking();
    create(&tracking, 0, DONE - 1);
    create(&tracking, 1, 0);
    create(&tracking, 2, 0);
    pass(secs(1)).await;
    assert_eq!((get(&tracking, 0), tracking.stats().listener_panics), (Some(DONE), 1));
    // Evicted, deleted at once, deleted later, gone.
    create(&tracking, 3, 0);
    assert!(tracking.delete(&1) && tracking.delete_delayed(&2));
    owner.says(3, Mood::Gone);
    pass(secs(11)).await;
    let stats = tracking.stats();
    assert_eq!((stats.items, stats.listener_panics), (0, 5));
    assert_eq!((stats.evicted_terminal, stats.deleted, stats.gone), (1, 2, 1));
    create(&tracking, 4, 0);
    pass(secs(11)).await;
    assert_eq!(get(&tracking, 4), Some(2));
    tracking.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_period_that_panics_counts_as_none() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    owner.books().on_period = panicking();
    create(&tracking, 1, 0);
    pass(secs(32)).await;
    assert!((3..=4).contains(&owner.asked(1)), "{}", owner.asked(1));
    assert_eq!(get(&tracking, 1), Some(owner.asked(1) as u64));
}

#[tokio::test(start_paused = true)]
async fn a_period_of_nothing_is_a_millisecond() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    owner.books().periods.insert(1, Duration::ZERO);
    create(&tracking, 1, 0);
    create(&tracking, 2, 0);
    pass(secs(2)).await;
    assert!((50..=2_001).contains(&owner.asked(1)), "{}", owner.asked(1));
    assert_eq!(owner.asked(2), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_panics_in_a_sync_fails_that_batch_alone() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    create(&tracking, 1, 0);
    create(&tracking, 2, 0);
    pass(secs(1)).await;
    owner.books().on_terminal = Some(Arc::new(|id, _| {
        if id == 1 {
            std::panic::resume_unwind(Box::new("no end"))
        }
    }));
    pass(secs(24)).await;
    assert_eq!((get(&tracking, 1), get(&tracking, 2)), (Some(1), Some(3)));
    assert!(tracking.stats().panicked >= 1 && tracking.last_error(&1).is_some());
    owner.books().on_terminal = None;
    pass(secs(12)).await;
    assert!(get(&tracking, 1) >= Some(2));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_panics_in_a_call_reaches_the_caller_and_leaves_nothing_locked() {
    let (tracking, owner) = tracking(Mood::Counts, options());
    create(&tracking, 1, 0);
    owner.books().on_terminal = panicking();
    for call in [true, false] {
        let handle = tracking.clone();
        let called = tokio::spawn(async move {
            if call {
                drop(handle.get_or_create(&2, 0));
            } else {
                let _ = handle.update(&1, 0);
            }
        });
        assert!(called.await.is_err());
    }
    owner.books().on_terminal = None;
    assert_eq!((create(&tracking, 2, 5), tracking.update(&1, 6)), (5, Updated::Stored));
    pass(secs(1)).await;
    assert_eq!(get(&tracking, 2), Some(6));
}
