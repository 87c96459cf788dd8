use super::*;
use crate::conformance;
use crate::memory::{self, Memory};

fn over_memory() -> Arc<dyn Backend> {
    let memory = Arc::new(Memory::start(memory::Options::default(), Clock::running()));
    Arc::new(RegistryCache::new(memory, Options::default()).expect("defaults make sense"))
}

#[tokio::test(start_paused = true)]
async fn a_cache_over_memory_conforms() {
    conformance::suite(async || over_memory()).await;
    conformance::checks(async || over_memory()).await;
}
