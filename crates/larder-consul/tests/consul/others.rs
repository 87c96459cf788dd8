//! What others registered with Consul can be read, taken out and removed.

use larder_registry::model::{Key, Name, Status};
use larder_registry::{Backend, Error, OverrideChange};

use crate::support::Consul;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn an_instance_of_somebody_elses_is_shown_overridden_and_removed() {
    let consul = Consul::start().await;
    let (client, _ticker) = consul.connect();
    let body = r#"{"Name":"web","ID":"w1","Address":"10.0.0.1","Port":80,"Tags":["a"],
        "Meta":{"v":"1"},"Check":{"TTL":"60s","Status":"passing"}}"#;
    consul.put("/v1/agent/service/register", body).await;
    let (name, key) = (Name::new("web"), Key::new("web", "w1"));
    let service = client.service(&name).await.expect("it is registered");
    let held = service.get("w1").expect("it is registered").clone();
    assert_eq!(held.address.ip.as_deref(), Some("10.0.0.1"));
    assert_eq!((held.metadata.get("v"), held.effective_status()), (Some("1"), Status::Up));
    let to = |to| OverrideChange { to, fallback: Status::Unknown, dirty_at: None };
    let out = client.set_override(&key, to(Some(Status::OutOfService))).await.expect("it can");
    assert_eq!(out.status, Status::OutOfService);
    let refused = client.set_override(&key, to(Some(Status::Starting))).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let back = client.set_override(&key, to(None)).await.expect("it can");
    assert_eq!((back.status, back.status_override), (Status::Up, None));
    client.renew(&key, None).await.expect("there is nothing to renew");
    client.deregister(&key).await.expect("it is registered");
    assert!(matches!(client.service(&name).await, Err(Error::NotFound(_))));
    client.close().await;
}
