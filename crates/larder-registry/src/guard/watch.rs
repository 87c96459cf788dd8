//! A watch under guard: waits for the watch behind, for time to pass, and for an operator.

use std::fmt;
use std::sync::Arc;

use larder_cache::Clock;

use super::watchman::{Alarm, Passed, Watchman};
use super::{Mode, Options, Shared};
use crate::backend::{BoxFuture, Error, Watch};
use crate::event::{Event, EventQueue};

pub(super) struct GuardedWatch {
    behind: Box<dyn Watch>,
    watchman: Watchman,
    mode: Mode,
    clock: Clock,
    shared: Arc<Shared>,
    /// As of which confirmation.
    confirmed: u64,
    /// How many of those that are counted as held are this watch's.
    counted: usize,
    ready: EventQueue,
}

impl GuardedWatch {
    pub(super) fn new(
        behind: Box<dyn Watch>,
        options: Options,
        clock: Clock,
        shared: Arc<Shared>,
    ) -> Self {
        let confirmed = shared.state().count;
        Self {
            behind,
            watchman: Watchman::new(options),
            mode: options.mode,
            clock,
            shared,
            confirmed,
            counted: 0,
            ready: EventQueue::default(),
        }
    }

    async fn next_event(&mut self) -> Option<Result<Event, Error>> {
        loop {
            // A step is taken to its end first: what the guard passes on of it stays together, and nobody
            // waits for the rest of a step of which the guard holds the rest.
            if !self.behind.is_amid_step()
                && let Some(event) = self.ready.pop()
            {
                return Some(Ok(event));
            }
            let shared = self.shared.clone();
            // Made before the look: a confirmation after it is not slept through.
            let confirmed = shared.confirmed.notified();
            if self.is_confirmed() {
                let events = self.watchman.confirm();
                self.pass(Passed { events, alarm: None });
                continue;
            }
            let pause = self.watchman.next().map(|next| next.since(self.clock.now()));
            // Cancel-safe: the watch behind loses no event of a call that is dropped; the others take
            // nothing that is not looked at again.
            let event = tokio::select! {
                biased;
                event = self.behind.next() => event,
                () = confirmed => continue,
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {
                    let events = self.watchman.let_go(self.clock.now());
                    self.pass(Passed { events, alarm: None });
                    continue;
                }
            };
            match event {
                Some(Ok(event)) => {
                    let passed = self.watchman.take(event, self.clock.now());
                    self.pass(passed);
                }
                ended => return ended,
            }
        }
    }

    fn is_confirmed(&mut self) -> bool {
        let count = self.shared.state().count;
        std::mem::replace(&mut self.confirmed, count) != count
    }

    fn pass(&mut self, passed: Passed) {
        self.ready.extend(passed.events);
        if let Some(alarm) = passed.alarm {
            log(&alarm, self.mode);
        }
        self.count(self.watchman.held());
    }

    fn count(&mut self, held: usize) {
        let mut state = self.shared.state();
        state.held = state.held + held - self.counted;
        self.counted = held;
    }
}

fn log(alarm: &Alarm, mode: Mode) {
    let Alarm { service, vanished, of } = alarm;
    let service = service.as_ref().map_or("all services together", |name| name.as_str());
    if mode == Mode::On {
        tracing::warn!(
            service,
            vanished,
            of,
            "a mass of instances vanished at once: they are kept until it is confirmed"
        );
    } else {
        tracing::warn!(service, vanished, of, "a mass of instances vanished at once");
    }
}

impl Drop for GuardedWatch {
    fn drop(&mut self) {
        self.count(0);
    }
}

impl Watch for GuardedWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Event, Error>>> {
        Box::pin(self.next_event())
    }

    fn is_amid_step(&self) -> bool {
        self.ready.is_amid_step()
    }
}

impl fmt::Debug for GuardedWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedWatch").field("held", &self.counted).finish_non_exhaustive()
    }
}
