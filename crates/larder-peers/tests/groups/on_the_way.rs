//! Removals that have reached some and not others: what those read meanwhile must not outlive the removal.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use larder_peers::{
    Address, Duplex, Expiry, GroupOptions, HotCopy, Mode, Peer, Pool, PoolOptions, Tcp, Transport,
    WriteError,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::support::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Held,
    Refused,
    Open,
}

/// TCP, with ways that can be barred.
#[derive(Debug, Default)]
struct Barred(Mutex<HashMap<String, watch::Sender<Way>>>);

impl Barred {
    fn bar(&self, node: &Node, way: Way) {
        let authority = node.url.trim_start_matches("http://").to_owned();
        let mut ways = self.0.lock().unwrap();
        ways.entry(authority).or_insert_with(|| watch::channel(way).0).send_replace(way);
    }
}

impl Barred {
    /// How many connections are waiting.
    fn waiting(&self, node: &Node) -> usize {
        let ways = self.0.lock().unwrap();
        ways.get(node.url.trim_start_matches("http://")).map_or(0, watch::Sender::receiver_count)
    }
}

impl Transport for Barred {
    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        let way = self.0.lock().unwrap().get(to.authority()).map(watch::Sender::subscribe);
        Box::pin(async move {
            if let Some(mut way) = way
                && *way.wait_for(|way| *way != Way::Held).await.unwrap() == Way::Refused
            {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Tcp.connect(to).await
        })
    }
}

/// A node with ways of its own.
async fn barred(second_owner: bool) -> (Node, Arc<Barred>) {
    let ways = Arc::<Barred>::default();
    let transport = Arc::clone(&ways) as Arc<dyn Transport>;
    let with = PoolOptions { transport, second_owner, ..options(Mode::MailgunV2) };
    (node(with, GroupOptions::default()).await, ways)
}

/// A remover that owns a key, one that asks a third one for it, and that one; with `old` at the last two.
async fn at_odds() -> ([Node; 3], Arc<Barred>, &'static str) {
    let (remover, ways) = barred(false).await;
    let [asker, keeper] = [(); 2].map(|()| node(options(Mode::MailgunV2), GroupOptions::default()));
    let (asker, keeper) = (asker.await, keeper.await);
    let [one, two, three] = [&remover, &asker, &keeper].map(|node| node.url.clone());
    remover.pool.set_peers([Peer::new(&one), Peer::new(&two), Peer::new(&three)]).unwrap();
    keeper.pool.set_peers([Peer::new(&one), Peer::new(&two), Peer::new(&three)]).unwrap();
    let other = Peer::new("http://alias:1").at(&three);
    asker.pool.set_peers([Peer::new(&two), Peer::new(&one), other]).unwrap();
    let asks = |key: &String| asker.pool.owner(key.as_bytes()) == "http://alias:1";
    let key = keys_owned_by(&remover, "k").find(asks).unwrap();
    let key: &'static str = Box::leak(key.into_boxed_str());
    keeper.source.becomes(key, "old");
    assert_eq!(asker.text(key).await, "old");
    for node in [&remover, &asker, &keeper] {
        node.source.becomes(key, "new");
    }
    ([remover, asker, keeper], ways, key)
}

#[tokio::test]
async fn a_removal_reaches_copies_that_were_taken_from_one_who_had_not_heard() {
    let ([remover, asker, keeper], ways, key) = at_odds().await;
    ways.bar(&keeper, Way::Held);
    let group = remover.group.clone();
    let removing = tokio::spawn(async move { group.remove(&key_of(key)).await });
    until(async || asker.has(key).is_none()).await;
    assert_eq!(asker.text(key).await, "old", "who has heard asks one who has not");
    ways.bar(&keeper, Way::Open);
    removing.await.unwrap().unwrap();
    assert_eq!(asker.text(key).await, "new");
}

#[tokio::test]
async fn when_one_who_was_away_has_heard_so_have_those_who_took_copies_from_it() {
    let ([remover, asker, keeper], ways, key) = at_odds().await;
    ways.bar(&keeper, Way::Refused);
    let error = remover.group.remove(&key_of(key)).await.unwrap_err();
    let WriteError::Missed(missed) = error else { panic!("{error:?}") };
    assert_eq!((missed.len(), &missed[0].peer), (1, &keeper.url));
    assert_eq!(asker.text(key).await, "old", "handed out by the one that was named");
    ways.bar(&keeper, Way::Open);
    until(async || remover.pool.retries().pending == 0).await;
    assert_eq!(asker.text(key).await, "new");
}

