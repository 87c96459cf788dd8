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
