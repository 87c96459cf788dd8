use std::io::Read;

use flate2::read::GzDecoder;
use larder_cache::Hands;
use larder_registry::model::{Instance, Name, Vips};
use larder_registry::{Memory, Registry, memory};

use super::*;
use bytes::Bytes;

use crate::regions::RegionSet;

use crate::wire::Form;

struct Bench {
    registry: Arc<dyn Registry>,
    responses: Arc<ResponseCache>,
    hands: Hands,
}

/// A time of day that is 10 s after a multiple of 30 s.
const START: u64 = 1_700_000_000_000 / 30_000 * 30_000 + 10_000;

impl Bench {
    fn new(read_only_tier: ReadOnlyTier) -> Self {
        let (clock, hands) = Clock::by_hand(START);
        let memory = Memory::start(memory::Options::default(), clock.clone());
        let registry: Arc<dyn Registry> = Arc::new(memory);
        let options = Options { read_only_tier, ..Options::default() };
        let responses = ResponseCache::observing(&registry, options, clock).expect("valid");
        Self { registry, responses, hands }
    }

    async fn register(&self, service: &str, id: &str) {
        self.registry.register(Instance::new(service, id)).await.expect("there is room");
    }

    async fn ask(&self, entity: Entity, form: Form, encoding: Encoding) -> Option<Bytes> {
        let key = Key { entity, form, encoding, regions: RegionSet::LOCAL };
        Some(self.responses.get(&key).await.expect("the encoder is well")?.to_bytes())
    }

    async fn text(&self, entity: Entity) -> Option<String> {
        let bytes = self.ask(entity, Form::Json, Encoding::Identity).await?;
        Some(String::from_utf8(bytes.to_vec()).expect("it is UTF-8"))
    }

    async fn shows(&self, entity: Entity, id: &str) -> bool {
        let shown = format!("\"instanceId\":\"{id}\"");
        self.text(entity).await.is_some_and(|text| text.contains(&shown))
    }

    fn encodings(&self) -> u64 {
        self.responses.read_write_stats().fetched
    }
}

#[tokio::test]
async fn a_change_is_visible_at_once_in_every_list_that_it_belongs_to() {
    for mode in [ReadOnlyTier::Push, ReadOnlyTier::Off] {
        let bench = Bench::new(mode);
        for entity in [Entity::Apps, Entity::Delta, Entity::app("web"), Entity::Vip("v".into())] {
            bench.text(entity).await;
        }
        let vips = Vips { plain: Some("u,v".into()), secure: None };
        let instance = Instance { vips, ..Instance::new("web", "i") };
        bench.registry.register(instance).await.expect("there is room");
        for entity in [Entity::Apps, Entity::Delta, Entity::app("WEB"), Entity::Vip("v".into())] {
            assert!(bench.shows(entity.clone(), "i").await, "{mode:?}: {entity}");
        }
    }
}

/// `testInvalidate`.
#[tokio::test]
async fn an_application_that_left_is_in_no_cached_answer() {
    let bench = Bench::new(ReadOnlyTier::Push);
    bench.register("web", "i").await;
    for form in Form::ALL {
        assert!(bench.ask(Entity::app("web"), form, Encoding::Gzip).await.is_some());
    }
    bench.registry.deregister(&Instance::new("web", "i").key()).await.expect("it is registered");
    for form in Form::ALL {
        for encoding in [Encoding::Identity, Encoding::Gzip] {
            assert_eq!(bench.ask(Entity::app("web"), form, encoding).await, None);
        }
    }
}

