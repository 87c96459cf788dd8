//! The suite that every backend passes, and what is Consul's own about this one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Clock, Ticker};
use larder_consul::backend::{ConsulClient, Options};
use larder_registry::model::{
    Check, CheckKey, Health, Instance, Key, Lease, Name, Port, Probe, Status, Weights,
};
use larder_registry::{Backend, Error, Report, Reporter, conformance};

use crate::support::{Consul, backend};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn a_consul_is_a_backend() {
    let consul = Consul::start().await;
    let clock = Clock::running();
    let _ticker = Ticker::start(clock.clone(), Ticker::PERIOD);
    conformance::suite(async || {
        consul.empty().await;
        let options = Options { client: consul.client_options(), ..Options::default() };
        Arc::new(ConsulClient::connect(&options, &clock).expect("good options")) as Arc<dyn Backend>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn what_consul_has_no_field_for_comes_back_all_the_same() {
    let consul = Consul::start().await;
    let (client, _ticker) = consul.connect();
    let mut instance = Instance::new("Orders", "h:1/a b");
    instance.version = "1.2".to_owned();
    instance.address.host = Some("orders.local".to_owned());
    instance.address.ip = Some("10.0.0.1".to_owned());
    instance.address.port = Some(Port { number: 80, enabled: true });
    instance.address.secure_port = Some(Port { number: 443, enabled: false });
    instance.tags = vec!["blue".to_owned(), "ü".to_owned()];
    instance.metadata.insert("zone".to_owned(), "a".to_owned());
    instance.metadata.insert("no key of Consul's".to_owned(), "x".repeat(2000));
    instance.vips.plain = Some("orders,o2".to_owned());
    instance.group = Some("g".to_owned());
    instance.weights = Some(Weights { passing: 3, warning: 1 });
    instance.lease = Some(Lease { duration_secs: 30, ..Lease::default() });
    instance.dirty_at = 7;
    let written = client.register(instance.clone()).await.expect("it has a form");
    let listed = client.service(&Name::new("orders")).await.expect("it was registered");
    let held = listed.get("h:1/a b").expect("it was registered");
    assert_eq!(**held, *written, "the agent and the servers say the same");
    let same_lease = |one: &Lease, other: &Lease| one.duration_secs == other.duration_secs;
    assert!(held.says_the_same(&instance, same_lease), "{held:?}");
    let shown = consul.get("/v1/health/service/Orders").await;
    assert_eq!(shown[0]["Service"]["Address"], "10.0.0.1");
    assert_eq!(shown[0]["Service"]["Port"], 80);
    assert_eq!(shown[0]["Service"]["Meta"]["zone"], "a");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn a_registration_that_repeats_itself_only_renews_and_wakes_nobody() {
    let consul = Consul::start().await;
    let (client, _ticker) = consul.connect();
    let lease = Some(Lease { duration_secs: 2, ..Lease::default() });
    let instance = Instance { lease, ..Instance::new("web", "1") };
    client.register(instance.clone()).await.expect("it has a form");
    let index = |shown: &serde_json::Value| shown[0]["Service"]["ModifyIndex"].as_u64();
    let before = index(&consul.get("/v1/health/service/web").await);
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.register(instance.clone()).await.expect("it has a form");
    }
    assert_eq!(index(&consul.get("/v1/health/service/web").await), before);
    let service = client.service(&Name::new("web")).await.expect("its lease was renewed");
    assert_eq!(service.len(), 1);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn checks_with_a_ttl_are_reported_and_others_are_consuls() {
    let consul = Consul::start().await;
    let (client, _ticker) = consul.connect();
    let client = backend(&client);
    let mut instance = Instance::new("web", "1");
    instance.checks = vec![
        Check::new("alive", Probe::Ttl(Duration::from_secs(60))),
        Check {
            interval: Duration::from_secs(10),
            ..Check::new("open", Probe::Tcp(consul.address.to_string()))
        },
    ];
    let held = client.register(instance).await.expect("it has a form");
    assert_eq!(held.effective_status(), Status::Down, "nobody has said anything good of it");
    let check = |id: &str| CheckKey::new(Key::new("web", "1"), id);
    let report = |from, health| Report { from, health, output: "said so".to_owned() };
    let held = client
        .report(&check("alive"), report(Reporter::Registrant, Health::Passing))
        .await
        .expect("it has a ttl");
    let alive = held.check("alive").expect("it is there");
    assert_eq!((alive.health, &*alive.output), (Health::Passing, "said so"));
    let answer = client.report(&check("open"), report(Reporter::Registrant, Health::Passing)).await;
    assert!(matches!(answer, Err(Error::Probed(_))), "{answer:?}");
    let answer = client.report(&check("none"), report(Reporter::Registrant, Health::Passing)).await;
    assert!(matches!(answer, Err(Error::NotFound(_))), "{answer:?}");
    // Consul's agent finds its own port open.
    let up = async {
        loop {
            let service = client.service(&Name::new("web")).await.expect("it is registered");
            let health: BTreeMap<_, _> = service
                .instances()
                .flat_map(|held| held.checks.iter().map(|check| (check.id.clone(), check.health)))
                .collect();
            if health.get("open") == Some(&Health::Passing) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(25), up).await.expect("it is probed");
    client.close().await;
}
