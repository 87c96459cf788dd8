//! A listing of 100,000 instances that replaces what there was, as after a broken watch.
//!
//! The listing is made before, all of its instances anew, and then told event by event by a backend that holds
//! nothing. One instance in ten has changed. *Visible* is the wall time from its first event until a reader finds
//! the new state, of all services. That reader is a thread that does nothing else, until 30 ms later. *Blocked* is the
//! longest that one of its looks took, the dropping of what it had got included: by the clock if it went to sleep in
//! it, as the kernel counts, else in CPU time, because then the rest is other programs'. The cache and its backend live
//! on a runtime of one thread: *pause* is the longest that a task on that thread, which sleeps for 1 ms again and
//! again, sees between two of its turns, and CPU is that thread's until the old state is dropped. Medians of the
//! rounds but the first.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use larder_bench::instances::{Elsewhere, LISTED, listing};
use larder_bench::measure::{Samples, cpu};
use larder_bench::table::{Table, aim};
use larder_cache::Clock;
use larder_registry::model::Name;
use larder_registry::{Mirror, RegistryCache, View, registry_cache};

const INSTANCES: usize = 100_000;
const ROUNDS: u64 = 9;
const TICK: Duration = Duration::from_millis(1);
const AFTERWARDS: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(20);
const SLOW: Duration = Duration::from_micros(100);

/// Whether the state of a revision is shown of a service.
type Shows = Box<dyn Fn(&Name, u64) -> bool + Send + Sync>;

/// Takes a turn every millisecond on the runtime's thread, and notes the longest time between two and what CPU
/// time the thread has used.
#[derive(Default)]
struct Bystander {
    longest_us: AtomicU64,
    cpu_us: AtomicU64,
    turns: AtomicU64,
    stop: AtomicBool,
}

impl Bystander {
    async fn stand(&self) {
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            tokio::time::sleep(TICK).await;
            self.longest_us.fetch_max(micros(last.elapsed()), Ordering::AcqRel);
            self.cpu_us.store(micros(cpu()), Ordering::Release);
            self.turns.fetch_add(1, Ordering::AcqRel);
            last = Instant::now();
        }
    }

    /// After a few more turns: what the thread was busy with is over.
    fn cpu_ms(&self) -> f64 {
        let enough = self.turns.load(Ordering::Acquire) + 5;
        while self.turns.load(Ordering::Acquire) < enough {
            std::thread::sleep(TICK);
        }
        self.cpu_us.load(Ordering::Acquire) as f64 / 1e3
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a reader has seen.
struct Seen {
    visible: Instant,
    blocked: Duration,
}

/// Looks until all services show `revision`, and a little longer.
fn read(names: &[Name], revision: u64, shows: &Shows) -> Seen {
    let mut seen = Seen { visible: Instant::now(), blocked: Duration::ZERO };
    let deadline = Instant::now() + PATIENCE;
    let (mut place, mut sleeps) = (0, sleeps_so_far());
    let mut end = None;
    while end.is_none_or(|end| Instant::now() < end) {
        let name = &names[place % names.len()];
        let (begun, used) = (Instant::now(), cpu());
        let shown = shows(name, revision);
        let (used, took) = (cpu().saturating_sub(used), begun.elapsed());
        let slept = took > SLOW && std::mem::replace(&mut sleeps, sleeps_so_far()) < sleeps;
        seen.blocked = seen.blocked.max(if slept { took } else { used });
        place += usize::from(shown);
        assert!(begun < deadline, "{name} does not show revision {revision}");
        if place == names.len() && end.is_none() {
            seen.visible = Instant::now();
            end = Some(seen.visible + AFTERWARDS);
        }
    }
    seen
}

/// How often this thread went to sleep of its own accord (Linux).
fn sleeps_so_far() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("the kernel counts them")
}

/// In milliseconds.
#[derive(Default)]
struct Figures {
    visible: Samples,
    cpu: Samples,
    blocked: Samples,
    pause: Samples,
}

