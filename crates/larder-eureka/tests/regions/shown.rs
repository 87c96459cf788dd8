//! What of other regions is shown to whom.

use larder_eureka::regions::WhiteList;

use crate::node::{Node, region};

/// Here: `web`/1 and `db`/1. East: `WEB`/e, `cache`/e2. West: `web`/w, `cache`/w2.
async fn three(fallback: bool) -> (Node, Node, Node) {
    let (east, west) = (Node::start(vec![]).await, Node::start(vec![]).await);
    east.add("WEB", "e").await;
    east.add("cache", "e2").await;
    west.add("web", "w").await;
    west.add("cache", "w2").await;
    let regions = vec![region("East", east.address), region("west", west.address)];
    let here = Node::start_at("127.0.0.1:0".parse().expect("an address"), regions, fallback).await;
    here.add("web", "1").await;
    here.add("db", "2").await;
    here.until("apps?regions=east", &["1", "2", "e", "e2"]).await;
    here.until("apps?regions=west", &["1", "2", "w", "w2"]).await;
    (here, east, west)
}

/// `testGetAppsFromAllRemoteRegions`, `testGetAppsFromLocalRegionOnly`, `testGetAppsFromBothRegions`.
#[tokio::test]
async fn the_regions_that_are_named_are_shown_and_all_if_none_is() {
    let (here, east, west) = three(true).await;
    let all = ["1", "2", "e", "e2", "w", "w2"];
    for path in ["apps", "apps/", "apps?regions=", "apps?regions=,", "apps?other=east"] {
        assert_eq!(here.ids(path).await, all, "{path}");
    }
    for path in
        ["apps?regions=east,west", "apps?regions=WEST,%20East,west", "v2/apps/?regions=west,east"]
    {
        assert_eq!(here.ids(path).await, all, "{path}");
    }
    for path in ["apps?regions=east", "apps?regions=mars,EAST", "apps?regions=east&regions=west"] {
        assert_eq!(here.ids(path).await, ["1", "2", "e", "e2"], "{path}");
    }
    assert_eq!(here.ids("apps?regions=mars").await, ["1", "2"]);
    let list = here.list("apps?regions=west").await;
    let web = list.apps.iter().find(|app| app.name == "WEB").expect("it is in both");
    assert_eq!(web.instances.len(), 2);
    assert_eq!((list.version, &*list.hash), (1, "UP_4_"));
    for node in [here, east, west] {
        node.stop().await;
    }
}

#[tokio::test]
async fn without_fallback_only_the_regions_that_are_named_are_shown() {
    let (here, east, west) = three(false).await;
    for path in ["apps", "apps?regions=,", "apps/delta", "vips/v"] {
        assert_eq!(here.ids(path).await, ["1", "2"], "{path}");
    }
    assert_eq!(here.ask("apps/cache", &[]).await.0, 404);
    assert_eq!(here.ids("apps?regions=west").await, ["1", "2", "w", "w2"]);
    for node in [here, east, west] {
        node.stop().await;
    }
}

#[tokio::test]
async fn an_application_that_is_not_here_is_that_of_the_first_region_that_has_it() {
    let (here, east, west) = three(true).await;
    let of = async |app: &str| {
        let (status, body) = here.ask(&format!("apps/{app}"), &[]).await;
        (status, String::from_utf8(body).expect("it is UTF-8"))
    };
    let (status, web) = of("web").await;
    assert_eq!((status, web.matches("<instance>").count()), (200, 1), "what is here hides them");
    assert!(of("CACHE").await.1.contains("<instanceId>e2</instanceId>"));
    east.remove("cache", "e2").await;
    here.until("apps?regions=east", &["1", "2", "e"]).await;
    assert!(of("cache").await.1.contains("<instanceId>w2</instanceId>"));
    west.remove("cache", "w2").await;
    here.until("apps?regions=west", &["1", "2", "w"]).await;
    assert_eq!(of("cache").await.0, 404);
    here.add("cache", "3").await;
    assert!(of("cache").await.1.contains("<instanceId>3</instanceId>"));
    for node in [here, east, west] {
        node.stop().await;
    }
}

#[tokio::test]
async fn virtual_addresses_are_looked_up_in_all_regions_and_single_instances_here() {
    let (here, east, west) = three(true).await;
    assert_eq!(here.ids("vips/v").await, ["1", "2", "e", "e2", "w", "w2"]);
    west.remove("web", "w").await;
    here.until("vips/v", &["1", "2", "e", "e2", "w2"]).await;
    assert_eq!(here.ask("apps/web/1", &[]).await.0, 200);
    assert_eq!(here.ask("apps/web/e", &[]).await.0, 404);
    assert_eq!(here.ask("instances/e", &[]).await.0, 404);
    for node in [here, east, west] {
        node.stop().await;
    }
}

