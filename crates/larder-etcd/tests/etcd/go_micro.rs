//! go-micro's own etcd registry, unmodified, beside Larder's: each finds what the other registered, and
//! hears when it leaves. Ignored unless asked for, as they need the program that `interop/run` builds
//! with Go, and runs these tests with.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use larder_registry::model::{Instance, Key, Name, Port, Status};
use larder_registry::{Backend, OverrideChange};
use serde_json::{Value as Json, json};

use crate::support::{Server, instance, leased, listing, next, register, short};

/// The program of `interop/go-micro`.
struct GoMicro {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl GoMicro {
    fn start(server: &Server) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/.work/go-micro");
        let mut process = Command::new(root.join("go-micro"))
            .arg(server.endpoint())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("interop/run builds the program that this test talks to: run it");
        let questions = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, questions, answers }
    }

    /// The next line. go-micro bounds its calls by five seconds, and a watch is only read when an event
    /// is on its way.
    fn line(&mut self) -> Json {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("it answers in JSON")
    }

    fn ask(&mut self, question: &Json) -> Json {
        writeln!(self.questions, "{question}").expect("it listens");
        self.line()
    }

    /// An event of its watch in short: the action, and the nodes.
    fn event(&mut self) -> (String, Vec<String>) {
        let said = self.line();
        let event = &said["event"];
        let nodes = event["Service"]["nodes"].as_array().into_iter().flatten();
        let ids = nodes.filter_map(|node| node["id"].as_str()).map(str::to_owned).collect();
        (event["Action"].as_str().unwrap_or_default().to_owned(), ids)
    }
}

