//! The lists that grow with the registry, brought up to date by what changed since they were last read.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_cache::{Clock, Time};
use larder_registry::View;
use larder_registry::catalog::{Change, Snapshot};
use larder_registry::model::Action;

use crate::delta::Window;
use crate::payload::{Changes, Rope};
use crate::wire::Form;

/// How large a chunk of the list of everything is. Larger ones cost more with each change, smaller ones
/// compress less: `docs/benchmarks.md` has the figures.
const CHUNK_BYTES: usize = 128 << 10;

/// A delta's chunks: all of it is new, and it is read more often than anything else.
const DELTA_CHUNK_BYTES: usize = 16 << 10;

/// For how long a delta tells of a change: Eureka's `retentionTimeInMSInDeltaQueue`.
pub(super) const DELTA_RETENTION_MS: u64 = 180_000;

/// A rope that nobody has read for so long is let go: one curious reader of a rare form costs memory for a
/// while, not for ever.
const IDLE: Duration = Duration::from_secs(600);

/// One rope for each form, of everything and of what changed lately. A rope that nobody reads is not
/// kept up to date.
#[derive(Debug, Default)]
pub(super) struct Ropes {
    apps: [Slot<Apps>; Form::ALL.len()],
    deltas: [Slot<Delta>; Form::ALL.len()],
}

/// What is kept of one form, and when it was last read.
type Slot<T> = Mutex<Option<(Time, T)>>;

impl Ropes {
    /// All applications as they are now.
    pub(super) fn apps(&self, form: Form, view: &dyn View, clock: &Clock) -> (Snapshot, Rope) {
        self.let_go(clock.now());
        let mut held = lock(&self.apps[place(form)]);
        // Under the lock: so the rope never goes back to an older snapshot.
        let now = view.snapshot();
        let apps = match held.take() {
            Some((_, apps)) => apps.followed(view, &now),
            None => Apps::of(form, &now),
        };
        let rope = apps.rope.clone();
        *held = Some((clock.now(), apps));
        (now, rope)
    }

    /// What changed lately.
    pub(super) fn delta(&self, form: Form, view: &dyn View, clock: &Clock) -> (Snapshot, Rope) {
        let mut held = lock(&self.deltas[place(form)]);
        let since = clock.wall().saturating_sub(DELTA_RETENTION_MS);
        let now = view.snapshot();
        let held_before = held.take().map(|(_, delta)| delta);
        let mut delta = held_before.unwrap_or_else(|| Delta::begun(form, view, since));
        delta.follow(view, &now, clock.wall());
        delta.expire(since);
        let told = delta.told();
        *held = Some((clock.now(), delta));
        (now, told)
    }

    /// Of the lists of everything; a delta is small. One that is being read stays.
    fn let_go(&self, now: Time) {
        for slot in &self.apps {
            let Ok(mut held) = slot.try_lock() else { continue };
            held.take_if(|(read, _)| now.since(*read) > IDLE);
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.apps.iter().filter(|slot| lock(slot).is_some()).count()
    }
}

fn place(form: Form) -> usize {
    Form::ALL.iter().position(|one| *one == form).unwrap_or_default()
}

/// A panic in between left nothing behind: what was held was taken out.
fn lock<T>(held: &Slot<T>) -> MutexGuard<'_, Option<(Time, T)>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The changes after `revision` up to this snapshot; none if they are no longer all known.
fn changes_up_to(view: &dyn View, revision: u64, now: &Snapshot) -> Option<Vec<Change>> {
    let mut changes = view.changes_since(revision)?;
    changes.retain(|change| change.revision <= now.revision());
    Some(changes)
}

/// All applications, as of a revision.
#[derive(Debug)]
struct Apps {
    form: Form,
    revision: u64,
    rope: Rope,
}

impl Apps {
    fn of(form: Form, now: &Snapshot) -> Self {
        let rope = Rope::of(form, CHUNK_BYTES, now.instances());
        Self { form, revision: now.revision(), rope }
    }

    fn followed(self, view: &dyn View, now: &Snapshot) -> Self {
        if self.revision == now.revision() {
            return self;
        }
        let Some(changes) = changes_up_to(view, self.revision, now) else {
            return Self::of(self.form, now);
        };
        let changes: Changes = changes
            .into_iter()
            .map(|Change { action, instance, .. }| {
                (instance.key(), (action != Action::Deleted).then_some(instance))
            })
            .collect();
        Self { rope: self.rope.changed(&changes), revision: now.revision(), ..self }
    }
}

/// What changed lately, as of a revision.
#[derive(Debug)]
struct Delta {
    revision: u64,
    window: Window,
    rope: Rope,
}

impl Delta {
    /// What is known of the time since `since`; the rest comes when it [follows](Self::follow).
    fn begun(form: Form, view: &dyn View, since: u64) -> Self {
        let rope = Rope::new(form, DELTA_CHUNK_BYTES);
        let (now, changes) = view.recent_changes(since);
        let mut delta = Self { revision: now.revision(), window: Window::default(), rope };
        match changes {
            Some(changes) => delta.tell(&changes),
            // What was forgotten may be as young as anything that is not.
            None => delta.window.miss(since + DELTA_RETENTION_MS),
        }
        delta
    }

    fn follow(&mut self, view: &dyn View, now: &Snapshot, wall: u64) {
        if self.revision >= now.revision() {
            return;
        }
        if let Some(changes) = changes_up_to(view, self.revision, now) {
            self.tell(&changes);
        } else {
            self.window.miss(wall);
            self.rope = self.rope.emptied();
        }
        self.revision = now.revision();
    }

    fn tell(&mut self, changes: &[Change]) {
        let had_gap = self.window.has_gap();
        for change in changes {
            self.window.add(change);
        }
        if self.window.has_gap() && !had_gap {
            self.rope = self.rope.emptied();
        }
        // What was forgotten at the window's bound is in no window that could let it expire.
        let told = changes.iter().filter(|change| self.window.tells(change));
        let told = told.map(|change| (change.instance.key(), Some(change.instance.clone())));
        self.rope = self.rope.changed(&told.collect());
    }

    fn expire(&mut self, since: u64) {
        let expired = self.window.expire(since);
        self.rope = self.rope.changed(&expired.into_iter().map(|key| (key, None)).collect());
    }

    /// Nothing, if changes are missing: the hash makes clients fetch everything.
    fn told(&self) -> Rope {
        if self.window.has_gap() { self.rope.emptied() } else { self.rope.clone() }
    }
}

#[cfg(test)]
mod tests {
    use larder_registry::model::Instance;
    use larder_registry::{Backend, Memory, memory};

    use super::*;

    #[tokio::test]
    async fn a_rope_that_nobody_reads_is_let_go() {
        let (clock, hands) = Clock::by_hand(1_700_000_000_000);
        let memory = Memory::start(memory::Options::default(), clock.clone());
        memory.register(Instance::new("web", "i")).await.expect("there is room");
        let ropes = Ropes::default();
        for form in Form::ALL {
            ropes.apps(form, &memory, &clock);
        }
        assert_eq!(ropes.kept(), Form::ALL.len());
        hands.advance(IDLE);
        ropes.apps(Form::Json, &memory, &clock);
        hands.advance(Duration::from_secs(1));
        ropes.apps(Form::Json, &memory, &clock);
        assert_eq!(ropes.kept(), 1);
    }
}
