//! What every chaos test plays on: a real etcd, a proxy for each of two backends, a cache and a mirror over
//! them, and twenty readers who check all that they read.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use larder_cache::{Backoff, Clock, Error as CacheError, Time};
use larder_etcd::Options;
use larder_micro::mapping;
use larder_registry::backend::Copied;
use larder_registry::catalog::Service;
use larder_registry::model::Name;
use larder_registry::{Backend, Guarded, Mirror, RegistryCache, View, guard, registry_cache};
use tokio::task::JoinSet;

use crate::pace::Pace;
use crate::proxy::{Line, Proxy};
use crate::support::{PATIENCE, Server, connect, instance};

pub(crate) const SERVICES: usize = 8;
/// Of each service.
pub(crate) const INSTANCES: usize = 5;
const READERS: usize = 20;
/// How soon everything must be as it is behind, once that can be reached again, by the clock of [`Pace`].
pub(crate) const CONVERGED: Duration = Duration::from_secs(2);

/// The long form takes minutes: production's time-outs, and outages that outlast them.
#[expect(clippy::disallowed_methods, reason = "the tests' own, and no part of the program")]
pub(crate) fn is_long() -> bool {
    std::env::var("LARDER_CHAOS").is_ok_and(|form| form == "long")
}

/// How long an outage lasts that outlasts every time-out.
pub(crate) fn outage() -> Duration {
    if is_long() { Duration::from_secs(60) } else { Duration::from_millis(2_500) }
}

/// What the long form runs with are the defaults.
fn options(proxy: &Proxy) -> Options {
    let endpoints = vec![proxy.endpoint()];
    if is_long() {
        return Options { endpoints, ..Options::default() };
    }
    Options {
        endpoints,
        connect_timeout: Duration::from_millis(800),
        call_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_millis(900),
        backoff: Backoff {
            free_failures: 0,
            base: Duration::from_millis(800),
            cap: Duration::from_secs(30),
        },
        ..Options::default()
    }
}

/// How long a connection that died without a word may be believed in, on top of everything.
pub(crate) fn call_timeout() -> Duration {
    if is_long() { Options::default().call_timeout } else { Duration::from_secs(1) }
}

/// How long a service that is gone, and that nobody subscribes to, is not asked for.
pub(crate) fn absence() -> Duration {
    if is_long() { registry_cache::Options::default().absent_ttl } else { Duration::from_secs(1) }
}

fn cache_options() -> registry_cache::Options {
    let defaults = registry_cache::Options::default();
    if is_long() {
        return defaults;
    }
    // So that an outage outlasts the ttl.
    registry_cache::Options {
        ttl: Duration::from_secs(1),
        timeout: Duration::from_millis(1_500),
        absent_ttl: absence(),
        ..defaults
    }
}

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) cached: Proxy,
    pub(crate) mirrored: Proxy,
    pub(crate) cache: RegistryCache,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) guard: Arc<Guarded>,
    pub(crate) pace: Arc<Pace>,
    generation: u64,
    rules: Arc<Rules>,
    readers: JoinSet<()>,
}

/// How long something took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// By the clock of [`Pace`].
    pub(crate) fair: Duration,
    /// By that on the wall.
    pub(crate) wall: Duration,
}

/// Since when something takes long.
struct Stopwatch {
    clock: Clock,
    pace: Arc<Pace>,
    began: Duration,
}

impl Stopwatch {
    fn start(pace: &Arc<Pace>) -> Self {
        Self { clock: Clock::running(), pace: pace.clone(), began: pace.now() }
    }

    fn took(&self) -> Took {
        let fair = self.pace.now().saturating_sub(self.began);
        Took { fair, wall: self.clock.now().since(Time::ZERO) }
    }
}

/// What readers go by, and what they tell.
#[derive(Debug, Default)]
struct Rules {
    over: AtomicBool,
    /// A service may be gone, whole, from the cache; and from the mirror.
    cache_may_lose: AtomicBool,
    mirror_may_lose: AtomicBool,
    /// A generation may be followed by an earlier one.
    may_go_back: AtomicBool,
    reads: AtomicUsize,
    slowest_ms: AtomicU64,
}

fn name(service: usize) -> Name {
    Name::new(&format!("s{service}"))
}

/// The generation of a service: every instance says the same, or the list is torn.
fn generation_of(service: &Service) -> u64 {
    let said: BTreeSet<&str> = service
        .instances()
        .map(|held| held.metadata.get("generation").unwrap_or_default())
        .collect();
    let ids: Vec<&str> = service.instances().map(|held| held.id.as_str()).collect();
    assert!(said.len() == 1 && ids.len() == INSTANCES, "torn: {said:?} of {ids:?}");
    said.first().and_then(|said| said.parse().ok()).expect("a generation is a number")
}

