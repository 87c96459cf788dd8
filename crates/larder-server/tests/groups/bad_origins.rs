//! Origins that answer badly, slowly, or without end. None of them harms more than the key that was asked for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::alone;
use crate::support::http::{Answer, Origin, ask, key, write};
use crate::support::{PATIENCE, Running};

async fn get(server: &Running, key: &str) -> Answer {
    ask(server.address, "GET", &format!("/cache/values/{key}"), &[], b"").await
}

/// Asks an origin that answers each key with one of these and closes; and after each once more, for what it
/// answers well.
async fn refused(cases: &'static [(&str, &str)], status: u16) {
    let origin = Origin::start(move |head, mut stream| async move {
        match key(&head).parse::<usize>() {
            Ok(number) => drop(stream.write_all(cases[number].0.as_bytes()).await),
            Err(_) => write(&mut stream, "200 OK", "", b"well").await,
        }
    })
    .await;
    let server = alone(&origin, |_| {}).await;
    for (number, (raw, says)) in cases.iter().enumerate() {
        let got = get(&server, &number.to_string()).await;
        assert_eq!(got.status, status, "{raw:?}: {}", got.text());
        assert!(got.text().contains(says), "{raw:?}: {}", got.text());
        assert!(!got.text().contains("127.0.0.1"), "{}", got.text());
        assert_eq!(get(&server, &format!("well-{number}")).await.text(), "well");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_value_is_told_with_what_is_wrong() {
    const CASES: &[(&str, &str)] = &[
        ("HTTP/1.1 500 Oh\r\ncontent-length: 6\r\n\r\nsecret", "the origin answered 500"),
        ("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n", "the origin answered 401"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "the origin answered 204"),
        ("HTTP/1.1 206 Part\r\ncontent-length: 1\r\n\r\nx", "the origin answered 206"),
        ("", "cannot be reached"),
        ("nonsense\r\n\r\n", "cannot be reached"),
        (
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx",
            "encoded as gzip",
        ),
    ];
    refused(CASES, 502).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_shorter_than_it_says_is_no_value() {
    const CASES: &[(&str, &str)] = &[
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", "broke off"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", "broke off"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", "broke off"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsho", "broke off"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n", "broke off"),
    ];
    refused(CASES, 502).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_an_answer_is_no_other_keys_value() {
    let origin = Origin::start(|head, mut stream| async move {
        let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", key(&head));
        let _ = stream.write_all(format!("{answer}{evil}").as_bytes()).await;
        // The connection stays open, as if it could be used again.
        tokio::time::sleep(PATIENCE).await;
    })
    .await;
    let server = alone(&origin, |_| {}).await;
    for number in 100..200 {
        let got = get(&server, &number.to_string()).await;
        assert_eq!((got.status, got.text()), (200, number.to_string()));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_is_not_read_and_not_announced_either() {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = sent.clone();
    let origin = Origin::start(move |head, mut stream| {
        let counted = counted.clone();
        async move {
            if key(&head) == "announced" {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
                    .await;
            } else {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            }
            let piece = vec![0; 64 << 10];
            for _ in 0..(1 << 30) / piece.len() {
                if stream.write_all(&piece).await.is_err() {
                    break;
                }
                counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    let server = alone(&origin, |_| {}).await;
    for key in ["announced", "endless"] {
        let got = get(&server, key).await;
        assert_eq!(got.status, 502);
        assert!(
            got.text().contains("longer than 1048576 bytes (max_value_bytes)"),
            "{}",
            got.text()
        );
    }
    // What the system buffers between the two comes to it.
    assert!(
        sent.load(Ordering::Relaxed) < 64 << 20,
        "{} bytes were read",
        sent.load(Ordering::Relaxed)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_answers_and_slow_bodies_are_given_up_in_time() {
    let origin = Origin::start(|head, mut stream| async move {
        if key(&head) == "body" {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(PATIENCE).await;
    })
    .await;
    let server = alone(&origin, |config| {
        config.groups.groups[0].load_timeout = Duration::from_millis(300);
    })
    .await;
    for key in ["answer", "body"] {
        let got = get(&server, key).await;
        assert_eq!(got.status, 504, "{}", got.text());
        assert!(got.text().contains("no answer within 300ms (load_timeout_ms)"), "{}", got.text());
    }
    server.stop().await;
    let server = alone(&origin, |config| config.limits.request = Duration::from_millis(200)).await;
    let got = get(&server, "answer").await;
    assert_eq!(got.status, 504, "{}", got.text());
    assert!(got.text().contains("limits.request_secs"), "{}", got.text());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_but_not_for_ever_nor_anywhere() {
    let origin = Origin::start(|head, mut stream| async move {
        let left: Option<u32> = key(&head).parse().ok();
        let to = match (key(&head), left) {
            (_, Some(0)) => return write(&mut stream, "200 OK", "", b"there").await,
            (_, Some(left)) => format!("/v1/{}", left - 1),
            ("loop", _) => "/v1/loop".to_owned(),
            ("tls", _) => "https://127.0.0.1/".to_owned(),
            ("file", _) => "file:///etc/passwd".to_owned(),
            _ => return write(&mut stream, "302 Found", "", b"").await,
        };
        write(&mut stream, "307 Temporary Redirect", &format!("location: {to}\r\n"), b"").await;
    })
    .await;
    let server = alone(&origin, |_| {}).await;
    assert_eq!(get(&server, "10").await.text(), "there");
    for (key, says) in [
        ("11", "more than 10 times"),
        ("loop", "more than 10 times"),
        ("tls", "TLS is not built in"),
        ("file", "another scheme"),
        ("nowhere", "to nowhere"),
    ] {
        let got = get(&server, key).await;
        assert_eq!(got.status, 502, "{key}");
        assert!(got.text().contains(says), "{key}: {}", got.text());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_header_reaches_the_origin_and_nobody_whom_it_redirects_to() {
    let home = Arc::new(OnceLock::<SocketAddr>::new());
    let back_to = home.clone();
    let elsewhere = Origin::start(move |head, mut stream| {
        let home = back_to.get().copied().expect("it is known");
        async move {
            match key(&head) {
                "boomerang" => {
                    let location = format!("location: http://{home}/v1/admin\r\n");
                    write(&mut stream, "302 Found", &location, b"").await;
                }
                _ => write(&mut stream, "200 OK", "", b"value of away").await,
            }
        }
    })
    .await;
    let to = elsewhere.address;
    let origin = Origin::start(move |head, mut stream| async move {
        match key(&head) {
            key @ ("away" | "boomerang") => {
                let location = format!("location: http://{to}/v1/{key}\r\n");
                write(&mut stream, "302 Found", &location, b"").await;
            }
            "here" => write(&mut stream, "302 Found", "location: /v1/there\r\n", b"").await,
            _ => write(&mut stream, "200 OK", "", b"value").await,
        }
    })
    .await;
    home.set(origin.address).expect("once");
    let server = alone(&origin, |config| {
        let larder_server::config::Origin::Http { headers, .. } =
            &mut config.groups.groups[0].origin
        else {
            panic!("it is an HTTP server");
        };
        headers.insert("x-api-key", axum::http::HeaderValue::from_static("hunter2"));
    })
    .await;
    assert_eq!(get(&server, "away").await.text(), "value of away");
    assert_eq!(get(&server, "here").await.text(), "value");
    assert_eq!(origin.loads(), 3);
    assert!(origin.heads().iter().all(|head| head.contains("x-api-key: hunter2")));
    assert_eq!(get(&server, "boomerang").await.text(), "value");
    let [.., back] = &origin.heads()[..] else { panic!("it was asked") };
    assert!(back.starts_with("GET /v1/admin ") && !back.contains("hunter2"), "{back}");
    assert!(elsewhere.heads().iter().all(|head| !head.contains("hunter2")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_shortens_how_long_its_answer_is_kept_and_never_lengthens_it() {
    for (lines, ttl, lifetime) in [
        ("cache-control: max-age=50\r\n", 100, 45..=50),
        ("cache-control: max-age=50\r\nage: 20\r\n", 100, 25..=30),
        ("cache-control: max-age=5000\r\n", 100, 90..=100),
        ("", 100, 90..=100),
    ] {
        let origin = Origin::of_values(lines).await;
        let server = alone(&origin, |config| {
            config.groups.groups[0].ttl = Duration::from_secs(ttl);
        })
        .await;
        let got = get(&server, "ada").await;
        let max_age: Option<u64> =
            got.header("cache-control").strip_prefix("max-age=").and_then(|secs| secs.parse().ok());
        assert!(max_age.is_some_and(|secs| lifetime.contains(&secs)), "{lines}: {max_age:?}");
        server.stop().await;
    }
    let origin = Origin::of_values("cache-control: no-store\r\n").await;
    let server = alone(&origin, |_| {}).await;
    for loads in 1..=3 {
        assert_eq!(get(&server, "ada").await.text(), "value of ada");
        assert_eq!(origin.loads(), loads, "it is not kept");
    }
    server.stop().await;
}
