//! Active health checks: goes and looks how registered instances are.
//!
//! What an instance registers decides where this server connects to, so that who may be probed is asked
//! before every connection ([`allow`]). [`probe`] looks once.

pub(crate) mod allow;
pub(crate) mod http;
pub(crate) mod probe;
mod resolve;
pub(crate) mod tcp;
