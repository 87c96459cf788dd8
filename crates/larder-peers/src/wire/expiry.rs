//! Until when a value may be handed out, as it is on the wire: a time of day, so the clocks of the nodes
//! must agree.
//!
//! Pure: the time of day is an argument.

use std::time::Duration;

/// A moment in nanoseconds since 1970, or never.
///
/// From that very moment on the value is not handed out any more; mailgun's still hands it out within that
/// nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Expiry(i64);

impl Expiry {
    /// The value does not expire.
    pub const NEVER: Self = Self(0);

    /// As on the wire: 0 is never, and what is negative is long past.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// As on the wire.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// So long after the beginning of 1970. Times that the wire cannot tell, beyond the year 2262, are never.
    pub fn at(since_1970: Duration) -> Self {
        // Zero means never: what expires at the first moment of 1970 has expired at the next one, too.
        Self(i64::try_from(since_1970.as_nanos()).map_or(0, |nanos| nanos.max(1)))
    }

    /// `ttl` from now on; `now` in milliseconds since 1970. `Duration::MAX`, or what the wire cannot tell, is
    /// never.
    pub fn after(now: u64, ttl: Duration) -> Self {
        Self::at(Duration::from_millis(now).saturating_add(ttl))
    }

    /// How long the value may still be handed out, `now` in milliseconds since 1970: zero if it has expired,
    /// `Duration::MAX` if it never does.
    pub fn left(self, now: u64) -> Duration {
        if self == Self::NEVER {
            return Duration::MAX;
        }
        let left = i128::from(self.0) - i128::from(now) * 1_000_000;
        u64::try_from(left.max(0)).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Whether it must not be handed out any more.
    pub fn is_past(self, now: u64) -> bool {
        self.left(now).is_zero()
    }
}
