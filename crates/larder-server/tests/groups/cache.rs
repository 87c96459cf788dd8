//! `/cache/<group>/<key>`, as a client sees it.

use crate::support::http::{Origin, ask, key, write};
use crate::{alone, group};

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_loaded_once_and_served_with_its_age_and_a_validator() {
    let origin = Origin::of_values("").await;
    let server = alone(&origin, |config| {
        config.groups.groups[0].ttl = std::time::Duration::from_secs(300);
    })
    .await;
    for _ in 0..3 {
        let got = ask(server.address, "GET", "/cache/values/ada", &[], b"").await;
        assert_eq!((got.status, got.text().as_str()), (200, "value of ada"));
        assert_eq!(got.header("content-type"), "application/octet-stream");
        assert_eq!(got.header("accept-ranges"), "bytes");
        assert_eq!(got.header("content-length"), "12");
        let (age, lifetime) = (got.header("age"), got.header("cache-control"));
        let age: u64 = age.parse().expect("seconds");
        let lifetime: u64 =
            lifetime.strip_prefix("max-age=").expect("it has one").parse().expect("seconds");
        assert!(age < 20 && (290..=300).contains(&lifetime), "{age} {lifetime}");
        assert!(got.header("etag").starts_with('"'), "{got:?}");
    }
    assert_eq!(origin.loads(), 1);
    let head = &origin.heads()[0];
    assert!(head.starts_with("GET /v1/ada HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("user-agent: larder/") && head.contains("accept-encoding: identity"),
        "{head}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_the_value_or_wants_a_part_is_sent_no_more() {
    let origin = Origin::of_values("").await;
    let server = alone(&origin, |_| {}).await;
    let get = async |headers: &[&str]| {
        ask(server.address, "GET", "/cache/values/ada", headers, b"").await
    };
    let whole = get(&[]).await;
    assert_eq!(whole.header("cache-control"), "no-cache", "it may change at any time");
    let etag = whole.header("etag").to_owned();
    let known = get(&[&format!("if-none-match: \"x\", {etag}"), "range: bytes=0-1"]).await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, etag.as_str()));
    for (headers, part, range) in [
        (vec!["range: bytes=0-4".to_owned()], "value", "bytes 0-4/12"),
        (vec!["range: bytes=-3".to_owned()], "ada", "bytes 9-11/12"),
        (vec!["range: bytes=9-".to_owned(), format!("if-range: {etag}")], "ada", "bytes 9-11/12"),
    ] {
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let got = get(&headers).await;
        assert_eq!((got.status, got.text().as_str()), (206, part), "{headers:?}");
        assert_eq!(got.header("content-range"), range);
        assert_eq!(got.header("content-length"), part.len().to_string());
    }
    for headers in [&["range: bytes=0-1,3-4"][..], &["range: bytes=0-4", "if-range: \"other\""]] {
        let got = get(headers).await;
        assert_eq!((got.status, got.text().as_str()), (200, "value of ada"), "{headers:?}");
    }
    let beyond = get(&["range: bytes=12-"]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */12"));
    let head = ask(server.address, "HEAD", "/cache/values/ada", &["range: bytes=0-4"], b"").await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "12"));
    assert_eq!((head.header("etag"), origin.loads()), (etag.as_str(), 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_served_until_it_expires_or_is_removed() {
    let origin = Origin::of_values("").await;
    let server = alone(&origin, |_| {}).await;
    let at = "/cache/values/ada";
    let set = ask(server.address, "PUT", at, &["cache-control: max-age=100"], b"\xff\0set").await;
    assert_eq!((set.status, set.text().as_str()), (204, ""));
    let got = ask(server.address, "GET", at, &[], b"").await;
    assert_eq!((got.status, got.body.as_slice()), (200, &b"\xff\0set"[..]));
    let lifetime = got.header("cache-control").strip_prefix("max-age=").map(str::parse);
    assert!(matches!(lifetime, Some(Ok(80..=100))), "{got:?}");
    assert_eq!(origin.loads(), 0);
    assert_eq!(ask(server.address, "DELETE", at, &[], b"").await.status, 204);
    assert_eq!(ask(server.address, "GET", at, &[], b"").await.text(), "value of ada");
    assert_eq!(
        ask(server.address, "PUT", at, &["cache-control: max-age=0"], b"x").await.status,
        204
    );
    assert_eq!(ask(server.address, "GET", at, &[], b"").await.text(), "value of ada");
    assert_eq!(origin.loads(), 2, "what has expired was not served");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_unknown_is_told_apart_from_a_key_that_is_missing() {
    let origin = Origin::start(|head, mut stream| async move {
        let status = if key(&head) == "gone" { "410 Gone" } else { "404 Not Found" };
        write(&mut stream, status, "", b"no").await;
    })
    .await;
    let server = alone(&origin, |config| {
        config.groups.groups.push(group("other", "http://127.0.0.1:9/{key}"));
    })
    .await;
    for path in ["/cache/values/missing", "/cache/values/gone"] {
        let got = ask(server.address, "GET", path, &[], b"").await;
        assert_eq!((got.status, got.header("larder-group")), (404, "known"));
        assert_eq!(got.text(), r#"{"error":"there is no such key in group \"values\""}"#);
    }
    let got = ask(server.address, "GET", "/cache/valeus/ada", &[], b"").await;
    assert_eq!((got.status, got.header("larder-group")), (404, "unknown"));
    assert_eq!(got.text(), r#"{"error":"there is no such group; there are other, values"}"#);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_bytes_and_nothing_tidies_them() {
    let origin = Origin::start(|head, mut stream| async move {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        write(&mut stream, "200 OK", "", path.as_bytes()).await;
    })
    .await;
    let server = alone(&origin, |_| {}).await;
    for (asked, loaded) in [
        ("a/b", "a%2Fb"),
        ("/a//b/", "%2Fa%2F%2Fb%2F"),
        ("a/../b", "a%2F..%2Fb"),
        ("../../etc", "..%2F..%2Fetc"),
        ("a%2fb", "a%2Fb"),
        ("%FF%00", "%FF%00"),
        ("a+b%20c", "a%2Bb%20c"),
        ("a%25b", "a%25b"),
        ("%E2%98%83", "%E2%98%83"),
        ("a?b=c", "a"),
        ("", ""),
    ] {
        let got = ask(server.address, "GET", &format!("/cache/values/{asked}"), &[], b"").await;
        assert_eq!((got.status, got.text()), (200, format!("/v1/{loaded}")), "{asked}");
    }
    assert_eq!(origin.loads(), 10, "a slash is one, however it is written");
    for key in [".", ".."] {
        let got = ask(server.address, "GET", &format!("/cache/values/{key}"), &[], b"").await;
        assert_eq!(got.status, 502);
        assert!(got.text().contains("leads elsewhere"), "{}", got.text());
    }
    for (path, says) in [
        ("/cache/values/%zz", "without two hexadecimal digits"),
        ("/cache/values", "there is no key"),
        ("/cache/", "there is no key"),
    ] {
        let got = ask(server.address, "GET", path, &[], b"").await;
        assert_eq!(got.status, 400, "{path}");
        assert!(got.text().contains(says), "{}", got.text());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_keys_are_served_as_far_as_a_head_may_be_long() {
    let origin = Origin::of_values("").await;
    let server = alone(&origin, |config| config.limits.header_bytes = 128 << 10).await;
    let key = "k".repeat(65_000);
    let got = ask(server.address, "GET", &format!("/cache/values/{key}"), &[], b"").await;
    assert_eq!((got.status, got.body.len()), (200, "value of ".len() + key.len()));
    let got =
        ask(server.address, "GET", &format!("/cache/values/{}", "k".repeat(65_536)), &[], b"")
            .await;
    assert_eq!(got.status, 414);
    server.stop().await;
    let server = alone(&origin, |_| {}).await;
    let got = ask(server.address, "GET", &format!("/cache/values/{key}"), &[], b"").await;
    assert_eq!(got.status, 431);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_cannot_be_obeyed_are_refused_with_a_sentence() {
    let origin = Origin::of_values("").await;
    let server = alone(&origin, |config| config.limits.body_bytes = 2_000).await;
    let big = vec![b'x'; 2_001];
    for (path, headers, body, status, says) in [
        ("/cache/values/", vec![], &b"v"[..], 400, "the empty key"),
        ("/cache/values/k", vec!["if-match: \"x\""], b"v", 400, "if-match cannot be obeyed"),
        ("/cache/values/k", vec!["content-range: bytes 0-0/2"], b"v", 400, "content-range"),
        ("/cache/values/k", vec!["content-encoding: gzip"], b"v", 400, "content-encoding"),
        ("/cache/values/k", vec!["cache-control: no-store"], b"v", 400, "only max-age"),
        ("/cache/values/k", vec![], &big, 413, "may have 2000 bytes here"),
        ("/cache/nothing/k", vec![], b"v", 404, "no such group"),
    ] {
        let got = ask(server.address, "PUT", path, &headers, body).await;
        assert_eq!(got.status, status, "{path} {headers:?}: {}", got.text());
        assert!(got.text().contains(says), "{}", got.text());
    }
    let whole = "transfer-encoding: chunked";
    let chunks = format!("7d1\r\n{}\r\n0\r\n\r\n", "x".repeat(2_001));
    let head =
        format!("PUT /cache/values/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{whole}\r\n\r\n");
    let (status, _) = server.raw(format!("{head}{chunks}").into_bytes()).await;
    assert_eq!(status, 413, "a body without a length");
    for method in ["POST", "PATCH", "OPTIONS"] {
        let got = ask(server.address, method, "/cache/values/k", &[], b"").await;
        assert_eq!((got.status, got.header("allow")), (405, "GET, HEAD, PUT, DELETE"));
    }
    assert_eq!(origin.loads(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_group_the_paths_say_so_and_eurekas_are_served() {
    let server = crate::support::Running::start(|_| {}).await;
    for path in ["/cache/values/ada", "/_groupcache/values/ada"] {
        let got = ask(server.address, "GET", path, &[], b"").await;
        assert_eq!(got.status, 404);
        assert!(got.text().contains("[[group]]"), "{}", got.text());
    }
    assert_eq!(ask(server.address, "GET", "/eureka/apps", &[], b"").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_is_served_and_not_kept_and_cannot_be_set() {
    let origin = Origin::start(|head, mut stream| async move {
        let len = if key(&head) == "large" { 50_000 } else { 10 };
        write(&mut stream, "200 OK", "", &vec![b'v'; len]).await;
    })
    .await;
    let server = alone(&origin, |config| config.groups.groups[0].max_bytes = 10_000).await;
    for (key, len, loads) in [("small", 10, 1), ("large", 50_000, 3), ("small", 10, 3)] {
        for _ in 0..2 {
            let got = ask(server.address, "GET", &format!("/cache/values/{key}"), &[], b"").await;
            assert_eq!((got.status, got.body.len()), (200, len), "{key}");
        }
        assert_eq!(origin.loads(), loads, "{key}");
    }
    let set = ask(server.address, "PUT", "/cache/values/k", &[], &vec![b'v'; 50_000]).await;
    assert_eq!(set.status, 413);
    assert!(set.text().contains("does not fit into the group (max_bytes)"), "{}", set.text());
    server.stop().await;
}