/// Eureka forgets an answer only if the whole list of addresses was asked for, and in full.
#[tokio::test]
async fn every_element_of_the_old_and_the_new_addresses_is_answered_anew_in_every_form() {
    let bench = Bench::new(ReadOnlyTier::Push);
    let with = |plain: &str, secure: &str| {
        let vips = Vips { plain: Some(plain.into()), secure: Some(secure.into()) };
        Instance { vips, ..Instance::new("web", "i") }
    };
    let vip = |name: &str| Entity::Vip(name.into());
    let secure = |name: &str| Entity::SecureVip(name.into());
    let all = [vip("a"), vip("b"), vip("c"), secure("s"), secure("t")];
    for (dirty_at, plain, with_secure, has) in
        [(1, "a,b", "s", [1, 1, 0, 1, 0]), (2, "b,c", "t", [0, 1, 1, 0, 1])]
    {
        let instance = Instance { dirty_at, ..with(plain, with_secure) };
        bench.registry.register(instance).await.expect("there is room");
        for form in Form::ALL {
            for (entity, has) in all.iter().zip(has) {
                let list = bench.ask(entity.clone(), form, Encoding::Identity).await;
                let list = String::from_utf8(list.expect("a list").to_vec()).expect("it is UTF-8");
                assert_eq!(list.matches("hostName").count() > 0, has == 1, "{entity} {form:?}");
            }
        }
    }
}

/// Eureka's `responseCacheAutoExpirationInSeconds`.
#[tokio::test]
async fn an_answer_that_nothing_changes_is_encoded_anew_after_three_minutes() {
    let bench = Bench::new(ReadOnlyTier::Off);
    bench.register("web", "i").await;
    bench.text(Entity::Apps).await;
    bench.hands.advance(Duration::from_secs(179));
    bench.text(Entity::Apps).await;
    assert_eq!(bench.encodings(), 1);
    bench.hands.advance(Duration::from_secs(2));
    bench.text(Entity::Apps).await;
    assert_eq!(bench.encodings(), 2);
}

#[tokio::test]
async fn a_renewal_and_a_change_elsewhere_leave_a_cached_answer_alone() {
    let bench = Bench::new(ReadOnlyTier::Push);
    bench.register("web", "i").await;
    bench.text(Entity::app("web")).await;
    let before = bench.encodings();
    bench.registry.renew(&Instance::new("web", "i").key(), None).await.expect("it is registered");
    bench.register("db", "j").await;
    bench.text(Entity::app("web")).await;
    assert_eq!(bench.encodings(), before);
}

#[tokio::test]
async fn with_a_timer_a_change_is_visible_at_the_next_multiple_of_the_interval() {
    let bench = Bench::new(ReadOnlyTier::Timer(Duration::from_secs(30)));
    bench.text(Entity::Apps).await;
    bench.register("web", "i").await;
    bench.hands.advance(Duration::from_millis(19_999));
    assert!(!bench.shows(Entity::Apps, "i").await);
    bench.hands.advance(Duration::from_millis(1));
    assert!(bench.shows(Entity::Apps, "i").await);
}

#[tokio::test]
async fn with_a_timer_a_new_application_is_visible_at_the_next_multiple() {
    let bench = Bench::new(ReadOnlyTier::Timer(Duration::from_secs(5)));
    assert_eq!(bench.text(Entity::app("web")).await, None);
    bench.register("web", "i").await;
    bench.hands.advance(Duration::from_millis(4_999));
    assert_eq!(bench.text(Entity::app("web")).await, None);
    bench.hands.advance(Duration::from_millis(1));
    assert!(bench.shows(Entity::app("web"), "i").await);
}

#[tokio::test]
async fn a_timer_longer_than_the_ttl_is_kept() {
    let bench = Bench::new(ReadOnlyTier::Timer(Duration::from_secs(3_600)));
    bench.text(Entity::Apps).await;
    bench.register("web", "i").await;
    bench.hands.advance(Duration::from_secs(200));
    assert!(!bench.shows(Entity::Apps, "i").await);
}

#[tokio::test]
async fn an_unknown_application_is_nothing_and_an_unknown_address_is_an_empty_list() {
    let bench = Bench::new(ReadOnlyTier::Push);
    assert_eq!(bench.text(Entity::app("web")).await, None);
    let empty = r#"{"applications":{"versions__delta":"-1","apps__hashcode":"","application":[]}}"#;
    assert_eq!(bench.text(Entity::Vip("v".into())).await.as_deref(), Some(empty));
    bench.register("web", "i").await;
    assert!(bench.shows(Entity::app("web"), "i").await, "the absence ends with the registration");
}

