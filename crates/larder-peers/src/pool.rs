//! A pool: the peers of a ring, as one process sees them, and the groups that it has for them.
//!
//! A pool is a value: two of them in one process are two nodes of a ring, or of two rings.

mod callers;
mod options;
mod retrier;
mod retries;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderValue;
use larder_cache::{Clock, Source, Ticker};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::client::{self, Client};
use crate::codec::{Codec, GroupKey};
use crate::group::{Group, GroupError, GroupOptions, Served};
use crate::members::{self, MembersError, Peer};
use crate::membership::Membership;
use crate::ring::{Hash, Mode, Ring};
use crate::tasks::Tasks;
use callers::Callers;
pub use options::{PoolError, PoolOptions, Token};
pub(crate) use retrier::Retrier;
pub(crate) use retries::Missing;
pub use retries::RetryStats;

/// How often the names of peers are looked up, to know by their addresses who may ask here.
const LOOKUP_EVERY: Duration = Duration::from_secs(10);

/// How long a lookup may take.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);

/// A node of a ring. Clones are handles on the same one.
///
/// Dropping the last handle, with that of its groups, ends its background work; [`close`](Self::close) also
/// waits for the end.
#[derive(Clone)]
pub struct Pool(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) options: PoolOptions,
    pub(crate) identity: String,
    pub(crate) clock: Clock,
    ticker: Mutex<Option<Ticker>>,
    members: RwLock<Arc<Members>>,
    groups: RwLock<HashMap<String, Weak<dyn Served>>>,
    /// Told when there are other peers to look up.
    renamed: Arc<Notify>,
    pub(crate) retrier: Arc<Retrier>,
    pub(crate) membership: watch::Sender<Membership>,
    /// What keeps the ring as its source says.
    following: Mutex<Option<AbortHandle>>,
    /// What must not end with the caller who asked for it, and what runs in the background.
    pub(crate) tasks: Tasks,
}

/// The ring as it is now. Whoever works with it keeps it, whatever becomes of the pool's.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) peers: Vec<Member>,
    ring: Ring,
    /// Where requests of peers come from.
    callers: RwLock<Callers>,
}

/// A node of the ring.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) identity: String,
    /// None for this process itself.
    pub(crate) client: Option<Arc<Client>>,
}

impl Members {
    fn new(peers: Vec<Member>, ring: Ring, callers_before: &Callers) -> Self {
        let clients = peers.iter().filter_map(|member| member.client.as_ref());
        let callers = Callers::of(clients.map(|client| client.address()), callers_before);
        Self { peers, ring, callers: RwLock::new(callers) }
    }

    /// Looks up the peers that have names, all at once. One that is not found now is still known by what was
    /// found before.
    async fn look_up_callers(&self) {
        let names = read(&self.callers).names();
        let lookups = names.iter().map(|name| async move {
            let found = tokio::time::timeout(LOOKUP_PATIENCE, tokio::net::lookup_host(name)).await;
            if let Ok(Ok(found)) = found {
                write(&self.callers).found(name, found.map(|found| found.ip()));
            }
        });
        join_all(lookups).await;
    }

    /// Who owns `key`, if not this process.
    pub(crate) fn remote_owner(&self, key: &[u8]) -> Option<(&str, &Arc<Client>)> {
        let member = self.peers.get(self.ring.owner(key)?)?;
        member.client.as_ref().map(|client| (member.identity.as_str(), client))
    }

    /// Who is asked when the owner elsewhere is of no use; none if that is this process, or nobody.
    pub(crate) fn stand_in(&self, key: &[u8]) -> Option<(&str, &Arc<Client>)> {
        let member = self.peers.get(self.ring.second_owner(key)?)?;
        member.client.as_ref().map(|client| (member.identity.as_str(), client))
    }

    /// Those whom everybody in this ring asks for `key`, in that order, this process among them.
    fn asked(&self, key: &[u8], with_second: bool) -> impl Iterator<Item = &Member> {
        let second = || self.ring.second_owner(key).filter(|_| with_second);
        let places = [self.ring.owner(key), second()];
        places.into_iter().flatten().filter_map(|place| self.peers.get(place))
    }

    /// Those of them that are elsewhere.
    pub(crate) fn keepers(&self, key: &[u8], with_second: bool) -> Vec<String> {
        let elsewhere = |member: &&Member| member.client.is_some();
        let keepers = self.asked(key, with_second).filter(elsewhere);
        keepers.map(|member| member.identity.clone()).collect()
    }