/// Four nodes with second owners: a remover, the owner and the second owner of a key, and one that cannot
/// reach the owner; with `old` at the second owner and the last.
async fn with_second_owners() -> ([Node; 4], Arc<Barred>, &'static str) {
    let ((remover, ways), (asker, cut)) = (barred(true).await, barred(true).await);
    let ((owner, _), (second, _)) = (barred(true).await, barred(true).await);
    let all = [&remover, &owner, &second, &asker];
    let urls = all.map(|node| node.url.clone());
    for node in all {
        node.pool.set_peers(urls.clone()).unwrap();
    }
    cut.bar(&owner, Way::Refused);
    let alone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outside = format!("http://{}", alone.local_addr().unwrap());
    // Who owns a key in the ring without its owner is its second owner.
    let rest = Pool::new(&outside, options(Mode::MailgunV2)).unwrap();
    let without = urls.iter().filter(|url| **url != owner.url).chain([&outside]);
    rest.set_peers(without.cloned()).unwrap();
    let key = keys_owned_by(&owner, "k").find(|key| rest.owner(key.as_bytes()) == second.url);
    let key: &'static str = Box::leak(key.unwrap().into_boxed_str());
    second.source.becomes(key, "old");
    assert_eq!((asker.text(key).await.as_str(), asker.source.all_loads()), ("old", 0));
    for node in all {
        node.source.becomes(key, "new");
    }
    ([remover, owner, second, asker], ways, key)
}

#[tokio::test]
async fn who_asks_the_second_owner_hears_after_it() {
    let ([remover, _owner, second, asker], ways, key) = with_second_owners().await;
    ways.bar(&second, Way::Held);
    let group = remover.group.clone();
    let removing = tokio::spawn(async move { group.remove(&key_of(key)).await });
    // If it were to hear now, it would be within this time.
    for _ in 0..20 {
        asker.text(key).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ways.bar(&second, Way::Open);
    removing.await.unwrap().unwrap();
    assert_eq!(asker.text(key).await, "new");
}

#[tokio::test]
async fn an_owner_that_removes_has_forgotten_before_the_second_owner_hears() {
    let (owner, ways) = barred(true).await;
    let (second, _) = barred(true).await;
    let urls = [owner.url.clone(), second.url.clone()];
    for node in [&owner, &second] {
        node.pool.set_peers(urls.clone()).unwrap();
    }
    let key: &'static str = Box::leak(key_owned_by(&owner, "k").into_boxed_str());
    owner.source.becomes(key, "old");
    assert_eq!(owner.text(key).await, "old");
    owner.source.becomes(key, "new");
    ways.bar(&second, Way::Held);
    let group = owner.group.clone();
    let removing = tokio::spawn(async move { group.remove(&key_of(key)).await });
    until(async || ways.waiting(&second) == 1).await;
    // As if it had heard already: what it gets now, it keeps.
    assert_eq!(second.text(key).await, "new");
    ways.bar(&second, Way::Open);
    removing.await.unwrap().unwrap();
    assert_eq!((owner.text(key).await, second.text(key).await), ("new".into(), "new".into()));
}

#[tokio::test]
async fn what_a_second_owner_missed_is_loaded_past_it() {
    let ([remover, owner, second, asker], ways, key) = with_second_owners().await;
    ways.bar(&second, Way::Refused);
    remover.group.remove(&key_of(key)).await.unwrap_err();
    assert_eq!(asker.text(key).await, "new", "and not from the second owner");
    assert_eq!(second.has(key).as_deref(), Some("old"));
    ways.bar(&second, Way::Open);
    until(async || remover.pool.retries().pending == 0).await;
    for node in [&remover, &owner, &second, &asker] {
        assert_eq!(node.text(key).await, "new");
    }
    assert_eq!(remover.group.stats().tombstones, 0);
}

#[tokio::test]
async fn a_set_and_a_removal_that_are_under_way_survive_a_change_of_the_ring() {
    let (here, ways) = barred(false).await;
    let there = node(options(Mode::MailgunV2), GroupOptions::default()).await;
    let urls = [here.url.clone(), there.url.clone()];
    for node in [&here, &there] {
        node.pool.set_peers(urls.clone()).unwrap();
    }
    let key = key_owned_by(&there, "k");
    ways.bar(&there, Way::Held);
    let (group, set) = (here.group.clone(), key_of(&key));
    let setting = tokio::spawn(async move {
        group.set(&set, Bytes::from("set"), Expiry::NEVER, HotCopy::Drop).await
    });
    let (group, other) = (here.group.clone(), key_owned_by(&there, "other"));
    there.text(&other).await;
    let removed = key_of(&other);
    let removing = tokio::spawn(async move { group.remove(&removed).await });
    // Both wait for their connections.
    until(async || ways.waiting(&there) == 2).await;
    here.pool.set_peers([here.url.clone()]).unwrap();
    ways.bar(&there, Way::Open);
    setting.await.unwrap().unwrap();
    removing.await.unwrap().unwrap();
    assert_eq!((there.has(&key).as_deref(), there.has(&other)), (Some("set"), None));
}
