//! A clock that runs only while etcd answers a plain question promptly.
//!
//! How soon everything is as it is behind is a promise of the code's, and not of the machine's: on one that is
//! busy with other things, each of the steps that lead there waits for a processor. So a thread of its own asks
//! etcd how it is, over a connection of its own and past everything that is tested, again and again. Each round
//! counts for as long as it takes on an idle machine at most: while etcd is away, or nobody gets a processor,
//! the clock stands still, or is slow. On an idle machine it is as fast as any other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use larder_cache::Clock;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// What a round counts for at most: the pause, and an answer.
const ROUND_MAX: Duration = Duration::from_millis(30);
/// How long an answer may take. Much longer than on any machine that still runs.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The clock.
#[derive(Debug)]
pub(crate) struct Pace {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    passed_us: AtomicU64,
    over: AtomicBool,
}

impl Pace {
    /// A clock by the etcd at `endpoint`.
    pub(crate) fn start(endpoint: String) -> Self {
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = shared.clone();
            move || run(&shared, &endpoint)
        });
        Self { shared, thread: Some(thread) }
    }

    /// What has passed since the start.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_micros(self.shared.passed_us.load(Ordering::SeqCst))
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, endpoint: &str) {
    let clock = Clock::running();
    let mut began = clock.now();
    while !shared.over.load(Ordering::SeqCst) {
        thread::sleep(PAUSE);
        let is_answered = is_answered(endpoint).unwrap_or(false);
        let now = clock.now();
        if is_answered {
            let passed = now.since(began).min(ROUND_MAX);
            let passed = u64::try_from(passed.as_micros()).expect("it is short");
            shared.passed_us.fetch_add(passed, Ordering::SeqCst);
        }
        began = now;
    }
}

/// Whether etcd says that it is well, which it finds out by a read of its own.
fn is_answered(endpoint: &str) -> std::io::Result<bool> {
    let mut line = TcpStream::connect(endpoint)?;
    line.set_read_timeout(Some(ANSWER_MAX))?;
    line.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    line.take(1_024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).contains(r#""health":"true""#))
}
