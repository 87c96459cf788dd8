//! The suite that every backend passes, against a real etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{Server, connect};
use larder_etcd::Options;
use larder_registry::{Backend, conformance};

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_a_backend() {
    let server = Server::start().await;
    let cases = AtomicU32::new(0);
    conformance::suite(async || {
        let prefix = format!("/case/{}/", cases.fetch_add(1, Ordering::Relaxed));
        connect(Options { prefix, ..server.options() }) as Arc<dyn Backend>
    })
    .await;
}
