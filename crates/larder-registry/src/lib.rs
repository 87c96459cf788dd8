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
pub mod lease;
pub mod memory;
pub mod model;
pub mod registrar;

pub use backend::{
    Backend, BoxFuture, Error, Observer, OverrideChange, Phase, Registry, View, Watch,
};
pub use event::Event;
pub use memory::Memory;
