//! What a change costs where a list of everything must be ready in gzip: from the change to the bytes, beside
//! encoding and compressing everything anew; and how much memory all encodings of a large registry take.
//!
//! One stream is what the chunks are measured against, for time and for size. Nobody else's server is in this
//! table: `eureka` has those.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use larder_bench::eureka::instance;
use larder_bench::measure::Samples;
use larder_bench::table::{Table, aim};
use larder_bench::{child, heap};
use larder_cache::Clock;
use larder_eureka::payload::Payload;
use larder_eureka::regions::RegionSet;
use larder_eureka::response_cache::{self, Encoding, Entity, Key, ResponseCache};
use larder_eureka::wire::{Application, Applications, Form};
use larder_registry::{Memory, Registry, memory};

struct Server {
    registry: Arc<dyn Registry>,
    responses: Arc<ResponseCache>,
}

impl Server {
    async fn with(instances: usize) -> Self {
        let clock = Clock::running();
        let registry: Arc<dyn Registry> =
            Arc::new(Memory::start(memory::Options::default(), clock.clone()));
        let options = response_cache::Options { capacity: 1 << 30, ..Default::default() };
        let responses = ResponseCache::observing(&registry, options, clock).expect("valid options");
        for number in 0..instances {
            registry.register(instance(number)).await.expect("there is room");
        }
        Self { registry, responses }
    }

    async fn read(&self, entity: Entity, form: Form, encoding: Encoding) -> Payload {
        let key = Key { entity, form, encoding, regions: RegionSet::LOCAL };
        let read = self.responses.get(&key).await;
        read.expect("the encoder is well").expect("there is a list")
    }

    /// The time from a change until its bytes are ready.
    async fn change(&self, number: usize, round: u64) -> f64 {
        let mut changed = instance(number);
        changed.metadata.insert("round".to_owned(), round.to_string());
        changed.dirty_at += round;
        let before = Instant::now();
        self.registry.register(changed).await.expect("there is room");
        self.read(Entity::Apps, Form::Json, Encoding::Gzip).await;
        before.elapsed().as_secs_f64() * 1e3
    }

    /// Everything encoded and compressed in one stream: the milliseconds, the text's bytes, and the gzip's.
    fn one_stream(&self) -> (f64, usize, usize) {
        let before = Instant::now();
        let now = self.registry.snapshot();
        let apps = now.services().map(|service| Application {
            name: service.name().to_string(),
            instances: service.instances().cloned().collect(),
        });
        let list = Applications { version: 1, hash: "UP_1_".to_owned(), apps: apps.collect() };
        let text = Form::Json.list(&list);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).expect("it fits into memory");
        let gzip = encoder.finish().expect("it fits into memory");
        (before.elapsed().as_secs_f64() * 1e3, text.len(), gzip.len())
    }
}

const ROUNDS: u64 = 300;

async fn cost_of_a_change(instances: usize, table: &mut Table) -> (f64, f64) {
    let server = Server::with(instances).await;
    let mut whole = Samples::default();
    let (mut text, mut single) = (0, 0);
    for _ in 0..5 {
        let (millis, plain, gzip) = server.one_stream();
        whole.push(millis);
        (text, single) = (plain, gzip);
    }
    let chunked = server.read(Entity::Apps, Form::Json, Encoding::Gzip).await.len();
    let mut changes = Samples::default();
    for round in 0..ROUNDS {
        let number = usize::try_from(round).expect("it is small") * 7_919 % instances;
        changes.push(server.change(number, round).await);
    }
    table.row([
        instances.to_string(),
        format!("{:.1}", text as f64 / 1e6),
        format!("{:.0}", single as f64 / 1e3),
        format!("{:+.1} %", (chunked as f64 / single as f64 - 1.0) * 100.0),
        format!("{:.1}", whole.median()),
        format!("{:.2}", changes.median()),
        format!("{:.2} %", changes.median() / whole.median() * 100.0),
    ]);
    let larger = (chunked as f64 / single as f64 - 1.0) * 100.0;
    println!(
        "{}",
        aim(&format!("{instances}: larger than one stream, %"), larger, larger <= 8.0, "≤ 8")
    );
    (changes.median(), whole.median())
}

/// Every form and every encoding of everything, in memory: as megabytes that the process has.
async fn resident() {
    let server = Server::with(50_000).await;
    for form in Form::ALL {
        if form == Form::Xml(larder_eureka::wire::ApiVersion::V1) {
            continue;
        }
        for encoding in [Encoding::Identity, Encoding::Gzip] {
            server.read(Entity::Apps, form, encoding).await;
        }
    }
    println!("{}", heap::resident() as f64 / 1e6);
}

#[tokio::main]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some("resident") {
        resident().await;
        return;
    }
    println!("## payload: one change of a list in gzip JSON\n");
    let heading =
        ["instances", "MB text", "KB gzip", "chunks", "ms anew", "ms a change", "of anew"];
    let mut table = Table::new(&heading);
    let (small, anew) = cost_of_a_change(10_000, &mut table).await;
    let (large, _) = cost_of_a_change(50_000, &mut table).await;
    println!("\n{table}");
    let share = small / anew * 100.0;
    println!("{}", aim("10,000: a change, % of everything anew", share, share <= 2.0, "≤ 2"));
    let growth = large / small;
    println!("{}", aim("a change at 50,000 ÷ at 10,000", growth, growth <= 1.5, "≤ 1.5"));
    let resident = child::numbers("resident").first().copied().unwrap_or(f64::NAN);
    let what = "MB resident, 50,000 instances, all four forms, plain and gzip";
    println!("{}", aim(what, resident, resident <= 400.0, "≤ 400"));
}
