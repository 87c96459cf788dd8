//! House rules, checked by looking at the source: what ARCHITECTURE.md promises and no lint can see.

use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every source file below `crates/`, by its path from there.
fn sources() -> Vec<(String, String)> {
    let root = workspace().join("crates");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it is a folder") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it is below").display().to_string();
                sources.push((name, fs::read_to_string(&path).expect("it is UTF-8")));
            }
        }
    }
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    sources
}

/// The part of a file that is not its tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

fn is_test(name: &str) -> bool {
    name.contains("/tests") || name.contains("/benches/")
}

/// What decides: it takes the time as an argument and knows neither tasks nor clocks nor chance.
const PURE: &[&str] = &[
    "larder-cache/src/auto_refresh/capacity.rs",
    "larder-cache/src/auto_refresh/roster.rs",
    "larder-cache/src/backoff.rs",
    "larder-cache/src/entry.rs",
    "larder-cache/src/expiry.rs",
    "larder-cache/src/keep.rs",
    "larder-cache/src/keep/batch/berth.rs",
    "larder-cache/src/keep/batch/division.rs",
    "larder-cache/src/keep/batch/schedule.rs",
    "larder-cache/src/lead.rs",
    "larder-cache/src/pace.rs",
    "larder-cache/src/trouble.rs",
    "larder-registry/src/catalog.rs",
    "larder-registry/src/catalog/",
    "larder-registry/src/event.rs",
    "larder-registry/src/guard/watchman.rs",
    "larder-registry/src/lease.rs",
    "larder-registry/src/model/",
    "larder-registry/src/registrar.rs",
    "larder-registry/src/registrar/",
    "larder-registry/src/registry_cache/difference.rs",
    "larder-registry/src/registry_cache/follower.rs",
    "larder-registry/src/selector/filter.rs",
    "larder-registry/src/selector/lineup.rs",
    "larder-registry/src/selector/marks.rs",
    "larder-registry/src/selector/rota.rs",
    "larder-registry/src/selector/strategy.rs",
    "larder-registry/src/selector/zone.rs",
    "larder-eureka/src/apps_hash.rs",
    "larder-eureka/src/backend/own_writes.rs",
    "larder-eureka/src/client/carried.rs",
    "larder-eureka/src/client/reconcile.rs",
    "larder-eureka/src/client/rounds.rs",
    "larder-eureka/src/delta.rs",
    "larder-eureka/src/payload/chunk.rs",
    "larder-eureka/src/payload/gzip.rs",
    "larder-eureka/src/payload/rope.rs",
    "larder-eureka/src/regions/copy.rs",
    "larder-eureka/src/regions/merged.rs",
    "larder-eureka/src/regions/names.rs",
    "larder-eureka/src/regions/set.rs",
    "larder-eureka/src/regions/white_list.rs",
    "larder-eureka/src/replicate/answers.rs",
    "larder-eureka/src/replicate/gate.rs",
    "larder-eureka/src/replicate/news.rs",
    "larder-eureka/src/replicate/pace.rs",
    "larder-eureka/src/replicate/queue.rs",
    "larder-eureka/src/response_cache/invalidation.rs",
    "larder-eureka/src/server/negotiation.rs",
    "larder-eureka/src/server/path.rs",
    "larder-eureka/src/server/rate_limit.rs",
    "larder-eureka/src/wire/",
    "larder-consul/src/backend/picture.rs",
    "larder-consul/src/backend/reading.rs",
    "larder-consul/src/blocking.rs",
    "larder-consul/src/client/fault.rs",
    "larder-consul/src/client/headers.rs",
    "larder-consul/src/client/path.rs",
    "larder-consul/src/endpoint.rs",
    "larder-consul/src/filter.rs",
    "larder-consul/src/filter/",
    "larder-consul/src/kv/graves.rs",
    "larder-consul/src/kv/refused.rs",
    "larder-consul/src/kv/table.rs",
    "larder-consul/src/kv/write.rs",
    "larder-consul/src/local/ledger.rs",
    "larder-consul/src/local/scope.rs",
    "larder-consul/src/local/tombstones.rs",
    "larder-consul/src/mapping.rs",
    "larder-consul/src/mapping/",
    "larder-consul/src/params.rs",
    "larder-consul/src/params/",
    "larder-consul/src/remote/manner.rs",
    "larder-consul/src/server/events.rs",
    "larder-consul/src/wire.rs",
    "larder-consul/src/wire/",
    "larder-etcd/src/holdings.rs",
    "larder-etcd/src/keys.rs",
    "larder-etcd/src/spelling.rs",
    "larder-mdns/src/board.rs",
    "larder-mdns/src/message.rs",
    "larder-mdns/src/message/",
    "larder-mdns/src/names.rs",
    "larder-mdns/src/picture.rs",
    "larder-mdns/src/record.rs",
    "larder-mdns/src/txt.rs",
    "larder-micro/src/mapping.rs",
    "larder-micro/src/mapping/",
    "larder-peers/src/admission.rs",
    "larder-peers/src/client/circuit.rs",
    "larder-peers/src/client/hedging.rs",
    "larder-peers/src/group/rates.rs",
    "larder-peers/src/group/renewals.rs",
    "larder-peers/src/group/tombstones.rs",
    "larder-peers/src/group/writes.rs",
    "larder-peers/src/members.rs",
    "larder-peers/src/pool/callers.rs",
    "larder-peers/src/pool/retries.rs",
    "larder-peers/src/ring.rs",
    "larder-peers/src/ring/",
    "larder-peers/src/wire.rs",
    "larder-peers/src/wire/",
    "larder-server/src/checks/allow.rs",
    "larder-server/src/checks/follow.rs",
    "larder-server/src/groups/cache/conditions.rs",
    "larder-server/src/groups/cache/etag.rs",
    "larder-server/src/groups/cache/range.rs",
    "larder-server/src/groups/origin/freshness.rs",
    "larder-server/src/groups/origin/redirect.rs",
    "larder-server/src/groups/origin/template.rs",
];

