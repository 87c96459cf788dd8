//! A TCP proxy whose line goes bad as the test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_cache::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::pace::Pace;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It arrives.
    Passes,
    /// It arrives after this long, in each direction.
    Slow(Duration),
    /// It arrives once the line is another one.
    Stalls,
    /// Connections are accepted, and closed at once.
    Refuses,
    /// Connections are accepted and then nothing: not now, and not later. What stood before is as dead,
    /// and nobody says so.
    Mute,
}

/// The line, and how often everything that stood was cut.
type State = (Line, usize);

/// When a connection was accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    /// In milliseconds.
    pub(crate) at: u64,
    /// By the clock of [`Pace`].
    pub(crate) fair: Duration,
}

/// The proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    clock: Clock,
    accepted: Arc<Mutex<Vec<Accepted>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before `target`.
    pub(crate) async fn start(target: String, pace: Arc<Pace>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (state, clock) = (watch::Sender::new((Line::Passes, 0)), Clock::running());
        let accepted = Arc::<Mutex<Vec<Accepted>>>::default();
        let (states, times, face) = (state.clone(), accepted.clone(), clock.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("the proxy can accept");
                let accepted = Accepted { at: face.now().as_millis(), fair: pace.now() };
                times.lock().expect("no test panics there").push(accepted);
                // Before anything else: what is cut after this cuts this one, too.
                let state = states.subscribe();
                connections.spawn(carry(client, target.clone(), state));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, state, clock, accepted, task }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn turn(&self, line: Line) {
        self.state.send_modify(|state| state.0 = line);
    }

    /// Closes every connection that stands.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.1 += 1);
    }

    /// Now, as [`accepted_since`](Self::accepted_since) takes it.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now().as_millis()
    }

    /// When connections were accepted since then.
    pub(crate) fn accepted_since(&self, then: u64) -> Vec<Accepted> {
        let accepted = self.accepted.lock().expect("no test panics there");
        accepted.iter().copied().filter(|accepted| accepted.at >= then).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections are the task's, and end with it.
        self.task.abort();
    }
}

async fn carry(client: TcpStream, target: String, mut state: watch::Receiver<State>) {
    let (line, cuts) = *state.borrow();
    if line == Line::Refuses {
        return;
    }
    let cut = {
        let mut state = state.clone();
        async move {
            let _ = state.wait_for(|state| state.1 != cuts || state.0 == Line::Refuses).await;
        }
    };
    let pass = async move {
        while state.borrow().0 == Line::Stalls {
            if state.changed().await.is_err() {
                return;
            }
        }
        let Ok(server) = TcpStream::connect(target).await else { return };
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let dead = Arc::new(AtomicBool::new(false));
        // Cancel-safe: whichever side ends takes the other along.
        tokio::select! {
            () = pump(from_client, to_server, state.clone(), dead.clone()) => {}
            () = pump(from_server, to_client, state, dead) => {}
        }
    };
    // Cancel-safe: a connection that is cut is dropped as it is.
    tokio::select! {
        () = cut => {}
        () = pass => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut state: watch::Receiver<State>,
    dead: Arc<AtomicBool>,
) {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        // Cancel-safe: reading takes nothing unless it wins, and looking at the line takes nothing.
        let len = tokio::select! {
            biased;
            () = died(state.clone(), dead.clone()) => return std::future::pending().await,
            read = from.read(&mut chunk) => match read {
                Ok(len) if len > 0 => len,
                _ => return,
            },
        };
        loop {
            let line = state.borrow_and_update().0;
            match line {
                Line::Stalls => {
                    if state.changed().await.is_err() {
                        return;
                    }
                }
                Line::Mute => {
                    dead.store(true, Ordering::SeqCst);
                    return std::future::pending().await;
                }
                Line::Slow(pause) => {
                    tokio::time::sleep(pause).await;
                    break;
                }
                Line::Passes | Line::Refuses => break,
            }
        }
        if to.write_all(chunk.get(..len).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

/// Returns once the line is mute, or was when somebody looked: from then on the connection is dead.
async fn died(mut state: watch::Receiver<State>, dead: Arc<AtomicBool>) {
    if !dead.load(Ordering::SeqCst) {
        let _ = state.wait_for(|state| state.0 == Line::Mute).await;
        dead.store(true, Ordering::SeqCst);
    }
}
