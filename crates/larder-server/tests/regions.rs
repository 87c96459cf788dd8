//! Two whole servers, of which one is a region of the other.

mod support;

use larder_server::config::Region;
use support::{PATIENCE, Running};

const ORDERS: &str = r#"{"instance":{"instanceId":"1","hostName":"h","app":"ORDERS","ipAddr":"10.0.0.1","dataCenterInfo":{"name":"MyOwn"}}}"#;

#[tokio::test]
async fn a_region_is_shown_measured_and_survived() {
    let east = Running::start(|_| ()).await;
    register(&east, "orders").await;
    register(&east, "stock").await;
    let servers = vec![format!("http://{}/eureka", east.address)];
    let here = Running::start(|config| {
        let region = |name: &str, servers| Region { name: name.to_owned(), servers };
        let nobody = vec!["http://127.0.0.1:1/eureka".to_owned()];
        config.regions.regions = vec![region("East", servers), region("west", nobody)];
        config.regions.apps = vec![("east".to_owned(), "orders".to_owned())];
    })
    .await;
    until(&here, "/eureka/apps?regions=east", "<name>ORDERS</name>").await;
    let (_, all) = here.call("GET", "/eureka/apps", "").await;
    assert!(all.contains("<name>ORDERS</name>") && !all.contains("<name>STOCK</name>"), "{all}");
    assert_eq!(here.call("GET", "/eureka/apps?regions=west", "").await.0, 403);
    here.until_measured(r#"larder_eureka_region_ready{region="east"} 1"#).await;
    here.until_measured(r#"larder_eureka_region_ready{region="west"} 0"#).await;
    here.until_measured(r#"larder_eureka_region_instances{region="east"} 1"#).await;
    east.stop().await;
    let (_, all) = here.call("GET", "/eureka/apps", "").await;
    assert!(all.contains("<name>ORDERS</name>"), "it is shown as it was: {all}");
    here.stop().await;
}

async fn register(server: &Running, app: &str) {
    let body = ORDERS.replace("ORDERS", &app.to_uppercase());
    let length = body.len();
    let head = format!("POST /eureka/apps/{app} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let headers = format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    let (status, says) = server.raw(format!("{head}{headers}{body}").into_bytes()).await;
    assert_eq!(status, 204, "{says}");
}

async fn until(server: &Running, path: &str, text: &str) {
    let asking = async {
        while !server.call("GET", path, "").await.1.contains(text) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    assert!(asked.is_ok(), "{path} never has {text}");
}
