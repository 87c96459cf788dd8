//! A Eureka cluster as a backend: against Larder's own routes on real sockets, and against a server that
//! somebody else runs.

mod conformance;
mod failing;
mod following;
mod support;