impl Drop for GoMicro {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn greeter() -> Json {
    json!({
        "name": "go.micro.greeter",
        "version": "1.2.3",
        "metadata": {"team": "a"},
        "endpoints": [{
            "name": "Greeter.Hello",
            "request": {"name": "Request", "type": "Request", "values": [
                {"name": "name", "type": "string", "values": null},
            ]},
            "response": null,
            "metadata": {"stream": "false"},
        }],
        "nodes": [{"id": "greeter/1", "address": "10.0.0.1:8080", "metadata": {"zone": "a"}}],
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "interop/run runs it: it needs Go"]
async fn what_go_micro_registers_is_found_here_until_it_leaves() {
    let server = Server::start().await;
    let backend = server.backend();
    let mut watch = backend.watch(Some(Name::new("GO.MICRO.greeter"))).await.expect("it is open");
    assert_eq!(listing(&mut *watch).await, [""; 0]);
    let mut go_micro = GoMicro::start(&server);
    let register = json!({"do": "register", "ttl": 60, "service": greeter()});
    assert_eq!(go_micro.ask(&register), json!({}));
    assert_eq!(short(&next(&mut *watch).await), "+go.micro.greeter/greeter/1");

    let service = backend.service(&Name::new("go.micro.greeter")).await.expect("it is there");
    let held = service.get("greeter/1").expect("it is there");
    let port = Some(Port { number: 8080, enabled: true });
    assert_eq!((held.version.as_str(), held.address.port), ("1.2.3", port));
    assert_eq!(held.address.ip.as_deref(), Some("10.0.0.1"));
    let (zone, team) = (held.metadata.get("zone"), held.service_metadata.get("team"));
    assert_eq!((zone, team), (Some("a"), Some("a")));
    assert_eq!(held.endpoints[0].request.as_ref().expect("it is there").fields[0].name, "name");
    assert_eq!(held.status, Status::Up);

    let deregister = json!({"do": "deregister", "service": greeter()});
    assert_eq!(go_micro.ask(&deregister), json!({}));
    assert_eq!(short(&next(&mut *watch).await), "-go.micro.greeter/greeter/1");
    // And when it dies without a word.
    let short_lived = json!({"do": "register", "ttl": 2, "service": greeter()});
    assert_eq!(go_micro.ask(&short_lived), json!({}));
    assert_eq!(short(&next(&mut *watch).await), "+go.micro.greeter/greeter/1");
    drop(go_micro);
    assert_eq!(short(&next(&mut *watch).await), "-go.micro.greeter/greeter/1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "interop/run runs it: it needs Go"]
async fn what_is_registered_here_is_found_by_go_micro_while_it_serves() {
    let server = Server::start().await;
    let backend = server.backend();
    let mut go_micro = GoMicro::start(&server);
    assert_eq!(go_micro.ask(&json!({"do": "watch"})), json!({}));
    let mut web = Instance { version: "2".to_owned(), ..leased("go/web", "1", 60) };
    web.address.port = Some(Port { number: 80, enabled: true });
    web.metadata.insert("zone".to_owned(), "größe <b>".to_owned());
    web.tags = vec!["blue".to_owned()];
    register(&backend, web.clone()).await;
    assert_eq!(go_micro.event(), ("create".to_owned(), vec!["1".to_owned()]));

    let get = json!({"do": "get", "name": "go/web"});
    let found = go_micro.ask(&get);
    let service = &found["services"][0];
    assert_eq!((&service["name"], &service["version"]), (&json!("go/web"), &json!("2")));
    let node = &service["nodes"][0];
    assert_eq!((&node["id"], &node["address"]), (&json!("1"), &json!("10.0.0.1:80")));
    assert_eq!(node["metadata"]["zone"], json!("größe <b>"));
    let listed = go_micro.ask(&json!({"do": "list"}));
    assert_eq!(listed["services"][0]["name"], json!("go/web"));

    // Out of service: to go-micro it has left, and comes back.
    let key = Key::new("go/web", "1");
    let change = |to| OverrideChange { to, fallback: Status::Up, dirty_at: None };
    backend.set_override(&key, change(Some(Status::OutOfService))).await.expect("registered");
    assert_eq!(go_micro.event(), ("delete".to_owned(), vec!["1".to_owned()]));
    assert_eq!(go_micro.ask(&get), json!({"error": "service not found"}));
    backend.set_override(&key, change(None)).await.expect("registered");
    assert_eq!(go_micro.event(), ("create".to_owned(), vec!["1".to_owned()]));
    backend.deregister(&key).await.expect("registered");
    assert_eq!(go_micro.event(), ("delete".to_owned(), vec!["1".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "interop/run runs it: it needs Go"]
async fn one_service_has_nodes_of_both() {
    let server = Server::start().await;
    let backend = server.backend();
    let mut go_micro = GoMicro::start(&server);
    let register_theirs = json!({"do": "register", "ttl": 60, "service": greeter()});
    assert_eq!(go_micro.ask(&register_theirs), json!({}));
    register(
        &backend,
        Instance { version: "1.2.3".to_owned(), ..instance("go.micro.greeter", "2") },
    )
    .await;
    let found = go_micro.ask(&json!({"do": "get", "name": "go.micro.greeter"}));
    assert_eq!(found["services"][0]["nodes"].as_array().map(Vec::len), Some(2), "{found}");
    let service = backend.service(&Name::new("go.micro.greeter")).await.expect("it is there");
    let ids: Vec<&str> = service.instances().map(|held| held.id.as_str()).collect();
    assert_eq!(ids, ["2", "greeter/1"]);
    // An operator's word about theirs holds as long as they only renew.
    let key = Key::new("go.micro.greeter", "greeter/1");
    let down = OverrideChange { to: Some(Status::Down), fallback: Status::Up, dirty_at: None };
    backend.set_override(&key, down).await.expect("registered");
    assert_eq!(go_micro.ask(&register_theirs), json!({}));
    let found = go_micro.ask(&json!({"do": "get", "name": "go.micro.greeter"}));
    assert_eq!(found["services"][0]["nodes"].as_array().map(Vec::len), Some(1), "{found}");
}
