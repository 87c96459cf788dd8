//! Values and keys of types, and a way to peers of one's own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use larder_cache::{Attempt, Fetched, Fresh, Source};
use larder_peers::{
    Address, Codec, Duplex, Expiry, Group, GroupKey, GroupOptions, HotCopy, Mode, Peer, Pool,
    PoolOptions, Proto, Serving, Transport,
};
use tokio::net::{TcpListener, TcpStream};

use super::support::{key_of, options, ring};

/// Makes a value of its key.
struct Made<K, V> {
    make: fn(&K) -> V,
    loads: Arc<AtomicUsize>,
}

impl<K: GroupKey, V: Codec> Source for Made<K, V> {
    type Key = K;
    type Value = V;
    type Error = Infallible;

    async fn fetch(&self, key: &K, _: Attempt<V>) -> Result<Fetched<V>, Infallible> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        Ok(Fresh::new((self.make)(key)).into())
    }
}

struct Typed<K: GroupKey, V: Codec> {
    url: String,
    pool: Pool,
    group: Group<Made<K, V>>,
    _serving: Serving,
}

async fn typed<K: GroupKey, V: Codec>(
    make: fn(&K) -> V,
    options: PoolOptions,
) -> (Vec<Typed<K, V>>, Arc<AtomicUsize>) {
    let loads = Arc::<AtomicUsize>::default();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pool = Pool::new(&url, options.clone()).unwrap();
        let source = Made { make, loads: Arc::clone(&loads) };
        let group = pool.group("typed", source, GroupOptions::default()).unwrap();
        let serving = pool.serve(listener).unwrap();
        nodes.push(Typed { url, pool, group, _serving: serving });
    }
    let urls: Vec<_> = nodes.iter().map(|node| node.url.clone()).collect();
    for node in &nodes {
        node.pool.set_peers(urls.clone()).unwrap();
    }
    (nodes, loads)
}

#[derive(Clone, PartialEq, prost::Message)]
struct City {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    people: u64,
}

#[tokio::test]
async fn a_message_is_loaded_once_and_is_the_same_everywhere() {
    let make = |name: &String| Proto(City { name: name.clone(), people: 7 });
    let (nodes, loads) = typed(make, options(Mode::MailgunV2)).await;
    let bern = "Bern".to_owned();
    let gets = (0..20).map(|n| nodes[n % 3].group.get(&bern));
    for got in futures_util::future::join_all(gets).await {
        assert_eq!(got.unwrap().0, City { name: "Bern".to_owned(), people: 7 });
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    let grown = Proto(City { name: "Bern".to_owned(), people: 8 });
    nodes[0].group.set(&bern, grown, Expiry::NEVER, HotCopy::Keep).await.unwrap();
    for node in &nodes {
        assert_eq!(node.group.get(&bern).await.unwrap().0.people, 8);
    }
}

#[tokio::test]
async fn a_key_that_the_owner_cannot_have_is_no_value_of_another_one() {
    // Its keys are text, those of its peers are bytes.
    let (nodes, _) = typed(|key: &String| key.clone(), options(Mode::MailgunV2)).await;
    let bytes = ring(Mode::MailgunV2, 1).await.remove(0);
    let urls: Vec<_> =
        nodes.iter().map(|node| node.url.clone()).chain([bytes.url.clone()]).collect();
    bytes.pool.set_peers(urls).unwrap();
    let loads = Arc::<AtomicUsize>::default();
    let make = |key: &Bytes| Bytes::from([b"here:", &key[..]].concat());
    let source = Made { make, loads: Arc::clone(&loads) };
    let group = bytes.pool.group("typed", source, GroupOptions::default()).unwrap();
    let mut of_others = (0_u8..=255).map(|n| Bytes::from(vec![0xff, n, b'a', n, b'b', b'c']));
    let key = of_others.find(|key| bytes.pool.owner(key) != bytes.url).unwrap();
    assert_eq!(&group.get(&key).await.unwrap()[..], [b"here:", &key[..]].concat());
    assert_eq!((loads.load(Ordering::Relaxed), group.stats().peer_errors), (1, 1));
}

#[tokio::test]
async fn what_a_peer_sends_that_is_no_value_of_the_type_is_loaded_here() {
    let (nodes, _) =
        typed(|_: &Bytes| Bytes::from_static(b"\xff\xfe"), options(Mode::Native)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pool = Pool::new(&url, options(Mode::Native)).unwrap();
    pool.set_peers(nodes.iter().map(|node| node.url.clone()).chain([url.clone()])).unwrap();
    let make = |key: &Bytes| format!("text of {key:?}");
    let source = Made { make, loads: Arc::default() };
    let group = pool.group("typed", source, GroupOptions::default()).unwrap();
    let mut keys = (0..).map(|n| key_of(&format!("k{n}")));
    let key = keys.find(|key| pool.owner(key) != url).unwrap();
    assert_eq!(*group.get(&key).await.unwrap(), format!("text of {key:?}"));
    assert_eq!(group.stats().peer_errors, 1);
}

/// Finds nodes by names that no resolver knows, and says that it does TLS.
#[derive(Debug, Default)]
struct Directory {
    nodes: HashMap<String, String>,
    dialled: AtomicUsize,
}

impl Transport for Directory {
    fn connect<'a>(&'a self, to: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Duplex>>> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            assert!(to.is_secured());
            let node = self.nodes.get(to.authority()).ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(TcpStream::connect(node).await?) as Box<dyn Duplex>)
        })
    }

    fn can_secure(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn peers_are_reached_by_the_transport_that_the_pool_was_given() {
    let (mut listeners, mut directory) = (Vec::new(), Directory::default());
    for node in ["alpha:443", "beta:443"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        directory.nodes.insert(node.to_owned(), address);
        listeners.push(listener);
    }
    let directory = Arc::new(directory);
    let transport = || Arc::clone(&directory) as Arc<dyn Transport>;
    let mut nodes = Vec::new();
    for (name, listener) in ["https://alpha", "https://beta"].into_iter().zip(listeners) {
        let options = PoolOptions { transport: transport(), ..options(Mode::MailgunV2) };
        let pool = Pool::new(name, options).unwrap();
        pool.set_peers([Peer::new("https://alpha"), Peer::new("https://beta")]).unwrap();
        let source = Made { make: |key: &String| key.clone(), loads: Arc::default() };
        let group = pool.group("typed", source, GroupOptions::default()).unwrap();
        nodes.push((pool.serve(listener).unwrap(), pool, group));
    }
    for n in 0..20 {
        let key = format!("10.{n}.{n}.{n}");
        for (_, _, group) in &nodes {
            assert_eq!(*group.get(&key).await.unwrap(), key);
        }
    }
    let loads: u64 = nodes.iter().map(|(_, _, group)| group.stats().local_loads).sum();
    assert_eq!(
        (loads, directory.dialled.load(Ordering::Relaxed)),
        (20, 2),
        "one connection each way"
    );
}
