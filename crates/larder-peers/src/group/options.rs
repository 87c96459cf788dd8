//! What can be set on a group, and every default.

use std::time::Duration;

use larder_cache::{Backoff, Clock, Limits, Options, OutOfRange, Share};

use crate::group::HotPolicy;

/// Nothing here waits after a failure unless it was told to: Go's groups ask again each time.
pub(super) const NO_BACKOFF: Backoff =
    Backoff { free_failures: u32::MAX, base: Duration::from_secs(1), cap: Duration::from_secs(60) };

/// A value that was not read for so long leaves. Nothing lives that long without being read; but with a
/// bound, what has expired is swept out every ten minutes, and does not wait for its eviction.
const IDLE: Duration = Duration::from_secs(365 * 86_400);

/// About how heavy an entry is: it decides how finely the budget is divided.
const TYPICAL: u64 = 512;

/// How a group behaves. Change the fields of [`GroupOptions::default`].
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// How many bytes main and hot cache may take together: keys, values, and what each entry costs beside
    /// them. The least valuable entries are evicted beyond it, copies first when they are more than an
    /// eighth of the rest. A value that does not fit into a part of it is handed to its callers and not kept,
    /// and costs nobody else its place.
    ///
    /// Defaults to: 64 MiB. Zero keeps nothing.
    pub max_bytes: u64,
    /// How long a value is kept at most. The source may say less for each, and who sets one may, too. In a
    /// [golang](crate::Mode::Golang) ring, whose wire does not carry it, a copy counts from its arrival.
    ///
    /// Defaults to: for ever. Range: any.
    pub ttl: Duration,
    /// A value that is read when less than this is left of its life is renewed in the background, while it is
    /// handed out: so nobody waits for it, and values that came together do not expire together. Never before
    /// half of its life is over; within that, the owner's turn comes at a random moment of the first half, and
    /// a copy's in the third quarter, when its owner has the next value. What was set is not renewed: it holds
    /// until it expires. No value lives longer for it. The load should take less than a quarter of this.
    ///
    /// Defaults to: zero, that is, not at all, as Go's groups. Range: any; a tenth of the usual ttl, and the
    /// same on every node, is a good choice.
    pub renew_ahead: Duration,
    /// Of which values that others own a copy is kept here.
    ///
    /// Defaults to: [`HotPolicy::Always`], as mailgun's.
    pub hot: HotPolicy,
    /// For how long after its expiry a value may still be handed out while there is no better one, because the
    /// source fails or cannot be reached. Who gets it is [told why](crate::Got::error), and how old it is. Only
    /// callers of this process get one: peers get the error, and hand out what they have themselves.
    ///
    /// Defaults to: zero, that is, not at all, as Go's groups. Range: any.
    pub stale_if_error: Duration,
    /// For how long it is remembered that the source has no such key, and by everybody else that the owner
    /// said so: up to twice as long after the owner's source did. The source may say less, to the owner. A
    /// set or removal ends it everywhere.
    ///
    /// Defaults to: zero, that is, not at all, as Go's groups. Range: any.
    pub absent_ttl: Duration,
    /// How long the source may take. When three loads in a row have taken too long, and none succeeded
    /// between, the source is left alone but for one load a second, until one succeeds.
    ///
    /// Defaults to: 10 s. Range: from 1 ms.
    pub load_timeout: Duration,
    /// How long a key whose load failed is left alone; meanwhile the error is given to all who ask.
    ///
    /// Defaults to: not at all, as Go's groups.
    pub backoff: Backoff,
    /// How many callers and loads there may be, in each of the two caches.
    pub limits: Limits,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            ttl: Duration::MAX,
            renew_ahead: Duration::ZERO,
            hot: HotPolicy::Always,
            stale_if_error: Duration::ZERO,
            absent_ttl: Duration::ZERO,
            load_timeout: Duration::from_secs(10),
            backoff: NO_BACKOFF,
            limits: Limits::default(),
        }
    }
}

impl GroupOptions {
    /// What the caches' own options do not say.
    pub(super) fn validate(&self) -> Result<(), OutOfRange> {
        match self.hot {
            HotPolicy::ByRate { qps } if !(qps.is_finite() && qps > 0.0) => {
                Err(OutOfRange { option: "hot.qps", range: "above 0, and finite" })
            }
            _ => Ok(()),
        }
    }

    /// The options of one of the two caches.
    pub(super) fn cache(&self, clock: &Clock, share: Share) -> Options {
        let expected = (self.max_bytes / TYPICAL).clamp(1, 1 << 20);
        Options {
            capacity: self.max_bytes.max(1),
            expected_entries: usize::try_from(expected).unwrap_or(1),
            ttl: self.ttl,
            stale_if_error: self.stale_if_error,
            absent_ttl: self.absent_ttl,
            fetch_timeout: self.load_timeout,
            backoff: self.backoff,
            idle: IDLE,
            // Go's groups have none, and what expires at once may well be asked for often.
            rate: None,
            share: Some(share),
            limits: self.limits,
            clock: Some(clock.clone()),
            ..Options::default()
        }
    }
}

/// Whether who sets a value that somebody else owns keeps a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HotCopy {
    /// No: the next get asks the owner.
    #[default]
    Drop,
    /// Yes, in the hot cache; unless somebody else changed the key meanwhile.
    Keep,
}
