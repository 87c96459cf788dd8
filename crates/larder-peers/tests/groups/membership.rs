//! Rings that are kept as a file, a name or another source says.

use std::collections::HashSet;

use larder_peers::membership::{Discovery, DiscoveryError, Dns, FollowError, PeersFile};
use larder_peers::{GroupOptions, MembersError, Mode, Peer, Pool, PoolOptions};
use tokio::sync::mpsc;

use crate::support::{Node, node, options, until};

/// Says what it is told to say.
struct Told(mpsc::Receiver<Result<Vec<Peer>, DiscoveryError>>);

impl Discovery for Told {
    async fn next(&mut self) -> Result<Vec<Peer>, DiscoveryError> {
        match self.0.recv().await {
            Some(said) => said,
            None => std::future::pending().await,
        }
    }
}

fn pool(identity: &str) -> Pool {
    Pool::new(identity, PoolOptions { mode: Mode::Native, ..PoolOptions::default() }).unwrap()
}

fn list(identities: &[&str]) -> Vec<Peer> {
    identities.iter().map(|identity| Peer::new(*identity)).collect()
}

/// What the trouble is, in words; empty without any.
fn trouble(pool: &Pool) -> String {
    pool.membership().trouble.map(|trouble| trouble.to_string()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_ring_is_what_its_file_says_once_it_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    std::fs::write(&path, "b:1\na:1 # this one\n").unwrap();
    let pool = pool("a:1");
    pool.follow(PeersFile::new(&path));
    pool.settled().await;
    assert_eq!(pool.peers(), ["a:1", "b:1"], "in an order that is the same everywhere");

    std::fs::write(&path, "a:1\nb:1\nc:1\n").unwrap();
    until(async || pool.peers().len() == 3).await;
    assert_eq!(pool.membership().rings, 2);

    // Without this process it makes no ring, nor does a file that is gone.
    std::fs::write(&path, "b:1\n").unwrap();
    until(async || trouble(&pool).contains("do not include a:1")).await;
    std::fs::remove_file(&path).unwrap();
    until(async || trouble(&pool).contains("cannot be read")).await;
    assert_eq!(pool.peers(), ["a:1", "b:1", "c:1"]);

    std::fs::write(&path, "a:1\n").unwrap();
    until(async || pool.peers() == ["a:1"]).await;
    assert_eq!((pool.membership().rings, trouble(&pool)), (3, String::new()));
    pool.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_as_large_as_a_device_is_not_read_to_its_end() {
    let pool = pool("a:1");
    pool.follow(PeersFile::new("/dev/zero"));
    pool.settled().await;
    assert!(trouble(&pool).contains("longer than 1048576 bytes"), "{}", trouble(&pool));
    pool.close().await;
}

#[tokio::test]
async fn every_address_of_a_name_is_a_peer() {
    let pool = Pool::new("http://127.0.0.1:7001", options(Mode::MailgunV2)).unwrap();
    pool.follow(Dns::new(&pool, "localhost:7001"));
    until(async || pool.membership().rings == 1).await;
    assert_eq!(pool.peers(), ["http://127.0.0.1:7001"], "its IPv6 address is no second peer");
    pool.close().await;

    let pool = Pool::new("http://127.0.0.1:7001", options(Mode::MailgunV2)).unwrap();
    pool.follow(Dns::new(&pool, "no-such-name.invalid:7001"));
    pool.settled().await;
    assert!(trouble(&pool).contains("no-such-name.invalid:7001"), "{}", trouble(&pool));
    pool.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_or_says_nonsense_takes_nobody_out_and_is_asked_again() {
    let (say, told) = mpsc::channel(8);
    let pool = pool("a:1");
    pool.follow(Told(told));
    say.send(Ok(list(&["b:1", "a:1", "a:1"]))).await.unwrap();
    pool.settled().await;
    assert_eq!(pool.peers(), ["a:1", "b:1"], "one that is there twice is one");

    say.send(Err(DiscoveryError::Other("the registry is down".to_owned()))).await.unwrap();
    until(async || trouble(&pool) == "the registry is down").await;
    say.send(Ok(list(&[]))).await.unwrap();
    until(async || pool.membership().failures == 2).await;
    let trouble = pool.membership().trouble.unwrap();
    let own = "a:1".to_owned();
    assert!(matches!(&*trouble, FollowError::Members(MembersError::SelfMissing(me)) if *me == own));
    assert_eq!(pool.peers(), ["a:1", "b:1"]);

    // What it had said before makes the trouble go away, though the ring is the same.
    say.send(Ok(list(&["b:1", "a:1", "a:1"]))).await.unwrap();
    until(async || pool.membership().trouble.is_none()).await;
    pool.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_followed_later_takes_the_place_of_what_was_before() {
    let (old, told) = mpsc::channel(1);
    let pool = pool("a:1");
    pool.follow(Told(told));
    let (new, told) = mpsc::channel(1);
    pool.follow(Told(told));
    new.send(Ok(list(&["a:1", "c:1"]))).await.unwrap();
    pool.settled().await;
    until(async || old.is_closed()).await;
    assert_eq!(pool.peers(), ["a:1", "c:1"]);
    pool.close().await;
    assert!(new.is_closed(), "closing the pool ends it");
}

#[tokio::test]
async fn a_node_that_joins_by_a_list_takes_its_keys_and_no_others_are_loaded_anew() {
    let options = || options(Mode::Native);
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..3 {
        nodes.push(node(options(), GroupOptions::default()).await);
    }
    let mut says = Vec::new();
    for node in &nodes {
        let (say, told) = mpsc::channel(1);
        node.pool.follow(Told(told));
        says.push(say);
    }
    let all: Vec<Peer> = nodes.iter().map(|node| Peer::new(&node.url)).collect();
    for say in &says[..2] {
        say.send(Ok(all[..2].to_vec())).await.unwrap();
    }
    for node in &nodes[..2] {
        node.pool.settled().await;
    }
    let keys: Vec<String> = (0..300).map(|n| format!("user:{n}")).collect();
    let loads = |nodes: &[Node]| nodes.iter().map(|node| node.source.all_loads()).sum::<usize>();
    for key in &keys {
        assert_eq!(nodes[0].text(key).await, format!("v:{key}"));
    }
    assert_eq!(loads(&nodes), 300);

    for say in &says {
        say.send(Ok(all.clone())).await.unwrap();
    }
    until(async || nodes.iter().all(|node| node.pool.peers().len() == 3)).await;
    let newcomer = &nodes[2].pool;
    let moved = keys.iter().filter(|key| newcomer.owner(key.as_bytes()) == newcomer.identity());
    let moved: HashSet<&String> = moved.collect();
    assert!((60..140).contains(&moved.len()), "a third, about: {}", moved.len());
    for key in &keys {
        assert_eq!(nodes[2].text(key).await, format!("v:{key}"));
    }
    assert_eq!(loads(&nodes), 300 + moved.len());
    for node in &nodes {
        node.pool.close().await;
    }
}
