//! What stands in front of a Consul agent, against one of the test's own that can be told to fail.

mod following;
mod keeping;
mod outages;
mod passing;
mod refusing;
mod support;
mod turns;