    /// Whom everybody in this ring asks for `key`, as a number: another one where they are others, or in another
    /// order.
    pub(crate) fn asks(&self, key: &[u8], with_second: bool) -> u64 {
        let mut names = String::new();
        for member in self.asked(key, with_second) {
            names.push_str(&member.identity);
            names.push('\n');
        }
        Hash::FNV1A.of(names.as_bytes())
    }

    /// All but this process.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, &Arc<Client>)> {
        let other = |member: &'_ Member| member.client.is_some();
        self.peers.iter().filter(move |member| other(member)).filter_map(|member| {
            member.client.as_ref().map(|client| (member.identity.as_str(), client))
        })
    }
}

impl Pool {
    /// A node called `identity`, alone in its ring until it is told of [peers](Self::set_peers): all keys
    /// are its own. Its tasks run on the tokio runtime that this is called in; outside of one it panics.
    pub fn new(identity: impl Into<String>, options: PoolOptions) -> Result<Self, PoolError> {
        let identity = identity.into();
        options.validate(&identity)?;
        let clock = options.clock.clone().unwrap_or_else(Clock::running);
        let ticker = options.clock.is_none().then(|| Ticker::start(clock.clone(), Ticker::PERIOD));
        let retrier = Arc::new(Retrier::new(&options, clock.clone()));
        let ring = Ring::new(options.mode, options.replicas, options.hash, &[identity.as_str()]);
        let alone = Member { identity: identity.clone(), client: None };
        let pool = Self(Arc::new(Shared {
            members: RwLock::new(Arc::new(Members::new(vec![alone], ring, &Callers::default()))),
            ticker: Mutex::new(ticker),
            groups: RwLock::default(),
            renamed: Arc::default(),
            membership: watch::Sender::default(),
            following: Mutex::default(),
            tasks: Tasks::default(),
            retrier,
            clock,
            identity,
            options,
        }));
        let (shared, retrier) = (Arc::downgrade(&pool.0), Arc::clone(&pool.0.retrier));
        pool.0.tasks.spawn(async move { retrier.run(shared).await });
        let renamed = Arc::clone(&pool.0.renamed);
        pool.0.tasks.spawn(look_up_callers(Arc::downgrade(&pool.0), renamed));
        Ok(pool)
    }

    /// Takes `peers`, this process among them, for the whole ring from now on.
    ///
    /// What is under way goes on as it began. Peers that stay keep their connections, and only keys that have
    /// another owner now are loaded anew.
    pub fn set_peers<P: Into<Peer>>(
        &self,
        peers: impl IntoIterator<Item = P>,
    ) -> Result<(), MembersError> {
        let options = &self.0.options;
        let peers = peers.into_iter().map(Into::into).collect();
        let can_secure = options.transport.can_secure();
        let checked = members::check(options.mode, &self.0.identity, peers, can_secure)?;
        let before = self.0.members();
        let mut members = Vec::with_capacity(checked.len());
        for (identity, address) in checked {
            let client = address.map(|address| self.client(&before, address)).transpose()?;
            members.push(Member { identity, client });
        }
        let identities: Vec<_> = members.iter().map(|member| &member.identity).collect();
        let ring = Ring::new(options.mode, options.replicas, options.hash, &identities);
        if ring.shared_points() > 0 {
            let shared = ring.shared_points();
            tracing::warn!(shared, "peers share points of the ring: give all nodes the same order");
        }
        let members = Arc::new(Members::new(members, ring, &read(&before.callers)));
        let old = std::mem::replace(&mut *write(&self.0.members), members);
        drop(old);
        self.0.retrier.look_again();
        self.0.renamed.notify_one();
        Ok(())
    }

