use super::*;
use crate::catalog::Catalog;
use crate::model::{Instance, Key, Lease};
use crate::registrar::{Moment, Registrar};

const fn at(secs: u64) -> Moment {
    Moment { now: Time::from_millis(secs * 1_000), wall: 1_000_000 + secs * 1_000 }
}

/// A registry as it is run: looked at once a second, with what its registrants do.
struct Bench {
    registrar: Registrar,
    now: u64,
}

impl Bench {
    fn new(options: Options) -> Self {
        let registrar =
            Registrar::new(Catalog::new(0, 10), 10_000).self_preservation(options, at(0));
        Self { registrar, now: 0 }
    }

    fn register(&mut self, service: &str, ids: std::ops::Range<u32>, interval: u32, duration: u32) {
        for id in ids {
            let lease = Lease {
                renewal_interval_secs: interval,
                duration_secs: duration,
                ..Lease::default()
            };
            let instance =
                Instance { lease: Some(lease), ..Instance::new(service, &id.to_string()) };
            self.registrar.register(instance, at(self.now)).expect("there is room");
        }
    }

    /// Lets seconds pass, in which these renew every 30 s.
    fn pass(&mut self, secs: u64, renewing: &[(&str, std::ops::Range<u32>)]) {
        for _ in 0..secs {
            self.now += 1;
            self.registrar.expire(at(self.now), usize::MAX);
            if self.now.is_multiple_of(30) {
                for (service, ids) in renewing {
                    for id in ids.clone() {
                        let key = Key::new(service, &id.to_string());
                        let _ = self.registrar.renew(&key, None, at(self.now));
                    }
                }
            }
        }
    }

    fn count(&self, service: &str) -> usize {
        let now = self.registrar.catalog().snapshot();
        now.service(&service.into()).map_or(0, |service| service.len())
    }

    fn explain(&mut self) -> Explained {
        self.registrar.explain(at(self.now)).expect("it is on")
    }
}

/// `TimeConsumingInstanceRegistryTest`: 5 of 50 go, which is not a mass; and when 150 come that never
/// renew, none goes any more.
#[test]
fn a_few_that_stop_renewing_go_and_many_stay() {
    let mut bench = Bench::new(Options::default());
    bench.register("web", 0..50, 30, 90);
    bench.pass(150, &[("web", 0..45)]);
    assert_eq!(bench.count("web"), 45, "{}", bench.explain());
    bench.register("lost", 0..150, 30, 90);
    bench.pass(600, &[("web", 0..45)]);
    assert_eq!((bench.count("web"), bench.count("lost")), (45, 150));
    let explained = bench.explain();
    assert!(explained.since.is_some());
    assert_eq!((explained.renewals, explained.due, explained.threshold), (90, 390, 331));
    assert_eq!(explained.overdue, 150);
    let says = explained.to_string();
    assert!(says.starts_with("on: of 390 renewals that were due in the last full minute 90 came"));
    assert!(says.contains("150 leases that ran out are held on to"), "{says}");
}

#[test]
fn it_ends_when_they_renew_again_and_nobody_was_lost() {
    let mut bench = Bench::new(Options::default());
    bench.register("web", 0..50, 30, 90);
    bench.pass(60, &[("web", 0..50)]);
    bench.pass(600, &[]);
    assert_eq!(bench.count("web"), 50);
    assert_eq!(bench.explain().overdue, 50);
    bench.pass(120, &[("web", 0..50)]);
    let explained = bench.explain();
    assert_eq!((explained.since, explained.overdue), (None, 0), "{explained}");
    assert_eq!(bench.count("web"), 50);
}

