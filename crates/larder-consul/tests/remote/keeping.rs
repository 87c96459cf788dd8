//! Copies are kept fresh by one query each, and readers are answered from them.

use std::time::Duration;

use larder_consul::question::Endpoint;
use larder_consul::terms::{CacheControl, Consistency, Terms};
use larder_consul::{client, remote};

use crate::support::{
    Front, Mood, PATIENCE, Upstream, about, cached, cached_with, health, kv, text, until,
};

const WEB: &str = "/v1/health/service/web";

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_readers_who_wait_cost_one_query_and_all_hear_of_the_change() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    let readers: Vec<_> = (0..100).map(|_| front.park(&health("web"), 7)).collect();
    until("a query waits", || upstream.stage.parked(WEB) == 1).await;
    until("everyone is parked", || front.agent.stats().0.parked == 100).await;
    let asked = upstream.stage.asked(WEB);
    assert_eq!(asked, 2, "one for the value, and one that waits");
    upstream.stage.set(WEB, 8, "[1,2]");
    for reader in readers {
        let read = reader.await.expect("it ran").expect("it was answered");
        assert_eq!((text(&read), read.index), ("[1,2]", 8));
    }
    assert!(upstream.stage.asked(WEB) <= asked + 1, "and the next that waits");
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_who_wait_for_a_hundred_services_cost_a_hundred_queries() {
    let upstream = Upstream::start();
    let path = |service: usize| format!("/v1/health/service/s{service}");
    for service in 0..100 {
        upstream.stage.set(&path(service), 7, "[1]");
    }
    // A busy machine may take a while for a hundred questions.
    let patient = client::Options { call_timeout: PATIENCE, ..upstream.options() };
    let front = Front::with(&patient, remote::Options::default());
    let readers: Vec<_> =
        (0..1_000).map(|reader| front.park(&health(&format!("s{}", reader % 100)), 7)).collect();
    until("everyone is parked", || front.agent.stats().0.parked == 1_000).await;
    until("each has its query", || (0..100).all(|it| upstream.stage.parked(&path(it)) == 1)).await;
    let asked: usize = (0..100).map(|service| upstream.stage.asked(&path(service))).sum();
    assert_eq!(asked, 200, "one for the value and one that waits");
    for service in 0..100 {
        upstream.stage.set(&path(service), 8, "[2]");
    }
    for reader in readers {
        assert_eq!(text(&reader.await.expect("it ran").expect("it was answered")), "[2]");
    }
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_given_without_asking_and_follows_what_changes() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    let first = front.read(&health("web"), &cached()).await.expect("it is there");
    assert_eq!((text(&first), first.index, first.from_cache), ("[1]", 7, false));
    assert!(first.answer.headers.contains_key("x-consul-knownleader"));
    assert!(!first.answer.headers.contains_key("x-consul-index"), "it is said anew");
    until("a query waits", || upstream.stage.parked(WEB) == 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let hit = front.read(&health("web"), &cached()).await.expect("it is there");
    assert!(hit.from_cache && hit.stale.is_none());
    assert_eq!(hit.age, Duration::ZERO, "the upstream would have told");
    upstream.stage.set(WEB, 9, "[2]");
    let mut seen = String::new();
    while seen != "[2]" {
        let hit = front.read(&health("web"), &cached()).await.expect("it is there");
        assert!(hit.from_cache);
        text(&hit).clone_into(&mut seen);
    }
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_time_is_over_a_reader_gets_what_there_is() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    let wait = Some(Duration::from_millis(300));
    let terms = Terms { index: 7, wait, ..Terms::default() };
    let read = front.read(&health("web"), &terms).await.expect("it is there");
    assert_eq!((text(&read), read.index), ("[1]", 7));
    assert!(read.stale.is_none());
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_above_the_present_one_is_answered_at_once() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    let terms = Terms { index: 1_000, wait: Some(Duration::from_secs(60)), ..Terms::default() };
    let read = front.read(&health("web"), &terms).await.expect("it is there");
    assert_eq!(read.index, 7);
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_read_asks_beside_the_query_that_waits() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    front.read(&health("web"), &cached()).await.expect("it is there");
    until("a query waits", || upstream.stage.parked(WEB) == 1).await;
    let asked = upstream.stage.asked(WEB);
    for _ in 0..5 {
        let read = front.read(&health("web"), &Terms::default()).await.expect("it is there");
        assert!(!read.from_cache);
    }
    assert_eq!(upstream.stage.asked(WEB), asked + 5);
    assert_eq!(upstream.stage.parked(WEB), 1);
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_revalidated_is_asked_for() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    let must = CacheControl { must_revalidate: true, ..CacheControl::default() };
    for times in 1..4 {
        let read = front.read(&health("web"), &cached_with(must)).await.expect("it is there");
        assert!(!read.from_cache);
        assert_eq!(upstream.stage.asked(WEB), times);
    }
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_is_answered_from_the_copy() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    let max_stale = Some(Duration::from_secs(5));
    let terms = Terms { consistency: Consistency::Stale, max_stale, ..Terms::default() };
    front.read(&health("web"), &terms).await.expect("it is there");
    assert!(front.read(&health("web"), &terms).await.expect("it is there").from_cache);
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_a_key_and_then_reads_it_sees_it_though_an_earlier_read_is_under_way() {
    let upstream = Upstream::start();
    upstream.stage.set("/v1/kv/k", 3, "old");
    let patient = client::Options { call_timeout: 3 * PATIENCE, ..upstream.options() };
    let front = Front::with(&patient, remote::Options::default());
    upstream.stage.be(Mood::Hangs);
    let agent = front.agent.clone();
    let early =
        tokio::spawn(async move { agent.read(&kv("k"), &Terms::default(), Duration::ZERO).await });
    until("it is asked", || upstream.stage.asked("/v1/kv/k") == 1).await;
    upstream.stage.set("/v1/kv/k", 4, "new");
    let late = front.agent.clone();
    let late =
        tokio::spawn(async move { late.read(&kv("k"), &Terms::default(), Duration::ZERO).await });
    until("each asks", || upstream.stage.asked("/v1/kv/k") == 2).await;
    upstream.stage.be(Mood::Well);
    let read = late.await.expect("it ran").expect("it was answered");
    assert_eq!((text(&read), read.index), ("new", 4));
    early.await.expect("it ran").expect("it was answered");
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_key_is_not_there_is_an_answer_and_can_be_waited_for() {
    let upstream = Upstream::start();
    upstream.stage.set_status("/v1/kv/k", 404, 5, "");
    let front = Front::of(&upstream);
    let read = front.read(&kv("k"), &Terms::default()).await.expect("an answer");
    assert_eq!((read.answer.status.as_u16(), read.index), (404, 5));
    let read = front.read(&kv("k"), &cached()).await.expect("an answer");
    assert_eq!((read.answer.status.as_u16(), read.index), (404, 5));
    let waiting = front.park(&kv("k"), 5);
    until("a query waits", || upstream.stage.parked("/v1/kv/k") == 1).await;
    upstream.stage.set("/v1/kv/k", 6, "v");
    let read = waiting.await.expect("it ran").expect("it was answered");
    assert_eq!((read.answer.status.as_u16(), text(&read), read.index), (200, "v", 6));
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_counts_nothing_is_not_asked_in_a_loop() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    upstream.stage.be(Mood::NoIndex);
    let front = Front::of(&upstream);
    let read = front.read(&health("web"), &cached()).await.expect("it is there");
    assert_eq!(text(&read), "[1]");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(upstream.stage.asked(WEB) < 10, "{}", upstream.stage.asked(WEB));
    let hit = front.read(&health("web"), &cached()).await.expect("it is there");
    assert!(hit.from_cache && hit.age < Duration::from_secs(3), "{:?}", hit.age);
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_never_rests_is_fetched_only_so_often() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 1, "[0]");
    let front = Front::of(&upstream);
    front.read(&health("web"), &cached()).await.expect("it is there");
    for index in 2..400 {
        upstream.stage.set(WEB, index, &format!("[{index}]"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = upstream.stage.asked(WEB);
    assert!(asked < 50, "{asked} times in two seconds");
    let mut seen = String::new();
    while seen != "[399]" {
        let hit = front.read(&health("web"), &cached()).await.expect("it is there");
        text(&hit).clone_into(&mut seen);
    }
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_jumps_back_releases_readers_and_never_goes_back_for_them() {
    let mut upstream = Upstream::start();
    upstream.stage.set(WEB, 100, "[1]");
    let front = Front::of(&upstream);
    let first = front.read(&health("web"), &cached()).await.expect("it is there");
    let waiting = front.park(&health("web"), first.index);
    until("a query waits", || upstream.stage.parked(WEB) == 1).await;
    // As after a restored snapshot: the agent starts anew, with less than it had.
    upstream.die();
    upstream.stage.set(WEB, 3, "[2]");
    upstream.come_back();
    let read = waiting.await.expect("it ran").expect("it was answered");
    assert_eq!(text(&read), "[2]");
    assert!(read.index > first.index, "{}", read.index);
    let waiting = front.park(&health("web"), read.index);
    until("a query waits", || upstream.stage.parked(WEB) == 1).await;
    upstream.stage.set(WEB, 4, "[3]");
    let next = waiting.await.expect("it ran").expect("it was answered");
    assert_eq!(text(&next), "[3]");
    assert!(next.index > read.index);
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_counted_is_polled_now_and_then() {
    let upstream = Upstream::start();
    upstream.stage.set("/v1/catalog/datacenters", 0, "[\"dc1\"]");
    let front = Front::of(&upstream);
    let question = about(Endpoint::Datacenters, "");
    let terms = Terms { index: 5, ..cached() };
    let read = front.read(&question, &terms).await.expect("it does not wait");
    assert_eq!(text(&read), "[\"dc1\"]");
    assert!(upstream.stage.asked("/v1/catalog/datacenters") < 10);
    front.agent.close().await;
}
