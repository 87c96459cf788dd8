//! Backends over real multicast, on the loopback interface, each test on a port of its own.

mod conformance;
mod go_micro;
mod sharing;
mod support;
