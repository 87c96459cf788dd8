//! Users, from a slow store, shared by the three nodes of a ring: each is loaded once, wherever it is asked
//! for. In a program of one's own each node is a process.
//!
//! `cargo run -p larder-peers --example users`

use std::time::Duration;

use larder_cache::{Attempt, Fetched, Fresh, Source};
use larder_peers::{Expiry, Group, GroupOptions, HotCopy, Mode, Pool, PoolOptions, Proto, Serving};
use tokio::net::TcpListener;

/// A user, as protobuf; a `String` or `Bytes` would do as well.
#[derive(Clone, PartialEq, prost::Message)]
struct User {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    logins: u32,
}

/// Where users come from. It says which node it belongs to, to show who loads.
struct Store {
    node: usize,
}

impl Source for Store {
    type Key = String;
    type Value = Proto<User>;
    type Error = std::io::Error;

    async fn fetch(
        &self,
        id: &String,
        _: Attempt<Proto<User>>,
    ) -> Result<Fetched<Proto<User>>, std::io::Error> {
        println!("  node {} loads {id}", self.node);
        tokio::time::sleep(Duration::from_millis(50)).await;
        if id == "user:0" {
            return Ok(Fetched::Absent { remember_for: None });
        }
        let user = User { name: format!("Name of {id}"), logins: 1 };
        Ok(Fresh::new(Proto(user)).ttl(Duration::from_secs(300)).into())
    }
}

struct Node {
    pool: Pool,
    users: Group<Store>,
    serving: Serving,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut nodes = Vec::new();
    for node in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        // With Mode::MailgunV2, which is the default, Go processes can stand in the same ring.
        let pool = Pool::new(url, PoolOptions { mode: Mode::Native, ..PoolOptions::default() })?;
        let users = pool.group("users", Store { node }, GroupOptions::default())?;
        let serving = pool.serve(listener)?;
        nodes.push(Node { pool, users, serving });
    }
    let peers: Vec<_> = nodes.iter().map(|node| node.pool.identity().to_owned()).collect();
    for node in &nodes {
        node.pool.set_peers(peers.clone())?;
    }

    println!("every node asks for the same three users:");
    for node in &nodes {
        for n in 1..=3 {
            let user = node.users.get(&format!("user:{n}")).await?;
            assert_eq!(user.0.name, format!("Name of user:{n}"));
        }
    }

    println!("one is changed at one node, and all others see it:");
    let renamed = User { name: "Ada".to_owned(), logins: 2 };
    let id = "user:1".to_owned();
    nodes[0].users.set(&id, Proto(renamed), Expiry::NEVER, HotCopy::Keep).await?;
    for node in &nodes {
        let user = node.users.get(&id).await?;
        println!("  {} logged in {} times", user.0.name, user.0.logins);
    }

    println!("one is removed, and loaded once more:");
    nodes[2].users.remove(&id).await?;
    for node in &nodes {
        println!("  {}", node.users.get(&id).await?.0.name);
    }

    println!("one does not exist:");
    let missing = nodes[1].users.get(&"user:0".to_owned()).await;
    println!("  {}", missing.expect_err("the store has none"));

    for (n, node) in nodes.iter().enumerate() {
        let stats = node.users.stats();
        println!(
            "node {n}: {} gets, {} hits, {} loads here, {} from peers",
            stats.gets, stats.cache_hits, stats.local_loads, stats.peer_loads
        );
    }
    for node in nodes {
        node.serving.stop(Duration::from_secs(1)).await;
        node.users.close().await;
        node.pool.close().await;
    }
    Ok(())
}
