//! Watches over a real Consul: what others do is told, and outages are outlasted.

use std::time::Duration;

use larder_registry::model::{Instance, Name};
use larder_registry::{Backend, Event};

use crate::support::{Consul, PATIENCE, listing, next};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn what_others_do_is_told_in_order() {
    let consul = Consul::start().await;
    let (client, _ticker) = consul.connect();
    let mut watch = client.watch(None).await.expect("it can watch");
    assert!(listing(&mut *watch).await.is_empty(), "Consul's own service is not shown");
    consul.put("/v1/agent/service/register", r#"{"Name":"web","ID":"w1","Port":80}"#).await;
    let Event::Apply { revision, instance } = next(&mut *watch).await else { panic!("it came") };
    assert_eq!(instance.key().to_string(), "web/w1");
    assert_eq!(instance.address.port.map(|port| port.number), Some(80));
    consul.put("/v1/agent/service/maintenance/w1?enable=true", "").await;
    let Event::Apply { revision: then, instance } = next(&mut *watch).await else {
        panic!("it changed")
    };
    assert!(then > revision && instance.status_override.is_some(), "{instance:?}");
    consul.put("/v1/agent/service/deregister/w1", "").await;
    // Its check may go before it does.
    let gone = loop {
        match next(&mut *watch).await {
            Event::Delete { instance, .. } => break instance,
            Event::Apply { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(gone.key().to_string(), "web/w1");
    client.close().await;
    assert!(watch.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn a_consul_that_comes_back_with_less_than_it_had_is_followed() {
    let mut consul = Consul::start().await;
    let (client, _ticker) = consul.connect();
    for id in ["1", "2"] {
        client.register(Instance::new("web", id)).await.expect("it has a form");
    }
    let mut watch = client.watch(Some(Name::new("web"))).await.expect("it can watch");
    assert_eq!(listing(&mut *watch).await, ["web/1", "web/2"]);
    consul.die();
    let trouble = tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time");
    assert!(trouble.expect("it goes on").is_err());
    consul.spawn().await;
    let mut gone = 0;
    while gone < 2 {
        match next(&mut *watch).await {
            Event::Resumed => {}
            Event::Delete { .. } => gone += 1,
            other => panic!("{other:?}"),
        }
    }
    client.register(Instance::new("web", "3")).await.expect("it has a form");
    let Event::Apply { instance, .. } = next(&mut *watch).await else { panic!("it came") };
    assert_eq!(instance.id, "3");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn many_services_share_what_connections_there_are() {
    let consul = Consul::start().await;
    let clock = larder_cache::Clock::running();
    let _ticker = larder_cache::Ticker::start(clock.clone(), larder_cache::Ticker::PERIOD);
    let options = larder_consul::backend::Options {
        client: larder_consul::client::Options { max_connections: 8, ..consul.client_options() },
        ..larder_consul::backend::Options::default()
    };
    let client = larder_consul::backend::ConsulClient::connect(&options, &clock).expect("good");
    for number in 0..40 {
        client.register(Instance::new(&format!("s{number}"), "1")).await.expect("it has a form");
    }
    let mut watch = client.watch(None).await.expect("it can watch");
    assert_eq!(listing(&mut *watch).await.len(), 40);
    for number in 0..40 {
        client.register(Instance::new(&format!("s{number}"), "2")).await.expect("it has a form");
    }
    let all = async {
        let mut come = 0;
        while come < 40 {
            if let Event::Apply { instance, .. } = next(&mut *watch).await {
                come += usize::from(instance.id == "2");
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("each has its turn");
    client.close().await;
}