#[tokio::test]
async fn an_application_with_the_name_of_a_list_is_not_the_list() {
    let bench = Bench::new(ReadOnlyTier::Push);
    bench.register("web", "i").await;
    for name in ["all_apps", "ALL_APPS", "ALL_APPS_DELTA"] {
        assert_eq!(bench.text(Entity::app(name)).await, None, "{name}");
    }
}

#[tokio::test]
async fn gzip_holds_the_same_text() {
    let bench = Bench::new(ReadOnlyTier::Push);
    for id in 0..300 {
        bench.register("web", &id.to_string()).await;
    }
    for form in Form::ALL {
        let plain = bench.ask(Entity::Apps, form, Encoding::Identity).await.expect("a list");
        let gzip = bench.ask(Entity::Apps, form, Encoding::Gzip).await.expect("a list");
        let mut unpacked = Vec::new();
        GzDecoder::new(&gzip[..]).read_to_end(&mut unpacked).expect("it is gzip");
        assert_eq!(unpacked, plain);
    }
}

#[tokio::test]
async fn a_delta_tells_of_a_change_for_three_minutes_with_the_hash_of_everything() {
    let bench = Bench::new(ReadOnlyTier::Push);
    bench.register("web", "old").await;
    bench.hands.advance(Duration::from_secs(181));
    bench.register("web", "new").await;
    let delta = bench.text(Entity::Delta).await.expect("a delta");
    assert!(delta.contains("\"apps__hashcode\":\"UP_2_\""), "{delta}");
    assert!(delta.contains("\"new\"") && !delta.contains("\"old\""), "{delta}");
    let revision = bench.registry.snapshot().revision();
    assert!(delta.contains(&format!("\"versions__delta\":\"{revision}\"")), "{delta}");
    bench.hands.advance(Duration::from_secs(211));
    assert!(!bench.shows(Entity::Delta, "new").await, "a cached delta grows old by itself");
}

#[tokio::test]
async fn a_deregistered_instance_is_in_the_delta_as_deleted() {
    let bench = Bench::new(ReadOnlyTier::Push);
    bench.register("web", "i").await;
    bench.registry.deregister(&Instance::new("web", "i").key()).await.expect("it is registered");
    let delta = bench.text(Entity::Delta).await.expect("a delta");
    assert!(delta.contains("\"actionType\":\"DELETED\""), "{delta}");
    assert!(delta.contains("\"apps__hashcode\":\"\""), "{delta}");
}

#[tokio::test]
async fn names_that_nobody_has_do_not_grow_the_cache_beyond_its_bound() {
    let bench = Bench::new(ReadOnlyTier::Push);
    for n in 0..20_000 {
        assert_eq!(bench.text(Entity::App(Name::new(&format!("app{n}")))).await, None);
    }
    assert_eq!(bench.responses.read_write_stats().entries, 0);
}

#[test]
fn the_next_multiple_is_ahead_even_on_a_multiple() {
    let thirty = Duration::from_secs(30);
    for (wall, wait) in [(0, 30_000), (1, 29_999), (29_999, 1), (30_000, 30_000)] {
        assert_eq!(until_next_multiple(wall, thirty), Duration::from_millis(wait));
    }
}

#[tokio::test]
async fn one_payload_may_fill_most_of_a_tier() {
    let (clock, _hands) = Clock::by_hand(START);
    let memory = Memory::start(memory::Options::default(), clock.clone());
    let registry: Arc<dyn Registry> = Arc::new(memory);
    let options = Options { capacity: 1 << 20, ..Options::default() };
    let responses = ResponseCache::observing(&registry, options, clock).expect("valid");
    for id in 0..1_500 {
        let instance = Instance::new("web", &id.to_string());
        registry.register(instance).await.expect("there is room");
    }
    let regions = RegionSet::LOCAL;
    let key = Key { entity: Entity::Apps, form: Form::Json, encoding: Encoding::Identity, regions };
    for _ in 0..3 {
        let payload = responses.get(&key).await.expect("the encoder is well").expect("a list");
        assert!(payload.len() > 600_000, "{} bytes", payload.len());
    }
    let stats = responses.read_write_stats();
    assert_eq!((stats.fetched, stats.refused), (1, 0));
}

