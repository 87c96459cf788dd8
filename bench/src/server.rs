//! Servers as processes of their own, and what the kernel says of them.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    /// As it stands in a table.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    /// Where it keeps what is gone with it.
    folder: Option<PathBuf>,
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
        Self { name, address, child, folder: None }
    }

    /// Larder, built for release in the main workspace.
    pub fn larder() -> Self {
        Self::larder_with(&[], &[])
    }

    /// The same, with more arguments and with environment variables.
    pub fn larder_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(root().join("target/release/larder"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::start("Larder", command.envs(variables.iter().copied()))
    }

    /// Consul's agent, if `LARDER_CONSUL` or the path has its program: a server that is alone, and lets a client
    /// have thirteen thousand connections. Not in its development mode, in which it indents its JSON.
    pub fn consul() -> Option<Self> {
        let program = consul_program()?;
        let [http, rpc, lan, wan] = free_ports();
        let folder = std::env::temp_dir().join(format!("larder-bench-consul-{http}"));
        let mut command = Command::new(program);
        command.args(["agent", "-server", "-bootstrap", "-bind", "127.0.0.1", "-node", "bench"]);
        command.args(["-log-level", "error", "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1"]);
        command.args(["-hcl", "limits { http_max_conns_per_client = 13000 }"]);
        // As it recommends for production.
        command.args(["-hcl", "performance { raft_multiplier = 1 }"]);
        command.args([
            format!("-data-dir={}", folder.display()),
            format!("-http-port={http}"),
            format!("-server-port={rpc}"),
            format!("-serf-lan-port={lan}"),
            format!("-serf-wan-port={wan}"),
        ]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("Consul cannot be started: {error}"));
        let address = SocketAddr::from(([127, 0, 0, 1], http));
        Some(Self { name: "Consul", address, child, folder: Some(folder) })
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
        Self::program(name, &program, arguments)
    }

    /// A program that says where it listens.
    pub fn program(name: &'static str, program: &Path, arguments: &[&str]) -> Self {
        Self::start(name, Command::new(program).args(arguments))
    }

    /// Waits until it uses less than a fifth of a core, for half a minute at most.
    pub async fn settle(&self) {
        let began = Instant::now();
        let mut before = self.cpu();
        while began.elapsed() < Duration::from_secs(30) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let used = self.cpu();
            if used.saturating_sub(before) <= Duration::from_millis(100) {
                return;
            }
            before = used;
        }
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
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Lets this process, and those that it starts from now on, have so many files open at once.
pub fn allow_files(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return;
    }
    // None stands for as many as one likes.
    let maximum = maximum.map(|maximum| maximum.max(count));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum });
    raised.unwrap_or_else(|error| panic!("ulimit -n {count} is needed, and refused: {error}"));
}

/// The program of Consul's agent that `LARDER_CONSUL` names, or else the path has.
pub fn consul_program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("LARDER_CONSUL") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "LARDER_CONSUL names no program: {}", named.display());
        return Some(named);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("consul")).find(|file| file.is_file())
}

/// Ports that nobody listened on a moment ago.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let bound = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    bound.map(|bound| bound.local_addr().expect("it is bound").port())
}

fn root() -> PathBuf {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().expect("it is in the workspace").to_owned()
}
