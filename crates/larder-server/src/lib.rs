//! The composition root: reads the configuration, puts the parts together, listens, and stops cleanly.
//!
//! [`Config`] says what there is to set; [`Server::build`] is the one place where the parts meet;
//! [`api`] is Larder's own API. Nothing else reads configuration or the environment.

mod admin;
pub mod api;
mod build;
mod checks;
pub mod config;
mod consul;
mod groups;
mod guard;
mod listen;
pub mod logs;
mod metrics;
mod peers;
mod regions;
mod self_preservation;
mod shutdown;
mod upstream;

pub use build::{BuildError, Server};
pub use checks::allow::{Allow, Pattern};
pub use config::Config;
pub use groups::GroupsError;
pub use groups::origin::template::{Template, Unaskable};
pub use peers::PeersError;
pub use shutdown::interruption;
pub use upstream::OpenError;
