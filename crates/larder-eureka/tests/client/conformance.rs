//! The suite that every backend passes.

use std::sync::Arc;
use std::time::Duration;

use larder_eureka::Options;
use larder_eureka::response_cache::ReadOnlyTier;
use larder_registry::model::Key;
use larder_registry::{Backend, conformance};

use crate::support::{PATIENCE, Server, connect};

#[tokio::test(flavor = "multi_thread")]
async fn a_eureka_server_is_a_backend() {
    conformance::suite(async || {
        let server = Server::start().await;
        connect(server.options()) as Arc<dyn Backend>
    })
    .await;
}

/// As Netflix's are by default, of 30 seconds there.
#[tokio::test(flavor = "multi_thread")]
async fn a_eureka_server_whose_lists_are_late_is_a_backend_all_the_same() {
    conformance::suite(async || {
        let tier = ReadOnlyTier::Timer(Duration::from_secs(2));
        let server = Server::with_tier(tier).await;
        connect(server.options()) as Arc<dyn Backend>
    })
    .await;
}

/// The server is emptied before every case. Its leases must run out within 20 seconds: let it look often
/// (`eureka.server.eviction-interval-timer-in-ms=500`), without self-preservation
/// (`eureka.server.enable-self-preservation=false`); and with
/// `eureka.server.use-read-only-response-cache=false` the suite takes seconds in place of minutes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Eureka server: LARDER_TEST_EUREKA=127.0.0.1:8761 cargo test -p larder-eureka -- --ignored"]
#[expect(clippy::disallowed_methods, reason = "only whoever runs the server knows where it is")]
async fn somebody_elses_eureka_server_is_a_backend() {
    let server = std::env::var("LARDER_TEST_EUREKA").expect("LARDER_TEST_EUREKA=HOST:PORT[/PATH]");
    let options =
        Options { servers: vec![server], poll: Duration::from_millis(500), ..Options::default() };
    conformance::suite(async || {
        empty(&options).await;
        connect(options.clone()) as Arc<dyn Backend>
    })
    .await;
}

/// Removes everything, and waits until lists say so: a client that knows of no removal has to see it.
async fn empty(options: &Options) {
    let emptying = async {
        loop {
            let client = connect(options.clone());
            let names = client.services().await.expect("it answers");
            let mut keys: Vec<Key> = Vec::new();
            for name in &names {
                let service = client.service(name).await.expect("it was just listed");
                keys.extend(service.instances().map(|held| held.key()));
            }
            for key in &keys {
                // One that is gone already is still in old lists.
                let _ = client.deregister(key).await;
            }
            client.close().await;
            if keys.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let emptied = tokio::time::timeout(6 * PATIENCE, emptying).await;
    emptied.expect("a server without its own registrants can be emptied");
}
