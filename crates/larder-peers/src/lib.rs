//! A groupcache: a cache that processes share, in one ring with Go's.
//!
//! A [`Group`] has values of one kind, filled by a [`Source`](larder_cache::Source). A ring says which
//! process owns a key: that one loads it, once, and the others ask it and keep a copy. A [`Pool`] is a node of
//! the ring. Go processes can be nodes as well: see [`Mode`].
//!
//! ```
//! use larder_cache::{Attempt, Fetched, Source};
//! use larder_peers::{Expiry, GroupOptions, HotCopy, Pool, PoolOptions};
//! use tokio::net::TcpListener;
//!
//! struct Greetings;
//!
//! impl Source for Greetings {
//!     type Key = String;
//!     type Value = String;
//!     type Error = std::io::Error;
//!
//!     async fn fetch(&self, key: &String, _: Attempt<String>) -> Result<Fetched<String>, std::io::Error> {
//!         Ok(Fetched::value(format!("Hello, {key}!")))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("http://{}", listener.local_addr()?);
//!
//! let pool = Pool::new(&url, PoolOptions::default())?;
//! pool.set_peers([&url])?; // and all others
//! let greetings = pool.group("greetings", Greetings, GroupOptions::default())?;
//! let serving = pool.serve(listener)?;
//!
//! let ada = "Ada".to_owned();
//! assert_eq!(*greetings.get(&ada).await?, "Hello, Ada!");
//! greetings.set(&ada, "Good day.".to_owned(), Expiry::NEVER, HotCopy::Drop).await?;
//! assert_eq!(*greetings.get(&ada).await?, "Good day.");
//! greetings.remove(&ada).await?;
//! assert_eq!(*greetings.get(&ada).await?, "Hello, Ada!");
//! # Ok(())
//! # }
//! ```
//!
//! # A get
//!
//! 1. **Here.** The main cache, then the hot one: no lock, no allocation, no task.
//! 2. **The owner.** If it is another process, one flight for all callers here asks it: over a connection
//!    that is kept, unless the peer has failed three times in a row and rests. Its value goes into the hot
//!    cache, for as long as its owner says. That there is no such key, and that its loader failed, is final.
//! 3. **The source.** If this process is the owner, or the owner is of no use, one flight loads the value
//!    into the main cache.
//!
//! [`Group::get_many`] takes the second step for many keys at once: in a native ring, 1,000 keys of one owner
//! took 33 ms, and 494 ms one after another (both ends in one thread, without optimisation, from the test
//! `a_batch_is_far_cheaper_than_as_many_gets`).
//!
//! A node that is lost costs each of the others a load of each of its keys, as with Go's; with
//! [`PoolOptions::second_owner`] one load for all of them: 50 of 150, for 50 keys and three nodes left.
//!
//! Of which values a copy is kept is a [`HotPolicy`]: of all, unless it says otherwise. By rate, far fewer
//! copies answer nearly as many gets (`docs/decisions/0039-copies-by-rate.md`).
//!
//! With [`PoolOptions::hedge`], an owner that is slow is asked a second time, over another connection, and the
//! first answer counts: for five of a hundred gets at most
//! (`docs/decisions/0040-five-of-a-hundred-gets-are-hedged.md`).
//!
//! What a peer asks is answered from the main cache and by 3 alone, never with a copy. The table of what makes
//! an owner useless is that of mailgun's groupcache, in [`wire::answer`].
//!
//! # Where this differs from the Go families, on purpose
//!
//! | there | here |
//! | --- | --- |
//! | peers that disagree about owners wait for each other for ever | a peer's request is never passed on |
//! | a removal or a set during a load is undone by it | what was loaded before is handed to who asked before, and not kept |
//! | a waiter shares the leader's cancellation, and not its own deadline | a load is a task of its own; [`Group::get_within`] |
//! | of two sets at once one is dropped and reported as done | both are sent |
//! | others keep their copies of what was set | they forget them, and are told again if they were away |
//! | a removal stops at an owner that is away, and reports one error | it reaches everyone else, reports all, goes on in the background, and the key is loaded past the owner |
//! | a peer that does not know the group makes keys missing | it is told apart, by a header or by Go's words, and the key is loaded here; Go's clients are told by another status |
//! | a value larger than the cache empties it | it is refused |
//! | an entry's own size is not counted | it is |
//! | groups and peers are globals | they are values |
//! | a golang node takes a set or removal for a get | it answers 405, and refuses to send one |
//!
//! # How old a value may be
//!
//! A value is not handed out from its time of expiry on, which travels with it; so the clocks of the nodes
//! must agree, and what they differ by adds to a value's age. In a [golang](Mode::Golang) ring the wire does
//! not carry it: a copy there may be as old as two of the group's [ttls](GroupOptions::ttl). Without a ttl, a
//! copy lives until it is set, removed or evicted.
//!
//! With [`GroupOptions::renew_ahead`], what is read shortly before its expiry is renewed in the background: by
//! the owner first, and then, by one request each, where there are copies. It makes values younger, never
//! older: what cannot be renewed lives until its expiry. So a key that is read all the time costs its callers one
//! wait and not one for each ttl, here and elsewhere (`docs/decisions/0038-values-are-renewed-before-they-expire.md`).
//!
//! With [`GroupOptions::stale_if_error`], and no better value to be had, a process hands out what has expired
//! for so long at most, and says [why](Got::error) and [how old](Got::age) it is. That is the one exception, and
//! does not travel: a peer is told the error. What was removed is gone.
//!
//! A removal has reached every node of this one's list when [`Group::remove`] returns `Ok`, whomever they ask
//! for the key. Otherwise those that it names may hand out what they have, until they have heard; and then
//! those have heard, too, who took copies of it. It is this process that tells them again: if it ends before,
//! nobody does. A node that changes its list of peers just then, or comes back from outside the ring with what
//! it had, may have missed it: see `docs/decisions/0031-removals-where-nodes-ask-different-ones.md`.
//!
//! A set that failed may be done later, when the network delivers it at last.
//!
//! # Who is in the ring
//!
//! [`Pool::set_peers`] takes a list; [`Pool::follow`] keeps the ring as a [file](membership::PeersFile), a
//! [name in DNS](membership::Dns) or a [source of one's own](membership::Discovery) says. Nodes that disagree
//! for a while load a key once each. A value that was *set* is at the owner whom its setter knew: where owners
//! differ, some see it, and others what the source has, until it expires or is set or removed once more.
//!
//! # Who may ask
//!
//! [`Admission`]: this machine, the configured peers by their addresses, and whoever has the pool's token. Who
//! may ask may also set and remove, because peers must.
//!
//! # Bounds
//!
//! Memory: [`GroupOptions::max_bytes`] for each group, and 256 KiB where copies are kept by rate. Loads and waiters: [`GroupOptions::limits`].
//! Connections to a peer, values from one, time for one, removals to be told again: [`PoolOptions`].
//! Members of a ring: 1,000. Keys whose escaped path exceeds 65,000 bytes cannot be asked for over HTTP: each
//! node loads them by itself.

mod admission;
mod client;
mod codec;
mod group;
mod members;
pub mod membership;
mod pool;
pub mod ring;
mod server;
mod tasks;
pub mod wire;

pub use admission::Admission;
pub use client::{CallError, Duplex, Hedge, Tcp, Transport};
pub use codec::{Codec, GroupKey, Proto, Undecodable};
pub use group::{
    CacheStats, Error, Got, Group, GroupError, GroupOptions, GroupStats, HotCopy, HotPolicy,
    Latency, Missed, TellError, WriteError,
};
pub use members::{Address, MembersError, Peer};
pub use pool::{Pool, PoolError, PoolOptions, RetryStats, Token};
pub use ring::{Hash, Mode};
pub use server::{PeerService, RemoteAddr, Serving};
pub use wire::expiry::Expiry;
