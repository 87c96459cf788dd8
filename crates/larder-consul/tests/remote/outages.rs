//! While no agent answers, copies are given for as long as they may be, with their real age.

use std::time::{Duration, Instant};

use larder_consul::remote::{self, Unanswered};
use larder_consul::terms::{CacheControl, Consistency, Terms};

use crate::support::{Front, Mood, Upstream, cached, cached_with, health, kv, text, until};

const WEB: &str = "/v1/health/service/web";

fn control(max_age: u64, stale_if_error: Option<u64>) -> Terms {
    cached_with(CacheControl {
        max_age: Some(Duration::from_secs(max_age)),
        stale_if_error: stale_if_error.map(Duration::from_secs),
        ..CacheControl::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "ages are compared with the time that really passed")]
async fn a_dead_upstream_is_outlasted_with_true_ages_and_within_the_readers_bounds() {
    let mut upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    front.read(&health("web"), &cached()).await.expect("it is there");
    until("a query waits", || upstream.stage.parked(WEB) == 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let died = Instant::now();
    upstream.die();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let read = front.read(&health("web"), &control(1, Some(60))).await.expect("it may be stale");
    let passed = died.elapsed();
    assert!(read.stale.is_some() && read.from_cache, "{read:?}");
    // The clock of ages ticks in whole milliseconds.
    let tick = Duration::from_millis(2);
    assert!(
        read.age <= passed + tick && read.age + Duration::from_millis(500) >= passed,
        "{:?} of {passed:?}",
        read.age
    );
    assert_eq!(read.last_contact, read.age);
    let refused = front.read(&health("web"), &control(1, None)).await;
    assert!(matches!(refused, Err(Unanswered::Unavailable(_))), "{refused:?}");
    let refused = front.read(&health("web"), &control(1, Some(0))).await;
    assert!(refused.is_err(), "{refused:?}");
    let must = CacheControl { must_revalidate: true, ..CacheControl::default() };
    let refused = front.read(&health("web"), &cached_with(must)).await;
    assert!(matches!(refused, Err(Unanswered::Unavailable(_))), "{refused:?}");
    let max_stale = Some(Duration::from_secs(1));
    let stale = Terms { consistency: Consistency::Stale, max_stale, ..Terms::default() };
    assert!(front.read(&health("web"), &stale).await.is_err());
    let plain = front.read(&health("web"), &Terms::default()).await.expect("the last good copy");
    assert!(plain.stale.is_some() && plain.age >= Duration::from_secs(2), "{plain:?}");
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "how soon it is back is measured")]
async fn an_upstream_that_comes_back_is_followed_again_within_two_seconds() {
    let mut upstream = Upstream::start();
    let services: Vec<String> = (0..50).map(|number| format!("s{number}")).collect();
    let path = |service: &str| format!("/v1/health/service/{service}");
    for service in &services {
        upstream.stage.set(&path(service), 7, "[1]");
    }
    let front = Front::of(&upstream);
    for service in &services {
        front.read(&health(service), &cached()).await.expect("it is there");
    }
    upstream.die();
    until("it is noticed", || front.agent.upstream().down_for().is_some()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for service in &services {
        let read = front.read(&health(service), &cached()).await.expect("a copy");
        assert_eq!(text(&read), "[1]");
        upstream.stage.set(&path(service), 8, "[2]");
    }
    let before: usize = services.iter().map(|service| upstream.stage.asked(&path(service))).sum();
    upstream.come_back();
    let back = Instant::now();
    for service in &services {
        loop {
            let read = front.read(&health(service), &cached()).await.expect("a copy");
            if text(&read) == "[2]" {
                break;
            }
            assert!(back.elapsed() < Duration::from_secs(2), "{service} is not followed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    until("each waits", || services.iter().all(|it| upstream.stage.parked(&path(it)) == 1)).await;
    let after: usize = services.iter().map(|service| upstream.stage.asked(&path(service))).sum();
    assert!(after - before <= 2 * services.len() + 1, "one for the value and one that waits");
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_revalidated_and_cannot_be_is_an_error_though_a_query_waits() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    front.read(&health("web"), &cached()).await.expect("it is there");
    until("a query waits", || upstream.stage.parked(WEB) == 1).await;
    // It counts as vouched for once the query has been there for a moment.
    tokio::time::sleep(Duration::from_millis(600)).await;
    upstream.stage.be(Mood::Answers(500, "rpc error"));
    let must = CacheControl { must_revalidate: true, ..CacheControl::default() };
    let refused = front.read(&health("web"), &cached_with(must)).await;
    assert!(refused.is_err(), "{refused:?}");
    let lax = CacheControl { max_age: Some(Duration::ZERO), ..CacheControl::default() };
    let stale_if_error = Some(Duration::from_secs(60));
    let copy = front
        .read(&health("web"), &cached_with(CacheControl { stale_if_error, ..lax }))
        .await
        .expect("it may be stale");
    assert!(copy.stale.is_some(), "{copy:?}");
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "ages are compared with the time that really passed")]
async fn a_hanging_upstream_is_not_waited_for_by_whoever_accepts_a_copy() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    upstream.stage.set("/v1/kv/k", 3, "v");
    let keeping = remote::Options { wait: Duration::from_secs(1), ..remote::Options::default() };
    let front = Front::with(&upstream.options(), keeping);
    front.read(&health("web"), &cached()).await.expect("it is there");
    front.read(&kv("k"), &Terms::default()).await.expect("it is there");
    upstream.stage.be(Mood::Hangs);
    let hung = Instant::now();
    until("it is noticed", || front.agent.upstream().down_for().is_some()).await;
    for _ in 0..20 {
        let passed = hung.elapsed();
        let (question, terms) = (health("web"), cached());
        let read = front.read(&question, &terms);
        let read = tokio::time::timeout(Duration::from_millis(300), read);
        let read = read.await.expect("at once").expect("a copy");
        assert!(read.age + Duration::from_millis(300) >= passed, "{:?} < {passed:?}", read.age);
        let plain = front.read(&kv("k"), &Terms::default()).await.expect("the last good copy");
        assert_eq!(text(&plain), "v");
    }
    upstream.stage.be(Mood::Well);
    upstream.stage.set("/v1/kv/k", 4, "w");
    let mut seen = String::new();
    while seen != "w" {
        let plain = front.read(&kv("k"), &Terms::default()).await.expect("it is there");
        text(&plain).clone_into(&mut seen);
    }
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_body_is_no_answer() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1,2,3,4]");
    upstream.stage.be(Mood::HalfBodies);
    let front = Front::of(&upstream);
    let none = front.read(&health("web"), &cached()).await;
    assert!(matches!(none, Err(Unanswered::Unavailable(_))), "{none:?}");
    upstream.stage.be(Mood::Well);
    let mut read = front.read(&health("web"), &Terms::default()).await;
    while read.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        read = front.read(&health("web"), &Terms::default()).await;
    }
    upstream.stage.be(Mood::HalfBodies);
    let copy = front.read(&health("web"), &Terms::default()).await.expect("the last good copy");
    assert_eq!(text(&copy), "[1,2,3,4]");
    assert!(copy.stale.is_some());
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_wait_through_an_outage_get_what_there_is_when_their_time_is_over() {
    let mut upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    front.read(&health("web"), &cached()).await.expect("it is there");
    upstream.die();
    let wait = Some(Duration::from_secs(2));
    let terms = Terms { index: 7, wait, ..Terms::default() };
    let read = front.read(&health("web"), &terms).await.expect("a copy");
    assert_eq!((text(&read), read.index), ("[1]", 7));
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_agent_dies_the_next_is_asked() {
    let (mut one, two) = (Upstream::start(), Upstream::start());
    one.stage.set(WEB, 7, "[1]");
    two.stage.set(WEB, 7, "[1]");
    let mut options = one.options();
    options.servers.push(two.address.to_string());
    let front = Front::with(&options, remote::Options::default());
    front.read(&health("web"), &cached()).await.expect("it is there");
    until("a query waits at the first", || one.stage.parked(WEB) == 1).await;
    assert_eq!(two.stage.asked(WEB), 0);
    one.die();
    until("a query waits at the second", || two.stage.parked(WEB) == 1).await;
    assert!(front.agent.upstream().down_for().is_none(), "one of two is enough");
    two.stage.set(WEB, 8, "[2]");
    let mut seen = String::new();
    while seen != "[2]" {
        let read = front.read(&health("web"), &cached()).await.expect("it is there");
        text(&read).clone_into(&mut seen);
    }
    front.agent.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_releases_whoever_waits_and_ends_the_queries() {
    let upstream = Upstream::start();
    upstream.stage.set(WEB, 7, "[1]");
    let front = Front::of(&upstream);
    let waiting = front.park(&health("web"), 7);
    until("a query waits", || upstream.stage.parked(WEB) == 1).await;
    front.agent.close().await;
    let answer = waiting.await.expect("it ran");
    assert!(matches!(answer, Err(Unanswered::Closed)), "{answer:?}");
    until("the query has ended", || upstream.stage.parked(WEB) == 0).await;
    let later = front.read(&health("web"), &cached()).await;
    assert!(matches!(later, Err(Unanswered::Closed)), "{later:?}");
    front.client.close();
}
