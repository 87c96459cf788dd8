//! Which status an instance has, given what it says, what an operator says, and what it had.
//!
//! Eureka's rules (`com.netflix.eureka.registry.rule`), first match wins: an instance that says it
//! does not serve is believed; then an operator's override; then, for an instance that was already
//! known to serve or to be out of service, what it was, so that only an operator can move it between
//! the two; then the instance's own word.

use crate::backend::OverrideChange;
use crate::model::{Instance, Status};

/// The status of an instance that registers and says `said`.
pub(super) fn on_registration(
    said: Status,
    operator: Option<Status>,
    before: Option<Status>,
) -> Status {
    if !serves_or_is_out(said) {
        return said;
    }
    operator.or(before.filter(|before| serves_or_is_out(*before))).unwrap_or(said)
}

/// The status and override after an operator's change; none if it changes nothing.
///
/// Setting an override to the status that the instance has stores no override, and lifting one that
/// is not there does nothing: both as Eureka does.
pub(super) fn after_override(
    held: &Instance,
    change: OverrideChange,
) -> Option<(Status, Option<Status>)> {
    match change.to {
        Some(to) if to == held.status => None,
        Some(to) => Some((to, Some(to))),
        None => held.status_override.map(|_| (change.fallback, None)),
    }
}

fn serves_or_is_out(status: Status) -> bool {
    matches!(status, Status::Up | Status::OutOfService)
}

#[cfg(test)]
mod tests {
    use Status::{Down, OutOfService, Starting, Unknown, Up};

    use super::*;

    #[test]
    fn the_first_rule_that_matches_wins() {
        let table = [
            // said, operator, before => status
            (Down, Some(Up), Some(Up), Down),
            (Starting, Some(OutOfService), None, Starting),
            (Unknown, None, Some(Up), Unknown),
            (Up, Some(OutOfService), Some(Up), OutOfService),
            (OutOfService, Some(Up), None, Up),
            (Up, Some(Down), Some(Down), Down),
            (OutOfService, None, Some(Up), Up),
            (Up, None, Some(OutOfService), OutOfService),
            (Up, None, Some(Down), Up),
            (Up, None, Some(Starting), Up),
            (OutOfService, None, None, OutOfService),
            (Up, None, None, Up),
        ];
        for (said, operator, before, expected) in table {
            let got = on_registration(said, operator, before);
            assert_eq!(got, expected, "said {said}, operator {operator:?}, before {before:?}");
        }
    }
}
