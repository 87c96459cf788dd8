use std::time::Duration;

use larder_cache::Hands;

use super::*;
use crate::conformance;
use crate::event::Event;
use crate::model::{Action, Check, Health, Lease, Probe, Status};

fn start(options: Options) -> Memory {
    Memory::start(options, Clock::running())
}

#[tokio::test(start_paused = true)]
async fn memory_conforms() {
    conformance::suite(async || Arc::new(start(Options::default())) as Arc<dyn Backend>).await;
}

#[tokio::test(start_paused = true)]
async fn memory_conforms_about_checks() {
    conformance::checks(async || Arc::new(start(Options::default())) as Arc<dyn Backend>).await;
}

#[tokio::test]
async fn revisions_begin_at_the_time_of_day_so_that_a_restart_never_goes_back() {
    let (clock, _hands): (Clock, Hands) = Clock::by_hand(1_700_000_000_000);
    let memory = Memory::start(Options::default(), clock);
    assert_eq!(memory.snapshot().revision(), 1_700_000_000_000);
    memory.close().await;
}

#[tokio::test]
async fn a_watch_that_falls_behind_the_log_gets_a_new_listing() {
    let memory = start(Options { log_len: 4, ..Options::default() });
    let mut watch = memory.watch(None).await.expect("it is open");
    assert_eq!(watch.next().await.and_then(Result::ok), Some(Event::Init));
    assert!(matches!(watch.next().await, Some(Ok(Event::InitDone { .. }))));
    for id in 0..10 {
        memory.register(Instance::new("web", &id.to_string())).await.expect("there is room");
    }
    assert_eq!(watch.next().await.and_then(Result::ok), Some(Event::Init));
    for _ in 0..10 {
        assert!(matches!(watch.next().await, Some(Ok(Event::InitApply(_)))));
    }
    assert!(matches!(watch.next().await, Some(Ok(Event::InitDone { .. }))));
    memory.close().await;
}

#[tokio::test]
async fn a_dropped_call_for_the_next_event_loses_none() {
    let memory = start(Options::default());
    let mut watch = memory.watch(None).await.expect("it is open");
    watch.next().await;
    watch.next().await;
    for id in 0..3 {
        let pending = tokio::time::timeout(Duration::ZERO, watch.next()).await;
        assert!(pending.is_err(), "nothing has happened yet");
        memory.register(Instance::new("web", &id.to_string())).await.expect("there is room");
        match watch.next().await {
            Some(Ok(Event::Apply { instance, .. })) => assert_eq!(instance.id, id.to_string()),
            other => panic!("{other:?}"),
        }
    }
    memory.close().await;
}

#[derive(Debug)]
struct Recorder(Mutex<Vec<(u64, Action)>>);

impl Observer for Recorder {
    fn changed(&self, changes: &[Change]) {
        self.0
            .lock()
            .unwrap()
            .extend(changes.iter().map(|change| (change.revision, change.action)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_of_every_change_in_order_before_the_writer_is_answered() {
    let memory = start(Options::default());
    let recorder = Arc::new(Recorder(Mutex::new(Vec::new())));
    let observer: Arc<dyn Observer> = recorder.clone();
    memory.observe(Arc::downgrade(&observer));
    let first = memory.snapshot().revision() + 1;
    let lease = Some(Lease { duration_secs: 5, ..Lease::default() });
    memory.register(Instance { lease, ..Instance::new("web", "1") }).await.expect("there is room");
    assert_eq!(*recorder.0.lock().unwrap(), [(first, Action::Added)]);
    memory.renew(&Key::new("web", "1"), None).await.expect("it is registered");
    assert_eq!(recorder.0.lock().unwrap().len(), 1, "a renewal is no change");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(*recorder.0.lock().unwrap(), [(first, Action::Added), (first + 1, Action::Deleted)]);
    memory.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_shorter_lease_that_comes_later_runs_out_first() {
    let memory = start(Options::default());
    for (id, duration_secs) in [("long", 3_600), ("short", 1)] {
        let lease = Some(Lease { duration_secs, ..Lease::default() });
        memory
            .register(Instance { lease, ..Instance::new("web", id) })
            .await
            .expect("there is room");
        // Lets the expiry task go to sleep until the long lease runs out.
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(1_010)).await;
    let ids: Vec<_> = memory.snapshot().instances().map(|held| held.id.clone()).collect();
    assert_eq!(ids, ["long"]);
    memory.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_mass_expiry_removes_everyone() {
    let memory = start(Options::default());
    let lease = Some(Lease { duration_secs: 1, ..Lease::default() });
    for id in 0..1_000 {
        let instance = Instance { lease, ..Instance::new("web", &id.to_string()) };
        memory.register(instance).await.expect("there is room");
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(memory.snapshot().is_empty());
    memory.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_check_is_critical_for_too_long_leaves_and_is_counted() {
    let memory = start(Options::default());
    let ttl = Probe::Ttl(Duration::from_secs(10));
    let wait = Duration::from_secs(90);
    let check = Check { deregister_after: Some(wait), ..Check::new("c", ttl) };
    let check = Check { health: Health::Passing, ..check };
    memory
        .register(Instance { checks: vec![check], ..Instance::new("web", "1") })
        .await
        .expect("room");
    tokio::time::sleep(Duration::from_millis(10_010)).await;
    let down =
        memory.snapshot().instances().map(|held| held.effective_status()).collect::<Vec<_>>();
    assert_eq!(down, [Status::Down]);
    tokio::time::sleep(Duration::from_millis(89_980)).await;
    assert_eq!(memory.snapshot().len(), 1);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(memory.snapshot().is_empty());
    let expected = Tally { checks_expired: 1, deregistered_by_checks: 1, ..Tally::default() };
    assert_eq!(memory.tally(), expected);
    memory.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_mass_that_stops_renewing_is_held_on_to_until_an_operator_confirms() {
    let options = Options {
        self_preservation: Some(self_preservation::Options::default()),
        ..Options::default()
    };
    let memory = start(options);
    for id in 0..20 {
        let lease = Some(Lease::default());
        let instance = Instance { lease, ..Instance::new("web", &id.to_string()) };
        memory.register(instance).await.expect("there is room");
    }
    let renew = async |ids: std::ops::Range<u32>| {
        for id in ids {
            let key = Key::new("web", &id.to_string());
            memory.renew(&key, None).await.expect("it is there");
        }
    };
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        renew(0..20).await;
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        renew(0..5).await;
    }
    assert_eq!(memory.snapshot().len(), 20);
    let explained = memory.self_preservation().expect("it is on");
    assert_eq!((explained.overdue, explained.since.is_some()), (15, true), "{explained}");
    assert_eq!(memory.confirm_expired(), 15);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(memory.snapshot().len(), 5);
    assert_eq!(memory.tally().leases_expired, 15);
    memory.close().await;
}
