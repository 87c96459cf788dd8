//! Scenarios in which the cache once was not what the reference says.

use crate::operation::Operation::{
    Answer, Get, Invalidate, InvalidateBelow, Pass, Put, PutIfAbsent, Resize, Subscribe,
};
use crate::operation::{Bounds, Operation, What};
use crate::{on_paused_time, run};

const ANY: Bounds = Bounds { max_age: None, stale_if_error: None, timeout: None };
const REVALIDATED: Bounds = Bounds { max_age: Some(0), stale_if_error: Some(0), timeout: None };

fn holds(operations: &[Operation]) {
    on_paused_time(run(operations)).unwrap();
}

#[test]
fn what_is_read_by_misses_is_not_idle() {
    holds(&[Get(0, ANY), Pass(8), Get(0, REVALIDATED), Pass(7)]);
}

#[test]
fn what_is_read_while_its_owner_fails_is_not_idle() {
    let fails = Answer { what: What::Fail, secs: 0 };
    holds(&[Get(0, ANY), fails, Pass(11), Get(0, ANY), Pass(4)]);
}

#[test]
fn absences_are_invalidated_by_a_condition_as_well() {
    let absent = Answer { what: What::Absent, secs: 0 };
    holds(&[absent, Get(1, ANY), InvalidateBelow(2), Get(1, ANY)]);
}

#[test]
fn an_evicted_value_that_is_subscribed_leaves_once() {
    let (heavy, subscribed) =
        (Answer { what: What::Value(9), secs: 0 }, Subscribe { key: 1, max_age: 4 });
    holds(&[Put(0, 1), Put(2, 1), heavy, subscribed, Resize(1), Invalidate(1)]);
}

#[test]
fn a_newcomer_without_room_is_evicted_and_not_replaced() {
    // Two that are hot leave none.
    let hot = [Put(1, 1), Get(1, ANY), Put(0, 1), Put(2, 1), Get(2, ANY), Put(0, 1)];
    holds(&[&[Resize(2)], &hot[..]].concat());
}

#[test]
fn after_changes_of_the_capacity_what_is_stored_has_room() {
    holds(&[Resize(2), Resize(4), Put(0, 9), PutIfAbsent(0, 1)]);
}
