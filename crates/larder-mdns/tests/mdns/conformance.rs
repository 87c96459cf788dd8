//! The suite that every backend passes, over real multicast.

use std::sync::Arc;

use crate::support::{network, start};
use larder_mdns::Options;
use larder_registry::{Backend, conformance};

#[tokio::test(flavor = "multi_thread")]
async fn multicast_dns_is_a_backend() {
    let network = network();
    conformance::suite(async || Arc::new(start(&network)) as Arc<dyn Backend>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multicast_dns_holds_checks() {
    let network = network();
    conformance::checks(async || Arc::new(start(&network)) as Arc<dyn Backend>).await;
}

/// The same, but with another backend on the network that must not be in the way.
#[tokio::test(flavor = "multi_thread")]
async fn multicast_dns_is_a_backend_beside_another() {
    let network = network();
    let other =
        start(&Options { query_interval: std::time::Duration::from_millis(50), ..network.clone() });
    let watch = other.watch(None).await.expect("it is open");
    conformance::suite(async || Arc::new(start(&network)) as Arc<dyn Backend>).await;
    drop(watch);
    other.close().await;
}
