//! Keys and their values.

use std::time::Duration;

use serde_json::json;

use super::support::{Stand, all};

#[tokio::test]
async fn a_key_is_shown_with_its_value_flags_and_indexes() {
    let stand = Stand::new();
    assert_eq!(stand.put("/v1/kv/a/b?flags=42", "hello").await.text(), "true");
    let told = stand.get("/v1/kv/a/b").await;
    let index = told.index();
    let expected = json!([{
        "LockIndex": 0, "Key": "a/b", "Flags": 42, "Value": "aGVsbG8=",
        "CreateIndex": index, "ModifyIndex": index,
    }]);
    assert_eq!(told.json(), expected);
    stand.put("/v1/kv/a/b", "").await;
    let told = stand.json("/v1/kv/a/b").await;
    assert_eq!((&told[0]["Value"], &told[0]["Flags"]), (&json!(null), &json!(0)));
    assert_eq!(told[0]["CreateIndex"], index);
    assert!(told[0]["ModifyIndex"].as_u64() > Some(index));
}

#[tokio::test]
async fn a_raw_value_is_as_it_was_put_and_no_page_for_a_browser() {
    let stand = Stand::new();
    let bytes: Vec<u8> = (0..=255).collect();
    stand.put("/v1/kv/bytes", bytes.clone()).await;
    let told = stand.get("/v1/kv/bytes?raw").await;
    assert_eq!(told.body, bytes);
    for (name, value) in [
        ("Content-Type", "text/plain"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "sandbox"),
    ] {
        assert_eq!(told.header(name), Some(value));
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_with_an_index_and_no_body() {
    let stand = Stand::new();
    for path in ["/v1/kv/none", "/v1/kv/none?raw", "/v1/kv/none?recurse", "/v1/kv/none/?keys"] {
        let told = stand.get(path).await;
        assert!(told.status == 404 && told.body.is_empty() && told.index() > 0, "{path}: {told:?}");
    }
    assert_eq!(stand.json("/v1/kv/?keys").await, json!([]), "of all keys there is a list");
}

#[tokio::test]
async fn keys_are_listed_by_how_they_begin() {
    let stand = Stand::new();
    for key in ["a/b", "a/c", "a/d/e", "a/d/f", "ab", "b"] {
        stand.put(&format!("/v1/kv/{key}"), key).await;
    }
    for (path, expected) in [
        ("a/?recurse", vec!["a/b", "a/c", "a/d/e", "a/d/f"]),
        ("a?recurse", vec!["a/b", "a/c", "a/d/e", "a/d/f", "ab"]),
        ("?recurse", vec!["a/b", "a/c", "a/d/e", "a/d/f", "ab", "b"]),
    ] {
        assert_eq!(all(&stand.json(&format!("/v1/kv/{path}")).await, "/Key"), expected, "{path}");
    }
    for (path, expected) in [
        ("a/?keys", json!(["a/b", "a/c", "a/d/e", "a/d/f"])),
        ("a/?keys&separator=/", json!(["a/b", "a/c", "a/d/"])),
        ("a/?keys&seperator=/", json!(["a/b", "a/c", "a/d/"])),
        ("?keys&separator=/", json!(["a/", "ab", "b"])),
        ("a/?keys&recurse", json!(["a/b", "a/c", "a/d/e", "a/d/f"])),
    ] {
        assert_eq!(stand.json(&format!("/v1/kv/{path}")).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_put_or_delete_with_cas_acts_only_on_what_was_seen() {
    let stand = Stand::new();
    let put =
        async |query: &str| stand.put(&format!("/v1/kv/k?{query}"), "v").await.text().to_owned();
    assert_eq!(put("cas=7").await, "false", "it is not there");
    assert_eq!(put("cas=0").await, "true");
    assert_eq!(put("cas=0").await, "false", "it is there");
    let seen = stand.get("/v1/kv/k").await.index();
    assert_eq!(put(&format!("cas={}&flags=1", seen - 1)).await, "false");
    assert_eq!(put(&format!("cas={seen}&flags=1")).await, "true");
    let delete = async |query: &str| {
        let told = stand.ask("DELETE", &format!("/v1/kv/k?{query}"), "").await;
        (told.status, told.text().to_owned())
    };
    assert_eq!(delete("cas=0").await, (200, "false".to_owned()));
    assert_eq!(delete(&format!("cas={seen}")).await, (200, "false".to_owned()));
    let seen = stand.get("/v1/kv/k").await.index();
    assert_eq!(delete(&format!("cas={seen}")).await, (200, "true".to_owned()));
    assert_eq!(stand.get("/v1/kv/k").await.status, 404);
    assert_eq!(delete("").await, (200, "true".to_owned()), "what is not there is no failure");
}

#[tokio::test]
async fn a_whole_tree_is_deleted_and_nothing_beside_it() {
    let stand = Stand::new();
    for key in ["a/b", "a/c", "ab"] {
        stand.put(&format!("/v1/kv/{key}"), "1").await;
    }
    stand.ask("DELETE", "/v1/kv/a/", "").await;
    assert_eq!(stand.json("/v1/kv/?keys").await, json!(["a/b", "a/c", "ab"]));
    assert_eq!(stand.ask("DELETE", "/v1/kv/a/?recurse", "").await.text(), "true");
    assert_eq!(stand.json("/v1/kv/?keys").await, json!(["ab"]));
    assert_eq!(stand.ask("DELETE", "/v1/kv/?recurse", "").await.text(), "true");
    assert_eq!(stand.json("/v1/kv/?keys").await, json!([]));
}

#[tokio::test]
async fn a_key_is_taken_as_it_is_written() {
    let stand = Stand::new();
    for (path, key) in [
        ("a.b/../c", "a.b/../c"),
        ("double//slash", "double//slash"),
        ("/leading", "/leading"),
        ("trailing/", "trailing/"),
        ("interop%2F1%2Fa%20key", "interop/1/a key"),
        ("gr%C3%B6%C3%9Fe/%F0%9F%8D%9E", "größe/🍞"),
        ("a+b", "a+b"),
        ("q%3Fx%23y", "q?x#y"),
        ("%2e%2e", ".."),
        ("per%25cent", "per%cent"),
    ] {
        stand.put(&format!("/v1/kv/{path}"), path).await;
        let told = stand.json(&format!("/v1/kv/{path}")).await;
        assert_eq!(told[0]["Key"], key, "{path}");
        assert_eq!(stand.get(&format!("/v1/kv/{path}?raw")).await.text(), path);
        stand.ask("DELETE", &format!("/v1/kv/{path}"), "").await;
        assert_eq!(stand.json("/v1/kv/?keys").await, json!([]), "{path}");
    }
    for path in ["/v1/kv/%FF", "/v1/kv/%C3"] {
        assert!(stand.ask("PUT", path, "1").await.status >= 400, "{path}");
    }
}

#[tokio::test]
async fn keys_have_their_case() {
    let stand = Stand::new();
    stand.put("/v1/kv/Key", "1").await;
    assert_eq!(stand.get("/v1/kv/key").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_key_answers_who_waits_for_it_when_it_is_put_changed_and_deleted() {
    let stand = Stand::new();
    let mut seen = stand.get("/v1/kv/k").await.index();
    for (method, body, status) in [("PUT", "1", 200), ("PUT", "2", 200), ("DELETE", "", 404)] {
        let parked = stand.park(&format!("/v1/kv/k?index={seen}")).await;
        stand.put("/v1/kv/other", method).await;
        stand.put("/v1/kv/k2", method).await;
        parked.is_still_waiting().await;
        stand.ask(method, "/v1/kv/k", body).await;
        let told = parked.told().await;
        assert_eq!(told.status, status, "{method}");
        assert!(told.index() > seen);
        seen = told.index();
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_that_changes_nothing_wakes_nobody() {
    let stand = Stand::new();
    stand.put("/v1/kv/k?flags=3", "1").await;
    let seen = stand.get("/v1/kv/k").await.index();
    let parked = stand.park(&format!("/v1/kv/k?index={seen}&wait=10s")).await;
    stand.put("/v1/kv/k?flags=3", "1").await;
    let told = parked.told().await;
    assert!(told.index() == seen && told.took >= Duration::from_secs(10), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_tree_is_told_of_puts_and_deletions_in_it() {
    let stand = Stand::new();
    stand.put("/v1/kv/a/1", "1").await;
    for form in ["recurse", "keys", "keys&separator=/"] {
        let path = format!("/v1/kv/a/?{form}");
        let mut seen = stand.get(&path).await.index();
        for (method, key) in [("PUT", "a/2"), ("PUT", "a/1"), ("DELETE", "a/2")] {
            let parked = stand.park(&format!("{path}&index={seen}")).await;
            stand.put("/v1/kv/ab", format!("{seen}")).await;
            parked.is_still_waiting().await;
            stand.ask(method, &format!("/v1/kv/{key}"), format!("{form}{seen}")).await;
            let told = parked.told().await;
            assert!(told.status == 200 && told.index() > seen, "{form} {method} {key}: {told:?}");
            seen = told.index();
        }
    }
}

#[tokio::test]
async fn bad_numbers_conflicts_and_large_values_are_refused() {
    let stand = Stand::with(|options| options.kv.max_value = 1_000);
    for (method, path, status) in [
        ("PUT", "/v1/kv/", 400),
        ("DELETE", "/v1/kv/", 400),
        ("GET", "/v1/kv/", 400),
        ("GET", "/v1/kv/?raw", 400),
        ("PUT", "/v1/kv/k?cas=x", 400),
        ("PUT", "/v1/kv/k?flags=-1", 400),
        ("PUT", "/v1/kv/k?cas=1&acquire=x", 400),
        ("DELETE", "/v1/kv/k?recurse&cas=1", 400),
        ("GET", "/v1/kv/k?index=x", 400),
        ("POST", "/v1/kv/k", 405),
    ] {
        let told = stand.ask(method, path, "1").await;
        assert_eq!(told.status, status, "{method} {path}: {}", told.text());
        assert!(!told.body.is_empty(), "it says why");
    }
    assert_eq!(stand.put("/v1/kv/k", vec![b'x'; 1_000]).await.text(), "true");
    let told = stand.ask("PUT", "/v1/kv/k", vec![b'x'; 1_001]).await;
    assert!(told.status == 413 && told.text().contains("1000"), "{told:?}");
    let long = format!("/v1/kv/{}", "k".repeat(5_000));
    assert_eq!(stand.ask("PUT", &long, "1").await.status / 100, 4);
}

#[tokio::test]
async fn a_full_store_takes_no_new_key_and_says_so() {
    let stand = Stand::with(|options| options.kv.max_entries = 2);
    stand.put("/v1/kv/a", "1").await;
    stand.put("/v1/kv/b", "1").await;
    let told = stand.ask("PUT", "/v1/kv/c", "1").await;
    assert!(told.status / 100 == 5 && !told.body.is_empty(), "{told:?}");
    stand.put("/v1/kv/a", "2").await;
    stand.ask("DELETE", "/v1/kv/b", "").await;
    stand.put("/v1/kv/c", "1").await;
}