impl Stage {
    pub(crate) async fn set(mode: guard::Mode) -> Self {
        let server = Server::start().await;
        write(&server, 1);
        let pace = Arc::new(Pace::start(server.endpoint()));
        let cached = Proxy::start(server.endpoint(), pace.clone()).await;
        let mirrored = Proxy::start(server.endpoint(), pace.clone()).await;
        let cache = RegistryCache::new(connect(options(&cached)), cache_options());
        let cache = cache.expect("the options are right");
        let clock = Clock::running();
        let guard_options = guard::Options { mode, ..guard::Options::default() };
        let behind = connect(options(&mirrored));
        let guard = Arc::new(Guarded::new(behind, guard_options, clock.clone()));
        let mirror = Arc::new(Mirror::start(guard.clone(), 10_000, clock));
        let rules = Arc::<Rules>::default();
        let readers = JoinSet::new();
        let mut stage = Self {
            server,
            cached,
            mirrored,
            cache,
            mirror,
            guard,
            pace,
            generation: 1,
            rules,
            readers,
        };
        assert!(stage.mirror.wait_until_ready(PATIENCE).await, "etcd is there");
        for service in 0..SERVICES {
            stage.cache.get(&name(service)).await.expect("etcd is there");
        }
        stage.converged().await;
        for reader in 0..READERS {
            let (cache, mirror, rules) =
                (stage.cache.clone(), stage.mirror.clone(), stage.rules.clone());
            stage.readers.spawn(async move {
                if reader % 2 == 0 {
                    read_cache(&cache, &rules).await;
                } else {
                    read_mirror(&mirror, &rules).await;
                }
            });
        }
        stage
    }

    pub(crate) fn proxies(&self) -> [&Proxy; 2] {
        [&self.cached, &self.mirrored]
    }

    pub(crate) fn turn(&self, line: Line) {
        self.proxies().into_iter().for_each(|proxy| proxy.turn(line));
    }

    pub(crate) fn cut(&self) {
        self.proxies().into_iter().for_each(Proxy::cut);
    }

    /// Writes every service anew, in one transaction, past the proxies.
    pub(crate) fn write(&mut self) {
        self.generation += 1;
        write(&self.server, self.generation);
    }

