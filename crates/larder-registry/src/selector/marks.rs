//! Which instances of a service fail, and for how long they are left alone.
//!
//! Pure: the time is an argument. Only what fails is remembered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use larder_cache::Time;

/// When an instance is left alone because it cannot be reached.
///
/// go-micro's first selector skipped a node for 30 s after three errors; so does this one, but a *transport*
/// error only, each such error while it is skipped does not prolong it, and one that follows doubles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marking {
    /// After how many failures in a row, without a success between them, an instance is marked.
    ///
    /// Defaults to: 3. Range: any; 0 never marks.
    pub failures: u32,
    /// For how long it is then skipped. When that is over, it is picked like the others; one more failure
    /// marks it for twice as long, one success and everything is forgotten.
    ///
    /// Defaults to: 30 s. Range: any.
    pub pause: Duration,
    /// The longest time for which it is skipped. Failures are forgotten as well when there has been no
    /// other for so long after the last one, or after the end of the mark.
    ///
    /// Defaults to: 5 min. Range: any; what is shorter than [`pause`](Self::pause) counts as that.
    pub longest_pause: Duration,
}

impl Default for Marking {
    fn default() -> Self {
        Self {
            failures: 3,
            pause: Duration::from_secs(30),
            longest_pause: Duration::from_secs(5 * 60),
        }
    }
}

/// What is known of an instance that failed and has not succeeded since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Failures in a row that count.
    pub(super) failures: u32,
    /// How often it was marked.
    marks: u32,
    /// When the last mark ends; [`Time::ZERO`] if it was never marked.
    pub(super) until: Time,
    failed_at: Time,
    /// Which of the service's failures was its last: two may have failed in one millisecond.
    turn: u64,
}

impl Trouble {
    const NONE: Self =
        Self { failures: 0, marks: 0, until: Time::ZERO, failed_at: Time::ZERO, turn: 0 };

    pub(super) fn is_marked(&self, now: Time) -> bool {
        now < self.until
    }

    fn is_forgotten(&self, rules: Marking, now: Time) -> bool {
        let memory = rules.longest_pause.max(rules.pause);
        now.since(self.failed_at.max(self.until)) > memory
    }

    /// A request that was begun at `begun` failed at `now`.
    fn failed(self, rules: Marking, begun: Time, now: Time, turn: u64) -> Self {
        let known = if self.is_forgotten(rules, now) { Self::NONE } else { self };
        let known = Self { failed_at: now, turn, ..known };
        // Whatever was under way when the mark was set fails as well, and tells nothing new.
        let is_news = !known.is_marked(now) && begun >= known.until;
        if !is_news {
            return known;
        }
        let failures = known.failures.saturating_add(1);
        if rules.failures == 0 || failures < rules.failures {
            return Self { failures, ..known };
        }
        let doubled = rules.pause.saturating_mul(2_u32.saturating_pow(known.marks));
        let until = now.after(doubled.min(rules.longest_pause.max(rules.pause)));
        Self { failures, marks: known.marks.saturating_add(1), until, ..known }
    }
}

/// The instances of one service that failed and have not succeeded since. What the service no longer has is
/// taken out by [`retain`](Self::retain).
#[derive(Debug, Default)]
pub(super) struct Marks {
    troubles: HashMap<Arc<str>, Trouble>,
    turns: u64,
}

impl Marks {
    pub(super) fn of(&self, id: &str) -> Option<&Trouble> {
        self.troubles.get(id)
    }

    /// When the instance failed last among the others, if it is marked.
    pub(super) fn turn_if_marked(&self, id: &str, now: Time) -> Option<u64> {
        let trouble = self.troubles.get(id).filter(|trouble| trouble.is_marked(now))?;
        Some(trouble.turn)
    }

    /// A request that was begun at `begun` did not reach the instance. Says whether that changes whom to
    /// pick.
    pub(super) fn fail(&mut self, rules: Marking, id: &str, begun: Time, now: Time) -> bool {
        self.turns += 1;
        let before = self.troubles.get(id).copied().unwrap_or(Trouble::NONE);
        let after = before.failed(rules, begun, now, self.turns);
        self.troubles.insert(id.into(), after);
        before.is_marked(now) || after.is_marked(now)
    }

    /// A request reached the instance. Says whether that changes whom to pick.
    pub(super) fn succeed(&mut self, id: &str) -> bool {
        self.troubles.remove(id).is_some_and(|trouble| trouble.marks > 0)
    }

    /// Whether any instance failed and has not succeeded since.
    pub(super) fn has_any(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Forgets what happened to this instance.
    pub(super) fn forget(&mut self, id: &str) {
        self.troubles.remove(id);
    }

    /// When the first of the marks ends; [`Time::MAX`] if there is none.
    pub(super) fn first_end(&self, now: Time) -> Time {
        let ends = self.troubles.values().map(|trouble| trouble.until);
        ends.filter(|until| now < *until).min().unwrap_or(Time::MAX)
    }

    /// Forgets the instances that are not `known`.
    pub(super) fn retain(&mut self, known: impl Fn(&str) -> bool) {
        self.troubles.retain(|id, _| known(id));
    }
}

#[cfg(test)]
impl Marks {
    pub(super) fn len(&self) -> usize {
        self.troubles.len()
    }
}

#[cfg(test)]
mod tests;
