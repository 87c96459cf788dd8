//! Peer groups: a cache that processes share, in one ring with Go's, for programs in any language.
//!
//! [`Groups`] has the ring ([`Pool`]) and the configured groups, each filled by its [`origin`]. Clients ask
//! below `/cache/`, peers below `/_groupcache/`: there, or on listeners of their own. Described for users in
//! `docs/groups.md`.

mod cache;
mod membership;
pub(crate) mod origin;
mod ring;
mod service;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use larder_cache::Clock;
use larder_consul::server::Client;
use larder_peers::wire::BASE_PATH;
use larder_peers::{
    Group, GroupError, GroupOptions, GroupStats, MembersError, PeerService, Pool, PoolError,
    RemoteAddr, Token,
};
use larder_registry::Registry;
use tower::Service as _;

use crate::api::Refusal;
use crate::checks::http::deepest;
use crate::config::{self, Config};
use origin::{Directory, Http, Origin};
use service::Registered;

/// Below this, clients ask.
const CACHE: &str = "/cache/";

/// Why there are no groups as they are configured. Not retried: correct the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// The ring cannot be made: usually because of `groups.identity`.
    #[error("groups.identity: {0}")]
    Pool(#[from] PoolError),
    /// A group cannot be made.
    #[error("group {name}: {reason}")]
    Group {
        /// Its name.
        name: String,
        /// Why not.
        reason: GroupError,
    },
    /// The peers cannot be taken.
    #[error("groups.peers: {0}")]
    Members(MembersError),
    /// This process is not among the peers.
    #[error(
        "groups.peers has no {0}, which is this process: add it in this very spelling, or set \
         groups.identity to what it is called there"
    )]
    NotAmongPeers(String),
    /// Peers are served at no address that they could be told.
    #[error(
        "groups.identity is needed: peers cannot be told {0}, at which this process listens; write what \
         it is called in the list of peers"
    )]
    Nameless(SocketAddr),
    /// The file of the peers is not there, or not to be read.
    #[error("groups.peers_file: {path} cannot be read: {reason}")]
    PeersFile {
        /// As it is configured.
        path: String,
        /// What the system says.
        reason: io::Error,
    },
    /// Others cannot be told where this process is reached.
    #[error(
        "groups.identity {0:?} is no address, and this process listens everywhere: write host and port, or \
         listen at the address by which peers reach it"
    )]
    Unreachable(String),
    /// The client that asks origins cannot be made: the system gives a program not even what it needs for that.
    #[error("origins cannot be asked: {0}")]
    Client(String),
}

/// The ring, and the groups of this process.
#[derive(Debug)]
pub(crate) struct Groups {
    pool: Pool,
    by_name: BTreeMap<String, Group<Origin>>,
    clock: Clock,
    rules: Rules,
    /// This process, where it is registered for others to know.
    registered: Mutex<Option<Registered>>,
}

/// What clients of `/cache/` may do.
#[derive(Debug)]
struct Rules {
    /// With it, anybody may write.
    write_token: Option<Token>,
    /// The longest body of a `PUT`, in bytes.
    max_body: usize,
    /// How long a request may take.
    patience: Duration,
    /// For how long peers that missed a removal are told again.
    retry: Duration,
    /// Whether peers have listeners of their own.
    are_peers_elsewhere: bool,
}

impl Groups {
    /// Makes the ring and its groups; `None` if there is no group. `at` is where peers are served; a service
    /// whose instances they are is looked for in `registry`. Must be called inside a tokio runtime.
    pub(crate) fn open(
        config: &Config,
        at: &[SocketAddr],
        registry: &Arc<dyn Registry>,
        clock: &Clock,
    ) -> Result<Option<Arc<Self>>, GroupsError> {
        let of_ring = &config.groups;
        if of_ring.groups.is_empty() {
            return Ok(None);
        }
        let pool = Pool::new(ring::identity(of_ring, at)?, ring::options(of_ring, clock))?;
        let client = origin::client().map_err(|error| GroupsError::Client(deepest(&error)))?;
        let mut by_name = BTreeMap::new();
        for group in &of_ring.groups {
            let name = group.name.clone();
            let origin = of(group, of_ring.max_value_bytes, &client);
            if group.load_timeout >= of_ring.peer_timeout {
                tracing::warn!(
                    group = name,
                    "groups.peer_timeout_ms is no longer than load_timeout_ms: what is slow is loaded twice"
                );
            }
            let made = pool.group(&name, origin, options(group));
            let made = made.map_err(|reason| GroupsError::Group { name: name.clone(), reason })?;
            by_name.insert(name, made);
        }
        let registered = membership::open(&of_ring.membership, &pool, registry, at)?;
        let registered = Mutex::new(registered);
        let (identity, members) = (pool.identity(), pool.peers().len());
        tracing::info!(mode = of_ring.mode.name(), identity, members, "in a ring");
        let rules = Rules {
            write_token: ring::token(&of_ring.write_token),
            max_body: config.limits.body_bytes.min(of_ring.max_value_bytes),
            patience: config.limits.request,
            retry: of_ring.retry,
            are_peers_elsewhere: !of_ring.listen.is_empty(),
        };
        Ok(Some(Arc::new(Self { pool, by_name, clock: clock.clone(), rules, registered })))
    }