fn rounds(registry: &Elsewhere, count: usize, bystander: &Bystander, shows: &Shows) -> Figures {
    let mut figures = Figures::default();
    let names = registry.names();
    for revision in LISTED + 1..=LISTED + ROUNDS {
        let news: Vec<_> = registry
            .watches()
            .into_iter()
            .map(|(followed, teller)| {
                let followed = followed.as_ref().map_or(names, std::slice::from_ref);
                let edited = |number| number as u64 % 10 == revision % 10;
                (teller, listing(followed, count, revision, edited))
            })
            .collect();
        let cpu_before = bystander.cpu_ms();
        bystander.longest_us.store(0, Ordering::Release);
        let (begun, seen) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(names, revision, shows));
            std::thread::sleep(Duration::from_millis(20));
            let begun = Instant::now();
            for (teller, events) in news {
                teller.send(events).expect("the watch is there");
            }
            (begun, reader.join().expect("it only looks"))
        });
        if revision == LISTED + 1 {
            continue;
        }
        figures.visible.push(seen.visible.duration_since(begun).as_secs_f64() * 1e3);
        figures.cpu.push(bystander.cpu_ms() - cpu_before);
        figures.blocked.push(seen.blocked.as_secs_f64() * 1e3);
        figures.pause.push(bystander.longest_us.load(Ordering::Acquire) as f64 / 1e3);
    }
    figures
}

/// So many services, that make 100,000 instances, of which `front` is made.
fn measure(services: usize, front: impl FnOnce(Arc<Elsewhere>) -> Shows) -> Figures {
    let count = INSTANCES / services;
    let registry = Arc::new(Elsewhere::new(services, count, Duration::ZERO));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let bystander = Bystander::default();
    let shows = {
        let _inside = runtime.enter();
        front(registry.clone())
    };
    std::thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(bystander.stand()));
        while !registry.names().iter().all(|name| shows(name, LISTED)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(300));
        let figures = rounds(&registry, count, &bystander, &shows);
        bystander.stop.store(true, Ordering::Release);
        figures
    })
}

fn cache(registry: Arc<Elsewhere>) -> Shows {
    let cache = RegistryCache::new(registry.clone(), registry_cache::Options::default());
    let cache = cache.expect("the options are valid");
    let asking = cache.clone();
    tokio::spawn(async move {
        for name in registry.names() {
            asking.get(name).await.expect("it is there");
        }
    });
    Box::new(move |name, revision| cache.peek(name).is_some_and(|it| it.revision() == revision))
}

/// Its revisions are its own: what shows is the build of the instances that have changed.
fn mirror(registry: Arc<Elsewhere>) -> Shows {
    let mirror = Mirror::start(registry, 65_536, Clock::running());
    Box::new(move |name, revision| {
        let snapshot = mirror.snapshot();
        let Some(service) = snapshot.service(name) else { return false };
        // Of the first ten, one has this round's build.
        let build = format!("{revision:012}");
        revision == LISTED || service.instances().take(10).any(|it| it.has_label("build", &build))
    })
}

/// Prints the table; gives lines about the aims.
pub fn report() -> Vec<String> {
    println!("# {INSTANCES} instances listed anew: {} rounds\n", ROUNDS - 1);
    let heading =
        ["ms", "visible, min", "median", "CPU", "blocked, min", "median", "pause, min", "median"];
    let mut table = Table::new(&heading);
    let subjects = [
        ("RegistryCache, 1 service", measure(1, cache)),
        ("RegistryCache, 1,000 services", measure(1_000, cache)),
        ("Mirror, 1,000 services", measure(1_000, mirror)),
    ];
    let mut aims = Vec::new();
    for (name, Figures { visible, cpu, blocked, pause }) in subjects {
        table.row([
            name.to_owned(),
            format!("{:.1}", visible.min()),
            format!("{:.1}", visible.median()),
            format!("{:.1}", cpu.median()),
            format!("{:.3}", blocked.min()),
            format!("{:.3}", blocked.median()),
            format!("{:.1}", pause.min()),
            format!("{:.1}", pause.median()),
        ]);
        let (visible, blocked) = (visible.median(), blocked.median());
        aims.push(aim(&format!("relist and swap, ms, {name}"), visible, visible <= 150.0, "≤ 150"));
        aims.push(aim(&format!("a reader blocked, ms, {name}"), blocked, blocked <= 1.0, "≤ 1"));
    }
    println!("{table}");
    aims
}
