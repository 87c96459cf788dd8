//! `GET /larder/v1/groups`: the ring and the groups as this process sees them, for people.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use larder_peers::{CacheStats, GroupStats, Latency};
use serde::{Deserialize, Serialize};

use super::Groups;
use crate::api::{self, Refusal};

/// The route; without groups it says that there are none.
pub(crate) fn router(groups: Option<Arc<Groups>>) -> Router {
    Router::new()
        .route("/larder/v1/groups", get(show))
        .method_not_allowed_fallback(api::not_that_method)
        .with_state(groups)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Whose owner is told.
    key: Option<String>,
}

async fn show(
    State(groups): State<Option<Arc<Groups>>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<View>, Refusal> {
    let Query(Asked { key }) = asked?;
    Ok(Json(groups.map_or_else(View::default, |groups| view(&groups, key.as_deref()))))
}

/// Everything.
#[derive(Debug, Default, Serialize)]
struct View {
    #[serde(skip_serializing_if = "Option::is_none")]
    ring: Option<Ring>,
    groups: Vec<OfGroup>,
}

#[derive(Debug, Serialize)]
struct Ring {
    mode: &'static str,
    /// What this process is called.
    identity: String,
    members: Vec<Member>,
    /// Why they are not as the file, the name or the service says.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    removals: Removals,
    /// Who owns the key that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

#[derive(Debug, Serialize)]
struct Member {
    identity: String,
    /// Whether it is left alone for now.
    resting: bool,
}

#[derive(Debug, Serialize)]
struct Removals {
    waiting: usize,
    told_late: u64,
    given_up: u64,
}

#[derive(Debug, Serialize)]
struct OfGroup {
    name: String,
    gets: u64,
    hits: u64,
    peer_loads: u64,
    peer_errors: u64,
    loads: u64,
    load_errors: u64,
    peer_requests: u64,
    renewals: u64,
    stale: u64,
    hedges: u64,
    removals: u64,
    tombstones: u64,
    max_bytes: u64,
    main: OfCache,
    hot: OfCache,
    load_ms: Millis,
    peer_ms: Millis,
}

#[derive(Debug, Serialize)]
struct OfCache {
    entries: u64,
    bytes: u64,
    evicted: u64,
}

/// Half took no longer than `p50`; of a hundred, 99 no longer than `p99`.
#[derive(Debug, Serialize)]
struct Millis {
    p50: f64,
    p99: f64,
    max: f64,
}

fn view(groups: &Groups, key: Option<&str>) -> View {
    let (pool, resting) = (groups.pool(), groups.pool().resting());
    let members = pool.peers().into_iter().map(|identity| {
        let resting = resting.contains(&identity);
        Member { identity, resting }
    });
    let retries = pool.retries();
    let ring = Ring {
        mode: groups.pool.mode().name(),
        identity: pool.identity().to_owned(),
        members: members.collect(),
        trouble: pool.membership().trouble.map(|trouble| trouble.to_string()),
        removals: Removals {
            waiting: retries.pending,
            told_late: retries.completed,
            given_up: retries.given_up,
        },
        owner: key.map(|key| pool.owner(key.as_bytes())),
    };
    let groups = groups.stats().map(|(name, stats)| of_group(name, &stats)).collect();
    View { ring: Some(ring), groups }
}

fn of_group(name: &str, stats: &GroupStats) -> OfGroup {
    OfGroup {
        name: name.to_owned(),
        gets: stats.gets,
        hits: stats.cache_hits,
        peer_loads: stats.peer_loads,
        peer_errors: stats.peer_errors,
        loads: stats.local_loads,
        load_errors: stats.local_load_errors,
        peer_requests: stats.server_requests,
        renewals: stats.renewals,
        stale: stats.stale,
        hedges: stats.hedges,
        removals: stats.removals,
        tombstones: stats.tombstones,
        max_bytes: stats.max_bytes,
        main: of_cache(&stats.main),
        hot: of_cache(&stats.hot),
        load_ms: millis(&stats.load_latency),
        peer_ms: millis(&stats.peer_latency),
    }
}

fn of_cache(stats: &CacheStats) -> OfCache {
    OfCache { entries: stats.items, bytes: stats.bytes, evicted: stats.evictions }
}

fn millis(latency: &Latency) -> Millis {
    let [p50, p99, max] =
        [latency.p50, latency.p99, latency.max].map(|took| took.as_secs_f64() * 1_000.0);
    Millis { p50, p99, max }
}
