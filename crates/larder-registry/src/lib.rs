//! Services and instances: the catalog, leases, and the backends that hold them.
//!
//! A *service* has *instances*; an instance registers with a [`Backend`], renews its lease, and leaves
//! or expires. [`model`] says what an instance is, in words that cover Eureka, Consul and go-micro.
//! The deciding parts are pure and take the time as an argument: [`catalog`] (what there is, by
//! revision), [`lease`] (for how long), [`registrar`] (the rules between them). [`Memory`] puts a lock,
//! a clock and a task around them.
//!
//! Every backend passes one suite, [`conformance`] (feature `conformance`).

pub mod backend;
pub mod catalog;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod event;
pub mod guard;
mod held;
pub mod lease;
mod log_watch;
pub mod memory;
pub mod mirror;
pub mod model;
pub mod registrar;
pub mod registry_cache;
pub mod selector;

pub use backend::{
    Backend, BoxFuture, Copied, Error, Observer, OverrideChange, Phase, Registry, Report, Reporter,
    Tally, View, Watch,
};
pub use event::{Event, EventQueue};
pub use guard::Guarded;
pub use memory::Memory;
pub use mirror::Mirror;
pub use registry_cache::RegistryCache;
pub use selector::Selector;
