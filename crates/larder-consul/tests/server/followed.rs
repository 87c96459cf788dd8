//! Many reads followed at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::{FutureExt, Stream, StreamExt};
use larder_consul::server::crowd;
use larder_consul::server::{MAX_FOLLOWED, News, Notice};

use super::support::Stand;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn follow(stand: &Stand, query: &str) -> impl Stream<Item = Notice> + Unpin {
    let followed = stand.consul.follow(Some(query), &HeaderMap::new(), CLIENT);
    Box::pin(followed.expect("it makes sense"))
}

async fn next(notices: &mut (impl Stream<Item = Notice> + Unpin)) -> (String, u16, String, u64) {
    let notice = tokio::time::timeout(Duration::from_secs(5), notices.next()).await;
    let notice = notice.expect("there is news").expect("it does not end");
    match notice.news {
        News::Answer { index, status, body, .. } => {
            let body = String::from_utf8(body.to_vec()).expect("text");
            (notice.correlation_id.to_string(), status, body, index)
        }
        News::Trouble { says } => (notice.correlation_id.to_string(), 0, says, 0),
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

const THREE: &str =
    "query=w%3D/v1/health/service/web&query=k%3D/v1/kv/k&query=s%3D/v1/catalog/services";

#[tokio::test(start_paused = true)]
async fn what_there_is_is_told_first_then_each_change_with_its_correlation_id() {
    let stand = Stand::new();
    let mut notices = follow(&stand, THREE);
    let mut first = HashMap::new();
    for _ in 0..3 {
        let (id, status, body, index) = next(&mut notices).await;
        assert!(index > 0);
        first.insert(id, (status, body));
    }
    assert_eq!(first["w"], (200, "[]".to_owned()), "a service that is not there is followed too");
    assert_eq!(first["k"], (404, String::new()), "and so is a key");
    assert_eq!(first["s"], (200, "{}".to_owned()));
    settle().await;
    assert!(notices.next().now_or_never().is_none(), "nothing has changed");

    stand.put("/v1/kv/k", "v").await;
    let (id, status, body, index) = next(&mut notices).await;
    assert!(id == "k" && status == 200 && body.contains("\"dg==\"") && index > 0, "{id} {body}");
    stand.register(r#"{"Name":"web"}"#).await;
    let mut ids = [next(&mut notices).await.0, next(&mut notices).await.0];
    ids.sort();
    assert_eq!(ids, ["s", "w"]);
    stand.put("/v1/kv/other", "v").await;
    settle().await;
    assert!(notices.next().now_or_never().is_none(), "what is not followed is not told");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_told_the_latest() {
    let stand = Stand::new();
    let mut notices = follow(&stand, "query=k%3D/v1/kv/k");
    next(&mut notices).await;
    for value in ["a", "b", "c"] {
        stand.put("/v1/kv/k", value).await;
    }
    let (_, _, body, _) = next(&mut notices).await;
    assert!(body.contains("\"Yw==\""), "{body}");
    assert!(notices.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn quiet_for_longer_than_any_wait_is_no_news() {
    let stand = Stand::new();
    let mut notices = follow(&stand, THREE);
    for _ in 0..3 {
        next(&mut notices).await;
    }
    stand.put("/v1/kv/other", "moves the index of the store").await;
    let quiet = tokio::time::timeout(Duration::from_secs(10_000), notices.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn an_index_goes_on_where_a_former_connection_ended() {
    let stand = Stand::new();
    stand.put("/v1/kv/k", "1").await;
    let seen = stand.get("/v1/kv/k").await.index();
    let query = format!("query=k%3D/v1/kv/k%3Findex%3D{seen}");
    let mut notices = follow(&stand, &query);
    assert!(notices.next().now_or_never().is_none(), "that is known already");
    stand.put("/v1/kv/k", "2").await;
    assert_eq!(next(&mut notices).await.0, "k");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_told_once_and_only_of_the_read_that_has_it() {
    let stand = Stand::new();
    let query = "query=bad%3D/v1/catalog/nodes%3Fdc%3Delsewhere&query=good%3D/v1/catalog/nodes";
    let mut notices = follow(&stand, query);
    let mut told = [next(&mut notices).await, next(&mut notices).await];
    told.sort();
    assert_eq!((&*told[0].0, told[0].1, &*told[0].2), ("bad", 0, "No path to datacenter"));
    assert_eq!((&*told[1].0, told[1].1), ("good", 200));
    let quiet = tokio::time::timeout(Duration::from_secs(1_000), notices.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn each_read_has_a_seat_until_the_stream_is_dropped() {
    let stand = Stand::with(|options| options.parked = crowd::Limits { total: 4, of_each: 0 });
    let notices = follow(&stand, THREE);
    assert_eq!(stand.consul.parked(), 3);
    let more = stand.consul.follow(Some(THREE), &HeaderMap::new(), CLIENT);
    let refused = more.err().expect("there is one seat left");
    assert_eq!(refused.status, 429);
    assert_eq!(stand.consul.parked(), 3, "whoever is refused keeps none");
    drop(notices);
    assert_eq!(stand.consul.parked(), 0);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_with_a_sentence() {
    let stand = Stand::new();
    let refused = |query: &str| {
        let followed = stand.consul.follow(Some(query), &HeaderMap::new(), CLIENT);
        let refused = followed.err().unwrap_or_else(|| panic!("{query} is followed"));
        assert_eq!(refused.status, 400, "{query}");
        assert!(!refused.says.is_empty());
        refused.says
    };
    for query in [
        "",
        "query=",
        "query=/v1/kv/k",
        "query=%3D/v1/kv/k",
        "query=a%3D/v1/nonsense",
        "query=a%3D/v1/agent/self",
        "query=a%3D/v1/health/state/sick",
        "query=a%3D/v1/kv/k%3Fraw",
        "query=a%3D/v1/kv/",
        "query=a%3D/v1/health/service/",
        "query=a%3D/v1/kv/k%3Findex%3Dx",
        "query=a%3D/v1/kv/k&other=1",
        "query=%FF",
    ] {
        refused(query);
    }
    let long = format!("query={}%3D/v1/kv/k", "x".repeat(300));
    refused(&long);
    let many = vec!["query=a%3D/v1/kv/k"; MAX_FOLLOWED + 1].join("&");
    refused(&many);
    assert_eq!(stand.consul.parked(), 0);
}
