//! Told to stop: by a signal, and from one part of the program to the others.

use tokio::sync::watch;

/// From now on, an interruption (Ctrl-C) or a request to terminate no longer ends the process at once:
/// the returned future is ready instead. Must be called inside a tokio runtime.
pub fn interruption() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        // cancel-safe: a signal that the other branch wins over is not needed any more.
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Tells whether the program is stopping. Cloning gives another ear.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

/// Says that the program is stopping.
#[derive(Debug)]
pub(crate) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn listener(&self) -> Stopping {
        Stopping(self.0.subscribe())
    }

    pub(crate) fn now(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    pub(crate) fn is_now(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the program is stopping. Safe to cancel.
    pub(crate) async fn wait(&mut self) {
        // An error means that whoever could say so is gone: the program has stopped.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}
