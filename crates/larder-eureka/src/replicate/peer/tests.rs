//! When a peer is asked, and with what: over a way that answers as it is told, in paused time.

use std::collections::VecDeque;

use larder_registry::model::{Instance, Key, Lease, Status};
use larder_registry::{Backend, Memory, Phase, View, memory};
use tokio::task::JoinHandle;

use super::*;
use crate::wire::replication::{Action, decode_batch};

/// What one batch held: the moment in milliseconds, and each item.
type Heard = (u64, Vec<(Action, String)>);

/// A peer's answer to a batch.
#[derive(Debug)]
enum Says {
    /// To every item the same.
    All(u16),
    /// To each item.
    Each(Vec<Answer>),
    Fails(Fault),
}

#[derive(Debug)]
struct Script {
    clock: Clock,
    heard: Mutex<Vec<Heard>>,
    says: Mutex<VecDeque<Says>>,
    /// Refuses whatever holds an instance of this id.
    unwanted: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Scripted(Arc<Script>);

impl Courier for Scripted {
    fn deliver(&self, batch: Vec<u8>) -> BoxFuture<'_, Result<Vec<Answer>, Fault>> {
        let items = decode_batch(&batch).expect("it is a batch");
        let ids = items.iter().map(|item| (item.action.expect("known"), item.key.id.to_string()));
        let ids: Vec<_> = ids.collect();
        let at = self.0.clock.now().as_millis();
        self.0.heard.lock().expect("nobody panicked").push((at, ids.clone()));
        let unwanted = self.0.unwanted.lock().expect("nobody panicked").clone();
        if unwanted.is_some_and(|unwanted| ids.iter().any(|(_, id)| *id == unwanted)) {
            let status = reqwest::StatusCode::BAD_REQUEST;
            let refused = Fault::Refused { phase: Phase::Write, status, says: String::new() };
            return Box::pin(std::future::ready(Err(refused)));
        }
        let says = self.0.says.lock().expect("nobody panicked").pop_front();
        let all = |status| vec![Answer { status, instance: None }; items.len()];
        Box::pin(std::future::ready(match says.unwrap_or(Says::All(200)) {
            Says::All(status) => Ok(all(status)),
            Says::Each(answers) => Ok(answers),
            Says::Fails(fault) => Err(fault),
        }))
    }
}

