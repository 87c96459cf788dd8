use super::*;
use crate::backend::View;
use crate::conformance;
use crate::event::Event;
use crate::memory::{self, Memory};
use crate::mirror::Mirror;

fn memory() -> Arc<Memory> {
    Arc::new(Memory::start(memory::Options::default(), Clock::running()))
}

fn guarded(memory: Arc<Memory>, mode: Mode) -> Arc<Guarded> {
    let options = Options { mode, ..Options::default() };
    Arc::new(Guarded::new(memory, options, Clock::running()))
}

#[tokio::test(start_paused = true)]
async fn a_guarded_backend_conforms_in_every_mode() {
    for mode in [Mode::Off, Mode::Warn, Mode::On] {
        conformance::suite(async || guarded(memory(), mode) as Arc<dyn Backend>).await;
        conformance::checks(async || guarded(memory(), mode) as Arc<dyn Backend>).await;
    }
}

async fn filled(instances: usize) -> Arc<Memory> {
    let memory = memory();
    for id in 0..instances {
        memory.register(Instance::new("orders", &id.to_string())).await.expect("there is room");
    }
    memory
}

async fn vanish(memory: &Memory, ids: std::ops::Range<usize>) {
    for id in ids {
        memory.deregister(&Key::new("orders", &id.to_string())).await.expect("it is there");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_behind_a_guard_keeps_what_vanished_until_time_or_an_operator_says_so() {
    for by_operator in [false, true] {
        let memory = filled(20).await;
        let guard = guarded(memory.clone(), Mode::On);
        let mirror = Mirror::start(guard.clone(), 1_000, Clock::running());
        assert!(mirror.wait_until_ready(Duration::from_secs(5)).await);
        vanish(&memory, 0..19).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((mirror.snapshot().len(), guard.held()), (10, 9));
        if by_operator {
            guard.confirm();
        } else {
            tokio::time::sleep(Duration::from_secs(90)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((mirror.snapshot().len(), guard.held()), (1, 0), "operator: {by_operator}");
        mirror.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_takes_what_it_held_out_of_the_count() {
    let memory = filled(20).await;
    let guard = guarded(memory.clone(), Mode::On);
    let mut watch = guard.watch(None).await.expect("it is open");
    while !matches!(watch.next().await, Some(Ok(Event::InitDone { .. }))) {}
    vanish(&memory, 0..20).await;
    let read = async { while watch.next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), read).await;
    assert_eq!(guard.held(), 10);
    drop(watch);
    assert_eq!(guard.held(), 0);
}