    /// The client of a peer that stays, or a new one.
    fn client(
        &self,
        before: &Members,
        address: members::Address,
    ) -> Result<Arc<Client>, MembersError> {
        let kept = before.peers.iter().filter_map(|member| member.client.as_ref());
        if let Some(client) = kept.into_iter().find(|client| *client.address() == address) {
            return Ok(Arc::clone(client));
        }
        let options = &self.0.options;
        let limits = client::Limits {
            connections: options.connections,
            timeout: options.peer_timeout,
            body: options.max_value,
        };
        let token = options.token.as_ref().and_then(|token| {
            let mut value = HeaderValue::from_str(token.as_str()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let (transport, clock) = (Arc::clone(&options.transport), self.0.clock.clone());
        let text = address.authority().to_owned();
        Client::new(address, token, limits, transport, clock)
            .map(Arc::new)
            .ok_or(MembersError::Address(text))
    }

    /// The names of all members, in their order.
    pub fn peers(&self) -> Vec<String> {
        self.0.members().peers.iter().map(|member| member.identity.clone()).collect()
    }

    /// Who owns `key`.
    pub fn owner(&self, key: &[u8]) -> String {
        let members = self.0.members();
        members.remote_owner(key).map_or_else(|| self.0.identity.clone(), |(name, _)| name.into())
    }

    /// What this process is called in the ring.
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// The family of programs in its ring.
    pub fn mode(&self) -> Mode {
        self.0.options.mode
    }

    /// The peers that are left alone for now, because they failed several times in a row.
    pub fn resting(&self) -> Vec<String> {
        let members = self.0.members();
        let resting = members.others().filter(|(_, client)| client.is_resting());
        resting.map(|(identity, _)| identity.to_owned()).collect()
    }

    /// The removals that peers have not heard of yet.
    pub fn retries(&self) -> RetryStats {
        self.0.retrier.stats()
    }

    /// Makes a group that `source` fills. It is there for peers as long as there is a handle on it.
    pub fn group<S>(
        &self,
        name: impl Into<String>,
        source: S,
        options: GroupOptions,
    ) -> Result<Group<S>, GroupError>
    where
        S: Source<Key: GroupKey, Value: Codec>,
    {
        let name = name.into();
        if name.is_empty() || name.contains('/') {
            return Err(GroupError::Name(name));
        }
        let group = Group::new(name.clone(), source, options, Arc::clone(&self.0))?;
        let mut groups = write(&self.0.groups);
        groups.retain(|_, group| group.strong_count() > 0);
        if groups.contains_key(&name) {
            return Err(GroupError::Taken(name));
        }
        groups.insert(name, group.served());
        Ok(group)
    }

    /// Ends calls to peers and all background work, and returns when the last task of this pool has ended.
    /// Its groups answer from memory and from their sources from then on. Removals that peers have not
    /// heard of are given up.
    pub async fn close(&self) {
        self.0.tasks.close().await;
        let members = self.0.members();
        for (_, client) in members.others() {
            client.close().await;
        }
        let ticker = self.0.ticker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ticker) = ticker {
            ticker.stop().await;
        }
    }
}

impl Shared {
    pub(crate) fn members(&self) -> Arc<Members> {
        Arc::clone(&read(&self.members))
    }

    pub(crate) fn served(&self, name: &str) -> Option<Arc<dyn Served>> {
        read(&self.groups).get(name)?.upgrade()
    }

    pub(crate) fn following(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn callers(&self) -> Arc<HashSet<IpAddr>> {
        read(&self.members().callers).all()
    }
}

/// Looks up peers that are reached by name, now and then, for as long as there is a pool.
async fn look_up_callers(pool: Weak<Shared>, renamed: Arc<Notify>) {
    loop {
        // cancel-safe: both take nothing, but the note that there are others, which has been heard then.
        tokio::select! {
            () = tokio::time::sleep(LOOKUP_EVERY) => {}
            () = renamed.notified() => {}
        }
        let Some(members) = pool.upgrade().map(|pool| pool.members()) else { return };
        members.look_up_callers().await;
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // What is done under these locks leaves them whole.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = &self.0.identity;
        f.debug_struct("Pool").field("identity", identity).field("peers", &self.peers()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn peers_that_are_reached_by_name_are_known_by_the_addresses_of_that_name() {
        let (own, named) = ("http://10.0.0.1:80", "http://localhost:81");
        let pool = Pool::new(own, PoolOptions::default()).unwrap();
        pool.set_peers([own, "http://[::ffff:10.0.0.2]:80", named]).unwrap();
        assert_eq!(*pool.0.callers(), HashSet::from(["10.0.0.2".parse().unwrap()]), "at once");
        let clock = Clock::running();
        while !pool.0.callers().iter().any(IpAddr::is_loopback) {
            assert!(clock.uptime() < LOOKUP_EVERY / 2, "it was not looked up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pool.set_peers([own]).unwrap();
        assert!(pool.0.callers().is_empty());
        pool.close().await;
    }
}