struct Scene {
    peer: Arc<Peer>,
    script: Arc<Script>,
    registry: Arc<Memory>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Scene {
    fn new(says: impl IntoIterator<Item = Says>) -> Self {
        let clock = Clock::running();
        let registry = Arc::new(Memory::start(memory::Options::default(), clock.clone()));
        let (heard, says) = (Mutex::default(), Mutex::new(says.into_iter().collect()));
        let script =
            Arc::new(Script { clock: clock.clone(), heard, says, unwanted: Mutex::default() });
        let courier = Box::new(Scripted(script.clone()));
        let peer = Peer::new("http://peer".to_owned(), courier, 1_000, registry.clone(), clock);
        let (stop, stopping) = watch::channel(false);
        let peer = Arc::new(peer);
        let task = tokio::spawn(peer.clone().run(stopping));
        Self { peer, script, registry, stop, task }
    }

    fn renew(&self, id: &str) {
        let held = held(id);
        self.peer.tell(News::renewed(held.key(), &held));
    }

    fn heard(&self) -> Vec<Heard> {
        self.script.heard.lock().expect("nobody panicked").clone()
    }

    /// When batches came.
    fn moments(&self) -> Vec<u64> {
        self.heard().iter().map(|(at, _)| *at).collect()
    }

    async fn stopped(self) -> Vec<Heard> {
        self.stop.send_replace(true);
        self.task.await.expect("it does not panic");
        self.script.heard.lock().expect("nobody panicked").clone()
    }
}

/// Renews so seldom that nothing expires here.
fn held(id: &str) -> Instance {
    let lease = Some(Lease { renewal_interval_secs: 3_600, ..Lease::default() });
    Instance { dirty_at: 7, lease, ..Instance::new("web", id) }
}

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

fn refused(code: u16) -> Says {
    let status = reqwest::StatusCode::from_u16(code).expect("a status");
    Says::Fails(Fault::Refused { phase: Phase::Write, status, says: String::new() })
}

fn late() -> Says {
    Says::Fails(Fault::Late { phase: Phase::Write, after: Duration::ZERO })
}

fn lost() -> Says {
    Says::Fails(Fault::Lost { phase: Phase::Write, reason: "no route".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn tasks_wait_half_a_second_for_others_to_go_with_them() {
    let scene = Scene::new([]);
    scene.renew("a");
    pass(300).await;
    scene.renew("b");
    pass(199).await;
    assert_eq!(scene.heard(), []);
    pass(2).await;
    let items = vec![(Action::Heartbeat, "a".to_owned()), (Action::Heartbeat, "b".to_owned())];
    assert_eq!(scene.heard(), [(500, items)]);
}

#[tokio::test(start_paused = true)]
async fn a_whole_batch_waits_for_nobody_and_has_at_most_250_tasks() {
    let scene = Scene::new([]);
    for id in 0..600 {
        scene.renew(&id.to_string());
    }
    pass(100).await;
    let sizes = |scene: &Scene| scene.heard().iter().map(|(_, ids)| ids.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&scene), [250, 250]);
    pass(500).await;
    assert_eq!(sizes(&scene), [250, 250, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_peer_is_sent_the_same_again_after_a_second_then_two_then_four() {
    let scene = Scene::new([refused(503), late(), refused(503), Says::All(200)]);
    scene.renew("a");
    pass(60_000).await;
    let waits: Vec<u64> = scene.moments().windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(waits.len(), 3, "{waits:?}");
    for (wait, most) in waits.iter().zip([1_000, 2_000, 4_000]) {
        assert!((most * 3 / 4..=most).contains(wait), "{waits:?}");
    }
    let figures = scene.peer.figures();
    assert_eq!((figures.sent, figures.failed_batches, figures.queued), (1, 3, 0));
    assert_eq!(figures.contact, Contact::Available);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_cannot_be_reached_is_tried_sooner_but_at_most_every_half_minute_in_the_end() {
    let scene = Scene::new((0..40).map(|_| lost()));
    scene.renew("a");
    pass(300_000).await;
    let moments = scene.moments();
    let waits: Vec<u64> = moments.windows(2).map(|two| two[1] - two[0]).collect();
    assert!((75..=100).contains(&waits[0]) && (150..=200).contains(&waits[1]), "{waits:?}");
    assert!(waits[9..].iter().all(|wait| (22_500..=30_000).contains(wait)), "{waits:?}");
    assert!(moments.len() < 25, "{} tries in five minutes", moments.len());
    assert_eq!(scene.peer.figures().contact, Contact::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn what_no_repetition_would_help_is_dropped() {
    let scene = Scene::new([refused(404), Says::Each(vec![]), refused(500)]);
    for id in ["a", "b", "c"] {
        scene.renew(id);
        pass(20_000).await;
    }
    let figures = scene.peer.figures();
    assert_eq!((scene.heard().len(), figures.refused, figures.queued), (3, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn one_bad_task_keeps_no_good_one_from_being_sent() {
    let scene = Scene::new([]);
    *scene.script.unwanted.lock().expect("nobody panicked") = Some("3".to_owned());
    for id in 0..8 {
        scene.renew(&id.to_string());
    }
    pass(5_000).await;
    let sizes: Vec<usize> = scene.heard().iter().map(|(_, ids)| ids.len()).collect();
    assert_eq!(sizes, [8, 4, 2, 4, 2, 1, 2, 1, 1, 2, 1]);
    let figures = scene.peer.figures();
    assert_eq!((figures.queued, figures.sent, figures.refused), (0, 7, 1));
}

#[tokio::test(start_paused = true)]
async fn while_a_peer_is_down_heartbeats_come_together_in_one_task_and_expire_in_time() {
    let scene = Scene::new((0..1_000).map(|_| lost()));
    let hasty = Instance {
        lease: Some(Lease { renewal_interval_secs: 2, ..Lease::default() }),
        ..held("hasty")
    };
    for _ in 0..1_000 {
        scene.renew("a");
        scene.peer.tell(News::renewed(hasty.key(), &hasty));
        pass(10).await;
    }
    assert!(scene.peer.figures().queued <= 2);
    assert!(scene.peer.figures().replaced > 1_900);
    pass(120_000).await;
    assert_eq!((scene.peer.figures().queued, scene.peer.figures().expired), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_the_peer_does_not_know_brings_it_the_whole_instance_as_it_is_now() {
    let scene = Scene::new([Says::All(404)]);
    scene.registry.register(held("a")).await.expect("there is room");
    scene.renew("a");
    scene.renew("gone");
    pass(2_000).await;
    let heard = scene.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[1].1, [(Action::Register, "a".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_newer_at_the_peer_is_taken_with_its_override_and_told_to_nobody() {
    let mut newer = Instance { dirty_at: 9, ..held("a") };
    (newer.status, newer.status_override) = (Status::OutOfService, Some(Status::OutOfService));
    let conflict = Answer { status: 409, instance: Some(Arc::new(newer)) };
    let scene = Scene::new([Says::Each(vec![conflict])]);
    scene.registry.register(held("a")).await.expect("there is room");
    scene.renew("a");
    pass(2_000).await;
    let now = scene.registry.instance(&Key::new("web", "a")).expect("it is held");
    let out = Status::OutOfService;
    assert_eq!((now.dirty_at, now.status, now.status_override), (9, out, Some(out)));
    assert_eq!(scene.heard().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_once_more_when_the_server_stops() {
    let scene = Scene::new([]);
    scene.peer.tell(News::left(Key::new("web", "a")));
    pass(10).await;
    assert_eq!(scene.stopped().await, [(10, vec![(Action::Cancel, "a".to_owned())])]);
    let down = Scene::new([lost()]);
    down.peer.tell(News::left(Key::new("web", "a")));
    pass(10).await;
    assert_eq!(down.stopped().await.len(), 1, "a peer that is down is not waited for");
}
