use super::*;

const RULES: Marking = Marking {
    failures: 3,
    pause: Duration::from_secs(30),
    longest_pause: Duration::from_secs(100),
};

fn at(secs: u64) -> Time {
    Time::from_millis(secs * 1_000)
}

/// Requests to `a` that fail at once at these seconds; how long it is marked after each, in seconds.
fn pauses(failures: &[u64]) -> Vec<u64> {
    let mut marks = Marks::default();
    let fail = |secs: &u64| {
        marks.fail(RULES, "a", at(*secs), at(*secs));
        marks.of("a").expect("it failed").until.since(at(*secs)).as_secs()
    };
    failures.iter().map(fail).collect()
}

#[test]
fn three_failures_in_a_row_mark_for_half_a_minute() {
    assert_eq!(pauses(&[1, 2, 3]), [0, 0, 30]);
}

#[test]
fn failures_while_marked_prolong_nothing() {
    assert_eq!(pauses(&[1, 2, 3, 4, 32]), [0, 0, 30, 29, 1]);
}

#[test]
fn each_failure_after_a_mark_doubles_the_next_up_to_the_longest() {
    assert_eq!(pauses(&[1, 1, 1, 31, 91, 191, 291]), [0, 0, 30, 60, 100, 100, 100]);
}

#[test]
fn a_request_begun_before_the_mark_ended_is_no_news() {
    let mut marks = Marks::default();
    for _ in 0..3 {
        marks.fail(RULES, "a", at(0), at(0));
    }
    marks.fail(RULES, "a", at(29), at(45));
    assert_eq!(marks.turn_if_marked("a", at(45)), None);
    marks.fail(RULES, "a", at(30), at(45));
    assert!(marks.turn_if_marked("a", at(45)).is_some());
}

#[test]
fn failures_long_ago_are_forgotten() {
    assert_eq!(pauses(&[1, 2, 103, 104, 105]), [0, 0, 0, 0, 30]);
    // Marked until 33; at 133 it is still remembered, a moment later no longer.
    assert_eq!(pauses(&[1, 2, 3, 133]), [0, 0, 30, 60]);
    assert_eq!(pauses(&[1, 2, 3, 134]), [0, 0, 30, 0]);
}

#[test]
fn a_success_clears_everything() {
    let mut marks = Marks::default();
    for round in 0..3 {
        (0..2).for_each(|_| assert!(!marks.fail(RULES, "a", at(round), at(round))));
        assert!(!marks.succeed("a"));
    }
    for _ in 0..2 {
        marks.fail(RULES, "a", at(3), at(3));
    }
    assert!(marks.fail(RULES, "a", at(3), at(3)), "a mark changes whom to pick");
    assert!(marks.succeed("a"), "as does its end");
    assert_eq!((marks.of("a"), marks.first_end(at(4))), (None, Time::MAX));
}

#[test]
fn the_first_end_is_the_first_that_is_to_come() {
    let mut marks = Marks::default();
    for (id, when) in [("a", 0), ("b", 10), ("c", 20)] {
        for _ in 0..3 {
            marks.fail(RULES, id, at(when), at(when));
        }
    }
    for (now, end) in [(20, 30), (29, 30), (30, 40), (49, 50)] {
        assert_eq!(marks.first_end(at(now)), at(end));
    }
    assert_eq!(marks.first_end(at(50)), Time::MAX);
}

#[test]
fn nothing_marks_where_the_number_of_failures_is_zero() {
    let mut marks = Marks::default();
    let rules = Marking { failures: 0, ..RULES };
    assert!((0..100).all(|when| !marks.fail(rules, "a", at(when), at(when))));
}

#[test]
fn however_often_it_is_marked_the_time_grows_up_to_the_longest() {
    for longest_pause in [Duration::ZERO, Duration::from_secs(3_600), Duration::MAX] {
        let rules = Marking { longest_pause, ..RULES };
        let (mut marks, mut now, mut pause) = (Marks::default(), Time::ZERO, Duration::ZERO);
        for _ in 0..100 {
            marks.fail(rules, "a", now, now);
            let until = marks.of("a").expect("it failed").until;
            assert!(
                until.since(now) >= pause && until.since(now) <= longest_pause.max(rules.pause)
            );
            pause = until.since(now);
            now = now.max(until);
        }
        assert!(pause >= longest_pause.min(Duration::from_secs(1 << 32)));
    }
}
