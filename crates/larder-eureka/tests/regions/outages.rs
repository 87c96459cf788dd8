//! Regions that are away, come, go, and come back.

use std::time::Duration;

use crate::node::{Node, PATIENCE, free_address, region};

/// `testSoftDepRemoteDown`, `testSoftDepRemoteUp`.
#[tokio::test]
async fn who_names_a_region_that_was_never_read_is_refused_and_nobody_else_is() {
    let up = Node::start(vec![]).await;
    up.add("web", "u").await;
    let address = free_address().await;
    let here = Node::start(vec![region("up", up.address), region("down", address)]).await;
    here.add("web", "1").await;
    here.until("apps?regions=up", &["1", "u"]).await;
    for path in ["apps?regions=down", "apps?regions=up,down", "apps/delta?regions=down"] {
        let (status, body) = here.ask(path, &[]).await;
        assert_eq!((status, &*body), (403, &b""[..]), "{path}");
    }
    for path in ["apps", "apps/delta", "vips/v"] {
        assert_eq!(here.ids(path).await, ["1", "u"], "{path}");
    }
    assert_eq!(here.ask("apps/web/1", &[]).await.0, 200);
    let figures = here.regions.figures();
    assert_eq!((figures[0].ready, figures[1].ready), (true, false));
    assert!(figures[1].failures > 0 && figures[1].age.is_none());
    let down = Node::start_at(address, vec![], true).await;
    down.add("web", "d").await;
    here.until("apps?regions=down", &["1", "d"]).await;
    here.until("apps", &["1", "d", "u"]).await;
    for node in [here, up, down] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_region_that_goes_is_shown_as_it_was_and_catches_up_when_it_comes_back() {
    let mut east = Node::start(vec![]).await;
    east.add("web", "e1").await;
    east.add("web", "e2").await;
    let here = Node::start(vec![region("east", east.address)]).await;
    here.until("apps?regions=east", &["e1", "e2"]).await;
    east.vanish().await;
    until_failing(&here).await;
    here.add("web", "1").await;
    assert_eq!(here.ids("apps?regions=east").await, ["1", "e1", "e2"], "it is still shown");
    east.remove("web", "e1").await;
    east.add("web", "e3").await;
    east.listen().await;
    here.until("apps?regions=east", &["1", "e2", "e3"]).await;
    here.until("apps", &["1", "e2", "e3"]).await;
    assert!(here.regions.figures()[0].age.is_some_and(|age| age < PATIENCE));
    here.stop().await;
    east.stop().await;
}

/// Another server at the same address, with nothing of what the first had.
#[tokio::test]
async fn a_region_that_starts_anew_is_shown_as_it_is_then() {
    let mut east = Node::start(vec![]).await;
    east.add("web", "old").await;
    let here = Node::start(vec![region("east", east.address)]).await;
    here.until("apps?regions=east", &["old"]).await;
    east.vanish().await;
    until_failing(&here).await;
    let anew = Node::start_at(east.address, vec![], true).await;
    anew.add("web", "new").await;
    here.until("apps?regions=east", &["new"]).await;
    for node in [here, east, anew] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_region_that_talks_nonsense_changes_nothing() {
    let mut east = Node::start(vec![]).await;
    east.add("web", "e").await;
    let here = Node::start(vec![region("east", east.address)]).await;
    here.until("apps", &["e"]).await;
    east.vanish().await;
    let listener = tokio::net::TcpListener::bind(east.address).await.expect("the port is free");
    let nonsense = axum::Router::new().fallback(async || r#"{"applications":{"application":7}}"#);
    let talking = tokio::spawn(async move { axum::serve(listener, nonsense).await });
    until_failing(&here).await;
    assert_eq!(here.ids("apps?regions=east").await, ["e"]);
    talking.abort();
    let _ = talking.await;
    east.listen().await;
    east.add("web", "e2").await;
    here.until("apps", &["e", "e2"]).await;
    here.stop().await;
    east.stop().await;
}

#[tokio::test]
async fn once_closed_nothing_more_is_asked() {
    let east = Node::start(vec![]).await;
    let here = Node::start(vec![region("east", east.address)]).await;
    here.until("apps?regions=east", &[]).await;
    tokio::time::timeout(PATIENCE, here.regions.close()).await.expect("its tasks are joined");
    east.add("web", "late").await;
    let age = here.regions.figures()[0].age.expect("it was read");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(here.regions.figures()[0].age.expect("it was read") > age, "no round is flown");
    assert_eq!(here.ids("apps?regions=east").await, [""; 0], "what was read stays");
    here.stop().await;
    east.stop().await;
}

async fn until_failing(here: &Node) {
    let before = here.regions.figures()[0].failures;
    let failing = async {
        while here.regions.figures()[0].failures < before + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, failing).await.expect("it fails");
}
