use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use larder_cache::Clock;
use larder_registry::model::{Instance, Name};
use larder_registry::{Backend as _, Memory, View as _, memory};

use super::*;

/// Counts how often somebody is woken.
#[derive(Debug, Default)]
struct Alarm(AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Alarm {
    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Stand {
    registry: Memory,
    board: Arc<Board>,
}

impl Stand {
    fn start() -> Self {
        let registry = Memory::start(memory::Options::default(), Clock::running());
        let board = Board::new(&registry, &OwnNode::new("own", "127.0.0.1", "dc1"));
        Self { registry, board }
    }

    async fn register(&self, service: &str, id: &str) {
        self.registry.register(Instance::new(service, id)).await.expect("there is room");
    }

    fn places(&self) -> usize {
        lock(&self.board.waiting).len()
    }
}

fn service(name: &str) -> Scope {
    Scope::Service(Name::new(name))
}

fn is_touched(place: &mut Place<'_>) -> bool {
    let touched = pin!(place.touched());
    touched.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[tokio::test]
async fn a_change_elsewhere_wakes_none_of_a_thousand_and_one_here_wakes_each_once() {
    let stand = Stand::start();
    stand.register("web", "1").await;
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(alarm.clone());
    let mut places: Vec<_> = (0..1_000).map(|_| stand.board.wait_at(&service("web"))).collect();
    // One task that polls them all would be made to pause by tokio after a hundred.
    let unpaused = |place| Box::pin(tokio::task::unconstrained(Place::touched(place)));
    let mut waits: Vec<_> = places.iter_mut().map(unpaused).collect();
    let mut context = Context::from_waker(&waker);
    assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut context).is_pending()));
    assert_eq!(stand.places(), 1, "they share a place on the board");

    for id in 0..100 {
        stand.register("other", &id.to_string()).await;
    }
    assert_eq!(alarm.rung(), 0);
    stand.register("WEB", "2").await;
    assert_eq!(alarm.rung(), 1_000);
    assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut context) == Poll::Ready(())));
}

#[tokio::test]
async fn a_change_after_the_place_was_taken_is_not_missed_by_who_has_not_waited_yet() {
    let stand = Stand::start();
    let mut place = stand.board.wait_at(&service("web"));
    assert!(!is_touched(&mut place));
    stand.register("web", "1").await;
    stand.register("web", "2").await;
    assert!(is_touched(&mut place));
    assert!(!is_touched(&mut place), "both were told at once");
    stand.register("web", "3").await;
    assert!(is_touched(&mut place));
}

#[tokio::test]
async fn who_is_told_of_a_change_finds_it_in_the_ledger_and_in_the_registry() {
    let stand = Stand::start();
    for scope in [service("web"), Scope::Services, Scope::Nodes, Scope::Checks] {
        let before = stand.board.index(&scope, &stand.registry.snapshot());
        let mut place = stand.board.wait_at(&scope);
        stand.register("web", &before.to_string()).await;
        assert!(is_touched(&mut place), "{scope:?}");
        let snapshot = stand.registry.snapshot();
        let after = stand.board.index(&scope, &snapshot);
        assert!(after > before && after <= snapshot.revision(), "{scope:?}");
    }
}

#[tokio::test]
async fn a_place_that_is_left_leaves_nothing() {
    let stand = Stand::start();
    let (first, second) = (stand.board.wait_at(&service("a")), stand.board.wait_at(&service("a")));
    let other = stand.board.wait_at(&Scope::Services);
    assert_eq!(stand.places(), 2);
    drop(first);
    assert_eq!(stand.places(), 2);
    stand.register("a", "1").await;
    drop(second);
    drop(other);
    assert_eq!(stand.places(), 0);
}

#[tokio::test]
async fn a_place_taken_while_the_last_one_is_left_is_still_told() {
    // The two under one lock: whoever came between the count and the removal would wait at a place that nobody
    // finds.
    let stand = Stand::start();
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for _ in 0..2_000 {
                    drop(stand.board.wait_at(&service("a")));
                }
            });
        }
    });
    assert_eq!(stand.places(), 0);
    let leaving = stand.board.wait_at(&service("a"));
    let mut staying = stand.board.wait_at(&service("a"));
    drop(leaving);
    stand.register("a", "1").await;
    assert!(is_touched(&mut staying));
}

#[tokio::test]
async fn a_board_that_begins_while_others_write_has_everything_counted_in() {
    let stand = Stand::start();
    let registry = Arc::new(stand.registry);
    for round in 0..20 {
        let writer = registry.clone();
        let writing = std::thread::spawn(move || {
            for id in 0..50 {
                let instance = Instance::new("web", &format!("{round}-{id}"));
                let done = futures_util::FutureExt::now_or_never(writer.register(instance));
                done.expect("memory does not wait").expect("there is room");
            }
        });
        let board = Board::new(&*registry, &OwnNode::new("own", "127.0.0.1", "dc1"));
        writing.join().expect("it does not panic");
        assert_eq!(board.ledger().revision(), registry.snapshot().revision());
    }
}
