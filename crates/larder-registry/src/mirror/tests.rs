use super::*;
use crate::conformance;
use crate::memory::{self, Memory};

fn memory() -> Arc<Memory> {
    Arc::new(Memory::start(memory::Options::default(), Clock::running()))
}

async fn mirror_of(behind: Arc<dyn Backend>) -> Mirror {
    let mirror = Mirror::start(behind, 1_000, Clock::running());
    assert!(mirror.wait_until_ready(Duration::from_secs(5)).await);
    mirror
}

#[tokio::test(start_paused = true)]
async fn a_mirror_of_memory_conforms() {
    let start = async || Arc::new(mirror_of(memory()).await) as Arc<dyn Backend>;
    conformance::suite(start).await;
}

#[tokio::test(start_paused = true)]
async fn a_dormant_mirror_asks_nobody_until_it_is_woken() {
    let behind = memory();
    behind.register(Instance::new("orders", "1")).await.expect("there is room");
    let mirror = Mirror::dormant(behind, 1_000, Clock::running());
    assert!(!mirror.wait_until_ready(Duration::from_secs(60)).await);
    assert_eq!(mirror.copy(), Some(Copied::Nothing));
    mirror.wake();
    assert!(mirror.wait_until_ready(Duration::from_secs(5)).await);
    assert_eq!(mirror.snapshot().len(), 1);
    mirror.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_was_never_woken_can_be_closed() {
    let mirror = Mirror::dormant(memory(), 1_000, Clock::running());
    mirror.close().await;
}