    /// From now on this generation is the truth, and readers may see that it is an earlier one.
    pub(crate) fn go_back(&mut self, generation: u64) {
        self.rules.may_go_back.store(true, Ordering::SeqCst);
        self.generation = generation;
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn may_be_gone(&self) {
        self.only_the_cache_may_lose();
        self.rules.mirror_may_lose.store(true, Ordering::SeqCst);
    }

    pub(crate) fn only_the_cache_may_lose(&self) {
        self.rules.cache_may_lose.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mirrored_services(&self) -> usize {
        self.mirror.snapshot().services().count()
    }

    /// Waits until there is nothing; says for how long.
    pub(crate) async fn vanished(&mut self) -> Took {
        let watch = Stopwatch::start(&self.pace);
        loop {
            let mut there = self.mirrored_services();
            for service in (0..SERVICES).map(name) {
                let read = self.cache.get(&service).await;
                there += usize::from(!matches!(read, Err(CacheError::Absent)));
            }
            let took = watch.took();
            if there == 0 {
                return took;
            }
            assert!(took.wall < 3 * PATIENCE, "{there} are still there");
            self.pass(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a while, in which readers must be content.
    pub(crate) async fn pass(&mut self, time: Duration) {
        // Cancel-safe: a reader that ended is a failed test.
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            ended = self.readers.join_next(), if !self.readers.is_empty() => {
                panic!("a reader ended: {ended:?}");
            }
        }
    }

    /// Waits until the cache and the mirror are as it is behind; says for how long.
    pub(crate) async fn converged(&mut self) -> Took {
        let watch = Stopwatch::start(&self.pace);
        let mut said = CONVERGED;
        loop {
            let (lag, took) = (self.lag().await, watch.took());
            if lag.is_empty() {
                return took;
            }
            if took.fair > said {
                eprintln!("{took:?}: {lag:?}");
                said += Duration::from_millis(200);
            }
            assert!(took.wall < 3 * PATIENCE, "not even after a minute: {lag:?}");
            self.pass(Duration::from_millis(5)).await;
        }
    }

    async fn lag(&self) -> Vec<String> {
        let (snapshot, mut lag) = (self.mirror.snapshot(), Vec::new());
        for service in (0..SERVICES).map(name) {
            let mirrored = snapshot.service(&service).map(|it| generation_of(it));
            let read = self.cache.get(&service).await;
            let cached = read.ok().filter(|it| it.error().is_none()).map(|it| generation_of(&it));
            if mirrored != Some(self.generation) || cached != Some(self.generation) {
                lag.push(format!("{service} {mirrored:?} {cached:?} of {}", self.generation));
            }
        }
        if self.mirror.copy() != Some(Copied::Connected) {
            lag.push(format!("{:?}", self.mirror.copy()));
        }
        lag
    }

    /// Asserts that what is read has at least this age, as etcd has not been heard of since.
    pub(crate) async fn assert_older_than(&self, age: Duration) {
        for service in (0..SERVICES).map(name) {
            let read = self.cache.get(&service).await.expect("readers never get an error");
            assert!(read.age() >= age, "{service} is {:?} old, and not {age:?}", read.age());
        }
        let copy = self.mirror.copy();
        assert!(
            matches!(copy, Some(Copied::Stale(stale)) if stale >= age),
            "{copy:?}, not {age:?}"
        );
    }

    /// Asserts that no more connections were opened since then than a trickle. `burst` is for what is
    /// noticed at once, in the beginning and the end.
    pub(crate) fn assert_trickle(&self, since: [u64; 2], burst: usize) {
        for (proxy, since) in self.proxies().into_iter().zip(since) {
            let accepted = proxy.accepted_since(since);
            let secs = usize::try_from((proxy.now() - since) / 1_000).expect("a short time");
            let most = (secs + 1) * 4 / 3 + burst;
            let accepted: Vec<u64> = accepted.iter().map(|accepted| accepted.at).collect();
            assert!(
                accepted.len() <= most,
                "{} connections in {secs} s: {accepted:?}",
                accepted.len()
            );
        }
    }

    pub(crate) fn now(&self) -> [u64; 2] {
        self.proxies().map(Proxy::now)
    }

    /// Ends the readers, who must have been content.
    pub(crate) async fn end(mut self, what: &str) {
        self.rules.over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.readers.join_next().await {
            ended.expect("every reader is content");
        }
        self.cache.stop().await;
        self.mirror.close().await;
        let (reads, slowest) =
            (self.rules.reads.load(Ordering::SeqCst), self.rules.slowest_ms.load(Ordering::SeqCst));
        eprintln!("{what}: {reads} reads, the slowest took {slowest} ms");
        assert!(reads > 1_000, "{reads}");
    }
}

/// Of one reader: what it has seen last of each service.
#[derive(Default)]
struct Seen([u64; SERVICES]);

impl Seen {
    fn check(
        &mut self,
        service: usize,
        found: Option<&Service>,
        rules: &Rules,
        may_lose: &AtomicBool,
    ) {
        rules.reads.fetch_add(1, Ordering::Relaxed);
        let Some(found) = found else {
            assert!(may_lose.load(Ordering::SeqCst), "{service} is gone");
            return;
        };
        let generation = generation_of(found);
        let before = std::mem::replace(&mut self.0[service], generation);
        let back = generation < before && !rules.may_go_back.load(Ordering::SeqCst);
        assert!(!back, "{service} went back from {before} to {generation}");
    }
}

async fn read_cache(cache: &RegistryCache, rules: &Rules) {
    let (mut seen, clock) = (Seen::default(), Clock::running());
    while !rules.over.load(Ordering::SeqCst) {
        for service in 0..SERVICES {
            let asked = clock.now();
            let read = cache.get(&name(service)).await;
            let took = clock.now().since(asked).as_millis();
            rules.slowest_ms.fetch_max(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
            match &read {
                Ok(read) => seen.check(service, Some(read), rules, &rules.cache_may_lose),
                Err(CacheError::Absent) => seen.check(service, None, rules, &rules.cache_may_lose),
                Err(error) => panic!("a reader got an error: {error}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read_mirror(mirror: &Mirror, rules: &Rules) {
    let mut seen = Seen::default();
    while !rules.over.load(Ordering::SeqCst) {
        let snapshot = mirror.snapshot();
        let there: BTreeSet<Option<u64>> = (0..SERVICES)
            .map(|service| {
                let found = snapshot.service(&name(service));
                seen.check(service, found.map(|found| &**found), rules, &rules.mirror_may_lose);
                found.map(|found| generation_of(found))
            })
            .collect();
        // They are written in one transaction, and a snapshot is of one revision.
        assert!(there.len() == 1, "torn between services: {there:?}");
        assert!(!matches!(mirror.copy(), None | Some(Copied::Nothing)), "it has no age");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// In one transaction, by etcd's own client: every instance says the generation, and in each service one
/// leaves and another one comes.
fn write(server: &Server, generation: u64) {
    // Without conditions, and with nothing to do otherwise.
    let mut transaction = vec![String::new()];
    for service in (0..SERVICES).map(|service| format!("s{service}")) {
        let moving = |generation: u64| format!("moving-{}", generation % 7);
        let lasting = (1..INSTANCES).map(|id| id.to_string());
        for id in lasting.chain([moving(generation)]) {
            let mut instance = instance(&service, &id);
            instance.metadata.insert("generation".to_owned(), generation.to_string());
            let value = mapping::encode(&instance).expect("it fits");
            // In the quotes that etcdctl reads.
            let value = String::from_utf8(value).expect("it is JSON");
            transaction.push(format!("put /micro/registry/{service}/{id} {value:?}"));
        }
        let gone = moving(generation.wrapping_sub(1));
        transaction.push(format!("del /micro/registry/{service}/{gone}"));
    }
    let transaction = transaction.join("\n") + "\n\n\n";
    let mut client = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &server.endpoint(), "txn"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("etcdctl is needed for this test: apt-get install etcd-client");
    let mut questions = client.stdin.take().expect("it is piped");
    questions.write_all(transaction.as_bytes()).expect("it listens");
    drop(questions);
    let output = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.starts_with("SUCCESS"), "{said}{failed}");
}