    /// Answers a client, or a peer if those have no listener of their own.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        if request.uri().path().starts_with(CACHE) {
            return cache::answer(self, request).await;
        }
        if self.rules.are_peers_elsewhere {
            let says = "peers are served on listeners of their own (groups.listen)";
            return Refusal::new(StatusCode::NOT_FOUND, says).into_response();
        }
        answer_peer(self.pool.service(), request).await
    }

    /// Answers peers, and nobody else.
    pub(crate) fn service(&self) -> PeerService {
        self.pool.service()
    }

    /// Waits until the ring is what it is to be, or `patience` is over: alone, a process would load keys
    /// that others have.
    pub(crate) async fn settled(&self, patience: Duration) {
        if tokio::time::timeout(patience, self.pool.settled()).await.is_err() {
            tracing::warn!(
                "nobody has said yet who is in the ring: this process is alone until then"
            );
        }
    }

    /// Has others know that this process leaves, where it is registered. They stop asking it then.
    pub(crate) async fn leave(&self) {
        let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(registered) = registered {
            // A list without this process would be told as a trouble.
            self.pool.unfollow();
            registered.close().await;
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What each group has done, by their names.
    pub(crate) fn stats(&self) -> impl Iterator<Item = (&str, GroupStats)> {
        self.by_name.iter().map(|(name, group)| (name.as_str(), group.stats()))
    }

    /// Ends the groups and then the ring; returns when the last task has ended.
    pub(crate) async fn close(&self) {
        for group in self.by_name.values() {
            group.close().await;
        }
        self.pool.close().await;
    }
}

/// Answers one request of a peer.
pub(crate) async fn answer_peer(mut peers: PeerService, mut request: Request) -> Response {
    if let Some(Client(ip)) = request.extensions().get().copied() {
        // Only the address is looked at: a port says nothing of who has it.
        request.extensions_mut().insert(RemoteAddr(SocketAddr::new(ip, 0)));
    }
    match peers.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// What answers where no group is configured.
pub(crate) fn nothing_here() -> Response {
    let says = "this server has no groups: a [[group]] in its configuration makes one";
    Refusal::new(StatusCode::NOT_FOUND, says).into_response()
}

/// What part of the server a path is for, if it is for the groups.
pub(crate) fn surface(path: &str) -> Option<&'static str> {
    match path {
        path if path.starts_with(CACHE) => Some("cache"),
        path if path.starts_with(BASE_PATH) => Some("groupcache"),
        _ => None,
    }
}

/// Whether a request may take longer than others. Those to `/cache/` see to it themselves, and a get of a peer
/// takes as long as the origin may: if it were cut short here, the peer would load beside it. What a peer sends
/// is read in time, as everywhere.
pub(crate) fn keeps_own_time(method: &Method, path: &str) -> bool {
    match surface(path) {
        Some("cache") => true,
        Some(_) => matches!(*method, Method::GET | Method::HEAD),
        None => false,
    }
}

fn of(group: &config::Group, most: usize, client: &reqwest::Client) -> Origin {
    let max_value = group.max_value_bytes.min(most);
    match &group.origin {
        config::Origin::Http { url, headers } => {
            Origin::Http(Http::new(client.clone(), url.clone(), headers.clone(), max_value))
        }
        config::Origin::Directory(root) => {
            Origin::Directory(Directory::new(root.clone(), max_value))
        }
    }
}

fn options(group: &config::Group) -> GroupOptions {
    GroupOptions {
        max_bytes: group.max_bytes,
        ttl: group.ttl,
        renew_ahead: group.renew_ahead,
        stale_if_error: group.stale_if_error,
        hot: group.hot,
        absent_ttl: group.absent,
        load_timeout: group.load_timeout,
        ..GroupOptions::default()
    }
}
