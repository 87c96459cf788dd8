//! A Consul in development mode, as a process of its own on loopback.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Method, Request};
use larder_cache::{Clock, Ticker};
use larder_consul::backend::{ConsulClient, Options};
use larder_consul::client::{self, Client};
use larder_consul::passthrough::{MAX_PASSED, PassThrough};
use larder_consul::question::Token;
use larder_registry::{Backend, Event, Watch};
use serde_json::Value;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A Consul.
pub(crate) struct Consul {
    pub(crate) address: SocketAddr,
    binary: PathBuf,
    /// Who may do everything, where not everybody may.
    root: Option<&'static str>,
    child: Option<Child>,
}

/// Who may do everything.
pub(crate) const ROOT: &str = "11111111-2222-3333-4444-555555555555";

impl Consul {
    /// One that answers nobody without a token.
    pub(crate) async fn start_with_tokens() -> Self {
        Self::start_as(Some(ROOT)).await
    }

    pub(crate) async fn start() -> Self {
        Self::start_as(None).await
    }

    #[expect(clippy::disallowed_methods, reason = "only whoever has a Consul knows where it is")]
    async fn start_as(root: Option<&'static str>) -> Self {
        let binary = std::env::var("LARDER_CONSUL").expect("LARDER_CONSUL=/path/to/consul");
        let mut consul = Self { address: free().into(), binary: binary.into(), root, child: None };
        consul.spawn().await;
        consul
    }

    /// Starts it, again where it was, with nothing in it.
    pub(crate) async fn spawn(&mut self) {
        let rules = self.root.map(|root| {
            format!(
                r#"acl {{ enabled = true, default_policy = "deny",
                    tokens {{ initial_management = "{root}", agent = "{root}" }} }}"#
            )
        });
        let rules = rules.map(|rules| ["-hcl".to_owned(), rules.replace('\n', " ")]);
        let child = Command::new(&self.binary)
            .args(["agent", "-dev", "-bind", "127.0.0.1", "-log-level", "error"])
            .args(["-http-port", &self.address.port().to_string()])
            .args(["-server-port", &free().1.to_string()])
            .args(["-serf-lan-port", &free().1.to_string()])
            .args(["-serf-wan-port", &free().1.to_string()])
            .args(["-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1"])
            .args(rules.into_iter().flatten())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it can be run");
        self.child = Some(child);
        let ready = async {
            // It lists its own service once it has a leader and has told it of itself.
            while !self
                .try_get("/v1/catalog/services")
                .await
                .is_some_and(|it| it["consul"].is_array())
                || self.try_get("/v1/health/node/none").await.is_none()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("it is ready in time");
    }

    pub(crate) fn die(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    pub(crate) fn client_options(&self) -> client::Options {
        client::Options {
            servers: vec![self.address.to_string()],
            token: Token::new(self.root.unwrap_or_default()),
            ..client::Options::default()
        }
    }

    /// A client of it, and what moves its clock.
    pub(crate) fn connect(&self) -> (Arc<ConsulClient>, Ticker) {
        let clock = Clock::running();
        let options = Options { client: self.client_options(), ..Options::default() };
        let client = ConsulClient::connect(&options, &clock).expect("good options");
        (Arc::new(client), Ticker::start(clock, Ticker::PERIOD))
    }

    /// Asks it without anything of ours but what passes through.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        let options = self.client_options();
        let client = Client::new(&options).expect("good options");
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let response = PassThrough::new(client, &options, MAX_PASSED).pass(request).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 24).await.expect("it is whole");
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> String {
        let (status, says) = self.ask(Method::PUT, path, body).await;
        assert_eq!(status, 200, "{path}: {says}");
        says
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.try_get(path).await.expect("it is answered")
    }

    async fn try_get(&self, path: &str) -> Option<Value> {
        let (status, body) = self.ask(Method::GET, path, "").await;
        (status == 200).then(|| serde_json::from_str(&body).ok()).flatten()
    }

    /// Removes every service, and waits until its servers know.
    pub(crate) async fn empty(&self) {
        let emptying = async {
            loop {
                let services = self.get("/v1/agent/services").await;
                for id in services.as_object().expect("an object").keys() {
                    self.put(&format!("/v1/agent/service/deregister/{id}"), "").await;
                }
                let listed = self.get("/v1/catalog/services").await;
                if listed.as_object().expect("an object").len() == 1 {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, emptying).await.expect("it is empty in time");
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        self.die();
    }
}

/// A port that nobody uses, for TCP and UDP.
fn free() -> ([u8; 4], u16) {
    loop {
        let bound = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = bound.local_addr().expect("it is bound").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return ([127, 0, 0, 1], port);
        }
    }
}

pub(crate) async fn next(watch: &mut dyn Watch) -> Event {
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time");
    event.expect("it goes on").expect("all is well")
}

/// Waits for the end of a listing; answers with its keys.
pub(crate) async fn listing(watch: &mut dyn Watch) -> Vec<String> {
    assert_eq!(next(watch).await, Event::Init);
    let mut keys = Vec::new();
    loop {
        match next(watch).await {
            Event::InitApply(instance) => keys.push(instance.key().to_string()),
            Event::InitDone { .. } => return keys,
            other => panic!("in a listing: {other:?}"),
        }
    }
}

pub(crate) fn backend(client: &Arc<ConsulClient>) -> Arc<dyn Backend> {
    client.clone()
}
