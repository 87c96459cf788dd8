//! The agent's cache in front of a real Consul says what that says.

use std::time::Duration;

use http::Method;
use larder_cache::{Clock, Ticker};
use larder_consul::client::Client;
use larder_consul::question::{Endpoint, KvForm, Question, Selection, Token};
use larder_consul::remote::{self, Agent, Unanswered};
use larder_consul::terms::Terms;

use crate::support::{Consul, PATIENCE, ROOT};

fn about(endpoint: Endpoint, kv: KvForm) -> Question {
    let selection = Selection { kv, ..Selection::default() };
    Question { endpoint, selection, token: Token::default() }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn every_endpoint_is_answered_as_consul_answers_it_and_followed() {
    let consul = Consul::start().await;
    consul.put("/v1/agent/service/register", r#"{"Name":"web","ID":"w1","Port":80}"#).await;
    consul.put("/v1/kv/a/b", "1").await;
    let clock = Clock::running();
    let _ticker = Ticker::start(clock.clone(), Ticker::PERIOD);
    let client = Client::new(&consul.client_options()).expect("good options");
    let agent = Agent::new(&client, remote::Options::default(), &clock).expect("good options");
    let node = consul.get("/v1/agent/self").await["Config"]["NodeName"]
        .as_str()
        .expect("a name")
        .to_owned();
    let entry = KvForm::Entry;
    let all = [
        (Endpoint::Datacenters, entry.clone(), "/v1/catalog/datacenters".to_owned()),
        (Endpoint::Nodes, entry.clone(), "/v1/catalog/nodes".to_owned()),
        (Endpoint::Services, entry.clone(), "/v1/catalog/services".to_owned()),
        (Endpoint::Service("web".into()), entry.clone(), "/v1/catalog/service/web".to_owned()),
        (Endpoint::Node(node.as_str().into()), entry.clone(), format!("/v1/catalog/node/{node}")),
        (
            Endpoint::NodeServices(node.as_str().into()),
            entry.clone(),
            format!("/v1/catalog/node-services/{node}"),
        ),
        (Endpoint::Health("web".into()), entry.clone(), "/v1/health/service/web".to_owned()),
        (Endpoint::Checks("consul".into()), entry.clone(), "/v1/health/checks/consul".to_owned()),
        (
            Endpoint::NodeChecks(node.as_str().into()),
            entry.clone(),
            format!("/v1/health/node/{node}"),
        ),
        (Endpoint::ChecksInState(None), entry.clone(), "/v1/health/state/any".to_owned()),
        (Endpoint::Kv("a/b".into()), entry, "/v1/kv/a/b".to_owned()),
        (Endpoint::Kv("a/b".into()), KvForm::Raw, "/v1/kv/a/b?raw".to_owned()),
        (Endpoint::Kv("a/".into()), KvForm::Recurse, "/v1/kv/a/?recurse".to_owned()),
        (
            Endpoint::Kv("".into()),
            KvForm::Keys { separator: "/".into() },
            "/v1/kv/?keys&separator=/".to_owned(),
        ),
    ];
    let cached = Terms { cached: true, ..Terms::default() };
    for (endpoint, kv, path) in all {
        let (status, direct) = consul.ask(Method::GET, &path, "").await;
        let question = about(endpoint, kv);
        for terms in [&cached, &Terms::default(), &cached] {
            let read = agent.read(&question, terms, PATIENCE).await.expect("it is answered");
            assert_eq!(read.answer.status.as_u16(), status, "{path}");
            assert_eq!(String::from_utf8_lossy(&read.answer.body), direct, "{path}");
            assert!(read.index > 0 || path.contains("datacenters"), "{path}");
        }
    }
    let question = about(Endpoint::Health("web".into()), KvForm::Entry);
    let before = agent.read(&question, &cached, PATIENCE).await.expect("it is answered");
    let waiting = Terms { index: before.index, ..Terms::default() };
    let (after, ()) = tokio::join!(agent.read(&question, &waiting, PATIENCE), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        consul.put("/v1/agent/service/register", r#"{"Name":"web","ID":"w2","Port":81}"#).await;
    });
    let after = after.expect("it is answered");
    assert!(after.index > before.index);
    assert!(String::from_utf8_lossy(&after.answer.body).contains("w2"));
    // A compare-and-set loop: each step reads what the last one wrote.
    let key = about(Endpoint::Kv("count".into()), KvForm::Raw);
    for step in 0..20 {
        consul.put("/v1/kv/count", &step.to_string()).await;
        let read = agent.read(&key, &Terms::default(), PATIENCE).await.expect("it is answered");
        assert_eq!(read.answer.body, step.to_string());
    }
    agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Consul: LARDER_CONSUL=/path/to/consul cargo test -p larder-consul -- --ignored"]
async fn a_token_that_is_deleted_is_served_no_longer_than_consul_takes_to_notice() {
    let consul = Consul::start_with_tokens().await;
    let (accessor, secret) =
        ("99999999-2222-3333-4444-555555555555", "88888888-2222-3333-4444-555555555555");
    let policy = "00000000-0000-0000-0000-000000000001";
    let body = format!(
        r#"{{"AccessorID":"{accessor}","SecretID":"{secret}","Policies":[{{"ID":"{policy}"}}]}}"#
    );
    consul.put("/v1/acl/token", &body).await;
    let clock = Clock::running();
    let _ticker = Ticker::start(clock.clone(), Ticker::PERIOD);
    let client = Client::new(&consul.client_options()).expect("good options");
    let keeping = remote::Options { wait: Duration::from_secs(1), ..remote::Options::default() };
    let agent = Agent::new(&client, keeping, &clock).expect("good options");
    let endpoint = || Endpoint::Health("consul".into());
    let with = |token| Question { token: Token::new(token), ..about(endpoint(), KvForm::Entry) };
    let cached = Terms { cached: true, ..Terms::default() };
    for token in [secret, ROOT] {
        let read = agent.read(&with(token), &cached, PATIENCE).await.expect("it may be read");
        assert_eq!(read.answer.status.as_u16(), 200, "{token}");
    }
    let (status, says) = consul.ask(Method::DELETE, &format!("/v1/acl/token/{accessor}"), "").await;
    assert_eq!(status, 200, "{says}");
    let refused = async {
        loop {
            match agent.read(&with(secret), &cached, PATIENCE).await {
                Err(Unanswered::Refused(answer)) => return answer,
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, refused).await.expect("it is noticed");
    assert_eq!(answer.status.as_u16(), 403);
    assert!(String::from_utf8_lossy(&answer.body).contains("ACL not found"), "{answer:?}");
    agent.read(&with(ROOT), &cached, PATIENCE).await.expect("it may still be read");
    agent.close().await;
}
