//! Watches of the backend, over an agent that fails in every way.

use std::sync::Arc;

use larder_cache::{Clock, Ticker};
use larder_consul::backend::{ConsulClient, Options};
use larder_consul::client;
use larder_consul::question::Token;
use larder_registry::model::{Instance, Key, Name};
use larder_registry::{Backend, Error, Event, Watch};

use crate::support::{Mood, PATIENCE, Upstream};

const NAMES: &str = "/v1/catalog/services";
const WEB: &str = "/v1/health/service/web";

fn connect(client: client::Options) -> (Arc<ConsulClient>, Ticker) {
    let clock = Clock::running();
    let options = Options { client, ..Options::default() };
    let backend = ConsulClient::connect(&options, &clock).expect("good options");
    (Arc::new(backend), Ticker::start(clock, Ticker::PERIOD))
}

fn instances(ids: &[&str]) -> String {
    let entry = |id: &&str| {
        format!(
            r#"{{"Node":{{"Node":"n","Address":"10.0.0.1"}},"Service":{{"ID":"{id}","Service":"web","Port":80}}}}"#
        )
    };
    format!("[{}]", ids.iter().map(entry).collect::<Vec<_>>().join(","))
}

async fn next(watch: &mut dyn Watch) -> Option<Result<Event, Error>> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time")
}

/// In short, as what is told next.
async fn told(watch: &mut dyn Watch) -> String {
    match next(watch).await {
        None => "end".to_owned(),
        Some(Err(Error::Unavailable { .. })) => "!".to_owned(),
        Some(Err(error)) => format!("! {error}"),
        Some(Ok(Event::Init)) => "init".to_owned(),
        Some(Ok(Event::InitApply(held))) => held.key().to_string(),
        Some(Ok(Event::InitDone { revision })) => format!("={revision}"),
        Some(Ok(Event::Apply { revision, instance })) => format!("+{}@{revision}", instance.key()),
        Some(Ok(Event::Delete { revision, instance })) => format!("-{}@{revision}", instance.key()),
        Some(Ok(Event::Resumed)) => "~".to_owned(),
    }
}

