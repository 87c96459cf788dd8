//! A real etcd on loopback, for one test: with ports and a folder of its own, ended with the test.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use larder_cache::{Backoff, Clock};
use larder_etcd::{Etcd, Options};
use larder_registry::model::{Instance, Lease};
use larder_registry::{Backend, Event, Watch};
use tempfile::TempDir;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server of etcd.
#[derive(Debug)]
pub(crate) struct Server {
    folder: TempDir,
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts a server, and waits until it answers.
    pub(crate) async fn start() -> Self {
        let (client_port, peer_port) = free_ports();
        let folder = tempfile::tempdir().expect("a folder for etcd");
        let mut server = Self { folder, client_port, peer_port, process: None };
        server.restart().await;
        server
    }

    /// Starts the server anew on its old data.
    pub(crate) async fn restart(&mut self) {
        self.launch();
        let deadline = tokio::time::timeout(PATIENCE, async {
            while !self.is_healthy() {
                let ended = self.process.as_mut().and_then(|it| it.try_wait().ok().flatten());
                assert!(ended.is_none(), "etcd ended: {ended:?}\n{}", self.log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let started = deadline.await;
        assert!(started.is_ok(), "etcd does not answer\n{}", self.log());
    }

    fn launch(&mut self) {
        let url = |port| format!("http://127.0.0.1:{port}");
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log for etcd");
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen-client-urls", &url(self.client_port)])
            .args(["--advertise-client-urls", &url(self.client_port)])
            .args(["--listen-peer-urls", &url(self.peer_port)])
            .args(["--initial-advertise-peer-urls", &url(self.peer_port)])
            .args(["--initial-cluster", &format!("default={}", url(self.peer_port))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd is needed for this test: apt-get install etcd-server");
        self.process = Some(process);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn is_healthy(&self) -> bool {
        // Its client tries once a second; one that comes too early costs as much.
        TcpStream::connect(self.endpoint()).is_ok()
            && self.etcdctl(&["endpoint", "health"]).status.success()
    }

    /// Ends the server without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it runs");
            process.wait().expect("it ends");
        }
    }

    /// Stops the server's clock, as it were: it answers nothing and closes nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen server go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("it runs").id().to_string();
        let done = Command::new("kill").args([signal, &id]).status().expect("kill is there");
        assert!(done.success());
    }

    /// Where it keeps what it knows.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Throws away what the server knows; it must have been killed.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.data()).expect("it had data");
    }

    /// Runs etcd's own client, which must succeed.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        let output = self.etcdctl(arguments);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {printed}{:?}", output.stderr);
        printed
    }

    fn etcdctl(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("etcdctl is needed for this test: apt-get install etcd-client")
    }

    /// Forgets every revision but the last.
    pub(crate) fn compact(&self) {
        let json = self.control(&["get", "/", "--limit=1", "-w", "json"]);
        let (_, rest) = json.split_once("\"revision\":").expect("an answer has a revision");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.control(&["compact", &digits]);
    }

    /// Where the server listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// Options for this server, with waits as short as tests want them.
    pub(crate) fn options(&self) -> Options {
        Options {
            endpoints: vec![self.endpoint()],
            call_timeout: Duration::from_secs(2),
            backoff: Backoff {
                free_failures: 0,
                base: Duration::from_millis(50),
                cap: Duration::from_millis(200),
            },
            ..Options::default()
        }
    }

    /// A backend on this server, with go-micro's prefix.
    pub(crate) fn backend(&self) -> Arc<Etcd> {
        connect(self.options())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A backend.
pub(crate) fn connect(options: Options) -> Arc<Etcd> {
    Arc::new(Etcd::connect(options, Clock::running()).expect("the options are right"))
}

fn free_ports() -> (u16, u16) {
    // Both at once, so that they differ.
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (one, other) = (bind(), bind());
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    (port(&one), port(&other))
}

/// An instance with an address.
pub(crate) fn instance(service: &str, id: &str) -> Instance {
    let mut instance = Instance::new(service, id);
    instance.address.ip = Some("10.0.0.1".to_owned());
    instance
}

/// The same with a lease of so many seconds.
pub(crate) fn leased(service: &str, id: &str, duration_secs: u32) -> Instance {
    let lease = Some(Lease { duration_secs, ..Lease::default() });
    Instance { lease, ..instance(service, id) }
}

/// Registers, which must succeed.
pub(crate) async fn register(backend: &Etcd, instance: Instance) -> Arc<Instance> {
    backend.register(instance).await.expect("a valid instance is accepted")
}

/// The next event; errors are skipped, and that it goes on after them.
pub(crate) async fn next(watch: &mut dyn Watch) -> Event {
    let event = tokio::time::timeout(PATIENCE, async {
        loop {
            match watch.next().await.expect("the backend is open") {
                Ok(Event::Resumed) => {}
                Ok(event) => return event,
                Err(error) => eprintln!("the watch says: {error}"),
            }
        }
    });
    event.await.expect("an event in time")
}

/// Reads a listing, `Init` to `InitDone`, and answers with the ids in it, in order.
pub(crate) async fn listing(watch: &mut dyn Watch) -> Vec<String> {
    assert_eq!(next(watch).await, Event::Init);
    let mut ids = Vec::new();
    loop {
        match next(watch).await {
            Event::InitApply(instance) => ids.push(instance.key().to_string()),
            Event::InitDone { .. } => break,
            other => panic!("in a listing: {other:?}"),
        }
    }
    ids.sort();
    ids
}

/// An event in short: `+` or `-`, and the key.
pub(crate) fn short(event: &Event) -> String {
    match event {
        Event::Apply { instance, .. } => format!("+{}", instance.key()),
        Event::Delete { instance, .. } => format!("-{}", instance.key()),
        other => panic!("no change: {other:?}"),
    }
}
