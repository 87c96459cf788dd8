//! Consul's HTTP API, both sides of it.

pub mod answer;
pub mod backend;
pub mod blocking;
pub mod client;
pub mod endpoint;
pub mod filter;
pub mod kv;
pub mod local;
pub mod mapping;
pub mod params;
pub mod passthrough;
pub mod question;
pub mod remote;
pub mod server;
pub mod terms;
pub mod wire;
