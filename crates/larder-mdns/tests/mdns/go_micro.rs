//! go-micro's own default registry, unmodified, beside Larder's: each finds what the other registered,
//! and hears when it leaves. Ignored unless asked for: they need the program that `interop/run` builds
//! with Go, and a loopback interface to which the system sends multicast, in which it runs these tests.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use larder_mdns::{Mdns, Options};
use larder_registry::model::{Key, Name, Port, Status};
use larder_registry::{Backend, OverrideChange};
use serde_json::{Value as Json, json};

use crate::support::{ids, instance, listing, next, register, short, start};

/// The program of `interop/go-micro`.
struct GoMicro {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What its watch said while something else was asked.
    events: VecDeque<Json>,
}

impl GoMicro {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/.work/go-micro");
        let mut process = Command::new(root.join("go-micro"))
            .arg("mdns")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("interop/run builds the program that this test talks to: run it");
        let questions = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, questions, answers, events: VecDeque::new() }
    }

    /// The next line. go-micro bounds its calls, and a watch is only read when an event is on its way.
    fn line(&mut self) -> Json {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("it answers in JSON")
    }

    fn ask(&mut self, question: &Json) -> Json {
        writeln!(self.questions, "{question}").expect("it listens");
        loop {
            let said = self.line();
            if said.get("event").is_none() {
                return said;
            }
            self.events.push_back(said);
        }
    }

    /// The nodes of a service, of all versions: their ids and addresses.
    fn nodes(&mut self, service: &str) -> Vec<(String, String)> {
        let found = self.ask(&json!({"do": "get", "name": service}));
        let services = found["services"].as_array().into_iter().flatten();
        let nodes = services.flat_map(|service| service["nodes"].as_array().into_iter().flatten());
        let text = |node: &Json, field: &str| node[field].as_str().unwrap_or_default().to_owned();
        let mut nodes: Vec<_> =
            nodes.map(|node| (text(node, "id"), text(node, "address"))).collect();
        nodes.sort();
        nodes
    }

    /// Waits for an event of a node. What is announced twice is told twice.
    fn hears(&mut self, action: &str, id: &str) {
        loop {
            let said = self.events.pop_front().unwrap_or_else(|| self.line());
            let event = &said["event"];
            let is_meant = event["Service"]["nodes"][0]["id"] == id;
            if is_meant && event["Action"] == action {
                return;
            }
        }
    }
}

