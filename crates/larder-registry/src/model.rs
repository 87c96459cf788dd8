//! Services and instances as plain data: what every protocol and every backend speaks about.
//!
//! The model is the union of what Eureka, Consul and go-micro know about an instance, in words of its
//! own, so that what one protocol registers another can read, and nothing is lost on the way through.
//! Which field of which system goes where is one table, in `docs/model.md`.

mod check;
mod instance;
mod metadata;
mod name;
mod status;

pub use check::{
    Check, CheckKey, Health, MAX_OUTPUT_BYTES, MIN_DEREGISTER_AFTER, Probe, cut_output,
};
pub use instance::{
    Action, Address, DataCenter, Endpoint, Instance, Lease, Mesh, Node, Opaque, Pages, Port,
    TaggedAddress, Value, Vips, Weights,
};
pub use metadata::Metadata;
pub use name::{Key, Name};
pub use status::Status;