#[test]
fn what_decides_knows_neither_tasks_nor_clocks_nor_chance() {
    let sources = sources();
    for pure in PURE {
        let mut of_this = sources.iter().filter(|(name, _)| name.starts_with(pure)).peekable();
        assert!(of_this.peek().is_some(), "{pure} is not there any more");
        for (name, text) in of_this {
            for word in ["tokio", "Clock", "SystemTime", "Instant::now", "rand::", "RandomState"] {
                assert!(!production(text).contains(word), "{name} knows {word}");
            }
        }
    }
}

#[test]
fn every_module_opens_with_what_it_is_for() {
    for (name, text) in sources() {
        let needs_none = is_test(&name) && name.contains("/src/");
        assert!(needs_none || text.starts_with("//! "), "{name}");
    }
}

#[test]
fn no_file_is_a_hall() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let lines = production(text).lines().count();
        assert!(lines <= 500, "{name} has {lines} lines");
    }
}

#[test]
fn every_select_says_why_it_is_safe_to_cancel() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let lines: Vec<&str> = text.lines().collect();
        for (place, _) in lines.iter().enumerate().filter(|(_, line)| line.contains("select! {")) {
            let above = lines[place.saturating_sub(4)..place].join(" ").to_lowercase();
            assert!(above.contains("cancel-safe"), "{name}:{}", place + 1);
        }
    }
}

#[test]
fn no_type_has_a_name_that_says_nothing() {
    for (name, text) in sources() {
        for line in text.lines() {
            let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
            let is_definition =
                matches!(words.next(), Some("struct" | "enum" | "trait" | "mod" | "type"));
            let defined = words.next().unwrap_or_default().to_lowercase();
            for empty in ["manager", "helper", "util", "common", "inner", "impl"] {
                assert!(!is_definition || !defined.contains(empty), "{name}: {line}");
            }
        }
    }
}

/// Who may know whom. Arrows only point down.
const MAY_KNOW: [(&str, &[&str]); 10] = [
    ("larder-cache", &[]),
    ("larder-registry", &["larder-cache"]),
    ("larder-eureka", &["larder-cache", "larder-registry"]),
    ("larder-micro", &["larder-registry"]),
    ("larder-consul", &["larder-cache", "larder-registry", "larder-micro"]),
    ("larder-etcd", &["larder-cache", "larder-registry", "larder-micro"]),
    ("larder-mdns", &["larder-cache", "larder-registry", "larder-micro"]),
    ("larder-peers", &["larder-cache"]),
    (
        "larder-server",
        &[
            "larder-cache",
            "larder-registry",
            "larder-eureka",
            "larder-consul",
            "larder-etcd",
            "larder-mdns",
            "larder-peers",
        ],
    ),
    ("larder", &["larder-server"]),
];

/// The dependencies of a crate, but for those of its tests.
fn dependencies(of: &str) -> Vec<String> {
    let manifest = workspace().join("crates").join(of).join("Cargo.toml");
    let text = fs::read_to_string(manifest).expect("it is there");
    let (_, after) = text.split_once("[dependencies]").expect("it has some");
    let own = after.split("\n[").next().unwrap_or_default();
    let names = own.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn arrows_between_crates_point_down() {
    for (of, may_know) in MAY_KNOW {
        for known in dependencies(of).iter().filter(|known| known.starts_with("larder")) {
            assert!(may_know.contains(&known.as_str()), "{of} knows {known}");
        }
    }
}

#[test]
fn the_engine_knows_no_protocol_and_no_format() {
    let known = dependencies("larder-cache");
    assert!(!known.is_empty());
    for foreign in ["http", "hyper", "axum", "reqwest", "serde", "serde_json", "quick-xml"] {
        assert!(!known.iter().any(|known| known == foreign), "larder-cache knows {foreign}");
    }
}