impl Drop for GoMicro {
    /// Without a word: SIGKILL.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where go-micro is: on its port, which cannot be chosen.
fn beside_go_micro() -> Mdns {
    start(&Options {
        interface: Some(Ipv4Addr::LOCALHOST),
        query_timeout: Duration::from_millis(300),
        query_interval: Duration::from_millis(300),
        silence_timeout: Duration::from_secs(2),
        ..Options::default()
    })
}

fn greeter() -> Json {
    json!({
        "name": "go.micro.Greeter",
        "version": "1.2.3",
        "endpoints": [{
            "name": "Greeter.Hello",
            "request": {"name": "Request", "type": "Request", "values": [
                {"name": "name", "type": "string", "values": null},
            ]},
            "response": null,
            "metadata": {"stream": "false"},
        }],
        "nodes": [
            {"id": "greeter-1", "address": "10.0.0.1:8080", "metadata": {"zone": "größe <b>"}},
            {"id": "greeter.2", "address": "[fe80::1]:8080", "metadata": null},
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "interop/run runs it: it needs Go"]
async fn what_go_micro_registers_is_found_here_until_it_leaves() {
    let backend = beside_go_micro();
    let mut watch = backend.watch(Some(Name::new("go.micro.greeter"))).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, [""; 0]);
    let mut go_micro = GoMicro::start();
    assert_eq!(go_micro.ask(&json!({"do": "register", "service": greeter()})), json!({}));
    let mut heard = [short(&next(&mut *watch).await), short(&next(&mut *watch).await)];
    heard.sort();
    assert_eq!(heard, ["+go.micro.Greeter/greeter-1", "+go.micro.Greeter/greeter.2"]);

    for spelling in ["go.micro.Greeter", "GO.MICRO.greeter"] {
        let service = backend.service(&Name::new(spelling)).await.expect("it is there");
        assert_eq!((service.name().as_str(), service.len()), ("go.micro.Greeter", 2));
        let held = service.get("greeter-1").expect("it is there");
        let port = Some(Port { number: 8080, enabled: true });
        assert_eq!((held.version.as_str(), held.address.port), ("1.2.3", port));
        assert_eq!(held.address.ip.as_deref(), Some("10.0.0.1"));
        assert_eq!(held.metadata.get("zone"), Some("größe <b>"));
        let request = held.endpoints[0].request.as_ref().expect("it is there");
        assert_eq!((request.fields[0].name.as_str(), held.status), ("name", Status::Up));
        let other = service.get("greeter.2").expect("it is there");
        assert_eq!(other.address.ip.as_deref(), Some("fe80::1"));
    }
    let names = backend.services().await.expect("it can list");
    assert!(names.contains(&Name::new("go.micro.greeter")), "{names:?}");

    let mut first = greeter();
    first["nodes"].as_array_mut().expect("it is a list").truncate(1);
    assert_eq!(go_micro.ask(&json!({"do": "deregister", "service": first})), json!({}));
    assert_eq!(short(&next(&mut *watch).await), "-go.micro.Greeter/greeter-1");
    assert_eq!(ids(&backend, "go.micro.Greeter").await, ["greeter.2"]);
    // And when it dies without a word.
    drop(go_micro);
    assert_eq!(short(&next(&mut *watch).await), "-go.micro.Greeter/greeter.2");
    assert!(ids(&backend, "go.micro.Greeter").await.is_empty());
    assert_eq!(backend.skipped(), 0);
    backend.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "interop/run runs it: it needs Go"]
async fn a_service_of_go_micros_that_nobody_met_is_found_in_any_case() {
    let backend = beside_go_micro();
    let mut go_micro = GoMicro::start();
    assert_eq!(go_micro.ask(&json!({"do": "register", "service": greeter()})), json!({}));
    assert_eq!(ids(&backend, "GO.micro.GREETER").await, ["greeter-1", "greeter.2"]);
    backend.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "interop/run runs it: it needs Go"]
async fn what_is_registered_here_is_found_by_go_micro_while_it_serves() {
    let backend = beside_go_micro();
    let mut go_micro = GoMicro::start();
    assert_eq!(go_micro.ask(&json!({"do": "watch"})), json!({}));
    // Its watch answers before it listens. What it missed it hears a second later, when it is said again.
    let mut web = instance("go.web", "web-1");
    web.metadata.insert("zone".to_owned(), "größe <b>".to_owned());
    web.tags = vec!["blue".to_owned()];
    web.version = String::new();
    register(&backend, web).await;
    go_micro.hears("create", "web-1");

    let found = go_micro.ask(&json!({"do": "get", "name": "go.web"}));
    let service = &found["services"][0];
    assert_eq!((&service["name"], &service["version"]), (&json!("go.web"), &json!("latest")));
    assert_eq!(service["nodes"][0]["metadata"]["zone"], json!("größe <b>"));
    let node = || vec![("web-1".to_owned(), "127.0.0.1:8080".to_owned())];
    assert_eq!(go_micro.nodes("go.web"), node());
    let listed = go_micro.ask(&json!({"do": "list"}));
    assert_eq!(listed["services"][0]["name"], json!("go.web"));

    // Out of service: to go-micro it has left, and comes back.
    let key = Key::new("go.web", "web-1");
    let change = |to| OverrideChange { to, fallback: Status::Up, dirty_at: None };
    backend.set_override(&key, change(Some(Status::OutOfService))).await.expect("registered");
    go_micro.hears("delete", "web-1");
    assert_eq!(go_micro.nodes("go.web"), []);
    assert_eq!(ids(&backend, "go.web").await, ["web-1"]);
    backend.set_override(&key, change(None)).await.expect("registered");
    go_micro.hears("create", "web-1");
    assert_eq!(go_micro.nodes("go.web"), node());
    backend.deregister(&key).await.expect("registered");
    go_micro.hears("delete", "web-1");
    assert_eq!(go_micro.nodes("go.web"), []);

    register(&backend, instance("go.web", "web-2")).await;
    go_micro.hears("create", "web-2");
    backend.close().await;
    go_micro.hears("delete", "web-2");
    assert_eq!(go_micro.ask(&json!({"do": "list"})), json!({}));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "interop/run runs it: it needs Go"]
async fn one_service_has_nodes_of_all() {
    let (one, other) = (beside_go_micro(), beside_go_micro());
    let mut go_micro = GoMicro::start();
    assert_eq!(go_micro.ask(&json!({"do": "register", "service": greeter()})), json!({}));
    for (backend, id) in [(&one, "one"), (&other, "other")] {
        let mut greeter = instance("go.micro.Greeter", id);
        greeter.address.ip = Some("::1".to_owned());
        register(backend, greeter).await;
    }
    let all = ["greeter-1", "greeter.2", "one", "other"];
    let nodes = go_micro.nodes("go.micro.Greeter");
    assert_eq!(nodes.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), all);
    assert_eq!(nodes[2].1, "[::1]:8080");
    assert_eq!(ids(&one, "go.micro.greeter").await, all);
    assert_eq!(ids(&other, "go.micro.Greeter").await, all);
    one.close().await;
    other.close().await;
}