/// `testGetRegionAppWhiteList` is in the configuration.
#[tokio::test]
async fn of_a_region_only_what_is_on_its_white_list_is_shown() {
    let east = Node::start(vec![]).await;
    for (service, id) in [("orders", "1"), ("stock", "2"), ("Web", "3")] {
        east.add(service, id).await;
    }
    let mut followed = region("east", east.address);
    followed.white_list = WhiteList::of(["ORDERS", "web"]);
    let here = Node::start(vec![followed]).await;
    here.until("apps", &["1", "3"]).await;
    east.add("stock", "4").await;
    east.add("orders", "5").await;
    here.until("apps?regions=east", &["1", "3", "5"]).await;
    assert_eq!(here.list("apps").await.hash, "UP_3_", "the hash is of what is shown");
    assert_eq!(here.regions.figures()[0].instances, 3);
    here.stop().await;
    east.stop().await;
}

/// Two that follow each other must not keep alive for each other what left.
#[tokio::test]
async fn what_leaves_a_circle_of_regions_stays_away() {
    let address = crate::node::free_address().await;
    let west = Node::start(vec![region("east", address)]).await;
    let east = Node::start_at(address, vec![region("west", west.address)], true).await;
    east.add("web", "e").await;
    west.add("web", "w").await;
    for node in [&east, &west] {
        node.until("apps", &["e", "w"]).await;
    }
    east.remove("web", "e").await;
    west.until("apps", &["w"]).await;
    // Rounds enough for it to come back, if it could.
    let rounds = west.registry.snapshot().revision();
    for n in 0..5 {
        let id = format!("x{n}");
        west.add("web", &id).await;
        east.until("apps", &["w", &id]).await;
        west.remove("web", &id).await;
        east.until("apps", &["w"]).await;
    }
    assert!(west.registry.snapshot().revision() > rounds);
    assert_eq!(west.ids("apps").await, ["w"]);
    let poller = ("user-agent", "Java-EurekaClient-RemoteRegion/v2.0.5");
    east.add("web", "e").await;
    let (_, told) = east.ask("apps", &[poller]).await;
    let told = String::from_utf8(told).expect("it is UTF-8");
    assert!(told.contains("<instanceId>e<") && !told.contains("<instanceId>w<"), "{told}");
    east.stop().await;
    west.stop().await;
}

/// `testInvalidateWithRemoteRegion`, `testInvalidateWithMultipleRemoteRegions`.
#[tokio::test]
async fn a_change_in_a_region_is_in_every_form_of_every_list_with_it() {
    let (here, east, west) = three(true).await;
    let forms = [("full", "json"), ("full", "xml"), ("compact", "json"), ("compact", "xml")];
    let lists =
        ["apps", "apps?regions=east", "apps?regions=west", "apps?regions=east,west", "apps/delta"];
    let shows = async |path: &str, id: &str| {
        let mut shown = Vec::new();
        for (detail, format) in forms {
            for coding in ["identity", "gzip"] {
                let accept = format!("application/{format}");
                let headers = [
                    ("accept", &*accept),
                    ("x-eureka-accept", detail),
                    ("accept-encoding", coding),
                ];
                let (status, body) = here.ask(path, &headers).await;
                assert_eq!(status, 200);
                let body = if coding == "gzip" { unpacked(&body) } else { body };
                let text = String::from_utf8(body).expect("it is UTF-8");
                let quoted = [format!("\"{id}\""), format!("<instanceId>{id}<")];
                shown.push(quoted.iter().any(|quoted| text.contains(quoted)));
            }
        }
        assert!(shown.iter().all(|one| *one == shown[0]), "{path}: {shown:?}");
        shown[0]
    };
    for (place, (node, name)) in
        [(&east, "east"), (&west, "west"), (&here, "")].into_iter().enumerate()
    {
        for path in lists {
            shows(path, "none").await;
        }
        let id = format!("new{place}");
        node.add("web", &id).await;
        let only = if name.is_empty() { "apps".to_owned() } else { format!("apps?regions={name}") };
        let mut expected = here.ids(&only).await;
        if !expected.contains(&id) {
            expected.push(id.clone());
            expected.sort();
        }
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        here.until(&only, &expected).await;
        for path in lists {
            let others = [("east", "west"), ("west", "east")];
            let is_of_other = others
                .iter()
                .any(|(one, other)| name == *one && path.ends_with(&format!("regions={other}")));
            assert_eq!(shows(path, &id).await, !is_of_other, "{id} in {path}");
        }
    }
    for node in [here, east, west] {
        node.stop().await;
    }
}

fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body), &mut text)
        .expect("it is gzip");
    text
}
