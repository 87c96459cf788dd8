//! What may happen to a cache, and how often.

use proptest::prelude::*;

pub(crate) const KEYS: u32 = 4;

/// One step of a scenario. Times are in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Get(u32, Bounds),
    /// Asks, and is gone after one poll.
    AskAndLeave(u32),
    Peek(u32),
    Put(u32, u64),
    PutIfAbsent(u32, u64),
    Invalidate(u32),
    /// All keys below this one.
    InvalidateBelow(u32),
    InvalidateAll,
    Resize(u64),
    Subscribe {
        key: u32,
        max_age: u64,
    },
    /// Of the subscriptions there are, this one.
    Unsubscribe(usize),
    Latest(usize),
    Changed(usize),
    Pass(u64),
    /// A fetch that begins from now on is answered so, after `secs`.
    Answer {
        what: What,
        secs: u64,
    },
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    pub(crate) max_age: Option<u64>,
    pub(crate) stale_if_error: Option<u64>,
    pub(crate) timeout: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Value(u64),
    NotModified,
    Absent,
    Fail,
    Refuse,
    Unreachable,
    Panic,
    Hang,
}

fn bounds() -> impl Strategy<Value = Bounds> {
    use prop::option::weighted;
    let any = (weighted(0.4, 0_u64..15), weighted(0.4, 0_u64..25), weighted(0.3, 1_u64..5));
    let must_revalidate = Bounds { max_age: Some(0), stale_if_error: Some(0), timeout: None };
    prop_oneof![
        3 => Just(Bounds::default()),
        1 => Just(must_revalidate),
        6 => any.prop_map(|(max_age, stale_if_error, timeout)| Bounds {
            max_age,
            stale_if_error,
            timeout,
        }),
    ]
}

/// Those that end in 9 weigh three, and from a thousand on they weigh what they say.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 1_u64..100, 2 => (0_u64..10).prop_map(|n| n * 10 + 9), 1 => Just(1_000_u64)]
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        6 => value().prop_map(What::Value),
        2 => Just(What::NotModified),
        2 => Just(What::Absent),
        2 => Just(What::Fail),
        1 => Just(What::Refuse),
        1 => Just(What::Unreachable),
        1 => Just(What::Panic),
        1 => Just(What::Hang),
    ]
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    let key = 0..KEYS;
    let nth = 0_usize..4;
    let secs = prop_oneof![3 => Just(0_u64), 1 => 1_u64..3];
    prop_oneof![
        12 => (key.clone(), bounds()).prop_map(|(key, bounds)| Op::Get(key, bounds)),
        3 => key.clone().prop_map(Op::AskAndLeave),
        2 => key.clone().prop_map(Op::Peek),
        2 => (key.clone(), value()).prop_map(|(key, value)| Op::Put(key, value)),
        1 => (key.clone(), value()).prop_map(|(key, value)| Op::PutIfAbsent(key, value)),
        2 => key.clone().prop_map(Op::Invalidate),
        1 => key.clone().prop_map(Op::InvalidateBelow),
        1 => Just(Op::InvalidateAll),
        1 => (1_u64..7).prop_map(Op::Resize),
        2 => (key, prop_oneof![Just(4_u64), Just(3_600)])
            .prop_map(|(key, max_age)| Op::Subscribe { key, max_age }),
        1 => nth.clone().prop_map(Op::Unsubscribe),
        2 => nth.clone().prop_map(Op::Latest),
        2 => nth.prop_map(Op::Changed),
        6 => (1_u64..12).prop_map(Op::Pass),
        6 => (what(), secs).prop_map(|(what, secs)| Op::Answer { what, secs }),
    ]
}
