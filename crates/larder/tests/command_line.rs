//! The program as a person runs it: real processes, real sockets, real signals.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn larder(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments).env_remove("LARDER_SERVER").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    larder(arguments).output().expect("it can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is UTF-8")
}

/// A process that is killed when the test ends.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = larder(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        Self::of(command, |child| child.stdout.take().expect("it is piped"))
    }

    /// Starts the command; `output` takes what its lines are read from.
    fn of<R: Read + Send + 'static>(
        mut command: Command,
        output: impl FnOnce(&mut Child) -> R,
    ) -> Self {
        let mut child = command.spawn().expect("it can be started");
        let output = BufReader::new(output(&mut child));
        let (sender, lines) = mpsc::sync_channel(1_000);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().expect("kill is there");
        assert!(sent.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let (sender, ended) = mpsc::sync_channel(0);
        std::thread::scope(|scope| {
            let child = &mut self.child;
            scope.spawn(move || sender.send(child.wait().expect("it is ours").code()));
            ended.recv_timeout(PATIENCE).expect("it ends in time")
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Server {
    process: Process,
    url: String,
}

impl Server {
    fn start() -> Self {
        Self::at("127.0.0.1:0")
    }

    fn at(address: &str) -> Self {
        let process = Process::start(&["serve", "--listen", address]);
        let line = process.line();
        let url = line.strip_prefix("listening on ").expect("the first line").to_owned();
        Self { process, url }
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--server", &self.url]].concat())
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

#[test]
fn both_signals_stop_the_server_cleanly() {
    for signal in ["-INT", "-TERM"] {
        let mut server = Server::start();
        assert!(server.process.line().starts_with("try: curl -X PUT http://127.0.0.1:"));
        server.process.signal(signal);
        assert_eq!(server.process.exit_code(), Some(0), "{signal}");
    }
}

#[test]
fn an_instance_is_registered_found_and_deregistered() {
    let server = Server::start();
    assert_eq!(server.says(&["services"]), "no service is registered\n");
    let register = ["register", "Orders", "--port", "8080", "--metadata", "zone=a", "--ttl", "60"];
    let registered = "registered Orders/127.0.0.1:Orders:8080 at 127.0.0.1:8080, for 60s unless";
    assert!(server.says(&register).starts_with(registered));
    let table = "SERVICE  INSTANCES  STATUS\nOrders   1          1 UP\n";
    assert_eq!(server.says(&["services"]), table);
    let found = server.says(&["get", "orders"]);
    let rows: Vec<Vec<&str>> = found.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "STATUS", "CHECKS", "ADDRESS", "VERSION", "TTL", "METADATA"]);
    let at = "127.0.0.1:8080";
    assert_eq!(rows[1], ["127.0.0.1:Orders:8080", "UP", "-", at, "-", "60s", "zone=a"]);
    server.says(&["deregister", "orders", "127.0.0.1:Orders:8080"]);
    let gone = server.ask(&["get", "orders"]);
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(text(&gone.stderr), "larder: orders is not registered\n");
}

#[test]
fn scripts_get_json() {
    let server = Server::start();
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&server.says(arguments)).expect("it is JSON")
    };
    let held = json(&["register", "a", "--id", "1", "--host", "h", "--port", "1", "--json"]);
    assert_eq!((&held["id"], &held["host"]), (&"1".into(), &"h".into()));
    assert_eq!(json(&["services", "--json"])["services"][0]["status"]["UP"], 1);
    assert_eq!(json(&["get", "a", "--json"])["instances"][0]["port"], 1);
    assert_eq!(json(&["deregister", "a", "1", "--json"])["deregistered"]["id"], "1");
}

#[test]
fn a_watch_shows_every_change_also_over_a_restart_of_the_server() {
    let server = Server::start();
    server.says(&["register", "a", "--id", "1", "--port", "1"]);
    let watch = Process::start(&["watch", "a", "--server", &server.url]);
    assert_eq!(watch.line(), "present  a/1 UP 127.0.0.1:1");
    server.says(&["register", "a", "--id", "2", "--port", "2"]);
    assert_eq!(watch.line(), "added    a/2 UP 127.0.0.1:2");
    server.says(&["register", "a", "--id", "2", "--port", "3"]);
    assert_eq!(watch.line(), "changed  a/2 UP 127.0.0.1:3");
    server.says(&["deregister", "a", "1"]);
    assert_eq!(watch.line(), "gone     a/1 UP 127.0.0.1:1");
    let address = server.url.strip_prefix("http://").expect("a URL").to_owned();
    drop(server);
    let server = Server::at(&address);
    assert_eq!(watch.line(), "gone     a/2 UP 127.0.0.1:3");
    server.says(&["register", "a", "--id", "9", "--port", "9"]);
    assert_eq!(watch.line(), "added    a/9 UP 127.0.0.1:9");
    drop(server);
    let server = Server::at(&address);
    // Most likely before the watch is back: then it is in the listing.
    server.says(&["register", "a", "--id", "5", "--port", "5"]);
    assert_eq!(watch.line(), "gone     a/9 UP 127.0.0.1:9");
    assert_eq!(watch.line(), "added    a/5 UP 127.0.0.1:5");
}

#[test]
fn an_interrupted_watch_is_no_failure() {
    let server = Server::start();
    server.says(&["register", "a", "--id", "1"]);
    let mut watch = Process::start(&["watch", "--json", "--server", &server.url]);
    assert!(watch.line().starts_with(r#"{"change":"present","instance":{"service":"a","id":"1""#));
    watch.signal("-INT");
    assert_eq!(watch.exit_code(), Some(0));
}

#[test]
fn a_kept_instance_outlives_its_ttl_and_leaves_when_interrupted() {
    let server = Server::start();
    let keep = ["register", "a", "--id", "1", "--ttl", "1", "--keep", "--server", &server.url];
    let mut kept = Process::start(&keep);
    assert!(kept.line().starts_with("registered a/1 "));
    let watch = Process::start(&["watch", "a", "--server", &server.url]);
    assert!(watch.line().starts_with("present  a/1 "));
    let quiet = watch.lines.recv_timeout(Duration::from_millis(2_500));
    assert!(quiet.is_err(), "it left: {quiet:?}");
    kept.signal("-INT");
    assert_eq!(kept.exit_code(), Some(0));
    assert!(watch.line().starts_with("gone     a/1 "));
}

#[test]
fn an_interruption_is_heard_while_the_server_does_not_answer() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", silent.local_addr().expect("it is bound"));
    let mut kept = Process::start(&["register", "a", "--id", "1", "--keep", "--server", &url]);
    // It has asked, so that it also listens to signals.
    let _asked = silent.accept().expect("it connects");
    kept.signal("-INT");
    assert_eq!(kept.exit_code(), Some(1));
}

#[test]
fn a_proxy_for_the_web_is_not_asked() {
    let server = Server::start();
    let mut command = larder(&["services", "--server", &server.url]);
    for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        command.env(variable, "http://127.0.0.1:1");
    }
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_server_whose_output_nobody_reads_serves() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = larder(&["serve", "--listen", "127.0.0.1:0"]);
    command.stdout(writer).stderr(Stdio::piped());
    let mut process = Process::of(command, |child| child.stderr.take().expect("it is piped"));
    let lines = std::iter::repeat_with(|| process.line());
    let address =
        lines.filter_map(|line| Some(line.split_once("listening address=")?.1.to_owned()));
    let address = address.take(1).next().expect("it never ends");
    let output = run(&["services", "--server", &format!("http://{address}")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    process.signal("-TERM");
    assert_eq!(process.exit_code(), Some(0));
}

#[test]
fn a_server_that_is_not_there_is_one_line_and_exit_code_1() {
    for arguments in [&["services"][..], &["get", "a"], &["watch", "a"], &["deregister", "a", "1"]]
    {
        let output = run(&[arguments, &["--server", "http://127.0.0.1:1"]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let says = text(&output.stderr);
        let told = "larder: cannot reach http://127.0.0.1:1: Connection refused (is `larder serve`";
        assert!(says.starts_with(told), "{says}");
        assert_eq!(says.lines().count(), 1, "{says}");
    }
}

#[test]
fn a_wrong_configuration_is_one_line_and_exit_code_2() {
    let server = Server::start();
    let taken = server.url.strip_prefix("http://").expect("a URL");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut file, b"lisen = 1").expect("it can be written");
    let file = file.path().to_str().expect("it is UTF-8");
    for (arguments, says) in [
        (&["serve", "--listen", taken][..], "cannot listen on 127.0.0.1:"),
        (&["serve", "--listen", "nowhere"], "--listen: expected IP addresses with ports"),
        (&["serve", "--config", "/nowhere/a.toml"], "/nowhere/a.toml: cannot be read"),
        (&["serve", "--config", file], "there is no such setting"),
        (&["services", "--server", "https://x"], "TLS is not supported yet"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.starts_with("larder: ") && told.contains(says), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    for wrong in [
        &["register", "a", "--ttl", "0"][..],
        &["register", "a", "--check-interval", "5"],
        &["register", "a", "--id="],
        &["get", ".."],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn every_command_explains_itself() {
    for command in ["serve", "services", "get", "watch", "register", "deregister"] {
        let help = text(&run(&[command, "--help"]).stdout);
        assert!(help.contains("Usage: larder") && help.lines().count() > 5, "{help}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let server = Server::start();
    let mut command = larder(&["services", "--server", &server.url]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let mut complaints = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut complaints).expect("it is UTF-8");
    assert_eq!((child.wait().expect("it ends").code(), complaints.as_str()), (Some(0), ""));
}

#[test]
fn an_instance_is_registered_with_checks_that_the_server_probes() {
    let server = Server::start();
    let (own, health) = (&server.url["http://".len()..], format!("{}/healthz", server.url));
    let register = |id: &str, more: &[&str]| {
        server.says(&[&["register", "a", "--id", id, "--check-interval", "1"], more].concat())
    };
    register("well", &["--check-http", &health, "--check-tcp", own]);
    register("ill", &["--check-http", &format!("{}/nowhere", server.url)]);
    let mut found = String::new();
    let seen = (0..200).any(|_| {
        std::thread::sleep(PATIENCE / 200);
        found = server.says(&["get", "a"]);
        found.contains("2 passing")
    });
    assert!(seen, "{found}");
    let rows = found.lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
    let rows: Vec<String> = rows.collect();
    assert!(rows[1].starts_with("ill DOWN 1 critical "), "{found}");
    assert!(rows[2].starts_with("well UP 2 passing "), "{found}");
    assert_eq!(server.says(&["services"]).lines().nth(1), Some("a        2          1 DOWN, 1 UP"));
}
