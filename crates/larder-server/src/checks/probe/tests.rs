use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use larder_registry::model::{MAX_OUTPUT_BYTES, Opaque};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Longer than any probe of a server that answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on this machine that ends with the test.
struct Target {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Target {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let own = format!("http://{address}/ok");
        let routes = Router::new()
            .route("/ok", get(|| async { "fine" }))
            .route("/busy", get(|| async { (StatusCode::TOO_MANY_REQUESTS, "slow down") }))
            .route("/broken", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "ouch") }))
            .route("/long", get(|| async { "é".repeat(1_000_000) }))
            .route("/never", get(std::future::pending::<&str>))
            .route("/here", get(|| async move { Redirect::to(&own) }))
            .route("/away", get(|| async { Redirect::to("http://192.0.2.1/") }))
            .route("/tls", get(|| async { Redirect::to("https://127.0.0.1/") }))
            .route("/round", get(|| async { Redirect::to("/round") }));
        let server =
            tokio::spawn(async { axum::serve(listener, routes).await.expect("it serves") });
        Self { address, server }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn http(url: &str) -> Probe {
    Probe::Http { url: url.to_owned(), definition: Opaque::default() }
}

async fn probe(probe: &Probe) -> Finding {
    let prober = Prober::new(Allow::default()).expect("it can be built");
    prober.probe(probe, PATIENCE).await
}

#[tokio::test]
async fn the_status_of_the_answer_decides_as_in_consul() {
    let target = Target::start().await;
    for (path, health, says) in [
        ("/ok", Health::Passing, "200 OK Output: fine"),
        ("/busy", Health::Warning, "429 Too Many Requests Output: slow down"),
        ("/broken", Health::Critical, "500 Internal Server Error Output: ouch"),
        ("/nowhere", Health::Critical, "404 Not Found Output: "),
        ("/here", Health::Passing, "200 OK Output: fine"),
    ] {
        let url = target.url(path);
        let output = format!("HTTP GET {url}: {says}");
        assert_eq!(probe(&http(&url)).await, Finding { health, output }, "{path}");
    }
}

#[tokio::test]
async fn a_name_is_probed_if_it_stands_for_this_machine() {
    let target = Target::start().await;
    let named = format!("localhost:{}", target.address.port());
    assert_eq!(probe(&http(&format!("http://{named}/ok"))).await.health, Health::Passing);
    assert_eq!(probe(&Probe::Tcp(named)).await.health, Health::Passing);
}

#[tokio::test]
async fn a_long_body_is_cut() {
    let target = Target::start().await;
    let finding = probe(&http(&target.url("/long"))).await;
    assert_eq!(finding.health, Health::Passing);
    assert!((MAX_OUTPUT_BYTES - 1..=MAX_OUTPUT_BYTES).contains(&finding.output.len()));
}

#[tokio::test]
async fn no_answer_in_time_is_critical() {
    let target = Target::start().await;
    let prober = Prober::new(Allow::default()).expect("it can be built");
    let finding = prober.probe(&http(&target.url("/never")), Duration::from_millis(50)).await;
    assert_eq!(finding, Finding::critical("no answer within 50 ms".to_owned()));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_critical() {
    let target = Target::start().await;
    let (address, url) = (target.address, target.url("/ok"));
    target.server.abort();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    for gone in [http(&url), Probe::Tcp(address.to_string())] {
        let finding = probe(&gone).await;
        assert_eq!(finding.health, Health::Critical);
        assert!(finding.output.contains("onnection refused"), "{}", finding.output);
    }
}

#[tokio::test]
async fn a_connection_that_is_accepted_is_passing() {
    let target = Target::start().await;
    let finding = probe(&Probe::Tcp(target.address.to_string())).await;
    let says = format!("TCP connect {}: Success", target.address);
    assert_eq!(finding, Finding::passing(says));
}

#[tokio::test]
async fn who_is_not_allowed_is_not_probed_however_it_is_written() {
    let target = Target::start().await;
    for forbidden in [
        http("http://192.0.2.1/"),
        http("http://[2001:db8::1]/"),
        http("http://3221225985/"),
        http(&target.url("/away")),
        Probe::Tcp("192.0.2.1:80".to_owned()),
        Probe::Tcp("[2001:db8::1]:80".to_owned()),
    ] {
        let finding = probe(&forbidden).await;
        assert_eq!(finding.health, Health::Critical);
        assert!(finding.output.contains("checks.allow"), "{forbidden:?}: {}", finding.output);
    }
}

#[tokio::test]
async fn who_is_allowed_by_a_pattern_is_probed() {
    let allow = Allow(vec!["192.0.2.0/24".parse().expect("a pattern")]);
    let prober = Prober::new(allow).expect("it can be built");
    let target = Target::start().await;
    for allowed in [http("http://192.0.2.1/"), http(&target.url("/away"))] {
        // Nobody is there; what matters is that it was tried.
        let finding = prober.probe(&allowed, Duration::from_millis(100)).await;
        assert!(!finding.output.contains("checks.allow"), "{}", finding.output);
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_could_not_be_probed() {
    let target = Target::start().await;
    for (path, says) in [("/tls", "TLS is not supported"), ("/round", "more than 10 redirects")] {
        let finding = probe(&http(&target.url(path))).await;
        assert_eq!(finding.health, Health::Critical);
        assert!(finding.output.contains(says), "{path}: {}", finding.output);
    }
}

#[tokio::test]
async fn what_cannot_be_probed_says_why() {
    let definition = Opaque(r#"{"method":"POST"}"#.to_owned());
    for (unknown, says) in [
        (Probe::Http { url: "http://127.0.0.1/".to_owned(), definition }, "only a plain GET"),
        (http("https://127.0.0.1/"), "TLS is not supported"),
        (http("http://u:p@127.0.0.1/"), "must hold no password"),
        (http("nonsense"), "expected a URL"),
        (Probe::Tcp("nonsense".to_owned()), "is no host:port"),
        (Probe::Tcp("no-such-host.invalid:80".to_owned()), "cannot resolve no-such-host.invalid"),
        (Probe::Ttl(PATIENCE), "somebody else reports"),
    ] {
        let finding = probe(&unknown).await;
        assert_eq!(finding.health, Health::Critical);
        assert!(finding.output.contains(says), "{unknown:?}: {}", finding.output);
    }
}

#[test]
fn a_probe_takes_ten_seconds_or_its_interval_unless_it_says() {
    let of = |interval_millis, timeout_secs| {
        let check = Check {
            interval: Duration::from_millis(interval_millis),
            timeout: Duration::from_secs(timeout_secs),
            ..Check::new("c", Probe::Tcp("h:1".to_owned()))
        };
        (interval(&check).as_secs(), timeout(&check).as_secs())
    };
    assert_eq!([of(60_000, 0), of(5_000, 0)], [(60, 10), (5, 5)]);
    assert_eq!([of(5_000, 7), of(60_000, 30)], [(5, 7), (60, 30)]);
    assert_eq!([of(0, 0), of(1, 0), of(5_000, 9_999)], [(10, 10), (1, 1), (5, 60)]);
}
