//! Eureka: its wire formats, its response cache and its server.
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

pub mod apps_hash;
pub mod delta;
pub mod payload;
pub mod response_cache;
pub mod server;
pub mod wire;
