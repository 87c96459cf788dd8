//! User events.

use std::time::Duration;

use serde_json::json;

use super::support::{Stand, all};

/// The index that Go's client makes of an event's id.
fn index_of(id: &str) -> u64 {
    let hex: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    let half = |part: &str| u64::from_str_radix(part, 16).expect("hexadecimal");
    half(&hex[..16]) ^ half(&hex[16..])
}

#[tokio::test]
async fn an_event_is_told_as_it_was_fired() {
    let stand = Stand::new();
    let empty = stand.get("/v1/event/list").await;
    assert_eq!((empty.text(), empty.index()), ("[]", 1));
    let path = "/v1/event/fire/deploy?node=n.*&service=web&tag=x";
    let fired = stand.put(path, "1609030").await.json();
    let fields = ["Name", "Payload", "NodeFilter", "ServiceFilter", "TagFilter"];
    let said = fields.map(|field| fired[field].as_str().unwrap_or("?"));
    assert_eq!(said, ["deploy", "MTYwOTAzMA==", "n.*", "web", "x"]);
    assert_eq!(fired["Version"], 1);
    let none = stand.put("/v1/event/fire/gr%C3%B6%C3%9Fe", "").await.json();
    assert_eq!((&none["Name"], &none["Payload"]), (&json!("größe"), &json!(null)));
    let list = stand.get("/v1/event/list").await;
    assert_eq!(list.json(), json!([fired, none]));
    assert_eq!(all(&stand.json("/v1/event/list?name=deploy").await, "/Name"), ["deploy"]);
    // As Go's client computes it.
    assert_eq!(list.index(), index_of(none["ID"].as_str().expect("an id")));
    let by_name = stand.get("/v1/event/list?name=deploy").await;
    assert_eq!(by_name.index(), index_of(fired["ID"].as_str().expect("an id")));
}

#[tokio::test(start_paused = true)]
async fn the_next_event_of_a_name_is_waited_for() {
    let stand = Stand::new();
    stand.put("/v1/event/fire/deploy", "1").await;
    let seen = stand.get("/v1/event/list?name=deploy").await.index();
    let parked = stand.park(&format!("/v1/event/list?name=deploy&index={seen}")).await;
    stand.put("/v1/event/fire/other", "1").await;
    parked.is_still_waiting().await;
    stand.put("/v1/event/fire/deploy", "2").await;
    let told = parked.told().await;
    assert_eq!(told.json().as_array().map(Vec::len), Some(2));
    assert_eq!(stand.consul.parked(), 0);

    let index = told.index();
    let other = stand.get(&format!("/v1/event/list?name=deploy&index={}", index - 1)).await;
    assert_eq!(other.took, Duration::ZERO, "only the present index makes one wait");
    let late = stand.get(&format!("/v1/event/list?name=deploy&index={index}&wait=7s")).await;
    assert!((late.took, late.index()) == (Duration::from_secs(7), index), "{late:?}");
}

#[tokio::test]
async fn a_nameless_event_and_a_large_payload_are_refused() {
    let stand = Stand::new();
    let told = stand.ask("PUT", "/v1/event/fire/", "").await;
    assert_eq!((told.status, told.text()), (400, "Missing name"));
    let told = stand.ask("PUT", "/v1/event/fire/x", vec![0_u8; 5_000]).await;
    assert_eq!(told.status, 413);
    assert_eq!(stand.ask("POST", "/v1/event/fire/x", "").await.status, 405);
}
