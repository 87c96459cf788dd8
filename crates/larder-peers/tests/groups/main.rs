//! Groups between pools with sockets of their own, as if they were processes.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod budget;
mod disagreement;
mod get;
mod heat;
mod hedge;
mod many;
mod membership;
mod on_the_way;
mod overtaken;
mod remove;
mod renewal;
mod scenarios;
mod server;
mod set;
mod strange_peers;
mod support;
mod typed;
mod upstream;
mod wires;
