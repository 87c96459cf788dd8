//! A real Consul as a backend, and behind the agent's cache. These tests need one:
//! `LARDER_CONSUL=/path/to/consul cargo test -p larder-consul --test consul -- --ignored`.

mod cached;
mod conformance;
mod following;
mod others;
mod support;
