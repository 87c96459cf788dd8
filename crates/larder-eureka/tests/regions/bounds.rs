//! What clients ask for cannot make a server grow.

use larder_eureka::regions::MAX_REGIONS;

use crate::node::{Node, free_address, region};

#[tokio::test]
async fn a_hundred_thousand_values_of_the_parameter_are_a_few_answers() {
    let east = Node::start(vec![]).await;
    east.add("web", "e").await;
    let here = Node::start(vec![region("east", east.address), region("east2", east.address)]).await;
    here.until("apps?regions=east,east2", &["e"]).await;
    for n in 0..100_000 {
        let path = match n % 4 {
            0 => format!("apps?regions=east,unknown{n}"),
            1 => format!("apps/delta?regions=unknown{n},EAST2,east"),
            2 => format!("apps?regions={n}"),
            _ => format!("apps?regions=east2&other={n}"),
        };
        assert_eq!(here.ask(&path, &[]).await.0, 200, "{path}");
    }
    let entries = here.responses.read_write_stats().entries;
    assert!(entries <= 10, "{entries} entries");
    assert!(here.responses.read_write_stats().fetched <= 20);
    here.stop().await;
    east.stop().await;
}

/// Of 16 regions there are 65,536 sets; the cache keeps what it has room for, and its answers stay right.
#[tokio::test]
async fn every_set_of_sixteen_regions_may_be_asked_for_and_is_right_after_a_change() {
    let east = Node::start(vec![]).await;
    let regions =
        (0..MAX_REGIONS).map(|place| region(&format!("r{place}"), east.address)).collect();
    let here = Node::start(regions).await;
    let all: Vec<String> = (0..MAX_REGIONS).map(|place| format!("r{place}")).collect();
    here.until(&format!("apps?regions={}", all.join(",")), &[]).await;
    for round in 0..2 {
        let id = format!("i{round}");
        here.add("web", &id).await;
        for set in (1..1_u32 << MAX_REGIONS).step_by(41) {
            let named = all.iter().enumerate().filter(|(place, _)| set & (1 << place) != 0);
            let named: Vec<&str> = named.map(|(_, name)| &**name).collect();
            let (status, body) = here.ask(&format!("apps?regions={}", named.join(",")), &[]).await;
            let text = String::from_utf8(body).expect("it is UTF-8");
            assert_eq!(status, 200);
            assert!(text.contains(&format!("<instanceId>{id}<")), "{named:?}");
        }
        let entries = here.responses.read_write_stats().entries;
        assert!(entries <= 130, "{entries} entries after 1,600 sets");
    }
    here.stop().await;
    east.stop().await;
}

/// A region that is away costs no task, no memory and no time of those who ask for what is here.
#[tokio::test]
async fn regions_that_are_all_away_disturb_nobody() {
    let mut regions = Vec::new();
    for place in 0..MAX_REGIONS {
        regions.push(region(&format!("r{place}"), free_address().await));
    }
    let here = Node::start(regions).await;
    here.add("web", "1").await;
    assert_eq!(here.ids("apps").await, ["1"]);
    assert_eq!(here.ask("apps?regions=r3", &[]).await.0, 403);
    here.stop().await;
}
