//! Metadata, the compact forms, and what the server says about itself.

use super::*;

#[tokio::test]
async fn metadata_is_added_to_what_is_there_and_of_one_key_the_first_value_counts() {
    let server = Server::new();
    server.register("web", "i").await;
    let path = "/eureka/apps/web/i/metadata";
    for query in ["?a=1&b=2&a=3&c=", "?b=4&d=x%20y", ""] {
        let answer = server.call(Method::PUT, &format!("{path}{query}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""), "{query}");
    }
    let held = server.get("/eureka/apps/WEB", &[ACCEPT_JSON]).await.body;
    assert!(held.contains(r#""metadata":{"a":"1","b":"4","c":"","d":"x y"}"#), "{held}");
    assert!(held.contains(r#""lastDirtyTimestamp":"50""#), "by the registrant's own time: {held}");
    for (path, status) in [
        ("/eureka/apps/web/none/metadata?a=1", 404),
        ("/eureka/apps/web/i/metadata?%40class=java.lang.String", 400),
    ] {
        assert_eq!(server.call(Method::PUT, path).await.status.as_u16(), status, "{path}");
    }
}

/// What is in them is in `checklist.rs`.
#[tokio::test]
async fn a_client_that_asks_for_compact_lists_gets_them_of_lists_only() {
    let server = Server::new();
    server.register("web", "i").await;
    let compact = ("x-eureka-accept", "compact");
    for path in ["apps", "apps/delta", "apps/WEB", "vips/v"] {
        let path = format!("/eureka/{path}");
        let mini = server.get(&path, &[ACCEPT_JSON, compact]).await;
        assert!(mini.body.contains(r#""lastUpdatedTimestamp":1700000000000"#), "{}", mini.body);
        assert!(!mini.body.contains("leaseInfo"), "{}", mini.body);
        let mini = server.get(&path, &[compact]).await;
        assert_eq!(mini.header("content-type"), Some(XML));
        assert!(mini.body.contains("<instanceId>i</instanceId><app>WEB</app>"), "{}", mini.body);
        assert!(server.get(&path, &[ACCEPT_JSON]).await.body.contains("leaseInfo"));
    }
    for path in ["/eureka/apps/WEB/i", "/eureka/instances/i"] {
        let live = server.get(path, &[ACCEPT_JSON, compact]).await;
        assert!(live.body.contains("leaseInfo"), "{path}: always full");
    }
}

#[tokio::test]
async fn a_change_is_in_every_form_of_a_list_at_once() {
    let server = Server::new();
    let forms = [("full", JSON), ("full", XML), ("compact", JSON), ("compact", XML)];
    let count = async |path: &str, (detail, accept): (&str, &str)| {
        let headers = [("accept", accept), ("x-eureka-accept", detail)];
        server.get(path, &headers).await.body.matches("10.0.0.1").count()
    };
    for id in 1..5 {
        server.register("web", &id.to_string()).await;
        for form in forms {
            for path in ["/eureka/apps", "/eureka/apps/delta", "/eureka/apps/web", "/eureka/vips/v"]
            {
                assert_eq!(count(path, form).await, id, "{path} {form:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_status_page_is_there_in_both_formats() {
    let server = Server::new();
    let json = server.get("/eureka/v2/status", &[ACCEPT_JSON]).await;
    let page: serde_json::Value = serde_json::from_str(&json.body).expect("it is JSON");
    assert_eq!(page["generalStats"]["server-uptime"], "00:00");
    assert_eq!(page["instanceInfo"]["isCoordinatingDiscoveryServer"], "true");
    assert_eq!(page["healthy"], true);
    let xml = server.get("/eureka/status", &[]).await;
    let beginning = "<com.netflix.eureka.util.StatusInfo>\n  <generalStats>\n    <num-of-cpus>";
    assert!(xml.body.starts_with(beginning), "{}", xml.body);
    assert!(xml.body.contains("\n  <instanceInfo>\n    <instanceId>"), "{}", xml.body);
    assert!(
        xml.body
            .ends_with("\n  <isHeathly>true</isHeathly>\n</com.netflix.eureka.util.StatusInfo>")
    );
}

#[tokio::test]
async fn the_overrides_that_are_set_can_be_listed() {
    let server = Server::new();
    for id in ["a", "b", "c"] {
        server.register("web", id).await;
    }
    for (id, status) in [("b", "OUT_OF_SERVICE"), ("c", "DOWN")] {
        server.call(Method::PUT, &format!("/eureka/apps/web/{id}/status?value={status}")).await;
    }
    let listed = server.get("/serverinfo/statusoverrides", &[]).await;
    assert_eq!(listed.body, r#"{"b":"OUT_OF_SERVICE","c":"DOWN"}"#);
}

/// `AwsInstanceRegistryTest` has no counterpart here: its groups are AWS's alone.
#[tokio::test]
async fn there_are_no_auto_scaling_groups_outside_of_aws() {
    let server = Server::new();
    let answer = server.call(Method::PUT, "/eureka/asg/a/status?value=ENABLED").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("AWS"), "{}", answer.body);
}
