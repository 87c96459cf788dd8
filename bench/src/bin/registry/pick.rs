//! Whom to call: one pick of the selector, for each of its strategies.
//!
//! One thread selects from a snapshot of 3, 50 or 1,000 instances that it holds, picks, and says that the call
//! succeeded: nanoseconds of CPU time for all three, medians. go-micro's selector asks its cache for each pick, which
//! copies what it holds; that is in its figure, as it cannot do otherwise. It has no other strategies.

use std::hint::black_box;
use std::sync::Arc;

use larder_bench::golang::GoProgram;
use larder_bench::instances::{instance, service_name};
use larder_bench::measure::{Contender, cpu_ns_per, interleave};
use larder_bench::table::Table;
use larder_registry::catalog::Service;
use larder_registry::selector::{Filter, Options, Selector, Strategy};

const SIZES: [usize; 3] = [3, 50, 1_000];
const ROUNDS: usize = 9;
const PICKS: usize = 50_000;
const STRATEGIES: [(&str, Strategy); 5] = [
    ("random", Strategy::Random),
    ("round robin", Strategy::RoundRobin),
    ("least outstanding", Strategy::LeastOutstanding),
    ("power of two choices", Strategy::PowerOfTwoChoices),
    ("weighted", Strategy::Weighted),
];

/// The medians of all strategies, in their order.
fn medians(count: usize) -> Vec<f64> {
    let instances = (0..count).map(|number| Arc::new(instance("service-0", number)));
    let service = Arc::new(Service::new(service_name(0), 1, instances));
    let filter = Filter::default();
    let contender = |(name, strategy)| {
        let selector = Selector::new(Options { strategy, ..Options::default() });
        let (service, filter) = (&service, &filter);
        Contender::new(name, move || {
            cpu_ns_per(PICKS, || {
                for _ in 0..PICKS {
                    let selection = selector.select(black_box(service), black_box(filter));
                    let pick = selection.expect("somebody is up").next();
                    black_box(pick.instance());
                    pick.succeeded();
                }
            })
        })
    };
    let mut contenders: Vec<_> = STRATEGIES.into_iter().map(contender).collect();
    interleave(ROUNDS, &mut contenders);
    contenders.iter().map(|it| it.samples.median()).collect()
}

/// Prints the table; there is no aim.
pub fn report(go_micro: &GoProgram) -> Vec<String> {
    let runtime = crate::runtime();
    let _inside = runtime.enter();
    println!("# A pick of the selector, of 3, 50 and 1,000 instances: {ROUNDS} rounds, CPU time\n");
    let larder = SIZES.map(medians);
    let of_go: [[f64; 2]; 3] = SIZES.map(|size| go_micro.numbers(&format!("pick {size}")));
    let mut table = Table::new(&["ns", "3", "50", "1,000"]);
    let cells = |figures: [f64; 3]| figures.map(|figure| format!("{figure:.0}"));
    for (place, (name, _)) in STRATEGIES.iter().enumerate() {
        let figures = [0, 1, 2].map(|size: usize| larder[size][place]);
        table.row([(*name).to_owned()].into_iter().chain(cells(figures)));
    }
    for (place, name) in
        ["go-micro, its cache included, random", "the same, round robin"].iter().enumerate()
    {
        let figures = of_go.map(|figures| figures[place]);
        table.row([(*name).to_owned()].into_iter().chain(cells(figures)));
    }
    println!("{table}");
    Vec::new()
}