/// A change makes at most one more encoding, however many readers wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_while_readers_wait_cause_no_stampede_of_encodings() {
    let bench = Arc::new(Bench::new(ReadOnlyTier::Push));
    for id in 0..500 {
        bench.register("web", &id.to_string()).await;
    }
    let mut readers = tokio::task::JoinSet::new();
    for change in 0..20 {
        bench.register("db", &change.to_string()).await;
        for _ in 0..50 {
            let bench = bench.clone();
            readers.spawn(async move {
                assert!(bench.shows(Entity::Apps, &change.to_string()).await, "change {change}");
            });
        }
    }
    while let Some(ended) = readers.join_next().await {
        ended.expect("every reader sees the change that it came after");
    }
    assert!(bench.encodings() <= 21, "{} encodings for 20 changes", bench.encodings());
}

/// What a client makes of deltas: the ids that it holds.
fn apply(holds: &mut std::collections::BTreeSet<String>, delta: &str) {
    let list = crate::wire::json::decode_applications(delta.as_bytes()).expect("a list");
    for held in list.apps.iter().flat_map(|app| &app.instances) {
        if held.action == Some(larder_registry::model::Action::Deleted) {
            holds.remove(&held.id);
        } else {
            holds.insert(held.id.clone());
        }
    }
}

#[tokio::test]
async fn deltas_that_follow_each_other_tell_everything_that_comes_and_goes() {
    let bench = Bench::new(ReadOnlyTier::Push);
    let mut holds = std::collections::BTreeSet::new();
    for round in 0..60_u32 {
        for id in 0..7 {
            let key = Instance::new("web", &format!("{}", (round * 7 + id) % 40));
            if (round + id) % 3 == 0 {
                let _ = bench.registry.deregister(&key.key()).await;
            } else {
                bench.register("web", &key.id).await;
            }
        }
        bench.hands.advance(Duration::from_secs(29));
        apply(&mut holds, &bench.text(Entity::Delta).await.expect("a delta"));
        let now = bench.registry.snapshot();
        assert!(now.instances().map(|held| &held.id).eq(&holds), "round {round}");
    }
}

#[tokio::test]
async fn a_delta_that_would_miss_changes_tells_nothing_until_they_are_old() {
    let (clock, hands) = Clock::by_hand(START);
    let options = memory::Options { log_len: 10, ..memory::Options::default() };
    let registry: Arc<dyn Registry> = Arc::new(Memory::start(options, clock.clone()));
    let responses =
        ResponseCache::observing(&registry, Options::default(), clock).expect("valid options");
    let bench = Bench { registry, responses, hands };
    bench.register("web", "first").await;
    assert!(bench.shows(Entity::Delta, "first").await);
    for id in 0..20 {
        bench.register("web", &id.to_string()).await;
    }
    let delta = bench.text(Entity::Delta).await.expect("a delta");
    assert!(delta.contains(r#""apps__hashcode":"UP_21_","application":[]"#), "{delta}");
    bench.register("web", "later").await;
    assert!(!bench.shows(Entity::Delta, "later").await, "what was missed is not old");
    bench.hands.advance(Duration::from_secs(179));
    bench.register("web", "last").await;
    bench.hands.advance(Duration::from_secs(2));
    let delta = bench.text(Entity::Delta).await.expect("a delta");
    assert!(delta.contains("\"last\""), "{delta}");
}

#[tokio::test]
async fn what_was_asked_for_and_what_was_encoded_is_counted_by_kind() {
    let bench = Bench::new(ReadOnlyTier::Push);
    bench.register("web", "i").await;
    for _ in 0..3 {
        bench.text(Entity::Apps).await;
        bench.text(Entity::app("web")).await;
    }
    bench.text(Entity::Vip("v".into())).await;
    let counted: Vec<_> =
        bench.responses.efforts().map(|effort| (effort.list, effort.asked, effort.count)).collect();
    assert_eq!(counted, [("all", 3, 1), ("delta", 0, 0), ("one", 3, 1), ("vip", 1, 1)]);
}