#[test]
fn an_operator_who_confirms_ends_what_ran_out_and_nothing_else() {
    let mut bench = Bench::new(Options::default());
    bench.register("web", 0..50, 30, 90);
    bench.register("gone", 0..50, 30, 90);
    bench.pass(60, &[("web", 0..50), ("gone", 0..50)]);
    bench.pass(300, &[("web", 0..50)]);
    assert_eq!((bench.count("web"), bench.count("gone")), (50, 50));
    assert_eq!(bench.registrar.confirm(at(bench.now)), 50);
    bench.pass(1, &[]);
    assert_eq!((bench.count("web"), bench.count("gone")), (50, 0));
    bench.pass(120, &[("web", 0..50)]);
    let explained = bench.explain();
    assert_eq!((explained.since, explained.due), (None, 100), "it follows what is left");
}

/// There, a server that was scaled in stays in self-preservation.
#[test]
fn leaving_is_no_reason() {
    let mut bench = Bench::new(Options::default());
    bench.register("web", 0..50, 30, 90);
    bench.pass(90, &[("web", 0..50)]);
    for id in 0..40 {
        let left = bench.registrar.deregister(&Key::new("web", &id.to_string()), at(bench.now));
        left.expect("it is registered");
    }
    bench.pass(60, &[("web", 40..50)]);
    let explained = bench.explain();
    assert_eq!((explained.since, explained.due), (None, 20), "{explained}");
}

/// There, all leases are taken to renew every 30 s, so that these 60 look like a mass that is gone.
#[test]
fn each_lease_counts_by_its_own_interval() {
    let mut bench = Bench::new(Options::default());
    bench.register("slow", 0..60, 60, 180);
    for _ in 0..5 {
        bench.pass(60, &[]);
        for id in 0..60 {
            let key = Key::new("slow", &id.to_string());
            bench.registrar.renew(&key, None, at(bench.now)).expect("it is there");
        }
        assert_eq!(bench.explain().since, None, "{}", bench.explain());
    }
}

#[test]
fn within_a_minute_no_more_than_a_share_ends_whoever_they_are() {
    // Too short to be missed by renewals of a full minute.
    let mut bench = Bench::new(Options::default());
    for service in ["a", "b", "c", "d"] {
        bench.register(service, 0..25, 5, 10);
    }
    bench.pass(30, &[]);
    let left: Vec<usize> = ["a", "b", "c", "d"].map(|service| bench.count(service)).into();
    assert_eq!(left.iter().sum::<usize>(), 85, "{left:?}");
    assert!(left.iter().all(|left| *left > 10), "nobody lost most of it: {left:?}");
    let says = bench.explain().to_string();
    assert!(says.contains("85 leases that ran out wait for their turn"), "{says}");
}

#[test]
fn a_small_registry_holds_on_to_nothing() {
    let mut bench = Bench::new(Options::default());
    bench.register("web", 0..9, 30, 90);
    bench.pass(91, &[]);
    assert_eq!(bench.count("web"), 0);
    assert_eq!(
        bench.explain().to_string(),
        "off: with 0 leases, fewer than 10, each ends when it runs out"
    );
}

/// Eureka's `testEvictionTaskCompensationTime`.
#[test]
fn after_a_pause_of_the_program_nothing_ends_until_registrants_could_renew() {
    let mut bench = Bench::new(Options { at_least: 1_000, ..Options::default() });
    bench.register("web", 0..5, 30, 90);
    bench.pass(10, &[]);
    bench.now += 3_600;
    bench.registrar.paused(Duration::from_secs(3_600), at(bench.now));
    bench.pass(59, &[]);
    assert_eq!(bench.count("web"), 5);
    bench.register("web", 0..3, 30, 90);
    bench.pass(2, &[]);
    assert_eq!(bench.count("web"), 3);
}

#[test]
fn without_any_lease_there_is_nothing_to_look_at() {
    let bench = Bench::new(Options::default());
    assert!(!bench.registrar.minds_pauses());
    assert_eq!(bench.registrar.next_expiry(Time::ZERO), None);
}

#[test]
fn what_may_not_end_is_looked_at_again_when_it_may() {
    let mut bench = Bench::new(Options::default());
    bench.register("web", 0..50, 30, 90);
    bench.pass(100, &[]);
    assert_eq!(bench.registrar.next_expiry(at(100).now), Some(at(120).now));
}
