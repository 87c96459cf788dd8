//! Active health checks: goes and looks how registered instances are.
//!
//! What an instance registers decides where this server connects to, so that who may be probed is asked
//! before every connection ([`allow`]). [`probe`] looks once, [`follow`] says which checks are probed,
//! and [`driver`] has it done. Described for users in `docs/checks.md`.

pub(crate) mod allow;
mod driver;
mod figures;
mod follow;
pub(crate) mod http;
pub(crate) mod probe;
mod resolve;
pub(crate) mod tcp;

pub(crate) use driver::{Checks, StartError};
