//! Services and instances: the catalog, leases, and the backends that hold them.

pub mod backend;
pub mod catalog;
pub mod event;
pub mod model;

pub use backend::{Backend, BoxFuture, Error, Observer, OverrideChange, Registry, View, Watch};
pub use event::Event;
