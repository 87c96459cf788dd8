//! Servers as processes of their own, and what the kernel says of them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    /// As it stands in a table.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts a command that says `listening on http://ADDRESS` once it does.
    fn start(name: &'static str, command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let out = child.stdout.take().expect("it was asked for");
        let mut lines = BufReader::new(out).lines();
        let address = lines.by_ref().find_map(|line| {
            line.ok()?.strip_prefix("listening on http://")?.parse::<SocketAddr>().ok()
        });
        let address = address.unwrap_or_else(|| panic!("{name} ended before it listened"));
        // What it goes on to say is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { name, address, child }
    }

    /// Larder, built for release in the main workspace.
    pub fn larder() -> Self {
        let program = root().join("target/release/larder");
        Self::start("Larder", Command::new(program).args(["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Spring Cloud's server with these properties, as `interop/java/build` installs it.
    pub fn spring(properties: &[&str]) -> Self {
        let java = root().join("interop/.work/java");
        assert!(
            java.join("classes").is_dir(),
            "Spring's server is not there: run bench/run eureka, or interop/java/build"
        );
        let path = format!("{0}/classes:{0}/libraries/*", java.display());
        let mut command = Command::new("java");
        command.args(["-cp", &path, "larder.interop.EurekaServer"]);
        // What interop sets otherwise, as Spring has it.
        command.args([
            "--eureka.server.response-cache-update-interval-ms=30000",
            "--eureka.server.eviction-interval-timer-in-ms=60000",
            // In its favour: Tomcat closes a connection after a hundred requests.
            "--server.tomcat.max-keep-alive-requests=-1",
        ]);
        Self::start("Spring Cloud", command.args(properties))
    }

    /// This program again, with these arguments.
    pub fn itself(name: &'static str, arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        Self::start(name, Command::new(program).args(arguments))
    }

    /// The CPU time that it has used.
    pub fn cpu(&self) -> Duration {
        let text = self.proc("stat");
        let fields: Vec<&str> =
            text.rsplit(')').next().expect("a line").split_whitespace().collect();
        let ticks: u64 =
            [11, 12].map(|field| fields[field].parse::<u64>().expect("ticks")).iter().sum();
        Duration::from_millis(ticks * 10)
    }

    /// The memory that it has, in megabytes.
    pub fn resident(&self) -> f64 {
        let text = self.proc("status");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
        kilobytes.expect("the kernel says so") * 1_024.0 / 1e6
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(path).expect("it runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn root() -> PathBuf {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().expect("it is in the workspace").to_owned()
}
