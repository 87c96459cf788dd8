//! Eureka: its wire formats, its response cache, its server, and the client's side.
//!
//! [`wire`] reads and writes what Eureka's clients and servers say, byte for byte as Netflix's server
//! does. [`response_cache`] keeps encoded answers in two tiers, both of them plain compositions over
//! [`larder_cache`]. [`server`] is the REST API over any [`Registry`](larder_registry::Registry).
//!
//! ```
//! use std::sync::Arc;
//!
//! use larder_cache::Clock;
//! use larder_eureka::response_cache::{self, ResponseCache};
//! use larder_eureka::server::{self, Eureka};
//! use larder_registry::{Memory, Registry, memory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = Clock::running();
//! let registry: Arc<dyn Registry> =
//!     Arc::new(Memory::start(memory::Options::default(), clock.clone()));
//! let options = response_cache::Options::default();
//! let responses = ResponseCache::observing(&registry, options, clock.clone())?;
//! let router: axum::Router = server::router(Arc::new(Eureka::new(registry, responses, clock)));
//! # let _ = router;
//! # Ok(())
//! # }
//! ```
//!
//! # A Eureka cluster as a backend
//!
//! [`EurekaClient`] is a [`Backend`](larder_registry::Backend) over Eureka servers, Netflix's or Larder's:
//! what is registered there is found through it, and what registers through it is found there.
//!
//! ```no_run
//! use larder_cache::Clock;
//! use larder_eureka::{EurekaClient, Options};
//! use larder_registry::Backend;
//! use larder_registry::model::Name;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let servers = vec!["10.0.0.1:8761".to_owned(), "10.0.0.2:8761".to_owned()];
//! let eureka = EurekaClient::connect(Options { servers, ..Options::default() }, Clock::running())?;
//! let orders = eureka.service(&Name::new("orders")).await?;
//! for instance in orders.instances() {
//!     println!("{} {:?}", instance.id, instance.address);
//! }
//! eureka.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! **Reading** is a copy of everything: fetched once, then brought up to date by deltas, every
//! [`Options::poll`] while somebody watches, and for every read. The server's hash is compared with that of
//! the copy after each delta; everything is fetched anew when they differ (at once the first time, then not
//! more than twice a minute), when the server refuses deltas or changes, after a failed round, after a
//! pause of 90 seconds, and every [`Options::relist_after`]. [`client::reconcile`] is that copy, for
//! whoever else follows a Eureka server.
//!
//! **Writing** is read back at once, as Eureka keeps single instances out of its caches; so that a writer
//! sees its write, here, although the server's lists are late. It is shown until the lists tell of it, or
//! for [`Options::lag`] at most: if the server loses it within that time, it is shown on for the rest of
//! it. What others write is seen after the poll, and after the time that the server's own cache takes.
//!
//! What of the model such a registry keeps:
//!
//! | of an instance | |
//! | --- | --- |
//! | service, id, address, status, override, metadata, virtual addresses, pages, data centre, group, `asg`, `sid`, country | kept in Eureka's fields |
//! | the service's name as it is written, version, tags, the service's metadata, weights, that there is no lease | kept, as one pair of metadata, [`CARRIED`](client::CARRIED), which Eureka's clients hand around unread |
//! | a host, or an IP address, that is missing | comes back as the other one; a missing port as one that is switched off, a missing data centre as `MyOwn` |
//! | endpoints, node, mesh | lost |
//! | health checks | refused: [`Invalid`](larder_registry::Error::Invalid) |
//! | a lease | kept, up to [24 days](client::LEASE_SECS_MAX), which is also what an instance without a lease gets. When it ends is up to the server: Larder's ends it at once, Netflix's up to two durations after the last renewal, and at its next look (every minute), if self-preservation lets it. What never renews counts against self-preservation, and is lost when the server restarts |
//! | an override | Eureka's: an operator's, which beats `UP` until it is lifted; lifting it shows the fallback until the instance registers again |
//! | revisions, times of changes | this client's own; Eureka has none that last |
//!
//! Names are kept in upper case there; one that is another name in upper case is refused. Ids with a slash
//! or a percent sign are refused by many servlet containers.
//!
//! **Errors.** What Eureka answers with 404 to a renewal becomes
//! [`Outdated`](larder_registry::Error::Outdated) if the instance is held as it was earlier, else
//! [`NotFound`](larder_registry::Error::NotFound). A server that lets nobody read, as one that has just started
//! does, is [`Unavailable`](larder_registry::Error::Unavailable), never an empty registry. Calls, bodies and
//! instances have a bound, in [`Options`]; there is no TLS.

pub mod apps_hash;
mod backend;
pub mod client;
pub mod delta;
pub mod payload;
pub mod regions;
pub mod replicate;
pub mod response_cache;
pub mod server;
pub mod wire;

pub use backend::EurekaClient;
pub use client::{Credentials, Options, OptionsError};
