//! A handler that answers with bytes which never change: what is left for a server to lose.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::routing::get;
use larder_bench::eureka::instance;
use larder_cache::Clock;
use larder_eureka::regions::RegionSet;
use larder_eureka::response_cache::{self, Encoding, Entity, Key, ResponseCache};
use larder_eureka::wire::Form;
use larder_registry::{Memory, Registry, memory};

/// Serves the list of so many instances in gzip JSON, in one piece, and an empty answer to a heartbeat.
pub(crate) async fn serve(instances: usize) {
    let body = list(instances).await;
    let headers = [(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")];
    let router = Router::new()
        .route("/eureka/apps/", get(move || async move { (headers, body) }))
        .fallback(|| async {});
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("listening on http://{}", listener.local_addr().expect("it is bound"));
    axum::serve(listener, router).await.expect("it serves");
}

async fn list(instances: usize) -> Bytes {
    let clock = Clock::running();
    let registry: Arc<dyn Registry> =
        Arc::new(Memory::start(memory::Options::default(), clock.clone()));
    let options = response_cache::Options::default();
    let responses = ResponseCache::observing(&registry, options, clock).expect("valid options");
    for number in 0..instances {
        registry.register(instance(number)).await.expect("there is room");
    }
    let regions = RegionSet::LOCAL;
    let key = Key { entity: Entity::Apps, form: Form::Json, encoding: Encoding::Gzip, regions };
    let read = responses.get(&key).await.expect("the encoder is well");
    read.expect("there is a list").to_bytes()
}
