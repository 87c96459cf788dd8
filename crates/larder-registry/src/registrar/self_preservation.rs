//! Self-preservation: when too few renewals come, more likely the network fails than the instances do, and
//! leases that run out are held on to.
//!
//! Pure. Eureka's rule, with what its users suffer from mended:
//!
//! - Each lease counts by its own interval. (There, all are taken to renew every 30 s, so that other
//!   intervals break the rule.)
//! - Only leases that lasted through the minute count, whichever side of it they came or went. (There, the
//!   number follows at its own pace, so that a server stays in self-preservation after it was scaled in.)
//! - A small registry has none. (There, two instances of which one is stopped are an emergency.)
//! - It says why, and what would end it ([`Explained`]); an operator can end it.
//!
//! As there, no more than a share of all leases ends within a minute, and which ones is left to chance, so
//! that no application loses all its instances first; and after a pause of the server itself, in which
//! nobody could renew, nothing ends for a while.

use std::fmt;
use std::time::Duration;

use larder_cache::Time;

/// When leases that ran out are held on to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Too few are renewals that are not more than this share of those that were due. What is left of 1
    /// may end within a minute, at most. Eureka's `renewalPercentThreshold`. 0 to 1, 0.85 by default.
    pub share: f64,
    /// In a registry with fewer leases nothing is held on to. 10 by default.
    pub at_least: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { share: 0.85, at_least: 10 }
    }
}

/// How long renewals are counted before they are judged.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// What self-preservation goes by.
#[derive(Debug)]
pub(super) struct SelfPreservation {
    options: Options,
    minute_began: Time,
    /// Renewals in this minute.
    renewals: u64,
    /// How many were due in a minute when this one began, in thousandths.
    due_at_first: u64,
    last: Option<Minute>,
    /// Since when, by the time of day; none while there is none.
    since: Option<u64>,
    /// How many leases ended in this minute.
    ended: usize,
    /// How many may end because an operator said so.
    confirmed: usize,
    /// Nothing ends before this.
    not_before: Time,
    chance: u64,
}

/// A minute that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Minute {
    renewals: u64,
    due: u64,
}

/// The leases as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leased {
    /// How many there are.
    pub(super) count: usize,
    /// How many of them ran out.
    pub(super) overdue: usize,
    /// How many renewals are due in a minute, in thousandths.
    pub(super) due: u64,
}

impl SelfPreservation {
    pub(super) fn new(options: Options, now: Time, seed: u64) -> Self {
        Self {
            options,
            minute_began: now,
            renewals: 0,
            due_at_first: 0,
            last: None,
            since: None,
            ended: 0,
            confirmed: 0,
            not_before: Time::ZERO,
            chance: seed,
        }
    }

    /// A lease was renewed.
    pub(super) fn renewed(&mut self, leased: Leased, now: Time, wall: u64) {
        self.look(leased, now, wall);
        self.renewals += 1;
    }

    /// Judges the last minute, if it is over.
    pub(super) fn look(&mut self, leased: Leased, now: Time, wall: u64) {
        let over = now.since(self.minute_began).as_millis() / MINUTE.as_millis();
        if over == 0 {
            return;
        }
        // Nobody looked for longer than a minute: nobody renewed in the last one.
        let renewals = if over == 1 { self.renewals } else { 0 };
        let due = if over == 1 { self.due_at_first.min(leased.due) } else { leased.due };
        let over = u32::try_from(over).unwrap_or(u32::MAX);
        self.minute_began = self.minute_began.after(MINUTE.saturating_mul(over));
        (self.renewals, self.due_at_first, self.ended) = (0, leased.due, 0);
        let last = Minute { renewals, due: due / 1_000 };
        self.last = Some(last);
        let is_on = leased.count >= self.options.at_least
            && last.due > 0
            && last.renewals <= self.threshold(last.due);
        self.since = is_on.then(|| self.since.unwrap_or(wall));
    }

    /// As many renewals are too few.
    fn threshold(&self, due: u64) -> u64 {
        share_of(due, self.options.share)
    }

    /// How many of those that ran out may end now.
    pub(super) fn allowance(&self, leased: Leased, now: Time) -> usize {
        if now < self.not_before {
            return 0;
        }
        let before = leased.count + self.ended;
        let by_itself = if leased.count < self.options.at_least {
            leased.overdue
        } else if self.since.is_some() {
            0
        } else {
            let stay = share_of(before as u64, self.options.share);
            before
                .saturating_sub(usize::try_from(stay).unwrap_or(usize::MAX))
                .saturating_sub(self.ended)
        };
        by_itself.max(self.confirmed).min(leased.overdue)
    }

    /// One of those that ran out, by chance; of `overdue`, which is not zero.
    pub(super) fn pick(&mut self, overdue: usize) -> usize {
        self.ended += 1;
        self.confirmed = self.confirmed.saturating_sub(1);
        // SplitMix64 (Steele, Lea, Flood, 2014): chance enough to be fair between applications.
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % overdue.max(1) as u64).unwrap_or_default()
    }

    /// When to look again, if something is overdue that may not end.
    pub(super) fn next_look(&self, now: Time) -> Time {
        if now < self.not_before { self.not_before } else { self.minute_began.after(MINUTE) }
    }

    /// The server stood still for this long: nobody could renew.
    pub(super) fn paused(&mut self, pause: Duration, now: Time) {
        self.not_before = now.after(pause.min(MINUTE));
    }

    /// An operator says that what is overdue now is gone.
    pub(super) fn confirm(&mut self, leased: Leased) {
        self.confirmed = leased.overdue;
    }

    pub(super) fn explain(&self, leased: Leased) -> Explained {
        let last = self.last.unwrap_or(Minute { renewals: 0, due: 0 });
        Explained {
            since: self.since,
            leases: leased.count,
            overdue: leased.overdue,
            renewals: last.renewals,
            due: last.due,
            threshold: self.threshold(last.due),
            at_least: self.options.at_least,
        }
    }
}

/// Rounded down, as Eureka does.
fn share_of(count: u64, share: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far below 2^52, and the share is from 0 to 1"
    )]
    let share = (count as f64 * share) as u64;
    share
}

/// Why leases that ran out are held on to, or are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Since when they are, in milliseconds since 1970; none while they are not.
    pub since: Option<u64>,
    /// How many leases there are.
    pub leases: usize,
    /// How many of them ran out and have not ended.
    pub overdue: usize,
    /// How many renewals came in the last full minute.
    pub renewals: u64,
    /// How many were due in it.
    pub due: u64,
    /// As many renewals, or fewer, begin it; more end it.
    pub threshold: u64,
    /// With fewer leases there is none.
    pub at_least: usize,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leases, overdue, renewals, due, threshold, at_least, .. } = self;
        if self.since.is_some() {
            write!(
                f,
                "on: of {due} renewals that were due in the last full minute {renewals} came, not more \
                 than {threshold}; {overdue} leases that ran out are held on to; it ends after a minute \
                 with more than {threshold}, when fewer than {at_least} leases are left, or when an \
                 operator confirms that they are gone"
            )
        } else if leases < at_least {
            write!(
                f,
                "off: with {leases} leases, fewer than {at_least}, each ends when it runs out"
            )
        } else {
            write!(
                f,
                "off: of {due} renewals that were due in the last full minute {renewals} came; \
                 {threshold} or fewer would begin it; {overdue} leases that ran out wait for their turn"
            )
        }
    }
}

#[cfg(test)]
mod tests;