async fn expect(watch: &mut dyn Watch, expected: &[&str]) {
    for expected in expected {
        assert_eq!(told(watch).await, *expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_listed_and_followed_but_consul_itself() {
    let upstream = Upstream::start();
    upstream.stage.set(NAMES, 3, r#"{"consul":[],"web":[]}"#);
    upstream.stage.set(WEB, 5, &instances(&["1", "2"]));
    let (client, _ticker) = connect(upstream.options());
    let mut watch = client.watch(None).await.expect("it can watch");
    expect(&mut *watch, &["init", "web/1", "web/2", "=5"]).await;
    upstream.stage.set(WEB, 6, &instances(&["2", "3"]));
    expect(&mut *watch, &["-web/1@6"]).await;
    assert!(watch.is_amid_step(), "one answer is one step");
    expect(&mut *watch, &["+web/3@6"]).await;
    assert!(!watch.is_amid_step());
    upstream.stage.set(NAMES, 9, r#"{"consul":[]}"#);
    expect(&mut *watch, &["-web/2@9", "-web/3@9"]).await;
    assert_eq!(upstream.stage.asked("/v1/health/service/consul"), 0);
    let mut hidden = client.watch(Some(Name::new("Consul"))).await.expect("it can watch");
    expect(&mut *hidden, &["init", "=0"]).await;
    client.close().await;
    expect(&mut *watch, &["end"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_watches_of_one_service_cost_one_query() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 5, &instances(&["1"]));
    let (client, _ticker) = connect(upstream.options());
    let mut watches = Vec::new();
    for name in ["web", "WEB"] {
        watches.push(client.watch(Some(Name::new(name))).await.expect("it can watch"));
    }
    for watch in &mut watches {
        expect(&mut **watch, &["init", "web/1", "=5"]).await;
    }
    upstream.stage.set(WEB, 6, &instances(&["1", "2"]));
    for watch in &mut watches {
        expect(&mut **watch, &["+web/2@6"]).await;
    }
    assert!(upstream.stage.parked(WEB) <= 1);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_once_and_so_is_its_end() {
    let mut upstream = Upstream::start();
    upstream.stage.set(NAMES, 3, r#"{"web":[]}"#);
    upstream.stage.set(WEB, 5, &instances(&["1"]));
    let (client, _ticker) = connect(upstream.options());
    let mut watch = client.watch(None).await.expect("it can watch");
    expect(&mut *watch, &["init", "web/1", "=5"]).await;
    upstream.die();
    expect(&mut *watch, &["!"]).await;
    upstream.stage.set(WEB, 7, &instances(&["1", "2"]));
    upstream.come_back();
    let mut after = vec![told(&mut *watch).await, told(&mut *watch).await];
    after.sort();
    assert_eq!(after, ["+web/2@7", "~"]);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_begins_in_an_outage_lists_when_it_is_over() {
    let mut upstream = Upstream::start();
    upstream.stage.set(NAMES, 3, "{}");
    upstream.die();
    let (client, _ticker) = connect(upstream.options());
    let mut watch = client.watch(None).await.expect("it can watch");
    expect(&mut *watch, &["!"]).await;
    upstream.come_back();
    expect(&mut *watch, &["init", "=3"]).await;
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_json_changes_nothing_and_is_told() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 5, &instances(&["1"]));
    let (client, _ticker) = connect(upstream.options());
    let mut watch = client.watch(Some(Name::new("web"))).await.expect("it can watch");
    expect(&mut *watch, &["init", "web/1", "=5"]).await;
    upstream.stage.set(WEB, 6, "<html>");
    expect(&mut *watch, &["!"]).await;
    let read = client.service(&Name::new("web")).await;
    let says = read.expect_err("it cannot be read").to_string();
    assert!(says.contains("none of a Consul agent"), "{says}");
    upstream.stage.set(WEB, 7, &instances(&["1"]));
    expect(&mut *watch, &["~"]).await;
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_read_whole() {
    let upstream = Upstream::start();
    let ids: Vec<String> = (0..2_000).map(|number| format!("i{number:04}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    upstream.stage.set(WEB, 5, &instances(&ids));
    let (client, _ticker) = connect(upstream.options());
    let mut watch = client.watch(Some(Name::new("web"))).await.expect("it can watch");
    expect(&mut *watch, &["init"]).await;
    for id in ids {
        assert_eq!(told(&mut *watch).await, format!("web/{id}"));
    }
    expect(&mut *watch, &["=5"]).await;
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_told_as_that_and_asked_with_again() {
    let upstream = Upstream::start();
    upstream.stage.set(NAMES, 3, r#"{"web":[]}"#);
    upstream.stage.set(WEB, 5, &instances(&["1"]));
    let token = Token::new("ours");
    let (client, _ticker) = connect(client::Options { token, ..upstream.options() });
    let mut watch = client.watch(None).await.expect("it can watch");
    expect(&mut *watch, &["init", "web/1", "=5"]).await;
    upstream.stage.refuse("ours");
    let news = next(&mut *watch).await;
    assert!(matches!(news, Some(Err(Error::Denied { .. }))), "{news:?}");
    let read = client.service(&Name::new("web")).await;
    assert!(matches!(read, Err(Error::Denied { .. })), "{read:?}");
    upstream.stage.set(WEB, 6, &instances(&["1", "2"]));
    upstream.stage.accept("ours");
    let mut after = vec![told(&mut *watch).await, told(&mut *watch).await];
    after.sort();
    assert_eq!(after, ["+web/2@6", "~"], "it is corrected without anybody's doing");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_to_an_agent_that_hangs_or_dies_say_that_it_does_not_answer() {
    let mut upstream = Upstream::start();
    let (client, _ticker) = connect(upstream.options());
    upstream.stage.be(Mood::Hangs);
    let answer = client.register(Instance::new("web", "1")).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    upstream.die();
    let answer = client.renew(&Key::new("web", "1"), None).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    client.close().await;
    let answer = client.deregister(&Key::new("web", "1")).await;
    assert!(matches!(answer, Err(Error::Closed)), "{answer:?}");
}
