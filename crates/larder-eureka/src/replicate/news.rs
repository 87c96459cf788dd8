//! What peers are told of what a client did, with the fields that Netflix's servers send.
//!
//! Pure. A heartbeat is told with three fields of the instance as it is held; the instance itself is neither
//! copied nor kept.

use std::sync::Arc;
use std::time::Duration;

use larder_registry::model::{Instance, Key, Status};

use crate::wire::replication::{Action, Sent};

/// For how long it is worth telling that an instance left or was overridden.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something to be told to every peer, and for how long it is worth telling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct News {
    /// As it is sent.
    pub(crate) item: Sent,
    /// Of a registration and a heartbeat one interval of its heartbeats, because the next one says as much;
    /// at least a second.
    pub(crate) lifetime: Duration,
}

impl News {
    /// An instance registered, and is held like this.
    pub(crate) fn registered(held: &Arc<Instance>) -> Self {
        let item = Sent {
            dirty_at: Some(held.dirty_at),
            status: Some(held.effective_status()),
            instance: Some(held.clone()),
            ..bare(Action::Register, held.key())
        };
        Self { item, lifetime: interval(held) }
    }

    /// An instance renewed its lease, and is held like this.
    pub(crate) fn renewed(key: Key, held: &Instance) -> Self {
        let item = Sent {
            dirty_at: Some(held.dirty_at),
            status_override: held.status_override,
            status: Some(held.effective_status()),
            ..bare(Action::Heartbeat, key)
        };
        Self { item, lifetime: interval(held) }
    }

    /// An instance left.
    pub(crate) fn left(key: Key) -> Self {
        Self { item: bare(Action::Cancel, key), lifetime: PATIENCE }
    }

    /// Somebody set an override, after which the instance is held like this.
    pub(crate) fn overridden(key: Key, to: Status, held: &Instance) -> Self {
        Self::status(Action::StatusUpdate, key, to, held)
    }

    /// Somebody lifted an override, with this to fall back to.
    pub(crate) fn lifted(key: Key, fallback: Status, held: &Instance) -> Self {
        Self::status(Action::DeleteStatusOverride, key, fallback, held)
    }

    /// Netflix's server refuses a lifted override without the time.
    fn status(action: Action, key: Key, status: Status, held: &Instance) -> Self {
        let (dirty_at, status) = (Some(held.dirty_at), Some(status));
        Self { item: Sent { dirty_at, status, ..bare(action, key) }, lifetime: PATIENCE }
    }
}

fn bare(action: Action, key: Key) -> Sent {
    Sent { action, key, dirty_at: None, status_override: None, status: None, instance: None }
}

fn interval(held: &Instance) -> Duration {
    let secs = held.lease.unwrap_or_default().renewal_interval_secs;
    Duration::from_secs(secs.max(1).into())
}

#[cfg(test)]
mod tests {
    use larder_registry::model::Lease;

    use super::*;
    use crate::wire::replication::encode_batch;

    fn held() -> Instance {
        let lease = Some(Lease { renewal_interval_secs: 5, ..Lease::default() });
        Instance { dirty_at: 7, lease, ..Instance::new("Web", "i") }
    }

    fn sent(news: &News) -> String {
        String::from_utf8(encode_batch([&news.item])).expect("it is UTF-8")
    }

    /// What a Spring server was seen to send, key by key.
    #[test]
    fn each_operation_is_told_with_the_fields_that_netflix_sends() {
        let key = || Key::new("Web", "i");
        let start = r#"{"replicationList":[{"appName":"WEB","id":"i""#;
        let table = [
            (
                News::renewed(key(), &held()),
                r#","lastDirtyTimestamp":7,"status":"UP","action":"Heartbeat"}]}"#,
            ),
            (News::left(key()), r#","action":"Cancel"}]}"#),
            (
                News::overridden(key(), Status::OutOfService, &held()),
                r#","lastDirtyTimestamp":7,"status":"OUT_OF_SERVICE","action":"StatusUpdate"}]}"#,
            ),
            (
                News::lifted(key(), Status::Up, &held()),
                r#","lastDirtyTimestamp":7,"status":"UP","action":"DeleteStatusOverride"}]}"#,
            ),
        ];
        for (news, rest) in table {
            assert_eq!(sent(&news), format!("{start}{rest}"));
        }
        let registered = sent(&News::registered(&Arc::new(held())));
        let head = r#","lastDirtyTimestamp":7,"status":"UP","instanceInfo":{"instanceId":"i","#;
        assert!(registered.starts_with(&format!("{start}{head}")), "{registered}");
        assert!(registered.ends_with(r#"},"action":"Register"}]}"#), "{registered}");
    }

    #[test]
    fn a_heartbeat_tells_of_the_override() {
        let out = Some(Status::OutOfService);
        let held = Instance { status_override: out, status: Status::OutOfService, ..held() };
        let fields = r#""overriddenStatus":"OUT_OF_SERVICE","status":"OUT_OF_SERVICE","#;
        assert!(sent(&News::renewed(held.key(), &held)).contains(fields));
    }

    #[test]
    fn what_the_next_heartbeat_says_as_well_is_told_for_one_interval_and_the_rest_for_longer() {
        assert_eq!(News::renewed(held().key(), &held()).lifetime, Duration::from_secs(5));
        assert_eq!(News::registered(&Arc::new(held())).lifetime, Duration::from_secs(5));
        assert_eq!(News::left(held().key()).lifetime, Duration::from_secs(30));
        let without = Instance { lease: None, ..held() };
        assert_eq!(News::renewed(without.key(), &without).lifetime, Duration::from_secs(30));
        let zero = Lease { renewal_interval_secs: 0, ..Lease::default() };
        let hasty = Instance { lease: Some(zero), ..held() };
        assert_eq!(News::renewed(hasty.key(), &hasty).lifetime, Duration::from_secs(1));
    }
}
